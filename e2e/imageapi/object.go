package imageapi

import (
	"errors"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
)

var errModified = errors.New("the object has been modified; please apply your changes to the latest version and try again")

// same compares two JSON values, an absent and an empty one being the same.
func same(a, b any) bool { return equality.Semantic.DeepEqual(a, b) }

// text returns the string at a path, or "".
func text(object map[string]any, path ...string) string {
	value, _, _ := unstructured.NestedString(object, path...)
	return value
}

// number returns the integer at a path, or fallback.
func number(object map[string]any, fallback int64, path ...string) int64 {
	if value, found, err := unstructured.NestedInt64(object, path...); found && err == nil {
		return value
	}
	return fallback
}

// put sets a value that is made of JSON types; object is ours.
func put(object map[string]any, value any, path ...string) {
	for _, name := range path[:len(path)-1] {
		inner, ok := object[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			object[name] = inner
		}
		object = inner
	}
	object[path[len(path)-1]] = value
}

// putDefault sets a value where there is none.
func putDefault(object map[string]any, value any, path ...string) {
	if _, found, _ := unstructured.NestedFieldNoCopy(object, path...); !found {
		put(object, value, path...)
	}
}

// items returns the objects of the list at a path.
func items(object map[string]any, path ...string) []map[string]any {
	list, _, _ := unstructured.NestedFieldNoCopy(object, path...)
	var found []map[string]any
	if list, ok := list.([]any); ok {
		for _, one := range list {
			if one, ok := one.(map[string]any); ok {
				found = append(found, one)
			}
		}
	}
	return found
}

func pathOf(field string) []string { return strings.Split(field, ".") }

// toMap and fromMap go between our structs and stored objects; both sides are ours, so an error is a bug.
func toMap(value any) map[string]any {
	var object map[string]any
	data, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(data, &object)
	}
	if err != nil {
		panic(err)
	}
	return object
}

// fromMap fills a struct from what a client sent; an error says which field has the wrong type.
func fromMap(object map[string]any, into any) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
