package retag_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"dockline/e2e/imageapi"
)

// without returns the rules without these verbs on a resource.
func without(resource string, verbs ...string) []imageapi.Rule {
	var rules []imageapi.Rule
	for _, rule := range everything {
		for _, one := range rule.Resources {
			left := rule
			left.Resources = []string{one}
			left.Verbs = slices.DeleteFunc(slices.Clone(rule.Verbs), func(verb string) bool {
				return one == resource && slices.Contains(verbs, verb)
			})
			rules = append(rules, left)
		}
	}
	return rules
}

// TestMissingRights has accounts that lack rights: the run ends before it has changed anything or even asked for the image,
// and its last line names all that is missing, whose it is, and the Role that gives it.
func TestMissingRights(t *testing.T) {
	t.Parallel()
	move := []string{"IMAGE=deepsky/hello:1.0"}
	for _, row := range []struct {
		name   string
		rules  []imageapi.Rule
		exists bool // the stream, before
		with   []string
		status int
		says   []string // in the last line
		silent []string // not in the last line
	}{
		{name: "none is missing", rules: everything, with: move},
		{name: "no right to move the tag", rules: without("imagestreamtags", "create", "update"), exists: true, with: move, status: 5,
			says: []string{
				`not allowed: cluster: checking the rights for hello-app:dev: system:serviceaccount:dev:deployer may not, in the namespace "dev", `,
				`update imagestreamtags.image.openshift.io "hello-app:dev"`, "Nothing was changed. The Role dockline-tag gives what is missing",
			},
			silent: []string{"create imagestreamtags", "dockline-look"}},
		{name: "no right to make the tag", rules: without("imagestreamtags", "create", "update"), with: move, status: 5,
			says: []string{"create imagestreamtags.image.openshift.io", "dockline-tag"}, silent: []string{"update imagestreamtags"}},
		{name: "the stream is there: it need not be made", rules: without("imagestreamtags", "create"), exists: true, with: move},
		{name: "several at once, of two Roles", rules: without("pods", "list")[:1], exists: true, with: move, status: 5,
			says: []string{"update imagestreamtags", "create imagestreamimports", "get imagestreamimages", "list deployments.apps",
				"list deploymentconfigs.apps.openshift.io", "list statefulsets.apps", "list daemonsets.apps", "list cronjobs.batch", "list pods",
				"The Roles dockline-tag and dockline-look give what is missing"}},
		{name: "nothing at all", rules: nil, exists: true, with: move, status: 5,
			says: []string{`get and watch imagestreams.image.openshift.io "hello-app"`, "update imagestreamtags", "list pods"}},
		{name: "no right to see the pods", rules: without("pods", "list"), exists: true, with: move, status: 5,
			says: []string{"list pods", "dockline-look"}, silent: []string{"dockline-tag"}},
		{name: "no right to create the app", rules: everything, with: append(move, "CREATE_APP=true", "APP_NAME=shop"), status: 5,
			says: []string{`get deployments.apps "shop"`, "create deployments.apps", `get services "shop"`, "create services",
				`get routes.route.openshift.io "shop"`, "create routes.route.openshift.io", "dockline-create"}},
		{name: "the app is not wanted", rules: everything, with: move},
		{name: "a Role for this one stream", rules: append(without("imagestreamtags", "create", "update"), imageapi.Rule{
			Namespaces: []string{"dev"}, Resources: []string{"imagestreamtags"}, Verbs: []string{"update"}, Names: []string{"hello-app:dev"},
		}), exists: true, with: move},
		{name: "a Role for another stream", rules: append(without("imagestreamtags", "create", "update"), imageapi.Rule{
			Namespaces: []string{"dev"}, Resources: []string{"imagestreamtags"}, Verbs: []string{"update"}, Names: []string{"other:dev"},
		}), exists: true, with: move, status: 5, says: []string{"update imagestreamtags"}},
		{name: "another namespace", rules: everything, exists: true, with: append(move, "NAMESPACE=prod"), status: 5,
			says: []string{`in the namespace "prod", get and watch imagestreams`}},
		{name: "a rollback asks the registry nothing", rules: without("imagestreamimports", "create"), exists: true,
			with: []string{"ROLLBACK=true", "REGISTRY="}, status: 4, says: []string{"no earlier image"}},
		{name: "a rollback from what may be an image of an index", rules: without("imagestreamimports", "create"), exists: true,
			with: []string{"ROLLBACK=true", "EXPECT_CURRENT=" + d12}, status: 5, says: []string{"create imagestreamimports"}},
		{name: "a rollback from nothing", rules: without("imagestreamimports", "create"), exists: true,
			with: []string{"ROLLBACK=true", "EXPECT_CURRENT=none"}, status: 3, says: []string{"EXPECT_CURRENT"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, row.rules)
			if w.push(t, "1.0"); row.exists {
				if got := w.retag(t, append(move, "KUBE_TOKEN=admin")...); got.Status != 0 {
					t.Fatal(got.log)
				}
				w.push(t, "1.0")
			}
			got := w.retag(t, row.with...)
			if got.Status != row.status || strings.Contains(got.log, " WRN ") && row.status == 5 {
				t.Errorf("exit status %d, want %d:\n%s", got.Status, row.status, got.log)
			}
			for _, text := range row.says {
				if !strings.Contains(got.last, text) {
					t.Errorf("the last line lacks %q:\n%s", text, got.last)
				}
			}
			for _, text := range row.silent {
				if strings.Contains(got.last, text) {
					t.Errorf("the last line has %q:\n%s", text, got.last)
				}
			}
			for _, request := range w.requests() {
				if row.status == 5 && !strings.HasPrefix(request, "GET ") && !strings.Contains(request, "/selfsubject") {
					t.Errorf("%s, although a right was missing", request)
				}
			}
		})
	}
}

