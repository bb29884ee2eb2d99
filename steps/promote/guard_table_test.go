package promote

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/faultyregistry"
)

// guardRow is one way in which a target registry answers the look-up of the release tag, or its write.
type guardRow struct {
	answer string // in words, for the table
	held   string // what the tag holds: "nothing", "this image" or "another image"
	at     string // the request that is answered so; the tag's look-up when it is ""
	times  int    // how often, -1 for always; the registry answers the truth from then on
	fault  faultyregistry.Fault

	plain, forced guardEnd
}

// guardEnd is what a run must come to.
type guardEnd struct {
	status    int
	promotion string // the result PROMOTION, "" for none
	last      string // in the last line; not of a run that succeeds
}

const (
	nothing = "nothing"
	this    = "this image"
	another = "another image"
)

func guardRows(elsewhere string) []guardRow {
	copied, same, forced := guardEnd{0, "copied", ""}, guardEnd{0, "same", ""}, guardEnd{0, "forced", ""}
	refused := guardEnd{3, "", "holds another image"}
	refuses := guardEnd{3, "", "refuses to overwrite the tag"}
	both := func(status int, last string) (guardEnd, guardEnd) { end := guardEnd{status, "", last}; return end, end }
	var rows []guardRow
	add := func(answer, held string, times int, fault faultyregistry.Fault, plain, forced guardEnd) {
		rows = append(rows, guardRow{answer, held, "", times, fault, plain, forced})
	}
	unknown := func(answer string, fault faultyregistry.Fault, status int, last string) {
		plain, forced := both(status, last)
		add(answer, another, -1, fault, plain, forced)
	}
	add("200, the same digest", this, 0, nil, same, same)
	add("200, another digest", another, 0, nil, refused, forced)
	add("404 with a registry's body", nothing, 0, nil, copied, copied)
	add("404 with an empty body", nothing, 1, faultyregistry.Status(404, ""), copied, copied)
	unknown("404 with an HTML page", faultyregistry.Page(404), 6, "not a registry's")
	unknown("404 that breaks off", faultyregistry.BrokenOff(404), 6, "losing the connection")
	unknown("401", faultyregistry.Status(401, "UNAUTHORIZED"), 5, "401 Unauthorized")
	unknown("403", faultyregistry.Status(403, "DENIED"), 5, "403 Forbidden")
	add("429 with Retry-After, then 200, another digest", another, 1, faultyregistry.RetryAfter(429, 1), refused, forced)
	add("429 with Retry-After, then 404", nothing, 1, faultyregistry.RetryAfter(429, 1), copied, copied)
	unknown("429 for ever", faultyregistry.RetryAfter(429, 0), 6, "429 Too Many Requests")
	unknown("429 with a Retry-After of 15 minutes", faultyregistry.RetryAfter(429, 900), 6, "15m0s")
	unknown("500", faultyregistry.Status(500, "UNKNOWN"), 6, "500 Internal Server Error")
	unknown("503", faultyregistry.Page(503), 6, "503 Service Unavailable")
	add("503, then 200, another digest", another, 1, faultyregistry.Status(503, ""), refused, forced)
	add("redirect within the host, to another image", another, 1, sameHost, refused, forced)
	unknown("redirect within the host, without end", sameHost, 6, "redirects without end")
	unknown("redirect to another host", faultyregistry.Redirect(elsewhere+"/v2/"+hello+"/manifests/1.0"), 6, "redirects to")
	unknown("no answer in time", faultyregistry.Hang(), 6, "nothing moved")
	unknown("reset before the answer", faultyregistry.Reset(0), 6, "losing the connection")
	unknown("reset in mid-body", faultyregistry.Reset(30), 6, "losing the connection")
	add("reset in mid-body, then 200, another digest", another, 1, faultyregistry.Reset(30), refused, forced)
	unknown("200 with an HTML page", faultyregistry.Page(200), 6, "not a registry's")
	unknown("200 with a wrong Docker-Content-Digest", faultyregistry.WrongDigest(), 8, "has the digest")
	unknown("200 with a truncated manifest", faultyregistry.Truncate(40), 6, "not a manifest")
	for _, status := range []int{400, 403, 409, 412} {
		rows = append(rows, guardRow{
			fmt.Sprintf("200, another digest; %d to its overwriting", status), another, "PUT /manifests/1.0", -1,
			onlyTag(faultyregistry.Status(status, "DENIED")), refused, refuses,
		})
	}
	return rows
}

// sameHost redirects to the address that was asked for, with a query of its own.
func sameHost(w http.ResponseWriter, r *http.Request, next http.Handler) {
	faultyregistry.Redirect(r.URL.Path+"?again=1")(w, r, next)
}

