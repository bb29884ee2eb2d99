package imageapi

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// streamTag is an ImageStreamTag: one tag of a stream together with the image that it points at. Nothing stores it; it
// is a view of the stream, whose uid and version it carries.
type streamTag struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Tag             *specTag          `json:"tag"`
	Generation      int64             `json:"generation"`
	LookupPolicy    lookupPolicy      `json:"lookupPolicy"`
	Conditions      []condition       `json:"conditions,omitempty"`
	Image           map[string]any    `json:"image"`
}

// updateTries bounds the repetitions of a write that carries no version and was overtaken by another.
const updateTries = 10

func (s *Server) answerTag(r *http.Request, q request) (int, any, error) {
	switch q.verb {
	case "list":
		list, err := s.listTags(r, q)
		return http.StatusOK, list, err
	case "create":
		object, err := decodeBody(r, q)
		if err != nil {
			return 0, nil, err
		}
		created, err := s.createTag(q, object)
		return http.StatusCreated, created, err
	}
	streamName, tag, found := strings.Cut(q.name, ":")
	if !found || streamName == "" || tag == "" {
		return 0, nil, apierrors.NewBadRequest("imagestreamtags must be specified with <name>:<tag>")
	}
	switch q.verb {
	case "get":
		current, err := s.stream(q, streamName)
		if err != nil {
			return 0, nil, err
		}
		view, err := s.view(current, tag, false)
		return http.StatusOK, view, err
	case "update":
		object, err := decodeBody(r, q)
		if err != nil {
			return 0, nil, err
		}
		return s.updateTag(q, object)
	case "patch":
		current, err := s.stream(q, streamName)
		if err != nil {
			return 0, nil, err
		}
		before, err := s.view(current, tag, true)
		if err != nil {
			return 0, nil, err
		}
		after, err := patchBody(r, q, &unstructured.Unstructured{Object: toMap(before)})
		if err != nil {
			return 0, nil, err
		}
		return s.updateTag(q, after)
	case "delete":
		return http.StatusOK, success(), s.deleteTag(q, streamName, tag)
	}
	return 0, nil, apierrors.NewMethodNotSupported(imageStreamTags.groupResource(), q.verb)
}

// stream reads the stream of a tag; when there is none, the answer speaks of a tag by the stream's name.
func (s *Server) stream(q request, name string) (*stream, error) {
	object, err := s.store.get(imageStreams, q.namespace, name)
	if err != nil {
		return nil, apierrors.NewNotFound(q.resource.groupResource(), name)
	}
	return streamOf(object), nil
}

// view shows one tag of a stream. Without an image the tag is not found, unless evenEmpty.
func (s *Server) view(current *stream, tag string, evenEmpty bool) (*streamTag, error) {
	fullName := current.Metadata.Name + ":" + tag
	event := current.head(tag)
	if event == nil && !evenEmpty {
		return nil, apierrors.NewNotFound(imageStreamTags.groupResource(), fullName)
	}
	view := &streamTag{
		TypeMeta: metav1.TypeMeta{Kind: imageStreamTags.kind, APIVersion: imageStreamTags.apiVersion()},
		Metadata: metav1.ObjectMeta{
			Name: fullName, Namespace: current.Metadata.Namespace, UID: current.Metadata.UID,
			ResourceVersion: current.Metadata.ResourceVersion, CreationTimestamp: current.Metadata.CreationTimestamp,
			Labels: current.Metadata.Labels,
		},
		Tag: current.specTag(tag), LookupPolicy: current.Spec.LookupPolicy, Image: emptyImage(),
	}
	if status := current.statusTag(tag); status != nil {
		view.Conditions = status.Conditions
	}
	if view.Tag != nil {
		view.Metadata.Annotations = view.Tag.Annotations
	}
	if event != nil {
		view.Metadata.CreationTimestamp, view.Generation = event.Created, event.Generation
		view.Image = s.imageView(event)
	}
	return view, nil
}

