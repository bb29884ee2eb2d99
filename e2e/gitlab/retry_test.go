//go:build e2e

package gitlab

import (
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestARegistryThatIsAway has nobody listen where the testing registry should be: for the build's first two runs, and then
// for good.
func TestARegistryThatIsAway(t *testing.T) {
	s := begin(t)
	away := newAbsence(t, s.world.Testing.Host)
	s.commit("Another way to the registry", map[string]string{
		".gitlab-ci.yml": strings.ReplaceAll(project.read(t, ".gitlab-ci.yml"), s.world.Testing.Host, away.address),
	})
	runs, err := project.RunRetried(t.Context(), "build-image", func(number int) {
		if number == 3 {
			away.end()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 3 {
		t.Fatalf("%d runs, want two that fail and one that does not:\n%s", len(runs), runs[len(runs)-1].Output)
	}
	unreachable(t, runs[:2])
	if runs[2].Status != 0 {
		t.Errorf("the third run failed:\n%s", runs[2].Output)
	}
	tags, err := s.world.Testing.Tags(t.Context())
	if err != nil || len(tags) != 2 { // its version, and the commit's
		t.Errorf("testing holds %q, %v", tags, err)
	}

	gone := newAbsence(t, s.world.Testing.Host)
	s.commit("No way to the registry", map[string]string{
		".gitlab-ci.yml": strings.ReplaceAll(project.read(t, ".gitlab-ci.yml"), away.address, gone.address),
	})
	runs, err = project.RunRetried(t.Context(), "build-image", func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	if len(runs) != 3 {
		t.Errorf("%d runs; the page says that it is retried twice", len(runs))
	}
	unreachable(t, runs)
}

// TestWhatIsWrongIsNotRetried: another status than 6 does not go away by itself.
func TestWhatIsWrongIsNotRetried(t *testing.T) {
	s := begin(t)
	s.commit("A version that is none", map[string]string{".gitlab-ci.yml": strings.Replace(project.read(t, ".gitlab-ci.yml"),
		"image: deepsky/awl-deepsky-hello\n", "image: deepsky/AWL:1.0\n", 1)})
	runs, err := project.RunRetried(t.Context(), "build-image", func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	if status, err := runs[0].failure("build-image"); err != nil || status != 2 || len(runs) != 1 {
		t.Errorf("%d runs, the first with exit status %d, %v:\n%s", len(runs), status, err, runs[0].Output)
	}
}

// unreachable wants each run to end in status 6.
func unreachable(t *testing.T, runs []Job) {
	t.Helper()
	for _, run := range runs {
		status, err := run.failure("build-image")
		if err != nil || status != 6 || !strings.Contains(run.Output, "(exit status 6)") {
			t.Errorf("exit status %d, want 6; %v:\n%s", status, err, run.Output)
		}
	}
}

// absence is an address at which nobody listens, until it ends: then it leads to a server.
type absence struct {
	*testing.T
	address, server string
	socket          int
}

func newAbsence(t *testing.T, server string) *absence {
	t.Helper()
	a := &absence{T: t, server: server}
	var err error
	// A socket that is bound, and does not listen, refuses connections, and keeps others from the port.
	if a.socket, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(a.socket) })
	if err := unix.Bind(a.socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(a.socket)
	if err != nil {
		t.Fatal(err)
	}
	a.address = fmt.Sprintf("127.0.0.1:%d", name.(*unix.SockaddrInet4).Port) //nolint:errcheck,forcetypeassert // as it was bound
	return a
}

// end has the address lead to the server, as long as the test runs.
func (a *absence) end() {
	if err := unix.Listen(a.socket, 16); err != nil {
		a.Error(err)
		return
	}
	duplicate, err := unix.Dup(a.socket)
	if err != nil {
		a.Error(err)
		return
	}
	file := os.NewFile(uintptr(duplicate), a.address)
	defer file.Close()
	listener, err := net.FileListener(file)
	if err != nil {
		a.Error(err)
		return
	}
	a.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return // the test is over
			}
			go a.pass(connection)
		}
	}()
}

// pass passes on what a connection brings, both ways.
func (a *absence) pass(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", a.server)
	if err != nil {
		return // which the job notices
	}
	defer to.Close()
	go func() {
		_, _ = io.Copy(to, from)
		_ = to.(*net.TCPConn).CloseWrite() //nolint:errcheck,forcetypeassert // it is TCP
	}()
	_, _ = io.Copy(from, to)
}
