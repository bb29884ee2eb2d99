package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// changed is a layer whose file was changed after the image was made.
type changed struct {
	v1.Layer
	change func([]byte) []byte
}

func (c changed) Compressed() (io.ReadCloser, error) {
	content, err := c.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	defer content.Close()
	read, err := io.ReadAll(content)
	return io.NopCloser(bytes.NewReader(c.change(read))), err
}

func changedImage(t *testing.T, change func([]byte) []byte) (v1.Image, v1.Descriptor) {
	t.Helper()
	layer, err := random.Layer(4096, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, changed{layer, change})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	size, err := layer.Size()
	if err != nil {
		t.Fatal(err)
	}
	return image, v1.Descriptor{Digest: digest, Size: size}
}

func TestALocalBlobIsWhatItsDescriptorSays(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		change      func([]byte) []byte
		text        string // "" means that it is right
	}{
		{"right", func(content []byte) []byte { return content }, ""},
		{"changed", func(content []byte) []byte { content[7] ^= 1; return content }, "has the digest"},
		{"shorter", func(content []byte) []byte { return content[1:] }, "its manifest says"},
		{"longer", func(content []byte) []byte { return append(content, 0) }, "more than"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			image, blob := changedImage(t, row.change)
			content, err := registry.FromImage(image).Blob(t.Context(), blob)
			if err != nil {
				t.Fatal(err)
			}
			defer content.Close()
			_, err = io.Copy(io.Discard, content)
			if row.text == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if fault.KindOf(err) != fault.Wrong || !strings.Contains(err.Error(), row.text) || !strings.Contains(err.Error(), blob.Digest.String()) {
				t.Errorf("error %v of kind %v, want %q", err, fault.KindOf(err), row.text)
			}
			digest, err := image.Digest()
			if err != nil {
				t.Fatal(err)
			}
			target := faultyregistry.Start(t)
			if _, err := registry.Copy(t.Context(), registry.FromImage(image), digest, plain(t, target).Repository("a/b"), nil); fault.KindOf(err) != fault.Wrong {
				t.Errorf("copying: error %v of kind %v, want what is wrong with the blob", err, fault.KindOf(err))
			}
			if count(target, "PUT /v2/a/b/manifests/") > 0 {
				t.Error("the copy went on to the manifest")
			}
		})
	}
}

func TestALocalBlobEndsWithItsContext(t *testing.T) {
	t.Parallel()
	image, blob := changedImage(t, func(content []byte) []byte { return content })
	ctx, cancel := context.WithCancel(t.Context())
	content, err := registry.FromImage(image).Blob(ctx, blob)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if _, err := io.ReadFull(content, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, content); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
