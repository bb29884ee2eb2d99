// Command reference prints what the Dockerfile reference of this version of BuildKit has, as JSON: every parser
// directive, instruction and flag, every type of mount and each of its options, and the sections by which the reference
// is linked to. Its argument is the folder of BuildKit's module.
//
// The instructions are those of BuildKit's own table. The flags, types and options are candidates out of the source and
// the reference, of which its parser decides whether they are any.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/command"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	dockerfile "github.com/moby/buildkit/frontend/dockerfile/parser"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "reference: the folder of BuildKit's module is wanted")
		os.Exit(2)
	}
	if err := run(filepath.Join(os.Args[1], "frontend/dockerfile")); err != nil {
		fmt.Fprintln(os.Stderr, "reference:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, "docs/reference.md"))
	if err != nil {
		return err
	}
	flags, err := flagNames(filepath.Join(dir, "instructions"))
	if err != nil {
		return err
	}
	directives, err := constants(filepath.Join(dir, "parser/directives.go"), "key")
	if err != nil {
		return err
	}
	types, err := constants(filepath.Join(dir, "instructions/commands_runmount.go"), "MountType")
	if err != nil {
		return err
	}
	if len(flags) == 0 || len(directives) == 0 || len(types) == 0 {
		return errors.New("BuildKit's source is not as this program knows it")
	}
	var features []string
	for _, name := range directives {
		if _, _, _, known := dockerfile.ParseDirective(name, []byte("# "+name+"=x\n")); known {
			features = append(features, "# "+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(command.Commands)) {
		instruction := strings.ToUpper(name)
		features = append(features, instruction)
		for _, flag := range flags {
			if takes(instruction, "--"+flag+"=x") || takes(instruction, "--"+flag) {
				features = append(features, instruction+" --"+flag)
			}
		}
	}
	for _, kind := range types {
		if !takes("RUN", "--mount=type="+kind+",target=/x") {
			continue
		}
		features = append(features, "RUN --mount=type="+kind)
		for _, option := range mountOptions(string(text), kind) {
			if !takesOption(kind, option) {
				return fmt.Errorf("the reference names the option %q of a %s mount, and the parser does not take it", option, kind)
			}
			features = append(features, "RUN --mount=type="+kind+","+option)
		}
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{"features": features, "sections": sections(string(text))})
}

// flagNames are the flags that the parser of any instruction asks for.
func flagNames(dir string) ([]string, error) {
	var names []string
	err := each(dir, func(node ast.Node) {
		call, ok := node.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"AddBool", "AddString", "AddStrings"}, method.Sel.Name) {
			return
		}
		if name, ok := call.Args[0].(*ast.BasicLit); ok {
			if value, err := strconv.Unquote(name.Value); err == nil {
				names = append(names, value)
			}
		}
	})
	slices.Sort(names)
	return slices.Compact(names), err
}

// constants are the values of the string constants of a file whose names begin like this.
func constants(file, prefix string) ([]string, error) {
	var values []string
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		return nil, err
	}
	ast.Inspect(parsed, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if value, err := strconv.Unquote(literal.Value); err == nil {
				values = append(values, value)
			}
		}
		return true
	})
	slices.Sort(values)
	return values, nil
}

func each(dir string, visit func(ast.Node)) error {
	return filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			if node != nil {
				visit(node)
			}
			return true
		})
		return nil
	})
}

// takes says whether an instruction takes a flag: whatever the parser then thinks of its value, it knows the name.
func takes(instruction, flag string) bool {
	_, err := parse("FROM scratch\n" + instruction + " " + flag + " x\n")
	if instruction == "FROM" {
		_, err = parse("FROM " + flag + " scratch\n")
	}
	if err == nil {
		return !ignoresFlags(instruction)
	}
	return !strings.Contains(strings.ToLower(err.Error()), "unknown flag") && !ignoresFlags(instruction)
}

// ignoresFlags says whether the parser takes a flag that nobody knows.
func ignoresFlags(instruction string) bool {
	text := "FROM scratch\n" + instruction + " --no-such-flag=x x\n"
	if instruction == "FROM" {
		text = "FROM --no-such-flag=x scratch\n"
	}
	_, err := parse(text)
	return err == nil || !strings.Contains(strings.ToLower(err.Error()), "unknown flag")
}

// takesOption says whether a mount of that type takes an option, with one value or another.
func takesOption(kind, option string) bool {
	for _, value := range []string{"", "=1", "=true", "=shared", "=/x", "=name"} {
		stages, err := parse("FROM scratch\nRUN --mount=type=" + kind + ",target=/x," + option + value + " x\n")
		if err != nil {
			continue
		}
		run, ok := stages[0].Commands[0].(*instructions.RunCommand)
		if ok && run.Expand(func(word string) (string, error) { return word, nil }) == nil {
			return true
		}
	}
	return false
}

func parse(text string) ([]instructions.Stage, error) {
	result, err := dockerfile.Parse(strings.NewReader(text))
	if err != nil {
		return nil, err
	}
	stages, _, err := instructions.Parse(result.AST, nil)
	return stages, err
}

var (
	heading = regexp.MustCompile(`(?m)^(#+) (.+)$`)
	quoted  = regexp.MustCompile("`([^`]+)`")
	dropped = regexp.MustCompile(`[^a-z0-9 _-]`)
)

// mountOptions are those that the reference lists in the section of a type.
func mountOptions(text, kind string) []string {
	_, section, found := strings.Cut(text, "\n### RUN --mount=type="+kind+"\n")
	if !found {
		return nil
	}
	if next := heading.FindStringIndex(section); next != nil {
		section = section[:next[0]]
	}
	var options []string
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, match := range quoted.FindAllStringSubmatch(cells[1], -1) {
				options = append(options, match[1])
			}
		}
	}
	return options
}

// sections are the anchors of the reference's headings, as its pages make them: in small letters, without punctuation,
// and with dashes for blanks.
func sections(text string) []string {
	var anchors []string
	for _, match := range heading.FindAllStringSubmatch(text, -1) {
		anchor := dropped.ReplaceAllString(strings.ToLower(match[2]), "")
		anchors = append(anchors, strings.ReplaceAll(anchor, " ", "-"))
	}
	slices.Sort(anchors)
	return slices.Compact(anchors)
}
