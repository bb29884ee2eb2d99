// Package verify tells which image an environment runs, and judges whether it is the right one: the stream tag, the
// registry, the pod templates, the pods and the page.
package verify

import (
	_ "embed"

	"dockline/pkg/step"
	"dockline/steps/environment"
	"dockline/steps/recording"
)

//go:embed config.go
var source string

// Program describes verify to pkg/step.
func Program() step.Program {
	return step.Program{
		Name:    "verify",
		Summary: "tells which image an environment runs, and fails unless it is the right one",
		Step:    &Config{},
		Source:  source,
		Shared:  []string{environment.Source, recording.Source},
		Results: []string{"VERDICT", "CURRENT_DIGEST"},
	}
}
