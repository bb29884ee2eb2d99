package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// complete reads the image back with go-containerregistry's own client.
func complete(t testing.TB, in *faultyregistry.Registry, at string) {
	t.Helper()
	reference, err := name.ParseReference(in.Host()+"/"+at, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	image, err := remote.Image(reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(image); err != nil {
		t.Errorf("%s: %v", at, err)
	}
}

func TestCopyThroughFaults(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description    string
		source, target string // which request is broken
		times          int
		fault          faultyregistry.Fault
		kind           fault.Kind // 0: the copy succeeds
		side           string
	}{
		{description: "nothing broken"},
		{"a layer's connection is reset in mid-body", "GET /blobs/", "", 3, faultyregistry.Reset(400), 0, ""},
		{"a layer is truncated", "GET /blobs/", "", 1, faultyregistry.Truncate(400), 0, ""},
		{"a layer's bytes are not what its digest says", "GET /blobs/", "", -1, faultyregistry.Corrupt(), fault.Wrong, "source registry"},
		{"a layer is missing", "GET /blobs/", "", -1, faultyregistry.Status(404, "BLOB_UNKNOWN"), fault.NotFound, "source registry"},
		{"the source refuses", "GET /blobs/", "", -1, faultyregistry.Status(403, "DENIED"), fault.Denied, "source registry"},
		{"the source is down", "GET /blobs/", "", -1, faultyregistry.Status(500, ""), fault.Unavailable, "source registry"},
		{"an upload cannot be started for a while", "", "POST /uploads/", 2, faultyregistry.Status(503, ""), 0, ""},
		{"an upload is reset", "", "PUT /uploads/", 2, faultyregistry.Reset(0), 0, ""},
		{"an upload's answer is lost", "", "PUT /uploads/", 2, faultyregistry.Lost(), 0, ""},
		{"an upload's session has expired", "", "PUT /uploads/", 1, faultyregistry.Status(404, "BLOB_UPLOAD_UNKNOWN"), 0, ""},
		{"an upload leads to nowhere", "", "POST /uploads/", -1, faultyregistry.Status(202, ""), fault.Unavailable, "target registry"},
		{"the target refuses uploads", "", "POST /uploads/", -1, faultyregistry.Status(403, "DENIED"), fault.Denied, "target registry"},
		{"the target is full", "", "PUT /uploads/", -1, faultyregistry.Status(507, ""), fault.Unavailable, "target registry"},
		{"a manifest is written after a while", "", "PUT /manifests/", 2, faultyregistry.RetryAfter(429, 0), 0, ""},
		{"a manifest is refused", "", "PUT /manifests/", -1, faultyregistry.Status(400, "MANIFEST_INVALID"), fault.Refused, "target registry"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			source, target := faultyregistry.Start(t), faultyregistry.Start(t)
			from := open(t, registry.Config{Address: source.Host(), Insecure: true, Side: "source registry"}).Repository("a/b")
			to := plain(t, target).Repository("a/b")
			pushed := push(t, from, "1.0", randomImage(t))
			if row.source != "" {
				source.Break(row.source, row.times, row.fault)
			}
			if row.target != "" {
				target.Break(row.target, row.times, row.fault)
			}
			_, err := registry.Copy(t.Context(), from, pushed.Digest, to, nil)
			if row.kind != 0 {
				if fault.KindOf(err) != row.kind || fault.SideOf(err) != row.side {
					t.Errorf("error %v: kind %v, side %q; want %v, %q", err, fault.KindOf(err), fault.SideOf(err), row.kind, row.side)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			target.Mend()
			complete(t, target, "a/b@"+pushed.Digest.String())
		})
	}
}

func TestABrokenLayerIsTakenUpWhereItBrokeOff(t *testing.T) {
	t.Parallel()
	source := faultyregistry.Start(t)
	from := plain(t, source).Repository("a/b")
	image := randomImage(t)
	push(t, from, "1.0", image)
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := layers[0].Digest()
	size, _ := layers[0].Size()
	source.Break("GET /blobs/", 1, faultyregistry.Reset(400))
	var ranges []string // requests come one after the other here
	source.Before(func(r *http.Request) { ranges = append(ranges, r.Header.Get("Range")) })
	content, err := from.Blob(t.Context(), v1.Descriptor{Digest: digest, Size: size})
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	read, err := io.ReadAll(content)
	if err != nil || int64(len(read)) != size {
		t.Errorf("read %d of %d bytes: %v", len(read), size, err)
	}
	if diff := cmp.Diff([]string{"", fmt.Sprintf("bytes=400-%d", size-1)}, ranges); diff != "" {
		t.Errorf("ranges asked for (-want +got):\n%s", diff)
	}
}

func TestASecondCopySendsNothing(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	from, to := plain(t, source).Repository("a/b"), plain(t, target).Repository("a/b")
	pushed := push(t, from, "1.0", randomImage(t))
	var states []registry.State
	first, err := registry.Copy(t.Context(), from, pushed.Digest, to, func(p registry.Progress) {
		if p.State != registry.Running {
			states = append(states, p.State)
		}
	})
	if err != nil || first.Blobs != 3 || first.Present != 0 || first.Manifests != 1 || first.Bytes < 2048 {
		t.Errorf("first: %+v, %v", first, err)
	}
	if diff := cmp.Diff([]registry.State{registry.Sent, registry.Sent, registry.Sent}, states); diff != "" {
		t.Errorf("states (-want +got):\n%s", diff)
	}
	second, err := registry.Copy(t.Context(), from, pushed.Digest, to, nil)
	if diff := cmp.Diff(registry.Copied{Manifests: 1, Blobs: 3, Present: 3}, second); err != nil || diff != "" {
		t.Errorf("second: %v (-want +got):\n%s", err, diff)
	}
}

func TestBlobsAreMountedInsideOneRegistry(t *testing.T) {
	t.Parallel()
	host := faultyregistry.Start(t)
	access := plain(t, host)
	pushed := push(t, access.Repository("a/b"), "1.0", randomImage(t))
	// This registry finds blobs in all repositories and knows no mounts: let it say that they are not there, and mount.
	host.Break("HEAD /v2/c/d/blobs/", -1, faultyregistry.Status(404, ""))
	host.Break("POST /v2/c/d/blobs/uploads/", 2, faultyregistry.Status(201, ""))
	host.Forget()
	copied, err := registry.Copy(t.Context(), access.Repository("a/b"), pushed.Digest, access.Repository("c/d"), nil)
	if err != nil || copied.Mounted != 2 || copied.Bytes == 0 {
		t.Errorf("%+v, %v; want two blobs mounted and one sent", copied, err)
	}
	if !slices.ContainsFunc(host.Requests(), func(request string) bool {
		return strings.HasPrefix(request, "POST ") && strings.Contains(request, "from=a%2Fb&mount=sha256%3A")
	}) {
		t.Errorf("no mount was asked for: %v", host.Requests())
	}
}

func TestArtifactsAndForeignLayers(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	from, to := plain(t, source).Repository("a/b"), plain(t, target).Repository("a/b")
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), "application/vnd.example.config+json")
	image, err := mutate.Append(image,
		mutate.Addendum{Layer: static.NewLayer([]byte("chart"), "application/vnd.example.chart"), MediaType: "application/vnd.example.chart"},
		mutate.Addendum{
			Layer:     static.NewLayer([]byte("windows"), types.DockerForeignLayer),
			MediaType: types.DockerForeignLayer, URLs: []string{"https://example.com/windows"},
		})
	if err != nil {
		t.Fatal(err)
	}
	pushed := push(t, from, "1.0", image)
	copied, err := registry.Copy(t.Context(), from, pushed.Digest, to, nil)
	if err != nil || copied.Blobs != 2 {
		t.Fatalf("%+v, %v; want the configuration and the chart", copied, err)
	}
	got, err := to.Manifest(t.Context(), pushed.Digest)
	if err != nil || string(got.Raw) != string(pushed.Raw) {
		t.Errorf("the manifest is not the same: %v", err)
	}
}

