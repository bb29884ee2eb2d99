package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// tool is one way to do a row's work.
type tool struct {
	name    string // as in the table
	program string
	each    way      // how it does several images
	env     []string // beside the usual
	rounds  int      // at most; 0 is all
}

type way int

const (
	alone    way = iota // one image, or promote, which takes several
	inTurn              // one process after the other
	parallel            // under xargs -P25
)

// task is what a tool is to do.
type task struct {
	source, target string   // HOST:PORT
	images         []string // NAME:TAG
	home           string   // a fresh folder
	login          *login   // nil where everybody is let in, in plain http
}

type login struct{ username, password, caFile string }

// command returns what is run, and its environment.
func (t tool) command(programs map[string]string, what task) (command, environment []string, err error) {
	environment = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + what.home, "RESULTS_DIR=" + what.home}
	environment = append(environment, t.env...)
	if what.login != nil {
		more, err := what.login.variables(what)
		if err != nil {
			return nil, nil, err
		}
		environment = append(environment, more...)
	}
	program := programs[t.program]
	if t.program == "promote" {
		environment = append(environment, "SOURCE_REGISTRY="+what.source, "TARGET_REGISTRY="+what.target)
		if what.login == nil {
			environment = append(environment, "SOURCE_REGISTRY_INSECURE=true", "TARGET_REGISTRY_INSECURE=true")
		}
		if len(what.images) == 1 {
			environment = append(environment, "IMAGE="+what.images[0])
		} else {
			environment = append(environment, "IMAGES="+strings.Join(what.images, ","))
		}
		return []string{program}, environment, nil
	}
	if t.program == "skopeo" {
		forgetSkopeo()
	}
	copying := t.arguments(program, what)
	of := func(image string) []string {
		command := slices.Clone(copying)
		for i := range command {
			command[i] = strings.ReplaceAll(command[i], "{}", image)
		}
		return command
	}
	switch t.each {
	case inTurn:
		var script strings.Builder
		script.WriteString("set -e\n")
		for _, image := range what.images {
			script.WriteString(strings.Join(of(image), " ") + "\n")
		}
		return []string{"sh", "-c", script.String()}, environment, nil
	case parallel:
		script := fmt.Sprintf("printf '%%s\\n' %s | xargs -P25 -I{} %s", strings.Join(what.images, " "), strings.Join(copying, " "))
		return []string{"sh", "-c", script}, environment, nil
	}
	return of(what.images[0]), environment, nil
}

// arguments copies the image {}, with the tool's defaults.
func (t tool) arguments(program string, what task) []string {
	from, to := what.source+"/{}", what.target+"/{}"
	open := what.login == nil
	when := func(open bool, arguments ...string) []string {
		if !open {
			return nil
		}
		return arguments
	}
	switch t.program {
	case "crane":
		return slices.Concat([]string{program, "copy"}, when(open, "--insecure"), []string{from, to})
	case "regctl":
		return slices.Concat([]string{program}, when(open, "--host", "reg="+what.source+",tls=disabled", "--host", "reg="+what.target+",tls=disabled"),
			[]string{"image", "copy", from, to})
	case "oras":
		return slices.Concat([]string{program, "copy", "--no-tty"}, when(open, "--from-plain-http", "--to-plain-http"),
			when(!open, "--from-ca-file", loginCA(what), "--to-ca-file", loginCA(what)), []string{from, to})
	default:
		return slices.Concat([]string{program, "copy", "--quiet"}, when(open, "--src-tls-verify=false", "--dest-tls-verify=false"),
			[]string{"docker://" + from, "docker://" + to})
	}
}

func loginCA(what task) string {
	if what.login == nil {
		return ""
	}
	return what.login.caFile
}

// forgetSkopeo removes what skopeo remembers of earlier copies, where root's is.
func forgetSkopeo() {
	for _, name := range []string{"blob-info-cache-v1.boltdb", "blob-info-cache-v1.sqlite"} {
		_ = os.Remove(filepath.Join("/var/lib/containers/cache", name))
	}
}
