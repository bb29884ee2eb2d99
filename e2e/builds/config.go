package builds

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ownLabels are set by clone-build-push without being asked for.
const ownLabels = "org.opencontainers.image."

// ReadConfig returns what an image tells an engine to do with it, and its platform and author, by name in JSON: all of
// the configuration but for the times, the layers and their history, and the labels that clone-build-push sets itself.
func ReadConfig(image v1.Image) (map[string]string, error) {
	raw, err := image.RawConfigFile()
	if err != nil {
		return nil, err
	}
	var file, config map[string]json.RawMessage
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(file["config"], &config); err != nil {
		return nil, fmt.Errorf("reading the configuration %s: %w", raw, err)
	}
	for _, name := range []string{"architecture", "os", "variant", "author"} {
		if value, ok := file[name]; ok {
			config[name] = value
		}
	}
	out := map[string]string{}
	for name, value := range config {
		var parsed any
		if err := json.Unmarshal(value, &parsed); err != nil {
			return nil, err
		}
		if labels, ok := parsed.(map[string]any); ok && name == "Labels" {
			maps.DeleteFunc(labels, func(label string, _ any) bool { return strings.HasPrefix(label, ownLabels) })
		}
		text, err := json.Marshal(parsed)
		if err != nil {
			return nil, err
		}
		// What is empty is written by some and left out by others.
		if s := string(text); s != "null" && s != `""` && s != "{}" && s != "[]" && s != "false" {
			out[name] = s
		}
	}
	return out, nil
}
