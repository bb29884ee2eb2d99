package clonebuildpush

import (
	"context"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// leavingBuilder is the fake that leaves its image in the folder that it is told, and does there what a RUN could do.
type leavingBuilder struct {
	*fakeBuilder
	run func() // while the image is built
}

func (l leavingBuilder) Build(ctx context.Context, what request) (v1.Image, func(), error) {
	image, done, err := l.fakeBuilder.Build(ctx, what)
	if l.run != nil {
		l.run()
	}
	if err != nil || what.Layout == "" {
		return image, done, err
	}
	path, err := layout.Write(what.Layout, empty.Index)
	if err != nil {
		return nil, nil, err
	}
	return image, done, path.AppendImage(image)
}

// pod is a stage on which the phases run one after another, each with its own secrets alone.
type pod struct {
	*stage
	checkout, image string // folders
	run             func() // what a RUN does while the image is built
}

func newPod(t *testing.T) *pod {
	t.Helper()
	return &pod{stage: newStage(t), checkout: t.TempDir(), image: t.TempDir()}
}

// owners says which phases are given a variable; all others are given to every phase, as a pod's template would.
var owners = map[string]string{
	"GIT_USERNAME": phaseClone, "GIT_PASSWORD": phaseClone, "GIT_CA_FILE": phaseClone,
	"REGISTRY_USERNAME": phasePush, "REGISTRY_PASSWORD": phasePush,
}

// environment is that of one phase, changed by pairs of name and value.
func (p *pod) environment(phase string, changes ...string) map[string]string {
	out := map[string]string{"PHASE": phase, "CHECKOUT_DIR": p.checkout, "IMAGE_DIR": p.image}
	for name, value := range p.env {
		if owner := owners[name]; owner == "" || owner == phase {
			out[name] = value
		}
	}
	if phase == phaseBuild {
		out["REGISTRY"], out["REGISTRY_INSECURE"] = "", ""
	}
	for i := 0; i+1 < len(changes); i += 2 {
		out[changes[i]] = changes[i+1]
	}
	return out
}

func (p *pod) phase(phase string, changes ...string) (status int, output string) {
	p.t.Helper()
	return p.runProgram(leavingBuilder{p.builder, p.run}, p.environment(phase, changes...))
}

func (p *pod) mustDo(phases ...string) {
	p.t.Helper()
	for _, phase := range phases {
		if status, output := p.phase(phase); status != 0 {
			p.t.Fatalf("PHASE=%s: exit status %d:\n%s", phase, status, output)
		}
	}
}
