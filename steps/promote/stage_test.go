package promote

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

const hello = "deepsky/awl-deepsky-hello"

// run is what a run of the program came to.
type run struct {
	status  int
	last    string // of stderr's lines
	log     string
	stdout  string
	results map[string]string
}

// promote runs the program with these variables, in process, with hardly any pause between attempts.
func promote(t testing.TB, variables map[string]string) run {
	t.Helper()
	results := t.TempDir()
	environment := []string{"RESULTS_DIR=" + results, "HOME=" + results, "SOURCE_REGISTRY_INSECURE=true", "TARGET_REGISTRY_INSECURE=true"}
	for key, value := range variables {
		environment = append(environment, key+"="+value)
	}
	program := Program()
	program.Step = &Config{patience: registry.Patience{
		Attempts: 3, First: time.Millisecond, Longest: 5 * time.Millisecond,
		LongestAsked: 2 * time.Second, Silence: 3 * time.Second, // a busy machine is silent for a second
	}}
	var stdout, stderr bytes.Buffer
	status := step.Run(t.Context(), program, nil, environment, &stdout, &stderr)
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	return run{
		status: status, last: lines[len(lines)-1], log: stderr.String(), stdout: stdout.String(),
		results: readResults(t, results),
	}
}

func readResults(t testing.TB, dir string) map[string]string {
	t.Helper()
	results := map[string]string{}
	for _, result := range Program().Results {
		if content, err := os.ReadFile(filepath.Join(dir, result)); err == nil {
			results[result] = string(content)
		}
	}
	return results
}

// stage is a source that holds an image as 1.0, and a target.
type stage struct {
	source, target *faultyregistry.Registry
	image          v1.ImageIndex
	digest         string
}

func newStage(t testing.TB) *stage {
	t.Helper()
	s := &stage{source: faultyregistry.Start(t), target: faultyregistry.Start(t), image: twoPlatforms(t, "c0ffee")}
	s.digest = push(t, s.source, hello+":1.0", s.image)
	return s
}

// with returns the variables for a plain promotion of 1.0, and these.
func (s *stage) with(pairs ...string) map[string]string {
	variables := map[string]string{
		"IMAGE": hello + ":1.0", "SOURCE_REGISTRY": s.source.Host(), "TARGET_REGISTRY": s.target.Host(),
	}
	for i := 0; i < len(pairs); i += 2 {
		variables[pairs[i]] = pairs[i+1]
	}
	return variables
}

func twoPlatforms(t testing.TB, revision string) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, architecture := range []string{"amd64", "arm64"} {
		image, err := random.Image(2048, 2)
		if err != nil {
			t.Fatal(err)
		}
		image, err = mutate.ConfigFile(image, &v1.ConfigFile{
			OS: "linux", Architecture: architecture, RootFS: must(image.ConfigFile()).RootFS,
			Created: v1.Time{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
			Config:  v1.Config{Labels: map[string]string{"org.opencontainers.image.revision": revision}},
		})
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
		})
	}
	return index
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// push writes an index with go-containerregistry's own client, and returns its digest.
func push(t testing.TB, to *faultyregistry.Registry, at string, index v1.ImageIndex) string {
	t.Helper()
	reference := must(name.ParseReference(to.Host()+"/"+at, name.Insecure))
	if err := remote.WriteIndex(reference, index); err != nil {
		t.Fatal(err)
	}
	to.Forget()
	return must(index.Digest()).String()
}

// holds returns the digest of a tag, "" when it is absent, and fails unless all that it leads to is there and right,
// read by go-containerregistry's own client.
func holds(t testing.TB, in *faultyregistry.Registry, at string) string {
	t.Helper()
	in.Mend()
	in.Before(nil)
	reference := must(name.ParseReference(in.Host()+"/"+at, name.Insecure))
	found, err := remote.Get(reference)
	if err != nil {
		if strings.Contains(err.Error(), "UNKNOWN") {
			return ""
		}
		t.Fatal(err)
	}
	index, err := found.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Errorf("%s holds an incomplete image: %v", reference, err)
	}
	return found.Digest.String()
}

func writes(in *faultyregistry.Registry) []string {
	return slices.DeleteFunc(in.Requests(), func(request string) bool {
		return strings.HasPrefix(request, "GET ") || strings.HasPrefix(request, "HEAD ")
	})
}
