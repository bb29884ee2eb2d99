package kaniko

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
)

// order is what the child is told, through a pipe.
type order struct {
	ContextDir     string
	DockerfilePath string
	BuildArgs      []string
	Target         string
	Platform       string
	Labels         []string
	Secrets        map[string][]byte
	Created        time.Time
	Reproducible   bool
	Maps           map[string]string // registry host → "PROXY/TOKEN/INDEX"
	Proxy          string            // host:port
	Layout         string            // folder for the image
}

// outcome is what the child answers, through a pipe that it alone holds.
type outcome struct {
	Digest  string
	Problem string // what failed, in Kaniko's words
	Command string // the instruction that was under way
	Status  int    // of a RUN that failed
}

// Run builds the image, and returns when no process of the build is left. The errors: fault.Denied when the
// credentials could not be kept from a RUN; fault.BuildFailed with "Dockerfile:LINE: INSTRUCTION: ..." when the
// Dockerfile or its context is at fault; the Puller's own when a base image cannot be had; ctx.Err() in the chain when
// ctx ends, after every process of the build was killed.
func (b Build) Run(ctx context.Context) (*Image, error) {
	if err := Ready(b.AllowPrivileged); err != nil {
		return nil, err
	}
	proxy, err := b.startProxy()
	if err != nil {
		return nil, err
	}
	defer proxy.close()
	work, err := os.MkdirTemp(Dir, "build-")
	if err != nil {
		return nil, fmt.Errorf("making the build's folder: %w", err)
	}
	keep := false
	defer func() {
		if !keep {
			_ = os.RemoveAll(work)
		}
	}()
	told := b.order(work, proxy)
	text, err := os.ReadFile(told.DockerfilePath) // before a RUN could change it
	if err != nil {
		return nil, fault.New(fault.BuildFailed, "reading the Dockerfile: %w", err)
	}
	answer, err := b.runChild(ctx, told)
	if err != nil {
		return nil, err
	}
	if cause := proxy.failed(); answer.Digest == "" && cause != nil {
		return nil, fmt.Errorf("pulling a base image: %w", cause)
	}
	if answer.Digest == "" {
		return nil, failure(filepath.Base(told.DockerfilePath), text, answer)
	}
	digest, err := v1.NewHash(answer.Digest)
	if err != nil {
		return nil, fault.New(fault.Unexpected, "reading the built image's digest: %w", err)
	}
	image, err := openLayout(told.Layout, digest)
	if err != nil {
		return nil, err
	}
	keep = true
	image.Bases, image.work = proxy.used(), work
	return image, nil
}

func (b Build) order(work string, proxy *proxy) order {
	told := order{
		ContextDir: b.ContextDir, DockerfilePath: b.dockerfile(), BuildArgs: b.BuildArgs, Target: b.Target,
		Platform: b.Platform, Secrets: b.Secrets, Created: b.Created, Reproducible: b.Reproducible,
		Maps: proxy.maps(), Proxy: proxy.address(), Layout: filepath.Join(work, "image"),
	}
	for _, key := range slices.Sorted(maps.Keys(b.Labels)) {
		told.Labels = append(told.Labels, key+"="+b.Labels[key])
	}
	return told
}

func (b Build) dockerfile() string {
	if filepath.IsAbs(b.Dockerfile) {
		return b.Dockerfile
	}
	return filepath.Join(b.ContextDir, b.Dockerfile)
}

// failure tells a build's failure with the instruction that was under way, and its line.
func failure(name string, text []byte, answer outcome) error {
	where := ""
	if answer.Command != "" {
		where = answer.Command + ": "
		if line := lineOf(text, answer.Command); line > 0 {
			where = fmt.Sprintf("%s:%d: %s", name, line, where)
		}
	}
	if answer.Status != 0 {
		return fault.New(fault.BuildFailed, "%sexit status %d", where, answer.Status)
	}
	return fault.New(fault.BuildFailed, "%s%s", where, answer.Problem)
}

// lineOf finds an instruction as Kaniko prints it in the Dockerfile's text: its first word and what follows it.
func lineOf(dockerfile []byte, command string) int {
	wanted := strings.Join(strings.Fields(command), " ")
	number := 0
	for line := range strings.Lines(string(dockerfile)) {
		number++
		text := strings.TrimSuffix(strings.Join(strings.Fields(line), " "), " \\")
		first, _, _ := strings.Cut(text, " ")
		if text != "" && !strings.HasPrefix(text, "#") && len(text) > len(first) && strings.HasPrefix(wanted, text) {
			return number
		}
	}
	return 0
}

func newToken() string {
	token := make([]byte, 16)
	_, _ = rand.Read(token) // never fails (crypto/rand)
	return hex.EncodeToString(token)
}

func send(to io.WriteCloser, value any) error {
	return errors.Join(json.NewEncoder(to).Encode(value), to.Close())
}
