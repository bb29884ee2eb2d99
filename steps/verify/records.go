package verify

import (
	"context"
	"fmt"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/record"
	"dockline/pkg/registry"
)

// Promotion is what the newest record says of how the version came into the registry, and who stands for it.
type Promotion struct {
	record.Promotion
	Key     string `json:"signedBy,omitempty"` // identity of the key; empty unless it is one of RECORD_PUBLIC_KEY
	Foreign bool   `json:"signedByAnother"`    // signed, and by none of these
}

// String tells it on one line.
func (p *Promotion) String() string {
	text := p.Kind + " from " + p.From
	if p.Person != "" {
		text += " by " + p.Person
	}
	text += " at " + p.Time.UTC().Format(time.RFC3339)
	if p.Reason != "" {
		text += fmt.Sprintf(" (%s)", p.Reason)
	}
	switch {
	case p.Key != "":
		return text + ", signed by " + p.Key
	case p.Foreign:
		return text + ", signed by a key that is not known here"
	}
	return text + ", unsigned"
}

// place is an image in REGISTRY that records are attached to.
type place struct {
	in      *registry.Repository
	name    string // CODE/NAME
	version string // may be empty
	digest  string
}

// judged returns the image that the verdict is about, as far as it is in REGISTRY: the one that is expected, else the
// one that the environment runs.
func (r *run) judged() (place, bool) {
	at := place{digest: r.wanted}
	if at.digest == "" {
		at.digest = r.report.Digest
	}
	switch {
	case r.repository != nil:
		parsed, err := image.Parse(r.ExpectImage)
		if err != nil {
			return at, false
		}
		at.in, at.name, at.version = r.repository, parsed.Name, parsed.Version
	case r.registry != nil:
		at.in, at.version = r.sourceOf(r.report.TaggedFrom)
		at.name = r.nameOf(r.report.TaggedFrom)
	}
	return at, at.in != nil && at.digest != ""
}

// readPromotion looks for the record of the promotion of the version that the environment is to run, for the report. It
// counts only while the version is the image that it is about. That it cannot be read changes no verdict.
func (r *run) readPromotion(ctx context.Context) {
	at, ok := r.judged()
	if !ok || at.version == "" || r.report.failed("registry") {
		return
	}
	digest, err := v1.NewHash(at.digest)
	if err != nil {
		return
	}
	records, err := record.Promotions(ctx, at.in, digest, r.Records.Known())
	if err != nil {
		r.rt.Log.Warn().Err(err).Msg("the records of the promotion cannot be read")
		return
	}
	if last, err := record.Last(records, at.in.Reference(at.version), false, time.Now()); err == nil {
		r.report.Promotion = &Promotion{Promotion: *last.Promotion, Key: last.Key, Foreign: last.Foreign}
	}
}

// recordVerdict attaches the verdict to the image that it is about, signed, for gates to read. What is known already is
// not written again: the soak is counted from the first record that says so. A wrong verdict is recorded too, which ends
// the soak. So is, where the verdict is right, that the environment has left the images that it ran before.
func (r *run) recordVerdict(ctx context.Context) error {
	verdict := r.report.Verdict
	if r.Records.Signer() == nil || verdict != right && verdict != wrong {
		return nil
	}
	at, ok := r.judged()
	if !ok {
		return fault.WithHint(fault.New(fault.Refused, "recording the verdict %q: the image that it is about is not in REGISTRY", verdict),
			"set REGISTRY to the registry that the tag is imported from, or EXPECT_IMAGE")
	}
	said := record.Verification{Verdict: verdict, Since: r.report.since(), URL: r.rt.Masked(r.shownURL())}
	written, err := r.say(ctx, at, said)
	if err == nil && verdict == right {
		err = r.recordLeft(ctx, at)
	}
	if err != nil {
		return fmt.Errorf("recording the verdict %q: %w", verdict, err)
	}
	r.report.Record = written
	return nil
}

// recordLeft says of the images that the environment ran before, and was right with, that it has left them: their soak
// is over. What is not in the registry any more cannot be promoted from there either.
func (r *run) recordLeft(ctx context.Context, now place) error {
	seen := map[string]bool{now.digest: true, r.report.Digest: true}
	for i, item := range r.report.History {
		if i == 0 || seen[item.Digest] {
			continue
		}
		seen[item.Digest] = true
		at := place{name: r.nameOf(item.Reference), digest: item.Digest}
		if at.in, _ = r.sourceOf(item.Reference); at.in == nil {
			continue
		}
		_, err := r.say(ctx, at, record.Verification{Verdict: record.Left, Since: r.report.History[i-1].Since})
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return err
		}
	}
	return nil
}

// say attaches what is said of an image, unless that is what its records come to already. It returns the reference of
// the record that it wrote, if any.
func (r *run) say(ctx context.Context, at place, said record.Verification) (written string, err error) {
	subject, err := at.in.Resolve(ctx, at.digest)
	if err != nil {
		return "", err
	}
	signer := r.Records.Signer()
	known, err := record.Verifications(ctx, at.in, subject.Digest, signer.Public())
	if err != nil {
		return "", err
	}
	switch now := record.StandingIn(known, at.name, r.Environment); {
	case said.Verdict == record.Left && now.Verdict != record.Right:
		return "", nil
	case said.Verdict == now.Verdict && (said.Verdict != record.Right || !said.Since.After(now.Since)):
		r.rt.Log.Info().Msgf("recorded already: %s in %q since %s", now.Verdict, r.Environment, now.Since.UTC().Format(time.RFC3339))
		return "", nil
	}
	run := r.Records.Run(r.rt, "verify")
	said.Environment, said.Digest = r.Environment, subject.Digest.String()
	said.Time, said.Person, said.Pipeline, said.Tool = run.Time, run.Person, run.Pipeline, run.Tool
	made, err := record.Record{Image: at.name, Digest: subject.Digest, Verification: &said}.Artifact(subject, signer)
	if err != nil {
		return "", err
	}
	if err := made.Upload(ctx, at.in); err != nil {
		return "", err
	}
	if err := made.Attach(ctx, at.in); err != nil {
		return "", err
	}
	r.rt.Log.Info().Str("record", made.Reference(at.in)).Msgf("recorded: %s in %q", said.Verdict, r.Environment)
	return made.Reference(at.in), nil
}

// since returns when the environment was pointed at what it runs; zero where it does not say.
func (r Report) since() time.Time {
	if len(r.History) == 0 {
		return time.Time{}
	}
	return r.History[0].Since
}

// failed tells whether a check of this name was made, and failed.
func (r Report) failed(name string) bool {
	for _, check := range r.Checks {
		if check.Name == name && check.Status == failed {
			return true
		}
	}
	return false
}
