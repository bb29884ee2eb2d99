package clonebuildpush

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime/debug"
	"slices"

	"dockline/pkg/buildcontext"
	"dockline/pkg/dockerfile"
	"dockline/pkg/fault"
	"dockline/pkg/provenance"
	"dockline/pkg/record"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// reuseUnchanged is the one value of REUSE.
const reuseUnchanged = "unchanged"

// The labels of an image that may be reused, by which the tag that leads to it is checked: a tag can be moved, and what
// the image says of itself cannot be changed without making it another one. Whoever may push could push an image that
// says anything.
const (
	labelKey     = "com.example.dockline.build-key" // of all that it was built from
	labelSources = "com.example.dockline.sources"   // digest of the context and the Dockerfile: the commit's own part
)

// keyTag is the tag by which an image is found that was built from the same.
func keyTag(key string) string { return "build-" + key }

// ingredients are what decides which image a build makes, as far as a cache of layers would say so: what a RUN downloads
// is not among them. Nor are the commit, its time and the version, which the image says of itself, and the values of
// build secrets. What is asked for beside the image is among them: an image without it would not do.
type ingredients struct {
	Builder      []string          `json:"builder"` // versions
	Sources      string            `json:"sources"`
	Dockerfile   []byte            `json:"dockerfile"` // as it is built
	BuildArgs    map[string]string `json:"buildArgs"`
	Target       string            `json:"target"`
	Platforms    []string          `json:"platforms"`
	Index        bool              `json:"index"`   // whether it is one, be it of one platform
	Images       map[string]string `json:"images"`  // digests
	Secrets      []string          `json:"secrets"` // names
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	MediaTypes   string            `json:"mediaTypes,omitempty"`
	Reproducible bool              `json:"reproducible"`
	Provenance   bool              `json:"provenance"`
	SBOM         bool              `json:"sbom"`
}

// validateReuse returns what is wrong with REUSE.
func (c *Config) validateReuse() []error {
	switch {
	case c.Reuse == "":
		return nil
	case c.Reuse != reuseUnchanged:
		return []error{step.Problem("REUSE: %q is not %s", c.Reuse, reuseUnchanged)}
	case c.KeepGitDir:
		return []error{step.Problem("REUSE and KEEP_GIT_DIR are both set: .git is another with every commit, so that nothing is ever unchanged")}
	case c.Phase == phaseIndex:
		return []error{step.Problem("REUSE is set, and PHASE=index builds nothing")}
	case c.Phase != phaseClone && c.believesSome() && !c.Provenance:
		return []error{step.Problem("PROVENANCE is missing: RECORD_PUBLIC_KEY is set, so that REUSE takes no image without it")}
	case c.does(phasePush) && c.believesSome() && c.Records.Key == "":
		return []error{step.Problem("RECORD_KEY is missing: RECORD_PUBLIC_KEY is set, so that REUSE takes no image whose provenance is not signed")}
	}
	return nil
}

// believesSome tells whether an image is reused only when its provenance is signed by a key that is known.
func (c *Config) believesSome() bool {
	return c.Records.PublicKey != "" || c.Records.PublicKeyFile != ""
}

// key is 64 hexadecimal digits that no other ingredients have.
func (i ingredients) key() (string, error) {
	text, err := json.Marshal(i) // whose maps are sorted
	if err != nil {
		return "", fmt.Errorf("making the build's key: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// builders are the versions of what builds. Another one may build the same Dockerfile in another way. Of another executor
// it is its file.
func builders(executor string) ([]string, error) {
	versions := []string{"dockline " + step.Version()}
	if version := kanikoVersion(); version != "" {
		versions = append(versions, "kaniko "+version)
	}
	if executor == "" {
		return versions, nil
	}
	content, err := os.Open(executor)
	if err != nil {
		return nil, step.Problem("KANIKO_EXECUTOR: %w", err)
	}
	defer content.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, content); err != nil {
		return nil, step.Problem("KANIKO_EXECUTOR: %w", err)
	}
	return append(versions, "executor sha256:"+hex.EncodeToString(sum.Sum(nil))), nil
}

// kanikoVersion is that of the module that is linked; "" where the program does not know.
func kanikoVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, module := range info.Deps {
		if module.Path == "github.com/osscontainertools/kaniko" {
			return module.Version
		}
	}
	return ""
}

// sources returns the digest of what the commit gives to a build: the context as .dockerignore leaves it, and the
// Dockerfile, which may be left out of it.
func (r *runner) sources(ctx context.Context, from source) (string, error) {
	contextDir, err := inside(from.Dir, r.ContextDir)
	if err != nil {
		return "", err
	}
	text, err := dockerfile.Read(contextDir, r.Dockerfile)
	if err != nil {
		return "", err
	}
	ignore, err := readIgnore(contextDir, r.Dockerfile)
	if err != nil {
		return "", err
	}
	digest, err := buildcontext.Digest(ctx, contextDir, ignore, r.excluded()...)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(digest+"\n"), text...))
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}

