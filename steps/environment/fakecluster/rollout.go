package fakecluster

import (
	"encoding/json"
	"strings"
)

// roll brings each Deployment with an unpaused trigger to its tag's image, with one pod.
func (c *Cluster) roll() {
	for key, deployment := range c.objects {
		if !strings.HasPrefix(key, "deployments/") {
			continue
		}
		metadata := deployment["metadata"].(Object)
		annotations, _ := metadata["annotations"].(Object)
		text, _ := annotations["image.openshift.io/triggers"].(string)
		var triggers []struct {
			From   struct{ Name string }
			Paused bool
		}
		if json.Unmarshal([]byte(text), &triggers) != nil || len(triggers) == 0 || triggers[0].Paused || c.noFollow {
			continue
		}
		stream, tag, _ := strings.Cut(triggers[0].From.Name, ":")
		items, _ := named(list(c.objects["imagestreams/"+stream], "status"), "tag", tag)["items"].([]any)
		if len(items) == 0 {
			continue
		}
		reference, _ := items[0].(Object)["dockerImageReference"].(string)
		container := deployment["spec"].(Object)["template"].(Object)["spec"].(Object)["containers"].([]any)[0].(Object)
		container["image"] = reference
		ready := c.trouble == ""
		available := 0
		state := Object{"waiting": Object{"reason": c.trouble, "message": "something is wrong"}}
		imageID := ""
		if ready {
			available, state, imageID = 1, Object{"running": Object{}}, reference
		}
		deployment["status"] = Object{"replicas": 1, "updatedReplicas": 1, "availableReplicas": available, "observedGeneration": 0}
		name := metadata["name"].(string)
		labels := deployment["spec"].(Object)["selector"].(Object)["matchLabels"]
		c.store("pods", name+"-1", Object{
			"metadata": Object{"labels": labels},
			"spec":     Object{"containers": []any{Object{"name": container["name"], "image": reference}}},
			"status": Object{"phase": "Running",
				"conditions":        []any{Object{"type": "Ready", "status": map[bool]string{true: "True", false: "False"}[ready]}},
				"containerStatuses": []any{Object{"name": container["name"], "imageID": imageID, "ready": ready, "state": state}}},
		})
	}
}

func selected(object Object, selector string) bool {
	if selector == "" {
		return true
	}
	key, value, _ := strings.Cut(selector, "=")
	labels, _ := object["metadata"].(Object)["labels"].(Object)
	return labels[key] == value
}
