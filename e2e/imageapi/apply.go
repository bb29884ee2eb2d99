package imageapi

import (
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// Server-side apply of workloads is kube-apiserver's own: apimachinery's field manager over a schema that knows which
// lists of a pod template are merged by name. Who created or updated a workload before is remembered too, as its
// managed fields. What this leaves out: an object that is not there is answered 404 instead of made, other lists are
// replaced as a whole, and what the controllers here write belongs to nobody.

// isApply tells whether a patch is a server-side apply.
func isApply(r *http.Request) bool {
	return strings.HasPrefix(r.Header.Get("Content-Type"), "application/apply-patch+yaml")
}

// isDry tells whether a patch is to be answered and not stored.
func isDry(r *http.Request) bool { return r.URL.Query().Get("dryRun") == "All" }

// checkVersion answers a conflict where after was made for another version than before.
func checkVersion(q request, before, after *unstructured.Unstructured) error {
	if version := after.GetResourceVersion(); version != "" && version != before.GetResourceVersion() {
		return conflict(q.resource, q.name)
	}
	return nil
}

// apply merges the configuration in a request's body, which must be JSON, into before.
func (s *Server) apply(r *http.Request, q request, before *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if !managed(q.resource) {
		return nil, unsupportedPatch()
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	applied := &unstructured.Unstructured{}
	if err := json.Unmarshal(body, &applied.Object); err != nil || applied.Object == nil {
		return nil, apierrors.NewBadRequest("the configuration is not a JSON object")
	}
	if err := checkNames(applied, q); err != nil {
		return nil, err
	}
	manager := r.URL.Query().Get("fieldManager")
	if manager == "" {
		return nil, apierrors.NewBadRequest("PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch")
	}
	merged, err := fieldManager(q.resource).Apply(before.DeepCopy(), applied, manager, isTrue(r.URL.Query().Get("force")))
	if err != nil {
		return nil, err
	}
	after, ok := merged.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("the field manager returned a %T", merged)
	}
	return after, checkImages(q, after)
}

// checkImages answers 422 for a container without an image, as an apply leaves it that does not name the image any more.
func checkImages(q request, object *unstructured.Unstructured) error {
	path := []string{"spec", "template", "spec"}
	if q.resource == cronJobs {
		path = []string{"spec", "jobTemplate", "spec", "template", "spec"}
	}
	for _, list := range []string{"initContainers", "containers"} {
		at := field.NewPath(path[0], append(path[1:len(path):len(path)], list)...)
		for i, container := range items(object.Object, append(path[:len(path):len(path)], list)...) {
			if text(container, "image") == "" {
				return apierrors.NewInvalid(q.resource.groupKind(), q.name,
					field.ErrorList{field.Required(at.Index(i).Child("image"), "")})
			}
		}
	}
	return nil
}

// manage writes into after which fields whoever sent it has set; before is nil for a new object.
func manage(r *http.Request, q request, before, after *unstructured.Unstructured) *unstructured.Unstructured {
	if !managed(q.resource) || q.subresource != "" {
		return after
	}
	manager := r.URL.Query().Get("fieldManager")
	if manager == "" {
		manager, _, _ = strings.Cut(r.UserAgent(), "/")
	}
	after.SetAPIVersion(q.resource.apiVersion())
	after.SetKind(q.resource.kind)
	live := runtime.Object(blank(q.resource))
	if before != nil {
		live = before.DeepCopy()
	}
	if updated, ok := fieldManager(q.resource).UpdateNoErrors(live, after, manager).(*unstructured.Unstructured); ok {
		return updated
	}
	return after
}

func managed(r resource) bool {
	switch r {
	case deployments, statefulSets, daemonSets, cronJobs, deploymentConfigs:
		return true
	}
	return false
}

func fieldManager(r resource) *managedfields.FieldManager {
	kind := schema.GroupVersionKind{Group: r.group, Version: r.version, Kind: r.kind}
	manager, err := managedfields.NewDefaultCRDFieldManager(
		podTemplates{}, unversioned{}, unversioned{}, unversioned{}, kind, kind.GroupVersion(), "", nil)
	if err != nil {
		panic(err) // its arguments are constants
	}
	return manager
}

func blank(r resource) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetAPIVersion(r.apiVersion())
	object.SetKind(r.kind)
	return object
}

// podTemplates is the type of every workload: a map whose lists are atomic, but for the containers of a pod template.
type podTemplates struct{}

func (podTemplates) ObjectToTyped(object runtime.Object, options ...typed.ValidationOptions) (*typed.TypedValue, error) {
	fields, ok := object.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("a %T has no type here", object)
	}
	return workloadType.FromUnstructured(fields.UnstructuredContent(), options...)
}

func (podTemplates) TypedToObject(value *typed.TypedValue) (runtime.Object, error) {
	fields, ok := value.AsValue().Unstructured().(map[string]any)
	if !ok {
		return nil, fmt.Errorf("a %T is no object", value.AsValue().Unstructured())
	}
	return &unstructured.Unstructured{Object: fields}, nil
}

var workloadType = func() typed.ParseableType {
	parser, err := typed.NewParser(workloadSchema)
	if err != nil {
		panic(err) // it is a constant
	}
	return parser.Type("workload")
}()

const workloadSchema = `types:
- name: workload
  map:
    fields:
    - {name: spec, type: {namedType: spec}}
    elementType: {namedType: __untyped_deduced_}
- name: spec
  map:
    fields:
    - {name: template, type: {namedType: template}}
    - {name: jobTemplate, type: {namedType: workload}}
    elementType: {namedType: __untyped_deduced_}
- name: template
  map:
    fields:
    - {name: spec, type: {namedType: podSpec}}
    elementType: {namedType: __untyped_deduced_}
- name: podSpec
  map:
    fields:
    - {name: containers, type: {namedType: containers}}
    - {name: initContainers, type: {namedType: containers}}
    elementType: {namedType: __untyped_deduced_}
- name: containers
  list:
    elementRelationship: associative
    keys: [name]
    elementType: {namedType: container}
- name: container
  map:
    fields:
    - {name: name, type: {scalar: string}}
    elementType: {namedType: __untyped_deduced_}
- name: __untyped_atomic_
  scalar: untyped
  list: {elementType: {namedType: __untyped_atomic_}, elementRelationship: atomic}
  map: {elementType: {namedType: __untyped_atomic_}, elementRelationship: atomic}
- name: __untyped_deduced_
  scalar: untyped
  list: {elementType: {namedType: __untyped_atomic_}, elementRelationship: atomic}
  map: {elementType: {namedType: __untyped_deduced_}, elementRelationship: separable}
`

// unversioned is a scheme in which every object has one version only, and no defaults.
type unversioned struct{}

func (unversioned) Convert(any, any, any) error { return fmt.Errorf("there is one version only") }

func (unversioned) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (unversioned) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

func (unversioned) Default(runtime.Object) {}

func (unversioned) New(kind schema.GroupVersionKind) (runtime.Object, error) {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetGroupVersionKind(kind)
	return object, nil
}
