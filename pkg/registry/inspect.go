package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
)

// Facts is what an image says of itself.
type Facts struct {
	Labels    map[string]string // of the first platform's configuration; an index's annotations where a label is missing
	Created   time.Time         // zero when the image does not say
	Platforms []string          // such as "linux/amd64"; the image's own one when there is no index
}

// Revision returns the label org.opencontainers.image.revision: the Git commit, or "".
func (f Facts) Revision() string { return f.Labels["org.opencontainers.image.revision"] }

// largestConfig is far above what builders write, some 10 KiB, and keeps a hostile one out of memory.
const largestConfig = 8 << 20

// Inspect reads labels, platforms and the date of an image; of an index, those of its first platform's image. Anything
// that is no image yields the annotations that it has. A configuration that no builder writes is of kind fault.Refused.
func (r *Repository) Inspect(ctx context.Context, manifest Manifest) (Facts, error) {
	read, err := manifest.content()
	if err != nil {
		return Facts{}, fault.At(r.client.side, err)
	}
	facts := Facts{Labels: map[string]string{}}
	for range deepestIndex {
		maps.Copy(facts.Labels, read.Annotations)
		first, platforms := platformsOf(read.Manifests)
		facts.Platforms = append(facts.Platforms, platforms...)
		if first == nil {
			break
		}
		child, err := r.Manifest(ctx, first.Digest)
		if err != nil {
			return Facts{}, fmt.Errorf("reading index %q: %w", manifest.Digest, err)
		}
		if read, err = child.content(); err != nil {
			return Facts{}, fault.At(r.client.side, err)
		}
	}
	if read.Config == nil || !read.Config.MediaType.IsConfig() {
		return facts, nil
	}
	config, err := r.config(ctx, *read.Config)
	if err != nil {
		return Facts{}, err
	}
	maps.Copy(facts.Labels, config.Config.Labels)
	facts.Created = config.Created
	if len(facts.Platforms) == 0 && config.OS != "" {
		facts.Platforms = []string{config.platform()}
	}
	return facts, nil
}

// configuration is what is read of an image's (image specification, "Image Configuration"). All else, such as a history
// of millions of nothings, is passed over, and takes no room.
type configuration struct {
	Created      time.Time `json:"created"`
	OS           string    `json:"os"`
	OSVersion    string    `json:"os.version"`
	Architecture string    `json:"architecture"`
	Variant      string    `json:"variant"`
	Config       struct {
		Labels labels `json:"Labels"`
	} `json:"config"`
}

func (c configuration) platform() string {
	return v1.Platform{OS: c.OS, OSVersion: c.OSVersion, Architecture: c.Architecture, Variant: c.Variant}.String()
}

// labels are an image's, but not more than any image has.
type labels map[string]string

const mostLabels = 10_000

// UnmarshalJSON implements json.Unmarshaler.
func (l *labels) UnmarshalJSON(raw []byte) error {
	if raw[0] != '{' {
		return json.Unmarshal(raw, (*map[string]string)(l)) // null, or an error
	}
	*l = labels{}
	list := json.NewDecoder(bytes.NewReader(raw))
	if _, err := list.Token(); err != nil {
		return err
	}
	for n := 0; list.More(); n++ {
		if n == mostLabels {
			return fmt.Errorf("it has more than %d labels", mostLabels)
		}
		key, err := list.Token()
		if err != nil {
			return err
		}
		var value string
		if err := list.Decode(&value); err != nil {
			return err
		}
		(*l)[fmt.Sprint(key)] = value
	}
	return nil
}

func (r *Repository) config(ctx context.Context, blob v1.Descriptor) (*configuration, error) {
	refused := func(format string, args ...any) error {
		err := fault.New(fault.Refused, "reading the configuration of an image in %q: %w", r, fmt.Errorf(format, args...))
		return fault.WithHint(fault.At(r.client.side, err),
			"no builder writes such an image: find out who pushed it, and push another one in its place")
	}
	if blob.Size > largestConfig {
		return nil, refused("it has %d bytes, and 8 MiB are the most that is read", blob.Size)
	}
	content, err := r.Blob(ctx, blob)
	if err != nil {
		return nil, err
	}
	defer content.Close()
	raw := bytes.NewBuffer(make([]byte, 0, max(0, blob.Size)+bytes.MinRead)) // which the content has, or it is an error
	if _, err := raw.ReadFrom(content); err != nil {
		return nil, err
	}
	var config configuration
	if err := json.Unmarshal(raw.Bytes(), &config); err != nil {
		return nil, refused("it is no image configuration: %w", err)
	}
	return &config, nil
}

// platformsOf leaves out attestations, which builders list beside the platforms as "unknown/unknown".
func platformsOf(children []v1.Descriptor) (first *v1.Descriptor, platforms []string) {
	for i, child := range children {
		if child.Platform == nil || child.Platform.OS == "unknown" {
			continue
		}
		platforms = append(platforms, child.Platform.String())
		if first == nil {
			first = &children[i]
		}
	}
	if first == nil && len(children) > 0 {
		first = &children[0]
	}
	return first, platforms
}
