package attack

import (
	"archive/tar"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"dockline/e2e/baseimage"
)

// Scene is one build, in which one attack or many take place.
type Scene struct {
	Name    string
	Attacks []string
	Base    string     // of Bases
	Next    [][]string // commands of the same container that come after a step which ends well
	Ends    int        // Dockline's exit status; -1 for any
	lines   func(run func(names ...string) string) string
}

// judged is the command that judges, whose words each scene fills in.
const judged = "judge"

// Scenes lists the builds of a kind of container, in which each attack that is tried there takes place, but the dump: it
// ends the process above the step, and has tests of its own.
func Scenes(kind Kind) []Scene {
	tried := map[string]bool{}
	for _, attack := range All() {
		for _, in := range attack.Kinds {
			tried[attack.Name] = tried[attack.Name] || in == kind
		}
	}
	var scenes []Scene
	for _, scene := range everyScene {
		var names []string
		for _, name := range scene.Attacks {
			if tried[name] {
				names = append(names, name)
			}
		}
		if scene.Attacks = names; len(names) > 0 {
			scenes = append(scenes, scene)
		}
	}
	return scenes
}

// changed is the exit status of a build that fails, or that has changed what later commands would run.
const changed = 9

// everyScene is in the order in which they are told.
var everyScene = []Scene{
	{
		Name: "search", Attacks: []string{
			"environ", "mem", "thread-mem", "fd", "root", "cwd", "maps", "ptrace", "vm-readv", "pidfd-getfd", "file-capability",
			"kaniko-config", "home", "git-config", "git-copied", "gitlab-files", "service-account", "tekton-creds",
			"build-secret", "pull", "push", "packet-socket", "raw-socket", "results-link", "path", "log-escape",
			"log-section", "log-return", "log-forged", "log-around", "core-pattern", "mount",
		},
		Next: [][]string{{"promote", "--version"}, {judged}},
		lines: func(run func(...string) string) string {
			return "COPY . /src/\n" + run()
		},
	},
	{
		Name: "daemon", Attacks: []string{"daemon", "results-overwritten"}, Next: [][]string{{judged}},
		lines: func(run func(...string) string) string { return run() },
	},
	{
		Name: "secrets", Attacks: []string{"log-secret", "log-secret-base64", "log-secret-coloured"},
		lines: func(run func(...string) string) string {
			return strings.Replace(run(), "RUN ", "RUN --mount=type=secret,id=NPM,target="+MountedSecret+" ", 1)
		},
	},
	{Name: "onbuild", Attacks: []string{"onbuild"}, Base: "onbuild", lines: func(func(...string) string) string { return "COPY Dockerfile /\n" }},
	{
		Name: "failure", Attacks: []string{"results-of-a-failure"}, Ends: changed,
		lines: func(run func(...string) string) string {
			return run() + "RUN [\"/bin/probe\", \"no\", \"such\", \"thing\"]\n"
		},
	},
	one("hosts", 0),
	one("layout", -1, judged), // as the daemon comes in time or not
	one("program-replaced", changed, "promote", "--version"),
	one("program-added", changed, "deploy"),
	one("program-removed", changed, "promote", "--version"),
	one("shell", changed, "/kaniko/busybox/sh", "-c", "true"),
	one("certificate", changed, judged),
	{
		Name: "base-link", Attacks: []string{"base-link"}, Base: "link", Next: [][]string{{"deploy"}}, Ends: -1, // as the next line ends, whose program is not there
		lines: func(run func(...string) string) string { return run() },
	},
}

func one(name string, ends int, next ...string) Scene {
	scene := Scene{Name: name, Attacks: []string{name}, Ends: ends, lines: func(run func(...string) string) string { return run() }}
	if next != nil {
		scene.Next = [][]string{next}
	}
	return scene
}

// Dockerfile is the scene's, on a base image by its reference.
func (s Scene) Dockerfile(base string, given Given) string {
	run := func(names ...string) string {
		if len(names) == 0 {
			names = s.Attacks
		}
		words := append([]string{"/bin/probe", "attack", given.Words()}, names...)
		return `RUN ["` + strings.Join(words, `", "`) + "\"]\n"
	}
	return "FROM " + base + "\n" + s.lines(run)
}

// Commands are the commands after the step, by the probe's path inside.
func (s Scene) Commands(probe string, given Given) [][]string {
	var all [][]string
	for _, command := range s.Next {
		if command[0] == judged {
			command = []string{probe, "attack", given.Words(), judged}
		}
		all = append(all, command)
	}
	return all
}

