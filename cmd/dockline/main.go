// Command dockline is promote, retag and verify in one file: it is the step by whose name it is called. The image has it
// under those three names, since they share most of their code (docs/decisions/0003).
package main

import (
	"dockline/pkg/step"
	"dockline/steps/promote"
	"dockline/steps/retag"
	"dockline/steps/verify"
)

func main() { step.Main(promote.Program(), retag.Program(), verify.Program()) }
