package imageapi

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// imageImport is one entry of an ImageStreamImport.
type imageImport struct {
	From            from            `json:"from"`
	To              *localName      `json:"to,omitempty"`
	ImportPolicy    importPolicy    `json:"importPolicy"`
	ReferencePolicy referencePolicy `json:"referencePolicy"`
}

type localName struct {
	Name string `json:"name"`
}

type imageImportStatus struct {
	Status metav1.Status  `json:"status"`
	Image  map[string]any `json:"image,omitempty"`
	Tag    string         `json:"tag,omitempty"`
}

type streamImport struct {
	metav1.TypeMeta `json:",inline"`
	Metadata        metav1.ObjectMeta `json:"metadata"`
	Spec            struct {
		Import bool          `json:"import"`
		Images []imageImport `json:"images,omitempty"`
	} `json:"spec"`
	Status struct {
		Import any                 `json:"import,omitempty"`
		Images []imageImportStatus `json:"images,omitempty"`
	} `json:"status"`
}

// answerImport imports while the client waits, or with spec.import false only tells what an import would find.
func (s *Server) answerImport(r *http.Request, q request) (int, any, error) {
	if q.verb != "create" {
		return 0, nil, apierrors.NewMethodNotSupported(q.resource.groupResource(), q.verb)
	}
	object, err := decodeBody(r, q)
	if err != nil {
		return 0, nil, err
	}
	var asked streamImport
	if err := fromMap(object.Object, &asked); err != nil {
		return 0, nil, apierrors.NewBadRequest(err.Error())
	}
	if err := s.around.checkNamespace(r.Context(), q.namespace); err != nil {
		return 0, nil, err
	}
	asked.TypeMeta = metav1.TypeMeta{Kind: q.resource.kind, APIVersion: q.resource.apiVersion()}
	asked.Metadata.UID, asked.Metadata.CreationTimestamp = uuid.NewUUID(), metav1.Now()
	asked.Status.Images = nil

	outcomes := make([]outcome, len(asked.Spec.Images))
	for i := range asked.Spec.Images {
		one := &asked.Spec.Images[i]
		one.ImportPolicy.ImportMode = cmp.Or(one.ImportPolicy.ImportMode, "Legacy")
		one.ReferencePolicy.Type = cmp.Or(one.ReferencePolicy.Type, "Source")
		tag := ""
		if ref, err := name.ParseReference(one.From.Name); err == nil {
			if named, ok := ref.(name.Tag); ok {
				tag = named.TagStr()
			}
		}
		if one.To == nil && tag != "" {
			one.To = &localName{Name: tag}
		}
		outcomes[i] = s.importOne(r.Context(), q.namespace, one.From.Name, one.ImportPolicy)
		asked.Status.Images = append(asked.Status.Images, imageImportStatus{Status: statusOf(outcomes[i].err), Tag: tag})
	}
	if asked.Spec.Import {
		stored, err := s.commitAsked(asked, outcomes)
		if err != nil {
			return 0, nil, err
		}
		asked.Status.Import = withoutKind(stored)
	}
	for i, one := range outcomes {
		if one.err == nil {
			asked.Status.Images[i].Image = importedView(one.found.image, asked.Spec.Import)
		}
	}
	return http.StatusCreated, asked, nil
}

// importedView is an image as an import reports it: as it was read just now, whether or not the cluster knew it. One
// that is kept has been made ready for storing, which gave it a uid and a time that a known image's are not.
func importedView(image map[string]any, kept bool) map[string]any {
	view := map[string]any{}
	merge(view, image)
	if kept {
		put(view, string(uuid.NewUUID()), "metadata", "uid")
		put(view, metav1.Now().UTC().Format(time.RFC3339), "metadata", "creationTimestamp")
	}
	return view
}

func withoutKind(stored *stream) map[string]any {
	object := toMap(stored)
	delete(object, "kind")
	delete(object, "apiVersion")
	return object
}

func statusOf(err error) metav1.Status {
	var failed apierrors.APIStatus
	if errors.As(err, &failed) {
		return failed.Status()
	}
	return metav1.Status{Status: metav1.StatusSuccess}
}

// outcome is what one reference came to.
type outcome struct {
	tag     string
	as      specTag // the tag as it was when it was read
	found   *found
	err     error
	ordered bool // asked for by a client, who may make the tag by it
}

