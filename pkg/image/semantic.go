package image

import (
	"regexp"
	"strings"

	"golang.org/x/mod/semver"
)

// Semantic is a version that has an order among others: semver.org's, with or without a leading "v", and with minor and
// patch left out where they are 0, as people do: "1.0" is 1.0.0, "1.0-rc.3" a pre-release of it.
type Semantic struct {
	canonical                   string // "v1.0.0-rc.3", as golang.org/x/mod/semver wants it
	major, minor, patch, suffix string
}

// ParseSemantic reads a version's text. ok is false when it has no order: "develop-0e0cf4c8", "2026.03.01".
func ParseSemantic(version string) (parsed Semantic, ok bool) {
	parts := semanticGrammar.FindStringSubmatch(version)
	if parts == nil {
		return Semantic{}, false
	}
	for i := 2; i <= 3; i++ {
		if parts[i] == "" {
			parts[i] = "0"
		}
	}
	parsed = Semantic{major: parts[1], minor: parts[2], patch: parts[3], suffix: parts[4]}
	parsed.canonical = "v" + parsed.major + "." + parsed.minor + "." + parsed.patch + parsed.suffix
	return parsed, semver.IsValid(parsed.canonical)
}

var semanticGrammar = regexp.MustCompile(`^v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?(-[0-9A-Za-z.-]+)?$`)

// Compare returns -1, 0 or 1 as the version comes before, is equal to or comes after other (semver.org, "Precedence").
func (s Semantic) Compare(other Semantic) int { return semver.Compare(s.canonical, other.canonical) }

// PreRelease tells whether it is one, such as 1.0-rc.3.
func (s Semantic) PreRelease() bool { return s.suffix != "" }

// Fill returns a template with {major}, {minor} and {patch} filled in.
func (s Semantic) Fill(template string) string {
	return strings.NewReplacer("{major}", s.major, "{minor}", s.minor, "{patch}", s.patch).Replace(template)
}
