package story

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is a program that serves until it is told to stop.
type server struct {
	command *exec.Cmd
	log     lockedBuffer
}

// startLimit bounds how long a server may take until it says where it is.
const startLimit = 30 * time.Second

// start starts a program and returns it with the first lines of its output, by which it says where it is.
func start(ctx context.Context, lines int, environment []string, program string, args ...string) (*server, []string, error) {
	s := &server{command: exec.Command(program, args...)} //nolint:gosec // our own programs
	s.command.Env = append(os.Environ(), environment...)
	s.command.Stderr = &s.log
	s.command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us, who stop it
	output, err := s.command.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := s.command.Start(); err != nil {
		return nil, nil, fmt.Errorf("starting %q: %w", program, err)
	}
	said := make(chan []string, 1)
	go func() {
		read := bufio.NewReader(output)
		var first []string
		for len(first) < lines {
			line, err := read.ReadString('\n')
			if err != nil {
				break
			}
			first = append(first, strings.TrimSpace(line))
		}
		said <- first
		_, _ = io.Copy(&s.log, read)
	}()
	select {
	case first := <-said:
		if len(first) == lines {
			return s, first, nil
		}
		s.stop()
		return nil, nil, fmt.Errorf("starting %q: it ended: %s", program, s.log.String())
	case <-ctx.Done():
		s.stop()
		return nil, nil, ctx.Err()
	case <-time.After(startLimit):
		s.stop()
		return nil, nil, fmt.Errorf("starting %q: it did not say where it is: %s", program, s.log.String())
	}
}

// stopLimit is how long a server may take to end before it is killed.
const stopLimit = 5 * time.Second

func (s *server) stop() {
	_ = s.command.Process.Signal(syscall.SIGTERM)
	killed := time.AfterFunc(stopLimit, func() { _ = s.command.Process.Kill() })
	_ = s.command.Wait()
	killed.Stop()
}

// lockedBuffer may be written by several at once.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(data)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
