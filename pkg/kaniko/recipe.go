package kaniko

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// scratch is the base that is no image.
const scratch = "scratch"

// recipe is a Dockerfile, as far as it is known before anything is pulled.
type recipe struct {
	stages    []*stage
	target    *stage
	lex       *shell.Lex
	buildArgs map[string]string
	globals   variables // the ARGs before the first FROM, and what is predefined for them
}

// stage is one FROM, and what follows.
type stage struct {
	index  int
	name   string // in small letters
	line   int
	base   *stage // or
	image  string // the name after FROM, expanded; "" for scratch
	steps  []step
	needed bool
}

// step is an instruction.
type step struct {
	instructions.Command
	line    int
	sources []source // of COPY --from and RUN --mount=from, in the order of the mounts; the zero source is the context
}

// source is where files are taken from other than the context: a stage, or an image.
type source struct {
	stage *stage
	image string
}

// readRecipe parses a Dockerfile.
func readRecipe(text []byte, told order, platform string) (*recipe, error) {
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	stages, arguments, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		return nil, err
	}
	if len(stages) == 0 {
		return nil, fmt.Errorf("it has no FROM")
	}
	r := &recipe{lex: shell.NewLex(parsed.EscapeToken), buildArgs: map[string]string{}}
	for _, argument := range told.BuildArgs {
		name, value, _ := strings.Cut(argument, "=")
		r.buildArgs[name] = value
	}
	target := told.Target
	if target == "" {
		target = stages[len(stages)-1].Name
	}
	if r.globals, err = r.readGlobals(arguments, platform, target); err != nil {
		return nil, err
	}
	for index, parsed := range stages {
		s := &stage{index: index, name: strings.ToLower(parsed.Name), line: lineOf(parsed.Location)}
		if s.image, err = r.expand(parsed.BaseName, r.globals); err != nil {
			return nil, err
		}
		if s.base = r.named(s.image); s.base != nil || s.image == scratch {
			s.image = ""
		}
		for _, command := range parsed.Commands {
			s.steps = append(s.steps, step{Command: command, line: lineOf(command.Location())})
		}
		r.stages = append(r.stages, s)
	}
	r.target = r.stages[len(r.stages)-1]
	if told.Target != "" {
		if r.target = r.named(told.Target); r.target == nil {
			return nil, fmt.Errorf("it has no stage %q", told.Target)
		}
	}
	return r, nil
}

// readGlobals evaluates the ARGs before the first FROM.
func (r *recipe) readGlobals(arguments []instructions.ArgCommand, platform, target string) (variables, error) {
	built, err := platforms.Parse(platform)
	if err != nil {
		return nil, err
	}
	host := platforms.Normalize(platforms.DefaultSpec())
	if target == "" {
		target = "default"
	}
	globals := variables{
		"TARGETPLATFORM": platforms.Format(built), "TARGETOS": built.OS, "TARGETOSVERSION": built.OSVersion,
		"TARGETARCH": built.Architecture, "TARGETVARIANT": built.Variant, "TARGETSTAGE": target,
		"BUILDPLATFORM": platforms.Format(host), "BUILDOS": host.OS, "BUILDOSVERSION": host.OSVersion,
		"BUILDARCH": host.Architecture, "BUILDVARIANT": host.Variant,
	}
	for name := range globals {
		if given, ok := r.buildArgs[name]; ok {
			globals[name] = given
		}
	}
	for _, command := range arguments {
		for _, argument := range command.Args {
			if given, ok := r.buildArgs[argument.Key]; ok {
				globals[argument.Key] = given
			} else if argument.Value != nil {
				if globals[argument.Key], err = r.expand(*argument.Value, globals); err != nil {
					return nil, err
				}
			}
		}
	}
	return globals, nil
}

// expand fills in the variables of a word.
func (r *recipe) expand(word string, with variables) (string, error) {
	expanded, _, err := r.lex.ProcessWord(word, with)
	return expanded, err
}