// updateTag carries out the one call that `oc tag` makes. The stream and the tag are made where they are missing; the
// former needs the right to create. A version in the object is compared with the stream's; without one it is written
// whatever happened meanwhile. The tag's annotations come from the object's metadata, as in the real one.
func (s *Server) updateTag(q request, object *unstructured.Unstructured) (int, any, error) {
	var sent streamTag
	if err := fromMap(object.Object, &sent); err != nil {
		return 0, nil, apierrors.NewBadRequest(err.Error())
	}
	streamName, tag, _ := strings.Cut(q.name, ":")
	for range updateTries {
		code, updated, err := s.tryUpdateTag(q, sent, streamName, tag)
		if retriable := apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err); err == nil || !retriable ||
			sent.Metadata.ResourceVersion != "" {
			return code, updated, err
		}
	}
	return 0, nil, conflict(imageStreamTags, q.name)
}

func (s *Server) tryUpdateTag(q request, sent streamTag, streamName, tag string) (int, any, error) {
	stored, err := s.store.get(imageStreams, q.namespace, streamName)
	var before, after *stream
	switch {
	case err == nil:
		before, after = streamOf(stored), streamOf(stored)
	case sent.Metadata.ResourceVersion != "":
		return 0, nil, apierrors.NewNotFound(imageStreamTags.groupResource(), q.name)
	default:
		if err := s.around.authorize(s.stopping, q.user, "create", q.resource, q.namespace, q.name); err != nil {
			return 0, nil, err
		}
		if err := s.around.checkNamespace(s.stopping, q.namespace); err != nil {
			return 0, nil, err
		}
		after = &stream{Metadata: metav1.ObjectMeta{Name: streamName, Namespace: q.namespace}}
	}
	if version := sent.Metadata.ResourceVersion; version != "" && version != after.Metadata.ResourceVersion {
		return 0, nil, apierrors.NewConflict(imageStreamTags.groupResource(), q.name,
			fmt.Errorf("another caller has updated the resource version to %s", after.Metadata.ResourceVersion))
	}
	if err := validateTag(q.name, sent.Tag); err != nil {
		return 0, nil, err
	}
	code := http.StatusOK
	if after.specTag(tag) == nil {
		code = http.StatusCreated
	}
	written := *sent.Tag
	written.Name, written.Annotations = tag, sent.Metadata.Annotations
	after.setSpecTag(written)
	view, err := s.writeTag(before, after, tag)
	return code, view, err
}

// writeTag stores the stream and shows the tag.
func (s *Server) writeTag(before, after *stream, tag string) (*streamTag, error) {
	if err := s.prepare(before, after); err != nil {
		return nil, err
	}
	write := s.store.update
	if before == nil {
		write = s.store.create
	}
	stored, err := write(imageStreams, after.object())
	if err != nil {
		return nil, err
	}
	return s.view(streamOf(stored), tag, true)
}

// createTag adds a tag that is not there yet. Here the tag's own annotations are kept.
func (s *Server) createTag(q request, object *unstructured.Unstructured) (any, error) {
	var sent streamTag
	if err := fromMap(object.Object, &sent); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	streamName, tag, found := strings.Cut(sent.Metadata.Name, ":")
	if !found || streamName == "" || tag == "" {
		return nil, apierrors.NewBadRequest("imagestreamtags must be specified with <name>:<tag>")
	}
	if err := s.around.checkNamespace(s.stopping, q.namespace); err != nil {
		return nil, err
	}
	if err := validateTag(sent.Metadata.Name, sent.Tag); err != nil {
		return nil, err
	}
	for range updateTries {
		stored, err := s.store.get(imageStreams, q.namespace, streamName)
		var before *stream
		after := &stream{Metadata: metav1.ObjectMeta{Name: streamName, Namespace: q.namespace}}
		if err == nil {
			before, after = streamOf(stored), streamOf(stored)
		}
		if after.specTag(tag) != nil {
			singular := imageStreamTags.groupResource()
			singular.Resource = "imagestreamtag" // as the real one says it
			return nil, apierrors.NewAlreadyExists(singular, sent.Metadata.Name)
		}
		written := *sent.Tag
		written.Name = tag
		after.setSpecTag(written)
		view, err := s.writeTag(before, after, tag)
		if !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			return view, err
		}
	}
	return nil, conflict(imageStreamTags, sent.Metadata.Name)
}

