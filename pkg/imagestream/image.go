package imagestream

import (
	"context"
	"maps"
	"slices"
	"time"

	"dockline/pkg/cluster"
)

// Images is the resource of the images that a stream knows, STREAM@DIGEST.
var Images = cluster.Resource{Group: group, Version: version, Plural: "imagestreamimages", Kind: "ImageStreamImage"}

// Image reads what the cluster knows of an image of the stream.
func (c *Client) Image(ctx context.Context, stream, digest string) (Pull, error) {
	object, err := c.cluster.Get(ctx, Images, c.namespace, stream+"@"+digest)
	if err != nil {
		return Pull{}, err
	}
	var fields struct {
		Image imageFields `json:"image"`
	}
	if err := cluster.Decode(object, &fields); err != nil {
		return Pull{}, err
	}
	return fields.Image.pull(), nil
}

// imageFields are those of the API's Image that are used here.
type imageFields struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Manifests []struct {
		Digest string `json:"digest"`
	} `json:"dockerImageManifests"`
	Config struct {
		Created string `json:"Created"`
		Config  struct {
			Ports  map[string]any    `json:"ExposedPorts"`
			Labels map[string]string `json:"Labels"`
		} `json:"Config"`
	} `json:"dockerImageMetadata"`
}

func (i imageFields) pull() Pull {
	pull := Pull{
		Digest: i.Metadata.Name, Created: i.created(), Ports: slices.Sorted(maps.Keys(i.Config.Config.Ports)), Labels: i.Config.Config.Labels,
	}
	for _, child := range i.Manifests {
		pull.Children = append(pull.Children, child.Digest)
	}
	return pull
}

// created returns the time, zero where it is missing or no time: it is what whoever built the image wrote.
func (i imageFields) created() time.Time {
	created, err := time.Parse(time.RFC3339, i.Config.Created)
	if err != nil {
		return time.Time{}
	}
	return created.UTC()
}
