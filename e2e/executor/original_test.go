//go:build e2e

package executor_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/baseimage"
	"dockline/e2e/executor"
	"dockline/e2e/faultyregistry"
	"dockline/e2e/sandbox"
	"dockline/pkg/kaniko"
)

func TestMain(m *testing.M) {
	sandbox.Init()
	os.Exit(m.Run())
}

const longest = 3 * time.Minute

// programs are compiled once, into a folder that goes with the test.
var programs = sync.OnceValues(func() (map[string][]byte, error) {
	out := map[string][]byte{}
	var err error
	if out["executor"], err = executor.Build(context.Background(), executor.Archived); err != nil {
		return nil, err
	}
	for _, pkg := range []string{"cmd/clone-build-push", "e2e/baseimage/stamp"} {
		if out[filepath.Base(pkg)], err = baseimage.Program(context.Background(), "dockline/"+pkg); err != nil {
			return nil, err
		}
	}
	return out, nil
})

// what is what a builder makes of a Dockerfile: a file's content, or that it fails.
type what struct{ alone, below, ours string }

// row is a Dockerfile that the original builds otherwise than it says.
type row struct {
	feature    string
	dockerfile string
	path       string // of the file that tells, in the image
	says       string // what the Dockerfile says that it is; "" for none
	got        what   // where that is otherwise
}

const (
	fails = "fails: "
	none  = "none" // the file is not there
)

// The base image's "shell" is a program that writes its last argument, and a line end, into the file /srv/script.
var rows = []row{
	{
		feature: "`RUN <<EOF`", path: "srv/script", says: "set -e; false\n\n",
		dockerfile: "SHELL [\"/bin/stamp\", \"/srv/script\"]\nRUN <<EOF\nset -e; false\nEOF\n",
		got:        what{alone: "<<EOF\n"},
	},
	{
		feature: "`RUN <<'EOF'`", path: "srv/script", says: "echo $HOME\n\n",
		dockerfile: "SHELL [\"/bin/stamp\", \"/srv/script\"]\nRUN <<'EOF'\necho $HOME\nEOF\n",
		got:        what{alone: "<<'EOF'\n"},
	},
	{
		feature: "`COPY <<EOF`", path: "srv/text", says: "text\n", dockerfile: "COPY <<EOF /srv/text\ntext\nEOF\n",
		got: what{alone: fails, below: fails},
	},
	{
		feature: "`RUN --mount=type=cache`, whose files are not the image's", path: "cache/left", says: "",
		dockerfile: "RUN --mount=type=cache,target=/cache [\"/bin/stamp\", \"/cache/left\", \"kept\"]\n",
		got:        what{alone: "kept\n", below: "kept\n"},
	},
	{
		feature: "`ARG` below an `ENV` of its name, before which it goes", path: "srv/argument", says: "hello",
		dockerfile: "ENV NAME=environment\nARG NAME=argument\nCOPY page /srv/$NAME\n",
		got:        what{alone: none, below: none},
	},
	{
		feature: "`ADD --checksum` of another file", path: "srv/page", says: fails,
		dockerfile: "ADD --checksum=sha256:0000000000000000000000000000000000000000000000000000000000000000 page /srv/\n",
		got:        what{alone: "hello"},
	},
	{
		feature: "a `.dockerignore` of `**/left`, in which files are", path: "srv/left/out", says: "", dockerfile: "COPY . /srv/\n",
		got: what{alone: "left out"},
	},
}

// TestTheOriginal has the archived original build what it builds otherwise, by itself and by KANIKO_EXECUTOR, and keeps
// the table of docs/executors.md true.
func TestTheOriginal(t *testing.T) {
	compiled, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	registry := faultyregistry.Start(t)
	base, err := baseimage.Pack(baseimage.File{Path: "/bin/stamp", Content: compiled["stamp"]},
		baseimage.File{Path: "/srv/none", Content: []byte("none\n")}, baseimage.File{Path: "/cache/none", Content: []byte("none\n")})
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, registry: registry, programs: compiled}
	if err := remote.Write(b.reference("base", "1"), base); err != nil {
		t.Fatal(err)
	}
	table := "| | the original alone | the original by `KANIKO_EXECUTOR` | built in |\n| --- | --- | --- | --- |\n"
	for i, row := range rows {
		t.Run(row.feature, func(t *testing.T) {
			version := fmt.Sprint("v", i)
			dockerfile := "FROM " + registry.Host() + "/deepsky/base:1\n" + row.dockerfile
			var cells []string
			for _, made := range []struct {
				how  string
				want string
			}{{"alone", row.got.alone}, {"below", row.got.below}, {"ours", row.got.ours}} {
				want := made.want
				switch want {
				case "":
					want = row.says
				case none:
					want = ""
				}
				got, output := b.build(t, made.how, version+made.how, dockerfile, row.path)
				if got != want && (want != fails || !strings.HasPrefix(got, fails)) {
					t.Errorf("%s: %q, want %q\n%s", made.how, got, want, output)
				}
				cells = append(cells, cell(got, row.says))
			}
			table += "| " + row.feature + " | " + strings.Join(cells, " | ") + " |\n"
		})
	}
	documented(t, "../../docs/executors.md", table)
}

