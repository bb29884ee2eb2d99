package dockerfile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"dockline/pkg/fault"
)

// scratch is the base that is no image.
const scratch = "scratch"

// used marks the stages that the target needs, by FROM, COPY --from and RUN --mount=from, and tells which stage that is.
func (f *file) used() (target int, marked []bool, err error) {
	target = len(f.stages) - 1
	if f.options.Target != "" {
		target = f.stageNamed(f.options.Target, len(f.stages))
		if target < 0 {
			return 0, nil, fault.New(fault.Configuration, "%s: it has no stage %q", f.options.Name, f.options.Target)
		}
	}
	marked = make([]bool, len(f.stages))
	f.mark(target, marked)
	return target, marked, nil
}

func (f *file) mark(index int, used []bool) {
	if used[index] {
		return
	}
	used[index] = true
	if base := f.baseStage(index); base >= 0 {
		f.mark(base, used)
	}
	for _, from := range f.sources(index) {
		if stage := f.sourceStage(from.image, index); stage >= 0 {
			f.mark(stage, used)
		}
	}
}

// images lists what is pulled for the stages in use, and where each is named first.
func (f *file) images(used []bool) (images []string, where map[string]string) {
	where = map[string]string{}
	add := func(image string, line int, code string) {
		if image == "" || image == scratch || slices.Contains(images, image) {
			return
		}
		images = append(images, image)
		where[image] = fmt.Sprintf("%s:%d: %s", f.options.Name, line, shortened(code))
	}
	for index, stage := range f.stages {
		if !used[index] {
			continue
		}
		if f.baseStage(index) < 0 {
			add(f.base(index), lineOf(stage.Location), stage.SourceCode)
		}
		for _, from := range f.sources(index) {
			if f.sourceStage(from.image, index) < 0 {
				add(from.image, from.line, from.code)
			}
		}
	}
	return images, where
}

// longestCode is what is shown of an instruction: the line says where the rest is.
const longestCode = 80

// shortened is an instruction in one short line.
func shortened(code string) string {
	code = strings.Join(strings.Fields(code), " ")
	if runes := []rune(code); len(runes) > longestCode {
		return string(runes[:longestCode]) + "…"
	}
	return code
}

// base is the expanded name after FROM.
func (f *file) base(index int) string {
	return f.args.expand(f.stages[index].BaseName)
}

// baseStage is the earlier stage that a stage builds on, else -1.
func (f *file) baseStage(index int) int { return f.stageNamed(f.base(index), index) }

// stageNamed finds a stage before the one of that index, by name, whatever its case.
func (f *file) stageNamed(name string, before int) int {
	for i := range before {
		if f.stages[i].Name != "" && strings.EqualFold(f.stages[i].Name, name) {
			return i
		}
	}
	return -1
}

// sourceStage resolves --from, which takes a stage's index too.
func (f *file) sourceStage(from string, index int) int {
	if number, err := strconv.Atoi(from); err == nil {
		if number >= 0 && number < index {
			return number
		}
		return -1
	}
	return f.stageNamed(from, index)
}

// named is an image or a stage that an instruction copies or mounts from.
type named struct {
	image string
	line  int
	code  string // of the instruction
}

// sources are the values of --from in a stage, in its base stage's triggers too.
func (f *file) sources(index int) []named {
	var out []named
	for _, command := range f.commands(index) {
		switch c := command.Command.(type) {
		case *instructions.CopyCommand:
			if c.From != "" {
				out = append(out, named{c.From, command.line, c.String()})
			}
		case *instructions.RunCommand:
			for _, mount := range expandedMounts(c) {
				if mount.From != "" {
					out = append(out, named{mount.From, command.line, c.String()})
				}
			}
		}
	}
	return out
}

// located is an instruction, with the line it is told by.
type located struct {
	instructions.Command
	line int
}

// commands are a stage's instructions, after the triggers that the stage it builds on left for it; those are told by
// the line of their ONBUILD.
func (f *file) commands(index int) []located {
	var out []located
	if base := f.baseStage(index); base >= 0 {
		for _, command := range f.stages[base].Commands {
			if trigger, ok := command.(*instructions.OnbuildCommand); ok {
				if parsed := parseTrigger(trigger); parsed != nil {
					out = append(out, located{parsed, lineOf(trigger.Location())})
				}
			}
		}
	}
	for _, command := range f.stages[index].Commands {
		out = append(out, located{command, lineOf(command.Location())})
	}
	return out
}

func parseTrigger(trigger *instructions.OnbuildCommand) instructions.Command {
	result, err := parser.Parse(strings.NewReader(trigger.Expression))
	if err != nil || len(result.AST.Children) != 1 {
		return nil
	}
	command, err := instructions.ParseCommand(result.AST.Children[0])
	if err != nil {
		return nil
	}
	return command
}

// expandedMounts are a RUN's mounts with their values filled in: the parser leaves all but "from" for later. There are
// none when a value cannot be read.
func expandedMounts(run *instructions.RunCommand) []*instructions.Mount {
	if err := readMounts(run); err != nil {
		return nil
	}
	return instructions.GetMounts(run)
}

func readMounts(run *instructions.RunCommand) error {
	return run.Expand(func(word string) (string, error) { return word, nil })
}

// args are the arguments before the first FROM: a default may use those before it, and a build argument takes its place.
type args map[string]string

// globalArgs evaluates them. A build argument that no ARG there declares is none of them. With Kaniko's own executor it
// is one, an empty one does not count, and nothing is predefined.
func globalArgs(declared []instructions.ArgCommand, o Options) args {
	out := args{}
	if !o.Kaniko {
		out = predefinedArgs(o.Platform)
	}
	given := args{}
	for name, value := range o.BuildArgs {
		if o.Kaniko && value == "" {
			continue
		}
		given[name] = value
		if _, predefined := out[name]; predefined || o.Kaniko {
			out[name] = value
		}
	}
	for _, command := range declared {
		for _, arg := range command.Args {
			if value, overridden := given[arg.Key]; overridden {
				out[arg.Key] = value
			} else if arg.Value != nil {
				out[arg.Key] = out.expand(*arg.Value)
			}
		}
	}
	return out
}

// expand fills in $NAME, ${NAME} and the like. A word that cannot be expanded stays as it is.
func (a args) expand(word string) string {
	expanded, _, err := shell.NewLex(parser.DefaultEscapeToken).ProcessWord(word, a)
	if err != nil {
		return word
	}
	return expanded
}

// Get implements shell.EnvGetter.
func (a args) Get(name string) (string, bool) {
	value, ok := a[name]
	return value, ok
}

// Keys implements shell.EnvGetter.
func (a args) Keys() []string {
	var names []string
	for name := range a {
		names = append(names, name)
	}
	return names
}
