package chaos_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/chaos"
)

// TestWhatIsIncompleteIsFound writes tags to manifests, each of which lacks another part.
func TestWhatIsIncompleteIsFound(t *testing.T) {
	t.Parallel()
	image := must(random.Image(256, 2))
	index := must(random.Index(256, 1, 2))
	missing := "sha256:" + strings.Repeat("a", 64)
	for description, content := range map[string]string{
		"a layer":         strings.Replace(string(must(image.RawManifest())), must(must(image.Layers())[1].Digest()).String(), missing, 1),
		"a configuration": strings.Replace(string(must(image.RawManifest())), must(image.ConfigName()).String(), missing, 1),
		"a platform":      strings.Replace(string(must(index.RawManifest())), must(index.IndexManifest()).Manifests[1].Digest.String(), missing, 1),
	} {
		store := chaos.NewStore()
		write(t, store, "a/image:whole", image)
		writeIndex(t, store, "a/image:index", index)
		for _, whole := range []string{"a/image:whole", "a/image:index", "a/image:absent"} {
			if err := store.Complete(whole); err != nil {
				t.Errorf("%s: %v", whole, err)
			}
		}
		// A type that go-containerregistry's registry does not look into.
		put := httptest.NewRequest(http.MethodPut, "/v2/a/image/manifests/part", strings.NewReader(content))
		put.Header.Set("Content-Type", "application/vnd.example+json")
		store.ServeHTTP(httptest.NewRecorder(), put)
		if err := store.Complete("a/image:part"); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s: %v", description, err)
		}
		if err := store.Recorded("a/image:whole"); err == nil {
			t.Error("an image without a record has one")
		}
		if got := store.Do(http.MethodHead, "/v2/a/other/blobs/"+must(image.ConfigName()).String()).Code; got != http.StatusNotFound {
			t.Errorf("a blob of one repository is in another: %d", got)
		}
	}
}

func write(t testing.TB, store *chaos.Store, at string, image v1.Image) string {
	t.Helper()
	reference, there := store.Reference(at)
	if err := remote.Write(reference, image, there); err != nil {
		t.Fatal(err)
	}
	return must(image.Digest()).String()
}

func writeIndex(t testing.TB, store *chaos.Store, at string, index v1.ImageIndex) string {
	t.Helper()
	reference, there := store.Reference(at)
	if err := remote.WriteIndex(reference, index, there); err != nil {
		t.Fatal(err)
	}
	return must(index.Digest()).String()
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