// setKey finds out the key of a build, and has its images say it. A build that takes in what may be another one tomorrow
// has none.
func (r *runner) setKey(ctx context.Context, rt *step.Runtime, ready *prepared, from source) error {
	if len(ready.remotes) > 0 {
		rt.Log.Warn().Strs("added", ready.remotes).
			Msg("REUSE: what is added from elsewhere without a checksum may be another one today: it is built")
		return nil
	}
	sources, err := r.sources(ctx, from)
	if err != nil {
		return err
	}
	first := ready.requests[0]
	own, err := pairs(r.Labels)
	if err != nil {
		return step.Problem("LABELS: %w", err)
	}
	for _, label := range []string{labelSource, labelTitle} {
		own[label] = first.Labels[label]
	}
	images := map[string]string{}
	for _, one := range ready.images {
		images[one.Name] = one.Digest
	}
	builder, err := builders(r.KanikoExecutor)
	if err != nil {
		return err
	}
	what := ingredients{
		Builder: builder, Sources: sources, Dockerfile: first.Dockerfile, BuildArgs: first.BuildArgs,
		Target: first.Target, Index: ready.index, Images: images, Secrets: slices.Sorted(maps.Keys(first.Secrets)),
		Labels: own, Annotations: first.Annotations, MediaTypes: first.MediaTypes, Reproducible: r.Reproducible, Provenance: r.Provenance, SBOM: r.SBOM,
	}
	for _, one := range ready.requests {
		what.Platforms = append(what.Platforms, orOwnPlatform(one.Platform))
	}
	if ready.key, err = what.key(); err != nil {
		return err
	}
	for i := range ready.requests {
		ready.requests[i].Labels[labelKey], ready.requests[i].Labels[labelSources] = ready.key, sources
	}
	return nil
}

// findUnchanged looks for an image that was built from the same; nil when there is none. A tag that leads to an image
// which does not say so was moved, and the image is built.
func (r *runner) findUnchanged(
	ctx context.Context, rt *step.Runtime, target *registry.Repository, key string,
) (*found, error) {
	manifest, present, err := target.Lookup(ctx, keyTag(key))
	if err != nil || !present {
		return nil, err
	}
	facts, err := target.Inspect(ctx, manifest)
	if err != nil {
		return nil, fmt.Errorf("reading what %q was built from: %w", target.Reference(keyTag(key)), err)
	}
	if facts.Labels[labelKey] != key || !covers(facts.Platforms, r.platforms()) {
		rt.Log.Warn().Str("tag", keyTag(key)).Str("digest", manifest.Digest.String()).
			Msg("REUSE: somebody else wrote this tag: the image does not say that it was built from the same, and is not taken")
		return nil, nil
	}
	if r.believesSome() {
		vouched, err := r.vouched(ctx, target, manifest, key)
		if err != nil {
			return nil, err
		}
		if !vouched {
			rt.Log.Warn().Str("tag", keyTag(key)).Str("digest", manifest.Digest.String()).
				Msg("REUSE: no key of RECORD_PUBLIC_KEY has signed that this image was built from the same: it is not taken")
			return nil, nil
		}
	}
	return &found{manifest, reusedUnchanged, facts.Revision()}, nil
}

// vouched tells whether provenance that a known key signed says that the image was built from the same.
func (r *runner) vouched(ctx context.Context, target *registry.Repository, image registry.Manifest, key string) (bool, error) {
	signed, err := record.Attested(ctx, target, image.Digest, provenance.Type, r.Records.Known())
	if err != nil {
		return false, fmt.Errorf("reading the provenance of %q: %w", target.Reference(image.Digest.String()), err)
	}
	for _, one := range signed {
		var said provenance.Predicate
		if json.Unmarshal(one, &said) == nil && said.BuildDefinition.BuildType == provenance.BuildType &&
			said.BuildDefinition.InternalParameters.BuildKey == key {
			return true, nil
		}
	}
	return false, nil
}

// checkRevision makes sure that the image under a commit's tag says that it was built from that commit, or from the very
// same sources. This finds a tag that was moved by mistake; whoever may push could push an image that says anything.
func (r *runner) checkRevision(
	ctx context.Context, target *registry.Repository, held registry.Manifest, facts registry.Facts, what plan, from source,
) error {
	own, err := r.isOf(ctx, facts, from)
	if err != nil || own {
		return err
	}
	return fault.WithHint(fault.At(side, fault.New(fault.Refused,
		"taking the image of this commit: %q holds %s, which says that it was built from %q", target.Reference(what.CommitTag),
		held.Digest, facts.Revision())), "somebody else wrote that tag: remove it, and the commit is built again")
}

// isOf tells whether an image says that it was built from this commit, or from the very same sources.
func (r *runner) isOf(ctx context.Context, facts registry.Facts, from source) (bool, error) {
	told := facts.Labels[labelSources] // of one that was reused, perhaps
	if facts.Revision() == from.Hash || told == "" {
		return facts.Revision() == from.Hash, nil
	}
	own, err := r.sources(ctx, from)
	return err == nil && own == told, err
}
