package imageapi

import (
	"cmp"
	"slices"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/uuid"
)

// store holds all objects, counts their versions, and remembers the latest changes for those who watch.
type store struct {
	mu      sync.Mutex
	version int64
	objects map[key]*unstructured.Unstructured // never changed once stored, only replaced
	changes []change
	oldest  int64         // the version before the first remembered change
	changed chan struct{} // closed and replaced by every write
}

type key struct {
	resource        resource
	namespace, name string
}

type change struct {
	version  int64
	kind     string // ADDED, MODIFIED, DELETED
	resource resource
	object   *unstructured.Unstructured
	before   *unstructured.Unstructured // nil when added
}

// keptChanges bounds the memory of changes; whoever watches from an earlier version is told that it is gone.
const keptChanges = 8192

func newStore() *store {
	// A cluster's versions do not begin at 1, and nothing may rely on it.
	return &store{version: 1000, oldest: 1000, objects: map[key]*unstructured.Unstructured{}, changed: make(chan struct{})}
}

// get returns an object that must not be changed, or 404.
func (s *store) get(r resource, namespace, name string) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if object, found := s.objects[key{r, namespace, name}]; found {
		return object, nil
	}
	return nil, apierrors.NewNotFound(r.groupResource(), name)
}

// list returns objects that must not be changed, ordered by namespace and name, and the version they are of.
// An empty namespace means all.
func (s *store) list(r resource, namespace string) ([]*unstructured.Unstructured, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*unstructured.Unstructured
	for k, object := range s.objects {
		if k.resource == r && (namespace == "" || k.namespace == namespace) {
			found = append(found, object)
		}
	}
	slices.SortFunc(found, func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	return found, strconv.FormatInt(s.version, 10)
}

// create stores a new object with uid, version and creation time, or answers AlreadyExists.
func (s *store) create(r resource, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{r, object.GetNamespace(), object.GetName()}
	if _, found := s.objects[k]; found {
		return nil, apierrors.NewAlreadyExists(r.groupResource(), k.name)
	}
	stored := object.DeepCopy()
	stored.SetAPIVersion(r.apiVersion())
	stored.SetKind(r.kind)
	stored.SetUID(uuid.NewUUID())
	stored.SetCreationTimestamp(metav1.Now())
	return s.write(k, "ADDED", stored, nil), nil
}

// update replaces an object. A version that object carries and that is not the stored one's is a conflict (409); one
// that carries none is written unconditionally. What would change nothing is not written, as on a cluster.
func (s *store) update(r resource, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{r, object.GetNamespace(), object.GetName()}
	before, found := s.objects[k]
	if !found {
		return nil, apierrors.NewNotFound(r.groupResource(), k.name)
	}
	if version := object.GetResourceVersion(); version != "" && version != before.GetResourceVersion() {
		return nil, conflict(r, k.name)
	}
	stored := object.DeepCopy()
	stored.SetAPIVersion(r.apiVersion())
	stored.SetKind(r.kind)
	stored.SetUID(before.GetUID())
	stored.SetCreationTimestamp(before.GetCreationTimestamp())
	stored.SetResourceVersion(before.GetResourceVersion())
	if same(stored.Object, before.Object) {
		return before, nil
	}
	return s.write(k, "MODIFIED", stored, before), nil
}

// delete removes an object and returns its last state.
func (s *store) delete(r resource, namespace, name string) (*unstructured.Unstructured, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := key{r, namespace, name}
	before, found := s.objects[k]
	if !found {
		return nil, apierrors.NewNotFound(r.groupResource(), name)
	}
	return s.write(k, "DELETED", before.DeepCopy(), before), nil
}

// write must be called with the lock held; it takes object over.
func (s *store) write(k key, kind string, object, before *unstructured.Unstructured) *unstructured.Unstructured {
	s.version++
	object.SetResourceVersion(strconv.FormatInt(s.version, 10))
	if kind == "DELETED" {
		delete(s.objects, k)
	} else {
		s.objects[k] = object
	}
	s.changes = append(s.changes, change{s.version, kind, k.resource, object, before})
	if len(s.changes) > keptChanges {
		s.changes = slices.Delete(s.changes, 0, keptChanges/4)
		s.oldest = s.changes[0].version - 1
	}
	close(s.changed)
	s.changed = make(chan struct{})
	return object
}

// since returns the changes of one resource after a version, the version that this is up to, and what is closed by the
// next write. Ok is false when the version is too old to tell.
func (s *store) since(r resource, version int64) (found []change, upTo int64, next <-chan struct{}, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if version < s.oldest {
		return nil, 0, nil, false
	}
	for _, one := range s.changes {
		if one.version > version && one.resource == r {
			found = append(found, one)
		}
	}
	return found, s.version, s.changed, true
}

// touch lets everybody look again, though nothing was written.
func (s *store) touch() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// next returns what is closed by the next write.
func (s *store) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func conflict(r resource, name string) error {
	return apierrors.NewConflict(r.groupResource(), name, errModified)
}
