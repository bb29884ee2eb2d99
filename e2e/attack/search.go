package attack

import (
	"bufio"
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Search looks for a secret in the environment, the open files, the memory and every file of every process but its own, and
// returns the places.
func Search(secret []byte) []string {
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
		// The kernel judges each thread by its own capabilities, though all have one memory.
		threads, _ := filepath.Glob(process + "/task/[0-9]*")
		for _, thread := range append([]string{process}, threads...) {
			if memoryHolds(thread, secret) {
				places = append(places, filepath.Join(thread, "mem"))
				break
			}
		}
		descriptors, _ := filepath.Glob(process + "/fd/*")
		for _, descriptor := range descriptors {
			if fileHolds(descriptor, secret) {
				places = append(places, descriptor)
			}
		}
		// What it sees as its own files may be others than this process sees.
		places = append(places, filesThatHold(process+"/root/", secret)...)
	}
	return append(places, filesThatHold("/", secret)...)
}

// filesThatHold lists the files below a folder that hold the secret.
func filesThatHold(folder string, secret []byte) []string {
	var places []string
	_ = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		name := strings.TrimPrefix(path, strings.TrimSuffix(folder, "/"))
		if entry.IsDir() && (name == "/proc" || name == "/sys" || name == "/dev") {
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
