package kaniko

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/osscontainertools/kaniko/pkg/config"
	"github.com/osscontainertools/kaniko/pkg/executor"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// ChildMain becomes the build's process when this program was started as one, and returns otherwise. It is the first
// thing that main calls.
func ChildMain() {
	if len(os.Args) != 1 || os.Args[0] != childName {
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
	go func() {
		defer os.Exit(1)
		_, _ = io.Copy(io.Discard, orders) // says nothing more, and ends with the parent
		_ = killDescendants()
	}()
	watch := &watcher{log: log, answers: answers}
	watch.answer(build(told, watch))
}

// build runs Kaniko and writes the image. It never panics: a Dockerfile that upsets Kaniko is a build that failed.
func build(told order, watch *watcher) (answer outcome) {
	defer func() {
		if crash := recover(); crash != nil {
			answer = outcome{Problem: fmt.Sprintf("Kaniko ended: %v", crash)}
		}
	}()
	watch.listen()
	how := watch.run
	if told.Executor != "" {
		how = execute
	}
	digest, err := how(told)
	if err != nil {
		return outcome{Problem: reason(err), Status: status(err)}
	}
	return outcome{Digest: digest}
}

// run has Kaniko build the image, writes it, and returns the digest of its manifest.
func (w *watcher) run(told order) (digest string, err error) {
	if err := ready("/", config.KanikoDir, true); err != nil {
		return "", err
	}
	options, err := options(told)
	if err != nil {
		return "", err
	}
	if err := os.Chdir(config.RootDir); err != nil {
		return "", err
	}
	logrus.SetLevel(logrus.ErrorLevel) // Kaniko is about to say the same again
	w.at, err = newPosition(options)
	logrus.SetLevel(logrus.InfoLevel)
	if err != nil {
		return "", err
	}
	image, err := executor.DoBuild(options)
	if err != nil {
		return "", err
	}
	w.at.leave()
	if !told.Created.IsZero() {
		if image, err = mutate.CreatedAt(image, v1.Time{Time: told.Created}); err != nil {
			return "", err
		}
	}
	return writeLayout(told.Layout, image)
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

// reason leaves out what Kaniko wraps every failure of an instruction in.
func reason(err error) string {
	text := err.Error()
	for _, wrapping := range []string{"error building stage: ", "failed to execute command: ", "starting command: "} {
		text = strings.TrimPrefix(text, wrapping)
	}
	return text
}

// status is the exit status of a RUN, as a shell tells it; 0 when it was not a RUN that failed.
func status(err error) int {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return 0
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}

// watcher is Kaniko's logger: it passes each message on as a line "LEVEL TEXT", and follows which instruction is under
// way.
type watcher struct {
	log, answers *os.File
	once         sync.Once
	at           *position
}

// listen becomes Kaniko's logger.
func (w *watcher) listen() {
	logrus.SetFormatter(w)
	logrus.SetOutput(w.log)
	// logrus.Fatal, which Kaniko's packages call in whichever goroutine, would end the process without an answer. Some of
	// its errors are told to the log alone, and the image is then made without what they are about.
	logrus.AddHook(w)
}

// Levels implements logrus.Hook.
func (w *watcher) Levels() []logrus.Level {
	return []logrus.Level{logrus.FatalLevel, logrus.ErrorLevel}
}

// Fire implements logrus.Hook.
func (w *watcher) Fire(entry *logrus.Entry) error {
	if problem := spoils(entry.Message); problem != "" {
		w.answer(outcome{Problem: problem})
	}
	if entry.Level == logrus.FatalLevel {
		w.answer(outcome{Problem: entry.Message})
	}
	return nil
}

// spoils says what is wrong with an image that Kaniko v1.27.5 goes on to make after this message, "" for nothing.
func spoils(message string) string {
	if link, found := strings.CutPrefix(message, "Couldn't eval "); found {
		link, _, _ = strings.Cut(link, " with link ")
		return fmt.Sprintf("the link %q leads in a circle, through a file, or to what must not be read: "+
			"Kaniko would leave files out of the image for it", link)
	}
	if strings.HasPrefix(message, "Error matching, ") || strings.HasPrefix(message, "Unable to get relative path, ") {
		return "reading .dockerignore: " + message
	}
	return ""
}

// Format makes a line of a message (logrus.Formatter).
func (w *watcher) Format(entry *logrus.Entry) ([]byte, error) {
	w.at.hear(entry.Message)
	return []byte(entry.Level.String() + " " + strings.Join(strings.Fields(entry.Message), " ") + "\n"), nil
}

// answer tells the parent how it went, once, and ends the process.
func (w *watcher) answer(answer outcome) {
	w.once.Do(func() {
		if answer.Digest == "" {
			answer.Line, answer.Command = w.at.now()
		}
		if err := send(w.answers, answer); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	})
}
