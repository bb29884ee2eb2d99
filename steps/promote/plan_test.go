package promote

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
)

// reads fails when anything but reading was asked of a registry.
func reads(t *testing.T, of *faultyregistry.Registry) {
	t.Helper()
	if wrote := writes(of); len(wrote) > 0 || len(of.Requests()) == 0 {
		t.Errorf("of %d requests, these are no GET and no HEAD: %v", len(of.Requests()), wrote)
	}
}

// planned makes a plan of these variables by a dry run, and returns the variables that carry it out.
func planned(t *testing.T, s *stage, variables map[string]string) (carryOut map[string]string) {
	t.Helper()
	carryOut = maps.Clone(variables)
	carryOut["PLAN_FILE"] = filepath.Join(t.TempDir(), "plan.json")
	dry := maps.Clone(carryOut)
	dry["DRY_RUN"] = "true"
	s.source.Forget()
	s.target.Forget()
	got := promote(t, dry)
	if got.status != 0 || len(got.results) > 0 || !strings.Contains(got.stdout, "dry run: nothing was written") {
		t.Fatalf("dry run: status %d, results %v: %s\n%s", got.status, got.results, got.log, got.stdout)
	}
	reads(t, s.source)
	reads(t, s.target)
	return carryOut
}

func TestDryRunOfOneImage(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
	variables := planned(t, s, s.with("FORCE_REPLACES", held, "FORCE_REASON", "a|b `c` <d>", "FLOATING_TAGS", "latest"))
	markdown := string(must(os.ReadFile(strings.TrimSuffix(variables["PLAN_FILE"], ".json") + ".md")))
	for _, text := range []string{
		"1 image from `" + s.source.Host() + "` to `" + s.target.Host() + "`", "| `" + hello + "` | `1.0` | `1.0` |",
		"**forced:** replaces `" + held + "`", ": `a'b 'c' <d>`", "`c0ffee`", "`2026-03-01 12:00 UTC`", ":latest` moved",
	} {
		if !strings.Contains(markdown, text) {
			t.Errorf("the Markdown lacks %q:\n%s", text, markdown)
		}
	}
	for _, want := range []string{"forced", "same"} {
		if got := promote(t, variables); got.status != 0 || got.results["PROMOTION"] != want || !strings.Contains(got.log, "carrying out the plan") {
			t.Errorf("status %d, results %v: %s", got.status, got.results, got.log)
		}
	}
	if now := holds(t, s.target, hello+":1.0"); now != s.digest {
		t.Errorf("the tag holds %q, want %q", now, s.digest)
	}
}

func TestAPlanOfASetIsCarriedOut(t *testing.T) {
	t.Parallel()
	const n = 4
	s := newStage(t)
	digests, images := newSet(t, s, n)
	pushImage(t, s.target, service(1)+":1.0", must(random.Image(100, 1)))
	variables := planned(t, s, s.with("IMAGE", "", "IMAGES", images, "FORCE", "true", "FORCE_REASON", "why"))
	got := promote(t, variables)
	if diff := cmp.Diff(digests, tagsOf(t, s.target, n)); got.status != 0 || diff != "" {
		t.Errorf("status %d: %s\ntags (-want +got):\n%s", got.status, got.last, diff)
	}
}

