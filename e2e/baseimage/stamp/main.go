// Command stamp writes words into a file, as a line: what `echo WORD… >FILE` does where there is no shell.
//
//	stamp FILE WORD…
package main

import (
	"fmt"
	"os"
	"strings"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "stamp: the file to write is missing")
		os.Exit(2)
	}
	line := strings.Join(os.Args[2:], " ") + "\n"
	if err := os.WriteFile(os.Args[1], []byte(line), 0o644); err != nil { //nolint:gosec // a page of a web server
		fmt.Fprintln(os.Stderr, "stamp:", err)
		os.Exit(1)
	}
}
