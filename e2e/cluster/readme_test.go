//go:build e2e

// Package cluster_test has the steps work on a real cluster with image streams, and follows tekton/README.md there, as a
// reader would: its commands are run as they are
// printed there. What a reader must fill in is filled in here too: the registries' and Git's addresses and accounts, the
// files with the passwords, and a kustomization of one's own for Dockline's image.
//
// It needs root, and the image that `make image` has left in .build/image.
package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/layout"

	"dockline/e2e/cluster"
	"dockline/e2e/story"
)

const (
	page10 = "Hello from a Pipeline, version 1.0"
	page11 = "Hello from a Pipeline, version 1.1"
	// caFile is where a Task finds the CA of all servers, as the README says.
	caFile       = "/kaniko/ca/ca.crt"
	webhookToken = "what GitLab brings"
)

func TestTheReadmeIsFollowed(t *testing.T) {
	r := open(t)
	commit := r.commit(page10, "")

	r.run("Install", 1, r.blocks("Install")...)
	r.mayDo()
	r.run("Secrets", 2, r.secrets()...)
	run := r.blocks("Run")
	if len(run) != 3 {
		t.Fatalf("%d blocks under Run, not 3: build, promote, rollback", len(run))
	}

	// Version 1.0: the digest goes from one run to the next in a variable, so it is one script.
	r.examples("1.0", page10)
	first := r.digest(r.run("Run", 1, run[0], run[1], `printf 'digest %s\n' "$digest"`))
	r.runs(r.world.Dev, first, page10)
	r.runs(r.world.Prod, first, page10)
	r.holds(r.world.Testing, "commit-"+commit, first)
	r.holds(r.world.Production, "1.0", first)

	// Version 1.1, to have an image to go back from.
	r.commit(page10, page11)
	r.examples("1.1", page11)
	second := r.digest(r.run("Run", 1, run[0], run[1], `printf 'digest %s\n' "$digest"`))
	if first == second {
		t.Errorf("1.1 is the image that 1.0 was: %s", first)
	}
	r.runs(r.world.Dev, second, page11)
	r.runs(r.world.Prod, second, page11)

	r.examples("1.0", page10) // what the page must say after it
	r.run("Run", 1, run[2])
	r.runs(r.world.Prod, first, page10)
	r.runs(r.world.Dev, second, page11)

	r.hasNoToken("build", "promote")
	r.fails()

	// Git tags: the commit of 1.0 becomes 1.2.0, without being built again.
	if err := r.world.Tag("v1.2.0", commit); err != nil {
		t.Fatal(err)
	}
	r.sendTag("refs/tags/v1.2.0", "")
	r.sendTag("refs/tags/v1.2.0", commit)
	r.triggered()
	r.runs(r.world.Dev, first, page10)
	r.holds(r.world.Testing, "1.2.0", first)
}

// reader follows the README in a folder of its own.
type reader struct {
	t       *testing.T
	cluster cluster.Cluster
	world   *story.World
	dir     string
	readme  string
}