// TestAPlanIsCarriedOutExactly has something change between the plan and its carrying out.
func TestAPlanIsCarriedOutExactly(t *testing.T) {
	t.Parallel()
	const n = 2
	for _, row := range []struct {
		description string
		change      func(t *testing.T, s *stage, variables map[string]string)
		text        string
	}{
		{"the source's tag was moved", func(t *testing.T, s *stage, _ map[string]string) {
			pushImage(t, s.source, service(0)+":1.0", must(random.Image(100, 1)))
		}, "service-000:1.0: image: planned \"sha256:"},
		{"the target's tag was written", func(t *testing.T, s *stage, _ map[string]string) {
			pushImage(t, s.target, service(0)+":1.0", must(random.Image(100, 1)))
		}, "service-000:1.0: promotion: planned \"copied\", now \"forced\""},
		{"the target's tag was moved", func(t *testing.T, s *stage, _ map[string]string) {
			pushImage(t, s.target, service(1)+":1.0", must(random.Image(100, 1)))
		}, "service-001:1.0: replaced image"},
		{"a floating tag was moved", func(t *testing.T, s *stage, _ map[string]string) {
			pushImage(t, s.target, service(0)+":latest", must(random.Image(100, 1)))
			pushImage(t, s.target, service(0)+":0.9", must(random.Image(100, 1)))
			pushImage(t, s.target, service(0)+":0.8", must(random.Image(100, 1)))
		}, "latest"},
		{"another reason", func(_ *testing.T, _ *stage, variables map[string]string) {
			variables["FORCE_REASON"] = "another"
		}, "reason: planned \"why\", now \"another\""},
		{"another backup", func(_ *testing.T, _ *stage, variables map[string]string) {
			variables["BACKUP_TAG"] = "old-{digest8}"
		}, "backup: planned"},
		{"no force", func(_ *testing.T, _ *stage, variables map[string]string) { delete(variables, "FORCE") }, "holds another image"},
		{"fewer images", func(_ *testing.T, _ *stage, variables map[string]string) {
			variables["IMAGES"] = service(0) + ":1.0"
		}, "service-001:1.0\" is planned, and was not asked for"},
		{"more images", func(t *testing.T, s *stage, variables map[string]string) {
			pushImage(t, s.source, "deepsky/more:1.0", must(random.Image(100, 1)))
			variables["IMAGES"] += ",deepsky/more:1.0"
		}, "deepsky/more:1.0\" is not in the plan"},
		{"another version in the target", func(_ *testing.T, _ *stage, variables map[string]string) {
			variables["RELEASE_VERSION"] = "2.0"
		}, "service-000:2.0\" is not in the plan"},
		{"another target", func(t *testing.T, s *stage, variables map[string]string) {
			variables["TARGET_REGISTRY"] += "/elsewhere"
		}, "TARGET_REGISTRY: planned"},
		{"no floating tags", func(_ *testing.T, _ *stage, variables map[string]string) { delete(variables, "FLOATING_TAGS") }, "latest"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			_, images := newSet(t, s, n)
			pushImage(t, s.target, service(1)+":1.0", must(random.Image(100, 1)))
			variables := planned(t, s, s.with("IMAGE", "", "IMAGES", images,
				"FORCE", "true", "FORCE_REASON", "why", "FLOATING_TAGS", "latest"))
			row.change(t, s, variables)
			s.target.Forget()
			got := promote(t, variables)
			if got.status != 3 || !strings.Contains(got.last, row.text) || len(writes(s.target)) > 0 {
				t.Errorf("status %d, writes %v, last line %s\nwant 3, none and %s", got.status, writes(s.target), got.last, row.text)
			}
		})
	}
}

func TestADryRunThatWouldBeRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
	pushImage(t, s.source, "deepsky/fine:1.0", must(random.Image(100, 1)))
	path := filepath.Join(t.TempDir(), "plan.json")
	if err := os.WriteFile(path, []byte("an earlier plan"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.target.Forget()
	got := promote(t, s.with("IMAGE", "", "IMAGES", hello+":1.0,deepsky/fine:1.0", "DRY_RUN", "true", "PLAN_FILE", path))
	if got.status != 3 || !strings.Contains(got.last, held) {
		t.Errorf("status %d: %s", got.status, got.last)
	}
	reads(t, s.target)
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("there is a plan: %v", err)
	}
	markdown := string(must(os.ReadFile(strings.TrimSuffix(path, ".json") + ".md")))
	if !strings.Contains(markdown, "**It would be refused:**") || !strings.Contains(markdown, held) || !strings.Contains(markdown, "`deepsky/fine`") {
		t.Errorf("the Markdown does not say so:\n%s", markdown)
	}
}

