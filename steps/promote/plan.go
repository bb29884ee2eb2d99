package promote

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/step"
)

// plan is what DRY_RUN writes to PLAN_FILE: its form is documented in docs/promote.md. A field is only added or changed
// together with planVersion, since a reader refuses what it does not know.
type plan struct {
	Format  string         `json:"format"`  // planFormat
	Version int            `json:"version"` // planVersion
	Tool    string         `json:"tool"`    // that made it, and its version
	Created time.Time      `json:"created"`
	Source  string         `json:"source"` // registry, HOST[:PORT][/PREFIX]
	Target  string         `json:"target"`
	Images  []plannedImage `json:"images"` // in the order in which they were given
}

// plannedImage is what is to be done about one image. Revision, Built and Platforms are for people: the digest stands for
// them.
type plannedImage struct {
	From      string            `json:"from"`   // HOST/NAME:VERSION or HOST/NAME@DIGEST
	To        string            `json:"to"`     // HOST/NAME:VERSION
	Digest    string            `json:"digest"` // of the image
	Promotion Promotion         `json:"promotion"`
	Replaced  string            `json:"replaced,omitempty"` // digest of the image that the tag holds
	Backup    string            `json:"backup,omitempty"`   // HOST/NAME:TAG that is to keep it
	Reason    string            `json:"reason,omitempty"`
	Floating  []*floatingReport `json:"floating,omitempty"`
	Revision  string            `json:"revision,omitempty"`
	Built     string            `json:"built,omitempty"`
	Platforms []string          `json:"platforms,omitempty"`
}

const (
	planFormat  = "dockline-promotion-plan"
	planVersion = 1
	// largestPlan is more than mostImages of long names have, and mostParts more than they have of values: "[0,0,…" takes
	// a hundred times its size when it is read.
	largestPlan, mostParts = 4 << 20, 100_000
	// longestText bounds each text of a plan: names have 255 characters at most, a tag 128.
	longestText = 2000
)

// readPlan reads PLAN_FILE. What is not exactly a plan is a problem of the configuration.
func readPlan(path string) (*plan, error) {
	content, err := readPlanFile(path)
	if err != nil {
		return nil, step.Problem("PLAN_FILE: %w", err)
	}
	read, err := parsePlan(content)
	if err != nil {
		return nil, step.Problem("PLAN_FILE: reading the plan %q: %w", path, err)
	}
	return read, nil
}

// readPlanFile reads a file and nothing else: a pipe would never end, a device neither.
func readPlanFile(path string) ([]byte, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // the path is the user's setting
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%q is not a file", path)
	}
	content, err := io.ReadAll(io.LimitReader(file, largestPlan+1))
	switch {
	case err != nil:
		return nil, err
	case len(content) > largestPlan:
		return nil, fmt.Errorf("%q is larger than %d MiB", path, largestPlan>>20)
	}
	return content, nil
}

// parsePlan reads a plan strictly: one that says more than is understood here could mean something else.
func parsePlan(content []byte) (*plan, error) {
	var head struct {
		Format  string `json:"format"`
		Version int    `json:"version"`
	}
	if err := json.Unmarshal(content, &head); err != nil {
		return nil, fmt.Errorf("it is no whole JSON document: %w", err)
	}
	switch {
	case bytes.Count(content, []byte(",")) > mostParts:
		return nil, errors.New("it has more parts than any plan")
	case head.Format != planFormat:
		return nil, fmt.Errorf("it is not a plan: its format is not %q", planFormat)
	case head.Version != planVersion:
		return nil, fmt.Errorf("its version is %d, and %d is the one that is known here", head.Version, planVersion)
	}
	var read plan
	strict := json.NewDecoder(bytes.NewReader(content))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&read); err != nil {
		return nil, err
	}
	return &read, read.check()
}

// encode returns the plan as it is written, masked. One that would be refused when it is to be carried out is an error.
func (p *plan) encode(masked func(string) string) ([]byte, error) {
	content, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing PLAN_FILE: %w", err)
	}
	content = append([]byte(masked(string(content))), '\n')
	if len(content) > largestPlan {
		return nil, step.Problem("PLAN_FILE: the plan would be larger than %d MiB: plan fewer images at a time", largestPlan>>20)
	}
	if _, err := parsePlan(content); err != nil {
		return nil, step.Problem("PLAN_FILE: the plan could not be carried out: %w", err)
	}
	return content, nil
}

// check says what a plan of ours does not say.
func (p *plan) check() error {
	if len(p.Images) == 0 || len(p.Images) > mostImages {
		return fmt.Errorf("it has %d images, and 1 to %d make a plan", len(p.Images), mostImages)
	}
	targets := map[string]bool{}
	for i, one := range p.Images {
		if err := one.check(); err != nil {
			return fmt.Errorf("image %d: %w", i+1, err)
		}
		if targets[one.To] {
			return fmt.Errorf("image %d: %q is there twice", i+1, one.To)
		}
		targets[one.To] = true
	}
	return nil
}

func (i plannedImage) check() error {
	texts := append([]string{i.From, i.To, i.Digest, i.Replaced, i.Backup, i.Reason, i.Revision, i.Built}, i.Platforms...)
	digests := []string{i.Digest}
	if i.Replaced != "" {
		digests = append(digests, i.Replaced)
	}
	for _, one := range i.Floating {
		if one == nil {
			return errors.New("a floating tag is null")
		}
		texts = append(texts, one.Tag, one.Replaced, one.Version, string(one.State))
		if one.Replaced != "" {
			digests = append(digests, one.Replaced)
		}
	}
	for _, text := range texts {
		if len(text) > longestText || strings.ContainsFunc(text, unicode.IsControl) {
			return errors.New("a text in it is too long, or holds control characters")
		}
	}
	for _, digest := range digests {
		if _, err := v1.NewHash(digest); err != nil {
			return errors.New("a digest in it is none")
		}
	}
	switch {
	case i.From == "" || i.To == "":
		return errors.New("it does not say from where to where")
	case i.Promotion != Copied && i.Promotion != Same && i.Promotion != Forced && i.Promotion != Undone:
		return errors.New("its promotion is none that is known here")
	case (i.Promotion == Forced || i.Promotion == Undone) != (i.Replaced != ""):
		return errors.New("what it replaces does not fit its promotion")
	}
	return nil
}
