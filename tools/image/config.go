package main

import (
	"bytes"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// rootfsFolder is where the Dockerfile has the root file system made, to be the whole of its last stage.
const rootfsFolder = "/rootfs"

// readConfig reads what the last stage of a Dockerfile says of its image, beside the files. The stage must be FROM
// scratch and copy rootfsFolder to /; an instruction that the packer does not know is an error, never left out. Errors
// begin with the line.
func readConfig(dockerfile []byte, buildArgs map[string]string) (v1.Config, error) {
	parsed, err := parser.Parse(bytes.NewReader(dockerfile))
	if err != nil {
		return v1.Config{}, fmt.Errorf("1: %w", err)
	}
	stages, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return v1.Config{}, fmt.Errorf("1: %w", err)
	}
	if len(stages) == 0 || stages[len(stages)-1].BaseName != "scratch" {
		return v1.Config{}, fmt.Errorf("1: the last stage is not FROM scratch")
	}
	r := reader{given: buildArgs, args: map[string]string{}, lex: shell.NewLex(parsed.EscapeToken)}
	for _, command := range stages[len(stages)-1].Commands {
		if err := r.read(command); err != nil {
			return v1.Config{}, fmt.Errorf("%d: %s: %w", command.Location()[0].Start.Line, command.Name(), err)
		}
	}
	if !r.copied {
		return v1.Config{}, fmt.Errorf("1: the last stage does not copy %s", rootfsFolder)
	}
	return r.config, nil
}

// reader follows a stage's instructions.
type reader struct {
	given  map[string]string
	args   map[string]string
	lex    *shell.Lex
	copied bool
	config v1.Config
}

func (r *reader) read(command instructions.Command) error {
	if expandable, ok := command.(instructions.SupportsSingleWordExpansion); ok {
		if err := expandable.Expand(r.expand); err != nil {
			return err
		}
	}
	switch c := command.(type) {
	case *instructions.ArgCommand:
		for _, arg := range c.Args {
			if value, ok := r.given[arg.Key]; ok {
				r.args[arg.Key] = value
			} else if arg.Value != nil {
				r.args[arg.Key] = *arg.Value
			}
		}
	case *instructions.CopyCommand:
		if r.copied || !slices.Equal(c.SourcePaths, []string{rootfsFolder}) || c.DestPath != "/" {
			return fmt.Errorf("only %s can be copied, once, to /: the packer takes that folder as the image", rootfsFolder)
		}
		r.copied = true
	case *instructions.EnvCommand:
		for _, env := range c.Env {
			r.setEnv(env.Key, env.Value)
		}
	case *instructions.LabelCommand:
		if r.config.Labels == nil {
			r.config.Labels = map[string]string{}
		}
		for _, label := range c.Labels {
			r.config.Labels[label.Key] = label.Value
		}
	case *instructions.UserCommand:
		r.config.User = c.User
	case *instructions.WorkdirCommand:
		r.config.WorkingDir = path.Join("/", r.config.WorkingDir, c.Path)
		if path.IsAbs(c.Path) {
			r.config.WorkingDir = path.Clean(c.Path)
		}
	case *instructions.CmdCommand:
		if c.PrependShell {
			return fmt.Errorf("it needs the form of a list")
		}
		r.config.Cmd = c.CmdLine
	default:
		return fmt.Errorf("the packer does not know this instruction")
	}
	return nil
}

func (r *reader) setEnv(name, value string) {
	entry := name + "=" + value
	for i, have := range r.config.Env {
		if before, _, _ := strings.Cut(have, "="); before == name {
			r.config.Env[i] = entry
			return
		}
	}
	r.config.Env = append(r.config.Env, entry)
}

func (r *reader) expand(word string) (string, error) {
	value, _, err := r.lex.ProcessWord(word, r)
	return value, err
}

// Get implements shell.EnvGetter: a variable of the environment hides an argument of its name.
func (r *reader) Get(name string) (string, bool) {
	for _, entry := range r.config.Env {
		if key, value, _ := strings.Cut(entry, "="); key == name {
			return value, true
		}
	}
	value, ok := r.args[name]
	return value, ok
}

// Keys implements shell.EnvGetter.
func (r *reader) Keys() []string {
	var names []string
	for name := range r.args {
		names = append(names, name)
	}
	for _, entry := range r.config.Env {
		name, _, _ := strings.Cut(entry, "=")
		names = append(names, name)
	}
	return names
}
