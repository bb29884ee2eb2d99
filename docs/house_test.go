// Package docs tests what the project says of itself: the way its arrows run, and its generated reference.
package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const kaniko = "github.com/osscontainertools/kaniko"

// imports returns for each of the module's packages what it imports itself, and what it reaches at any depth.
func imports(t *testing.T) (direct, reached map[string][]string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}}|{{join .Imports " "}}|{{join .Deps " "}}`, "dockline/...").Output()
	if err != nil {
		t.Fatalf("listing the packages: %v", err)
	}
	direct, reached = map[string][]string{}, map[string][]string{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), "|")
		direct[fields[0]] = strings.Fields(fields[1])
		reached[fields[0]] = strings.Fields(fields[2])
	}
	return direct, reached
}

// TestArrowsRunOneWay forbids the imports that would turn an arrow of the house round.
func TestArrowsRunOneWay(t *testing.T) {
	t.Parallel()
	direct, reached := imports(t)
	for _, rule := range []struct {
		name     string
		from     []string // beginnings of import paths that the rule holds for
		except   []string
		to       []string // beginnings of import paths that must not be reached
		directly bool
	}{
		{name: "pkg knows no step and no program", from: []string{"dockline/pkg/"}, to: []string{"dockline/steps/", "dockline/cmd/", "dockline/e2e/"}},
		{name: "steps know no program and no test stack", from: []string{"dockline/steps/"}, to: []string{"dockline/cmd/", "dockline/e2e/"}},
		{name: "programs know no test stack", from: []string{"dockline/cmd/"}, to: []string{"dockline/e2e/"}},
		{name: "pkg/step alone knows the configuration", from: []string{"dockline/pkg/"}, except: []string{"dockline/pkg/step"}, to: []string{"dockline/pkg/step", "github.com/sethvargo/go-envconfig"}},
		{name: "pkg does not log", from: []string{"dockline/pkg/"}, except: []string{"dockline/pkg/step"}, to: []string{"github.com/rs/zerolog"}, directly: true},
		{name: "pkg/kaniko alone imports Kaniko", from: []string{"dockline/"}, except: []string{"dockline/pkg/kaniko", "dockline/e2e/plain"}, to: []string{kaniko}, directly: true},
		{name: "only the build reaches Kaniko", from: []string{"dockline/steps/", "dockline/cmd/"}, except: []string{"dockline/steps/clonebuildpush", "dockline/cmd/clone-build-push"}, to: []string{kaniko, "dockline/pkg/kaniko"}},
		{name: "no test stack below Kaniko", from: []string{"dockline/pkg/kaniko"}, to: []string{"dockline/e2e/"}},
		{name: "no typed Kubernetes client", from: []string{"dockline/"}, to: []string{"k8s.io/client-go/kubernetes/typed", "github.com/openshift/client-go"}},
	} {
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			of := reached
			if rule.directly {
				of = direct
			}
			held := 0
			for path, targets := range of {
				if !begins(path, rule.from) || begins(path, rule.except) {
					continue
				}
				held++
				for _, target := range targets {
					if begins(target, rule.to) {
						t.Errorf("%s reaches %s", path, target)
					}
				}
			}
			if held == 0 {
				t.Error("the rule holds for no package: has a folder moved?")
			}
		})
	}
}

// TestEveryGoroutineCatchesItsPanics looks for those that would end the process with the wrong status: see fault.Catch.
func TestEveryGoroutineCatchesItsPanics(t *testing.T) {
	t.Parallel()
	started := 0
	for _, folder := range []string{"cmd", "pkg", "steps"} {
		if err := filepath.WalkDir(filepath.Join("..", folder), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(node ast.Node) bool {
				var work ast.Expr
				switch node := node.(type) {
				case *ast.GoStmt:
					work = node.Call.Fun
				case *ast.CallExpr: // of errgroup.Group.Go, sync.WaitGroup.Go
					if method, ok := node.Fun.(*ast.SelectorExpr); !ok || method.Sel.Name != "Go" || len(node.Args) != 1 {
						return true
					}
					work = node.Args[0]
				default:
					return true
				}
				started++
				if !catches(work) {
					t.Errorf("%s: a goroutine without defer fault.Catch", files.Position(node.Pos()))
				}
				return true
			})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if started == 0 {
		t.Error("no goroutine was found: has a folder moved?")
	}
}

// catches says whether a function defers fault.Catch, or the end of the process.
func catches(work ast.Expr) bool {
	function, ok := work.(*ast.FuncLit)
	if !ok {
		return false
	}
	for _, statement := range function.Body.List {
		deferred, ok := statement.(*ast.DeferStmt)
		if !ok {
			continue
		}
		if name, ok := deferred.Call.Fun.(*ast.SelectorExpr); ok && (name.Sel.Name == "Catch" || name.Sel.Name == "Exit") {
			return true
		}
	}
	return false
}

// TestPkgStepAloneKnowsTheEnvironment forbids the other packages in pkg/ to read environment variables themselves: what
// is not handed in cannot be seen in --help, nor tested.
func TestPkgStepAloneKnowsTheEnvironment(t *testing.T) {
	t.Parallel()
	except := []string{
		"../pkg/step/",
		"../pkg/kaniko/", // the child process's own environment, and the image's mark in it
	}
	read := 0
	err := filepath.WalkDir("../pkg", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || begins(path, except) {
			return err
		}
		read++
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(node ast.Node) bool {
			selector, ok := node.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			from, _ := selector.X.(*ast.Ident)
			if from != nil && (from.Name == "os" || from.Name == "syscall" || from.Name == "unix") &&
				slices.Contains([]string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, selector.Sel.Name) {
				t.Errorf("%s calls %s.%s", path, from.Name, selector.Sel.Name)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read < 20 {
		t.Errorf("only %d files were read: has a folder moved?", read)
	}
}

func begins(path string, beginnings []string) bool {
	for _, beginning := range beginnings {
		if strings.HasPrefix(path, beginning) {
			return true
		}
	}
	return false
}