// open prepares what the README takes for granted.
func open(t *testing.T) *reader {
	t.Helper()
	root := shared.root
	readme, err := os.ReadFile(filepath.Join(root, "tekton", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	r := &reader{t: t, cluster: shared.cluster, world: shared.world, dir: t.TempDir(), readme: string(readme)}
	if err := r.cluster.TrustRegistry(r.world.Production.Host, r.world.CA); err != nil {
		t.Fatal(err)
	}
	r.pushDockline(filepath.Join(root, ".build", "image", "oci"))
	for name, content := range map[string]string{
		"git-token":                r.world.Git().Password,
		"testing-push-password":    r.world.Testing.Password,
		"testing-pull-password":    r.world.Testing.Password,
		"production-push-password": r.world.Production.Password,
		"production-pull-password": r.world.Production.Password,
		"dev-token":                r.world.Dev.Token,
		"prod-token":               r.world.Prod.Token,
		"ca.crt":                   string(r.world.CA),
		"ssh-privatekey":           "not used\n",
		"known_hosts":              "not used\n",
		"npm-token":                "not used\n",
		"cosign.key":               recordKey(r.t),
		"cosign-password":          recordKeyPassword,
		"webhook-token":            webhookToken,
	} {
		r.write(name, content)
	}
	r.overlay(filepath.Join(root, "tekton"))
	return r
}

// pushDockline pushes Dockline's own image to the registry that the Tasks name.
func (r *reader) pushDockline(laid string) {
	r.t.Helper()
	index, err := layout.ImageIndexFromPath(laid)
	if err != nil {
		r.t.Fatalf("has make image been run? %v", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		r.t.Fatal(err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.world.Production.Push(r.t.Context(), "dockline/dockline:0.1.0", image); err != nil {
		r.t.Fatal(err)
	}
}

// overlay makes tekton/ a kustomization of the reader's own, with the project's as its resource.
func (r *reader) overlay(shipped string) {
	r.t.Helper()
	if err := os.CopyFS(filepath.Join(r.dir, "dockline"), os.DirFS(shipped)); err != nil {
		r.t.Fatal(err)
	}
	r.write("tekton/kustomization.yaml", fmt.Sprintf(`apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources:
  - ../dockline
images:
  - name: registry.example.com/dockline/dockline
    newName: %s/dockline/dockline
patches:
  - target: {kind: Trigger, name: hello-app}
    path: hello-app.yaml
  - target: {kind: TriggerTemplate, name: build-to-dev}
    path: build-to-dev.yaml
`, r.world.Production.Host))
	r.overlayTrigger()
}

// examples writes the README's runs for a version, with the addresses of this world.
func (r *reader) examples(version, page string) {
	r.t.Helper()
	dev, prod := r.world.Dev, r.world.Prod
	for name, params := range map[string][][2]string{
		"build-to-dev": {
			{"git-ca-file", caFile}, {"registry-ca-file", caFile}, {"context-dir", "hello_v" + version},
			{"build-args", "BASE=" + r.world.Testing.Host + "/" + story.BaseName},
			{"kube-server", dev.API}, {"kube-ca-file", caFile}, {"url", dev.URL()}, {"expect-text", page},
		},
		"promote-to-prod": {
			{"source-registry-ca-file", caFile}, {"target-registry-ca-file", caFile},
			{"kube-server", prod.API}, {"kube-ca-file", caFile}, {"url", prod.URL()}, {"expect-text", page},
		},
		"rollback": {{"kube-server", prod.API}, {"kube-ca-file", caFile}, {"url", prod.URL()}, {"expect-text", page}},
	} {
		shipped, err := os.ReadFile(filepath.Join(r.dir, "dockline", "examples", name+".yaml"))
		if err != nil {
			r.t.Fatal(err)
		}
		var added strings.Builder
		for _, param := range params {
			fmt.Fprintf(&added, "    - name: %s\n      value: %q\n", param[0], param[1])
		}
		text := r.addresses().Replace(strings.Replace(string(shipped), "hello:1.0", "hello:"+version, 1))
		r.write("tekton/examples/"+name+".yaml", strings.Replace(text, "  params:\n", "  params:\n"+added.String(), 1))
	}
}

// addresses puts this world's into a text of the README or the files.
func (r *reader) addresses() *strings.Replacer {
	return strings.NewReplacer(
		"https://gitlab.example.com/deepsky/awl-deepsky-hello.git", r.world.Git().URL,
		"registry-testing.example.com", r.world.Testing.Host, "registry.example.com", r.world.Production.Host,
	)
}

// secrets are the README's commands for the Secrets, with this world's accounts: each line uses one password, by which
// one sees whose account it is about. dev and prod are on another cluster.
func (r *reader) secrets() []string {
	r.t.Helper()
	accounts := func(username string) *strings.Replacer {
		return strings.NewReplacer("=pusher", "="+username, "=puller", "="+username)
	}
	blocks := r.blocks("Secrets")
	for i, block := range blocks {
		lines := strings.Split(strings.Replace(block, "=oauth2", "="+r.world.Git().Username, 1), "\n")
		for j, line := range lines {
			switch {
			case strings.Contains(line, "cat testing-"):
				line = accounts(r.world.Testing.Username).Replace(line)
			case strings.Contains(line, "cat production-"):
				line = accounts(r.world.Production.Username).Replace(line)
			}
			lines[j] = r.addresses().Replace(line)
		}
		blocks[i] = strings.Join(lines, "\n")
	}
	for _, command := range regexp.MustCompile("`(kubectl [^`]* generic cluster [^`]*)`").FindAllStringSubmatch(r.readme, -1) {
		blocks = append(blocks, command[1])
		// The README says it for prod. The dev of this world is on another cluster likewise.
		blocks = append(blocks, strings.NewReplacer("dockline-release", "dockline-build", "prod-token", "dev-token").Replace(command[1]))
	}
	if len(blocks) != 4 {
		r.t.Fatalf("%d blocks of commands about Secrets, not 4", len(blocks))
	}
	return blocks
}

// blocks are the README's commands under a heading.
func (r *reader) blocks(heading string) (blocks []string) {
	r.t.Helper()
	_, section, found := strings.Cut(r.readme, "\n## "+heading+"\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, block := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		blocks = append(blocks, block[1])
	}
	if !found || len(blocks) == 0 {
		r.t.Fatalf("the README has no commands under %q", heading)
	}
	return blocks
}

// run runs commands as one script in the reader's folder, and returns what it wrote.
func (r *reader) run(what string, minutes int, script ...string) string {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Duration(minutes)*5*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, "sh", "-euc", strings.Join(script, "\n"))
	command.Dir, command.Env = r.dir, append(os.Environ(), r.cluster.Environ()...)
	command.WaitDelay = time.Second
	began := time.Now()
	out, err := command.CombinedOutput()
	r.t.Logf("%s, %.1f s:\n%s", what, time.Since(began).Seconds(), out)
	if err != nil {
		r.explain()
		r.t.Fatalf("%s: %v", what, errors.Join(err, ctx.Err()))
	}
	return string(out)
}

// explain logs what became of the runs.
func (r *reader) explain() {
	for _, namespace := range []string{"dockline-build", "dockline-release"} {
		for _, args := range [][]string{
			{"get", "pipelineruns,taskruns,pods"}, {"get", "events", "--sort-by=.lastTimestamp"},
			{"logs", "--selector=app.kubernetes.io/managed-by=tekton-pipelines", "--all-containers", "--prefix", "--tail=20"},
		} {
			out, err := r.cluster.Kubectl(context.Background(), append([]string{"--namespace=" + namespace}, args...)...)
			r.t.Log(namespace, args[0], err, "\n"+out)
		}
	}
}

// digest is the one that a script has printed at its end.
func (r *reader) digest(out string) string {
	r.t.Helper()
	found := regexp.MustCompile(`(?m)^digest (sha256:[0-9a-f]{64})$`).FindStringSubmatch(out)
	if found == nil {
		r.t.Fatalf("the run has no result DIGEST:\n%s", out)
	}
	return found[1]
}

// runs wants an environment to run an image and to show its page, as its servers say.
func (r *reader) runs(in *story.Environment, digest, page string) {
	r.t.Helper()
	history, err := in.History(r.t.Context())
	if err != nil || slices.Index(history, digest) != 0 {
		r.t.Errorf("%s: its tag has meant %v, %v; it should mean %s", in.Namespace, history, err, digest)
	}
	if err := in.Runs(r.t.Context(), digest); err != nil {
		r.t.Errorf("%s: %v", in.Namespace, err)
	}
	if shown, err := in.Page(r.t.Context()); err != nil || story.Heading(shown) != page {
		r.t.Errorf("%s shows %q, %v; it should show %q", in.Namespace, story.Heading(shown), err, page)
	}
}

// holds wants a registry to have an image.
func (r *reader) holds(in *story.Registry, tag, digest string) {
	r.t.Helper()
	if got, err := in.Digest(r.t.Context(), tag); err != nil || got != digest {
		r.t.Errorf("%s of %s is %q, %v; it should be %s", tag, in.Host, got, err, digest)
	}
}

// commit writes the service, with a version 1.1 where it has a page.
func (r *reader) commit(page10, page11 string) string {
	r.t.Helper()
	pages := map[string]string{"1.0": page10}
	if page11 != "" {
		pages["1.1"] = page11
	}
	commit, err := r.world.Commit("Say hello", pages)
	if err != nil {
		r.t.Fatal(err)
	}
	return commit
}

func (r *reader) write(name, content string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		r.t.Fatal(err)
	}
}
