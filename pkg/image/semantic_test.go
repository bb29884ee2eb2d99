package image_test

import (
	"testing"

	"dockline/pkg/image"
)

func TestSemanticOrder(t *testing.T) {
	t.Parallel()
	// Each comes before the next.
	ordered := []string{"0.9", "1.0-rc.2", "1.0-rc.10", "1.0-replaced-4ddcfe33", "v1.0.0", "1.0.1", "1.2", "1.10.0", "2", "10"}
	for i, a := range ordered {
		for j, b := range ordered {
			left, ok := image.ParseSemantic(a)
			right, alsoOK := image.ParseSemantic(b)
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if !ok || !alsoOK || left.Compare(right) != want {
				t.Errorf("%s compared with %s: %d (%t, %t), want %d", a, b, left.Compare(right), ok, alsoOK, want)
			}
		}
	}
	for _, none := range []string{"", "latest", "develop-0e0cf4c8", "2026.03.01", "1.0.0.0", "1.", "v", "1.0-", "1.0-rc..1", "0e0cf4c8", "1.0-rc.01"} {
		if _, ok := image.ParseSemantic(none); ok {
			t.Errorf("%q has an order", none)
		}
	}
}

func TestSemanticFill(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{"1.2.3": "1|1.2|1.2.3", "v2": "2|2.0|2.0.0", "1.0-rc.3": "1|1.0|1.0.0"} {
		parsed, _ := image.ParseSemantic(version)
		if got := parsed.Fill("{major}|{major}.{minor}|{major}.{minor}.{patch}"); got != want {
			t.Errorf("%s: %q, want %q", version, got, want)
		}
	}
}
