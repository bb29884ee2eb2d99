// Program tekton checks the files in tekton/ as a cluster would: kustomize renders them, Tekton's own code defaults and
// validates every object, what they refer to is there, and tekton-lint finds nothing.
//
//	go run -C e2e/tekton .
//
// It is a module of its own, so that Dockline does not depend on Tekton, and e2e/cluster compiles Tekton's programs in it:
// what validates the files is what runs them. tekton-lint needs npm and node.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if !check(ctx, "../../tekton", "../../.build/tekton-lint") {
		os.Exit(1)
	}
}

// check tells what it checks, and whether nothing was found.
func check(ctx context.Context, dir, lintDir string) bool {
	objects, findings := read(dir)
	counts := map[string]int{}
	for _, o := range objects {
		counts[o.Kind]++
	}
	fmt.Printf("rendered: %d objects\n", len(objects))
	var kinds []string
	for kind := range counts {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		fmt.Printf("  %2d %s: %s\n", counts[kind], kind, howChecked(kind))
	}
	findings = append(findings, validateAll(ctx, objects)...)
	references, wrong := references(objects)
	fmt.Printf("followed: %d references from one object to another\n", references)
	findings = append(findings, wrong...)

	linted, wrong, err := lint(ctx, dir, lintDir)
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	fmt.Printf("linted: %d files\n", linted)
	findings = append(findings, wrong...)

	for _, finding := range findings {
		fmt.Fprintln(os.Stderr, "FOUND:", finding)
	}
	fmt.Printf("findings: %d\n", len(findings))
	return len(findings) == 0
}
