package promote

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"dockline/pkg/image"
)

// FuzzImages: what a list comes to is what stands in it, each image once in the target, and all of it can be the path of
// a request.
func FuzzImages(f *testing.F) {
	f.Add("a/shop:1.0,a/cart:1.0", "")
	f.Add("a/shop:1.0-rc.1=1.0 # why\n\n a/cart:2@sha256:"+strings.Repeat("a", 64)+"=2.0,", "")
	f.Add("a/shop:1.0,a/shop:1.0=2.0", "")
	f.Add("user:password@registry.example/a/shop:1.0", "")
	f.Add("a/shop:1.0-rc.1", "1.0")
	f.Add(",,#", "../1")
	f.Fuzz(func(t *testing.T, list, release string) {
		orders, err := (&Config{ReleaseVersion: release}).several("IMAGES", list)
		if err != nil {
			return
		}
		if len(orders) == 0 || len(orders) > mostImages {
			t.Fatalf("%q: %d images", list, len(orders))
		}
		targets := map[string]bool{}
		for _, one := range orders {
			target := image.Image{Name: one.image.Name, Version: one.tag}
			if parsed, err := image.Parse(target.String()); err != nil || parsed != target || targets[target.String()] {
				t.Errorf("%q: writes %q: %v", list, target, err)
			}
			targets[target.String()] = true
			entry := one.image.String()
			if one.digest != "" {
				entry += "@" + one.digest
			}
			if one.tag != one.image.Version && release == "" {
				entry += "=" + one.tag
			}
			if !strings.Contains(list, entry) {
				t.Errorf("%q: made up %+v", list, one)
			}
			if release != "" && one.tag != release {
				t.Errorf("%q, %q: tag %q", list, release, one.tag)
			}
		}
	})
}

// TestAListIsReadOnce, from a pipe, and as an editor of Windows leaves it.
func TestAListIsReadOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if _, err := write.WriteString("\ufeff" + hello + ":1.0\r\n# the end\r\n"); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	got := promote(t, s.with("IMAGE", "", "IMAGES_FILE", fmt.Sprintf("/proc/self/fd/%d", read.Fd())))
	if got.status != 0 || holds(t, s.target, hello+":1.0") != s.digest {
		t.Errorf("status %d: %s", got.status, got.log)
	}
}

// TestNoImageIsWrittenWhereClientsKeepTheirOwn: such a tag is a list of what refers to an image, or its signatures.
func TestNoImageIsWrittenWhereClientsKeepTheirOwn(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	hex := strings.Repeat("0", 64)
	for _, variables := range [][]string{
		{"RELEASE_VERSION", "sha256-" + hex},
		{"RELEASE_VERSION", "sha256-" + hex + ".sig"},
		{"IMAGE", hello + ":sha256-" + hex},
		{"IMAGE", "", "IMAGES", hello + ":1.0=sha256-" + hex + ".att"},
		{"IMAGE", "", "IMAGES", hello + ":sha256-" + hex},
		{"FLOATING_TAGS", "sha256-" + hex},
		{"FLOATING_TAGS", "sha256-{major}" + hex[1:]},
		{"BACKUP_TAG", "sha256-" + hex[8:] + "{digest8}"},
	} {
		got := promote(t, s.with(variables...))
		if got.status != 2 || !strings.Contains(got.last, "has the form of the tags") || len(s.source.Requests()) > 0 {
			t.Errorf("%q: status %d: %s", variables, got.status, got.last)
		}
	}
}
