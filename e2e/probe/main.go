// Command probe does inside a container what an attacker in a Dockerfile's RUN would do: it searches environments,
// open files, memory and every file for a secret. The secret is given as hexadecimal digits, so that the probe's own
// arguments do not hold it. Each place where it is found is a line "FOUND …"; the exit status is 0 either way.
//
// "probe run WORD… -- WORD…" runs commands one after another, as a shell in a CI job does, and returns the last status.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	switch {
	case len(os.Args) == 3 && os.Args[1] == "search":
		secret, err := hex.DecodeString(os.Args[2])
		if err != nil {
			fmt.Fprintln(os.Stderr, "probe:", err)
			os.Exit(2)
		}
		places := search(secret)
		for _, place := range places {
			fmt.Println("FOUND", place)
		}
		fmt.Println("SEARCHED", len(places))
	case len(os.Args) > 2 && os.Args[1] == "run":
		os.Exit(run(os.Args[2:]))
	default:
		fmt.Fprintln(os.Stderr, "probe: search HEX, or run WORD… -- WORD…")
		os.Exit(2)
	}
}

// run runs the commands between "--" in turn.
func run(words []string) (status int) {
	for len(words) > 0 {
		end := slices.Index(words, "--")
		if end < 0 {
			end = len(words)
		}
		if end > 0 {
			command := exec.Command(words[0], words[1:end]...)
			command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
			_ = command.Run()
			status = command.ProcessState.ExitCode()
		}
		words = words[min(end+1, len(words)):]
	}
	return status
}

func search(secret []byte) []string {
	var places []string
	processes, _ := filepath.Glob("/proc/[0-9]*")
	for _, process := range processes {
		if process == "/proc/"+strconv.Itoa(os.Getpid()) {
			continue // its own memory holds what it searches for
		}
		for _, name := range []string{"environ", "cmdline"} {
			if content, err := os.ReadFile(filepath.Join(process, name)); err == nil && bytes.Contains(content, secret) {
				places = append(places, filepath.Join(process, name))
			}
		}
		if memoryHolds(process, secret) {
			places = append(places, filepath.Join(process, "mem"))
		}
		descriptors, _ := filepath.Glob(process + "/fd/*")
		for _, descriptor := range descriptors {
			if fileHolds(descriptor, secret) {
				places = append(places, descriptor)
			}
		}
		if fileHolds(process+"/root/etc/passwd", secret) {
			places = append(places, process+"/root")
		}
	}
	_ = filepath.WalkDir("/", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if entry.IsDir() && (path == "/proc" || path == "/sys" || path == "/dev") {
			return filepath.SkipDir
		}
		if entry.Type().IsRegular() && fileHolds(path, secret) {
			places = append(places, path)
		}
		return nil
	})
	return places
}

// memoryHolds searches the writable memory of a process.
func memoryHolds(process string, secret []byte) bool {
	maps, err := os.Open(process + "/maps")
	if err != nil {
		return false
	}
	defer maps.Close()
	memory, err := os.Open(process + "/mem")
	if err != nil {
		return false
	}
	defer memory.Close()
	lines := bufio.NewScanner(maps)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "rw") {
			continue
		}
		from, to, _ := strings.Cut(fields[0], "-")
		start, _ := strconv.ParseUint(from, 16, 63)
		end, _ := strconv.ParseUint(to, 16, 63)
		if holds(io.NewSectionReader(memory, int64(start), int64(end-start)), secret) { //nolint:gosec // 63 bits
			return true
		}
	}
	return false
}

func fileHolds(path string, secret []byte) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false
	}
	file, err := os.Open(path) //nolint:gosec // searching everywhere is what it is for
	if err != nil {
		return false
	}
	defer file.Close()
	return holds(file, secret)
}

// holds reads piece by piece, each beginning with the end of the one before, so that no border hides the secret.
func holds(from io.Reader, secret []byte) bool {
	piece := make([]byte, 1<<20)
	kept := 0
	for {
		n, err := from.Read(piece[kept:])
		if bytes.Contains(piece[:kept+n], secret) {
			return true
		}
		if err != nil || n == 0 {
			return false
		}
		end := kept + n
		kept = min(len(secret)-1, end)
		copy(piece, piece[end-kept:end])
	}
}