func TestWhatIsNoPlan(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	whole := aPlan()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	rows := map[string][2]string{ // description: content or path, and a part of the last line
		"another version":   {strings.Replace(whole, `"version":1`, `"version":2,"more":true`, 1), "its version is 2"},
		"another format":    {strings.Replace(whole, "dockline-promotion-plan", "x", 1), "it is not a plan"},
		"an unknown field":  {strings.Replace(whole, `"tool"`, `"allow":true,"tool"`, 1), "unknown field"},
		"two documents":     {whole + whole, "no whole JSON document"},
		"an image twice":    {strings.ReplaceAll(whole, "shop", "cart"), "is there twice"},
		"a wrong digest":    {strings.Replace(whole, `"digest":"sha256:`, `"digest":"../../`, 1), "a digest in it is none"},
		"no images":         {strings.Replace(whole, `"images":[`, `"images":[],"x":[`, 1), ""},
		"null":              {"null", "it is not a plan"},
		"a line end":        {strings.Replace(whole, "shop", `sh\nop`, 1), "control characters"},
		"a long text":       {strings.Replace(whole, `"reason":"`, `"reason":"`+strings.Repeat("x", 3000), 1), "too long"},
		"many nothings":     {`{"format":"dockline-promotion-plan","version":1,"images":[` + strings.Repeat("0,", 1<<20) + `0]}`, "more parts"},
		"a large file":      {strings.Repeat(" ", largestPlan) + whole, "larger than"},
		"a wrong promotion": {strings.Replace(whole, `"copied"`, `"deleted"`, 1), "promotion"},
		"a folder":          {dir, "is not a file"},
		"a pipe":            {pipe, "is not a file"},
		"a device":          {"/dev/zero", "is not a file"},
		"nothing there":     {filepath.Join(dir, "nothing"), "no such file"},
		"the Markdown":      {filepath.Join(dir, "plan.md"), "ends in .md"},
	}
	for i := range 40 {
		cut := len(whole) * i / 40
		rows["truncated at "+whole[max(0, cut-10):cut]] = [2]string{whole[:cut], ""}
	}
	for description, row := range rows {
		t.Run(description, func(t *testing.T) {
			t.Parallel()
			path := row[0]
			if !strings.HasPrefix(path, "/") {
				path = filepath.Join(t.TempDir(), "plan.json")
				if err := os.WriteFile(path, []byte(row[0]), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got := promote(t, s.with("PLAN_FILE", path))
			if got.status != 2 || !strings.Contains(got.last, "PLAN_FILE") || !strings.Contains(got.last, row[1]) {
				t.Errorf("status %d, last line %.300s; want 2 and %q", got.status, got.last, row[1])
			}
		})
	}
	if len(s.source.Requests())+len(writes(s.target)) > 0 {
		t.Error("a registry was asked")
	}
}

// aPlan returns a plan of two images.
func aPlan() string {
	digest := "sha256:" + strings.Repeat("0", 64)
	return string(must(json.Marshal(plan{
		Format: planFormat, Version: planVersion, Tool: "promote devel", Created: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Source: "testing.example.com", Target: "production.example.com/prefix",
		Images: []plannedImage{
			{
				From: "testing.example.com/a/shop:1.0-rc.1", To: "production.example.com/prefix/a/shop:1.0", Digest: digest, Promotion: Copied,
				Floating:  []*floatingReport{{Tag: "production.example.com/prefix/a/shop:latest", State: floatMoved, Replaced: digest, Version: "0.9"}},
				Platforms: []string{"linux/amd64"},
			},
			{
				From: "testing.example.com/a/cart:1.0-rc.1", To: "production.example.com/prefix/a/cart:1.0", Digest: digest, Promotion: Forced,
				Replaced: digest, Backup: "production.example.com/prefix/a/cart:1.0-replaced-00000000", Reason: "why",
			},
		},
	})))
}

func FuzzPlan(f *testing.F) {
	f.Add([]byte(aPlan()))
	f.Add([]byte(`{"format":"dockline-promotion-plan","version":1,"images":[null]}`))
	f.Add([]byte(`{"format":"dockline-promotion-plan","version":1,"images":[{"floating":[null]}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		read, err := parsePlan(content)
		if err != nil {
			return
		}
		written, err := json.Marshal(read)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parsePlan(written)
		if err != nil {
			t.Fatalf("written anew, it is no plan: %v", err)
		}
		if diff := cmp.Diff(read, again); diff != "" {
			t.Errorf("written anew, it is another (-read +again):\n%s", diff)
		}
		var items []*item
		for range read.Images {
			items = append(items, &item{})
		}
		for line := range strings.Lines(read.markdown(items, nil)) {
			if strings.Count(line, "`")%2 != 0 {
				t.Errorf("a text ends its own code: %q", line)
			}
		}
	})
}