// importOne reads a reference with the namespace's credentials, unless a fault has something else to say.
func (s *Server) importOne(ctx context.Context, namespace, reference string, policy importPolicy) outcome {
	altered := ""
	if fault := s.fault().Import; fault != nil {
		digest, err := fault(reference)
		if err != nil {
			var status apierrors.APIStatus
			if !errors.As(err, &status) {
				err = importError(reference, err)
			}
			return outcome{err: err}
		}
		altered = digest
	}
	brought, err := s.importer.read(ctx, reference, policy.Insecure, policy.ImportMode == "PreserveOriginal",
		func(repository name.Repository) []authn.Authenticator {
			return s.credentials(ctx, namespace, repository)
		})
	if err != nil || altered == "" {
		return outcome{found: brought, err: err}
	}
	brought.digest = altered
	put(brought.image, altered, "metadata", "name")
	if ref, err := name.ParseReference(reference); err == nil {
		put(brought.image, ref.Context().Name()+"@"+altered, "dockerImageReference")
	}
	return outcome{found: brought}
}

// commitAsked writes what a client imported into the stream, which is made if it is missing.
func (s *Server) commitAsked(asked streamImport, outcomes []outcome) (*stream, error) {
	for i, one := range asked.Spec.Images {
		if one.To == nil {
			continue // a reference by digest without a tag to put it under: only its image is kept
		}
		outcomes[i].tag, outcomes[i].ordered = one.To.Name, true
		outcomes[i].as = specTag{
			Name: one.To.Name, From: &one.From, ImportPolicy: one.ImportPolicy, ReferencePolicy: one.ReferencePolicy,
		}
	}
	return s.commit(asked.Metadata.Namespace, asked.Metadata.Name, outcomes)
}

// commit writes the outcomes of imports into their stream: one generation for all of them. An outcome whose tag has
// changed since it was read is dropped, since another import follows.
func (s *Server) commit(namespace, streamName string, outcomes []outcome) (*stream, error) {
	for _, one := range outcomes {
		if one.err != nil {
			continue
		}
		for _, image := range one.found.others {
			s.keepImage(image)
		}
		s.keepImage(one.found.image)
	}
	var err error
	for range updateTries {
		after := &stream{Metadata: metav1.ObjectMeta{Name: streamName, Namespace: namespace}}
		write := s.store.create
		if stored, getErr := s.store.get(imageStreams, namespace, streamName); getErr == nil {
			after, write = streamOf(stored), s.store.update
		} else if !slices.ContainsFunc(outcomes, func(one outcome) bool { return one.ordered }) {
			return nil, getErr
		}
		if !after.take(outcomes) {
			return after, nil
		}
		stored, writeErr := write(imageStreams, after.object())
		if writeErr == nil {
			return streamOf(stored), nil
		}
		if err = writeErr; !apierrors.IsConflict(err) && !apierrors.IsAlreadyExists(err) {
			break
		}
	}
	return nil, err
}

// take puts outcomes into the stream and returns whether this changed anything.
func (s *stream) take(outcomes []outcome) bool {
	next, changed := s.Metadata.Generation+1, false
	now := metav1.Now()
	for _, one := range outcomes {
		tag := s.specTag(one.tag)
		switch {
		case one.tag == "":
			continue
		case tag == nil && one.ordered:
			s.setSpecTag(one.as)
			tag = s.specTag(one.tag)
		case tag == nil || (!one.ordered && !same(*tag, one.as)):
			continue
		}
		pending := tag.Generation == nil || s.observed(one.tag) < *tag.Generation
		if one.err != nil {
			changed = s.fail(one, pending, now, next) || changed
			continue
		}
		event := tagEvent{now, text(one.found.image, "dockerImageReference"), one.found.digest, next}
		status := s.makeStatusTag(one.tag)
		head := s.head(one.tag)
		if !pending && len(status.Conditions) == 0 && head != nil && head.Image == event.Image &&
			head.DockerImageReference == event.DockerImageReference {
			continue // imported again, and nothing is new
		}
		status.Conditions = nil
		s.record(one.tag, event)
		tag.Generation = new(next)
		changed = true
	}
	if !changed {
		return false
	}
	s.Metadata.Generation = next
	if s.Metadata.Annotations == nil {
		s.Metadata.Annotations = map[string]string{}
	}
	s.Metadata.Annotations["openshift.io/image.dockerRepositoryCheck"] = now.UTC().Format(time.RFC3339)
	s.follow()
	return true
}

// fail records why an import failed, and returns whether that is news. The history stays.
func (s *stream) fail(one outcome, pending bool, now metav1.Time, next int64) bool {
	reported := statusOf(one.err)
	status := s.makeStatusTag(one.tag)
	if !pending && len(status.Conditions) == 1 && status.Conditions[0].Message == reported.Message {
		return false
	}
	status.Conditions = []condition{{
		Type: "ImportSuccess", Status: "False", LastTransitionTime: now,
		Reason: reported.Reason, Message: reported.Message, Generation: next,
	}}
	s.specTag(one.tag).Generation = new(next)
	return true
}
