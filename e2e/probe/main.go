// Command probe does inside a container what an attacker in a Dockerfile's RUN would do. What it is to look for is given
// as hexadecimal digits, so that its own arguments do not hold it.
//
//	probe search HEX             searches environments, open files, memory and every file of every process for a secret.
//	                             Each place where it is found is a line "FOUND …"; the exit status is 0 either way
//	probe ask URL                asks for URL through each proxy that listens on loopback, without its password
//	probe raw                    tries to open the sockets that read what others send and receive
//	probe run WORD… -- WORD…     runs commands one after another, as a shell in a CI job does, and returns the last status
//	probe dump [FILE]            has the outermost process above it but the first, such as the shell of a CI job, end with a
//	                             dump of its memory, if its limit of such files allows that or can be raised. A line in
//	                             FILE tells up to how many bytes: whoever passes output on may end with that process
//	probe wait                   does nothing for a minute
//	probe left                   counts the processes beside itself and the first one
//	probe exit STATUS            ends with that status
//	probe fill FILE              writes into FILE as long as the disk takes it
//	probe attack WORD…           does what e2e/attack's Run does
//	probe job HEX WORD…          runs commands as run does, up to the first that fails, while it holds a file open that has no
//	                             name, and HEX in it
//	probe leave WORD…            starts a command in a session of its own, and does not wait for it
//	probe hold FILE WORD…        runs one command while it holds FILE open, whose name it has removed
package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"dockline/e2e/attack"
)

func main() {
	if attack.IsPlanted() {
		return
	}
	words := os.Args[1:]
	switch {
	case len(words) > 2 && words[0] == "attack":
		os.Exit(attack.Run(words[1:]))
	case len(words) > 2 && words[0] == "job":
		os.Exit(job(words[1], words[2:]))
	case filepath.Base(os.Args[0]) != "probe":
		fmt.Println("OURS", os.Args[0]) // it stands in for another program of the image
	case len(words) == 2 && words[0] == "search":
		secret, err := hex.DecodeString(words[1])
		if err != nil {
			fail(err)
		}
		places := attack.Search(secret)
		for _, place := range places {
			fmt.Println("FOUND", place)
		}
		fmt.Println("SEARCHED", len(places))
	case len(words) == 2 && words[0] == "ask":
		ask(words[1])
	case len(words) == 1 && words[0] == "wait":
		time.Sleep(time.Minute)
	case len(words) == 1 && words[0] == "left":
		fmt.Println("LEFT", left())
	case len(words) == 2 && words[0] == "exit":
		status, err := strconv.Atoi(words[1])
		if err != nil {
			fail(err)
		}
		os.Exit(status)
	case len(words) == 2 && words[0] == "fill":
		fill(words[1])
	case len(words) == 1 && words[0] == "dump":
		dump(os.Stdout)
	case len(words) == 2 && words[0] == "dump":
		report, err := os.OpenFile(words[1], os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o644) //nolint:gosec // the test's
		if err != nil {
			fail(err)
		}
		dump(report)
	case len(words) == 1 && words[0] == "raw":
		openRaw()
	case len(words) > 1 && words[0] == "run":
		os.Exit(run(words[1:]))
	case len(words) > 1 && words[0] == "leave":
		command := exec.Command(words[1], words[2:]...) //nolint:gosec // the test's
		command.Stdout, command.SysProcAttr = os.Stdout, &syscall.SysProcAttr{Setsid: true}
		if err := command.Start(); err != nil {
			fail(err)
		}
	case len(words) > 2 && words[0] == "hold":
		os.Exit(hold(words[1], words[2:]))
	default:
		fail(fmt.Errorf("unknown words %q", words))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "probe:", err)
	os.Exit(2)
}

// run runs the commands between "--" in turn.
func run(words []string) (status int) { return inTurn(words, false) }

func inTurn(words []string, untilOneFails bool) (status int) {
	for len(words) > 0 && (status == 0 || !untilOneFails) {
		end := slices.Index(words, "--")
		if end < 0 {
			end = len(words)
		}
		if end > 0 {
			command := exec.Command(words[0], words[1:end]...)
			command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
			if err := command.Run(); command.ProcessState == nil {
				fail(err)
			}
			status = command.ProcessState.ExitCode()
		}
		words = words[min(end+1, len(words)):]
	}
	return status
}

// job runs commands as a script does that ends with the first failure.
func job(digits string, words []string) (status int) {
	secret, err := hex.DecodeString(digits)
	if err != nil {
		fail(err)
	}
	held, err := os.CreateTemp("/tmp", "held")
	if err != nil {
		fail(err)
	}
	defer held.Close()
	if _, err := held.Write(secret); err != nil {
		fail(err)
	}
	if err := os.Remove(held.Name()); err != nil {
		fail(err)
	}
	return inTurn(words, true)
}

// hold runs a command as long as a file without a name is open.
func hold(path string, words []string) (status int) {
	file, err := os.Open(path) //nolint:gosec // the test's
	if err != nil {
		fail(err)
	}
	defer file.Close()
	if err := os.Remove(path); err != nil {
		fail(err)
	}
	return run(words)
}