// cell says how what was built differs from what the Dockerfile says.
func cell(got, says string) string {
	switch {
	case got == says, says == fails && strings.HasPrefix(got, fails):
		return "right"
	case strings.HasPrefix(got, fails):
		return "fails"
	}
	return "**wrong, silently**"
}

type bench struct {
	*testing.T
	registry *faultyregistry.Registry
	programs map[string][]byte
}

func (b *bench) reference(image, tag string) name.Reference {
	parsed, err := name.ParseReference(b.registry.Host()+"/deepsky/"+image+":"+tag, name.Insecure)
	if err != nil {
		b.Fatal(err)
	}
	return parsed
}

// build builds in a sandbox, and tells what the file at a path became.
func (b *bench) build(t *testing.T, how, version, dockerfile, path string) (got, output string) {
	t.Helper()
	work, outside := t.TempDir(), t.TempDir()
	for path, content := range map[string]string{
		"Dockerfile": dockerfile, "page": "hello", "dir/page": "hello", "left/out": "left out", ".dockerignore": "**/left\nDockerfile\n",
	} {
		path = filepath.Join(work, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil { //nolint:gosec // a test's
			t.Fatal(err)
		}
	}
	spec := sandbox.Spec{
		Files: map[string]string{kaniko.Marker: ""}, Programs: map[string]string{}, Binds: map[string]string{"/workspace": work},
		Env: []string{
			"KANIKO_DIR=/kaniko", "HOME=/root", "USER=root", "PATH=/bin", "SOURCE_DIR=/workspace", "IMAGE=deepsky/hello:" + version,
			"REGISTRY=" + b.registry.Host(), "REGISTRY_INSECURE=true",
		},
		Args: []string{"/kaniko/bin/clone-build-push"},
	}
	for inside, program := range map[string]string{"/kaniko/executor": "executor", "/kaniko/bin/clone-build-push": "clone-build-push"} {
		path := filepath.Join(outside, program)
		if err := os.WriteFile(path, b.programs[program], 0o700); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
		spec.Programs[inside] = path
	}
	switch how {
	case "alone":
		spec.Args = []string{
			"/kaniko/executor", "--force", "--context=dir:///workspace", "--dockerfile=/workspace/Dockerfile", "--insecure", "--insecure-pull",
			"--destination=" + b.registry.Host() + "/deepsky/hello:" + version,
		}
	case "below":
		spec.Env = append(spec.Env, "KANIKO_EXECUTOR=/kaniko/executor")
	}
	status, output := start(t, spec)
	if status != 0 {
		return fails + fmt.Sprint(status), output
	}
	image, err := remote.Image(b.reference("hello", version))
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	return fileOf(t, image, path), output
}

// fileOf is the content of a file in an image, "" where it is not there.
func fileOf(t *testing.T, image v1.Image, path string) string {
	t.Helper()
	files := mutate.Extract(image)
	defer files.Close()
	for archive := tar.NewReader(files); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return ""
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Trim(header.Name, "/") != path {
			continue
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
}

func start(t *testing.T, spec sandbox.Spec) (status int, output string) {
	t.Helper()
	box, err := sandbox.New(t.TempDir(), spec)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longest)
	defer cancel()
	command, err := box.Command(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if exit := (*exec.ExitError)(nil); !errors.As(command.Run(), &exit) && command.ProcessState == nil {
		t.Fatal("it did not start")
	}
	return command.ProcessState.ExitCode(), out.String()
}

// documented compares a page's table with the true one, or writes it when DOCKLINE_UPDATE is true.
func documented(t *testing.T, path, table string) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(table, "\n")
	before, rest, found := strings.Cut(string(page), head)
	if !found {
		t.Fatalf("%s has no table %q", path, head)
	}
	there, after, _ := strings.Cut(head+rest, "\n\n")
	if os.Getenv("DOCKLINE_UPDATE") == "true" {
		if err := os.WriteFile(path, []byte(before+table+"\n"+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(there+"\n", table); diff != "" {
		t.Errorf("%s is stale: run this test with DOCKLINE_UPDATE=true (-there +should be)\n%s", path, diff)
	}
}
