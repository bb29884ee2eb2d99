package recording

import (
	_ "embed"
	"errors"
	"io"
	"net/url"
	"os"

	"dockline/pkg/record"
	"dockline/pkg/step"
)

// Source is the Go source text of Records, for step.Program.
//
//go:embed settings.go
var Source string

// Records say who signs the records that a step writes, what they say of this run, and whose records it believes.
type Records struct {
	// Private key (PEM) that signs the records that this step writes: ECDSA, RSA or Ed25519, or one that cosign
	// generate-key-pair made.
	Key step.Secret `env:"RECORD_KEY"`
	// Password that RECORD_KEY is encrypted with.
	KeyPassword step.Secret `env:"RECORD_KEY_PASSWORD"`
	// Public keys (PEM, one after the other) whose records are believed.
	PublicKey string `env:"RECORD_PUBLIC_KEY"`
	// File with the public keys whose records are believed, instead of RECORD_PUBLIC_KEY.
	PublicKeyFile string `env:"RECORD_PUBLIC_KEY_FILE"`
	// Who started this run, for records.
	Person string `env:"PERSON" ci:"GITLAB_USER_LOGIN"`
	// Address of the page that shows this run, for records.
	PipelineURL string `env:"PIPELINE_URL" ci:"CI_PIPELINE_URL, CI_JOB_URL"`

	signer *record.Key // of Key, once validated; nil when there is none
	known  record.Keys // of PublicKey or PublicKeyFile
}

const (
	largestKeys   = 1 << 20
	longestPerson = 256
)

// Validate reads the keys, and returns all problems.
func (r *Records) Validate() error {
	var problems []error
	add := func(variable string, err error) {
		if err != nil {
			problems = append(problems, step.Problem("%s: %w", variable, err))
		}
	}
	var err error
	switch {
	case r.Key != "":
		r.signer, err = record.ReadKey([]byte(r.Key.Reveal()), r.KeyPassword.Reveal())
		add("RECORD_KEY", err)
	case r.KeyPassword != "":
		problems = append(problems, step.Problem("RECORD_KEY is missing: RECORD_KEY_PASSWORD is set"))
	}
	switch {
	case r.PublicKey != "" && r.PublicKeyFile != "":
		problems = append(problems, step.Problem("RECORD_PUBLIC_KEY and RECORD_PUBLIC_KEY_FILE are both set: set one of them"))
	case r.PublicKey != "":
		r.known, err = record.ReadKeys([]byte(r.PublicKey))
		add("RECORD_PUBLIC_KEY", err)
	case r.PublicKeyFile != "":
		r.known, err = readKeysFile(r.PublicKeyFile)
		add("RECORD_PUBLIC_KEY_FILE", err)
	}
	if len(r.Person) > longestPerson {
		problems = append(problems, step.Problem("PERSON has more than %d characters", longestPerson))
	}
	if r.PipelineURL != "" {
		if at, err := url.Parse(r.PipelineURL); err != nil || at.Host == "" || at.Scheme != "http" && at.Scheme != "https" {
			problems = append(problems, step.Problem("PIPELINE_URL is no address that begins with http:// or https://"))
		}
	}
	return errors.Join(problems...)
}

// Signer returns the key that signs what is written; nil when there is none.
func (r *Records) Signer() *record.Key { return r.signer }

// Known returns the keys whose records are believed; none when none is configured.
func (r *Records) Known() record.Keys { return r.known }

func readKeysFile(path string) (record.Keys, error) {
	file, err := os.Open(path) //nolint:gosec // the path is the user's setting
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, largestKeys+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > largestKeys:
		return nil, step.Problem("%q is larger than 1 MiB", path)
	}
	return record.ReadKeys(text)
}
