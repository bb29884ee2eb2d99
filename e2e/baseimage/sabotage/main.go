// Command sabotage does what a hostile RUN would do to the push that follows it: it rewrites the files by which hosts
// and certificates are found, forges the results, and leaves a daemon running that goes on forging them. "sabotage left"
// counts the daemons.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// results is where the results of a step are written in the tests' sandbox.
const results = "/results"

func main() {
	switch strings.Join(os.Args[1:], " ") {
	case "left":
		fmt.Println("LEFT", daemons())
	case "daemon":
		for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			forge()
			// By rename: its end may come between the two steps of a write.
			_ = os.WriteFile(filepath.Join(results, "heartbeat.new"), []byte("alive"), 0o600)
			_ = os.Rename(filepath.Join(results, "heartbeat.new"), filepath.Join(results, "heartbeat"))
		}
	default:
		rewrite()
		daemon := exec.Command("/proc/self/exe", "daemon")
		daemon.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of the process group that Kaniko ends
		if err := daemon.Start(); err != nil {
			fmt.Fprintln(os.Stderr, "sabotage:", err)
			os.Exit(1)
		}
		for range 500 { // until it has done its worst once
			if _, err := os.Stat(filepath.Join(results, "heartbeat")); err == nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func rewrite() {
	for path, text := range map[string]string{
		"/etc/hosts": "127.0.0.66 localhost\n", "/etc/resolv.conf": "nameserver 127.0.0.66\n",
		"/etc/nsswitch.conf": "hosts: files\n", "/etc/ssl/certs/ca-certificates.crt": "forged\n",
		"/etc/ssl/cert.pem": "forged\n",
	} {
		_ = os.MkdirAll(filepath.Dir(path), 0o755) //nolint:gosec // it is hostile
		_ = os.WriteFile(path, []byte(text), 0o644)
	}
	forge()
}

// forge writes results. The daemon does nothing else: the build looks at the other files meanwhile, and would fail over one
// that changes.
func forge() {
	_ = os.WriteFile(filepath.Join(results, "IMAGE_DIGEST"), []byte("sha256:forged"), 0o600)
	// A result that is written through this link would overwrite another file.
	_ = os.Remove(filepath.Join(results, "IMAGE_URL"))
	_ = os.Symlink("/etc/passwd", filepath.Join(results, "IMAGE_URL"))
}

func daemons() int {
	found := 0
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, line := range lines {
		if text, err := os.ReadFile(line); err == nil && strings.HasSuffix(string(text), "\x00daemon\x00") {
			found++
		}
	}
	return found
}
