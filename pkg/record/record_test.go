package record_test

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/pkg/fault"
	"dockline/pkg/record"
	"dockline/pkg/registry"
)

// layerOf returns what a registry would hold of the record.
func layerOf(t testing.TB, r record.Record, key *record.Key) []byte {
	t.Helper()
	artifact := must(r.Artifact(registry.Manifest{MediaType: types.OCIImageIndex, Digest: r.Digest, Raw: []byte("{}")}, key))
	blob := must(artifact.Blob(t.Context(), artifact.Layer()))
	return must(io.ReadAll(blob))
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	key, other := newKey(t), newKey(t)
	for _, r := range []record.Record{
		promoted(digestOf("a"), record.Forced, noon), verification(digestOf("a"), record.Right, noon),
	} {
		for _, row := range []struct {
			description string
			key         *record.Key
			keys        record.Keys
			want        record.Signed
		}{
			{"unsigned", nil, key.Public(), record.Signed{Record: r}},
			{"signed", key, append(other.Public(), key.Public()...), record.Signed{Record: r, Key: key.ID()}},
			{"signed by another", other, key.Public(), record.Signed{Record: r, Foreign: true}},
			{"signed, no key is known", key, nil, record.Signed{Record: r, Foreign: true}},
		} {
			got, err := record.Read(layerOf(t, r, row.key), row.keys)
			if diff := cmp.Diff(row.want, got); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", row.description, err, diff)
			}
		}
	}
}

func TestOneRecordHasOneForm(t *testing.T) {
	t.Parallel()
	summer := time.FixedZone("CEST", 7200)
	one := must(promoted(digestOf("a"), record.Copied, noon).Statement())
	same := must(promoted(digestOf("a"), record.Copied, noon.In(summer).Add(300*time.Millisecond)).Statement())
	if diff := cmp.Diff(string(one), string(same)); diff != "" {
		t.Error(diff)
	}
	first := must(promoted(digestOf("a"), record.Copied, noon).Artifact(registry.Manifest{Digest: digestOf("a")}, nil))
	second := must(promoted(digestOf("a"), record.Copied, noon).Artifact(registry.Manifest{Digest: digestOf("a")}, nil))
	if first.Root().Digest != second.Root().Digest {
		t.Error("two artifacts of one record have different digests")
	}
}

func TestATamperedEnvelopeIsNotSigned(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	right := string(layerOf(t, verification(digestOf("a"), record.Wrong, noon), key))
	other := string(layerOf(t, verification(digestOf("a"), record.Right, noon), key))
	payload := func(envelope string) string {
		_, rest, _ := strings.Cut(envelope, `"payload":"`)
		text, _, _ := strings.Cut(rest, `"`)
		return text
	}
	swapped := strings.Replace(right, payload(right), payload(other), 1)
	got, err := record.Read([]byte(swapped), key.Public())
	if err != nil || got.Key != "" || !got.Foreign {
		t.Errorf("another statement under the same signature: key %q, %v", got.Key, err)
	}
	for name, changed := range map[string]string{
		"another payload type": strings.Replace(right, "vnd.in-toto+json", "vnd.in-toto+yaml", 1),
		"no payload":           strings.Replace(right, payload(right), "", 1),
		"not base64":           strings.Replace(right, payload(right), "{}", 1),
		"something after it":   right + "{}",
		"too many signatures":  strings.Replace(right, `"signatures":[`, `"signatures":[`+strings.Repeat(`{"sig":""},`, 20), 1),
	} {
		if got, err := record.Read([]byte(changed), key.Public()); fault.KindOf(err) != fault.Refused || got.Key != "" {
			t.Errorf("%s: key %q, %v", name, got.Key, err)
		}
	}
	none := right[:strings.Index(right, `"signatures":[`)] + `"signatures":[]}`
	if got, err := record.Read([]byte(none), key.Public()); err != nil || got.Key != "" || got.Foreign {
		t.Errorf("no signatures: %+v, %v", got, err)
	}
	// What cannot be read is signed all the same, when it is: the caller must not take it for anybody's.
	broken, err := record.Read(record.Seal(t, []byte(`{"_type":"https://in-toto.io/Statement/v2"}`), key), key.Public())
	if err == nil || broken.Key != key.ID() {
		t.Errorf("a signed statement of another version: key %q, %v", broken.Key, err)
	}
}

