package sbom_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"

	"dockline/pkg/sbom"
)

// file is an entry of a layer; one without content and kind is empty.
type file struct {
	name    string
	content []byte
	kind    byte
}

func layer(t *testing.T, files ...file) v1.Layer {
	t.Helper()
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, one := range files {
		header := &tar.Header{Name: one.name, Typeflag: one.kind, Size: int64(len(one.content)), Mode: 0o755}
		if one.kind == 0 {
			header.Typeflag = tar.TypeReg
		}
		if one.kind == tar.TypeSymlink {
			header.Linkname = "elsewhere"
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(one.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	made, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// program is a Go program: this test.
func program(t *testing.T) []byte {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestPrograms(t *testing.T) {
	t.Parallel()
	own := program(t)
	damaged := bytes.Clone(own[:len(own)/2])
	for _, test := range []struct {
		description string
		layers      []v1.Layer
		want        []string
	}{
		{"none", nil, nil},
		{"one, and what is none", []v1.Layer{layer(t, file{name: "usr/bin/app", content: own}, file{name: "etc/text", content: []byte("\xff Go buildinf: is no program")},
			file{name: "bin/other", content: []byte("\x7fELF that Go has not made")}, file{name: "short", content: []byte("MZ")}, file{name: "empty"})}, []string{"/usr/bin/app"}},
		{"half of one", []v1.Layer{layer(t, file{name: "app", content: damaged})}, nil},
		{"a name that leaves the root", []v1.Layer{layer(t, file{name: "../../app", content: own})}, []string{"/app"}},
		{"one that a later layer takes away", []v1.Layer{layer(t, file{name: "a/app", content: own}, file{name: "b/app", content: own}), layer(t, file{name: "a/.wh.app"})}, []string{"/b/app"}},
		{"a directory that a later layer takes away", []v1.Layer{layer(t, file{name: "a/b/app", content: own}), layer(t, file{name: ".wh.a"})}, nil},
		{"a directory that a later layer empties", []v1.Layer{layer(t, file{name: "a/app", content: own}), layer(t, file{name: "a/.wh..wh..opq"}, file{name: "a/new", content: own})}, []string{"/a/new"}},
		{"one that is replaced by a link", []v1.Layer{layer(t, file{name: "app", content: own}), layer(t, file{name: "app", kind: tar.TypeSymlink})}, nil},
		{"one that is replaced by a text", []v1.Layer{layer(t, file{name: "app", content: own}), layer(t, file{name: "app", content: []byte("#!/bin/sh\nexec something else")})}, nil},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			found, skipped, err := sbom.Programs(t.Context(), test.layers)
			if err != nil || len(skipped) > 0 {
				t.Fatalf("%v, skipped %v", err, skipped)
			}
			var got []string
			for _, one := range found {
				got = append(got, one.Path)
				if one.Build.GoVersion == "" || one.Build.Path != "dockline/pkg/sbom.test" {
					t.Errorf("built from %+v", one.Build)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestALargeProgramIsNamed(t *testing.T) {
	t.Parallel()
	large := make([]byte, 128<<20+1)
	copy(large, "\x7fELF")
	found, skipped, err := sbom.Programs(t.Context(), []v1.Layer{layer(t, file{name: "app", content: large})})
	if err != nil || len(found) > 0 || !slices.Equal(skipped, []string{"/app"}) {
		t.Errorf("%v, found %v, skipped %v", err, found, skipped)
	}
}

func TestProgramsEnd(t *testing.T) {
	t.Parallel()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := sbom.Programs(ended, []v1.Layer{layer(t, file{name: "a", content: []byte("x")})}); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	build := func(main string, deps ...*debug.Module) *debug.BuildInfo {
		return &debug.BuildInfo{GoVersion: "go1.26.0", Path: main + "/cmd/x", Main: debug.Module{Path: main, Version: "v1.2.3"}, Deps: deps}
	}
	shared := &debug.Module{Path: "golang.org/x/net", Version: "v0.58.0"}
	image := sbom.Image{
		Name: "registry.example.com/deepsky/hello", Tag: "1.0", Platform: "linux/amd64", Tool: "dockline clone-build-push 1.4.0",
		Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("4a", 32)}, Created: time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC),
		Labels: map[string]string{"org.opencontainers.image.licenses": "MIT", "team": "blue"},
		Sources: []sbom.Source{
			{Name: "alpine:3.20", URL: "pkg:docker/library/alpine@3.20", Digest: "sha256:" + strings.Repeat("17", 32), Base: true},
			{Name: "golang:1.26", URL: "pkg:docker/library/golang@1.26", Digest: "sha256:" + strings.Repeat("18", 32)},
		},
		Programs: []sbom.Program{
			{Path: "/app/a", Build: build("example.com/a", shared)},
			{Path: "/app/b", Build: build("example.com/b", shared, &debug.Module{Path: "old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/new", Version: "v2.0.0+incompatible"}})},
		},
		Skipped: []string{"/app/huge"},
	}
	text, err := json.Marshal(sbom.List(image))
	if err != nil {
		t.Fatal(err)
	}
	var read v2_3.Document // the library's own reader
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{"DOCUMENT": "document"}
	for _, one := range read.Packages {
		name := one.PackageName
		if strings.HasPrefix(string(one.PackageSPDXIdentifier), "Module-") {
			name = one.PackageExternalReferences[0].Locator
		}
		names[string(one.PackageSPDXIdentifier)] = name
		if one.FilesAnalyzed || one.PackageDownloadLocation == "" {
			t.Errorf("%s claims what is not known: %+v", name, one)
		}
	}
	if len(names) != len(read.Packages)+1 {
		t.Errorf("%d packages have %d identifiers", len(read.Packages), len(names)-1)
	}
	var got []string
	for _, one := range read.Relationships {
		got = append(got, names[string(one.RefA.ElementRefID)]+" "+one.Relationship+" "+names[string(one.RefB.ElementRefID)])
	}
	const hello = "registry.example.com/deepsky/hello"
	want := []string{
		"document DESCRIBES " + hello,
		hello + " DESCENDANT_OF alpine:3.20",
		"golang:1.26 BUILD_DEPENDENCY_OF " + hello,
		hello + " CONTAINS example.com/a",
		"example.com/a DEPENDS_ON pkg:golang/stdlib@1.26.0",
		"example.com/a DEPENDS_ON pkg:golang/golang.org/x/net@v0.58.0",
		hello + " CONTAINS example.com/b",
		"example.com/b DEPENDS_ON pkg:golang/stdlib@1.26.0",
		"example.com/b DEPENDS_ON pkg:golang/golang.org/x/net@v0.58.0",
		"example.com/b DEPENDS_ON pkg:golang/example.com/new@v2.0.0+incompatible",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, part := range []string{
		`"SPDXID":"SPDXRef-DOCUMENT"`, `"dataLicense":"CC0-1.0"`, `"created":"2026-05-04T12:00:00Z"`, `"Tool: dockline-clone-build-push-1.4.0"`,
		`label team=blue`, `The image says: MIT`, `too large: /app/huge`, `"documentNamespace":"https://dockline.example.com/spdx/4a4a`,
		`pkg:oci/hello@sha256%3A4a4a`,
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("%s is missing in %s", part, text)
		}
	}
	again, err := json.Marshal(sbom.List(image))
	if err != nil || !bytes.Equal(again, text) {
		t.Errorf("two lists of one image differ (%v)", err)
	}
}
