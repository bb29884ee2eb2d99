package kaniko

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/osscontainertools/kaniko/pkg/config"
	"github.com/osscontainertools/kaniko/pkg/executor"
	"github.com/osscontainertools/kaniko/pkg/util"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// ChildMain becomes the build's process when this program was started as one, and returns otherwise. It is the first
// thing that main calls.
func ChildMain() {
	if os.Args[0] != childName {
		return
	}
	// Before anything secret arrives: a RUN runs as the same user, and must read neither our memory nor our files.
	if err := undumpable("child"); err != nil {
		os.Exit(1)
	}
	for _, fd := range []int{3, 4, 5} {
		unix.CloseOnExec(fd) // none of them is for a RUN
	}
	orders, answers, log := os.NewFile(3, "orders"), os.NewFile(4, "answers"), os.NewFile(5, "log")
	var told order
	if err := json.NewDecoder(orders).Decode(&told); err != nil {
		os.Exit(1)
	}
	_ = orders.Close()
	watch := &watcher{log: log}
	answer := build(told, watch)
	answer.Command = watch.command
	if err := send(answers, answer); err != nil {
		os.Exit(1)
	}
	os.Exit(0)
}

// build runs Kaniko and writes the image. It never panics: a Dockerfile that upsets Kaniko is a build that failed.
func build(told order, watch *watcher) (answer outcome) {
	defer func() {
		if crash := recover(); crash != nil {
			answer = outcome{Problem: fmt.Sprintf("Kaniko ended: %v", crash)}
		}
	}()
	logrus.SetFormatter(watch)
	logrus.SetOutput(watch.log)
	// logrus.Fatal, which Kaniko's packages call, would end the process without an answer.
	logrus.StandardLogger().ExitFunc = func(int) { panic(watch.last) }
	if err := ready("/", config.KanikoDir, true); err != nil {
		return outcome{Problem: err.Error()}
	}
	options := options(told)
	if err := os.Chdir("/"); err != nil {
		return outcome{Problem: err.Error()}
	}
	image, err := executor.DoBuild(options)
	if err != nil {
		answer := outcome{Problem: err.Error()}
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			answer.Status = exit.ExitCode()
			if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
				answer.Status = 128 + int(status.Signal())
			}
		}
		return answer
	}
	if !told.Created.IsZero() {
		if image, err = mutate.CreatedAt(image, v1.Time{Time: told.Created}); err != nil {
			return outcome{Problem: err.Error()}
		}
	}
	digest, err := writeLayout(told.Layout, image)
	if err != nil {
		return outcome{Problem: err.Error()}
	}
	return outcome{Digest: digest}
}

// options sets what Kaniko's own command line would: its packages' zero values are not usable.
func options(told order) *config.KanikoOptions {
	options := &config.KanikoOptions{
		DockerfilePath: told.DockerfilePath, SrcContext: told.ContextDir, BuildArgs: told.BuildArgs, Labels: told.Labels,
		SnapshotMode: "full", CustomPlatform: told.Platform, Compression: config.GZip, CompressionLevel: -1,
		CompressedCaching: true, CacheRunLayers: true, IgnoreVarRun: true, NoPush: true, Reproducible: told.Reproducible,
		SkipPushPermissionCheck: true, Secrets: config.SecretOptions{},
	}
	if options.CustomPlatform == "" {
		options.CustomPlatform = platforms.Format(platforms.Normalize(platforms.DefaultSpec()))
	}
	if told.Target != "" {
		options.Target = []string{told.Target}
	}
	for id, value := range told.Secrets {
		// In this process's memory alone, which a RUN cannot read; never in a file.
		variable := "DOCKLINE_BUILD_SECRET_" + id
		_ = os.Setenv(variable, string(value))
		options.Secrets[id] = config.SecretOption{Type: "env", Src: variable}
	}
	options.SkipDefaultRegistryFallback = true
	options.InsecureRegistries = []string{told.Proxy}
	options.RegistryMaps = map[string][]string{}
	for host, proxied := range told.Maps {
		options.RegistryMaps[host] = []string{proxied}
	}
	util.AddToDefaultIgnoreList(util.IgnoreListEntry{Path: "/var/run"})
	return options
}

func writeLayout(dir string, image v1.Image) (digest string, err error) {
	written, err := layout.Write(dir, empty.Index)
	if err != nil {
		return "", err
	}
	if err := written.AppendImage(image); err != nil {
		return "", err
	}
	hash, err := image.Digest()
	return hash.String(), err
}

// watcher is Kaniko's logger: it passes each message on as a line "LEVEL TEXT", and remembers the instruction that is
// under way, which Kaniko prints before it runs it and leaves out of its errors.
type watcher struct {
	log     *os.File
	command string
	last    string
}

// Format makes a line of a message (logrus.Formatter).
func (w *watcher) Format(entry *logrus.Entry) ([]byte, error) {
	text := strings.Join(strings.Fields(entry.Message), " ")
	w.last = text
	first, _, _ := strings.Cut(text, " ")
	if entry.Level == logrus.InfoLevel && len(first) > 2 && first == strings.ToUpper(first) && isInstruction(first) {
		w.command = text
	}
	return []byte(entry.Level.String() + " " + text + "\n"), nil
}

func isInstruction(word string) bool {
	switch word {
	case "ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD",
		"RUN", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR":
		return true
	}
	return false
}
