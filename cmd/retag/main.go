// Command retag points an environment at an image and sees the rollout through.
package main

import (
	"dockline/pkg/step"
	"dockline/steps/retag"
)

func main() { step.Main(retag.Program()) }
