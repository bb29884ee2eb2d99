//go:build e2e

package peers_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPromoteLeavesWhatRegctlLeaves: the same copies made by regctl and by promote lead to the same tags, manifests,
// blobs and lists of referrers, from and to registries that keep such lists and that do not.
func TestPromoteLeavesWhatRegctlLeaves(t *testing.T) {
	t.Parallel()
	for _, from := range []string{"distribution", "olareg"} {
		for _, to := range []string{"distribution", "olareg"} {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				source, byRegctl, byPromote := serve(t, from), inTurn(t, serve(t, to)), serve(t, to)
				fill(t, source)
				for _, version := range []string{"1.0", "2.0"} {
					regctl(t, source, byRegctl, version)
					promote(t, source, byPromote, version)
				}
				want, got := read(t, byRegctl, imageName), read(t, byPromote, imageName)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("left behind (-regctl +promote):\n%s", diff)
				}
				// As many as fill wrote and are to be copied: 1.0 with its three children, four of cosign's and five
				// referrers, 2.0 with its one.
				if len(want.Manifests) != 15 || len(want.Referrers) != 5 || len(want.Lacking) != 1 {
					t.Errorf("regctl left %d manifests, %d with referrers, %d foreign layers; the test's images have others",
						len(want.Manifests), len(want.Referrers), len(want.Lacking))
				}
			})
		}
	}
}

// inTurn stands before a registry, and gives it one manifest at a time: of two referrers that regctl writes at once,
// olareg 0.2 loses one now and then.
func inTurn(t *testing.T, host string) string {
	t.Helper()
	var turn sync.Mutex
	forward := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: host})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			turn.Lock()
			defer turn.Unlock()
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func regctl(t *testing.T, source, target, version string) {
	t.Helper()
	run(t, "regctl", nil,
		"--host", "reg="+source+",tls=disabled", "--host", "reg="+target+",tls=disabled",
		"image", "copy", "--digest-tags", "--referrers",
		fmt.Sprintf("%s/%s:%s", source, imageName, version), fmt.Sprintf("%s/%s:%s", target, imageName, version))
}

func promote(t *testing.T, source, target, version string) {
	t.Helper()
	run(t, "promote", []string{
		"IMAGE=" + imageName + ":" + version, "RECORD=false",
		"SOURCE_REGISTRY=" + source, "SOURCE_REGISTRY_INSECURE=true",
		"TARGET_REGISTRY=" + target, "TARGET_REGISTRY_INSECURE=true",
	})
}
