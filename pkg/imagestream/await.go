package imagestream

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
)

// AwaitImport waits until the cluster has imported the spec that [Client.Move] wrote, or a later one of the same
// reference, and returns the tag.
//
// A failed import is an error of the kind that its reason calls for. That the tag was pointed elsewhere, or removed,
// in the meantime is an error of kind fault.Wrong.
func (c *Client) AwaitImport(ctx context.Context, name Name, generation int64, from From) (imported Tag, err error) {
	err = c.cluster.Await(ctx, Streams, c.namespace, name.Stream, func(object *unstructured.Unstructured) (bool, error) {
		stream, err := decode(object)
		if err != nil {
			return false, err
		}
		tag, found := stream.Tag(name.Tag)
		switch {
		case !found || (tag.spec == nil):
			return false, fault.At(cluster.Side, fault.New(fault.Wrong,
				"importing %s: somebody else removed the tag in the meantime", name))
		case tag.Generation < generation:
			return false, nil // a state from before the move
		case tag.From.Kind != from.Kind || tag.From.Name != from.Name:
			return false, fault.At(cluster.Side, fault.New(fault.Wrong,
				"importing %s: somebody else pointed the tag at %q in the meantime, away from %q", name, tag.From.Name, from.Name))
		case !tag.Settled():
			return false, nil
		}
		imported = tag
		if tag.Failure != nil {
			return false, tag.Failure.err(fmt.Sprintf("importing %q into %s", from.Name, name))
		}
		return true, nil
	})
	return imported, err
}

// err returns the failure as an error whose kind follows from its reason.
func (f *Failure) err(doing string) error {
	kind := fault.Unexpected
	switch f.Reason {
	case "NotFound":
		kind = fault.NotFound
	case "Unauthorized", "Forbidden":
		kind = fault.Denied
	case "InternalError", "Timeout", "ServerTimeout", "TooManyRequests", "ServiceUnavailable":
		kind = fault.Unavailable
	case "Invalid", "BadRequest":
		kind = fault.Configuration
	}
	return fault.At(cluster.Side, fault.New(kind, "%s: the cluster says %s: %s", doing, f.Reason, f.Message))
}
