package registry

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestUsableChallenge(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		values      []string
		scheme      string
		params      map[string]string
	}{
		{"GitLab's", []string{`Bearer realm="https://gitlab.example.com/jwt/auth",service="container_registry",scope="repository:a/b:pull,push",error="insufficient_scope"`},
			"bearer", map[string]string{
				"realm": "https://gitlab.example.com/jwt/auth", "service": "container_registry",
				"scope": "repository:a/b:pull,push", "error": "insufficient_scope",
			}},
		{"basic", []string{`Basic realm="Registry Realm"`}, "basic", map[string]string{"realm": "Registry Realm"}},
		{"several in one header", []string{`Negotiate, Basic realm="a, b", Bearer realm=x`}, "bearer", map[string]string{"realm": "x"}},
		{"several headers", []string{"Negotiate", `basic realm="\"q\""`}, "basic", map[string]string{"realm": `"q"`}},
		{"bearer without a realm", []string{"Bearer"}, "", nil},
		{"nothing", nil, "", nil},
		{"nonsense", []string{`="`, ",,,", `Basic`, `Bearer realm="never closed`}, "bearer", map[string]string{"realm": "never closed"}},
	} {
		found := usable(http.Header{"Www-Authenticate": row.values})
		if found == nil {
			found = &challenge{}
		}
		if diff := cmp.Diff(row.params, found.params); diff != "" || found.scheme != row.scheme {
			t.Errorf("%s: scheme %q, want %q; parameters (-want +got):\n%s", row.description, found.scheme, row.scheme, diff)
		}
	}
}

func TestAskedPause(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-7": 0, "soon": 0,
		"Sun, 01 Mar 2026 12:00:30 GMT": 30 * time.Second, "Sun, 01 Mar 2026 11:00:00 GMT": 0,
	} {
		if got := askedPause(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %s, want %s", value, got, want)
		}
	}
}

func TestPausesGrowAndAreBounded(t *testing.T) {
	t.Parallel()
	patience := Patience{First: 100, Longest: 1000}
	for next, most := range map[int]time.Duration{2: 100, 3: 200, 5: 800, 6: 1000, 60: 1000} {
		for range 100 {
			if wait := patience.wait(next, 0); wait < most/2 || wait > most {
				t.Fatalf("before attempt %d: %d, want between %d and %d", next, wait, most/2, most)
			}
		}
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	if got := printable("a\x1b[2Jb\r\nexit status 0\u202e", 300); got != "a[2Jb exit status 0" {
		t.Errorf("%q", got)
	}
}

func FuzzParseChallenges(f *testing.F) {
	f.Add(`Bearer realm="https://x/token",service="r",scope="repository:a:pull"`)
	f.Add(`Negotiate, Basic realm="\"`)
	f.Add(`="=,`)
	f.Fuzz(func(t *testing.T, value string) {
		for _, found := range parseChallenges(value) {
			if found.scheme == "" || found.params == nil {
				t.Errorf("%q: %+v", value, found)
			}
		}
	})
}

func FuzzReadManifest(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`), "")
	f.Add([]byte(`<html>`), "text/html")
	f.Add([]byte(`null`), "application/vnd.oci.image.manifest.v1+json")
	f.Fuzz(func(t *testing.T, raw []byte, contentType string) {
		manifest, err := readManifest(raw, contentType)
		if err != nil {
			return
		}
		if string(manifest.Raw) != string(raw) || manifest.Digest.Algorithm != "sha256" {
			t.Errorf("%q: %+v", raw, manifest)
		}
		manifest.Children()
	})
}

func FuzzReadAuthFile(f *testing.F) {
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}}}`), "index.docker.io")
	f.Add([]byte(`{"auths":{"r:443/a":{"identitytoken":"x"}},"credHelpers":{"r":"y"}}`), "r")
	f.Fuzz(func(t *testing.T, document []byte, host string) {
		file, err := readAuthFile(AuthFile{Origin: "file", JSON: document}, host)
		if err == nil && len(file.entries) > 0 && file.helper != "" {
			t.Errorf("%q: entries and a helper", document)
		}
	})
}
