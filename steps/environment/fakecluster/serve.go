package fakecluster

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// ServeHTTP answers as the API does.
func (c *Cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if c.fail != nil {
		if status, reason, message := c.fail(r.Method, r.URL.Path); status != 0 {
			failure(w, status, reason, message)
			return
		}
	}
	if r.Header.Get("Authorization") != "Bearer good" {
		failure(w, 401, "Unauthorized", "Unauthorized")
		return
	}
	_, rest, _ := strings.Cut(r.URL.Path, "/namespaces/")
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 2 || parts[0] != "dev" && r.Method != http.MethodGet {
		failure(w, 404, "NotFound", `namespaces "`+parts[0]+`" not found`)
		return
	}
	plural, name := parts[1], ""
	if len(parts) == 3 {
		name = parts[2]
	}
	if parts[0] != "dev" {
		failure(w, 404, "NotFound", plural+` "`+name+`" not found`)
		return
	}
	var body Object
	_ = json.NewDecoder(r.Body).Decode(&body)
	c.serve(w, r, plural, name, body)
}

func (c *Cluster) serve(w http.ResponseWriter, r *http.Request, plural, name string, body Object) {
	switch {
	case r.URL.Query().Get("watch") != "":
		failure(w, 500, "InternalError", "watching is not possible here") // clients fall back to reading
	case plural == "imagestreamimports":
		c.importDry(w, body)
	case plural == "imagestreamtags":
		c.putTag(w, r.Method, body)
	case plural == "imagestreamimages":
		_, digest, _ := strings.Cut(name, "@")
		for _, image := range c.images {
			if image.Digest == digest {
				answer(w, 200, Object{"apiVersion": "image.openshift.io/v1", "kind": "ImageStreamImage",
					"metadata": Object{"name": name}, "image": image.object()})
				return
			}
		}
		answer(w, 200, Object{"apiVersion": "image.openshift.io/v1", "kind": "ImageStreamImage",
			"metadata": Object{"name": name}, "image": Image{Digest: digest}.object()})
	case r.Method == http.MethodPost:
		name, _ = body["metadata"].(Object)["name"].(string)
		if c.objects[plural+"/"+name] != nil {
			failure(w, 409, "AlreadyExists", plural+` "`+name+`" already exists`)
			return
		}
		object := c.store(plural, name, body)
		c.roll()
		answer(w, 201, object)
	case name != "":
		if object := c.objects[plural+"/"+name]; object != nil {
			answer(w, 200, object)
			return
		}
		failure(w, 404, "NotFound", plural+` "`+name+`" not found`)
	default:
		items := []any{}
		for _, key := range slices.Sorted(maps.Keys(c.objects)) {
			if strings.HasPrefix(key, plural+"/") && selected(c.objects[key], r.URL.Query().Get("labelSelector")) {
				items = append(items, c.objects[key])
			}
		}
		answer(w, 200, Object{"apiVersion": "v1", "kind": "List", "metadata": Object{}, "items": items})
	}
}

func answer(w http.ResponseWriter, status int, object Object) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object)
}

func failure(w http.ResponseWriter, status int, reason, message string) {
	answer(w, status, Object{"apiVersion": "v1", "kind": "Status", "metadata": Object{}, "status": "Failure",
		"reason": reason, "message": message, "code": status})
}
