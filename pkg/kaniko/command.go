package kaniko

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"golang.org/x/sys/unix"
)

// runUmask is what a RUN begins with; the build itself has none, so that it makes files of exactly the modes that it says.
const runUmask = 0o022

// proxyArgs are build arguments that a RUN has in its environment without being declared.
var proxyArgs = []string{"HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"}

// runCommand executes RUN.
func (e *execution) runCommand(s *state, step step, run *instructions.RunCommand) (err error) {
	argv, script, err := commandLine(s, run)
	if err != nil {
		return err
	}
	mounted := &mounts{execution: e, state: s}
	defer func() { err = errors.Join(err, mounted.undo()) }()
	environment, err := mounted.all(step, instructions.GetMounts(run))
	if err != nil {
		return err
	}
	if script != nil {
		if argv[0], err = mounted.script(script); err != nil {
			return err
		}
	}
	credential, home, err := identity(s.config.Config.User)
	if err != nil {
		return fmt.Errorf("looking up the user %q: %w", s.config.Config.User, err)
	}
	command, err := e.command(s, argv, home)
	if err != nil {
		return err
	}
	command.Env = append(command.Env, environment...)
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Credential: credential}
	unix.Umask(runUmask)
	err = command.Start()
	unix.Umask(0)
	if err != nil {
		return err
	}
	stop := reap(command.Process.Pid)
	err = command.Wait()
	// What it left running would go on writing while its files are read, and has no container to end with.
	return errors.Join(err, stop(), killDescendants())
}

// command prepares a process, with the program looked up in the image's PATH.
func (e *execution) command(s *state, argv []string, home string) (*exec.Cmd, error) {
	variables := variables{}
	for name, value := range s.variables {
		variables[name] = value
	}
	for _, name := range proxyArgs {
		for _, name := range []string{name, strings.ToLower(name)} {
			if value, given := e.recipe.buildArgs[name]; given {
				if _, set := variables[name]; !set {
					variables[name] = value
				}
			}
		}
	}
	if _, set := variables["HOME"]; !set {
		variables["HOME"] = home
	}
	dir := path.Join("/", s.config.Config.WorkingDir)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // like WORKDIR
		return nil, err
	}
	program, err := lookPath(argv[0], dir, variables["PATH"])
	if err != nil {
		return nil, err
	}
	return &exec.Cmd{
		Path: program, Args: argv, Dir: dir, Env: variables.environ(), Stdout: os.Stdout, Stderr: os.Stderr,
	}, nil
}

// lookPath finds a program as a container's runtime does.
func lookPath(name, dir, searched string) (string, error) {
	if strings.Contains(name, "/") {
		if !path.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, nil
	}
	for folder := range strings.SplitSeq(searched, ":") {
		candidate := filepath.Join("/", folder, name)
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("%q is not in the PATH %q: %w", name, searched, fs.ErrNotExist)
}

// commandLine is what a RUN executes. A here-document that is all of it is one argument of the shell, and one that begins
// with "#!" a script, whose path is to be put in the first place.
func commandLine(s *state, run *instructions.RunCommand) (argv []string, script *string, err error) {
	line := run.ShellDependantCmdLine
	if len(run.Files) == 0 {
		return s.words(line), nil, nil
	}
	if len(line.CmdLine) != 1 || !line.PrependShell {
		return nil, nil, errors.New("a here-document belongs to the shell form")
	}
	alone, err := parser.ParseHeredoc(strings.TrimSpace(line.CmdLine[0]))
	if err != nil {
		return nil, nil, err
	}
	if alone == nil {
		text := line.CmdLine[0]
		for _, file := range run.Files {
			text += "\n" + file.Data + file.Name
		}
		return append(s.shell(), text), nil, nil
	}
	text := run.Files[0].Data
	if run.Files[0].Chomp {
		text = parser.ChompHeredocContent(text)
	}
	if isScript(run) {
		return []string{""}, &text, nil
	}
	return append(s.shell(), text), nil, nil
}

// isScript says whether a RUN is a here-document that begins with "#!".
func isScript(run *instructions.RunCommand) bool {
	if len(run.Files) == 0 || len(run.CmdLine) != 1 || !strings.HasPrefix(run.Files[0].Data, "#!") {
		return false
	}
	alone, err := parser.ParseHeredoc(strings.TrimSpace(run.CmdLine[0]))
	return err == nil && alone != nil
}
