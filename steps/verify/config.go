package verify

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dockline/pkg/image"
	"dockline/pkg/step"
	"dockline/steps/environment"
	"dockline/steps/recording"
)

// Config is what verify is told by its environment.
type Config struct {
	environment.Settings `env:""`

	// Image that the environment must run, CODE/NAME:VERSION: whatever REGISTRY holds under it at the start. With none of
	// EXPECT_IMAGE, EXPECT_DIGEST, EXPECT_COMPARED, EXPECT_RETAGGED and URL the environment is only described.
	ExpectImage string `env:"EXPECT_IMAGE"`
	// Digest (sha256:…) that the environment must run. With EXPECT_IMAGE, REGISTRY must hold this very digest under it.
	ExpectDigest string `env:"EXPECT_DIGEST"`
	// Registry that EXPECT_IMAGE is looked up in. When it is the one that the tag was imported from, it is also checked
	// that the version was not moved there since.
	Registry step.Registry `env:""`
	// Address of the service, such as its Route's: http://hello-app-prod.apps.example.com/. It must answer as
	// EXPECT_STATUS and EXPECT_TEXT say. Reports and logs show it without its parameters (?…).
	URL string `env:"URL"`
	// HTTP status that URL must answer.
	ExpectStatus int `env:"EXPECT_STATUS, default=200"`
	// Text that the page at URL must hold, such as the version.
	ExpectText string `env:"EXPECT_TEXT"`
	// Another environment of the same cluster to compare with, NAMESPACE/STREAM:TAG: the report says whether this one runs
	// the same image, or is ahead of it or behind. By itself that is no part of the verdict.
	CompareWith string `env:"COMPARE_WITH"`
	// How this environment must stand to COMPARE_WITH: `same`, `ahead`, `behind`, `same-or-ahead` or `same-or-behind`.
	ExpectCompared string `env:"EXPECT_COMPARED"`
	// Require that it was retag that pointed the tag at what it points at: a tag that was moved by hand is wrong then, whatever
	// image it means.
	ExpectRetagged bool `env:"EXPECT_RETAGGED"`
	// How long to wait until all is right. Unset judges at once, without waiting.
	Timeout time.Duration `env:"TIMEOUT"`
	// Folder for the reports verify.html and verify.md (for people), verify.xml (JUnit) and verify.json.
	ReportDir string `env:"REPORT_DIR"`
	// Name of the environment in records, by which promote's REQUIRE_VERIFIED_IN asks for it.
	Environment string `env:"ENVIRONMENT" ci:"CI_ENVIRONMENT_NAME"`
	// Records and their keys. With RECORD_KEY the verdict is attached to the image in REGISTRY, for which its account
	// must be allowed to push there.
	Records recording.Records `env:""`
	// Cluster that the environment is on.
	Cluster step.Cluster `env:""`
}

// Validate returns all problems of the configuration.
func (c *Config) Validate() error {
	problems := []error{
		c.Settings.Validate(),
		environment.CheckDigest("EXPECT_DIGEST", c.ExpectDigest),
		c.Cluster.Validate(),
	}
	if c.ExpectImage != "" {
		if _, err := image.Parse(c.ExpectImage); err != nil {
			problems = append(problems, step.Problem("EXPECT_IMAGE: %w", err))
		}
	}
	if c.ExpectImage != "" || c.Registry.Address != "" {
		problems = append(problems, c.Registry.Validate(""))
	}
	if c.URL != "" {
		switch address, err := url.Parse(c.URL); {
		case err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https":
			problems = append(problems, step.Problem("URL is no address that begins with http:// or https://"))
		case address.User != nil:
			problems = append(problems, step.Problem("URL holds an account, which would show in the reports: a page that wants one cannot be checked"))
		}
	} else if c.ExpectText != "" {
		problems = append(problems, step.Problem("URL is missing: EXPECT_TEXT is set"))
	}
	problems = append(problems, c.validateRecords(), c.validateCompared())
	for _, variable := range []struct {
		name string
		set  bool
	}{{"COMPARE_WITH", c.CompareWith != ""}, {"EXPECT_RETAGGED", c.ExpectRetagged}} {
		if variable.set && c.Workloads != "" {
			problems = append(problems, step.Problem("%s is set: it is about image streams, and does not go with WORKLOADS", variable.name))
		}
	}
	if http.StatusText(c.ExpectStatus) == "" {
		problems = append(problems, step.Problem("EXPECT_STATUS: %d is no HTTP status", c.ExpectStatus))
	}
	if c.Timeout < 0 {
		problems = append(problems, step.Problem("TIMEOUT: %s is no time to wait", fmt.Sprint(c.Timeout)))
	}
	return errors.Join(problems...)
}

// validateRecords returns what is wrong with the variables about records. A run that judges nothing records nothing.
func (c *Config) validateRecords() error {
	problems := []error{c.Records.Validate()}
	if c.Records.Key != "" && c.judges() {
		if c.Environment == "" {
			problems = append(problems, step.Problem("ENVIRONMENT is missing: RECORD_KEY is set"))
		}
		if c.Registry.Address == "" && c.ExpectImage == "" {
			problems = append(problems, step.Problem("REGISTRY is missing: RECORD_KEY is set, and the record is attached to the image there"))
		}
	}
	return errors.Join(problems...)
}

// shownURL returns URL without its parameters, which may hold a token.
func (c *Config) shownURL() string {
	address, _, _ := strings.Cut(c.URL, "?")
	return address
}

// judges tells whether something is expected.
func (c *Config) judges() bool {
	return c.ExpectImage != "" || c.ExpectDigest != "" || c.ExpectCompared != "" || c.ExpectRetagged || c.URL != ""
}
