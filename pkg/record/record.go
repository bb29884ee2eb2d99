// Package record makes and reads what is known about an image beside the image itself: who promoted it from where to
// where, and in which environment it was verified. A record is an in-toto statement, bare or signed (DSSE), which a
// registry holds as a referrer of the image (distribution specification, "Listing Referrers"): the image's own manifest
// never changes.
//
// Whoever may write to a repository can attach a record to an image in it. So a record that is not signed by a key that
// the reader knows is a note and no proof; and a promotion that is recorded has only happened while the tag that it
// names resolves to the image that it is about.
package record

import (
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
)

// The types of what a statement says of its subject, as in-toto's predicateType. Why this host: docs/decisions/0008.
const (
	PromotionType    = "https://dockline.example.com/promotion/v1"
	VerificationType = "https://dockline.example.com/verification/v1"
)

// Record is one statement about one image. Exactly one of Promotion and Verification is set.
type Record struct {
	Image        string  // CODE/NAME, the same in every registry: in-toto's subject
	Digest       v1.Hash // of the image or index; sha256
	Promotion    *Promotion
	Verification *Verification
}

// Promotion says that a tag was given to the image.
type Promotion struct {
	Kind     string    `json:"promotion"`          // one of the kinds below
	From     string    `json:"from"`               // HOST/NAME:VERSION or HOST/NAME@DIGEST
	To       string    `json:"to"`                 // HOST/NAME:VERSION
	Digest   string    `json:"digest"`             // the image's, again: in-toto's subject is what counts
	Replaced string    `json:"replaced,omitempty"` // digest of the image that the tag held
	Backup   string    `json:"backup,omitempty"`   // HOST/NAME:TAG where that image is kept
	Reason   string    `json:"reason,omitempty"`   // why it was replaced
	Person   string    `json:"person,omitempty"`
	Time     time.Time `json:"time"`               // of the decision; UTC, to the second
	Pipeline string    `json:"pipeline,omitempty"` // address of the run that did it
	Tool     string    `json:"tool"`               // program and version
}

// The kinds of promotion.
const (
	Copied = "copied" // the tag was absent
	Same   = "same"   // the tag held the image already, and no record said so
	Forced = "forced" // the tag held another image, which was replaced
	Undone = "undone" // an image that had been replaced was brought back
)

// Verification says what an environment that is to run the image was found to be.
type Verification struct {
	Environment string    `json:"environment"`    // its name: "staging"
	Verdict     string    `json:"verdict"`        // Right or Wrong
	Digest      string    `json:"digest"`         // as of Promotion
	Time        time.Time `json:"time"`           // of the verdict; UTC, to the second
	Since       time.Time `json:"since,omitzero"` // when it was pointed at the image, by its own word; of Left, at another
	URL         string    `json:"url,omitempty"`
	Person      string    `json:"person,omitempty"`
	Pipeline    string    `json:"pipeline,omitempty"`
	Tool        string    `json:"tool"`
}

// The verdicts.
const (
	Right = "right" // the environment runs the image, and all that was checked is as it should be
	Wrong = "wrong" // it does not, or something is not as it should be
	Left  = "left"  // it was right, and runs another image now
)

// Type returns the record's predicate type.
func (r Record) Type() string {
	if r.Verification != nil {
		return VerificationType
	}
	return PromotionType
}

// Time returns when what the record says was so.
func (r Record) Time() time.Time {
	if r.Verification != nil {
		return r.Verification.Time
	}
	return r.Promotion.Time
}

// check returns what keeps the record from being one.
func (r Record) check() error {
	wrong := func(format string, args ...any) error {
		return fault.New(fault.Refused, "reading a record: "+format, args...)
	}
	if r.Image == "" {
		return wrong("it names no image")
	}
	if r.Digest.Algorithm != "sha256" || !isDigest(r.Digest.String()) {
		return wrong("its subject has no sha256 digest")
	}
	switch p, v := r.Promotion, r.Verification; {
	case p != nil && v == nil:
		switch {
		case p.Kind != Copied && p.Kind != Same && p.Kind != Forced && p.Kind != Undone:
			return wrong("%q is no kind of promotion", shortened(p.Kind))
		case p.To == "":
			return wrong("it does not say what was promoted to")
		case p.Digest != r.Digest.String():
			return wrong("it is about one digest, and speaks of another")
		case p.Replaced != "" && !isDigest(p.Replaced):
			return wrong("what was replaced is no digest")
		case p.Time.IsZero():
			return wrong("it has no date")
		}
	case v != nil && p == nil:
		switch {
		case v.Verdict != Right && v.Verdict != Wrong && v.Verdict != Left:
			return wrong("%q is no verdict", shortened(v.Verdict))
		case v.Environment == "":
			return wrong("it names no environment")
		case v.Digest != r.Digest.String():
			return wrong("it is about one digest, and speaks of another")
		case v.Time.IsZero():
			return wrong("it has no date")
		}
	default:
		return wrong("it is neither of a promotion nor of a verification")
	}
	return nil
}

func isDigest(text string) bool {
	_, err := v1.NewHash(text)
	return err == nil
}

// shortened keeps a text that somebody else wrote from filling an error; %q does the rest.
func shortened(text string) string {
	if len(text) > 60 {
		return text[:60] + "…"
	}
	return text
}
