package retag_test

import (
	"strings"
	"testing"

	"dockline/steps/environment/fakecluster"
)

func TestIndex(t *testing.T) {
	t.Parallel()
	index := fakecluster.Image{Digest: d12, Children: []string{d10, d11}}
	for _, row := range []struct{ mode, imported string }{{"", d12}, {"PreserveOriginal", d12}, {"Legacy", d10}} {
		c := fakecluster.New(t)
		c.Image(v10, index)
		got := run(t, c, "IMAGE=deepsky/hello:1.0", "DIGEST="+d12, "IMPORT_MODE="+row.mode)
		if got.Status != 0 || got.Results["CURRENT_DIGEST"] != row.imported {
			t.Errorf("IMPORT_MODE=%s: exit status %d, results %v\n%s", row.mode, got.Status, got.Results, got.log)
		}
	}
}

// TestIndexThatMustBeLookedInto has a tag that means one image of an index, and the index's digest as what is expected
// or wanted. Whether one belongs to the other is for the cluster to tell; that it cannot is not "another image".
func TestIndexThatMustBeLookedInto(t *testing.T) {
	t.Parallel()
	index := host + "/deepsky/hello@" + d12
	for _, row := range []struct {
		name   string
		index  *fakecluster.Image
		with   []string
		status int
		last   string
	}{
		{"expected, and of the index", &fakecluster.Image{Digest: d12, Children: []string{d10}}, []string{"EXPECT_CURRENT=" + d12}, 0, ""},
		{"expected, and not of the index", &fakecluster.Image{Digest: d12, Children: []string{d11}}, []string{"EXPECT_CURRENT=" + d12}, 3, "EXPECT_CURRENT"},
		{"expected, and not there any more", nil, []string{"EXPECT_CURRENT=" + d12}, 3, "EXPECT_CURRENT"},
		{"expected, and not allowed to be read", &fakecluster.Image{Reason: "Unauthorized", Message: "no"}, []string{"EXPECT_CURRENT=" + d12}, 5, "pulls with its own secrets"},
		{"expected, and away", &fakecluster.Image{Reason: "ServiceUnavailable", Message: "away"}, []string{"EXPECT_CURRENT=" + d12}, 6, "away"},
		{"wanted, and imported as one image", &fakecluster.Image{Digest: d11}, []string{"DIGEST=" + d12}, 0, ""},
		{"wanted, and moved", nil, []string{"DIGEST=" + d12}, 3, "stands for " + d11},
		{"wanted, and not allowed to be read", &fakecluster.Image{Reason: "Unauthorized", Message: "no"}, []string{"DIGEST=" + d12}, 5, "pulls with its own secrets"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := cluster(t)
			c.Tag("hello-app", "dev", v10)
			if row.index != nil {
				c.Image(index, *row.index)
			}
			got := run(t, c, append([]string{"IMAGE=deepsky/hello:1.1", "DIGEST=" + d11}, row.with...)...)
			if got.Status != row.status || !strings.Contains(got.last, row.last) {
				t.Errorf("exit status %d, want %d; the last line must say %q:\n%s", got.Status, row.status, row.last, got.log)
			}
			if moved := specTag(t, c)["from"].(map[string]any)["name"] == v11; moved != (row.status == 0) {
				t.Errorf("exit status %d, and the tag was moved: %t", got.Status, moved)
			}
		})
	}
}
