// Command clone-build-push clones a Git revision, builds its Dockerfile and pushes the image to the testing registry.
package main

import "dockline/steps/clonebuildpush"

func main() { clonebuildpush.Main() }
