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
	"github.com/osscontainertools/kaniko/pkg/config"
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

// build builds and writes the image. It never panics: a Dockerfile that upsets it is a build that failed.
func build(told order, watch *watcher) (answer outcome) {
	defer func() {
		if crash := recover(); crash != nil {
			answer = outcome{Problem: fmt.Sprintf("the build ended: %v", crash)}
		}
	}()
	watch.listen()
	how := watch.run
	if told.Executor != "" {
		how = execute
	}
	answer, err := how(told)
	if err != nil {
		return outcome{Problem: err.Error(), Status: status(err)}
	}
	return answer
}

// run builds the image, and writes it and what is for the cache.
func (w *watcher) run(told order) (done outcome, err error) {
	if err := ready("/", config.KanikoDir, true); err != nil {
		return outcome{}, err
	}
	options, err := options(told)
	if err != nil {
		return outcome{}, err
	}
	if err := os.Chdir(config.RootDir); err != nil {
		return outcome{}, err
	}
	w.at = &position{}
	e := &execution{told: told, options: options, at: w.at, work: told.Work}
	image, err := e.execute()
	if err != nil {
		return outcome{}, err
	}
	w.at.leave()
	written, err := layout.Write(told.Layout, empty.Index)
	if err != nil {
		return outcome{}, err
	}
	if done.Digest, err = appendImage(written, image); err != nil {
		return outcome{}, err
	}
	for _, entry := range e.entries {
		image, err := entry.image(e.built[e.recipe.target].config)
		if err != nil {
			return outcome{}, err
		}
		digest, err := appendImage(written, image)
		if err != nil {
			return outcome{}, err
		}
		done.Cache = append(done.Cache, cachedDigest{entry.key, digest})
	}
	return done, nil
}

func appendImage(to layout.Path, image v1.Image) (digest string, err error) {
	if err := to.AppendImage(image); err != nil {
		return "", err
	}
	hash, err := image.Digest()
	return hash.String(), err
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
	// logrus.Fatal, which Kaniko's packages call in whichever goroutine, would end the process without an answer.
	logrus.AddHook(w)
}

// Levels implements logrus.Hook.
func (w *watcher) Levels() []logrus.Level { return []logrus.Level{logrus.FatalLevel} }

// Fire implements logrus.Hook.
func (w *watcher) Fire(entry *logrus.Entry) error {
	w.answer(outcome{Problem: entry.Message})
	return nil
}

// Format makes a line of a message (logrus.Formatter).
func (w *watcher) Format(entry *logrus.Entry) ([]byte, error) {
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
