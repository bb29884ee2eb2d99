package dockerfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/fault"
)

// refusals has a row for each rule, and more where a rule has several ways in. Those of Kaniko's own executor are in
// kanikoRefusals.
var refusals = []refusal{
	{"ssh", "FROM a\nRUN --mount=type=ssh git clone x\n", Options{}, 2, "RUN --mount=type=ssh"},
	{"required secret that is not given", "FROM a\nRUN --mount=type=secret,id=npm,required true\n", Options{Secrets: []string{"pip"}}, 2, "RUN --mount=type=secret,id=npm,required"},
	{"malformed mount", "FROM a\nRUN --mount=type=cache,target=/x,mode=rwx true\n", Options{}, 2, "RUN --mount: invalid value rwx for mode"},
	{"no network", "FROM a\nRUN --network=none make test\n", Options{}, 2, "RUN --network=none"},
	{"security", "FROM a\nRUN --security=insecure true\n", Options{}, 2, "RUN --security=insecure"},
	{"device", "FROM a\nRUN --device=vendor.com/gpu true\n", Options{}, 2, "RUN --device"},
	{"COPY --from with a variable", "FROM a\nARG S\nCOPY --from=$S /x /x\n", Options{}, 3, "COPY --from with a variable"},
	{"link by name", "FROM a\nCOPY --link --chown=app:0 x /x\n", Options{}, 2, "COPY --link --chown=app:0"},
	{"keep-git-dir", "FROM a\nADD --keep-git-dir=true https://host/lib.git /x\n", Options{}, 2, "ADD --keep-git-dir=true"},
	{"a Git repository by ssh", "FROM a\nADD git@host:team/lib.git /lib\n", Options{}, 2, "ADD of a Git repository by another protocol than https"},
	{"into Kaniko", "FROM a\nWORKDIR /kaniko\nCOPY x y\n", Options{}, 3, "COPY to /kaniko/y"},
	{"onto a mount", "FROM a\nCOPY x /builds/x\n", Options{Mounts: []string{"/builds"}}, 2, "COPY to /builds/x"},
	{"a working directory on a mount", "FROM a\nWORKDIR /workspace\n", Options{Mounts: []string{"/proc", "/workspace"}}, 2, "WORKDIR to /workspace"},
	{"another frontend", "# syntax=example.com/earth:1\nFROM a\n", Options{}, 1, "# syntax=example.com/earth:1"},
	{"another platform", "FROM --platform=linux/s390x a\n", Options{Platform: "linux/amd64"}, 1, "FROM --platform=linux/s390x"},
	{"a trigger, where it runs", "FROM a AS b\nONBUILD RUN --network=none true\nFROM b\n", Options{}, 2, "RUN --network=none"},
}

type refusal struct {
	description string
	source      string
	options     Options
	line        int
	feature     string
}

