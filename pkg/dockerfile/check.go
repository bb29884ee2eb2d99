// Package dockerfile reads a Dockerfile before it is built: it refuses by name what would be built differently from what
// the Dockerfile says, and it finds the images that the build will pull.
//
// The yardstick is BuildKit, whose parser is used. Kaniko's own executor (v1.27.5) ignores several features with a warning
// in its log, or with none, and builds an image all the same: the worst kind of failure, since nobody sees it.
package dockerfile

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"dockline/pkg/fault"
)

// Options says what the Dockerfile will be built with.
type Options struct {
	// Name leads every message. The default is "Dockerfile".
	Name string
	// ContextDir is looked at for links that leave it. Empty means that the context is not looked at.
	ContextDir string
	// BuildArgs are the build arguments, by name.
	BuildArgs map[string]string
	// Target is the stage to build. The default is the last one. Stages that it does not need are not looked at.
	Target string
	// Platform is that of the image, such as "linux/amd64". The default is this machine's.
	Platform string
	// Secrets are the names of the build secrets that are given.
	Secrets []string
	// NoRun says that this machine runs no program of the platform: a RUN is refused.
	NoRun bool
	// KanikoDir is where Kaniko lives. The default is "/kaniko".
	KanikoDir string
	// Mounts are the paths at which something is mounted in the build's container: no part of the image.
	Mounts []string
	// Kaniko says that Kaniko's own executor builds, with its limits and its expansion of arguments, and not pkg/kaniko.
	Kaniko bool
}

// Plan is what a build of the Dockerfile needs.
type Plan struct {
	// Source is the text to build from. For Kaniko's own executor it has the same lines, but a RUN that is one heredoc is
	// written in exec form: Kaniko expands its variables too early, and drops it when the delimiter is quoted.
	Source []byte
	// Images are the images that are pulled, as named after expansion, each once, in order of appearance.
	Images []string
	// Where tells where each of Images is named first: "Dockerfile:1: FROM alpine:3".
	Where map[string]string
	// Base is the one of Images that the target's stage goes back to. It is "" for scratch.
	Base string
	// Remotes are what is added from elsewhere without a checksum, and may be another tomorrow: "Dockerfile:3: ADD …".
	Remotes []string
	// Warnings are what is built well enough, but not quite as the Dockerfile says: "Dockerfile:3: …".
	Warnings []string
}

// Check reads a Dockerfile. An error has the kind BuildFailed and tells the line; Refused in its chain lists all that
// is refused. A target that does not exist is a Configuration error.
func Check(source []byte, o Options) (Plan, error) {
	if o.Name == "" {
		o.Name = "Dockerfile"
	}
	if o.KanikoDir == "" {
		o.KanikoDir = "/kaniko"
	}
	if o.Platform == "" {
		o.Platform = platforms.Format(platforms.DefaultSpec())
	}
	file, err := parse(source, o)
	if err != nil {
		return Plan{}, err
	}
	target, used, err := file.used()
	if err != nil {
		return Plan{}, err
	}
	plan := Plan{}
	var refused Refused
	for _, finding := range file.findings(used) {
		if finding.warning {
			plan.Warnings = append(plan.Warnings, finding.Error())
		} else {
			refused = append(refused, finding)
		}
	}
	rewritten := source
	if o.Kaniko {
		var findings Refused
		rewritten, findings = file.rewriteHeredocs(source, used)
		refused = append(refused, findings...)
	}
	if len(refused) > 0 {
		refused.sort()
		return Plan{}, fault.As(fault.BuildFailed, refused)
	}
	plan.Source = rewritten
	plan.Images, plan.Where = file.images(used)
	plan.Base, plan.Remotes = file.finalBase(target), file.remotes(used)
	return plan, nil
}

// file is a parsed Dockerfile.
type file struct {
	options Options
	nodes   []*parser.Node
	stages  []instructions.Stage
	args    args
	syntax  string // of the "# syntax=" line
}

func parse(source []byte, o Options) (*file, error) {
	result, err := parser.Parse(bytes.NewReader(source))
	if err != nil {
		return nil, malformed(o.Name, err)
	}
	stages, metaArgs, err := instructions.Parse(result.AST, nil)
	if err != nil {
		return nil, malformed(o.Name, err)
	}
	if len(stages) == 0 {
		return nil, fault.New(fault.BuildFailed, "%s: it has no FROM", o.Name)
	}
	f := &file{options: o, nodes: result.AST.Children, stages: stages}
	f.syntax, _, _, _ = parser.DetectSyntax(source)
	f.args = globalArgs(metaArgs, o)
	return f, nil
}

// linePrefix is the parser's own way of telling a line, which ours replaces.
var linePrefix = regexp.MustCompile(`^dockerfile parse error on line \d+: `)

// malformed tells the line of a parser's error.
func malformed(name string, err error) error {
	text := linePrefix.ReplaceAllString(err.Error(), "")
	text, _, _ = strings.Cut(text, "\n")
	var located *parser.LocationError
	if errors.As(err, &located) && len(located.Locations) > 0 {
		if line := lineOf(located.Locations[0]); line > 0 {
			name = fmt.Sprintf("%s:%d", name, line)
		}
	}
	return fault.New(fault.BuildFailed, "%s: %s", name, text)
}

func lineOf(location []parser.Range) int {
	if len(location) == 0 {
		return 0
	}
	return location[0].Start.Line
}
