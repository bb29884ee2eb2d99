//go:build e2e

package builds_test

import (
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"dockline/e2e/builds"
)

// referencePage is where the reference is read.
const referencePage = "https://docs.docker.com/reference/dockerfile/"

// outcome is what came of a row.
type outcome struct {
	same   bool
	reason string // for which clone-build-push refuses it
}

// TestSameAsBuildKit builds every Dockerfile of the set by BuildKit and by clone-build-push. The two images must have the
// same files and the same configuration; or else clone-build-push must refuse the Dockerfile, by the name of what is in it
// and with its documented exit status, before anything is built. What the reference has and the set has not fails by name,
// and nine in ten must be built. The page docs/dockerfile.md has the table.
func TestSameAsBuildKit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	set := rows()
	outcomes := make([]outcome, len(set))
	t.Run("Dockerfiles", func(t *testing.T) {
		for i, row := range set {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				outcomes[i] = w.compare(t, row, i)
			})
		}
	})
	reference, err := builds.ReadReference(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	checkCovered(t, reference, set)
	same := 0
	for _, outcome := range outcomes {
		if outcome.same {
			same++
		}
	}
	t.Logf("%d of %d Dockerfiles are built the same, %d refused", same, len(set), len(set)-same)
	if len(set) < 60 || 10*same < 9*len(set) {
		t.Errorf("%d of %d Dockerfiles are built: nine in ten of at least 60 are wanted", same, len(set))
	}
	if !t.Failed() {
		documented(t, "../../docs/dockerfile.md", table(set, outcomes))
	}
}

// compare builds a row by both.
func (w *world) compare(t *testing.T, row row, number int) outcome {
	t.Helper()
	dir, dockerfile := w.write(t, row)
	theirs, ours := fmt.Sprintf("buildkit/row%d:1", number), fmt.Sprintf("dockline/row%d:1", number)
	err := w.byBuildKit(t, row, theirs, dir, dockerfile)
	switch {
	case row.buildKitRefuses == "" && err != nil:
		t.Fatal(err)
	case row.buildKitRefuses != "" && (err == nil || !strings.Contains(err.Error(), row.buildKitRefuses)):
		t.Fatalf("BuildKit ends with %v, want %q", err, row.buildKitRefuses)
	}
	status, printed := w.byStep(t, row, ours, dir, dockerfile)
	last := printed[strings.LastIndex(printed, "\n")+1:]
	if row.refused != "" {
		return w.checkRefused(t, row, ours, status, last, printed)
	}
	if status != 0 {
		t.Fatalf("exit status %d\n%s", status, printed)
	}
	wantFiles, wantConfig := w.pull(t, theirs)
	files, config := w.pull(t, ours)
	for _, set := range []builds.Files{wantFiles, files} {
		for path, file := range set {
			if !slices.Contains(row.times, path) {
				file.Modified = time.Time{}
			} else {
				file.Modified = file.Modified.Truncate(time.Second).UTC()
			}
			if row.keepsLinks {
				file.Links = ""
			}
			set[path] = file
		}
	}
	for _, path := range row.differs {
		if wantFiles[path] == files[path] {
			t.Errorf("%s does not differ", path)
		}
		delete(wantFiles, path)
		delete(files, path)
	}
	if !strings.Contains(printed, row.warns) {
		t.Errorf("there is no warning %q:\n%s", row.warns, printed)
	}
	if diff := cmp.Diff(wantConfig, config); diff != "" {
		t.Errorf("configuration (-BuildKit +clone-build-push)\n%s", diff)
	}
	if diff := cmp.Diff(wantFiles, files); diff != "" {
		t.Errorf("files (-BuildKit +clone-build-push)\n%s", diff)
	}
	if t.Failed() {
		t.Logf("the Dockerfile is\n%s\nclone-build-push said\n%s", row.dockerfile, printed)
	}
	return outcome{same: !t.Failed()}
}

var loopback = regexp.MustCompile(`http://127\.0\.0\.1:[0-9]+`)

var lastLine = regexp.MustCompile(`^clone-build-push: build failed: (.*) Hint: .* \(exit status 9\)$`)