// Bases are the base images of the scenes, by name, from the probe's program.
func Bases(probe []byte, given Given) (map[string]v1.Image, error) {
	plain, err := baseimage.Pack(baseimage.File{Path: "/bin/probe", Content: probe}, baseimage.File{Path: planted, Content: Planted(probe)})
	if err != nil {
		return nil, err
	}
	linked, err := withLink(plain, Planted(probe))
	if err != nil {
		return nil, err
	}
	config, err := plain.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Config.OnBuild = []string{`RUN ["/bin/probe", "attack", "` + given.Words() + `", "onbuild"]`}
	onbuild, err := mutate.ConfigFile(plain, config)
	return map[string]v1.Image{"": plain, "link": linked, "onbuild": onbuild}, err
}

// withLink adds a layer that leads to /kaniko by a link, and puts a program there.
func withLink(base v1.Image, program []byte) (v1.Image, error) {
	var archive bytes.Buffer
	out := tar.NewWriter(&archive)
	err := errors.Join(
		out.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: "way", Linkname: "/kaniko", Mode: 0o777}),
		out.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "way/bin/deploy", Mode: 0o755, Size: int64(len(program))}))
	if err != nil {
		return nil, err
	}
	if _, err := out.Write(program); err != nil {
		return nil, err
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(base, layer)
}

// Executor are the words that run a plain Kaniko executor with its usual set-up on the scene, from a work tree.
func Executor(program string, given Given, version string) []string {
	return []string{
		program, "--force", "--context=dir://" + given.WorkTree, "--dockerfile=" + given.WorkTree + "/Dockerfile",
		"--destination=" + given.Registry + "/deepsky/hello:" + version, "--insecure", "--insecure-pull",
		"--digest-file=" + given.Results + "/IMAGE_DIGEST", "--image-name-with-digest-file=" + given.Results + "/IMAGE_URL",
		"--oci-layout-path=/kaniko/layout", "--secret=id=NPM,src=/kaniko/npm",
	}
}

// Files are those with credentials that a container of a job holds, by their paths inside. Those of the plain executor's
// usual set-up are among them.
func Files(given Given) map[string]string {
	key := base64.StdEncoding.EncodeToString([]byte(Account + ":" + given.Secret("registry")))
	files := map[string]string{
		"/kaniko/.docker/config.json":                             fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, given.Registry, key),
		"/tekton/creds/.docker/config.json":                       fmt.Sprintf(`{"auths":{"registry.test":{"password":%q}}}`, given.Secret("tekton")),
		"/var/run/secrets/kubernetes.io/serviceaccount/token":     given.Secret("service-account"),
		"/var/run/secrets/kubernetes.io/serviceaccount/namespace": "dev",
	}
	for _, name := range HomeFiles {
		files["/root/"+name] = given.Secret("home")
	}
	return files
}

// WorkTree are the files of the build context, by their paths in it, as GitLab's runner leaves it, and Beside those beside it.
func WorkTree(dockerfile string, given Given) map[string]string {
	return map[string]string{
		"Dockerfile":  dockerfile,
		".git/HEAD":   "ref: refs/heads/develop\n",
		".git/config": "[remote \"origin\"]\n\turl = https://gitlab-ci-token:" + given.Secret("job") + "@gitlab.test/deepsky/hello.git\n",
	}
}

// Beside are the files of the folder WORKTREE.tmp, by their names.
func Beside(given Given) map[string]string {
	return map[string]string{"DEPLOY_KEY": given.Secret("deploy")}
}

// Environment is that of the job, for Dockline's step and for the plain executor alike.
func Environment(given Given, version string) map[string]string {
	return map[string]string{
		"IMAGE": "deepsky/hello:" + version, "REGISTRY": given.Registry, "REGISTRY_INSECURE": "true",
		"REGISTRY_USERNAME": Account, "REGISTRY_PASSWORD": given.Secret("registry"), "CI_PROJECT_DIR": given.WorkTree,
		"RESULTS_DIR": given.Results, "BUILD_SECRET_NPM": given.Secret("build"), "HOME": "/root", "USER": "root",
		"KANIKO_DIR": "/kaniko", "DOCKER_CONFIG": "/kaniko/.docker", "GITLAB_CI": "true",
	}
}