// TestNoWatchIsOnlySlower: the one right that a run can do without is told, and not asked for in vain.
func TestNoWatchIsOnlySlower(t *testing.T) {
	t.Parallel()
	w := newWorld(t, without("imagestreams", "watch"))
	w.push(t, "1.0")
	if got := w.retag(t, "IMAGE=deepsky/hello:1.0"); got.Status != 0 ||
		!strings.Contains(got.log, `WRN the account may not watch imagestreams.image.openshift.io "hello-app": the end of the import is noticed later`) {
		t.Errorf("exit status %d:\n%s", got.Status, got.log)
	}
}

// TestRightsThatCannotBeAskedFor has a cluster that answers no reviews. That is never a "yes" that hides what follows, and
// never a "no" that keeps a run with all its rights from working.
func TestRightsThatCannotBeAskedFor(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		code   int
		rules  []imageapi.Rule
		status int
		says   string // in the log
		silent string
	}{
		{"refused", http.StatusForbidden, everything, 0, "DBG the cluster does not tell beforehand", "trying again"},
		{"not there", http.StatusNotFound, everything, 0, "DBG the cluster does not tell beforehand", "trying again"},
		{"broken", http.StatusInternalServerError, everything, 0, "WRN the cluster does not tell beforehand", ""},
		{"refused, and a right is missing", http.StatusForbidden, without("imagestreamtags", "create", "update"), 5,
			`cannot create resource "imagestreamtags"`, "trying again"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, row.rules)
			w.push(t, "1.0")
			w.SetFaults(imageapi.Faults{Request: func(r *http.Request) int {
				if strings.Contains(r.URL.Path, "/selfsubject") {
					return row.code
				}
				return 0
			}})
			got := w.retag(t, "IMAGE=deepsky/hello:1.0", "LOG_LEVEL=debug")
			if got.Status != row.status || !strings.Contains(got.log, row.says) || row.silent != "" && strings.Contains(got.log, row.silent) {
				t.Errorf("exit status %d, want %d; the log must have %q and not %q:\n%s", got.Status, row.status, row.says, row.silent, got.log)
			}
		})
	}
}

// TestRightsAreAskedForAtOnce: each right once, and only whose account it is when one is missing.
func TestRightsAreAskedForAtOnce(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name          string
		rules         []imageapi.Rule
		with          []string
		access, whose int
	}{
		{"a move", everything, nil, 10, 0},
		{"a first deployment", everything, []string{"CREATE_APP=true"}, 16, 1},
		{"a token that the cluster does not know", everything, []string{"KUBE_TOKEN=bad-token"}, 0, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, row.rules)
			w.push(t, "1.0")
			got := w.retag(t, append(row.with, "IMAGE=deepsky/hello:1.0")...)
			count := func(path string) (n int) {
				for _, request := range w.requests() {
					if strings.HasSuffix(request, path) {
						n++
					}
				}
				return n
			}
			if access, whose := count("/selfsubjectaccessreviews"), count("/selfsubjectreviews"); access != row.access || whose != row.whose {
				t.Errorf("%d access reviews (want %d) and %d of the user (want %d):\n%s", access, row.access, whose, row.whose, got.log)
			}
		})
	}
}
