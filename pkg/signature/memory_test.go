package signature_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"weak"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
	"dockline/pkg/signature"
)

// hoarder is a repository with many large manifests beside an image, which counts how many are held at a time.
type hoarder struct {
	signature.Repository
	referrers, size int

	mu    sync.Mutex
	given []weak.Pointer[byte]
	asked int
	most  int // held, when the next one was asked for
}

func (h *hoarder) Referrers(context.Context, v1.Hash) ([]v1.Descriptor, error) {
	var all []v1.Descriptor
	for i := range h.referrers {
		all = append(all, v1.Descriptor{Digest: v1.Hash{Algorithm: "sha256", Hex: fmt.Sprintf("%064x", i)}, ArtifactType: bundleType})
	}
	return all, nil
}

func (h *hoarder) Lookup(context.Context, string) (registry.Manifest, bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	runtime.GC()
	held := 0
	for _, one := range h.given {
		if one.Value() != nil {
			held++
		}
	}
	h.most = max(h.most, held)
	raw := append([]byte(`{"schemaVersion":2,"layers":[]`), bytes.Repeat([]byte(" "), h.size)...)
	raw = append(raw, '}')
	h.given, h.asked = append(h.given, weak.Make(&raw[0])), h.asked+1
	return registry.Manifest{MediaType: types.OCIManifestSchema1, Raw: raw}, true, nil
}

// TestManifestsAreHeldOneAtATime, and not more of them are read than there is reason to. The garbage is collected before
// each is handed out, so that what is there still is held.
func TestManifestsAreHeldOneAtATime(t *testing.T) {
	s := newStage(t, faultyregistry.Start(t))
	for _, row := range []struct {
		referrers, size, asked int
		says                   string
	}{
		{300, 1 << 10, 101, "it is not signed"},
		{100, 8 << 20, 4, "more than 32 MiB"},
	} {
		in := &hoarder{Repository: s, referrers: row.referrers, size: row.size}
		verifier, err := signature.New(signature.Policy{Key: ed25519Key().pem()})
		if err != nil {
			t.Fatal(err)
		}
		_, err = verifier.Check(t.Context(), in, s.image)
		if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), row.says) {
			t.Error(err)
		}
		if in.most > 2 || in.asked > row.asked {
			t.Errorf("%d manifests of %d bytes: %d were held at a time, %d were asked for; 2 and %d are the most",
				row.referrers, row.size, in.most, in.asked, row.asked)
		}
	}
}
