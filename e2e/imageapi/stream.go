package imageapi

import (
	"cmp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// stream is an ImageStream (image.openshift.io/v1) as far as it is known here.
type stream struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            streamSpec        `json:"spec"`
	Status          streamStatus      `json:"status"`
}

type streamSpec struct {
	LookupPolicy lookupPolicy `json:"lookupPolicy"`
	Tags         []specTag    `json:"tags,omitempty"`
}

type lookupPolicy struct {
	Local bool `json:"local"`
}

// specTag says where a tag points, and which generation of the stream that was written in.
type specTag struct {
	Name            string            `json:"name"`
	Annotations     map[string]string `json:"annotations"`
	From            *from             `json:"from,omitempty"`
	Reference       bool              `json:"reference,omitempty"`
	Generation      *int64            `json:"generation"`
	ImportPolicy    importPolicy      `json:"importPolicy"`
	ReferencePolicy referencePolicy   `json:"referencePolicy"`
}

type from struct {
	Kind      string `json:"kind"` // DockerImage, ImageStreamTag, ImageStreamImage
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
}

type importPolicy struct {
	Insecure   bool   `json:"insecure,omitempty"`
	Scheduled  bool   `json:"scheduled,omitempty"`
	ImportMode string `json:"importMode,omitempty"`
}

type referencePolicy struct {
	Type string `json:"type"`
}

type streamStatus struct {
	DockerImageRepository string      `json:"dockerImageRepository"`
	Tags                  []statusTag `json:"tags,omitempty"`
}

// statusTag holds what a tag has pointed at, the latest first, and why its last import failed if it did.
type statusTag struct {
	Tag        string      `json:"tag"`
	Items      []tagEvent  `json:"items"`
	Conditions []condition `json:"conditions,omitempty"`
}

type tagEvent struct {
	Created              metav1.Time `json:"created"`
	DockerImageReference string      `json:"dockerImageReference"`
	Image                string      `json:"image"`
	Generation           int64       `json:"generation"`
}

type condition struct {
	Type               string              `json:"type"`
	Status             string              `json:"status"`
	LastTransitionTime metav1.Time         `json:"lastTransitionTime"`
	Reason             metav1.StatusReason `json:"reason"`
	Message            string              `json:"message"`
	Generation         int64               `json:"generation"`
}

// streamOf reads a stored object; it is ours, so an error is a bug.
func streamOf(object *unstructured.Unstructured) *stream {
	var read stream
	if err := fromMap(object.Object, &read); err != nil {
		panic(err)
	}
	return &read
}

func (s *stream) object() *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: toMap(s)}
}

func (s *stream) specTag(name string) *specTag {
	for i := range s.Spec.Tags {
		if s.Spec.Tags[i].Name == name {
			return &s.Spec.Tags[i]
		}
	}
	return nil
}

// setSpecTag adds or replaces a tag; the tags are ordered by name.
func (s *stream) setSpecTag(tag specTag) {
	if old := s.specTag(tag.Name); old != nil {
		*old = tag
		return
	}
	s.Spec.Tags = append(s.Spec.Tags, tag)
	slices.SortFunc(s.Spec.Tags, func(a, b specTag) int { return cmp.Compare(a.Name, b.Name) })
}

func (s *stream) statusTag(name string) *statusTag {
	for i := range s.Status.Tags {
		if s.Status.Tags[i].Tag == name {
			return &s.Status.Tags[i]
		}
	}
	return nil
}

// makeStatusTag returns the tag's status, which it adds if there is none.
func (s *stream) makeStatusTag(name string) *statusTag {
	if s.statusTag(name) == nil {
		s.Status.Tags = append(s.Status.Tags, statusTag{Tag: name})
		slices.SortFunc(s.Status.Tags, func(a, b statusTag) int { return cmp.Compare(a.Tag, b.Tag) })
	}
	return s.statusTag(name)
}

// head returns what a tag points at now, or nil.
func (s *stream) head(name string) *tagEvent {
	if tag := s.statusTag(name); tag != nil && len(tag.Items) > 0 {
		return &tag.Items[0]
	}
	return nil
}

// record puts event at the head of a tag's history. The same image again keeps its item, whose generation rises.
func (s *stream) record(name string, event tagEvent) {
	if head := s.head(name); head != nil && head.Image == event.Image &&
		head.DockerImageReference == event.DockerImageReference {
		head.Generation = event.Generation
		return
	}
	tag := s.makeStatusTag(name)
	tag.Items = append([]tagEvent{event}, tag.Items...)
}

// observed returns the generation that a tag's status speaks of: that of its head or of its failed import.
func (s *stream) observed(name string) int64 {
	tag, observed := s.statusTag(name), int64(0)
	if tag == nil {
		return 0
	}
	if len(tag.Items) > 0 {
		observed = tag.Items[0].Generation
	}
	for _, one := range tag.Conditions {
		observed = max(observed, one.Generation)
	}
	return observed
}