// kanikoRefusals are of what Kaniko's own executor builds differently.
var kanikoRefusals = []refusal{
	{"bind mount", "FROM a\nRUN --mount=type=bind,source=x,target=/x true\n", Options{}, 2, "RUN --mount=type=bind"},
	{"a mount without a type is a bind mount", "FROM a\nRUN --mount=target=/x true\n", Options{}, 2, "RUN --mount=type=bind"},
	{"bind mount from a stage", "FROM a AS b\nFROM a\nRUN --mount=type=bind,from=b,target=/x true\n", Options{}, 3, "RUN --mount=type=bind"},
	{"tmpfs", "FROM a\n\n\nRUN --mount=type=tmpfs,target=/x true\n", Options{}, 4, "RUN --mount=type=tmpfs"},
	{"cache filled from an image", "FROM a\nRUN --mount=type=cache,target=/c,from=b true\n", Options{}, 2, "RUN --mount=type=cache,from="},
	{"secret with a source", "FROM a\nRUN --mount=type=secret,source=x,target=/x true\n", Options{}, 2, "RUN --mount=type=secret,source="},
	{"required secret, named by its target", "FROM a\nRUN --mount=type=secret,target=/root/.npmrc,required=true true\n", Options{}, 2, "RUN --mount=type=secret,id=.npmrc,required"},
	{"relative target", "FROM a\nRUN --mount=type=cache,target=cache true\n", Options{}, 2, "RUN --mount with a relative target"},
	{"a program of another platform", "FROM a\nRUN true\n", Options{Platform: "linux/s390x", NoRun: true}, 2, "RUN for another platform"},
	{"network", "FROM a\nRUN --network=none make test\n", Options{}, 2, "RUN --network"},
	{"security", "FROM a\nRUN --security=insecure true\n", Options{}, 2, "RUN --security"},
	{"RUN after a USER with a group", "FROM a\nUSER 1001:0\nRUN id\n", Options{}, 3, "RUN after USER 1001:0"},
	{"COPY heredoc with a variable", "FROM a\nARG V\nCOPY <<EOF /etc/conf\nversion=$V\nEOF\n", Options{}, 3, "COPY <<EOF with a variable or a backslash"},
	{"ADD heredoc with a variable", "FROM a\nADD <<EOF /etc/conf\nversion=${V}\nEOF\n", Options{}, 2, "ADD <<EOF with a variable or a backslash"},
	{"parents", "FROM a\nCOPY --parents x/y /z/\n", Options{}, 2, "COPY --parents"},
	{"exclude", "FROM a\nCOPY --exclude=*.md . /z/\n", Options{}, 2, "COPY --exclude"},
	{"ADD exclude", "FROM a\nADD --exclude=*.md . /z/\n", Options{}, 2, "ADD --exclude"},
	{"checksum", "FROM a\nADD --checksum=sha256:24454f830cdb571e2c4ad15481119c43b3cafd48dd869a9b2945d1036d1dc68d https://h/x /x\n", Options{}, 2, "ADD --checksum"},
	{"keep-git-dir", "FROM a\nADD --keep-git-dir=true x /x\n", Options{}, 2, "ADD --keep-git-dir"},
	{"unpack", "FROM a\nADD --unpack=false x.tar /x\n", Options{}, 2, "ADD --unpack"},
	{"a Git repository by https", "FROM a\nADD https://host/team/lib.git#main /lib\n", Options{}, 2, "ADD of a Git repository"},
	{"a Git repository by ssh", "FROM a\nADD git@host:team/lib.git /lib\n", Options{}, 2, "ADD of a Git repository"},
	{"mode with letters", "FROM a\nCOPY --chmod=u+x run /run\n", Options{}, 2, "COPY --chmod=u+x"},
	{"into a volume", "FROM a\nVOLUME /data\nCOPY x /data/x\n", Options{}, 3, "COPY below VOLUME /data"},
	{"start interval", "FROM a\nHEALTHCHECK --start-interval=1s CMD true\n", Options{}, 2, "HEALTHCHECK --start-interval"},
	{"port range", "FROM a\nEXPOSE 8000-8010/tcp\n", Options{}, 2, "EXPOSE of a range"},
	{"an argument that Kaniko does not set before FROM", "FROM a-$TARGETARCH\n", Options{}, 1, "FROM with $TARGETARCH"},
	{"the same, declared", "ARG TARGETARCH\nFROM a-$TARGETARCH\n", Options{}, 2, "FROM with $TARGETARCH"},
	{"a script for another interpreter", "FROM a\nRUN <<EOF\n#!/usr/bin/env python3\nprint(1)\nEOF\n", Options{}, 2, "RUN <<EOF"},
	{"a trigger, where it runs", "FROM a AS b\nONBUILD RUN --network=none true\nFROM b\n", Options{}, 2, "RUN --network"},
}

// allRefusals are those of both builds.
func allRefusals() []refusal {
	all := slices.Clone(refusals)
	for _, test := range kanikoRefusals {
		test.options.Kaniko = true
		test.description = "Kaniko: " + test.description
		all = append(all, test)
	}
	return all
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, test := range allRefusals() {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			_, err := Check([]byte(test.source), test.options)
			var refused Refused
			if !errors.As(err, &refused) || len(refused) != 1 {
				t.Fatalf("error is %v, want one refusal", err)
			}
			if refused[0].Line != test.line || refused[0].Feature != test.feature || refused[0].Reason == "" {
				t.Errorf("refused %+v, want line %d, %q", refused[0], test.line, test.feature)
			}
			if fault.KindOf(err) != fault.BuildFailed {
				t.Errorf("kind is %q", fault.KindOf(err))
			}
		})
	}
}

