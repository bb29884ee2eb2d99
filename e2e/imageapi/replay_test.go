package imageapi_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/imageapi"
)

type recording struct {
	Exchanges []struct {
		Case    string `json:"case"`
		Request struct {
			Method      string          `json:"method"`
			Path        string          `json:"path"`
			ContentType string          `json:"contentType"`
			Body        json.RawMessage `json:"body"`
		} `json:"request"`
		Response struct {
			Status int `json:"status"`
			Body   any `json:"body"`
		} `json:"response"`
	} `json:"exchanges"`
	Watch struct {
		Events []any `json:"events"`
	} `json:"watch"`
}

// What the recording says about itself: where its registry was, and what an unreachable one was called.
const (
	recordedRegistry = "127.0.0.1:5000"
	recordedDown     = "127.0.0.1:5999"
)

// TestReplay makes the requests of the recording, in their order, and compares every status, every body and the events
// that a watch saw meanwhile. Both sides are normalized; normalizer says how and why.
func TestReplay(t *testing.T) {
	t.Parallel()
	var recorded recording
	data, err := os.ReadFile("testdata/recorded.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &recorded); err != nil {
		t.Fatal(err)
	}
	if len(recorded.Exchanges) != 48 || len(recorded.Watch.Events) != 35 {
		t.Fatalf("the recording has %d exchanges and %d events, want 48 and 35",
			len(recorded.Exchanges), len(recorded.Watch.Events))
	}
	registry := newRecordedRegistry(t)
	server := newReplayCluster(t, registry.host)
	events := watchStreams(t, server.URL)
	adapt := registry.adapter()

	var got, want []any
	for i, exchange := range recorded.Exchanges {
		if !strings.HasPrefix(exchange.Case, "move the tag") && exchange.Request.Method == http.MethodGet ||
			strings.HasPrefix(exchange.Case, "ServiceAccount") {
			settle(t, server.URL) // the recorder waited for imports before it read
		}
		if waitsBefore[i] {
			settle(t, server.URL)
		}
		body := adapt(string(exchange.Request.Body))
		// A version that the recorder had read before is the version that is there now; the stale one stays "1".
		body = currentVersion(t, server.URL, body)
		status, answer := send(t, exchange.Request.Method, server.URL+adapt(exchange.Request.Path),
			exchange.Request.ContentType, body, tokens[i])
		got = append(got, map[string]any{"case": exchange.Case, "status": status, "body": answer})
		want = append(want, map[string]any{
			"case": exchange.Case, "status": exchange.Response.Status, "body": exchange.Response.Body,
		})
	}
	settle(t, server.URL)
	var gotEvents []any
	for len(gotEvents) < len(recorded.Watch.Events) {
		select {
		case event := <-events:
			gotEvents = append(gotEvents, event)
		case <-time.After(10 * time.Second):
			t.Fatalf("the watch sent %d events, want %d", len(gotEvents), len(recorded.Watch.Events))
		}
	}
	got, want = append(got, gotEvents...), append(want, recorded.Watch.Events...)
	theirs, ours := newNormalizer(t, toAny(t, want)), newNormalizer(t, toAny(t, got))
	for i := range want {
		label := fmt.Sprintf("event %d", i-len(recorded.Exchanges))
		if i < len(recorded.Exchanges) {
			label = fmt.Sprintf("exchange %d (%s)", i, recorded.Exchanges[i].Case)
		}
		if diff := cmp.Diff(theirs.values[i], ours.values[i]); diff != "" {
			t.Errorf("%s: -recorded +here\n%s", label, diff)
		}
	}
}

// waitsBefore names the writes before which the recorder let the import of the write before finish.
var waitsBefore = map[int]bool{
	4: true, 7: true, 9: true, 11: true, 13: true, 16: true, 17: true, 19: true, 20: true, 22: true, 24: true, 26: true,
	28: true, 29: true, 32: true, 33: true, 40: true, 41: true,
}

// tokens are those of the exchanges that the recorder did not make as an administrator.
var tokens = map[int]string{43: "nobody", 44: "updater", 45: "updater", 46: "updater", 47: "wrong"}

