package registry_test

import (
	"context"
	"io"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// crashingSource is an image whose blobs crash: when they are opened, or when they are read.
type crashingSource struct {
	registry.Source
	atOpen bool
}

func (s crashingSource) Blob(context.Context, v1.Descriptor) (io.ReadCloser, error) {
	if s.atOpen {
		panic("upset")
	}
	return io.NopCloser(crashingReader{}), nil
}

type crashingReader struct{}

func (crashingReader) Read([]byte) (int, error) { panic("upset") }

func TestAPanicInASourceIsAnError(t *testing.T) {
	t.Parallel()
	for _, atOpen := range []bool{true, false} {
		target := faultyregistry.Start(t)
		image := randomImage(t)
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		from := crashingSource{registry.FromImage(image), atOpen}
		_, err = registry.Copy(t.Context(), from, digest, plain(t, target).Repository("a/b"), nil)
		if fault.KindOf(err) != fault.Unexpected || !strings.Contains(err.Error(), "crashed: ") {
			t.Errorf("at open: %t: error %v of kind %v, want the crash", atOpen, err, fault.KindOf(err))
		}
	}
}
