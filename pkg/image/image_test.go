package image_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/fault"
	"dockline/pkg/image"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description, text string
		want              image.Image
		problem           string // part of the error
	}{
		{"the seed's image", "deepsky/awl-deepsky-hello:1.0", image.Image{Name: "deepsky/awl-deepsky-hello", Version: "1.0"}, ""},
		{"deeper path", "group/sub/project/app:v1_2.3-rc.1", image.Image{Name: "group/sub/project/app", Version: "v1_2.3-rc.1"}, ""},
		{"separators", "a__b/c--d.e_f:_1", image.Image{Name: "a__b/c--d.e_f", Version: "_1"}, ""},
		{"longest version", "a/b:" + strings.Repeat("1", 128), image.Image{Name: "a/b", Version: strings.Repeat("1", 128)}, ""},
		{"no version", "deepsky/hello", image.Image{}, "version is missing"},
		{"empty version", "deepsky/hello:", image.Image{}, "not a tag"},
		{"empty", "", image.Image{}, "one part"},
		{"one part", "hello:1.0", image.Image{}, "one part"},
		{"upper case", "deepsky/Hello:1.0", image.Image{}, "upper case"},
		{"digest", "deepsky/hello@sha256:" + strings.Repeat("0", 64), image.Image{}, "digest"},
		{"tag and digest", "deepsky/hello:1@sha256:" + strings.Repeat("0", 64), image.Image{}, "digest"},
		{"account", "user:S3CRET@registry.example.com/deepsky/hello:1.0", image.Image{}, "an account"},
		{"account with a slash in its password", "user:S3/CRET@host/deepsky/hello:1.0", image.Image{}, "an account"},
		{"account and digest", "user:S3CRET@host/deepsky/hello@sha256:" + strings.Repeat("0", 64), image.Image{}, "an account"},
		{"host", "registry.example.com/deepsky/hello:1.0", image.Image{}, "host"},
		{"host with port", "registry:5000/deepsky/hello:1.0", image.Image{}, "host"},
		{"localhost", "localhost/deepsky/hello:1.0", image.Image{}, "host"},
		{"traversal", "deepsky/../etc:1.0", image.Image{}, "each part"},
		{"leading traversal", "../deepsky/etc:1.0", image.Image{}, "each part"},
		{"empty part", "deepsky//hello:1.0", image.Image{}, "each part"},
		{"leading slash", "/deepsky/hello:1.0", image.Image{}, "each part"},
		{"space", "deepsky/hello :1.0", image.Image{}, "each part"},
		{"line end in the version", "deepsky/hello:1.0\n", image.Image{}, "not a tag"},
		{"two colons", "deepsky/hello:1:0", image.Image{}, "not a tag"},
		{"version too long", "a/b:" + strings.Repeat("1", 129), image.Image{}, "not a tag"},
		{"version led by a dot", "a/b:.1", image.Image{}, "not a tag"},
		{"query in the version", "a/b:1?x=y", image.Image{}, "not a tag"},
		{"name too long", "a/" + strings.Repeat("b", 254) + ":1", image.Image{}, "more than 255"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			got, err := image.Parse(row.text)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", row.text, diff)
			}
			if row.problem == "" {
				if err != nil || got.String() != row.text {
					t.Errorf("Parse(%q) = %q, %v; want the same text back", row.text, got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), row.problem) || strings.Contains(err.Error(), "CRET") || fault.KindOf(err) != fault.Configuration {
				t.Errorf("Parse(%q): error %v of kind %v, want one with %q", row.text, err, fault.KindOf(err), row.problem)
			}
		})
	}
}

func TestParseNameLeavesOutTheVersion(t *testing.T) {
	t.Parallel()
	got, err := image.ParseName("deepsky/hello")
	if err != nil || got.String() != "deepsky/hello" {
		t.Errorf("ParseName = %q, %v", got, err)
	}
}

