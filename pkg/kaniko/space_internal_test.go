package kaniko

import (
	"strings"
	"testing"

	"dockline/pkg/fault"
)

func TestRoom(t *testing.T) {
	t.Parallel()
	const plenty = 1 << 40
	for name, row := range map[string]struct {
		left    room
		needed  int64 // certainly; thrice as much is likely
		refused bool
		says    string // of the warning or the refusal; "" for neither
	}{
		"plenty":                      {room{"/", plenty, plenty}, 1 << 30, false, ""},
		"a file system without limit": {room{"/", plenty, -1}, 1 << 30, false, ""},
		"too small for sure":          {room{"/", 9e8, plenty}, 1e9, true, `"/" has 900.0 MB left, and a base image alone needs 1000.0 MB`},
		"too small perhaps":           {room{"/image", 2e9, plenty}, 1e9, false, `"/image" has 2000.0 MB left, and 3268.4 MB are likely`},
		"nothing left, nothing known": {room{"/", 0, plenty}, 0, true, "has 0.0 MB left"},
		"no file more":                {room{"/", plenty, 0}, 0, true, "left, for 0 files"},
		"few files more":              {room{"/", plenty, 100}, 0, false, "left, for 100 files"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			warning, err := row.left.judge(row.needed, 3*row.needed)
			if err != nil {
				warning += err.Error()
			}
			if (err != nil) != row.refused || row.refused && fault.KindOf(err) != fault.BuildFailed {
				t.Errorf("error %v", err)
			}
			if (row.says == "") != (warning == "") || !strings.Contains(warning, row.says) {
				t.Errorf("it says %q, want %q", warning, row.says)
			}
		})
	}
}