func TestAHostileIndexIsBounded(t *testing.T) {
	t.Parallel()
	source := faultyregistry.Start(t)
	from := plain(t, source).Repository("a/b")
	var nested v1.ImageIndex = empty.Index
	for range 12 {
		nested = mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: nested})
	}
	digest, err := nested.Digest()
	if err != nil {
		t.Fatal(err)
	}
	_, err = registry.Copy(t.Context(), registry.FromImage(nested), digest, from, nil)
	if err == nil || !strings.Contains(err.Error(), "deeper than") || len(source.Requests()) > 0 {
		t.Errorf("error %v, requests %v", err, source.Requests())
	}
}

func TestCancellingACopy(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	from, to := plain(t, source).Repository("a/b"), plain(t, target).Repository("a/b")
	pushed := push(t, from, "1.0", randomImage(t))
	ctx, cancel := context.WithCancel(t.Context())
	target.Break("PUT /uploads/", -1, faultyregistry.Then(cancel))
	started := time.Now()
	_, err := registry.Copy(ctx, from, pushed.Digest, to, nil)
	if !errors.Is(err, context.Canceled) || time.Since(started) > 5*time.Second {
		t.Errorf("error %v after %s, want context.Canceled at once", err, time.Since(started))
	}
	for _, request := range target.Requests() {
		if strings.Contains(request, "/manifests/") {
			t.Errorf("went on after it was cancelled: %s", request)
		}
	}
}

