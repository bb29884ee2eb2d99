package imageapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ProcessRunner runs each pod as one process of this machine: the image is pulled and unpacked into a folder of its own
// and its entrypoint started with that folder as its root. This is no container: the process shares network and process
// table with everybody, so it is for images that one trusts.
//
// Where the kernel does not let us change the root, the entrypoint's file is started where it lies, with ROOT naming
// the folder; that works for a static program which finds its files by it.
//
// All pods share one network, so a port can be had once. Each process is told a free loopback port in PORT, and is
// ready when something listens there.
type ProcessRunner struct {
	Dir        string   // for the folders of the pods; it must exist and be ours alone
	RegistryCA []byte   // PEM, as in Options
	Insecure   []string // registries (HOST[:PORT]) that are read over plain http or without checking certificates
	Output     io.Writer

	// RunAs is the user that processes run as when we are root. The default is 1000650000 and group 0, from the range that
	// OpenShift would choose from: an image that only works as root is to be found out.
	RunAs uint32

	once     sync.Once
	importer *importer
	changes  rootChange
	writing  sync.Mutex
}

const (
	defaultRunAs  = 1000650000
	readyPoll     = 20 * time.Millisecond
	firstBackOff  = 500 * time.Millisecond
	longestAgain  = 10 * time.Second
	shortestGrace = 100 * time.Millisecond
)

// Run pulls the image, then starts the process as often as it ends, until ctx ends.
func (p *ProcessRunner) Run(ctx context.Context, pod Pod, report func(PodState)) {
	p.once.Do(func() {
		p.importer = newImporter(p.RegistryCA)
		p.changes = findRootChange()
	})
	dir, err := os.MkdirTemp(p.Dir, pod.Name+"-")
	if err != nil {
		report(PodState{Reason: "CreateContainerError", Message: err.Error()})
		<-ctx.Done()
		return
	}
	defer os.RemoveAll(dir)
	image, digest := p.pull(ctx, pod, dir, report)
	if image == nil {
		return
	}
	backOff := firstBackOff
	for restarts := int64(0); ctx.Err() == nil; restarts++ {
		began := time.Now()
		message := p.runOnce(ctx, pod, dir, image, PodState{ImageID: digest, Restarts: restarts}, report)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > longestAgain {
			backOff = firstBackOff
		}
		report(PodState{
			ImageID: digest, Restarts: restarts + 1, Reason: "CrashLoopBackOff",
			Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s: %s", backOff, pod.Container, pod.Name, message),
		})
		pause(ctx, backOff)
		backOff = min(2*backOff, longestAgain)
	}
}

// pull tries until the image is unpacked below dir, or ctx ends: then there is no image.
func (p *ProcessRunner) pull(ctx context.Context, pod Pod, dir string, report func(PodState)) (*v1.ConfigFile, string) {
	report(PodState{})
	for backOff := firstBackOff; ctx.Err() == nil; backOff = min(2*backOff, longestAgain) {
		config, id, err := p.tryPull(ctx, pod, dir)
		if err == nil {
			return config, id
		}
		if ctx.Err() != nil {
			break
		}
		report(PodState{Reason: "ErrImagePull", Message: err.Error()})
		report(PodState{
			Reason: "ImagePullBackOff", Message: fmt.Sprintf("Back-off pulling image %q: %v", pod.Image, err),
		})
		pause(ctx, backOff)
	}
	return nil, ""
}

func (p *ProcessRunner) tryPull(ctx context.Context, pod Pod, dir string) (*v1.ConfigFile, string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	ref, err := name.ParseReference(pod.Image)
	if err != nil {
		return nil, "", err
	}
	puller, ref, err := p.importer.open(ctx, ref, slices.Contains(p.Insecure, ref.Context().RegistryStr()),
		pod.Credentials(ref.Context()))
	if err != nil {
		return nil, "", err
	}
	image, err := puller.image(ctx, ref)
	if err != nil {
		return nil, "", err
	}
	digest, err := image.Digest()
	if err != nil {
		return nil, "", err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, "", err
	}
	root := filepath.Join(dir, "root")
	if err := os.RemoveAll(root); err != nil {
		return nil, "", err
	}
	if err := unpack(image, root); err != nil {
		return nil, "", err
	}
	return config, ref.Context().Name() + "@" + digest.String(), nil
}

