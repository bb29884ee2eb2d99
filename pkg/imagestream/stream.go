package imagestream

import (
	"context"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/image"
)

// Client reads and writes the image streams of one namespace.
type Client struct {
	cluster   *cluster.Cluster
	namespace string
	patience  cluster.Patience
}

// In returns a client for the image streams of a namespace.
func In(c *cluster.Cluster, namespace string) *Client {
	return &Client{cluster: c, namespace: namespace, patience: c.Patience()}
}

// Stream is one image stream.
type Stream struct {
	Namespace, Name string
	ResourceVersion string // what a compare-and-set compares; it covers the stream's every tag
	Created         time.Time
	Repository      string // the internal registry's HOST/NAMESPACE/STREAM; empty where there is none
	Tags            []Tag  // by name
}

// Tag is one tag of a stream: what it should be, and what the cluster made of it.
type Tag struct {
	Name            string
	From            From
	Generation      int64 // of the spec
	Scheduled       bool  // imported anew by the cluster from time to time
	Insecure        bool
	ReferenceOnly   bool   // never imported: pods get From as it is
	ImportMode      string // Legacy or PreserveOriginal
	ReferencePolicy string // Source or Local
	Annotations     map[string]string
	History         []Item   // newest first: the first is what the tag means now
	Failure         *Failure // why the latest import failed; nil when it did not, or is still under way

	spec map[string]any // as the API gave it, so that a write keeps what this package does not know; nil without a spec
}

// From is what a tag points at. Kind is DockerImage (Name is HOST/NAME:VERSION or HOST/NAME@DIGEST), ImageStreamImage
// (STREAM@DIGEST) or ImageStreamTag (STREAM:TAG, or TAG of the same stream).
type From struct {
	Kind      string `json:"kind"`
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
}

// Item is one image that the tag has meant.
type Item struct {
	Digest     string    `json:"image"`
	Reference  string    `json:"dockerImageReference"` // HOST/NAME@DIGEST
	Created    time.Time `json:"created"`              // since when the tag meant it
	Generation int64     `json:"generation"`
}

// Failure is a failed import in the cluster's words.
type Failure struct {
	Reason     string // NotFound, Unauthorized, InternalError (unreachable, TLS), …
	Message    string
	Since      time.Time
	Generation int64
}

// Get reads a stream. That it, or the namespace, is not there is an error of kind fault.NotFound.
func (c *Client) Get(ctx context.Context, stream string) (*Stream, error) {
	object, err := c.cluster.Get(ctx, Streams, c.namespace, stream)
	if err != nil {
		return nil, err
	}
	return decode(object)
}

// Find reads a stream, and returns nil where there is none.
func (c *Client) Find(ctx context.Context, stream string) (*Stream, error) {
	found, err := c.Get(ctx, stream)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil //nolint:nilnil // absence is an answer
	}
	return found, err
}

// Tag returns the tag of that name. The stream may be nil.
func (s *Stream) Tag(name string) (Tag, bool) {
	if s == nil {
		return Tag{}, false
	}
	i := slices.IndexFunc(s.Tags, func(t Tag) bool { return t.Name == name })
	if i < 0 {
		return Tag{}, false
	}
	return s.Tags[i], true
}

// Digest returns the digest of the image that the tag means now, or "".
func (t Tag) Digest() string {
	if len(t.History) == 0 {
		return ""
	}
	return t.History[0].Digest
}

// Repository returns HOST/NAME of the image that the tag means now, or "".
func (t Tag) Repository() string {
	if len(t.History) == 0 {
		return ""
	}
	repository, _, _ := image.SplitReference(t.History[0].Reference)
	return repository
}

// Previous returns the newest image of the history that differs from the present one.
func (t Tag) Previous() (Item, bool) {
	for _, item := range t.History {
		if item.Digest != t.Digest() {
			return item, true
		}
	}
	return Item{}, false
}

