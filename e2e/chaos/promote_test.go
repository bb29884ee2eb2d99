//go:build e2e

package chaos_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"dockline/e2e/chaos"
)

// program is compiled once.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "promote")
	build := exec.Command("go", "build", "-o", binary, "dockline/cmd/promote")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("compiling: %w\n%s", err, output)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	status := m.Run()
	if binary, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(binary))
	}
	os.Exit(status)
}

// set is images of a number of services, in several versions, on one base. Each fourth one is for two platforms.
type set struct {
	source  *chaos.Store
	digests []map[string]string // by service and version
}

func service(i int) string { return fmt.Sprintf("deepsky/service-%03d", i) }

func newSet(t testing.TB, services int, versions ...string) *set {
	t.Helper()
	s := &set{source: chaos.NewStore(), digests: make([]map[string]string, services)}
	base := must(random.Image(4096, 3))
	for i := range services {
		own := must(must(random.Image(1024, 1)).Layers())
		s.digests[i] = map[string]string{}
		for _, version := range versions {
			at := service(i) + ":" + version
			newest := append(must(must(random.Image(512, 1)).Layers()), own...)
			image := must(mutate.AppendLayers(base, newest...))
			if i%4 != 3 {
				s.digests[i][version] = write(t, s.source, at, image)
				if i%4 == 0 {
					s.attach(t, at, image)
				}
				continue
			}
			var index v1.ImageIndex = empty.Index
			for _, architecture := range []string{"amd64", "arm64"} {
				one := must(mutate.AppendLayers(image, must(must(random.Image(256, 1)).Layers())...))
				config := must(one.ConfigFile()).DeepCopy()
				config.OS, config.Architecture = "linux", architecture
				one = must(mutate.ConfigFile(one, config))
				index = mutate.AppendManifests(index, mutate.IndexAddendum{
					Add: one, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
				})
			}
			s.digests[i][version] = writeIndex(t, s.source, at, index)
		}
	}
	return s
}

// attach adds a signature as cosign's tag has it, and an artifact that refers to the image, in the source.
func (s *set) attach(t testing.TB, at string, image v1.Image) {
	t.Helper()
	write(t, s.source, signatureOf(at, must(image.Digest()).String()), must(random.Image(200, 1)))
	subject := must(partial.Descriptor(image))
	about := mutate.Subject(must(random.Image(300, 1)), *subject).(v1.Image) //nolint:errcheck // as it is documented
	write(t, s.source, at+"-about", about)
}

// signatureOf returns cosign's tag for an image.
func signatureOf(at, digest string) string {
	repository, _, _ := strings.Cut(at, ":")
	return repository + ":" + strings.Replace(digest, ":", "-", 1) + ".sig"
}

// attached returns what of the source's signature and referrers of an image the target lacks.
func (s *set) attached(in *chaos.Store, at, digest string) error {
	signature := signatureOf(at, digest)
	list := strings.TrimSuffix(signature, ".sig")
	problems := []error{in.Complete(signature), in.Complete(list)}
	if in.Digest(signature) != s.source.Digest(signature) {
		problems = append(problems, fmt.Errorf("%s holds %q, want %q", signature, in.Digest(signature), s.source.Digest(signature)))
	}
	there := in.Children(list)
	for _, referrer := range s.source.Children(list) {
		if !slices.Contains(there, referrer) {
			problems = append(problems, fmt.Errorf("%s does not list the referrer %s", list, referrer))
		}
	}
	return errors.Join(problems...)
}

// images returns IMAGES: all services' version, as another in the target.
func (s *set) images(version, target string) string {
	var all []string
	for i := range s.digests {
		all = append(all, service(i)+":"+version+"="+target)
	}
	return strings.Join(all, "\n")
}

// holds returns what the target's tags hold, by service.
func (s *set) holds(in *chaos.Store, tag string) []string {
	var all []string
	for i := range s.digests {
		all = append(all, in.Digest(service(i)+":"+tag))
	}
	return all
}

// arrived returns what is not as it ought to be of a version in the target: another digest, or anything that it leads to
// that is missing or has another content than its digest says, read by go-containerregistry's own client.
func (s *set) arrived(in *chaos.Store, version, tag string) error {
	var problems []error
	for i := range s.digests {
		at := service(i) + ":" + tag
		if got, want := in.Digest(at), s.digests[i][version]; got != want {
			problems = append(problems, fmt.Errorf("%s holds %q, want %q", at, got, want))
			continue
		}
		reference, there := in.Reference(at)
		found, err := remote.Get(reference, there)
		if err != nil {
			return err
		}
		if found.MediaType.IsIndex() {
			err = validate.Index(must(found.ImageIndex()))
		} else {
			err = validate.Image(must(found.Image()))
		}
		problems = append(problems, err, in.Complete(at), in.Recorded(at), s.attached(in, at, s.digests[i][version]))
	}
	return errors.Join(problems...)
}

// run is a run of the real program.
type run struct {
	command *exec.Cmd
	stderr  bytes.Buffer
	started chan struct{}
	ended   chan struct{}

	signalled time.Time // by terminate
	took      time.Duration
}

func newRun(t testing.TB, source, target *chaos.Server, images string, variables ...string) *run {
	t.Helper()
	home := t.TempDir()
	list := filepath.Join(home, "images")
	if err := os.WriteFile(list, []byte(images), 0o600); err != nil {
		panic(err)
	}
	r := &run{command: exec.Command(must(program())), started: make(chan struct{}), ended: make(chan struct{})}
	r.command.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "RESULTS_DIR=" + home, "IMAGES_FILE=" + list,
		"SOURCE_REGISTRY=" + source.Host(), "TARGET_REGISTRY=" + target.Host(),
		"SOURCE_REGISTRY_INSECURE=true", "TARGET_REGISTRY_INSECURE=true",
	}, variables...)
	r.command.Stderr = &r.stderr
	return r
}

// end runs the program to its end, and returns its exit status: -1 when SIGKILL ended it.
func (r *run) end() (int, error) {
	if err := r.command.Start(); err != nil {
		return 0, err
	}
	close(r.started)
	tooLong := time.AfterFunc(runLimit, func() { _ = r.command.Process.Signal(syscall.SIGQUIT) }) // which tells where it hangs
	defer tooLong.Stop()
	err := r.command.Wait()
	r.took = time.Since(r.signalled)
	close(r.ended)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	return r.command.ProcessState.ExitCode(), nil
}

// runLimit is far above what a run takes on a machine with other work.
const runLimit = 5 * time.Minute

// kill kills the program, and waits until it is dead. It returns false.
func (r *run) kill() bool {
	<-r.started
	_ = r.command.Process.Kill()
	<-r.ended
	return false
}

// terminate sends SIGTERM.
func (r *run) terminate() bool {
	<-r.started
	r.signalled = time.Now()
	_ = r.command.Process.Signal(syscall.SIGTERM)
	return false
}

// log is the end of what the program said.
func (r *run) log() string {
	lines := strings.Split(strings.TrimSpace(r.stderr.String()), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}

func (r *run) last() string {
	lines := strings.Split(strings.TrimSpace(r.stderr.String()), "\n")
	return lines[len(lines)-1]
}
