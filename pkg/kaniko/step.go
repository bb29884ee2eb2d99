package kaniko

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"
	fscopy "github.com/tonistiigi/fsutil/copy"
)

// systemFolders are mounted in a container, and made by a RUN in an image that lacks them.
var systemFolders = []string{"/dev", "/proc", "/sys"}

// lacking are the folders that a RUN makes by being run. Those that are not mounted here are made.
func (b *builtStage) lacking(command instructions.Command) ([]string, error) {
	run, runs := command.(*instructions.RunCommand)
	if !runs {
		return nil, nil
	}
	var out []string
	for _, dir := range systemFolders {
		if dir == "/dev" && isScript(run) {
			continue // BuildKit mounts the script below it, and clears up
		}
		if !b.has[dir] {
			b.has[dir], out = true, append(out, dir)
			if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // as an engine makes it
				return nil, err
			}
		}
	}
	return out, nil
}

// step executes an instruction. Before is what the files were, if that is known.
func (e *execution) step(b *builtStage, step step, before tree) (after tree, err error) {
	if err := e.expand(b.state, step.Command); err != nil {
		return nil, err
	}
	if err := e.linkStep(b.state, step); err != nil {
		return nil, err
	}
	done, err := b.configure(step.Command, e.recipe)
	if done || err != nil {
		return before, err
	}
	if before == nil {
		if before, err = scan("/", e.isIgnored); err != nil {
			return nil, err
		}
	}
	settle(before)
	made, err := b.lacking(step.Command)
	if err != nil {
		return nil, err
	}
	_, runs := step.Command.(*instructions.RunCommand)
	caching := runs && e.told.CacheRepository != ""
	if caching {
		if found, hit := e.lookUp(); hit {
			logrus.Infof("Using the cached layer of %s", step.Command)
			return e.reuse(b, step, found)
		}
	}
	key := string(e.chain)
	if err := e.change(b.state, step); err != nil {
		return nil, err
	}
	if after, err = scan("/", e.isIgnored); err != nil {
		return nil, err
	}
	changed, gone := after.since(before)
	e.warnOfNames(step, after.alike(before, changed))
	changed = append(changed, made...)
	var packed *packedLayer
	if !onlyRoot(changed) || len(gone) > 0 {
		mediaType := types.OCILayer
		if b.docker {
			mediaType = types.DockerLayer
		}
		var when time.Time
		if e.told.Reproducible {
			when = e.told.Created
			if when.IsZero() {
				when = time.Unix(0, 0)
			}
		}
		if packed, err = pack(e.work, after, changed, gone, mediaType, when); err != nil {
			return nil, fmt.Errorf("packing what has changed: %w", err)
		}
	}
	b.add(step, packed, &e.chain)
	if caching {
		e.entries = append(e.entries, entry{key, packed})
	}
	return after, nil
}

// reuse puts a layer of the cache in the place of what a RUN would have made.
func (e *execution) reuse(b *builtStage, step step, found entry) (after tree, err error) {
	if found.layer != nil {
		if _, err := unpackLayers("/", []v1.Layer{found.layer}, e.isIgnored, nil); err != nil {
			return nil, err
		}
	}
	b.add(step, found.layer, &e.chain)
	return nil, nil // what the files are is looked at before the next change
}

// add adds the layer that an instruction made, if any, and has what comes after depend on what is in it.
func (b *builtStage) add(step step, made *packedLayer, key *chain) {
	if made == nil {
		key.link("nothing")
		b.addHistory(step, true)
		return
	}
	b.layers = append(b.layers, made)
	b.addHistory(step, false)
	if _, runs := step.Command.(*instructions.RunCommand); runs {
		key.link(made.diffID.String())
	} else {
		key.link(made.content) // the times of files are new in every clone
	}
}

// warnOfNames tells of files that were changed under all of their names. In a container, whose files are an overlay's, a
// file of an earlier layer is changed under the one name that was used.
func (e *execution) warnOfNames(step step, others map[string][]string) {
	for _, name := range slices.Sorted(maps.Keys(others)) {
		logrus.Warnf("%s:%d: %s has changed %q and, since it is the same file, %q: a build by BuildKit would have changed one of them",
			filepath.Base(e.told.DockerfilePath), step.line, strings.ToUpper(step.Name()), name, strings.Join(others[name], ", "))
	}
}

func onlyRoot(changed []string) bool {
	return len(changed) == 0 || len(changed) == 1 && changed[0] == "/"
}

func (b *builtStage) addHistory(step step, empty bool) {
	b.config.History = append(b.config.History, ocispec.History{
		CreatedBy: fmt.Sprint(step.Command), EmptyLayer: empty, Comment: "dockline",
	})
}

// expand fills in the variables of an instruction.
func (e *execution) expand(s *state, command instructions.Command) error {
	if _, own := command.(*instructions.ArgCommand); own {
		return nil // each after those before it
	}
	if c, ok := command.(instructions.SupportsSingleWordExpansion); ok {
		if err := c.Expand(func(word string) (string, error) { return e.recipe.expand(word, s.variables) }); err != nil {
			return err
		}
	}
	if c, ok := command.(instructions.SupportsSingleWordExpansionRaw); ok {
		lex := shell.NewLex('\\')
		lex.SkipProcessQuotes = true
		return c.ExpandRaw(func(word string) (string, error) {
			expanded, _, err := lex.ProcessWord(word, s.variables)
			return expanded, err
		})
	}
	return nil
}

// change executes an instruction that changes files.
func (e *execution) change(s *state, step step) error {
	switch c := step.Command.(type) {
	case *instructions.RunCommand:
		return e.runCommand(s, step, c)
	case *instructions.WorkdirCommand:
		return e.makeWorkdir(s, c)
	case *instructions.CopyCommand, *instructions.AddCommand:
		return e.copyFiles(s, step)
	}
	return fmt.Errorf("%s is not known", step.Command.Name())
}

// makeWorkdir makes the working directory, which belongs to the USER.
func (e *execution) makeWorkdir(s *state, c *instructions.WorkdirCommand) error {
	dir := s.enter(c.Path)
	var owner fscopy.Chowner
	if s.config.Config.User != "" {
		var err error
		if owner, err = ownerOf(s.config.Config.User); err != nil {
			return err
		}
	}
	_, err := fscopy.MkdirAll(dir, 0o755, owner, nil)
	return err
}