func newReplayCluster(t *testing.T, registry string) *httptest.Server {
	cluster := imageapi.New(imageapi.Options{
		Namespaces: []string{"rec", "earlier"},
		Users: []imageapi.User{
			{Token: "admin", Name: "admin", Rules: imageapi.Admin},
			{Token: "nobody", Name: "system:serviceaccount:rec:nobody"},
			{Token: "updater", Name: "system:serviceaccount:rec:updater", Rules: []imageapi.Rule{
				{Verbs: []string{"get", "update"}, Resources: []string{"imagestreamtags"}, Namespaces: []string{"rec"}},
			}},
		},
	})
	server := httptest.NewServer(cluster)
	t.Cleanup(func() { cluster.Close(); server.Close() })
	// In the recording another stream had imported 1.0 before: images belong to the whole cluster.
	body := fmt.Sprintf(`{"metadata":{"name":"other"},"spec":{"import":true,"images":[{"from":{"kind":"DockerImage",`+
		`"name":"%s/deepsky/awl-deepsky-hello:1.0"},"to":{"name":"1.0"},"importPolicy":{"insecure":true}}]}}`, registry)
	status, answer := send(t, http.MethodPost,
		server.URL+"/apis/image.openshift.io/v1/namespaces/earlier/imagestreamimports", "application/json", body, "")
	if status != http.StatusCreated {
		t.Fatalf("the earlier import was answered %d: %v", status, answer)
	}
	return server
}

// settle waits until every tag's import is over, by the controller's own rule.
func settle(t *testing.T, url string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		status, body := send(t, http.MethodGet, url+streamPath, "", "", "")
		if status == http.StatusNotFound || (status == http.StatusOK && settled(body.(map[string]any))) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("imports are not over after 10 s: %d %v", status, body)
		}
	}
}

const streamPath = "/apis/image.openshift.io/v1/namespaces/rec/imagestreams/hello-app"

func settled(stream map[string]any) bool {
	observed := map[string]float64{}
	tags, _ := stream["status"].(map[string]any)["tags"].([]any)
	for _, one := range tags {
		tag := one.(map[string]any)
		name := tag["tag"].(string)
		if list, _ := tag["items"].([]any); len(list) > 0 {
			observed[name] = list[0].(map[string]any)["generation"].(float64)
		}
		conditions, _ := tag["conditions"].([]any)
		for _, c := range conditions {
			observed[name] = max(observed[name], c.(map[string]any)["generation"].(float64))
		}
	}
	wanted, _ := stream["spec"].(map[string]any)["tags"].([]any)
	for _, one := range wanted {
		tag := one.(map[string]any)
		if observed[tag["name"].(string)] < tag["generation"].(float64) {
			return false
		}
	}
	return true
}

var versionInBody = regexp.MustCompile(`"resourceVersion":"(27\d\d)"`)

// currentVersion puts the stream's version into a body that was sent with one that had just been read.
func currentVersion(t *testing.T, url, body string) string {
	match := versionInBody.FindStringSubmatchIndex(body)
	if match == nil {
		return body
	}
	_, answer := send(t, http.MethodGet, url+streamPath, "", "", "")
	version := answer.(map[string]any)["metadata"].(map[string]any)["resourceVersion"].(string)
	return body[:match[2]] + version + body[match[3]:]
}

