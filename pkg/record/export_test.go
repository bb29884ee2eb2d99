package record

import (
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/registry"
)

// Seal signs what Record.Statement would never make.
func Seal(t testing.TB, statement []byte, key *Key) []byte {
	t.Helper()
	sealed, err := seal(statement, key)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}

// Hold has a verification of the image hold another content.
func Hold(t testing.TB, r Record, subject registry.Manifest, content []byte) *Artifact {
	t.Helper()
	made, err := r.artifact(subject, envelopeLayer, content)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// Root returns the manifest of an artifact.
func (a *Artifact) Root() registry.Manifest { return a.manifest }

// Layer returns the descriptor of what is recorded.
func (a *Artifact) Layer() v1.Descriptor { return a.order[1] }
