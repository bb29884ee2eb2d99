// Command gocache is what Go keeps compiled packages with where GOCACHEPROG names it: it has those of another machine,
// whose cache is served at a URL, and keeps new ones for itself. A build in a container, which could have none, then
// compiles only what its host has not compiled already, to the same end: the key of a package is a hash of all that
// goes into it, the compiler and its flags included.
//
//	GOCACHEPROG="/bin/gocache http://127.0.0.1:8080" go build .
//
// The protocol is that of cmd/go/internal/cacheprog. How Go lays out its cache is not promised anywhere (it is in
// cmd/go/internal/cache): should it change, there is nothing to be had, and all is compiled.
package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gocache:", err)
		os.Exit(1)
	}
}

type request struct {
	ID                 int64
	Command            string
	ActionID, OutputID []byte
	BodySize           int64 // of the base64 string that follows, when it is not 0
}

type response struct {
	ID            int64
	Err           string   `json:",omitempty"`
	KnownCommands []string `json:",omitempty"`
	Miss          bool     `json:",omitempty"`
	OutputID      []byte   `json:",omitempty"`
	Size          int64    `json:",omitempty"`
	DiskPath      string   `json:",omitempty"`
}

func run(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 1 {
		return errors.New("usage: gocache URL")
	}
	dir, err := os.MkdirTemp("", "gocache")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	c := cache{url: args[0], dir: dir}
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	if err := answers.Encode(response{KnownCommands: []string{"get", "put", "close"}}); err != nil {
		return err
	}
	for {
		var asked request
		if err := requests.Decode(&asked); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var answer response
		switch asked.Command {
		case "get":
			answer = c.get(asked.ActionID)
		case "put":
			var body []byte
			if asked.BodySize > 0 {
				if err := requests.Decode(&body); err != nil {
					return err
				}
			}
			if answer.DiskPath, err = c.keep(asked.OutputID, body); err != nil {
				answer.Err = err.Error()
			}
		}
		answer.ID = asked.ID
		if err := answers.Encode(answer); err != nil || asked.Command == "close" {
			return err
		}
	}
}

type cache struct{ url, dir string }

// get asks for what an action has come to. Whatever goes wrong, it is a miss.
func (c cache) get(action []byte) response {
	// v1 ACTION OUTPUT SIZE TIME
	entry, err := c.fetch(action, "a")
	fields := strings.Fields(string(entry))
	if err != nil || len(fields) != 5 || fields[0] != "v1" || fields[1] != hex.EncodeToString(action) {
		return response{Miss: true}
	}
	output, err := hex.DecodeString(fields[2])
	if err != nil {
		return response{Miss: true}
	}
	body, err := c.fetch(output, "d")
	if err != nil || strconv.Itoa(len(body)) != fields[3] {
		return response{Miss: true}
	}
	path, err := c.keep(output, body)
	if err != nil {
		return response{Miss: true}
	}
	return response{OutputID: output, Size: int64(len(body)), DiskPath: path}
}

func (c cache) fetch(id []byte, kind string) ([]byte, error) {
	name := hex.EncodeToString(id)
	if name == "" {
		return nil, errors.New("no name")
	}
	got, err := http.Get(c.url + "/" + name[:2] + "/" + name + "-" + kind) //nolint:gosec,noctx // as told
	if err != nil {
		return nil, err
	}
	defer got.Body.Close()
	if got.StatusCode != http.StatusOK {
		return nil, errors.New(got.Status)
	}
	return io.ReadAll(got.Body)
}

func (c cache) keep(output, body []byte) (path string, err error) {
	path = filepath.Join(c.dir, hex.EncodeToString(output))
	return path, os.WriteFile(path, body, 0o600)
}