// named finds a stage that was read, whatever the case of its name; of two with one name it is the later.
func (r *recipe) named(name string) *stage {
	for _, s := range slices.Backward(r.stages) {
		if s.name != "" && s.name == strings.ToLower(name) {
			return s
		}
	}
	return nil
}

// need marks a stage, and those that it is made from. The triggers of its base are asked for, and put before its steps.
func (r *recipe) need(s *stage, triggersOf func(image string) ([]string, error)) error {
	if s.needed {
		return nil
	}
	s.needed = true
	if s.base != nil {
		if err := r.need(s.base, triggersOf); err != nil {
			return err
		}
	}
	triggers, err := r.triggers(s, triggersOf)
	if err != nil {
		return err
	}
	s.steps = slices.Concat(triggers, s.steps)
	for i := range s.steps {
		if err := r.findSources(s, &s.steps[i]); err != nil {
			return err
		}
		for _, from := range s.steps[i].sources {
			if from.stage != nil {
				if err := r.need(from.stage, triggersOf); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// triggers are the ONBUILDs of a stage's base.
func (r *recipe) triggers(s *stage, triggersOf func(image string) ([]string, error)) ([]step, error) {
	var expressions []string
	switch {
	case s.base != nil:
		for _, step := range s.base.steps {
			if trigger, ok := step.Command.(*instructions.OnbuildCommand); ok {
				expressions = append(expressions, trigger.Expression)
			}
		}
	case s.image != "":
		var err error
		if expressions, err = triggersOf(s.image); err != nil {
			return nil, err
		}
	}
	var steps []step
	for _, expression := range expressions {
		parsed, err := parser.Parse(strings.NewReader(expression))
		if err != nil {
			return nil, fmt.Errorf("reading the base's ONBUILD %q: %w", expression, err)
		}
		if len(parsed.AST.Children) != 1 {
			return nil, fmt.Errorf("reading the base's ONBUILD %q: it is not one instruction", expression)
		}
		command, err := instructions.ParseCommand(parsed.AST.Children[0])
		if err != nil {
			return nil, fmt.Errorf("reading the base's ONBUILD %q: %w", expression, err)
		}
		steps = append(steps, step{Command: command, line: s.line})
	}
	return steps, nil
}

// findSources resolves --from, which COPY has by number too.
func (r *recipe) findSources(s *stage, step *step) error {
	find := func(from string, byNumber bool) (source, error) {
		found := r.named(from)
		if number, err := strconv.Atoi(from); err == nil && byNumber {
			if number < 0 || number >= len(r.stages) {
				return source{}, fmt.Errorf("there is no stage %d", number)
			}
			found = r.stages[number]
		}
		if found == nil && from != scratch {
			return source{image: from}, nil
		}
		if found == nil || found.index >= s.index {
			return source{}, fmt.Errorf("the stage %q does not come before", from)
		}
		return source{stage: found}, nil
	}
	switch c := step.Command.(type) {
	case *instructions.CopyCommand:
		if c.From == "" {
			return nil
		}
		from, err := find(c.From, true)
		if err != nil {
			return err
		}
		step.sources = []source{from}
	case *instructions.RunCommand:
		for _, mount := range instructions.GetMounts(c) {
			var from source
			if mount.From != "" {
				var err error
				if from, err = find(mount.From, false); err != nil {
					return err
				}
			}
			step.sources = append(step.sources, from)
		}
	}
	return nil
}

func lineOf(location []parser.Range) int {
	if len(location) == 0 {
		return 0
	}
	return location[0].Start.Line
}

// variables are what is expanded in an instruction, and a RUN's environment.
type variables map[string]string

// Get implements shell.EnvGetter.
func (v variables) Get(name string) (string, bool) {
	value, ok := v[name]
	return value, ok
}

// Keys implements shell.EnvGetter.
func (v variables) Keys() []string {
	names := make([]string, 0, len(v))
	for name := range v {
		names = append(names, name)
	}
	return names
}

// environ is how a process is given them.
func (v variables) environ() []string {
	out := make([]string, 0, len(v))
	for name, value := range v {
		out = append(out, name+"="+value)
	}
	slices.Sort(out)
	return out
}
