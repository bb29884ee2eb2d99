package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// launchMode is the argument by which this program is a tool's parent and nothing else. The kernel counts for a
// process's peak the memory of the one that it was forked from, and this one is small.
const launchMode = "launch"

// sample is one run of a tool.
type sample struct {
	Seconds float64 `json:"seconds"`
	PeakMB  float64 `json:"peakMB"` // of the largest process
}

// launched runs the command and writes the sample to file descriptor 3.
func launched(command []string) int {
	tool := exec.Command(command[0], command[1:]...) //nolint:gosec // the bench's own
	tool.Stdin, tool.Stdout, tool.Stderr = os.Stdin, os.Stdout, os.Stderr
	started := time.Now()
	err := tool.Run()
	took := time.Since(started)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	used, ok := tool.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return 1
	}
	result := os.NewFile(3, "result")
	if err := json.NewEncoder(result).Encode(sample{took.Seconds(), float64(used.Maxrss) * 1024 / 1e6}); err != nil {
		return 1
	}
	return 0
}

// launch runs a tool's command with these variables alone.
func launch(ctx context.Context, command, environment []string) (sample, error) {
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return sample{}, err
	}
	defer read.Close()
	log, err := os.CreateTemp("", "bench-log-")
	if err != nil {
		return sample{}, err
	}
	defer os.Remove(log.Name())
	defer log.Close()
	launcher := exec.CommandContext(ctx, self, append([]string{launchMode}, command...)...)
	launcher.Env, launcher.ExtraFiles = environment, []*os.File{write}
	launcher.Stdout, launcher.Stderr = log, log
	err = launcher.Run()
	_ = write.Close()
	if err != nil {
		said, _ := os.ReadFile(log.Name())
		return sample{}, fmt.Errorf("%v: %w\n%s", command, err, said[max(0, len(said)-2000):])
	}
	var result sample
	err = json.NewDecoder(read).Decode(&result)
	return result, err
}
