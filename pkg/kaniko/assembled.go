package kaniko

import (
	"bytes"
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/opencontainers/go-digest"
)

// assembled is an image of layers that are there, and of a configuration with all that Docker knows (go-containerregistry's
// own leaves some of it out, such as HEALTHCHECK --start-interval). It implements v1.Image.
type assembled struct {
	layers           []v1.Layer
	manifest, config []byte
	mediaType        types.MediaType
}

// assemble makes an image of the base's layers and those that were built.
func assemble(config dockerspec.DockerOCIImage, layers []v1.Layer, docker bool, annotations map[string]string) (*assembled, error) {
	a := &assembled{layers: layers, mediaType: types.OCIManifestSchema1}
	configType := types.OCIConfigJSON
	if docker {
		a.mediaType, configType = types.DockerManifestSchema2, types.DockerConfigJSON
	}
	config.RootFS.Type, config.RootFS.DiffIDs = "layers", []digest.Digest{}
	manifest := v1.Manifest{SchemaVersion: 2, MediaType: a.mediaType, Layers: []v1.Descriptor{}, Annotations: annotations}
	a.layers = nil
	for _, layer := range layers {
		layer, err := inFamily(layer, docker)
		if err != nil {
			return nil, err
		}
		a.layers = append(a.layers, layer)
		diffID, err := layer.DiffID()
		if err != nil {
			return nil, err
		}
		described, err := partial.Descriptor(layer)
		if err != nil {
			return nil, err
		}
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.Digest(diffID.String()))
		manifest.Layers = append(manifest.Layers, *described)
	}
	var err error
	if a.config, err = json.Marshal(config); err != nil {
		return nil, err
	}
	hash, size, err := v1.SHA256(bytes.NewReader(a.config))
	if err != nil {
		return nil, err
	}
	manifest.Config = v1.Descriptor{MediaType: configType, Digest: hash, Size: size}
	a.manifest, err = json.Marshal(manifest)
	return a, err
}

// retyped is a layer under the other family's name for the same content.
type retyped struct {
	v1.Layer
	mediaType types.MediaType
}

// MediaType implements v1.Layer.
func (r retyped) MediaType() (types.MediaType, error) { return r.mediaType, nil }

// ofDocker are OCI's names of layers by Docker's.
var ofDocker = map[types.MediaType]types.MediaType{
	types.DockerLayer: types.OCILayer, types.DockerUncompressedLayer: types.OCIUncompressedLayer,
	types.DockerForeignLayer: types.OCIRestrictedLayer, //nolint:staticcheck // what base images have
}

// inFamily gives a layer the name that goes with the manifest. What Docker has no name for keeps its own.
func inFamily(layer v1.Layer, docker bool) (v1.Layer, error) {
	mediaType, err := layer.MediaType()
	if err != nil {
		return nil, err
	}
	for dockers, ocis := range ofDocker {
		switch {
		case docker && mediaType == ocis:
			return retyped{layer, dockers}, nil
		case !docker && mediaType == dockers:
			return retyped{layer, ocis}, nil
		}
	}
	return layer, nil
}

// Layers implements v1.Image, as the methods below do.
func (a *assembled) Layers() ([]v1.Layer, error)         { return a.layers, nil }
func (a *assembled) MediaType() (types.MediaType, error) { return a.mediaType, nil }
func (a *assembled) Size() (int64, error)                { return partial.Size(a) }
func (a *assembled) ConfigName() (v1.Hash, error)        { return partial.ConfigName(a) }
func (a *assembled) ConfigFile() (*v1.ConfigFile, error) { return partial.ConfigFile(a) }
func (a *assembled) RawConfigFile() ([]byte, error)      { return a.config, nil }
func (a *assembled) Digest() (v1.Hash, error)            { return partial.Digest(a) }
func (a *assembled) Manifest() (*v1.Manifest, error)     { return partial.Manifest(a) }
func (a *assembled) RawManifest() ([]byte, error)        { return a.manifest, nil }
func (a *assembled) LayerByDigest(h v1.Hash) (v1.Layer, error) {
	if config, err := a.ConfigName(); err == nil && config == h {
		return partial.ConfigLayer(a)
	}
	for _, layer := range a.layers {
		if digest, err := layer.Digest(); err == nil && digest == h {
			return layer, nil
		}
	}
	return nil, errNoLayer
}

// LayerByDiffID implements v1.Image.
func (a *assembled) LayerByDiffID(h v1.Hash) (v1.Layer, error) {
	for _, layer := range a.layers {
		if diffID, err := layer.DiffID(); err == nil && diffID == h {
			return layer, nil
		}
	}
	return nil, errNoLayer
}
