// Command verify tells which image an environment runs, and fails unless it is the right one.
package main

import (
	"dockline/pkg/step"
	"dockline/steps/verify"
)

func main() { step.Main(verify.Program()) }
