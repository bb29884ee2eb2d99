package registry_test

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// TestAnImageThatNobodyBuiltIsRefused has configurations that are too large or no JSON.
func TestAnImageThatNobodyBuiltIsRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, config string
		size         int // that the manifest says; 0 is the configuration's own
		says         string
	}{
		{"too large", "{}", 9 << 20, "it has 9437184 bytes, and 8 MiB are the most that is read"},
		{"no JSON", "<html>", 0, "it is no image configuration: invalid character '<'"},
		{"another type", `{"config":{"Labels":"x"}}`, 0, "it is no image configuration: json: cannot unmarshal string"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if row.size == 0 {
				row.size = len(row.config)
			}
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, "/blobs/") {
					_, _ = w.Write([]byte(row.config))
					return
				}
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				_, _ = fmt.Fprintf(w, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%x","size":%d}}`,
					sha256.Sum256([]byte(row.config)), row.size)
			}))
			t.Cleanup(server.Close)
			in := open(t, registry.Config{Address: strings.TrimPrefix(server.URL, "http://"), Insecure: true, Side: "registry"}).Repository("a/b")
			manifest, err := in.Resolve(t.Context(), "1.0")
			if err != nil {
				t.Fatal(err)
			}
			_, err = in.Inspect(t.Context(), manifest)
			if fault.KindOf(err) != fault.Refused || fault.SideOf(err) != "registry" || !strings.Contains(err.Error(), row.says) ||
				!strings.Contains(fault.HintOf(err), "find out who pushed it") {
				t.Errorf("%v (%s, %s): %q", err, fault.KindOf(err), fault.SideOf(err), fault.HintOf(err))
			}
		})
	}
}
