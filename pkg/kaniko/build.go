// Package kaniko builds the image that a Dockerfile describes, in Kaniko's way: in the root file system of the container
// that it runs in, without a daemon and without rights that a container does not have. The instructions of the Dockerfile
// never see the credentials of the program that builds it, and each does what it does in BuildKit, whose parser, shell
// words and copying are used; Kaniko, as a library, fetches the base images and clears the root between stages.
//
// A build takes two processes. The parent calls Build.Run: it holds the credentials, fetches base images and later
// pushes. The child is the same program executed once more: it runs Kaniko with a clean environment, with fewer
// capabilities than anything else in the container, and knows nothing but a way to ask the parent for the base images
// that the Dockerfile names. A program that builds starts like this:
//
//	func main() {
//		kaniko.ChildMain()                       // never returns in the child
//		if err := kaniko.Shield(); err != nil {} // nobody reads our memory from here on
//		...
//	}
//
// Whatever the parent needs after the first RUN (credentials, certificates, addresses) it reads before Run: a RUN is
// root in the container and can rewrite every file of it.
package kaniko

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/imageroot"
)

// Dir is the directory that Kaniko leaves alone: the programs, the context and the built image live below it. The
// environment variable KANIKO_DIR must have this value; the image sets it.
const Dir = imageroot.Dir

// Marker is the file by which a build knows that it may own the root of this file system.
const Marker = imageroot.Marker

// Build is one image to be built. ContextDir and Dockerfile are required.
type Build struct {
	// ContextDir is the absolute path of the build context. It lies below Dir or on a mount of its own, since Kaniko
	// deletes everything else between two stages.
	ContextDir string

	// Dockerfile is the path of the Dockerfile, absolute or relative to ContextDir. A file of that name with
	// ".dockerignore" appended is used before the context's own .dockerignore.
	Dockerfile string

	// BuildArgs are values for the Dockerfile's ARGs, each NAME=VALUE.
	BuildArgs []string

	// Target is the stage to build. The default is the last.
	Target string

	// Platform is OS/ARCH[/VARIANT]. The default is that of this program.
	Platform string

	// Labels are set on the image's configuration, over those that the Dockerfile sets.
	Labels map[string]string

	// Annotations are set on the image's manifest, which is OCI's then.
	Annotations map[string]string

	// MediaTypes is OCI or Docker. The default, empty, is that of the base image, and OCI where there is none.
	MediaTypes string

	// Reproducible leaves the times out of the layers and the image, so that the same input gives the same digest.
	Reproducible bool

	// Created is the image's creation time. The default is the time of the build, or none if Reproducible.
	Created time.Time

	// Secrets are the values for RUN --mount=type=secret, by id. They reach the child through a pipe and are on no
	// disk, except for a mount's target while its RUN runs.
	Secrets map[string][]byte

	// Images may be pulled, and nothing else: what FROM, COPY --from and RUN --mount=from name, in any form of an
	// image reference (with or without tag or digest).
	Images []string

	// BaseBytes is how large the layers of the largest of these images are, as they are pulled. The default, 0, is that nobody
	// knows.
	BaseBytes int64

	// BasePlace is where the Dockerfile names that largest image ("Dockerfile:1: FROM alpine:3"), for the error of one that does
	// not fit. The default, empty, is not to tell.
	BasePlace string

	// Cache keeps layers from one build to the next. The default is nil, for none.
	Cache *Cache

	// Puller fetches base images for the child. The default, nil, allows none (FROM scratch).
	Puller Puller

	// Layout is the folder that the image is left in, as an OCI layout, for OpenLayout in another process. It must not be
	// there yet, and lies below Dir or on a mount. The default is one of its own that goes when the Image is closed.
	Layout string

	// ReadOnly are folders that no RUN must be able to change, since somebody trusts what they hold after the build.
	ReadOnly []string

	// Executor is the path of another Kaniko executor program that builds instead of the one which is built in. It lies
	// directly in Dir. It is a RUN's equal, whose memory every RUN can read: so Secrets must be empty, and a RUN could pull what
	// Images names. Annotations, MediaTypes and Cache must be empty too. A failure names no instruction. The default is none.
	Executor string

	// AllowPrivileged builds even where the credentials cannot be kept from a RUN: in a privileged container, or with
	// the socket of a container engine mounted.
	AllowPrivileged bool

	// Log is called with every line of the build, from one goroutine at a time. The default is to drop them.
	Log func(Line)
}

// The families of media types that an image can have.
const (
	OCI    = "oci"
	Docker = "docker"
)

// Line is one line of a build's output.
type Line struct {
	// Level is "debug", "info", "warning" or "error" for Kaniko's own messages, and empty for the output of a RUN.
	Level string
	Text  string
}

// Puller reads from registries, in the parent. Implementations authenticate, retry and name the side in their errors
// (fault.At); an absent manifest or blob is fault.NotFound.
type Puller interface {
	// Manifest returns the media type and content of the manifest that reference, a tag or a digest, names in the
	// repository.
	Manifest(ctx context.Context, repository name.Repository, reference string) (mediaType string, content []byte, err error)

	// Blob opens the blob of this digest, and says how many bytes it has (-1 if unknown). The caller closes it and
	// checks the digest.
	Blob(ctx context.Context, repository name.Repository, digest v1.Hash) (content io.ReadCloser, size int64, err error)
}

// Image is a built image: it reads as a v1.Image from files whose content Run has checked, when no process of the build
// was left that could change them. Close it when it has been pushed.
type Image struct {
	v1.Image

	// ManifestDigest is the digest that the child announced; what Image serves has been checked against it.
	ManifestDigest v1.Hash

	// Cached are the entries for Build.Cache that this build has made, checked like the image. They go with it.
	Cached []Cached

	files *os.File // the layout's folder
	work  string   // what is removed with it
}
