package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
)

// reviews is an API that answers access reviews by the verb that is asked for.
func reviews(t *testing.T, answer func(w http.ResponseWriter, verb string)) string {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review struct {
			Kind string
			Spec struct{ ResourceAttributes map[string]string }
		}
		_ = json.NewDecoder(r.Body).Decode(&review)
		asked := review.Spec.ResourceAttributes
		if r.URL.Path != "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" || review.Kind != "SelfSubjectAccessReview" ||
			asked["group"] != "example.com" || asked["resource"] != "things" || asked["namespace"] != "dev" || asked["name"] != "x" {
			status(400, "BadRequest", "not what was to be asked")(w, r)
			return
		}
		answer(w, asked["verb"])
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func say(w http.ResponseWriter, fields string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_, _ = fmt.Fprintf(w, `{"kind":"SelfSubjectAccessReview","apiVersion":"authorization.k8s.io/v1","status":%s}`, fields)
}

func TestMissing(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		answer func(w http.ResponseWriter, verb string)
		want   string // the verbs that are missing
		kind   fault.Kind
		says   string // of the error
	}{
		{"all are there", func(w http.ResponseWriter, _ string) { say(w, `{"allowed":true}`) }, "", 0, ""},
		{"two are missing", func(w http.ResponseWriter, verb string) {
			say(w, fmt.Sprintf(`{"allowed":%t}`, verb == "list"))
		}, "get update", 0, ""},
		{"denied outright", func(w http.ResponseWriter, _ string) { say(w, `{"allowed":false,"denied":true}`) }, "get list update", 0, ""},
		{"reviews are refused", func(w http.ResponseWriter, _ string) { status(403, "Forbidden", "no reviews")(w, nil) }, "", fault.Denied, "no reviews"},
		{"there are no reviews", func(w http.ResponseWriter, _ string) { status(404, "NotFound", "no such path")(w, nil) }, "", fault.NotFound, "no such path"},
		{"one cannot be told", func(w http.ResponseWriter, verb string) {
			if verb == "list" {
				status(500, "InternalError", "webhook is away")(w, nil)
				return
			}
			say(w, `{"allowed":false}`)
		}, "get update", fault.Unavailable, "webhook is away"},
		{"neither yes nor no", func(w http.ResponseWriter, _ string) { say(w, `{}`) }, "", fault.Unexpected, "neither yes nor no"},
		{"yes as a text", func(w http.ResponseWriter, _ string) { say(w, `{"allowed":"true"}`) }, "", fault.Unexpected, "neither yes nor no"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var told atomic.Int32
			c := connect(t, cluster.Config{Server: reviews(t, row.answer), Retrying: func(cluster.Retry) { told.Add(1) }})
			missing, err := c.Missing(t.Context(), rights("get", "list", "update"))
			var verbs []string
			for _, right := range missing {
				verbs = append(verbs, right.Verb)
			}
			if diff := cmp.Diff(row.want, strings.Join(verbs, " ")); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if (err != nil) != (row.kind != 0) || err != nil && (fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.says)) {
				t.Errorf("%v, want %q", err, row.says)
			}
			if told.Load() > 2 {
				t.Errorf("%d repetitions were told", told.Load())
			}
		})
	}
}

// TestMissingAsksAllAtOnce has an API that answers only when all questions are there.
func TestMissingAsksAllAtOnce(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	all := make(chan struct{})
	url := reviews(t, func(w http.ResponseWriter, _ string) {
		if asked.Add(1) == 3 {
			close(all)
		}
		select {
		case <-all:
			say(w, `{"allowed":true}`)
		case <-time.After(time.Second):
			say(w, `{"allowed":false}`)
		}
	})
	missing, err := connect(t, cluster.Config{Server: url}).Missing(t.Context(), rights("get", "list", "update"))
	if err != nil || len(missing) != 0 {
		t.Errorf("%v, %v", missing, err)
	}
}

func TestMissingEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	url := reviews(t, func(http.ResponseWriter, string) { cancel(); <-ended })
	t.Cleanup(func() { close(ended) }) // before the server's end, which waits for its answers
	if missing, err := connect(t, cluster.Config{Server: url}).Missing(ctx, rights("get")); !errors.Is(err, context.Canceled) || len(missing) != 0 {
		t.Errorf("%v, %v", missing, err)
	}
}

func TestUser(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"known", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1","status":{"userInfo":{"username":"anna"}}}`))
		}, "anna"},
		{"an older cluster", status(404, "NotFound", "no such path"), ""},
		{"refused", status(403, "Forbidden", "no"), ""},
	} {
		server := httptest.NewServer(row.answer)
		t.Cleanup(server.Close)
		if got := connect(t, cluster.Config{Server: server.URL}).User(t.Context()); got != row.want {
			t.Errorf("%s: %q", row.name, got)
		}
	}
}

func rights(verbs ...string) []cluster.Right {
	var all []cluster.Right
	for _, verb := range verbs {
		all = append(all, cluster.Right{Verb: verb, Resource: things, Namespace: "dev", Name: "x"})
	}
	return all
}

func TestListRights(t *testing.T) {
	t.Parallel()
	all := append(rights("get", "watch"), cluster.Right{Verb: "create", Resource: things, Namespace: "dev"},
		cluster.Right{Verb: "list", Resource: cluster.Resource{Plural: "pods"}, Namespace: "dev"})
	want := `get and watch things.example.com "x", create things.example.com, list pods`
	if got := cluster.ListRights(all); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
