package clonebuildpush

import (
	"cmp"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dockline/pkg/git"
	"dockline/pkg/image"
	"dockline/pkg/step"
)

// The labels that are set without being asked for (image specification, "Pre-Defined Annotation Keys").
const (
	labelRevision = "org.opencontainers.image.revision"
	labelSource   = "org.opencontainers.image.source"
	labelVersion  = "org.opencontainers.image.version"
	labelCreated  = "org.opencontainers.image.created"
	labelTitle    = "org.opencontainers.image.title"
)

// source is the work tree to build, and where it comes from.
type source struct {
	git.Commit        // Hash may be empty when a work tree tells nothing of its commit
	Dir        string // of the work tree
	Branch     string
	Tag        string // set when a tag is built
	Project    string // its web address, where PHASE=clone was told
	Signer     string // whose signature GIT_VERIFY asked for
}

// plan says what is built under which names.
type plan struct {
	Image     image.Image // with its version
	CommitTag string      // "" when the commit is not known
	Key       string      // of all that it is built from; "" unless it may be reused
	ExtraTags []string    // without those above
	Overwrite bool        // the version may be replaced
	Labels    map[string]string
	// Annotations are of the manifest.
	Annotations map[string]string
	Created     time.Time
}

// newPlan decides the version: that of IMAGE, else the Git tag's, else the branch's with the commit. The label for the
// version is set for a Git tag only, since a branch's image may become any version later; and never with REUSE, by which
// that of a Git tag may, too.
func newPlan(c *Config, from source, now time.Time) (plan, error) {
	name, err := image.ParseName(c.Image)
	if err != nil {
		return plan{}, err
	}
	if name.Version == "" {
		switch {
		case from.Tag != "":
			name.Version = image.ReleaseVersion(from.Tag)
		case from.Hash != "":
			name.Version = image.BranchTag(from.Branch, from.Hash)
		default:
			return plan{}, step.Problem("IMAGE has no version, and SOURCE_DIR tells neither a tag nor a commit: set the version")
		}
		if err := image.CheckTarget(name.Version); err != nil {
			return plan{}, step.Problem("IMAGE has no version, and the Git tag %q gives none: %w", from.Tag, err)
		}
	}
	p := plan{Image: name, Overwrite: overwrites(c.Overwrite, from), Created: now.UTC().Truncate(time.Second)}
	if c.Reproducible && !from.Time.IsZero() {
		p.Created = from.Time.UTC()
	}
	if from.Hash != "" {
		p.CommitTag = image.CommitTag(from.Hash)
	}
	for _, tag := range c.ExtraTags {
		if tag != name.Version && tag != p.CommitTag && !slices.Contains(p.ExtraTags, tag) {
			p.ExtraTags = append(p.ExtraTags, tag)
		}
	}
	p.Labels, err = pairs(c.Labels)
	if err != nil {
		return plan{}, step.Problem("LABELS: %w", err)
	}
	if c.Annotations != "" {
		if p.Annotations, err = pairs(c.Annotations); err != nil {
			return plan{}, step.Problem("ANNOTATIONS: %w", err)
		}
	}
	for label, value := range map[string]string{
		labelRevision: from.Hash,
		labelSource:   cmp.Or(from.Project, sourceLabel(c)),
		labelCreated:  p.Created.Format(time.RFC3339),
		labelTitle:    path.Base(name.Name),
		labelVersion:  versionLabel(c, name, from),
	} {
		if _, own := p.Labels[label]; !own && value != "" {
			p.Labels[label] = value
		}
	}
	return p, nil
}

// KeyTag is the tag of the key; "" when there is none.
func (p plan) KeyTag() string {
	if p.Key == "" {
		return ""
	}
	return keyTag(p.Key)
}

// sourceLabel is the project's address, without credentials; a path of this machine means nothing elsewhere.
func sourceLabel(c *Config) string {
	if c.ProjectURL == "" && (filepath.IsAbs(c.GitURL) || strings.HasPrefix(c.GitURL, "file:")) {
		return ""
	}
	return git.RedactURL(cmp.Or(c.ProjectURL, c.GitURL))
}

func versionLabel(c *Config, name image.Image, from source) string {
	if from.Tag == "" || c.Reuse != "" {
		return ""
	}
	return name.Version
}

// overwrites gives OVERWRITE its default: a branch's image is rebuilt as often as one likes, a release is not.
func overwrites(setting string, from source) bool {
	if setting == "" {
		return from.Tag == ""
	}
	return setting == "true"
}