// TestTheDocumentedPlan keeps docs/promote.md's example to what is written and read.
func TestTheDocumentedPlan(t *testing.T) {
	t.Parallel()
	document := must(os.ReadFile("../../docs/promote.md"))
	example := regexp.MustCompile("(?s)```json\n(.*?)```").FindSubmatch(document)
	if example == nil {
		t.Fatal("the document has no example")
	}
	read, err := parsePlan(example[1])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(must(json.MarshalIndent(read, "", "  ")))+"\n", string(example[1])); diff != "" {
		t.Errorf("the example is not what would be written (-written +example):\n%s", diff)
	}
	for _, one := range reflect.VisibleFields(reflect.TypeFor[plannedImage]()) {
		if name, _, _ := strings.Cut(one.Tag.Get("json"), ","); !strings.Contains(string(example[1]), `"`+name+`":`) {
			t.Errorf("the example lacks %q", name)
		}
	}
}

// TestWhatIsPlannedCanBeRead whatever the image says of itself, and a known secret in the reason.
func TestWhatIsPlannedCanBeRead(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	revision := "abc\n" + strings.Repeat("x", 5000)
	image := twoPlatforms(t, revision)
	s.digest = push(t, s.source, hello+":1.0", image)
	held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
	children := must(image.IndexManifest()).Manifests
	children[0].Platform = &v1.Platform{OS: "linux\x1b[2K\n", Architecture: strings.Repeat("x", 5000)}
	for len(children) < 200 {
		children = append(children, children[1])
	}
	listing(s, children...)
	s.target.Forget()
	variables := s.with("FORCE_REPLACES", held, "FORCE_REASON", "the password hunter2 was in it", "DB_PASSWORD", "the password hunter2",
		"PLAN_FILE", filepath.Join(t.TempDir(), "plan.json"))
	dry := maps.Clone(variables)
	dry["DRY_RUN"] = "true"
	if got := promote(t, dry); got.status != 0 {
		t.Fatal(got.log)
	}
	read, err := parsePlan(must(os.ReadFile(variables["PLAN_FILE"])))
	if err != nil {
		t.Fatal(err)
	}
	one := read.Images[0]
	if one.Reason != "[MASKED] was in it" || !strings.HasPrefix(one.Revision, "abc xxx") || len(one.Platforms) != mostNamedPlatforms ||
		!strings.HasPrefix(one.Platforms[0], "linux[2K /xxx") {
		t.Errorf("planned: %+v", one)
	}
	if got := promote(t, variables); got.status != 0 || got.results["PROMOTION"] != "forced" {
		t.Errorf("status %d: %s", got.status, got.last)
	}
}

// TestAPlanThatCouldNotBeReadIsNotWritten: a person would agree to it for nothing.
func TestAPlanThatCouldNotBeReadIsNotWritten(t *testing.T) {
	t.Parallel()
	same := func(text string) string { return text }
	var whole plan
	if err := json.Unmarshal([]byte(aPlan()), &whole); err != nil {
		t.Fatal(err)
	}
	if _, err := whole.encode(same); err != nil {
		t.Fatal(err)
	}
	for description, row := range map[string]struct {
		change func(*plannedImage)
		says   string
	}{
		"a line end":         {func(one *plannedImage) { one.Revision = "abc\n" }, "control characters"},
		"too long":           {func(one *plannedImage) { one.Reason = strings.Repeat("x", longestText+1) }, "too long"},
		"larger than a plan": {func(one *plannedImage) { one.Platforms = make([]string, 1<<20) }, "plan fewer images"},
	} {
		made := whole
		made.Images = slices.Clone(whole.Images)
		row.change(&made.Images[0])
		if _, err := made.encode(same); fault.KindOf(err) != fault.Configuration || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v", description, err)
		}
	}
	if _, err := whole.encode(func(text string) string { return strings.ReplaceAll(text, "sha256", "[MASKED]") }); err == nil {
		t.Error("a plan without digests is written")
	}
}

func TestAReasonIsOneLine(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for description, reason := range map[string]string{
		"two lines": "a\nb", "a line separator": "a\u2028b", "an escape": "a\x1b[2K", "too long": strings.Repeat("x", longestReason+1), "no text": "a\xff",
	} {
		got := promote(t, s.with("FORCE", "true", "FORCE_REASON", reason))
		if got.status != 2 || !strings.Contains(got.last, "FORCE_REASON is more than one line") || len(s.source.Requests()) > 0 {
			t.Errorf("%s: status %d: %s", description, got.status, got.last)
		}
	}
	if got := promote(t, s.with("FORCE", "true", "FORCE_REASON", strings.Repeat("ü", longestReason/2))); got.status != 0 {
		t.Error(got.last)
	}
}
