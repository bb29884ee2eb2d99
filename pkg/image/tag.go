package image

import (
	"regexp"
	"strings"

	"dockline/pkg/fault"
)

const longestTag = 128

// BranchTag returns the tag BRANCHSLUG-SHORTSHA for a build of a branch: "feature/Login" at 0e0cf4c8bb27… gives
// "feature-login-0e0cf4c8". A long branch name is cut, the commit never is; an empty one gives the commit alone.
func BranchTag(branch, commit string) string {
	hash := commit[:min(len(commit), 8)]
	if hash == "" {
		return Slug(branch, longestTag)
	}
	slug := Slug(branch, longestTag-len(hash)-1)
	if slug == "" {
		return hash
	}
	return slug + "-" + hash
}

// CommitTag returns "commit-HASH", the tag by which the image of one very commit is found again.
func CommitTag(commit string) string { return "commit-" + commit }

// ReleaseVersion returns the version that a Git tag stands for: "v1.2.0" gives "1.2.0". What a tag of an image cannot
// hold becomes "-".
func ReleaseVersion(gitTag string) string {
	version := gitTag
	if rest, ok := strings.CutPrefix(gitTag, "v"); ok && rest != "" && rest[0] >= '0' && rest[0] <= '9' {
		version = rest
	}
	version = strings.TrimLeft(notInTag.ReplaceAllString(version, "-"), ".-")
	return version[:min(len(version), longestTag)]
}

// Slug turns text into lower case letters, digits and single dashes, at most longest characters, as GitLab's
// CI_COMMIT_REF_SLUG does: never led or ended by a dash, and so valid in a tag.
func Slug(text string, longest int) string {
	slug := notInSlug.ReplaceAllString(strings.ToLower(text), "-")
	slug = strings.Trim(slug, "-")
	return strings.Trim(slug[:min(len(slug), longest)], "-")
}

var (
	notInTag  = regexp.MustCompile(`[^a-zA-Z0-9._-]+`)
	notInSlug = regexp.MustCompile(`[^a-z0-9]+`)
)

// Template makes the name of a backup tag: {version} and {digest8} are filled in, the rest stays as it is.
type Template string

// Check says what is wrong with the template. It must hold {digest8}, since a backup tag is never moved: two images
// that are replaced one after the other need two tags. Its errors are of kind fault.Configuration.
func (t Template) Check() error {
	if !strings.Contains(string(t), "{digest8}") {
		return fault.New(fault.Configuration, "backup tag %q lacks {digest8}: each replaced image needs its own", string(t))
	}
	_, err := t.Expand("1", "sha256:0123456789abcdef")
	return err
}

// Versioned tells whether the tags that it makes say which version they are of.
func (t Template) Versioned() bool { return strings.Contains(string(t), "{version}") }

// Expand returns the backup tag for the image of this digest ("sha256:HEX") that version held. A version that makes
// the tag longer than 128 characters is cut. Its errors are of kind fault.Configuration.
func (t Template) Expand(version, digest string) (string, error) {
	template := string(t)
	_, hex, _ := strings.Cut(digest, ":")
	if len(hex) < 8 {
		return "", fault.New(fault.Configuration, "%q is not a digest", short(digest))
	}
	fill := func(version string) string {
		return strings.NewReplacer("{version}", version, "{digest8}", hex[:8]).Replace(template)
	}
	tag := fill(version)
	if n := strings.Count(template, "{version}"); len(tag) > longestTag && n > 0 {
		excess := (len(tag) - longestTag + n - 1) / n
		tag = fill(version[:max(0, len(version)-excess)])
	}
	if err := CheckTarget(tag); err != nil {
		return "", fault.New(fault.Configuration, "expanding backup tag %q: %w", template, err)
	}
	return tag, nil
}