func TestACrashEndsACopy(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	from, to := plain(t, source).Repository("a/b"), plain(t, target).Repository("a/b")
	pushed := push(t, from, "1.0", randomImage(t))
	_, err := registry.Copy(t.Context(), from, pushed.Digest, to, func(registry.Progress) { panic("boom") })
	if crash := (*fault.Crash)(nil); !errors.As(err, &crash) || crash.Value != "boom" || len(crash.Stack) == 0 {
		t.Errorf("error %v", err)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	repository := plain(t, server).Repository("a/b")
	created := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	labelled := func(architecture string) v1.Image {
		image := randomImage(t)
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config.OS, config.Architecture, config.Created = "linux", architecture, v1.Time{Time: created}
		config.Config.Labels = map[string]string{"org.opencontainers.image.revision": "c0ffee-" + architecture}
		if image, err = mutate.ConfigFile(image, config); err != nil {
			t.Fatal(err)
		}
		return image
	}
	single := push(t, repository, "single", labelled("arm64"))
	addendum := func(image v1.Image, os, architecture string) mutate.IndexAddendum {
		return mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: os, Architecture: architecture}}}
	}
	index := push(t, repository, "index", mutate.AppendManifests(empty.Index,
		addendum(randomImage(t), "unknown", "unknown"), // an attestation
		addendum(labelled("amd64"), "linux", "amd64"), addendum(labelled("s390x"), "linux", "s390x")))
	for _, row := range []struct {
		description string
		manifest    registry.Manifest
		revision    string
		platforms   []string
		children    int
	}{
		{"an image", single, "c0ffee-arm64", []string{"linux/arm64"}, 0},
		{"an index, through its first platform", index, "c0ffee-amd64", []string{"linux/amd64", "linux/s390x"}, 3},
	} {
		facts, err := repository.Inspect(t.Context(), row.manifest)
		if err != nil {
			t.Fatalf("%s: %v", row.description, err)
		}
		if facts.Revision() != row.revision || !facts.Created.Equal(created) {
			t.Errorf("%s: %+v", row.description, facts)
		}
		if diff := cmp.Diff(row.platforms, facts.Platforms); diff != "" {
			t.Errorf("%s: platforms (-want +got):\n%s", row.description, diff)
		}
		if got := len(row.manifest.Children()); got != row.children {
			t.Errorf("%s: %d children, want %d", row.description, got, row.children)
		}
	}
}

func TestLargeBlobsAreStreamed(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	from, to := plain(t, source).Repository("a/b"), plain(t, target).Repository("a/b")
	image, err := random.Image(8<<20, 1)
	if err != nil {
		t.Fatal(err)
	}
	pushed := push(t, from, "1.0", image)
	source.Break("GET /blobs/", 2, faultyregistry.Reset(3<<20))
	if _, err := registry.Copy(t.Context(), from, pushed.Digest, to, nil); err != nil {
		t.Fatal(err)
	}
	complete(t, target, "a/b@"+pushed.Digest.String())
}