// onlyTag lets the backup tag through, whose path begins like the release tag's.
func onlyTag(fault faultyregistry.Fault) faultyregistry.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/manifests/1.0") {
			fault(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// TestGuardTable has the guard meet every answer, without and with FORCE, and keeps docs/guard.md equal to what came of it.
func TestGuardTable(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var strangers []string // requests to another host
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		strangers = append(strangers, r.Method+" "+r.URL.Path)
	}))
	t.Cleanup(elsewhere.Close)
	rows := guardRows(elsewhere.URL)
	lines := make([]string, len(rows))
	t.Run("answers", func(t *testing.T) {
		for i, row := range rows {
			t.Run(row.answer, func(t *testing.T) {
				t.Parallel()
				plain := row.run(t, row.plain)
				forced := row.run(t, row.forced, "FORCE", "true", "FORCE_REASON", "the bug of yesterday")
				lines[i] = fmt.Sprintf("| %s | %s | %s | %s |", row.answer, row.held, plain, forced)
			})
		}
	})
	if len(strangers) > 0 {
		t.Errorf("another host was asked: %v", strangers)
	}
	table := "| the registry's answer | the tag holds | without `FORCE` | with `FORCE` |\n| --- | --- | --- | --- |\n" +
		strings.Join(lines, "\n") + "\n"
	t.Log("\n" + table)
	documented(t, "../../docs/guard.md", table)
}

// run promotes, checks what came of it, and says so in a cell of the table.
func (row guardRow) run(t *testing.T, want guardEnd, variables ...string) string {
	t.Helper()
	s := newStage(t)
	before := map[string]string{nothing: "", this: s.digest}[row.held]
	switch row.held {
	case this:
		push(t, s.target, hello+":1.0", s.image)
	case another:
		before = push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
	}
	if row.fault != nil {
		at := row.at
		if at == "" {
			at = "GET " + hello + "/manifests/1.0"
		}
		s.target.Break(at, row.times, row.fault)
	}
	got := promote(t, s.with(variables...))
	wrote := writes(s.target)
	now := holds(t, s.target, hello+":1.0")
	kept := ""
	if row.held == another {
		kept = holds(t, s.target, backupOf(before))
	}
	if got.status != want.status || got.results["PROMOTION"] != want.promotion || want.status != 0 && !strings.Contains(got.last, want.last) {
		t.Errorf("%v: status %d, PROMOTION %q, want %+v; last line %q", variables, got.status, got.results["PROMOTION"], want, got.last)
	}
	if want.status != 0 && (len(got.results) > 0 || !strings.HasSuffix(got.last, fmt.Sprintf("(exit status %d)", want.status)) || !strings.Contains(got.last, "target registry")) {
		t.Errorf("%v: results %v, last line %q", variables, got.results, got.last)
	}
	if want.status == 0 && now != s.digest || want.status != 0 && now != before {
		t.Errorf("%v: the tag holds %q, held %q, and the image is %q", variables, now, before, s.digest)
	}
	if replaced := want.promotion == "forced" || want.last == "refuses to overwrite the tag"; replaced != (kept == before && kept != "") {
		t.Errorf("%v: the backup tag holds %q", variables, kept)
	}
	if row.at == "" && want.status != 0 && len(wrote) > 0 {
		t.Errorf("%v: it wrote %v", variables, wrote)
	}
	if want.promotion == "same" && slices.ContainsFunc(wrote, func(request string) bool { return strings.HasSuffix(request, "/manifests/1.0") }) {
		t.Errorf("%v: the tag was written: %v", variables, wrote)
	}
	return cell(want, len(wrote) > 0)
}

func cell(end guardEnd, wrote bool) string {
	switch {
	case end.promotion == "forced":
		return "0, forced: the other is kept under the backup tag"
	case end.status == 0:
		return "0, " + end.promotion
	case wrote:
		return fmt.Sprintf("%d, the tag unchanged, “%s”", end.status, end.last)
	}
	return fmt.Sprintf("%d, nothing written, “%s”", end.status, end.last)
}

// documented compares a page's table with the true one, or writes it when DOCKLINE_UPDATE is true.
func documented(t *testing.T, path, table string) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(table, "\n")
	before, rest, found := bytes.Cut(page, []byte(head))
	if !found {
		t.Fatalf("%s has no table %q", path, head)
	}
	there, after, _ := strings.Cut(head+string(rest), "\n\n")
	if os.Getenv("DOCKLINE_UPDATE") == "true" {
		updated := string(before) + strings.TrimSuffix(table, "\n") + "\n\n" + after
		if err := os.WriteFile(path, []byte(updated), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.TrimSuffix(there, "\n")+"\n", table); diff != "" {
		t.Errorf("%s is stale: run this test with DOCKLINE_UPDATE=true (-there +should be)\n%s", path, diff)
	}
}
