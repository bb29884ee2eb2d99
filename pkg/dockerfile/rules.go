package dockerfile

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// rule is one feature that is built differently, or not at all.
type rule struct {
	feature string // as it is written in a Dockerfile
	reason  string // what would be done, and what to write instead
	warning bool   // worth a word, not a refusal
	kaniko  bool   // by Kaniko's own executor alone, v1.27.5
	own     bool   // by pkg/kaniko alone
	// match says whether an instruction uses the feature; it may return the feature in the words of this use.
	match func(c instructions.Command, at *place) (string, bool)
}

// place is what is known of a stage when an instruction is reached.
type place struct {
	file    *file
	workDir string   // as far as it is known
	user    string   // of the last USER
	volumes []string // declared so far
}

// rules is in the order of the Dockerfile reference: RUN, COPY and ADD, and the rest. The comment above a reason names
// the file of Kaniko's source that decides it, where Kaniko does.
var rules = []rule{
	{
		feature: "RUN for another platform", match: func(c instructions.Command, at *place) (string, bool) {
			_, ok := c.(*instructions.RunCommand)
			return "", ok && at.file.options.NoRun
		},
		reason: "this machine runs no programs of that platform: build there, have the machine emulate it (binfmt_misc, with " +
			"the flag F), or copy what is compiled elsewhere",
	},
	{
		feature: "RUN --mount", match: malformedMount,
		reason: "the mount is malformed",
	},
	{
		feature: "RUN --mount=type=bind", kaniko: true, match: mountType(instructions.MountTypeBind),
		// pkg/commands/run.go
		reason: "Kaniko would run it without the files; COPY them instead",
	},
	{
		feature: "RUN --mount=type=tmpfs", kaniko: true, match: mountType(instructions.MountTypeTmpfs),
		// pkg/commands/run.go
		reason: "Kaniko ignores it, and what is written there would end up in the image; remove it in the same RUN",
	},
	{
		feature: "RUN --mount=type=ssh", match: mountType(instructions.MountTypeSSH),
		reason: "there is no ssh agent to offer; use a build secret",
	},
	{
		feature: "RUN --mount=type=cache,from=", kaniko: true, match: mount(func(m *instructions.Mount) bool {
			return m.Type == instructions.MountTypeCache && (m.From != "" || m.Source != "")
		}),
		// pkg/commands/run.go
		reason: "Kaniko starts with an empty cache; COPY the files instead",
	},
	{
		feature: "RUN --mount=type=secret,source=", kaniko: true, match: mount(func(m *instructions.Mount) bool {
			return m.Type == instructions.MountTypeSecret && m.Source != ""
		}),
		// pkg/commands/run.go
		reason: "Kaniko ignores the source; name the secret by id=",
	},
	{
		feature: "RUN --mount=type=secret,required", match: missingSecret,
		reason: "no build secret of that name is given",
	},
	{
		feature: "RUN --mount with a relative target", kaniko: true, match: mount(func(m *instructions.Mount) bool {
			return m.Target != "" && !path.IsAbs(m.Target) && !strings.Contains(m.Target, "$")
		}),
		// pkg/commands/run.go
		reason: "Kaniko takes it from /, not from WORKDIR; write an absolute path",
	},
	{
		feature: "RUN --network", kaniko: true, match: runFlag("network"),
		// pkg/commands/run.go
		reason: "Kaniko ignores it, and the command would have the network",
	},
	{
		feature: "RUN --network=none", own: true, match: onRun(func(run *instructions.RunCommand) bool {
			return instructions.GetNetwork(run) == instructions.NetworkNone
		}),
		reason: "the command would have the network all the same, since a build has no right to take it away",
	},
	{
		feature: "RUN --security", kaniko: true, match: runFlag("security"),
		// pkg/commands/run.go
		reason: "Kaniko ignores it",
	},
	{
		feature: "RUN --security=insecure", own: true, match: onRun(func(run *instructions.RunCommand) bool {
			return instructions.GetSecurity(run) == instructions.SecurityInsecure
		}),
		reason: "a build has no more rights than it began with",
	},
	{
		feature: "RUN --device", match: runFlag("device"),
		reason: "a build has no devices to give",
	},
	{
		feature: "RUN after USER with a group", kaniko: true, match: func(c instructions.Command, at *place) (string, bool) {
			_, ok := c.(*instructions.RunCommand)
			_, group, has := strings.Cut(at.user, ":")
			return "RUN after USER " + at.user, ok && has && group != ""
		},
		// pkg/commands/run.go
		reason: "Kaniko would run it with the user's own group; move the RUN before the USER, or leave the group out",
	},
	{
		feature: "COPY <<EOF with a variable", kaniko: true, match: expandedHeredoc,
		// pkg/commands/copy.go
		reason: "Kaniko copies the text as it is, where $ means a variable; quote the delimiter (<<'EOF') or write the file by RUN",
	},
	{
		feature: "COPY --parents", kaniko: true, match: onCopy(func(c *instructions.CopyCommand) bool { return c.Parents }),
		// pkg/commands/copy.go
		reason: "Kaniko ignores it, and would lose the directories; COPY each directory",
	},
	{
		feature: "COPY --exclude", kaniko: true, match: onCopy(func(c *instructions.CopyCommand) bool { return len(c.ExcludePatterns) > 0 }),
		// pkg/commands/copy.go
		reason: "Kaniko ignores it, and would copy those files too; use .dockerignore",
	},
	{
		feature: "COPY --from with a variable", match: onCopy(func(c *instructions.CopyCommand) bool { return strings.Contains(c.From, "$") }),
		reason: "it is not expanded; name a stage by FROM … AS",
	},
	{
		feature: "ADD --exclude", kaniko: true, match: onAdd(func(c *instructions.AddCommand) bool { return len(c.ExcludePatterns) > 0 }),
		// pkg/commands/add.go
		reason: "Kaniko ignores it, and would copy those files too; use .dockerignore",
	},
	{
		feature: "ADD --checksum", kaniko: true, match: onAdd(func(c *instructions.AddCommand) bool { return c.Checksum != "" }),
		// pkg/commands/add.go
		reason: "Kaniko ignores it, and would take whatever comes; check the file in a RUN",
	},
	{
		feature: "ADD --keep-git-dir", kaniko: true, match: onAdd(func(c *instructions.AddCommand) bool { return c.KeepGitDir != nil }),
		// pkg/commands/add.go
		reason: "Kaniko cannot add a Git repository; clone it in a RUN, or make it a submodule",
	},
	{
		feature: "ADD --unpack", kaniko: true, match: onAdd(func(c *instructions.AddCommand) bool { return c.Unpack != nil }),
		// pkg/commands/add.go
		reason: "Kaniko ignores it: it unpacks what is in the context, and nothing that is downloaded",
	},
	{
		feature: "ADD of a Git repository", kaniko: true, match: onAdd(func(c *instructions.AddCommand) bool { return slices.ContainsFunc(c.SourcePaths, IsGit) }),
		// pkg/commands/add.go
		reason: "Kaniko would download the URL as a file; clone it in a RUN, or make it a submodule",
	},
	{
		feature: "--chmod with letters", kaniko: true, match: symbolicMode,
		// pkg/util/command_util.go
		reason: "Kaniko takes octal digits only",
	},
	{
		feature: "COPY below Kaniko's own directory", match: intoKaniko,
		reason: "the build itself lives there; copy to another folder",
	},
	{
		feature: "COPY below a VOLUME", kaniko: true, match: intoVolume,
		// pkg/commands/volume.go
		reason: "Kaniko would leave the files out of the image; put the VOLUME last",
	},
	{
		feature: "COPY through a link that leaves the context", kaniko: true, match: throughLink,
		reason: "Kaniko would copy from the build's own root directory",
	},
	{
		feature: "HEALTHCHECK --start-interval", kaniko: true, match: func(c instructions.Command, _ *place) (string, bool) {
			check, ok := c.(*instructions.HealthCheckCommand)
			return "", ok && check.Health != nil && check.Health.StartInterval != 0
		},
		// pkg/commands/healthcheck.go
		reason: "Kaniko leaves it out of the image",
	},
	{
		feature: "EXPOSE of a range", kaniko: true, match: func(c instructions.Command, _ *place) (string, bool) {
			expose, ok := c.(*instructions.ExposeCommand)
			return "", ok && slices.ContainsFunc(expose.Ports, portRange.MatchString)
		},
		// pkg/commands/expose.go
		reason: "Kaniko writes the range into the image as if it were one port; list the ports",
	},
	{
		feature: "MAINTAINER", kaniko: true, warning: true, match: func(c instructions.Command, _ *place) (string, bool) {
			_, ok := c.(*instructions.MaintainerCommand)
			return "", ok
		},
		// pkg/commands/commands.go
		reason: "Kaniko leaves it out of the image; use LABEL org.opencontainers.image.authors",
	},
	{
		feature: "RUN after VOLUME", kaniko: true, warning: true, match: func(c instructions.Command, at *place) (string, bool) {
			_, ok := c.(*instructions.RunCommand)
			return "", ok && len(at.volumes) > 0
		},
		// pkg/commands/volume.go
		reason: "what it writes below the volume is left out of the image; put the VOLUME last",
	},
	{
		feature: "--link with --chown by name", match: linkedByName,
		reason: "with --link, no user is known; give the number",
	},
	{
		feature: "ADD --keep-git-dir=true", own: true, match: keepsGitDir,
		reason: "its .git would not be the one that git makes; clone it in a RUN",
	},
	{
		feature: "ADD of a Git repository by another protocol than https", own: true, match: onAdd(func(c *instructions.AddCommand) bool {
			return slices.ContainsFunc(c.SourcePaths, func(source string) bool { return IsGit(source) && !isHTTP(source) })
		}),
		reason: "a build has no ssh key; name it by https, or make it a submodule",
	},
	{
		feature: "files on a mount", match: intoMount,
		reason: "what is mounted in the build's container is no part of the image; copy to another folder",
	},
	{
		feature: "RUN on a mount", warning: true, match: runOnMount,
		reason: "it is mounted in the build's container: what the RUN writes there is not in the image",
	},
}

