package kaniko

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// What the instructions do together is tested against BuildKit (e2e/builds).

func writeAll(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestContextWithoutWhatIsIgnored(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeAll(t, dir, map[string]string{
		"a/x.log": "", "a/keep.log": "", "a/y": "", "b/c/d": "", "b/[e]": "", "f": "", ".git/config": "", "sub/.git": "",
		".dockerignore": "**/*.log\n!a/keep.log\nb\n**/.git\n",
	})
	files, err := readContext(dir, filepath.Join(dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		"a/x.log": false, "a/keep.log": true, "a/y": true, "a": true, "b": false, "b/c/d": false, "/b/c": false, "f": true, ".": true,
		"/": true, ".git": false, "sub": true, "sub/.git": false,
	} {
		if files.has(name) != want {
			t.Errorf("%q: %t, want %t", name, !want, want)
		}
	}
	for dir, want := range map[string][]string{
		".": {".git", "a/x.log", "b", "sub/.git"}, "a": {"x.log"}, "sub": {".git"}, "f": nil,
	} {
		if diff := cmp.Diff(want, files.excludes(dir)); diff != "" {
			t.Errorf("%q (-want +got)\n%s", dir, diff)
		}
	}

	// What is beside the Dockerfile goes before the context's own.
	writeAll(t, dir, map[string]string{"Dockerfile.dockerignore": "b/*\n!b/c\n"})
	if files, err = readContext(dir, filepath.Join(dir, "Dockerfile")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{`b/\[e\]`}, files.excludes("/")); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestWhatHasChanged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeAll(t, dir, map[string]string{"same": "1", "written": "1", "mode": "1", "gone/a/b": "1", "two": "1", "left/x": "1"})
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.Link(at("two"), at("second")); err != nil {
		t.Fatal(err)
	}
	left := func(path string) bool { return path == at("left") }
	before, err := scan(dir, left)
	if err != nil {
		t.Fatal(err)
	}
	settle(before)
	for _, err := range []error{
		os.WriteFile(at("written"), []byte("2"), 0o600), os.Chmod(at("mode"), 0o644), os.RemoveAll(at("gone")), //nolint:gosec // a test's
		os.Mkdir(at("new"), 0o700), os.WriteFile(at("two"), []byte("22"), 0o600), os.WriteFile(at("left/x"), []byte("2"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	after, err := scan(dir, left)
	if err != nil {
		t.Fatal(err)
	}
	changed, gone := after.since(before)
	want := []string{dir, at("mode"), at("new"), at("second"), at("two"), at("written")}
	if diff := cmp.Diff(want, changed); diff != "" {
		t.Errorf("changed (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{at("gone")}, gone); diff != "" {
		t.Errorf("gone (-want +got)\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]string{at("second"): {at("two")}}, after.alike(before, changed)); diff != "" {
		t.Errorf("changed by another name (-want +got)\n%s", diff)
	}
}

// layerOf packs a layer.
func layerOf(t *testing.T, headers ...tar.Header) v1.Layer {
	t.Helper()
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, header := range headers {
		header.Uid, header.Gid = os.Getuid(), os.Getgid()
		if header.Mode == 0 {
			header.Mode = 0o755
		}
		if header.Typeflag == tar.TypeReg {
			header.Size = 1
		}
		if err := archive.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write([]byte("x")[:header.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(out.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

// TestUnpackingStaysInTheRoot has layers whose links lead out of it, and to what is not the image's.
func TestUnpackingStaysInTheRoot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, outside := filepath.Join(dir, "root"), filepath.Join(dir, "outside")
	writeAll(t, dir, map[string]string{"outside/kept": "1", "root/own/kept": "1"})
	own := filepath.Join(root, "own")
	has, err := unpackLayers(root, []v1.Layer{
		layerOf(t,
			tar.Header{Typeflag: tar.TypeSymlink, Name: "abs", Linkname: outside}, tar.Header{Typeflag: tar.TypeSymlink, Name: "up", Linkname: "../outside"},
			tar.Header{Typeflag: tar.TypeSymlink, Name: "toown", Linkname: "/own"}, tar.Header{Typeflag: tar.TypeReg, Name: "a/b/file"},
			tar.Header{Typeflag: tar.TypeReg, Name: "a/gone"}, tar.Header{Typeflag: tar.TypeDir, Name: "a/", Mode: 0o700},
		),
		layerOf(t,
			tar.Header{Typeflag: tar.TypeReg, Name: "abs/file"}, tar.Header{Typeflag: tar.TypeReg, Name: "up/file"},
			tar.Header{Typeflag: tar.TypeReg, Name: "../../dots"}, tar.Header{Typeflag: tar.TypeReg, Name: "toown/kept"},
			tar.Header{Typeflag: tar.TypeReg, Name: "own/new"}, tar.Header{Typeflag: tar.TypeReg, Name: ".wh.own"},
			tar.Header{Typeflag: tar.TypeReg, Name: "a/.wh.gone"}, tar.Header{Typeflag: tar.TypeLink, Name: "link", Linkname: "a/b/file"},
			tar.Header{Typeflag: tar.TypeLink, Name: "stolen", Linkname: "toown/kept"},
		),
		layerOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "a/b/.wh..wh..opq"}, tar.Header{Typeflag: tar.TypeReg, Name: "a/b/other"}),
	}, func(path string) bool { return below(path, own) }, []string{"/link", "/none"})
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	if err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			found = append(found, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	slices.Sort(found)
	inRoot := "root" + outside + "/file" // where the absolute link leads in the image
	want := []string{
		"outside/kept", "root/a/b/other", "root/abs", "root/dots", "root/link", "root/outside/file", "root/own/kept", "root/toown", "root/up", inRoot,
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
	if text, err := os.ReadFile(filepath.Join(own, "kept")); err != nil || string(text) != "1" {
		t.Errorf("what is not the image's was changed: %q, %v", text, err)
	}
	if !has["/link"] || has["/none"] {
		t.Errorf("it says that the layers have %v", has)
	}
}

// TestUnpackingOverAFolder has a layer put a file, or a link, in the place of a folder whose time is to be set.
func TestUnpackingOverAFolder(t *testing.T) {
	t.Parallel()
	for _, over := range []tar.Header{
		{Typeflag: tar.TypeReg, Name: "a"}, {Typeflag: tar.TypeSymlink, Name: "a", Linkname: "b"}, {Typeflag: tar.TypeReg, Name: ".wh.a"},
	} {
		root := t.TempDir()
		then, b := time.Unix(1, 0), time.Unix(2, 0)
		if _, err := unpackLayers(root, []v1.Layer{
			layerOf(t, tar.Header{Typeflag: tar.TypeDir, Name: "a/", Mode: 0o755, ModTime: then},
				tar.Header{Typeflag: tar.TypeDir, Name: "a/c/", Mode: 0o755, ModTime: then},
				tar.Header{Typeflag: tar.TypeDir, Name: "b/", Mode: 0o755, ModTime: b}, tar.Header{Typeflag: tar.TypeDir, Name: "b/c/", Mode: 0o755, ModTime: b}),
			layerOf(t, over),
		}, func(string) bool { return false }, nil); err != nil {
			t.Errorf("%q of type %c: %v", over.Name, over.Typeflag, err)
		}
		if info, err := os.Stat(filepath.Join(root, "b", "c")); err != nil || !info.ModTime().Equal(b) {
			t.Errorf("%q of type %c: the folder beside it has the time %v, %v", over.Name, over.Typeflag, info, err)
		}
	}
}

// TestWhiteoutsThatHideNoName are refused: they would remove the folder that they are in, or the one above.
func TestWhiteoutsThatHideNoName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{".wh.", ".wh..", ".wh...", "a/.wh..", "a/.wh..."} {
		dir := t.TempDir()
		writeAll(t, dir, map[string]string{"root/kept": "1", "kept": "1"})
		_, err := unpackLayers(filepath.Join(dir, "root"), []v1.Layer{layerOf(t, tar.Header{Typeflag: tar.TypeReg, Name: name})},
			func(string) bool { return false }, nil)
		if err == nil || !strings.Contains(err.Error(), "hides no file") {
			t.Errorf("%q: %v", name, err)
		}
		for _, kept := range []string{"root/kept", "kept"} {
			if _, err := os.Stat(filepath.Join(dir, kept)); err != nil {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

// TestKeyOfARun has the key of the cache tell apart what a RUN does, and the same in every run when it does the same.
func TestKeyOfARun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeAll(t, dir, map[string]string{"releases/1": "1"})
	if err := os.Symlink("releases", filepath.Join(dir, "current")); err != nil {
		t.Fatal(err)
	}
	keyOf := func(instruction string) string {
		t.Helper()
		recipe, err := readRecipe([]byte("FROM scratch\n"+instruction), order{}, "linux/amd64")
		if err != nil {
			t.Fatal(err)
		}
		files, err := readContext(dir, filepath.Join(dir, "Dockerfile"))
		if err != nil {
			t.Fatal(err)
		}
		e := &execution{told: order{CacheRepository: "x"}, recipe: recipe, context: files}
		step := recipe.stages[0].steps[0]
		s := &state{variables: variables{}}
		if err := errors.Join(e.expand(s, step.Command), e.linkStep(s, step)); err != nil {
			t.Fatal(err)
		}
		return string(e.chain)
	}
	const document = "RUN <<EOF\necho %s\nEOF\n"
	if keyOf(fmt.Sprintf(document, "one")) == keyOf(fmt.Sprintf(document, "two")) {
		t.Error("two here-documents have one key")
	}
	for _, same := range []string{
		fmt.Sprintf(document, "one"), "RUN --mount=type=cache,target=/c,uid=1000,mode=0700 make\n", "RUN --mount=type=secret,id=x,env=X make\n",
	} {
		if first, second := keyOf(same), keyOf(same); first != second {
			t.Errorf("%q has another key each time", same)
		}
	}
	const bind = "RUN --mount=type=bind,source=current,target=/in make\n"
	before := keyOf(bind)
	writeAll(t, dir, map[string]string{"releases/1": "2"})
	if keyOf(bind) == before {
		t.Error("a file behind the link of a mount was changed, and the key is the same")
	}
}

func TestRecipe(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description, dockerfile, target string
		triggers                        map[string][]string
		needed                          []int
		problem                         string
	}{
		{"the last", "FROM a\nFROM b\n", "", nil, []int{1}, ""},
		{"what the target is made from", "FROM a AS one\nFROM b AS two\nFROM c AS three\nFROM one AS four\nCOPY --from=1 / /\nFROM d\n", "FOUR", nil, []int{0, 1, 3}, ""},
		{"a mount's stage", "FROM a AS one\nFROM b\nRUN --mount=type=bind,from=one,target=/x true\n", "", nil, []int{0, 1}, ""},
		{"an image's trigger", "FROM a AS one\nFROM b\n", "", map[string][]string{"b": {"COPY --from=one / /"}}, []int{0, 1}, ""},
		{"a stage's trigger", "FROM a AS one\nFROM b AS two\nONBUILD COPY --from=one / /\nFROM two\n", "", nil, []int{0, 1, 2}, ""},
		{"of two with one name the later", "FROM a AS one\nFROM b AS one\nFROM one\n", "", nil, []int{1, 2}, ""},
		{"a platform in a name", "FROM a AS for-amd64\nFROM for-$TARGETARCH\n", "", nil, []int{0, 1}, ""},
		{"no such target", "FROM a\n", "b", nil, nil, `it has no stage "b"`},
		{"a number that is no stage", "FROM a\nCOPY --from=1 / /\n", "", nil, nil, "there is no stage 1"},
		{"itself", "FROM a AS one\nCOPY --from=one / /\n", "", nil, nil, `the stage "one" does not come before`},
		{"a trigger that is none", "FROM b\n", "", map[string][]string{"b": {"COPY"}}, nil, `reading the base's ONBUILD "COPY"`},
		{"no Dockerfile", "", "", nil, nil, "file with no instructions"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			r, err := readRecipe([]byte(row.dockerfile), order{Target: row.target}, "linux/amd64")
			if err == nil {
				err = r.need(r.target, func(image string) ([]string, error) { return row.triggers[image], nil })
			}
			if row.problem != "" {
				if err == nil || !strings.Contains(err.Error(), row.problem) {
					t.Errorf("error is %v, want %q", err, row.problem)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var needed []int
			for _, stage := range r.stages {
				if stage.needed {
					needed = append(needed, stage.index)
				}
			}
			if diff := cmp.Diff(row.needed, needed); diff != "" {
				t.Errorf("stages (-want +got)\n%s", diff)
			}
		})
	}
}

func TestExposeRefusesWhatIsNoPort(t *testing.T) {
	t.Parallel()
	r, err := readRecipe([]byte("FROM a\n"), order{}, "linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	for port, want := range map[string]bool{"80": true, "80-82/udp": true, "81/SCTP": true, "80/http": false, "x": false, "70000": false, "82-80": false, "80-": false} {
		s := &state{variables: variables{}}
		done, err := s.configure(&instructions.ExposeCommand{Ports: []string{port}}, r)
		if !done || (err == nil) != want {
			t.Errorf("EXPOSE %s: %v", port, err)
		}
	}
}

// TestEnvOfTheStageBelow goes before an ARG of that stage, as in BuildKit.
func TestEnvOfTheStageBelow(t *testing.T) {
	t.Parallel()
	below := &state{variables: variables{"V": "arg", "W": "arg"}}
	below.config.Config.Env = []string{"V=env"}
	if got := below.inherit().variables; got["V"] != "env" || got["W"] != "arg" {
		t.Errorf("the variables are %v", got)
	}
}