// checkRefused wants a Dockerfile to have been refused by name, and nothing to have been built.
func (w *world) checkRefused(t *testing.T, row row, image string, status int, last, printed string) outcome {
	t.Helper()
	match := lastLine.FindStringSubmatch(last)
	if status != 9 || match == nil || !strings.HasPrefix(match[1], row.refused) {
		t.Errorf("exit status %d and the last line\n%s\nwant 9 and %q\nin all:\n%s", status, last, row.refused, printed)
		return outcome{}
	}
	if !row.late && strings.Contains(printed, "Building ") {
		t.Errorf("it was built before it was refused:\n%s", printed)
	}
	reference, err := name.ParseReference(w.registry + "/" + image)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := remote.Head(reference); err == nil {
		t.Errorf("it is pushed")
	}
	// "Dockerfile:2: RUN --device: REASON."
	_, reason, _ := strings.Cut(match[1], ": ")
	_, reason, _ = strings.Cut(reason, ": ")
	reason, _, _ = strings.Cut(reason, "; Dockerfile:")
	reason = loopback.ReplaceAllString(strings.TrimSuffix(reason, "."), "https://host")
	return outcome{reason: strings.ReplaceAll(reason, "linux/"+runtime.GOARCH, "linux/amd64")} // the same on every machine
}

// checkCovered wants every feature of the reference to be in a Dockerfile of the set, and every section to be one.
func checkCovered(t *testing.T, reference builds.Reference, set []row) {
	t.Helper()
	covered := map[string]bool{}
	for _, row := range set {
		for _, feature := range features(t, row.dockerfile) {
			covered[feature] = true
		}
		if !slices.Contains(reference.Sections, row.section) {
			t.Errorf("%s: the reference has no section %q", row.name, row.section)
		}
	}
	for _, feature := range reference.Features {
		if !covered[feature] {
			t.Errorf("the reference has %s, and no Dockerfile of the set", feature)
		}
	}
	t.Logf("the reference of BuildKit %s has %d directives, instructions, flags and options of mounts", builds.Version, len(reference.Features))
}

// features are those of the reference that a Dockerfile uses.
func features(t *testing.T, dockerfile string) []string {
	t.Helper()
	var out []string
	for _, directive := range []string{"syntax", "escape", "check"} {
		if _, _, _, found := parser.ParseDirective(directive, []byte(dockerfile)); found {
			out = append(out, "# "+directive)
		}
	}
	result, err := parser.Parse(strings.NewReader(dockerfile))
	if err != nil {
		t.Fatalf("%v\n%s", err, dockerfile)
	}
	for _, node := range result.AST.Children {
		instruction := strings.ToUpper(node.Value)
		out = append(out, instruction)
		for _, flag := range node.Flags {
			flag, value, _ := strings.Cut(strings.TrimPrefix(flag, "--"), "=")
			out = append(out, instruction+" --"+flag)
			if flag == "mount" {
				out = append(out, mountFeatures(value)...)
			}
		}
	}
	return out
}

func mountFeatures(mount string) []string {
	kind := "bind"
	var options []string
	for option := range strings.SplitSeq(mount, ",") {
		key, value, _ := strings.Cut(option, "=")
		if key == "type" {
			kind = value
		} else {
			options = append(options, key)
		}
	}
	out := []string{"RUN --mount=type=" + kind}
	for _, option := range options {
		out = append(out, out[0]+","+option)
	}
	return out
}

func table(set []row, outcomes []outcome) string {
	var out strings.Builder
	out.WriteString("| what | in the reference | clone-build-push |\n| --- | --- | --- |\n")
	for i, row := range set {
		comes := "the same"
		if row.keepsLinks {
			comes += ", but for hard links to files of earlier layers, which stay links (BuildKit copies them)"
		}
		if row.warns != "" {
			comes = "the same, but for what it warns of: " + row.warns
		}
		if !outcomes[i].same {
			comes = "refused: " + outcomes[i].reason
		}
		fmt.Fprintf(&out, "| %s | [%s](%s#%s) | %s |\n", escape(row.name), row.section, referencePage, row.section, escape(comes))
	}
	same := 0
	for _, outcome := range outcomes {
		if outcome.same {
			same++
		}
	}
	out.WriteString("\n" + strconv.Itoa(same) + " of " + strconv.Itoa(len(set)) + " are built the same.\n")
	return out.String()
}

// escape keeps a cell of a table from being read as anything but text.
func escape(cell string) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", "*", `\*`).Replace(cell)
}

// documented compares a page's table with the true one, or writes it when DOCKLINE_UPDATE is true.
func documented(t *testing.T, path, table string) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), "| what |")
	if !found {
		t.Fatalf("%s has no table", path)
	}
	_, after, found := strings.Cut(rest, "are built the same.\n")
	if !found {
		t.Fatalf("%s has no end of its table", path)
	}
	want := before + table + after
	if os.Getenv("DOCKLINE_UPDATE") == "true" {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(page), want); diff != "" {
		t.Errorf("%s is stale: run this test with DOCKLINE_UPDATE=true (-there +should be)\n%s", path, diff)
	}
}
