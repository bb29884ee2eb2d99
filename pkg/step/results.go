package step

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"dockline/pkg/fault"
)

// largestResults bounds the sum of a step's results. Tekton carries them in the container's termination message,
// which holds 4096 bytes with Tekton's own data in it and is shared by the steps of a Task
// (tektoncd/pipeline docs/tasks.md, "Emitting Results").
const largestResults = 1024

// resultName is what both Tekton and a dotenv file accept.
var resultName = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// removeStale removes what an earlier run, or an image's author, left under the names that this run will write.
func removeStale(common *Common, program Program) error {
	var own []string
	if reporter, ok := program.Step.(Reporter); ok {
		own = reporter.Reports()
	}
	return removeAll(common, program.Results, append(own, common.ReportFile))
}

// removeAll removes the results, and the files at the other paths.
func removeAll(common *Common, names, others []string) error {
	var paths []string
	if common.ResultsDir != "" {
		for _, name := range names {
			paths = append(paths, filepath.Join(common.ResultsDir, name))
		}
	}
	for _, path := range append(others, common.DotenvFile) {
		if path != "" {
			paths = append(paths, path)
		}
	}
	var problems []error
	for _, path := range paths {
		problems = append(problems, removeFile(path))
	}
	return errors.Join(problems...)
}

// writeResults hands the results on. When one cannot be written, none stays.
func writeResults(common *Common, results []Result) error {
	if len(results) == 0 {
		return nil
	}
	if err := check(results); err != nil {
		return err
	}
	var dotenv strings.Builder
	for _, result := range results {
		fmt.Fprintf(&dotenv, "%s=%s\n", result.Name, result.Value)
	}
	var problems []error
	if common.ResultsDir != "" {
		for _, result := range results {
			problems = append(problems, writeFile(filepath.Join(common.ResultsDir, result.Name), []byte(result.Value)))
		}
	}
	if common.DotenvFile != "" {
		problems = append(problems, writeFile(common.DotenvFile, []byte(dotenv.String())))
	}
	if err := errors.Join(problems...); err != nil {
		return errors.Join(err, removeAll(common, names(results), nil))
	}
	return nil
}

// keepAlways takes written results back, but for those that are written after a failure too.
func keepAlways(common *Common, results []Result) error {
	return errors.Join(removeAll(common, names(results), nil), writeResults(common, always(results)))
}

func names(results []Result) []string {
	var all []string
	for _, result := range results {
		all = append(all, result.Name)
	}
	return all
}

func check(results []Result) error {
	size := 0
	for _, result := range results {
		size += len(result.Name) + len(result.Value)
		if !resultName.MatchString(result.Name) || strings.ContainsAny(result.Value, "\r\n\x00") {
			return fault.New(fault.Unexpected, "writing the result %q: a line end cannot be handed on", result.Name)
		}
	}
	if size > largestResults {
		return fault.New(fault.Unexpected, "writing the results: %d bytes are more than the %d that Tekton is sure to carry",
			size, largestResults)
	}
	return nil
}

// always returns the results that are written after a failure too.
func always(results []Result) []Result {
	var kept []Result
	for _, result := range results {
		if result.Always {
			kept = append(kept, result)
		}
	}
	return kept
}