// prepare completes what a client wrote, before being the stream as it was, or nil for a new one: defaults, a new
// generation for every tag that changed or that asks for it by generation 0, and what aliases resolve to.
func (s *Server) prepare(before, after *stream) error {
	next := int64(1)
	if before != nil {
		next = before.Metadata.Generation + 1
		after.Metadata.Generation = before.Metadata.Generation
	}
	var old streamSpec
	if before != nil {
		old = before.Spec
	}
	for i := range after.Spec.Tags {
		tag := &after.Spec.Tags[i]
		tag.ImportPolicy.ImportMode = cmp.Or(tag.ImportPolicy.ImportMode, "Legacy")
		tag.ReferencePolicy.Type = cmp.Or(tag.ReferencePolicy.Type, "Source")
		var was *specTag
		if before != nil {
			was = before.specTag(tag.Name)
		}
		if was != nil && tag.Generation != nil && *tag.Generation != 0 && same(*was, *tag) {
			continue
		}
		tag.Generation = new(next)
		if err := s.resolve(after, tag, next); err != nil {
			return err
		}
	}
	if before == nil || !same(old, after.Spec) {
		after.Metadata.Generation = next
	}
	for _, tag := range slices.Clone(after.Status.Tags) {
		if after.specTag(tag.Tag) == nil && before != nil && before.specTag(tag.Tag) != nil {
			after.Status.Tags = slices.DeleteFunc(after.Status.Tags, func(one statusTag) bool { return one.Tag == tag.Tag })
		}
	}
	after.follow()
	return nil
}

// resolve records what a tag points at that needs no import: an image of a stream, or another tag.
func (s *Server) resolve(after *stream, tag *specTag, generation int64) error {
	if tag.From == nil || tag.From.Kind == "DockerImage" {
		return nil
	}
	name, tagOrDigest, source := after.Metadata.Name, tag.From.Name, after
	separator := ":"
	if tag.From.Kind == "ImageStreamImage" {
		separator = "@"
	}
	if before, rest, found := strings.Cut(tag.From.Name, separator); found {
		name, tagOrDigest = before, rest
	}
	namespace := cmp.Or(tag.From.Namespace, after.Metadata.Namespace)
	if name != after.Metadata.Name || namespace != after.Metadata.Namespace {
		object, err := s.store.get(imageStreams, namespace, name)
		if err != nil {
			return nil // it resolves when somebody writes the tag again after the other stream is there
		}
		source = streamOf(object)
	}
	if tag.From.Kind == "ImageStreamImage" {
		event := source.image(tagOrDigest)
		if event == nil {
			return apierrors.NewInvalid(imageStreams.groupKind(), after.Metadata.Name, field.ErrorList{field.Invalid(
				field.NewPath("spec", "tags").Key(tag.Name).Child("from", "name"), tag.From.Name,
				"error generating tag event: imagestreamimage "+tag.From.Name+" not found")})
		}
		after.record(tag.Name, tagEvent{metav1.Now(), event.DockerImageReference, event.Image, generation})
		return nil
	}
	if event := source.head(tagOrDigest); event != nil {
		copied := *event
		copied.Generation = generation
		if source == after {
			event.Generation = generation // so does the real one, though the target's spec keeps its own
		}
		after.record(tag.Name, copied)
	}
	return nil
}

// image finds a digest in the histories of the stream's tags, or nil.
func (s *stream) image(digest string) *tagEvent {
	for i := range s.Status.Tags {
		for j := range s.Status.Tags[i].Items {
			if s.Status.Tags[i].Items[j].Image == digest {
				return &s.Status.Tags[i].Items[j]
			}
		}
	}
	return nil
}

// follow moves the aliases of tags of the same stream after their targets.
func (s *stream) follow() {
	for _, tag := range s.Spec.Tags {
		if tag.From == nil || tag.From.Kind != "ImageStreamTag" ||
			(tag.From.Namespace != "" && tag.From.Namespace != s.Metadata.Namespace) {
			continue
		}
		target := strings.TrimPrefix(tag.From.Name, s.Metadata.Name+":")
		event, head := s.head(target), s.head(tag.Name)
		if event != nil && (head == nil || head.Image != event.Image) {
			s.record(tag.Name, *event)
		}
	}
}

func (s *Server) createStream(object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	var after stream
	if err := fromMap(object.Object, &after); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	after.Status = streamStatus{}
	if err := s.prepare(nil, &after); err != nil {
		return nil, err
	}
	return s.store.create(imageStreams, after.object())
}

// updateStream replaces a stream's spec, or its status. Its version is compared, if it has one.
func (s *Server) updateStream(object *unstructured.Unstructured, status bool) (*unstructured.Unstructured, error) {
	stored, err := s.store.get(imageStreams, object.GetNamespace(), object.GetName())
	if err != nil {
		return nil, err
	}
	before, after := streamOf(stored), &stream{}
	if err := fromMap(object.Object, after); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if status {
		after.Spec, after.Metadata.Generation = before.Spec, before.Metadata.Generation
		return s.store.update(imageStreams, after.object())
	}
	if version := after.Metadata.ResourceVersion; version != "" && version != stored.GetResourceVersion() {
		return nil, conflict(imageStreams, object.GetName())
	}
	after.Metadata.ResourceVersion = stored.GetResourceVersion()
	after.Status = streamOf(stored).Status
	if err := s.prepare(before, after); err != nil {
		return nil, err
	}
	return s.store.update(imageStreams, after.object())
}
