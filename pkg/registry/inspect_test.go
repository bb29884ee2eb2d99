package registry_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
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
			in := configured(t, row.config, row.size)
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

// configured is a repository with an image of that configuration; size is what its manifest says, 0 the truth.
func configured(t testing.TB, config string, size int) *registry.Repository {
	t.Helper()
	if size == 0 {
		size = len(config)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			_, _ = io.WriteString(w, config)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		_, _ = fmt.Fprintf(w, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%x","size":%d}}`,
			sha256.Sum256([]byte(config)), size)
	}))
	t.Cleanup(server.Close)
	return open(t, registry.Config{Address: strings.TrimPrefix(server.URL, "http://"), Insecure: true, Side: "registry"}).Repository("a/b")
}

// TestAHostileConfigurationTakesLittleRoom: what is not used of it is not held. It is not parallel to others, whose
// memory would count.
func TestAHostileConfigurationTakesLittleRoom(t *testing.T) {
	const useful = `"created":"2026-03-01T12:00:00Z","os":"linux","architecture":"arm","variant":"v7","config":{"Labels":{"a":"b\"c"}}`
	fill := func(text string) string {
		return strings.TrimSuffix(strings.Repeat(text+",", (8<<20-1000)/(len(text)+1)), ",")
	}
	for _, row := range []struct{ name, config, says string }{
		{"a history of nothings", `{` + useful + `,"history":[` + fill("{}") + `]}`, ""},
		{"layers of nothing", `{` + useful + `,"rootfs":{"type":"layers","diff_ids":[` + fill(`""`) + `]}}`, ""},
		{"variables of nothing", `{` + strings.TrimSuffix(useful, "}") + `,"Env":[` + fill(`""`) + `]}}`, ""},
		{"labels of nothing", `{"config":{"Labels":{` + fill(`"":""`) + `}}}`, "more than 10000 labels"},
		{"labels without end", `{"config":{"Labels":{` + numbered(600_000) + `}}}`, "more than 10000 labels"},
	} {
		in := configured(t, row.config, 0)
		manifest, err := in.Resolve(t.Context(), "1.0")
		if err != nil {
			t.Fatal(err)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		facts, err := in.Inspect(t.Context(), manifest)
		runtime.ReadMemStats(&after)
		if (err == nil) != (row.says == "") || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", row.name, err)
		}
		if strings.Contains(row.config, useful[:30]) && (facts.Labels["a"] != `b"c` || facts.Platforms[0] != "linux/arm/v7" || facts.Created.Year() != 2026) {
			t.Errorf("%s: %+v", row.name, facts)
		}
		// The content itself, a copy or two by the decoder, and what the server of the test takes.
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 48 {
			t.Errorf("%s: %d MiB were allocated for %d MiB", row.name, took, len(row.config)>>20)
		}
	}
}

func numbered(n int) string {
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, `"%x":"",`, i)
	}
	return strings.TrimSuffix(all.String(), ",")
}