func TestWhatIsNoRecord(t *testing.T) {
	t.Parallel()
	good := string(must(verification(digestOf("a"), record.Right, noon).Statement()))
	promotion := string(must(promoted(digestOf("a"), record.Forced, noon).Statement()))
	change := func(old, new string) string {
		if !strings.Contains(good+promotion, old) {
			t.Errorf("%q is not there to be changed", old)
		}
		if strings.Contains(good, old) {
			return strings.Replace(good, old, new, 1)
		}
		return strings.Replace(promotion, old, new, 1)
	}
	for name, text := range map[string]string{
		"nothing":                   "",
		"null":                      "null",
		"a list":                    "[]",
		"a page":                    "<html>",
		"half of one":               good[:len(good)/2],
		"two":                       good + good,
		"another version":           change("Statement/v1", "Statement/v0.1"),
		"another type":              change("verification/v1", "verification/v2"),
		"no subject":                change(`{"name":"`+hello+`","digest":{"sha256":"`+strings.Repeat("a", 64)+`"}}`, ""),
		"another hash":              change(`"digest":{"sha256"`, `"digest":{"sha512"`),
		"two digests":               change(`"digest":"sha256:aaaa`, `"digest":"sha256:bbbb`),
		"a short digest":            change(`{"sha256":"aaaa`, `{"sha256":"aaa`),
		"no image":                  change(`"name":"`+hello, `"name":"`),
		"no environment":            change(`"environment":"staging"`, `"environment":""`),
		"another verdict":           change(`"verdict":"right"`, `"verdict":"perhaps"`),
		"no date":                   change(`"time":"2026-05-04T12:00:00Z"`, `"time":"0001-01-01T00:00:00Z"`),
		"a date that is none":       change(`"time":"2026-05-04T12:00:00Z"`, `"time":"yesterday"`),
		"another kind":              change(`"promotion":"forced"`, `"promotion":"sold"`),
		"replaced is no digest":     change(`"replaced":"sha256:`, `"replaced":"latest`),
		"promoted to nowhere":       change(`"to":"registry.example/`+hello+`:1.0"`, `"to":""`),
		"a reason of 64 KiB":        change(`"reason":"why"`, `"reason":"`+strings.Repeat("y", 64<<10)+`"`),
		"more than is ever read":    strings.Repeat(" ", 1<<20) + good,
		"an envelope with a number": `{"payload":1,"payloadType":"application/vnd.in-toto+json"}`,
	} {
		if got, err := record.Read([]byte(text), nil); fault.KindOf(err) != fault.Refused || err == nil {
			t.Errorf("%s: read as %+v, %v", name, got, err)
		}
	}
	later := change(`"verdict":"right"`, `"verdict":"right","severity":"none"`)
	if _, err := record.Read([]byte(later), nil); err != nil {
		t.Errorf("a field of a later version: %v", err)
	}
}

func TestWhatIsNotWritten(t *testing.T) {
	t.Parallel()
	long := promoted(digestOf("a"), record.Forced, noon)
	long.Promotion.Reason = strings.Repeat("y", 64<<10)
	if _, err := long.Statement(); fault.KindOf(err) != fault.Configuration {
		t.Errorf("a reason of 64 KiB: %v", err)
	}
	if _, err := (record.Record{Image: hello, Digest: digestOf("a")}).Statement(); err == nil {
		t.Error("a record of nothing was made")
	}
	of := promoted(digestOf("a"), record.Copied, noon)
	if _, err := of.Artifact(registry.Manifest{Digest: digestOf("b")}, nil); err == nil {
		t.Error("a record was made to refer to another image than it is about")
	}
}

// FuzzRead looks for a record that is read and cannot be written again the same, or that is taken for signed.
// Its keys are always the same, so that every process that takes part means the same by an input.
func FuzzRead(f *testing.F) {
	key, other := fixedKey(1), fixedKey(2)
	forged := layerOf(f, verification(digestOf("a"), record.Right, noon), key)
	for _, r := range []record.Record{
		promoted(digestOf("a"), record.Forced, noon), verification(digestOf("a"), record.Wrong, noon),
	} {
		f.Add(layerOf(f, r, nil))
		f.Add(layerOf(f, r, other))
	}
	f.Add(forged)
	f.Add([]byte(`{"payloadType":"application/vnd.in-toto+json","payload":"e30=","signatures":[{"sig":""}]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		read, err := record.Read(content, key.Public())
		if read.Key != "" && err == nil && !cmp.Equal(read.Record, verification(digestOf("a"), record.Right, noon)) {
			t.Fatalf("what nobody signed is taken for signed: %q", content)
		}
		if err != nil {
			return
		}
		text, err := read.Statement()
		if err != nil {
			return // a date beyond the year 9999, once it is UTC
		}
		again, err := record.Read(text, nil)
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v\n%q", err, text)
		}
		if twice := must(again.Statement()); !bytes.Equal(text, twice) {
			t.Fatalf("two forms of one record:\n%q\n%q", text, twice)
		}
	})
}
