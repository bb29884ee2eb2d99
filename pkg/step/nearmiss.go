package step

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

//go:embed known.txt
var knownVariables string

// foreign matches the variables of CI systems, Kubernetes and the usual shell, which resemble ours by chance.
var foreign = regexp.MustCompile(`^(CI|GITLAB|KUBERNETES|RUNNER|FF|DOCKER|TEKTON|SSL|GIT_(AUTHOR|COMMITTER|SSL))_` +
	`|_SERVICE_(HOST|PORT)(_|$)|_PORT(_[0-9]+_(TCP|UDP|SCTP)(_|$)|$)|^(HOME|PATH|PWD|OLDPWD|USER|TERM|SHLVL|LANG|HOSTNAME|SHELL)$`)

// nearMisses returns a warning for each variable that is set, that no step reads, and that looks like a slip of the
// keyboard for one that this step does read.
func nearMisses(environment map[string]string, variables []Variable) []string {
	known := strings.Fields(knownVariables)
	var mine []string
	for _, v := range variables {
		mine = append(mine, strings.TrimSuffix(v.Name, "*"))
		if v.Secret {
			mine = append(mine, v.Name+"_FILE")
		}
		known = append(known, mine...)
	}
	var warnings []string
	for name := range environment {
		if slices.Contains(known, name) || foreign.MatchString(name) || inFamily(name, variables) {
			continue
		}
		if meant := nearest(name, mine); meant != "" {
			warnings = append(warnings, fmt.Sprintf("%s is set, and no step reads it: is %s meant?", name, meant))
		}
	}
	slices.Sort(warnings)
	return warnings
}

func inFamily(name string, variables []Variable) bool {
	return slices.ContainsFunc(variables, func(v Variable) bool {
		return v.Family && strings.HasPrefix(name, strings.TrimSuffix(v.Name, "*"))
	})
}

func nearest(name string, known []string) string {
	spelled := strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	best, fewest := "", 3
	for _, candidate := range known {
		edits := distance(spelled, candidate)
		if rest, cut := strings.CutPrefix(candidate, spelled); cut && len(spelled) >= 8 && !strings.Contains(rest, "_") {
			edits = min(edits, 2) // REGISTRY_USER for REGISTRY_USERNAME
		}
		if spelled == candidate {
			edits = 0 // another case: registry
		}
		allowed := 2
		if len(candidate) < 8 {
			allowed = 1 // short names resemble each other
		}
		if edits <= allowed && edits < fewest {
			best, fewest = candidate, edits
		}
	}
	return best
}

// distance is the number of insertions, deletions, changes and swaps of neighbours that turn a into b (Damerau's
// distance, restricted: no substring is edited twice).
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range b {
		rows[0][j+1] = j + 1
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
