package registry

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"

	"dockline/pkg/fault"
)

// What lists may have at most: more than any registry gives that means well. A list without an end is one that a
// registry, or what stands before it, makes up.
const (
	mostPages     = 1000
	mostListBytes = 32 << 20
)

// page is one answer of a list that may have several.
type page struct {
	body      []byte
	mediaType string // of the header, without parameters
	next      string // path and query of the page that follows; "" after the last
}

// page asks one time. An answer other than 200 is a [StatusError].
func (r *Repository) page(ctx context.Context, at, accept string) (page, error) {
	answer, err := r.client.once(ctx, call{
		method: http.MethodGet, at: at, header: map[string]string{"Accept": accept}, scopes: r.scopes("pull"),
	})
	if err != nil {
		return page{}, err
	}
	if answer.StatusCode != http.StatusOK {
		return page{}, r.explain(failure(answer))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(whole(answer), largestManifest+1))
	if err != nil {
		return page{}, err
	}
	if len(body) > largestManifest {
		return page{}, notARegistry("a list in pages of more than 8 MiB")
	}
	next, err := nextPage(answer.Request.URL, answer.Header)
	if err != nil {
		return page{}, err
	}
	kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
	return page{body: body, mediaType: strings.TrimSpace(kind), next: next}, nil
}

// pages counts what a list has had so far.
type pages struct{ number, bytes int }

// another is called before each page but the first, and refuses a list that has no end.
func (p *pages) another(last page) error {
	p.number++
	p.bytes += len(last.body)
	if p.number >= mostPages || p.bytes > mostListBytes {
		return fault.WithHint(fault.New(fault.Refused,
			"giving up: it has more than %d pages, or more than %d MiB", mostPages, mostListBytes>>20), hostileHint)
	}
	return nil
}

const hostileHint = "no registry has such a list by itself: find out who wrote it, and how"

// nextPage reads where the next page is (RFC 8288, relation "next"), as a path at the registry itself. Another host is
// refused: what it listed would be taken for the registry's word.
func nextPage(asked *url.URL, header http.Header) (string, error) {
	for _, value := range header.Values("Link") {
		for _, found := range parseLinks(value) {
			if !found.relates("next") {
				continue
			}
			at, err := asked.Parse(found.target)
			switch {
			case err != nil:
				return "", notARegistry("a list whose next page has no usable address")
			case canonicalHost(at.Hostname()) != canonicalHost(asked.Hostname()):
				return "", notARegistry("a list whose next page is at another host: " + printable(at.Host, 80))
			}
			// More than one slash at the start would make the next word another host.
			return "/" + strings.TrimLeft(at.RequestURI(), "/"), nil
		}
	}
	return "", nil
}

// link is one of a Link header's.
type link struct {
	target string
	rel    string // one or more relations, separated by spaces
}

func (l link) relates(as string) bool {
	for _, one := range strings.Fields(l.rel) {
		if strings.EqualFold(one, as) {
			return true
		}
	}
	return false
}

// parseLinks reads a Link value (RFC 8288, section 3): <target>; key=value; …, separated by commas. What it does not
// understand it leaves out.
func parseLinks(value string) []link {
	var all []link
	for {
		_, rest, found := strings.Cut(value, "<")
		if !found {
			return all
		}
		target, rest, found := strings.Cut(rest, ">")
		if !found {
			return all
		}
		one := link{target: strings.TrimSpace(target)}
		for {
			rest = strings.TrimLeft(rest, " \t")
			if !strings.HasPrefix(rest, ";") {
				break
			}
			var key, content string
			key, rest = linkToken(strings.TrimLeft(rest[1:], " \t;"))
			if rest = strings.TrimLeft(rest, " \t"); strings.HasPrefix(rest, "=") {
				content, rest = linkContent(strings.TrimLeft(rest[1:], " \t"))
			}
			if strings.EqualFold(key, "rel") && one.rel == "" { // the first one counts
				one.rel = content
			}
		}
		all = append(all, one)
		if _, value, found = strings.Cut(rest, ","); !found {
			return all
		}
	}
}

func linkToken(text string) (word, rest string) {
	end := strings.IndexAny(text, " \t,;=\"")
	if end < 0 {
		return text, ""
	}
	return text[:end], text[end:]
}

func linkContent(text string) (content, rest string) {
	if strings.HasPrefix(text, `"`) {
		return parameter(text)
	}
	return linkToken(text)
}