// findings applies the rules to the stages in use.
func (f *file) findings(used []bool) []Finding {
	out := f.syntaxFindings()
	for index, stage := range f.stages {
		if !used[index] {
			continue
		}
		out = append(out, f.fromFindings(stage)...)
		at := &place{file: f, workDir: "/"}
		for _, command := range f.commands(index) {
			for _, rule := range rules {
				if rule.kaniko && !f.options.Kaniko || rule.own && f.options.Kaniko {
					continue
				}
				feature, found := rule.match(command.Command, at)
				if !found {
					continue
				}
				if feature == "" {
					feature = rule.feature
				}
				out = append(out, Finding{
					File: f.options.Name, Line: command.line, Feature: feature, Reason: rule.reason, warning: rule.warning,
				})
			}
			at.pass(command.Command)
		}
	}
	return out
}

// pass notes what an instruction changes for those after it.
func (p *place) pass(command instructions.Command) {
	switch c := command.(type) {
	case *instructions.WorkdirCommand:
		p.workDir = p.absolute(c.Path)
	case *instructions.UserCommand:
		p.user = c.User
	case *instructions.VolumeCommand:
		p.volumes = append(p.volumes, c.Volumes...)
	}
}

func (p *place) absolute(dir string) string {
	if path.IsAbs(dir) {
		return path.Clean(dir)
	}
	return path.Join(p.workDir, dir)
}

// syntaxFindings refuses another frontend than Docker's: Kaniko ignores the line.
func (f *file) syntaxFindings() []Finding {
	if f.syntax == "" || strings.Contains(f.syntax, "docker/dockerfile") {
		return nil
	}
	return []Finding{{
		File: f.options.Name, Line: 1, Feature: "# syntax=" + f.syntax,
		Reason: "every file is read as a plain Dockerfile, whatever its frontend",
	}}
}

var portRange = regexp.MustCompile(`^[0-9]+-[0-9]+(/|$)`)

// IsGit tells whether what ADD names is a Git repository, as BuildKit takes it.
func IsGit(source string) bool {
	if strings.HasPrefix(source, "git@") || strings.HasPrefix(source, "github.com/") {
		return true
	}
	u, err := url.Parse(source)
	if err != nil {
		return false
	}
	switch u.Scheme {
	case "git", "ssh":
		return true
	case "http", "https":
		repository, _, _ := strings.Cut(u.Path, "#")
		return strings.HasSuffix(repository, ".git")
	}
	return false
}

func isHTTP(source string) bool {
	return strings.HasPrefix(source, "https://") || strings.HasPrefix(source, "http://")
}
