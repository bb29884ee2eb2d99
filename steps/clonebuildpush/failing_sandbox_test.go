package clonebuildpush

import (
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/sandbox"
)

// failingBuild is a build that fails for real, and the line that it ends with.
type failingBuild struct {
	description string
	dockerfile  string // {R} is the registry's address, {P} that of one with a password that is not known here
	changes     map[string]string
	room        int64 // bytes that the container's disk has beside the programs; 0 for what this machine's has
	status      int
	last        string
}

var failingBuilds = []failingBuild{
	{"an unknown instruction", "FROM {R}/deepsky/web:1\n\nRUM make\n", nil, 0, 9,
		`build failed: Dockerfile:3: unknown instruction: RUM (did you mean RUN?). Hint: mend the Dockerfile or its context and build again (exit status 9)`},
	{"an instruction that cannot do here what it says", "FROM {R}/deepsky/web:1\nRUN --network=none [\"/bin/probe\", \"exit\", \"0\"]\n", nil, 0, 9,
		`build failed: Dockerfile:2: RUN --network=none: the command would have the network all the same, since a build has no right to take it away. Hint: mend the Dockerfile or its context and build again (exit status 9)`},
	{"a file that the context does not have", "FROM {R}/deepsky/web:1\nCOPY page /srv/\nCOPY no-such-file /srv/\n", nil, 0, 9,
		`build failed: Dockerfile:3: COPY no-such-file /srv/: the build context has no file "no-such-file". Hint: mend the Dockerfile or its context and build again (exit status 9)`},
	{"one of two files that the context does not have", "FROM {R}/deepsky/web:1\nADD page no-such-file /srv/\n", nil, 0, 9,
		`build failed: Dockerfile:2: ADD page no-such-file /srv/: the build context has no file "no-such-file". Hint: mend the Dockerfile or its context and build again (exit status 9)`},
	{"a file that the stage before does not have", "FROM {R}/deepsky/web:1 AS first\nFROM {R}/deepsky/web:1\nCOPY --from=first /no-such-file /srv/\n", nil, 0, 9,
		`build failed: Dockerfile:3: COPY --from=first /no-such-file /srv/: the stage or image that it copies from has no file "/no-such-file". Hint: mend the Dockerfile or its context and build again (exit status 9)`},
	{"a RUN that ends with 42", "FROM {R}/deepsky/web:1\nCOPY page /srv/\nRUN [\"/bin/probe\", \"exit\", \"42\"]\n", nil, 0, 9,
		`build failed: Dockerfile:3: RUN ["/bin/probe", "exit", "42"]: exit status 42. Hint: mend the Dockerfile or its context and build again (exit status 9)`},
	{"a program that the image does not have", "FROM {R}/deepsky/web:1\nRUN make\n", nil, 0, 9,
		`build failed: Dockerfile:2: RUN make: fork/exec /bin/sh: no such file or directory. Hint: mend the Dockerfile or its context and build again (exit status 9)`},
	{"a base image that is not there", "# Go\nFROM {R}/deepsky/no-such-base:1 AS build\n", nil, 0, 4,
		`not found: Dockerfile:2: FROM {R}/deepsky/no-such-base:1 AS build: base image registry: resolving "{R}/deepsky/no-such-base:1": it is not there. Hint: check the image in FROM (or COPY --from): its name and its version (exit status 4)`},
	{"a base image of a registry that is not there", "FROM 127.0.0.1:1/deepsky/web:1\n", nil, 0, 6,
		`unavailable: Dockerfile:1: FROM 127.0.0.1:1/deepsky/web:1: base image registry: resolving "127.0.0.1:1/deepsky/web:1": connecting: dial tcp 127.0.0.1:1: connect: connection refused. Hint: check the host of the image in FROM, and that its registry answers (exit status 6)`},
	{"a base image that needs a password", "FROM {R}/deepsky/web:1 AS build\nFROM {P}/deepsky/web:1\n", nil, 0, 5,
		`not allowed: Dockerfile:2: FROM {P}/deepsky/web:1: base image registry: resolving "{P}/deepsky/web:1": 401 Unauthorized, without credentials: none are configured for "{P}". Hint: check the image in FROM, and the account for its registry in DOCKER_AUTH_CONFIG or REGISTRY_AUTH_FILE (exit status 5)`},
	{"an image to copy from that needs a password", "FROM {R}/deepsky/web:1\nCOPY --from={P}/deepsky/web:1 /bin /bin\n", nil, 0, 5,
		`not allowed: Dockerfile:2: COPY --from={P}/deepsky/web:1 /bin /bin: base image registry: resolving "{P}/deepsky/web:1": 401 Unauthorized, without credentials: none are configured for "{P}". Hint: check the image in FROM, and the account for its registry in DOCKER_AUTH_CONFIG or REGISTRY_AUTH_FILE (exit status 5)`},
	{"a registry that refuses the account before the build", "FROM {R}/deepsky/web:1\n", map[string]string{"IMAGE": "others/hello:1.0"}, 0, 5,
		`not allowed: registry: asking whether "{R}/others/hello" may be written to: 403 Forbidden (DENIED: requested access to the resource is denied), with the configured user name and password. Hint: check REGISTRY_USERNAME and REGISTRY_PASSWORD, and that this account has the right to do this (exit status 5)`},
	{"a registry that refuses the image", "FROM {R}/deepsky/web:1\nCOPY page /srv/\n", map[string]string{"IMAGE": "full/hello:1.0"}, 0, 5,
		`not allowed: registry: writing "{R}/full/hello@sha256:…": 403 Forbidden (DENIED: adding 1.2 MiB would exceed the project's quota of 5 GiB), with the configured user name and password. Hint: check REGISTRY_USERNAME and REGISTRY_PASSWORD, and that this account has the right to do this (exit status 5)`},
	{"a disk that has no room for the repository", "FROM {R}/deepsky/web:1\n", nil, 1 << 20, 6,
		`unavailable: Git server: cloning "{G}": checking out COMMIT: write /kaniko/workspace-…/source/large: no space left on device. Hint: give the folder that is cloned into more room (exit status 6)`},
	{"a disk that has no room for the base image", "FROM {R}/deepsky/web:1\nRUN [\"/bin/probe\", \"exit\", \"0\"]\n", nil, 6 << 20, 9,
		`build failed: Dockerfile:1: FROM {R}/deepsky/web:1: refusing to build: "/" has … MB left, and a base image alone needs … MB. Hint: give the container more room there (on Kubernetes ephemeral-storage, or a larger volume), or remove what fills it (exit status 9)`},
	{"a disk that has no room for what is copied", "FROM scratch\nCOPY page /srv/\nCOPY large /srv/\n", nil, 6 << 20, 9,
		`build failed: Dockerfile:3: COPY large /srv/: failed to copy files: copy file range failed: no space left on device. Hint: give the container more disk (in Kubernetes ephemeral-storage), or have the build write less (exit status 9)`},
	{"a disk that a RUN fills", "FROM {R}/deepsky/web:1\nRUN [\"/bin/probe\", \"fill\", \"/srv/full\"]\n", nil, 64 << 20, 9,
		`build failed: Dockerfile:2: RUN ["/bin/probe", "fill", "/srv/full"]: exit status 2, and the disk is full. Hint: give the container more disk (in Kubernetes ephemeral-storage), or have the build write less (exit status 9)`},
}

