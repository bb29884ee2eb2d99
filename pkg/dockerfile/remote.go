package dockerfile

import (
	"fmt"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// remoteForms are how a source of ADD that is no file of the context begins.
var remoteForms = []string{"http://", "https://", "git://", "ssh://", "git@", "github.com/"}

// remotes lists what the stages in use ADD from elsewhere without a checksum, "Dockerfile:3: ADD https://…": the same
// Dockerfile and context may give another image tomorrow.
func (f *file) remotes(used []bool) []string {
	var out []string
	for index := range f.stages {
		if !used[index] {
			continue
		}
		for _, command := range f.commands(index) {
			add, ok := command.Command.(*instructions.AddCommand)
			if !ok || add.Checksum != "" {
				continue
			}
			for _, source := range add.SourcePaths {
				if mayBeRemote(source) {
					out = append(out, fmt.Sprintf("%s:%d: ADD %s", f.options.Name, command.line, source))
				}
			}
		}
	}
	return out
}

// mayBeRemote judges a source by what stands before its first variable.
func mayBeRemote(source string) bool {
	known, _, open := strings.Cut(source, "$")
	for _, form := range remoteForms {
		if strings.HasPrefix(known, form) || open && strings.HasPrefix(form, known) {
			return true
		}
	}
	return false
}

// finalBase is the image that the target's stage goes back to; "" for scratch.
func (f *file) finalBase(target int) string {
	for {
		base := f.baseStage(target)
		if base >= 0 {
			target = base
			continue
		}
		if name := f.base(target); name != scratch {
			return name
		}
		return ""
	}
}
