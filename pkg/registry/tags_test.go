package registry_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

func TestTags(t *testing.T) {
	t.Parallel()
	const get = "GET /tags/list"
	tagList := func(link, body string) faultyregistry.Fault {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.RawQuery != "" { // the next page
				answering(200, "application/json", `{"name":"a/b","tags":["0.9","2.0"]}`)(w, r, next)
				return
			}
			w.Header().Set("Link", link)
			answering(200, "application/json", body)(w, r, next)
		}
	}
	for _, row := range []struct {
		description string
		fault       faultyregistry.Fault
		want        []string
		kind        fault.Kind // 0: no error
		text        string
	}{
		{"two", nil, []string{"1.0", "2.0"}, 0, ""},
		{"none", answering(200, "application/json", `{"name":"a/b","tags":[]}`), nil, 0, ""},
		{"null", answering(200, "application/json", `{"name":"a/b","tags":null}`), nil, 0, ""},
		{"no repository", faultyregistry.Status(404, "NAME_UNKNOWN"), nil, 0, ""},
		{"two pages, one tag on both", tagList(`</v2/a/b/tags/list?n=2&last=2.0>; rel="next"`, `{"name":"a/b","tags":["1.0","2.0"]}`),
			[]string{"0.9", "1.0", "2.0"}, 0, ""},
		{"next page at another host", tagList(`<//registry.example/v2/a/b/tags/list?n=2>; rel="next"`, `{"name":"a/b","tags":["1.0"]}`),
			nil, fault.Unavailable, "registry.example"},
		{"404 of a web site", faultyregistry.Page(404), nil, fault.Unavailable, "text/html"},
		{"HTML with status 200", faultyregistry.Page(200), nil, fault.Unavailable, "not a registry's"},
		{"other JSON", answering(200, "application/json", `{"errors":[]}`), nil, fault.Unavailable, "not a list of tags"},
		{"what cannot be a tag", answering(200, "application/json", `{"name":"a/b","tags":["../../x"]}`), nil, fault.Unavailable, "../../x"},
		{"truncated", faultyregistry.Truncate(12), nil, fault.Unavailable, "not a list of tags"},
		{"403", faultyregistry.Status(403, "DENIED"), nil, fault.Denied, "403"},
		{"500 for ever", faultyregistry.Status(500, ""), nil, fault.Unavailable, "500"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := faultyregistry.Start(t)
			repository := plain(t, server).Repository("a/b")
			push(t, repository, "2.0", randomImage(t))
			push(t, repository, "1.0", randomImage(t))
			if row.fault != nil {
				server.Break(get, -1, row.fault)
			}
			got, err := repository.Tags(t.Context())
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("tags (-want +got):\n%s", diff)
			}
			if row.kind == 0 && err != nil || row.kind != 0 && (fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.text)) {
				t.Errorf("error %v of kind %v; want %v with %q", err, fault.KindOf(err), row.kind, row.text)
			}
			if row.kind != 0 && fault.SideOf(err) != "target registry" {
				t.Errorf("side %q", fault.SideOf(err))
			}
		})
	}
}

func TestDeleteTag(t *testing.T) {
	t.Parallel()
	const remove = "DELETE /manifests/"
	for _, row := range []struct {
		description string
		tag         string
		fault       faultyregistry.Fault
		times       int
		removed     bool
		kind        fault.Kind // 0: no error
	}{
		{"there", "1.0", nil, 0, true, 0},
		{"never there", "3.0", nil, 0, true, 0},
		{"removed, and the answer lost", "1.0", faultyregistry.Lost(), 1, true, 0},
		{"500 once", "1.0", faultyregistry.Status(500, ""), 1, true, 0},
		{"distribution 2", "1.0", faultyregistry.Status(400, "DIGEST_INVALID"), -1, false, 0},
		{"404 of one that is there", "1.0", faultyregistry.Status(404, "MANIFEST_UNKNOWN"), -1, false, 0},
		{"405", "1.0", faultyregistry.Status(405, "UNSUPPORTED"), -1, false, 0},
		{"405 without a body", "1.0", faultyregistry.Status(405, ""), -1, false, 0},
		{"501", "1.0", faultyregistry.Status(501, "UNSUPPORTED"), -1, false, 0},
		{"a page with 405", "1.0", faultyregistry.Page(405), -1, false, fault.Refused},
		{"a page with 404", "1.0", faultyregistry.Page(404), -1, false, fault.Unavailable},
		{"403", "1.0", faultyregistry.Status(403, "DENIED"), -1, false, fault.Denied},
		{"500 for ever", "1.0", faultyregistry.Status(500, ""), -1, false, fault.Unavailable},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := faultyregistry.Start(t)
			repository := plain(t, server).Repository("a/b")
			image := push(t, repository, "1.0", randomImage(t))
			if err := repository.Put(t.Context(), image, "other"); err != nil {
				t.Fatal(err)
			}
			if row.fault != nil {
				server.Break(remove, row.times, row.fault)
			}
			removed, err := repository.DeleteTag(t.Context(), row.tag, time.Now(), goOn)
			if removed != row.removed || (err != nil) != (row.kind != 0) || err != nil && fault.KindOf(err) != row.kind {
				t.Errorf("removed: %t, error %v; want %t, %v", removed, err, row.removed, row.kind)
			}
			if _, present, err := repository.Lookup(t.Context(), row.tag); err != nil || present == row.removed {
				t.Errorf("afterwards present: %t, %v", present, err)
			}
			for _, at := range []string{"other", image.Digest.String()} {
				if _, err := repository.Resolve(t.Context(), at); err != nil {
					t.Errorf("lost with the tag: %v", err)
				}
			}
		})
	}
}

func TestDeleteTagTakesNoDigest(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	repository := plain(t, server).Repository("a/b")
	image := push(t, repository, "1.0", randomImage(t))
	for _, at := range []string{image.Digest.String(), "", "../../c/d/manifests/1.0"} {
		if removed, err := repository.DeleteTag(t.Context(), at, time.Now(), goOn); err == nil || removed {
			t.Errorf("%q: %t, %v; want a refusal", at, removed, err)
		}
	}
	if n := count(server, "DELETE"); n > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestCosignTags(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	repository := plain(t, server).Repository("a/b")
	image := push(t, repository, "1.0", randomImage(t))
	if got, err := repository.CosignTags(t.Context(), image.Digest); err != nil || got != nil {
		t.Errorf("before: %v, %v", got, err)
	}
	var want []registry.Tagged
	for _, ending := range []string{".sig", ".sbom"} {
		tag := fmt.Sprintf("sha256-%s%s", image.Digest.Hex, ending)
		want = append(want, registry.Tagged{Tag: tag, Manifest: push(t, repository, tag, randomImage(t))})
	}
	got, err := repository.CosignTags(t.Context(), image.Digest)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("(-want +got):\n%serror %v", diff, err)
	}
	server.Break("GET .att", -1, faultyregistry.Status(403, "DENIED"))
	if got, err := repository.CosignTags(t.Context(), image.Digest); fault.KindOf(err) != fault.Denied || got != nil {
		t.Errorf("one that cannot be read: %v, %v", got, err)
	}
}