// TestAFailingBuildEndsInOneLine has builds of each kind fail, in the real program in a sandbox: the last line names file,
// line, instruction and cause, and nothing is pushed. The table is in docs/building.md.
func TestAFailingBuildEndsInOneLine(t *testing.T) {
	t.Parallel()
	requireSandbox(t)
	private := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(private.Close)
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: private.Certificate().Raw}))
	s := newStage(t)
	s.registry = startRegistry(t, refusing)
	s.env["REGISTRY"], s.env["REGISTRY_CA_FILE"], s.env["CONTEXT_DIR"] = s.registry, "/kaniko/ca.pem", ""
	addresses := strings.NewReplacer("{R}", s.registry, "{P}", strings.TrimPrefix(private.URL, "https://"), "{G}", s.env["GIT_URL"])
	for i, test := range failingBuilds {
		branch := "build-" + string(rune('a'+i))
		s.fill(branch, map[string]string{
			"page": "hello\n", "large": strings.Repeat("0123456789abcdef", 4<<20/16), "Dockerfile": addresses.Replace(test.dockerfile),
		})
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			results := t.TempDir()
			changes := map[string]string{"GIT_REVISION": branch}
			for name, value := range test.changes {
				changes[name] = value
			}
			status, output := s.runInSandbox(nil, results, changes, func(spec *sandbox.Spec) {
				spec.Files["/kaniko/ca.pem"] = ca
				spec.Room = test.room
			})
			want := "clone-build-push: " + addresses.Replace(test.last)
			got := lastLineOf(output)
			for form, shown := range varying {
				got = regexp.MustCompile(form).ReplaceAllString(got, shown)
			}
			if diff := cmp.Diff(want, got); status != test.status || diff != "" {
				t.Errorf("exit status %d, want %d; the last line (-want +got):\n%s\nin all:\n%s", status, test.status, diff, output)
			}
			if entries, err := os.ReadDir(results); err != nil || len(entries) > 0 {
				t.Errorf("results were left: %v, %v", entries, err)
			}
			if s.digest("1.0") != "" {
				t.Error("something was pushed")
			}
		})
	}
}

// varying is what differs from run to run, and how the table shows it.
var varying = map[string]string{
	`sha256:[0-9a-f]{64}`: "sha256:…", `/workspace-[0-9]+/`: "/workspace-…/", `\b[0-9a-f]{40}\b`: "COMMIT",
	`[0-9.]+ MB`: "… MB",
}

// refusing is a registry in which others/ belongs to somebody else, and full/ is full.
func refusing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		denied := strings.HasPrefix(r.URL.Path, "/v2/others/") && r.Method != http.MethodGet
		full := strings.HasPrefix(r.URL.Path, "/v2/full/") && r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/")
		if denied || full {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusForbidden)
			message := "requested access to the resource is denied"
			if full {
				message = "adding 1.2 MiB would exceed the project's quota of 5 GiB"
			}
			_, _ = io.WriteString(w, `{"errors":[{"code":"DENIED","message":"`+message+`"}]}`)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// TestDocumentedFailures keeps the table in docs/building.md equal to what is met here.
func TestDocumentedFailures(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "building.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range failingBuilds {
		if row := test.row(); !strings.Contains(string(page), row) {
			t.Errorf("docs/building.md lacks\n%s", row)
		}
	}
}

// row is the failure's row in the documentation's table, with an example's addresses.
func (f failingBuild) row() string {
	return "| " + f.description + " | " + string(rune('0'+f.status)) + " | `" + strings.NewReplacer(
		"{R}", "registry.example.com", "{P}", "private.example.com", "{G}", "https://git.example.com/hello.git",
	).Replace(f.last) + "` |"
}
