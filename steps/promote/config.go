package promote

import (
	"errors"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/image"
	"dockline/pkg/registry"
	"dockline/pkg/step"
	"dockline/steps/recording"
)

// Config is what promote is told by its environment.
type Config struct {
	// Image to promote, CODE/NAME:VERSION, such as deepsky/awl-deepsky-hello:1.0. Both registries know it by this name.
	// One of IMAGE, IMAGES and IMAGES_FILE is set.
	Image string `env:"IMAGE"`
	// Set of images to promote together: no tag moves before all of them are in the target. Each is
	// CODE/NAME:VERSION, with @sha256:… for exactly that image and =VERSION for another version in the target, such as
	// deepsky/shop:1.0-rc.3@sha256:…=1.0; separated by commas or white space, # begins a comment. 1000 images at most.
	Images string `env:"IMAGES"`
	// File with the set of images, one a line, written as in IMAGES.
	ImagesFile string `env:"IMAGES_FILE"`
	// Digest (sha256:…) of the very image to promote, such as the build's IMAGE_DIGEST. When it is set, what IMAGE's
	// version stands for in the source registry is not looked at. A set has its digests in IMAGES.
	Digest string `env:"DIGEST"`
	// Source is the registry that the image comes from (testing).
	Source step.Registry `env:", prefix=SOURCE_"`
	// Target is the registry that the image goes to (production).
	Target step.Registry `env:", prefix=TARGET_"`
	// Version that the image gets in the target registry, when it is to be another than in the source: 1.0 for 1.0-rc.3.
	// With a set, that of each image.
	ReleaseVersion string `env:"RELEASE_VERSION"`
	// Replace the image that the target's tag holds, whichever it is. It is kept under BACKUP_TAG. Needs FORCE_REASON.
	Force bool `env:"FORCE"`
	// Why an image is replaced, or that undone, on one line of at most 1000 bytes, for the log, the report and the record.
	ForceReason string `env:"FORCE_REASON"`
	// Digest (sha256:…) of the one image that may be replaced in the target. It is kept under BACKUP_TAG. Where the tag
	// holds another, nothing is replaced, FORCE or not. Not with a set.
	ForceReplaces string `env:"FORCE_REPLACES"`
	// Tag under which a replaced image is kept in the target: {version} is the tag that it held, {digest8} the first
	// eight digits of its digest. A backup tag is never moved.
	BackupTag string `env:"BACKUP_TAG, default={version}-replaced-{digest8}"`
	// Tags in the target that follow the newest version, separated by commas, such as `latest,{major},{major}.{minor}`.
	// They are moved after the version's own tag and forward only, never from a newer version to an older one, nor from
	// an image that no version's tag holds.
	FloatingTags []string `env:"FLOATING_TAGS"`
	// Have a pre-release, such as 1.0-rc.3, move FLOATING_TAGS too.
	FloatingPreReleases bool `env:"FLOATING_PRERELEASES"`
	// Gates are the rules that an image must pass.
	Gates `env:""`
	// Bring back the image that the target's tag held before a forced promotion, if the tag still holds what that wrote.
	// The promotion's record says what it was, and the tag under which it is kept must still hold it. The image that goes
	// is kept under BACKUP_TAG.
	Undo bool `env:"UNDO"`
	// Find out what would be done, up to and including the gates, and print it. Nothing is written to a registry, and
	// there are no results.
	DryRun bool `env:"DRY_RUN"`
	// With DRY_RUN: file for the plan (JSON); beside it, with the ending .md, it is written for people. Without DRY_RUN:
	// plan to carry out exactly. If anything is not as it was planned, nothing is written (exit status 3). A plan gives no
	// permission: all other variables are set as they were when it was made.
	PlanFile string `env:"PLAN_FILE"`
	// Attach a record to the image in the target, which says who promoted it, when, from where and why.
	Record bool `env:"RECORD, default=true"`
	// Records and their keys.
	Records recording.Records `env:""`
	// Environments, separated by commas, in which the image must have been verified before it is promoted: verify's
	// records must say so in the source registry, signed by one of RECORD_PUBLIC_KEY.
	RequireVerifiedIn []string `env:"REQUIRE_VERIFIED_IN"`
	// How long the image must have been right there, such as 24h: from the first record that says so, with none since
	// that says otherwise.
	MinSoak time.Duration `env:"MIN_SOAK"`

	plan     *plan             // PLAN_FILE's, when it is to be carried out
	asked    []order           // by orders
	patience registry.Patience // the default's zero value but in tests
}

// Validate returns all problems of the configuration.
func (c *Config) Validate() error {
	var problems []error
	add := func(variable string, err error) {
		if err != nil {
			problems = append(problems, step.Problem("%s: %w", variable, err))
		}
	}
	orders, err := c.orders()
	problems = append(problems, err)
	if c.Image == "" && (c.Images != "" || c.ImagesFile != "") {
		for variable, value := range map[string]string{"DIGEST": c.Digest, "FORCE_REPLACES": c.ForceReplaces} {
			if value != "" {
				problems = append(problems, step.Problem("%s is for one IMAGE, and a set of images is given", variable))
			}
		}
	}
	if c.ReleaseVersion != "" {
		add("RELEASE_VERSION", image.CheckTarget(c.ReleaseVersion))
	}
	for variable, digest := range map[string]string{"DIGEST": c.Digest, "FORCE_REPLACES": c.ForceReplaces} {
		if _, err := v1.NewHash(digest); digest != "" && err != nil {
			problems = append(problems, step.Problem("%s is not a digest (sha256: and 64 hexadecimal digits)", variable))
		}
	}
	if c.BackupTag != "" {
		add("BACKUP_TAG", image.Template(c.BackupTag).Check())
	}
	problems = append(problems, c.checkTemplates(), c.checkPlan(), c.checkUndo(orders))
	if c.Force && c.ForceReason == "" {
		problems = append(problems, step.Problem("FORCE_REASON is missing: FORCE is set"))
	}
	if len(c.ForceReason) > longestReason || !utf8.ValidString(c.ForceReason) || strings.ContainsFunc(c.ForceReason, endsLine) {
		problems = append(problems, step.Problem("FORCE_REASON is more than one line of plain text, or has more than %d bytes", longestReason))
	}
	problems = append(problems, c.Gates.validate(), c.validateRecords(), c.Source.Validate("SOURCE_"), c.Target.Validate("TARGET_"))
	return errors.Join(problems...)
}

// longestReason is half of what a plan may hold, since known secrets in it are replaced by what may be longer.
const longestReason = longestText / 2

func endsLine(r rune) bool { return unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp) }

func (c *Config) checkPlan() (err error) {
	switch {
	case c.PlanFile == "":
	case strings.HasSuffix(c.PlanFile, ".md"):
		return step.Problem("PLAN_FILE ends in .md: it holds JSON, and the Markdown is written beside it")
	case !c.DryRun:
		c.plan, err = readPlan(c.PlanFile)
	}
	return err
}

func (c *Config) checkUndo(orders []order) error {
	var problems []error
	if !c.Undo {
		return nil
	}
	for variable, set := range map[string]bool{
		"DIGEST": c.Digest != "", "FORCE": c.Force, "FORCE_REPLACES": c.ForceReplaces != "",
		"@sha256:… in IMAGES": c.Image == "" && slices.ContainsFunc(orders, func(o order) bool { return o.digest != "" }),
	} {
		if set {
			problems = append(problems, step.Problem("%s and UNDO are both set: the record alone says what is brought back", variable))
		}
	}
	return errors.Join(problems...)
}
