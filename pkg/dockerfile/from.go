package dockerfile

import (
	"fmt"

	"github.com/containerd/platforms"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"
)

// fromFindings looks at FROM: Kaniko has one platform for all stages (image/image_util.go), and knows no TARGETARCH
// and the like before the first stage (dockerfile/dockerfile.go).
func (f *file) fromFindings(stage instructions.Stage) []Finding {
	finding := func(feature, reason string) Finding {
		return Finding{File: f.options.Name, Line: lineOf(stage.Location), Feature: feature, Reason: reason}
	}
	var out []Finding
	lex := shell.NewLex(parser.DefaultEscapeToken)
	if _, unknown, err := lex.ProcessWord(stage.BaseName, f.args); err == nil && f.options.Kaniko {
		for name := range unknown {
			if _, predefined := predefinedArgs(f.options.Platform)[name]; predefined {
				out = append(out, finding("FROM with $"+name, "Kaniko does not set it there; give it as a build argument"))
			}
		}
	}
	if stage.Platform != "" && !f.samePlatform(stage.Platform) {
		out = append(out, finding("FROM --platform="+stage.Platform,
			fmt.Sprintf("the image for %s would be taken, as for every stage", f.options.Platform)))
	}
	return out
}

func (f *file) samePlatform(written string) bool {
	known := predefinedArgs(f.options.Platform)
	for name, value := range f.args {
		known[name] = value
	}
	platform, err := platforms.Parse(known.expand(written))
	if err != nil {
		return false
	}
	wanted, err := platforms.Parse(f.options.Platform)
	return err == nil && platforms.NewMatcher(wanted).Match(platform)
}

// predefinedArgs are the arguments that BuildKit sets before the first FROM.
func predefinedArgs(platform string) args {
	target, err := platforms.Parse(platform)
	if err != nil {
		target = platforms.DefaultSpec()
	}
	build := platforms.DefaultSpec()
	return args{
		"TARGETPLATFORM": platforms.Format(target), "TARGETOS": target.OS, "TARGETARCH": target.Architecture,
		"TARGETVARIANT": target.Variant, "BUILDPLATFORM": platforms.Format(build), "BUILDOS": build.OS,
		"BUILDARCH": build.Architecture, "BUILDVARIANT": build.Variant,
	}
}
