// Package imageroot names what is Dockline's own in the file system of its image, for those who only run the image and
// need nothing of the builder.
package imageroot

// Dir is the directory that a build leaves alone: everything of ours is below it.
const Dir = "/kaniko"

// Marker is the file that says that Kaniko may own the root of this file system: only the image and the sandbox of the
// tests hold it.
const Marker = Dir + "/dockline-owns-this-root"
