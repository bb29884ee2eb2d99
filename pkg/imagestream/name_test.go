package imagestream_test

import (
	"fmt"
	"strings"
	"testing"

	"dockline/pkg/fault"
	"dockline/pkg/imagestream"
)

func TestParseName(t *testing.T) {
	t.Parallel()
	for text, right := range map[string]bool{
		"hello-app:dev": true, "a.b_c--d:1.0-rc.1": true, "hello:_x": true, "hello-app": false, ":dev": false, "hello:": false,
		"Hello:dev": false, "hello:a b": false, "hello:-x": false, "a/b:dev": false, "hello:dev:x": false, "hello@x:dev": false,
		"-a:dev": false, "../x:dev": false, strings.Repeat("a", 254) + ":dev": false, "a:" + strings.Repeat("b", 129): false,
	} {
		_, err := imagestream.ParseName(text)
		if (err == nil) != right || err != nil && fault.KindOf(err) != fault.Configuration {
			t.Errorf("ParseName(%q): %v", text, err)
		}
	}
}

func FuzzParseName(f *testing.F) {
	f.Add("hello-app:dev")
	f.Add("a..b:c")
	f.Add("a:\n")
	f.Fuzz(func(t *testing.T, text string) {
		name, err := imagestream.ParseName(text)
		if err != nil {
			return
		}
		if name.String() != text {
			t.Errorf("%q became %q", text, name)
		}
		if strings.ContainsAny(text, "/?#%@ \n") || strings.Count(text, ":") != 1 {
			t.Errorf("%q does not belong into a path", text)
		}
	})
}

func ExampleParseName() {
	name, err := imagestream.ParseName("hello-app:prod")
	fmt.Println(name.Stream, name.Tag, err)
	// Output: hello-app prod <nil>
}