// Settled tells whether the cluster has done all that it will with the tag's present spec: imported it, or failed to.
// The rule is the import controller's: the newest generation among the image's and the condition's has reached the
// spec's.
func (t Tag) Settled() bool {
	if t.ReferenceOnly || t.spec == nil {
		return true
	}
	var seen int64
	if len(t.History) > 0 {
		seen = t.History[0].Generation
	}
	if t.Failure != nil {
		seen = max(seen, t.Failure.Generation)
	}
	return seen >= t.Generation
}

func decode(object *unstructured.Unstructured) (*Stream, error) {
	var fields struct {
		Spec struct {
			Tags []struct {
				Name         string            `json:"name"`
				Annotations  map[string]string `json:"annotations"`
				From         From              `json:"from"`
				Reference    bool              `json:"reference"`
				Generation   int64             `json:"generation"`
				ImportPolicy struct {
					Insecure   bool   `json:"insecure"`
					Scheduled  bool   `json:"scheduled"`
					ImportMode string `json:"importMode"`
				} `json:"importPolicy"`
				ReferencePolicy struct {
					Type string `json:"type"`
				} `json:"referencePolicy"`
			} `json:"tags"`
		} `json:"spec"`
		Status struct {
			Repository string `json:"dockerImageRepository"`
			Tags       []struct {
				Tag        string `json:"tag"`
				Items      []Item `json:"items"`
				Conditions []struct {
					Type       string    `json:"type"`
					Status     string    `json:"status"`
					Reason     string    `json:"reason"`
					Message    string    `json:"message"`
					Since      time.Time `json:"lastTransitionTime"`
					Generation int64     `json:"generation"`
				} `json:"conditions"`
			} `json:"tags"`
		} `json:"status"`
	}
	if err := cluster.Decode(object, &fields); err != nil {
		return nil, fault.At(cluster.Side, err)
	}
	specs, _, _ := unstructured.NestedSlice(object.Object, "spec", "tags")
	tags := map[string]*Tag{}
	for i, spec := range fields.Spec.Tags {
		raw, _ := specs[i].(map[string]any)
		tags[spec.Name] = &Tag{
			Name: spec.Name, From: spec.From, Generation: spec.Generation, Annotations: spec.Annotations,
			Scheduled: spec.ImportPolicy.Scheduled, Insecure: spec.ImportPolicy.Insecure, ReferenceOnly: spec.Reference,
			ImportMode: spec.ImportPolicy.ImportMode, ReferencePolicy: spec.ReferencePolicy.Type, spec: raw,
		}
	}
	for _, status := range fields.Status.Tags {
		tag := tags[status.Tag]
		if tag == nil { // pushed to the internal registry, or its spec was removed
			tag = &Tag{Name: status.Tag}
			tags[status.Tag] = tag
		}
		tag.History = status.Items
		for _, condition := range status.Conditions {
			if condition.Type != "ImportSuccess" || condition.Status != "False" {
				continue
			}
			if len(tag.History) > 0 && tag.History[0].Generation > condition.Generation {
				continue // an import succeeded since
			}
			tag.Failure = &Failure{
				Reason: condition.Reason, Message: condition.Message, Since: condition.Since, Generation: condition.Generation,
			}
		}
	}
	stream := &Stream{
		Namespace: object.GetNamespace(), Name: object.GetName(), ResourceVersion: object.GetResourceVersion(),
		Created: object.GetCreationTimestamp().Time, Repository: fields.Status.Repository,
	}
	for _, tag := range tags {
		stream.Tags = append(stream.Tags, *tag)
	}
	slices.SortFunc(stream.Tags, func(a, b Tag) int { return strings.Compare(a.Name, b.Name) })
	return stream, nil
}

const (
	group   = "image.openshift.io"
	version = "v1"
)

// The resources of the image API.
var (
	Streams    = cluster.Resource{Group: group, Version: version, Plural: "imagestreams", Kind: "ImageStream"}
	StreamTags = cluster.Resource{Group: group, Version: version, Plural: "imagestreamtags", Kind: "ImageStreamTag"}
	Imports    = cluster.Resource{Group: group, Version: version, Plural: "imagestreamimports", Kind: "ImageStreamImport"}
)
