// Package retag points an environment's image stream tag at an image, and sees it through until the pods run it. On a
// cluster without image streams it sets the image of the workloads that it is told.
package retag

import (
	_ "embed"

	"dockline/pkg/step"
	"dockline/steps/environment"
)

//go:embed config.go
var source string

// Program describes retag to pkg/step.
func Program() step.Program {
	return step.Program{
		Name:    "retag",
		Summary: "points an environment's image stream tag at an image and sees the rollout through",
		Step:    &Config{},
		Source:  source,
		Shared:  []string{environment.Source},
		Results: []string{"PREVIOUS_DIGEST", "CURRENT_DIGEST"},
	}
}