func (s *Server) deleteTag(q request, streamName, tag string) error {
	for range updateTries {
		before, err := s.stream(q, streamName)
		if err != nil {
			return err
		}
		if before.specTag(tag) == nil && before.statusTag(tag) == nil {
			return apierrors.NewNotFound(imageStreamTags.groupResource(), q.name)
		}
		after := streamOf(before.object())
		after.Spec.Tags, after.Status.Tags = nil, nil
		for _, one := range before.Spec.Tags {
			if one.Name != tag {
				after.Spec.Tags = append(after.Spec.Tags, one)
			}
		}
		for _, one := range before.Status.Tags {
			if one.Tag != tag {
				after.Status.Tags = append(after.Status.Tags, one)
			}
		}
		if _, err = s.writeTag(before, after, tag); !apierrors.IsConflict(err) {
			return err
		}
	}
	return conflict(imageStreamTags, q.name)
}

func (s *Server) listTags(r *http.Request, q request) (any, error) {
	selects, err := selector(r, q)
	if err != nil {
		return nil, err
	}
	found, version := s.store.list(imageStreams, q.namespace)
	views := []any{}
	for _, object := range found {
		current := streamOf(object)
		for _, tag := range current.Status.Tags {
			view, err := s.view(current, tag.Tag, false)
			if err != nil {
				continue // its import failed: there is no image to show
			}
			if shown := toMap(view); selects(&unstructured.Unstructured{Object: shown}) {
				views = append(views, shown)
			}
		}
	}
	return map[string]any{
		"kind": imageStreamTags.kind + "List", "apiVersion": imageStreamTags.apiVersion(),
		"metadata": map[string]any{"resourceVersion": version}, "items": views,
	}, nil
}

// validateTag answers 422 to a tag that points nowhere or at an impossible name.
func validateTag(fullName string, tag *specTag) error {
	if tag == nil || tag.From == nil {
		return apierrors.NewInvalid(imageStreamTags.groupKind(), fullName,
			field.ErrorList{field.Required(field.NewPath("tag", "from"), "")})
	}
	var problems field.ErrorList
	at := field.NewPath("tag", "from")
	switch tag.From.Kind {
	case "DockerImage":
		if _, err := name.ParseReference(tag.From.Name); err != nil {
			problems = append(problems, field.Invalid(at.Child("name"), tag.From.Name, "invalid reference format"))
		}
	case "ImageStreamTag", "ImageStreamImage":
		if tag.ImportPolicy.Scheduled {
			problems = append(problems, field.Invalid(field.NewPath("tag", "importPolicy", "scheduled"), true,
				"only tags pointing to Docker repositories may be scheduled for background import"))
		}
	default:
		problems = append(problems, field.Required(at.Child("kind"),
			"valid values are 'DockerImage', 'ImageStreamImage', 'ImageStreamTag'"))
	}
	if mode := tag.ImportPolicy.ImportMode; mode != "" && mode != "Legacy" && mode != "PreserveOriginal" {
		problems = append(problems, field.Invalid(field.NewPath("tag", "importPolicy", "importMode"), mode,
			"invalid import mode, valid modes are 'Legacy', 'PreserveOriginal'"))
	}
	if kind := tag.ReferencePolicy.Type; kind != "" && kind != "Source" && kind != "Local" {
		problems = append(problems, field.Invalid(field.NewPath("tag", "referencePolicy", "type"), kind,
			"valid values are \"Local\", \"Source\""))
	}
	if len(problems) > 0 {
		return apierrors.NewInvalid(imageStreamTags.groupKind(), fullName, problems)
	}
	return nil
}

// answerStreamImage shows an image of a stream's history, named STREAM@DIGEST.
func (s *Server) answerStreamImage(q request) (any, error) {
	if q.verb != "get" {
		return nil, apierrors.NewMethodNotSupported(q.resource.groupResource(), q.verb)
	}
	streamName, digest, found := strings.Cut(q.name, "@")
	if !found {
		return nil, apierrors.NewBadRequest("imagestreamimages must be specified with <name>@<id>")
	}
	current, err := s.stream(q, streamName)
	if err != nil {
		return nil, err
	}
	event := current.image(digest)
	if event == nil {
		return nil, apierrors.NewNotFound(q.resource.groupResource(), q.name)
	}
	image := s.imageView(event)
	metadata := map[string]any{"name": q.name, "namespace": q.namespace}
	if created := text(image, "metadata", "creationTimestamp"); created != "" {
		metadata["creationTimestamp"] = created
	}
	if len(current.Metadata.Annotations) > 0 {
		metadata["annotations"] = current.Metadata.Annotations
	}
	return map[string]any{
		"kind": q.resource.kind, "apiVersion": q.resource.apiVersion(), "metadata": metadata, "image": image,
	}, nil
}
