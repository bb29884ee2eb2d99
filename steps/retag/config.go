package retag

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"dockline/pkg/cluster"
	"dockline/pkg/image"
	"dockline/pkg/step"
	"dockline/pkg/workload"
	"dockline/steps/environment"
)

// Config is what retag is told by its environment.
type Config struct {
	environment.Settings `env:""`

	// Image that the tag is pointed at, CODE/NAME:VERSION. Not used with ROLLBACK.
	Image string `env:"IMAGE"`
	// Digest (sha256:…) that the image must have, such as promote's DESTINATION_DIGEST. Unset, the one that the registry
	// gives at the start. With ROLLBACK, the image of the tag's history to go back to.
	Digest string `env:"DIGEST"`
	// Registry that the cluster pulls the image from.
	Registry step.Registry `env:""`
	// Whether the cluster imports the tag anew from time to time, so that a patch under the same version arrives by
	// itself: true or false. Unset leaves it as it is on the tag.
	ImportScheduled string `env:"IMPORT_SCHEDULED"`
	// Whether the cluster may speak plain http or accept any certificate when it imports: true or false. Unset leaves it
	// as it is on the tag; on a new tag it is REGISTRY_INSECURE.
	ImportInsecure string `env:"IMPORT_INSECURE"`
	// Where pods pull from: Source (the registry) or Local (through the cluster's own). Unset leaves it as it is.
	ReferencePolicy string `env:"REFERENCE_POLICY"`
	// How an image for several platforms is imported: PreserveOriginal (all of it) or Legacy (one platform). Unset leaves
	// it as it is on the tag; on a new tag PreserveOriginal where the image has several platforms.
	ImportMode string `env:"IMPORT_MODE"`
	// Digest that the environment must run before anything is changed, such as an earlier run's CURRENT_DIGEST, or none
	// where it must be new. Otherwise nothing is changed (exit status 3). With WORKLOADS, each of their pod templates must
	// have it, or IMAGE already.
	ExpectCurrent string `env:"EXPECT_CURRENT"`
	// For a first deployment: make a Deployment that follows the tag, a Service and a Route, each only where it is
	// missing.
	CreateApp bool `env:"CREATE_APP"`
	// Name of what CREATE_APP makes. Unset means the stream's name.
	AppName string `env:"APP_NAME"`
	// Go back to the previous image of the tag's history (or to ROLLBACK_TO or DIGEST) instead of to IMAGE. A second run
	// does not go back further.
	Rollback bool `env:"ROLLBACK"`
	// With ROLLBACK, where to go back to instead: a version (`1.0`), a digest (its beginning is enough: sha256: and 12
	// digits), or an age (`2h`, `3d`: what the tag meant that long ago). Versions are known of the present image and of
	// those that retag has moved the tag away from; of several images that were that version, the newest counts that the
	// tag does not mean now. A second run changes nothing.
	RollbackTo string `env:"ROLLBACK_TO"`
	// Go back by itself to the image that the tag meant before, when the import or the rollout fails. The step then still
	// fails.
	RollbackOnFailure bool `env:"ROLLBACK_ON_FAILURE"`
	// With WORKLOADS: names of field managers that the image is taken over from, separated by commas, such as
	// kubectl-client-side-apply. While another one has set it, nothing is changed (exit status 3).
	TakeOverFrom []string `env:"TAKE_OVER_FROM"`
	// How long to wait for the import and the rollout, in all.
	Timeout time.Duration `env:"TIMEOUT, default=10m"`
	// Cluster that the environment is on.
	Cluster step.Cluster `env:""`

	// The defaults' zero values but in tests.
	calls    cluster.Patience
	watching workload.Patience
}

// Validate returns all problems of the configuration.
func (c *Config) Validate() error {
	problems := []error{
		c.Settings.Validate(), environment.CheckDigest("DIGEST", c.Digest), c.Cluster.Validate(),
		c.checkRollbackTo(),
	}
	if c.ExpectCurrent != none {
		problems = append(problems, environment.CheckDigest("EXPECT_CURRENT", c.ExpectCurrent))
	}
	switch {
	case c.Rollback && c.Image != "":
		problems = append(problems, step.Problem("IMAGE and ROLLBACK are both set: set one of them"))
	case c.Rollback && c.CreateApp:
		problems = append(problems, step.Problem("CREATE_APP and ROLLBACK are both set: set one of them"))
	case !c.Rollback && c.Image == "":
		problems = append(problems, step.Problem("IMAGE is missing"))
	case !c.Rollback:
		if _, err := image.Parse(c.Image); err != nil {
			problems = append(problems, step.Problem("IMAGE: %w", err))
		}
	}
	if !c.Rollback || c.Workloads != "" {
		problems = append(problems, c.Registry.Validate(""))
	}
	problems = append(problems, c.validateWorkloads())
	for _, choice := range []struct {
		name, value string
		allowed     []string
	}{
		{"IMPORT_SCHEDULED", c.ImportScheduled, []string{"true", "false"}},
		{"IMPORT_INSECURE", c.ImportInsecure, []string{"true", "false"}},
		{"REFERENCE_POLICY", c.ReferencePolicy, []string{"Source", "Local"}},
		{"IMPORT_MODE", c.ImportMode, []string{"PreserveOriginal", "Legacy"}},
	} {
		if choice.value != "" && !slices.Contains(choice.allowed, choice.value) {
			problems = append(problems, step.Problem("%s: %q is neither %s nor %s",
				choice.name, choice.value, choice.allowed[0], choice.allowed[1]))
		}
	}
	if c.Timeout <= 0 {
		problems = append(problems, step.Problem("TIMEOUT: %s is no time to wait", fmt.Sprint(c.Timeout)))
	}
	return errors.Join(problems...)
}

// none as EXPECT_CURRENT wants the environment to be new.
const none = "none"

// choice turns "true" and "false" into a pointer, and "" into nil.
func choice(text string) *bool {
	if text == "" {
		return nil
	}
	value := text == "true"
	return &value
}