// TestEachRuleIsTested finds a rule that no row above, and no test of its own, meets.
func TestEachRuleIsTested(t *testing.T) {
	t.Parallel()
	met := map[string]bool{
		"COPY through a link that leaves the context": true, // TestCopyThroughALink
		"MAINTAINER": true, "RUN after VOLUME": true, "RUN on a mount": true, // TestWarnings
	}
	for _, test := range allRefusals() {
		_, err := Check([]byte(test.source), test.options)
		var refused Refused
		if errors.As(err, &refused) {
			for _, rule := range rules {
				if rule.reason == refused[0].Reason {
					met[rule.feature] = true
				}
			}
		}
	}
	for _, rule := range rules {
		if !met[rule.feature] {
			t.Errorf("no test for %q", rule.feature)
		}
	}
}

func TestAllRefusalsAtOnce(t *testing.T) {
	t.Parallel()
	source := "FROM a\nRUN --mount=type=ssh true\nRUN --network=none true\n"
	_, err := Check([]byte(source), Options{Name: "build/Dockerfile"})
	want := "build/Dockerfile:2: RUN --mount=type=ssh: there is no ssh agent to offer; use a build secret; " +
		"build/Dockerfile:3: RUN --network=none: the command would have the network all the same, since a build has no right to take it away"
	if err == nil || err.Error() != want {
		t.Errorf("error is\n%v\nwant\n%s", err, want)
	}
}

