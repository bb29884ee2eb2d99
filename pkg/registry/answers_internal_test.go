package registry

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestParseLinks(t *testing.T) {
	t.Parallel()
	for value, want := range map[string][]link{
		``:                                     nil,
		`</a?b=c,d>; rel="next"`:               {{"/a?b=c,d", "next"}},
		`<a>;rel=next`:                         {{"a", "next"}},
		`<a>; rel=prev, <b>; REL="last  Next"`: {{"a", "prev"}, {"b", "last  Next"}},
		`<a>; title="x; rel=next, <b>"; rel="prev"; rel="next"`: {{"a", "prev"}},
		`<a>`:                             {{"a", ""}},
		`<a`:                              nil,
		`a>; rel="next", < b >;rel="next`: {{"b", "next"}},
	} {
		if diff := cmp.Diff(want, parseLinks(value), cmp.AllowUnexported(link{})); diff != "" {
			t.Errorf("%q (-want +got):\n%s", value, diff)
		}
	}
}

func TestNextPageStaysAtTheRegistry(t *testing.T) {
	t.Parallel()
	asked, _ := url.Parse("https://registry.example:5000/v2/a/tags/list?n=2")
	for target, want := range map[string]string{
		"/v2/a/tags/list?last=b": "/v2/a/tags/list?last=b",
		"?last=b":                "/v2/a/tags/list?last=b",
		"https://registry.example/v2/a/tags/list?last=b":     "/v2/a/tags/list?last=b", // behind a proxy
		"http://REGISTRY.example:5001/v2/a/tags/list?last=b": "/v2/a/tags/list?last=b",
		"https://registry.example//other.example/v2/":        "/other.example/v2/",
		"//other.example/v2/a/tags/list":                     "",
		"https://other.example/v2/a/tags/list":               "",
		"https://registry.example@other.example/":            "",
		"mailto:somebody":                                    "",
		"%zz":                                                "",
	} {
		got, err := nextPage(asked, http.Header{"Link": {"<" + target + `>; rel="next"`}})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v; want %q", target, got, err, want)
		}
	}
}

func FuzzNextPage(f *testing.F) {
	f.Add(`</v2/a/tags/list?n=2&last=b>; rel="next"`)
	f.Add(`<https://other.example/>; rel=next`)
	f.Add(`<//a//b>; title="\"<x>,"; rel="prev next", <?c>`)
	f.Fuzz(func(t *testing.T, value string) {
		asked := &url.URL{Scheme: "https", Host: "registry.example", Path: "/v2/a/tags/list"}
		at, err := nextPage(asked, http.Header{"Link": {value}})
		if err != nil || at == "" {
			return
		}
		base := &url.URL{Scheme: "https", Host: "registry.example"}
		if next, err := base.Parse(at); err == nil && next.Host != base.Host { // as the client will
			t.Errorf("%q leads to %q", value, next)
		}
	})
}

func FuzzReadReferrers(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`), "application/vnd.oci.image.index.v1+json")
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:`+strings.Repeat("a", 64)+`","size":7}]}`), "application/json")
	f.Add([]byte(`{"manifests":null}`), "")
	f.Add([]byte(`<html>`), "text/html")
	f.Fuzz(func(t *testing.T, body []byte, mediaType string) {
		list, err := readReferrers(page{body: body, mediaType: mediaType})
		if err != nil {
			return
		}
		if !json.Valid(body) || len(list) > mostDescriptors {
			t.Errorf("%q: %v", body, list)
		}
		all, err := either(v1.Hash{}, list)
		for i, one := range all {
			if one.Digest.Hex == "" || one.Size < 0 || i > 0 && all[i-1].Digest.String() >= one.Digest.String() {
				t.Errorf("%q: %+v, %v", body, one, err)
			}
		}
	})
}

// FuzzMergeReferrers: whatever an index holds, it is still there afterwards, and so is what was added.
func FuzzMergeReferrers(f *testing.F) {
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:` + strings.Repeat("a", 64) + `","size":7,"x":[1]}],"annotations":{"a":"b"}}`))
	f.Add([]byte(`{"schemaVersion":2,"manifests":null,"Manifests":[{}]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, index []byte) {
		digest, _, err := v1.SHA256(strings.NewReader("ours"))
		if err != nil {
			t.Fatal(err)
		}
		merged, err := mergeReferrers(index, []v1.Descriptor{{Digest: digest, Size: 4}})
		if err != nil || merged == nil {
			return
		}
		var before, after content
		if err := json.Unmarshal(index, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(merged, &after); err != nil {
			t.Fatalf("%q became %q: %v", index, merged, err)
		}
		if len(after.Manifests) != len(before.Manifests)+1 || after.Manifests[len(before.Manifests)].Digest != digest {
			t.Fatalf("%q became %q", index, merged)
		}
		if diff := cmp.Diff(before.Manifests, after.Manifests[:len(before.Manifests)]); diff != "" && len(before.Manifests) > 0 {
			t.Errorf("%q (-before +after):\n%s", index, diff)
		}
		if again, err := mergeReferrers(merged, []v1.Descriptor{{Digest: digest, Size: 4}}); err != nil || again != nil {
			t.Errorf("%q is not recognized: %q, %v", merged, again, err)
		}
	})
}

func FuzzReadTags(f *testing.F) {
	f.Add([]byte(`{"name":"a/b","tags":["1.0","latest"]}`))
	f.Add([]byte(`{"name":"a/b","tags":null}`))
	f.Add([]byte(`{"tags":["../x"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		tags, err := readTags(body)
		if err != nil {
			return
		}
		for _, tag := range tags {
			if len(tag) == 0 || len(tag) > 128 || strings.ContainsAny(tag, "/:@?#% \n") {
				t.Errorf("%q: tag %q", body, tag)
			}
		}
	})
}

// FuzzFailure: what is read of an answer that means a failure can be printed, is short, and absence is never read out
// of a page.
func FuzzFailure(f *testing.F) {
	f.Add(404, []byte(`{"errors":[{"code":"MANIFEST_UNKNOWN","message":"x"}]}`), "application/json")
	f.Add(404, []byte(``), "")
	f.Add(404, []byte(`<html>`), "text/html")
	f.Add(429, []byte("\x1b[2J"), "text/plain")
	f.Fuzz(func(t *testing.T, status int, body []byte, mediaType string) {
		err := failure(&http.Response{
			StatusCode: status, Header: http.Header{"Content-Type": {mediaType}},
			Body:    &receivedBody{ReadCloser: &closable{bytes.NewReader(body)}, guard: watch(t.Context(), 1<<40, 1<<40), outer: t.Context()},
			Request: &http.Request{},
		})
		text := err.Error()
		if len(text) > 4000 || strings.ContainsAny(text, "\n\r\x1b") {
			t.Errorf("%d %q: %q", status, body, text)
		}
		if bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")) && supportOf(err) == listMissing && mediaType == "text/html" {
			t.Errorf("a page %q says that there is no list", body)
		}
	})
}

type closable struct{ *bytes.Reader }

func (closable) Close() error { return nil }