func send(t *testing.T, method, url, contentType, body, token string) (int, any) {
	t.Helper()
	if body == "null" {
		body = ""
	}
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token == "" {
		token = "admin"
	}
	request.Header.Set("Authorization", "Bearer "+token)
	if contentType != "" {
		request.Header.Set("Content-Type", contentType)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var answer any
	if err := json.Unmarshal(data, &answer); err != nil {
		t.Fatalf("%s %s: %d %q: %v", method, url, response.StatusCode, data, err)
	}
	return response.StatusCode, answer
}

// watchStreams watches the namespace's streams until the test ends.
func watchStreams(t *testing.T, url string) <-chan any {
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet,
		url+"/apis/image.openshift.io/v1/namespaces/rec/imagestreams?watch=1", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer admin")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	events := make(chan any, 100)
	go func() {
		defer response.Body.Close()
		for lines := bufio.NewReader(response.Body); ; {
			line, err := lines.ReadBytes('\n')
			var event any
			if err != nil || json.Unmarshal(line, &event) != nil {
				return
			}
			events <- event
		}
	}()
	return events
}

func toAny(t *testing.T, values []any) []any {
	data, err := json.Marshal(values)
	var copied []any
	if err = errors.Join(err, json.NewDecoder(bytes.NewReader(data)).Decode(&copied)); err != nil {
		t.Fatal(err)
	}
	return copied
}

// normalizer replaces what two runs cannot have in common by what they must have in common:
//
//   - A resourceVersion becomes its rank among all that were seen: the order of all writes must be the same, the numbers
//     count other people's writes too. The stale "1" of one request is not answered and so not seen.
//   - Digests, and uids, become numbers in the order of their first appearance: the same ones must recur at the same
//     places. The recording's layers are not known, so images of the same shape and sizes stand in for them. A stored
//     object's uid is random everywhere.
//   - Times become "TIME", but only if they are whole seconds in UTC: how long the recorder waited between two requests
//     is no matter. TestHistory looks at how they relate.
//   - Registry addresses become those of the recording: theirs are fixed ports, ours free ones.
//   - managedFields go: they name the recorder's HTTP client, and no client of ours reads them.
type normalizer struct {
	values []any
}

var (
	digests  = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	uids     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	times    = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)
	versions = regexp.MustCompile(`resource version to (\d+)$`)
)

func newNormalizer(t *testing.T, values []any) *normalizer {
	var seen []int
	visit(values, func(name string, value string) string {
		if name == "resourceVersion" {
			version, err := strconv.Atoi(value)
			if err != nil {
				t.Errorf("resourceVersion %q is no number", value)
			}
			seen = append(seen, version)
		}
		return value
	})
	slices.Sort(seen)
	seen = slices.Compact(seen)
	rank := func(version string) string {
		number, _ := strconv.Atoi(version)
		at, found := slices.BinarySearch(seen, number)
		return fmt.Sprintf("VERSION-%d-%v", at, found)
	}
	numbered := map[string]string{}
	number := func(kind string) func(string) string {
		return func(one string) string {
			if numbered[one] == "" {
				numbered[one] = fmt.Sprintf("%s-%d", kind, len(numbered))
			}
			return numbered[one]
		}
	}
	ports := regexp.MustCompile(`127\.0\.0\.1:\d+`)
	replaced := visit(values, func(name, value string) string {
		if name == "resourceVersion" {
			return rank(value)
		}
		if match := versions.FindStringSubmatch(value); match != nil {
			return strings.TrimSuffix(value, match[1]) + rank(match[1])
		}
		if times.MatchString(value) {
			return "TIME"
		}
		value = digests.ReplaceAllStringFunc(value, number("DIGEST"))
		value = uids.ReplaceAllStringFunc(value, number("UID"))
		return ports.ReplaceAllStringFunc(value, number("ADDRESS"))
	})
	return &normalizer{values: replaced.([]any)}
}

// visit copies a JSON value with every string replaced, in an order that is the same for equal shapes.
func visit(value any, replace func(name, value string) string) any {
	return visitNamed("", value, replace)
}

func visitNamed(name string, value any, replace func(name, value string) string) any {
	switch value := value.(type) {
	case string:
		return replace(name, value)
	case []any:
		copied := []any{}
		for _, one := range value {
			copied = append(copied, visitNamed(name, one, replace))
		}
		return copied
	case map[string]any:
		copied := map[string]any{}
		names := make([]string, 0, len(value))
		for one := range value {
			names = append(names, one)
		}
		slices.Sort(names)
		for _, one := range names {
			if one != "managedFields" {
				copied[one] = visitNamed(one, value[one], replace)
			}
		}
		return copied
	}
	return value
}
