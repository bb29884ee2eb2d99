// Command forge does what a hostile RUN would do to the hand-over between the phases of a build: it tries to change what
// was cloned, looks for the key of the seal, forges the image that is handed on and the results, and leaves a daemon
// that goes on doing so. It prints "CHANGED …" and "FOUND …" for what it can, and "ATTACKED" at its end.
//
// "forge kill" then kills the build's two processes; "forge left" counts the daemons.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// The folders of the phases in the tests' sandboxes.
const (
	checkout = "/checkout"
	image    = "/image"
	results  = "/results"
)

// daemonLife bounds the daemon's; it ends with its sandbox before. A busy machine takes minutes for a build.
const daemonLife = 10 * time.Minute

func main() {
	switch strings.Join(os.Args[1:], " ") {
	case "left":
		fmt.Println("LEFT", daemons())
	case "daemon":
		for end := time.Now().Add(daemonLife); time.Now().Before(end); time.Sleep(time.Millisecond) {
			forge()
			_ = os.WriteFile(filepath.Join(image, "heartbeat"), []byte("alive"), 0o600)
		}
	case "spawn": // so that the daemon is nobody's child but the one's who adopts orphans
		daemon := exec.Command("/proc/self/exe", "daemon")
		daemon.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		check(daemon.Start())
	case "kill":
		attack()
		child := os.Getppid() // the build's process started this one, and the step's that
		parent := parentOf(child)
		fmt.Println("KILLING", parent)
		check(syscall.Kill(child, syscall.SIGSTOP)) // or it would end the daemon with this process
		check(syscall.Kill(parent, syscall.SIGKILL))
		check(syscall.Kill(child, syscall.SIGKILL))
	default:
		attack()
	}
}

func attack() {
	change("a file", func() error { return os.WriteFile(filepath.Join(checkout, "checkout.json"), []byte("{}"), 0o600) })
	change("the folder", func() error { return os.Rename(filepath.Join(checkout, "source"), filepath.Join(checkout, "x")) })
	change("the mount", func() error { return syscall.Mount("", checkout, "", syscall.MS_REMOUNT|syscall.MS_BIND, "") })
	change("what is mounted", func() error { return syscall.Unmount(checkout, 0) })
	if _, err := os.ReadFile(filepath.Join(image, "seal.key")); err == nil {
		fmt.Println("FOUND the key")
	}
	check(os.WriteFile("/etc/hosts", []byte("127.0.0.66 localhost\n"), 0o600))
	forge()
	check(exec.Command("/proc/self/exe", "spawn").Run())
	for end := time.Now().Add(time.Minute); time.Now().Before(end); { // until the daemon has done its worst once
		if _, err := os.Stat(filepath.Join(image, "heartbeat")); err == nil {
			fmt.Println("ATTACKED")
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func change(what string, how func() error) {
	if how() == nil {
		fmt.Println("CHANGED", what, "of the checkout")
	}
}

// forge writes what PHASE=push would read, and what Tekton would.
func forge() {
	_ = os.WriteFile(filepath.Join(image, "image.json"), []byte(`{"content":"e30=","signature":"Zm9yZ2Vk"}`), 0o600)
	_ = os.MkdirAll(filepath.Join(image, ".image.json", "in", "the", "way"), 0o700)
	_ = os.WriteFile(filepath.Join(results, "IMAGE_DIGEST"), []byte("sha256:forged"), 0o600)
}

func parentOf(pid int) int {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	check(err)
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	parent, err := strconv.Atoi(fields[1])
	check(err)
	return parent
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

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "forge:", err)
		os.Exit(1)
	}
}
