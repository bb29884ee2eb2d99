package promote

import (
	"fmt"
	"strings"
	"testing"

	"dockline/e2e/faultyregistry"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	const tag = "GET " + hello + "/manifests/1.0"
	type fate struct {
		status int
		text   string // in the last line
		moved  bool   // the tag holds the promoted image in the end
	}
	type row struct {
		description string
		held        bool // the target's tag holds another image
		fault       faultyregistry.Fault
		times       int
		plain       fate
		forced      fate
	}
	unknown := func(description string, fault faultyregistry.Fault, status int, text string) row {
		return row{description, true, fault, -1, fate{status, text, false}, fate{status, text, false}}
	}
	ok := fate{0, "", true}
	refused := fate{3, "holds another image", false}
	for _, row := range []row{
		{"absent", false, nil, 0, ok, ok},
		{"absent, 404 without a body", false, faultyregistry.Status(404, ""), 2, ok, ok},
		{"absent, 404 with MANIFEST_UNKNOWN", false, faultyregistry.Status(404, "MANIFEST_UNKNOWN"), 2, ok, ok},
		{"another image, 200", true, nil, 0, refused, ok},
		{"429 with Retry-After, then another image", true, faultyregistry.RetryAfter(429, 1), 1, refused, ok},
		{"reset in mid-body, then another image", true, faultyregistry.Reset(30), 1, refused, ok},
		unknown("401", faultyregistry.Status(401, "UNAUTHORIZED"), 5, "401 Unauthorized"),
		unknown("403", faultyregistry.Status(403, "DENIED"), 5, "403 Forbidden"),
		unknown("404 of a web site", faultyregistry.Page(404), 6, "not a registry's"),
		unknown("404 that breaks off", faultyregistry.BrokenOff(404), 6, "losing the connection"),
		unknown("429 for ever", faultyregistry.RetryAfter(429, 0), 6, "429 Too Many Requests"),
		unknown("429 with a Retry-After that is too long", faultyregistry.RetryAfter(429, 900), 6, "15m0s"),
		unknown("500", faultyregistry.Status(500, "UNKNOWN"), 6, "500 Internal Server Error"),
		unknown("503", faultyregistry.Page(503), 6, "503 Service Unavailable"),
		unknown("redirect", faultyregistry.Redirect("http://127.0.0.1:1/login"), 6, "redirects to"),
		unknown("time-out", faultyregistry.Hang(), 6, "nothing moved"),
		unknown("reset before the answer", faultyregistry.Reset(0), 6, "losing the connection"),
		unknown("reset in mid-body", faultyregistry.Reset(30), 6, "losing the connection"),
		unknown("HTML with status 200", faultyregistry.Page(200), 6, "not a registry's"),
		unknown("wrong Docker-Content-Digest", faultyregistry.WrongDigest(), 8, "has the digest"),
		unknown("truncated manifest", faultyregistry.Truncate(40), 6, "not a manifest"),
	} {
		for _, forced := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, FORCE=%t", row.description, forced), func(t *testing.T) {
				t.Parallel()
				s := newStage(t)
				before := ""
				if row.held {
					before = push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
				}
				if row.fault != nil {
					s.target.Break(tag, row.times, row.fault)
				}
				variables, want := s.with(), row.plain
				if forced {
					variables, want = s.with("FORCE", "true", "FORCE_REASON", "the bug of yesterday"), row.forced
				}
				got := promote(t, variables)
				if got.status != want.status || !strings.Contains(got.last, want.text) {
					t.Errorf("status %d, want %d; last line %q, want one with %q", got.status, want.status, got.last, want.text)
				}
				wrote := writes(s.target)
				now := holds(t, s.target, hello+":1.0")
				if want.moved {
					if now != s.digest || got.results["DESTINATION_DIGEST"] != s.digest {
						t.Errorf("the tag holds %q, results %v; want %q", now, got.results, s.digest)
					}
					return
				}
				if now != before || len(got.results) > 0 || len(wrote) > 0 {
					t.Errorf("the tag holds %q (before: %q), results %v, requests that write %v; want nothing changed",
						now, before, got.results, wrote)
				}
			})
		}
	}
}