// runOnce starts the process and returns how it ended. Ctx's end asks it to end, and then makes it.
func (p *ProcessRunner) runOnce(ctx context.Context, pod Pod, dir string, image *v1.ConfigFile, state PodState,
	report func(PodState),
) (message string) {
	port, err := freePort()
	if err != nil {
		return err.Error()
	}
	command, err := p.command(pod, filepath.Join(dir, "root"), image, port)
	if err != nil {
		return err.Error()
	}
	last := &tail{to: p.Output, prefix: pod.Namespace + "/" + pod.Name + ": ", runner: p}
	command.Stdout, command.Stderr = last, last
	command.WaitDelay = time.Second // a grandchild that keeps our pipe must not keep us
	if err := command.Start(); err != nil {
		return err.Error()
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	defer func() {
		// The process group, so that nothing that it started stays.
		_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
	}()
	state.Running, state.Port = true, port
	report(state)
	poll := time.NewTicker(readyPoll)
	defer poll.Stop()
	for {
		select {
		case err := <-ended:
			return fmt.Sprintf("%s: %s", exitText(err), last.String())
		case <-ctx.Done():
			_ = syscall.Kill(-command.Process.Pid, syscall.SIGTERM)
			select {
			case <-ended: //nolint:errcheck // it was told to end, however it does
			case <-time.After(max(min(pod.Grace, maxGrace), shortestGrace)):
				_ = syscall.Kill(-command.Process.Pid, syscall.SIGKILL)
				<-ended //nolint:errcheck // likewise
			}
			return ""
		case <-poll.C:
			if listens := listens(port); listens != state.Ready {
				state.Ready = listens
				report(state)
			}
		}
	}
}

// maxGrace bounds how long a process may take to end, since whoever stops the cluster waits for it.
const maxGrace = 3 * time.Second

// command prepares the image's entrypoint, or what the pod wants instead.
func (p *ProcessRunner) command(pod Pod, root string, image *v1.ConfigFile, port int) (*exec.Cmd, error) {
	line := append(slices.Clone(image.Config.Entrypoint), image.Config.Cmd...)
	switch {
	case len(pod.Command) > 0:
		line = append(slices.Clone(pod.Command), pod.Args...)
	case len(pod.Args) > 0:
		line = append(slices.Clone(image.Config.Entrypoint), pod.Args...)
	}
	if len(line) == 0 {
		return nil, errors.New("no command specified")
	}
	env := append(slices.Clone(image.Config.Env), pod.Env...)
	env = append(env, "HOSTNAME="+pod.Name, "PORT="+strconv.Itoa(port))
	workDir := image.Config.WorkingDir
	if workDir == "" {
		workDir = "/"
	}
	program, err := findProgram(root, line[0], workDir, env)
	if err != nil {
		return nil, err
	}
	runAs := p.RunAs
	if runAs == 0 {
		runAs = defaultRunAs
	}
	command := &exec.Cmd{Path: program, Args: line, Env: env, Dir: workDir, SysProcAttr: &syscall.SysProcAttr{
		Setpgid: true, Pdeathsig: syscall.SIGKILL, // nothing outlives us, even if we are killed
	}}
	p.changes.apply(command, root, runAs)
	return command, nil
}

// findProgram returns where in the image a command lies, looking it up in PATH as a shell would.
func findProgram(root, program, workDir string, env []string) (string, error) {
	if strings.Contains(program, "/") {
		return filepath.Join(workDirOf(program, workDir), program), nil
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, one := range env {
		if value, found := strings.CutPrefix(one, "PATH="); found {
			path = value
		}
	}
	inside, err := os.OpenRoot(root)
	if err != nil {
		return "", err
	}
	defer inside.Close()
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join("/", dir, program)
		if info, err := inside.Stat(strings.TrimPrefix(candidate, "/")); err == nil && info.Mode()&0o111 != 0 && !info.IsDir() {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", program)
}

func workDirOf(program, workDir string) string {
	if filepath.IsAbs(program) {
		return "/"
	}
	return workDir
}

// freePort asks the kernel for a port. Somebody else could take it before the process does; then the process fails and
// is started again with another one.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := listener.Addr().(*net.TCPAddr).Port
	return port, listener.Close()
}

// listens tells whether something answers on a port of loopback. The kernel tells that at once; the limit is for a machine
// on which this program comes late to hear it, and a pod must not count as not ready for that.
func listens(port int) bool {
	connection, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), 2*time.Second)
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}

func exitText(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

func pause(ctx context.Context, duration time.Duration) {
	select {
	case <-time.After(duration):
	case <-ctx.Done():
	}
}

// tail passes a process's output on, line by line, and keeps its end for the message about its death.
type tail struct {
	to     io.Writer
	prefix string
	runner *ProcessRunner
	kept   []byte
	line   []byte
}

const keptOutput = 400

func (t *tail) Write(data []byte) (int, error) {
	t.runner.writing.Lock()
	defer t.runner.writing.Unlock()
	t.kept = append(t.kept, data...)
	if len(t.kept) > keptOutput {
		t.kept = slices.Clone(t.kept[len(t.kept)-keptOutput:])
	}
	t.line = append(t.line, data...)
	for t.to != nil {
		line, rest, found := strings.Cut(string(t.line), "\n")
		if !found {
			break
		}
		_, _ = fmt.Fprintln(t.to, t.prefix+line)
		t.line = []byte(rest)
	}
	if len(t.line) > keptOutput || t.to == nil {
		t.line = nil // a line that does not end is not kept for ever
	}
	return len(data), nil
}

func (t *tail) String() string {
	t.runner.writing.Lock()
	defer t.runner.writing.Unlock()
	return strings.TrimSpace(string(t.kept))
}
