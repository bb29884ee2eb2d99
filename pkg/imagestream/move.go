package imagestream

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
)

// Change says what a tag should become. What it leaves out stays as it is on the tag; on a new tag the cluster's own
// defaults count.
type Change struct {
	From            From
	Scheduled       *bool
	Insecure        *bool
	ImportMode      string
	ReferencePolicy string
	Annotations     map[string]string // added to the tag's; an empty value removes one
}

// mostMoves bounds how often a move is tried anew because other tags of the stream keep changing.
const mostMoves = 20

// Move points a tag at another image, provided that the tag is still as it was in seen (nil: there was no stream), and
// returns the generation of the new spec, for [Client.AwaitImport]. A stream or tag that is missing is made.
//
// It is one PUT of the ImageStreamTag with the stream's resource version. That version covers all tags: when it is
// stale, the stream is read again, and the move goes on only if this tag is unchanged; otherwise the error is of kind
// fault.Refused.
func (c *Client) Move(ctx context.Context, seen *Stream, name Name, change Change) (generation int64, err error) {
	before, _ := seen.Tag(name.Tag)
	now := seen
	for range mostMoves {
		tag, _ := now.Tag(name.Tag)
		wanted := change.apply(name, tag)
		stored, err := c.write(ctx, now, name, wanted)
		if err == nil {
			generation, _, _ = unstructured.NestedInt64(stored.Object, "tag", "generation")
			return generation, nil
		}
		// A stream that was removed since the read is answered by 404.
		removed := now != nil && fault.KindOf(err) == fault.NotFound
		if !removed && !errors.Is(err, cluster.ErrConflict) {
			return 0, fmt.Errorf("moving %s: %w", name, err)
		}
		if now, err = c.Find(ctx, name.Stream); err != nil {
			return 0, err
		}
		tag, _ = now.Tag(name.Tag)
		if tag.sameSpec(wanted) && tag.Generation > before.Generation {
			return tag.Generation, nil // an earlier try of ours arrived, only its answer was lost
		}
		if !tag.unchangedSince(before) {
			return 0, fault.At(cluster.Side, fault.New(fault.Refused,
				"moving %s: somebody else moved it in the meantime, from %s to %s", name, before, tag))
		}
	}
	return 0, fault.At(cluster.Side, fault.New(fault.Unavailable,
		"moving %s: other tags of the stream changed at each of %d tries", name, mostMoves))
}

// write sends the tag's spec: PUT where the stream exists (the tag need not), else POST.
func (c *Client) write(ctx context.Context, now *Stream, name Name, spec map[string]any) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": StreamTags.APIVersion(), "kind": StreamTags.Kind, "tag": spec,
	}}
	object.SetName(name.String())
	object.SetNamespace(c.namespace)
	// A PUT takes the tag's annotations from the object's metadata, a POST from the tag itself.
	if annotations, _, _ := unstructured.NestedStringMap(spec, "annotations"); len(annotations) > 0 {
		object.SetAnnotations(annotations)
	}
	if now == nil {
		return c.cluster.Create(ctx, StreamTags, c.namespace, object)
	}
	object.SetResourceVersion(now.ResourceVersion)
	return c.cluster.Update(ctx, StreamTags, c.namespace, object)
}

// apply returns the spec that tag has after the change.
func (change Change) apply(name Name, tag Tag) map[string]any {
	spec := runtime.DeepCopyJSON(tag.spec)
	if spec == nil {
		spec = map[string]any{}
	}
	spec["name"] = name.Tag
	spec["generation"] = int64(0) // asks for an import even where nothing else changed
	spec["from"] = map[string]any{"kind": change.From.Kind, "name": change.From.Name}
	delete(spec, "reference")

	policy, _, _ := unstructured.NestedMap(spec, "importPolicy")
	if policy == nil {
		policy = map[string]any{}
	}
	set(policy, "scheduled", change.Scheduled)
	set(policy, "insecure", change.Insecure)
	if change.From.Kind != DockerImage {
		delete(policy, "scheduled") // the API refuses to schedule what is not in a registry
	}
	if change.ImportMode != "" {
		policy["importMode"] = change.ImportMode
	}
	spec["importPolicy"] = policy
	if change.ReferencePolicy != "" {
		spec["referencePolicy"] = map[string]any{"type": change.ReferencePolicy}
	} else if _, found := spec["referencePolicy"]; !found {
		spec["referencePolicy"] = map[string]any{"type": "Source"}
	}

	delete(spec, "annotations")
	annotations := map[string]any{}
	for key, value := range tag.Annotations {
		annotations[key] = value
	}
	for key, value := range change.Annotations {
		if delete(annotations, key); value != "" {
			annotations[key] = value
		}
	}
	if len(annotations) > 0 {
		spec["annotations"] = annotations
	}
	return spec
}

func set(policy map[string]any, key string, value *bool) {
	if value != nil {
		policy[key] = *value
	}
}

// unchangedSince ignores generations: an import of the very same image raises them and changes nothing.
func (t Tag) unchangedSince(before Tag) bool {
	return t.From == before.From && t.Scheduled == before.Scheduled && t.Insecure == before.Insecure &&
		t.ImportMode == before.ImportMode && t.ReferencePolicy == before.ReferencePolicy &&
		t.ReferenceOnly == before.ReferenceOnly && maps.Equal(t.Annotations, before.Annotations) &&
		t.Digest() == before.Digest()
}

func (t Tag) sameSpec(wanted map[string]any) bool {
	kind, _, _ := unstructured.NestedString(wanted, "from", "kind")
	name, _, _ := unstructured.NestedString(wanted, "from", "name")
	scheduled, _, _ := unstructured.NestedBool(wanted, "importPolicy", "scheduled")
	insecure, _, _ := unstructured.NestedBool(wanted, "importPolicy", "insecure")
	mode, _, _ := unstructured.NestedString(wanted, "importPolicy", "importMode")
	return t.From.Kind == kind && t.From.Name == name && t.Scheduled == scheduled && t.Insecure == insecure &&
		(mode == "" || t.ImportMode == mode)
}

// String says what the tag points at and means, for error texts.
func (t Tag) String() string {
	switch {
	case t.spec == nil && len(t.History) == 0:
		return "nothing"
	case t.Digest() == "":
		return fmt.Sprintf("%q (not imported)", t.From.Name)
	default:
		return fmt.Sprintf("%q (%s)", t.From.Name, t.Digest())
	}
}

// The kinds of From.
const (
	DockerImage      = "DockerImage"
	ImageStreamImage = "ImageStreamImage"
)