func TestSplitReference(t *testing.T) {
	t.Parallel()
	for reference, want := range map[string][3]string{
		"host:5000/a/b:1":          {"host:5000/a/b", "1", ""},
		"host:5000/a/b":            {"host:5000/a/b", "", ""},
		"host/a/b@sha256:01":       {"host/a/b", "", "sha256:01"},
		"host:5000/a/b:1@sha256:1": {"host:5000/a/b", "1", "sha256:1"},
		"b:1":                      {"b", "1", ""},
		"hello-app@sha256:1":       {"hello-app", "", "sha256:1"},
		"":                         {"", "", ""},
	} {
		var got [3]string
		if got[0], got[1], got[2] = image.SplitReference(reference); got != want {
			t.Errorf("SplitReference(%q) = %q, want %q", reference, got, want)
		}
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	const commit = "0e0cf4c8bb274194d0a5524d37f1874ecfda99b3"
	for _, row := range []struct{ description, got, want string }{
		{"branch", image.BranchTag("develop", commit), "develop-0e0cf4c8"},
		{"branch with slashes and case", image.BranchTag("feature/ABC-12_Login!", commit), "feature-abc-12-login-0e0cf4c8"},
		{"long branch keeps the commit", image.BranchTag(strings.Repeat("x", 300), commit), strings.Repeat("x", 119) + "-0e0cf4c8"},
		{"branch of nothing usable", image.BranchTag("---", commit), "0e0cf4c8"},
		{"short commit", image.BranchTag("develop", "abc"), "develop-abc"},
		{"commit", image.CommitTag(commit), "commit-" + commit},
		{"release", image.ReleaseVersion("v1.2.0"), "1.2.0"},
		{"release without v", image.ReleaseVersion("1.2.0"), "1.2.0"},
		{"a word that begins with v", image.ReleaseVersion("vanilla"), "vanilla"},
		{"release in a folder", image.ReleaseVersion("release/1.2+build"), "release-1.2-build"},
	} {
		if row.got != row.want {
			t.Errorf("%s: got %q, want %q", row.description, row.got, row.want)
		}
	}
}

func TestTagsThatClientsKeepTheirOwnIn(t *testing.T) {
	t.Parallel()
	hex := strings.Repeat("0a", 32)
	for tag, free := range map[string]bool{
		"sha256-" + hex: false, "sha256-" + hex + ".sig": false, "sha256-" + hex + ".att": false, "sha256-" + hex + ".sbom": false,
		"sha512-" + hex: false, "sha256-" + hex + ".": true, "sha256-" + hex[1:]: true, "sha256-" + hex + "0": true, "sha256-0a": true,
		"1.0": true, "commit-" + hex: true, "a/b": false, "v-sha256-" + hex: true,
	} {
		if err := image.CheckTarget(tag); (err == nil) != free || err != nil && fault.KindOf(err) != fault.Configuration {
			t.Errorf("%s: %v", tag, err)
		}
	}
	if tag, err := image.Template("sha256-"+hex[8:]+"{digest8}").Expand("1.0", "sha256:"+hex); err == nil {
		t.Errorf("a backup may be kept as %q", tag)
	}
}

func TestBackupTemplate(t *testing.T) {
	t.Parallel()
	const digest = "sha256:4ddcfe339dcd83f9c7617cb180c9cd1cdadc48962af076731a4e8d75ce80d87c"
	for _, row := range []struct {
		description    string
		template       image.Template
		version, want  string
		wrong, expands bool
	}{
		{"default", "{version}-replaced-{digest8}", "1.1", "1.1-replaced-4ddcfe33", false, true},
		{"own words", "old-{digest8}-of-{version}", "1.1", "old-4ddcfe33-of-1.1", false, true},
		{"long version is cut", "{version}-replaced-{digest8}", strings.Repeat("9", 128), strings.Repeat("9", 110) + "-replaced-4ddcfe33", false, true},
		{"no digest: the second backup would move the first", "{version}-old", "1.1", "1.1-old", true, true},
		{"not a tag", "{version}/{digest8}", "1.1", "", true, false},
		{"unknown placeholder", "{date}-{digest8}", "1.1", "", true, false},
		{"too long without the version", image.Template(strings.Repeat("x", 130) + "{digest8}"), "1", "", true, false},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			if err := row.template.Check(); (err != nil) != row.wrong {
				t.Errorf("Check() = %v, want an error: %t", err, row.wrong)
			}
			got, err := row.template.Expand(row.version, digest)
			if got != row.want || (err == nil) != row.expands {
				t.Errorf("Expand() = %q, %v; want %q", got, err, row.want)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"deepsky/awl-deepsky-hello:1.0", "a/b@sha256:0", "h:5000/a/b:1", "../a:1", "a/b:", "é/b:1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := image.Parse(text)
		if err != nil {
			return
		}
		if parsed.String() != text {
			t.Errorf("Parse(%q).String() = %q", text, parsed)
		}
		if strings.Contains(text, "..") && strings.Contains(parsed.Name, "..") || strings.ContainsAny(text, "@?#% \\\n") {
			t.Errorf("Parse(%q) accepts what changes the path of a URL", text)
		}
		if err := image.CheckVersion(image.BranchTag(text, "0123456789")); err != nil {
			t.Errorf("BranchTag(%q): %v", text, err)
		}
	})
}

func ExampleParse() {
	hello, err := image.Parse("deepsky/awl-deepsky-hello:1.0")
	if err != nil {
		panic(err)
	}
	fmt.Println(hello.Name, hello.Version)
	// Output:
	// deepsky/awl-deepsky-hello 1.0
}
