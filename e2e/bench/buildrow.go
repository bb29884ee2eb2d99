package main

import (
	"fmt"
	"os"
	"path/filepath"

	"dockline/e2e/gitserver"
)

// The tools of the rows that build. The second is what people run today: a clone by git, and Kaniko's own executor at the
// version that is built in.
var (
	step     = tool{name: "clone-build-push", program: "clone-build-push"}
	executor = tool{name: "git clone + executor", program: "executor"}
	builders = []tool{step, executor}
	reusing  = tool{name: "clone-build-push, REUSE=unchanged", program: step.program, env: []string{"REUSE=unchanged"}}
)

// tenth is how much longer, or how much more memory, the step may take.
const tenth = 1.10

// buildRows are the workloads that are built. Another variant of the step is a tool with variables of its own (env).
var buildRows = []row{
	{
		name: "build", title: "the sample service, cold, whole step", built: sampleService,
		tools: builders, goals: []goal{{step.name, tenth, []string{executor.name}, 0}},
	},
	{
		name: "reuse", title: "the sample service, of which nothing has changed, whole step", built: sampleService, before: reusing,
		tools: []tool{reusing, executor}, goals: []goal{{reusing.name, 0.15, []string{executor.name}, 0}},
	},
	{
		name: "build-files", title: "a context of 100,000 files, whole step", built: manyFiles,
		tools: builders, goals: []goal{{step.name, tenth, []string{executor.name}, tenth}},
	},
	{
		name: "build-huge", title: "a RUN that writes a layer of 2 GiB, whole step", built: hugeLayer,
		tools: few(builders), goals: []goal{{step.name, tenth, []string{executor.name}, tenth}},
	},
}

func sampleService() (gitserver.Files, error) {
	files := map[string]string{}
	for _, name := range []string{"Dockerfile", "index.html"} {
		text, err := os.ReadFile(filepath.Join("e2e", "hello", "hello_v1.0", name))
		if err != nil {
			return nil, err
		}
		files[name] = string(text)
	}
	return gitserver.Text(files), nil
}

func manyFiles() (gitserver.Files, error) {
	files := map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\nCOPY . /srv/\n"}
	for i := range 100_000 {
		files[fmt.Sprintf("src/%d/%d.txt", i/500, i)] = fmt.Sprintf("file %d\n", i)
	}
	return gitserver.Text(files), nil
}

func hugeLayer() (gitserver.Files, error) {
	return gitserver.Text(map[string]string{
		"Dockerfile": fmt.Sprintf("ARG BASE\nFROM ${BASE}\nRUN [\"/bin/fill\", \"/huge\", \"%d\"]\n", int64(2)<<30),
	}), nil
}