func TestAccepted(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		description, source string
		options             Options
	}{
		{"what every Dockerfile has", "FROM a\nARG V=1\nENV X=$V\nWORKDIR /w\nCOPY --chown=1:1 --chmod=0755 x .\nRUN make\nEXPOSE 8080 53/udp\nUSER 1001\nENTRYPOINT [\"/x\"]\n", Options{}},
		{"cache mount", "FROM a\nRUN --mount=type=cache,target=/root/.cache,id=go,sharing=locked go build\n", Options{}},
		{"secret mount, given", "FROM a\nRUN --mount=type=secret,id=npm,required cat /run/secrets/npm\n", Options{Secrets: []string{"npm"}}},
		{"secret mount, optional", "FROM a\nRUN --mount=type=secret,id=npm,env=NPM true\n", Options{}},
		{"a mount's value in a variable", "FROM a\nARG M=0700\nRUN --mount=type=cache,target=/c,mode=$M true\n", Options{}},
		{"heredocs that are literal", "FROM a\nCOPY <<'EOF' /x\n$HOME\nEOF\nCOPY <<EOF /y\nplain\nEOF\n", Options{}},
		{"link", "FROM a\nCOPY --link x /x\n", Options{}},
		{"USER with a group, last", "FROM a\nRUN id\nUSER 1001:0\n", Options{}},
		{"a stage that the target does not need", "FROM a AS lint\nRUN --network=none true\nFROM a\n", Options{}},
		{"a trigger for other images", "FROM a\nONBUILD RUN --network=none true\n", Options{}},
		{"Docker's own frontend", "# syntax=docker/dockerfile:1.7-labs\nFROM a\n", Options{}},
		{"a mirror of Docker's frontend", "# syntax=registry.example.com/docker/dockerfile:1\nFROM a\n", Options{}},
		{"this platform by name", "FROM --platform=linux/" + runtime.GOARCH + " a\n", Options{}},
		{"this platform by argument", "FROM --platform=$BUILDPLATFORM a AS b\nFROM --platform=$TARGETPLATFORM a\nCOPY --from=b /x /x\n", Options{}},
		{"a predefined argument that is given", "ARG TARGETARCH\nFROM a-$TARGETARCH\n", Options{BuildArgs: map[string]string{"TARGETARCH": "amd64"}}},
		{"a predefined argument inside a stage", "FROM a\nARG TARGETARCH\nRUN echo $TARGETARCH\n", Options{}},
		{"a file from the network", "FROM a\nADD https://host/x.tar.gz /x/\n", Options{}},
		{"VOLUME last", "FROM a\nCOPY x /data/x\nVOLUME /data\n", Options{}},
		{"a directory beside the volume", "FROM a\nVOLUME /data\nCOPY x /database/x\n", Options{}},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			if plan, err := Check([]byte(test.source), test.options); err != nil || len(plan.Warnings) > 0 {
				t.Errorf("refused: %v, warned: %q", err, plan.Warnings)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	source := []byte("FROM a\nMAINTAINER me\nVOLUME /data\nRUN touch /data/x\n")
	plan, err := Check(source, Options{Kaniko: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(plan.Warnings) != 2 || !strings.HasPrefix(plan.Warnings[0], "Dockerfile:2: MAINTAINER: ") ||
		!strings.HasPrefix(plan.Warnings[1], "Dockerfile:4: RUN after VOLUME: ") {
		t.Errorf("warnings are %q", plan.Warnings)
	}
	for mount, want := range map[string]string{
		"/data":   `["Dockerfile:4: RUN with /data: it is mounted in the build's container: what the RUN writes there is not in the image"]`,
		"/data/x": `["Dockerfile:4: RUN with /data/x: it is mounted in the build's container: what the RUN writes there is not in the image"]`,
		"/dat":    "[]", "/proc": "[]",
	} {
		plan, err := Check(source, Options{Mounts: []string{mount}})
		if got := fmt.Sprintf("%q", plan.Warnings); err != nil || got != want {
			t.Errorf("with %s mounted: %v, %s, want %s", mount, err, got, want)
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		description, source string
		options             Options
		want                string
		kind                fault.Kind
	}{
		{"empty", "", Options{}, "Dockerfile: file with no instructions", fault.BuildFailed},
		{"comments only", "# nothing\n", Options{}, "Dockerfile:1: file with no instructions", fault.BuildFailed},
		{"an unknown instruction", "FROM a\n\nRUM make\n", Options{}, "Dockerfile:3: unknown instruction: RUM", fault.BuildFailed},
		{"an unknown flag", "FROM a\nCOPY --form=b /x /x\n", Options{}, "Dockerfile:2: unknown flag: --form", fault.BuildFailed},
		{"no FROM", "RUN make\n", Options{}, "Dockerfile:1: no build stage in current context", fault.BuildFailed},
		{"ARG only", "ARG X\n", Options{}, "Dockerfile: it has no FROM", fault.BuildFailed},
		{"a heredoc without an end", "FROM a\nRUN <<EOF\nmake\n", Options{}, "Dockerfile:2: unterminated heredoc", fault.BuildFailed},
		{"no such target", "FROM a AS b\n", Options{Target: "c"}, `Dockerfile: it has no stage "c"`, fault.Configuration},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			_, err := Check([]byte(test.source), test.options)
			if err == nil || !strings.HasPrefix(err.Error(), test.want) || fault.KindOf(err) != test.kind {
				t.Errorf("error is %v (%s), want %q (%s)", err, fault.KindOf(err), test.want, test.kind)
			}
		})
	}
}

func TestImages(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		description, source string
		options             Options
		want                []string
	}{
		{"one", "FROM registry.example.com/base:1\n", Options{}, []string{"registry.example.com/base:1"}},
		{"scratch is none", "FROM scratch\n", Options{}, nil},
		{"stages are none", "FROM a AS one\nFROM one AS two\nFROM ONE\nCOPY --from=two /x /x\nCOPY --from=0 /x /x\n", Options{}, []string{"a"}},
		{"COPY --from", "FROM a\nCOPY --from=b:2 /x /x\nCOPY --from=c@sha256:00 /x /x\n", Options{}, []string{"a", "b:2", "c@sha256:00"}},
		{"each once", "FROM a AS b\nFROM a\nCOPY --from=b / /\nCOPY --from=a / /\n", Options{}, []string{"a"}},
		{"a default", "ARG V=1\nFROM a:$V\n", Options{}, []string{"a:1"}},
		{"a default from a default", "ARG R=r.example.com\nARG B=${R}/base\nFROM ${B}:${V:-2}\n", Options{}, []string{"r.example.com/base:2"}},
		{"a build argument", "ARG V=1\nFROM a:$V\n", Options{BuildArgs: map[string]string{"V": "2"}}, []string{"a:2"}},
		{"a build argument that is not declared", "FROM a:${V:-3}\n", Options{BuildArgs: map[string]string{"V": "2"}}, []string{"a:3"}},
		{"a build argument that is declared without a default", "ARG V\nFROM a:${V:-3}\n", Options{BuildArgs: map[string]string{"V": "2"}}, []string{"a:2"}},
		{"an empty build argument leaves Kaniko's own executor the default", "ARG V=1\nFROM a:$V\n", Options{Kaniko: true, BuildArgs: map[string]string{"V": ""}}, []string{"a:1"}},
		{"an empty build argument", "ARG V=1\nFROM a:${V:-3}\n", Options{BuildArgs: map[string]string{"V": ""}}, []string{"a:3"}},
		{"what is predefined", "FROM a-$TARGETARCH\n", Options{Platform: "linux/arm64"}, []string{"a-arm64"}},
		{"quotes", "ARG V=\"1\"\nFROM a:$V\n", Options{}, []string{"a:1"}},
		{"only what the target needs", "FROM a AS one\nFROM b AS two\nFROM c AS three\nCOPY --from=one / /\n", Options{Target: "three"}, []string{"a", "c"}},
		{"an earlier target", "FROM a AS one\nFROM b\n", Options{Target: "ONE"}, []string{"a"}},
		{"a trigger's source", "FROM a AS one\nONBUILD COPY --from=d /x /x\nFROM one\n", Options{}, []string{"a", "d"}},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			plan, err := Check([]byte(test.source), test.options)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, plan.Images); diff != "" {
				t.Errorf("images (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCopyThroughALink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for link, target := range map[string]string{"out": "/", "up": "../..", "in": "real", "final": "/etc/passwd"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	for source, refused := range map[string]bool{
		"out/etc/passwd": true, "up/x": true, "in/x": false, "real/x": false, "final": false, "/out/etc/passwd": true, "absent/x": false,
	} {
		_, err := Check([]byte("FROM a\nCOPY "+source+" /x\n"), Options{ContextDir: dir, Kaniko: true})
		if (err != nil) != refused {
			t.Errorf("COPY %s: %v, want refused=%t", source, err, refused)
		}
	}
}

func TestRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	inside := filepath.Join(dir, "context")
	for path, text := range map[string]string{
		"secret": "outside", "context/Dockerfile": "FROM a\n", "context/sub/Dockerfile": "FROM b\n",
	} {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{"out": "../secret", "abs": filepath.Join(dir, "secret"), "in": "sub/Dockerfile", "updir": ".."} {
		if err := os.Symlink(target, filepath.Join(inside, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		description, dir, name, want string
		kind                         fault.Kind
	}{
		{"by name", inside, "Dockerfile", "FROM a\n", 0},
		{"in a directory", inside, "sub/Dockerfile", "FROM b\n", 0},
		{"by absolute path", inside, filepath.Join(inside, "Dockerfile"), "FROM a\n", 0},
		{"by a link that stays", inside, "in", "FROM b\n", 0},
		{"by a link that leaves", inside, "out", "", fault.Configuration},
		{"by an absolute link", inside, "abs", "", fault.Configuration},
		{"through a directory link that leaves", inside, "updir/secret", "", fault.Configuration},
		{"by dots", inside, "../secret", "", fault.Configuration},
		{"by an absolute path outside", inside, filepath.Join(dir, "secret"), "", fault.Configuration},
		{"absent", inside, "Dockerfile.prod", "", fault.BuildFailed},
		{"a directory", inside, "sub", "", fault.BuildFailed},
		{"no context", filepath.Join(dir, "nope"), "Dockerfile", "", fault.BuildFailed},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			got, err := Read(test.dir, test.name)
			if test.kind == 0 {
				if err != nil || string(got) != test.want {
					t.Errorf("read %q: %v", got, err)
				}
				return
			}
			if err == nil || fault.KindOf(err) != test.kind {
				t.Errorf("read %q: %v (%s), want %q", got, err, fault.KindOf(err), test.kind)
			}
		})
	}
}
