// Command promote copies an image from the testing registry to the production registry.
package main

import (
	"dockline/pkg/step"
	"dockline/steps/promote"
)

func main() { step.Main(promote.Program()) }
