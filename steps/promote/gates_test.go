package promote

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/e2e/faultyregistry"
)

// signer is a key to sign with, as cosign sign --key does.
type signer struct{ *ecdsa.PrivateKey }

func newSigner() signer { return signer{must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))} }

func (s signer) public() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(s.Public()))}))
}

// sign leaves a signature of a digest beside an image.
func (s signer) sign(t testing.TB, in *faultyregistry.Registry, repository, at, digest string) {
	t.Helper()
	payload := []byte(fmt.Sprintf(`{"critical":{"identity":{"docker-reference":""},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"}}`, digest))
	sum := sha256.Sum256(payload)
	image := must(mutate.Append(empty.Image, mutate.Addendum{
		Layer: static.NewLayer(payload, "application/vnd.dev.cosign.simplesigning.v1+json"),
		Annotations: map[string]string{
			"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(must(s.Sign(rand.Reader, sum[:], crypto.SHA256))),
		},
	}))
	tag := strings.Replace(at, ":", "-", 1) + ".sig"
	if err := remote.Write(must(name.ParseReference(in.Host()+"/"+repository+":"+tag, name.Insecure)), image); err != nil {
		t.Fatal(err)
	}
	in.Forget()
}

// refusedWith is what a run that a gate ends must look like: nothing written, no results, all reasons in the last line.
func refusedWith(t *testing.T, s *stage, got run, status int, reasons ...string) {
	t.Helper()
	if got.status != status || len(got.results) > 0 || len(writes(s.target)) > 0 {
		t.Errorf("status %d, want %d; results %v, writes %v: %s", got.status, status, got.results, writes(s.target), got.last)
	}
	for _, reason := range reasons {
		if !strings.Contains(got.last, reason) {
			t.Errorf("the last line lacks %q: %s", reason, got.last)
		}
	}
	if now := holds(t, s.target, hello+":1.0"); now != "" {
		t.Errorf("the tag holds %q", now)
	}
}

func TestGates(t *testing.T) {
	t.Parallel()
	const revision = "org.opencontainers.image.revision"
	ours, theirs := newSigner(), newSigner()
	signed := func(t *testing.T, s *stage) { ours.sign(t, s.source, hello, s.digest, s.digest) }
	for _, row := range []struct {
		description string
		variables   []string
		before      func(*testing.T, *stage)
		status      int
		reasons     []string // in the last line
	}{
		{"the name follows", []string{"NAMING_TEMPLATE", "{code}/awl-{code}-{app}"}, nil, 0, nil},
		{"the name does not follow", []string{"NAMING_TEMPLATE", "{code}/{code}-{app}"}, nil, 3,
			[]string{hello, `does not follow "{code}/{code}-{app}", which would be deepsky/deepsky-{app}`, "NAMING_TEMPLATE"}},
		{"the label is there", []string{"REQUIRE_LABELS", revision}, nil, 0, nil},
		{"the label has the value", []string{"REQUIRE_LABELS", revision + "=c0ffee"}, nil, 0, nil},
		{"the label is like that", []string{"REQUIRE_LABELS", revision + "=c0*e"}, nil, 0, nil},
		{"the label has another value", []string{"REQUIRE_LABELS", revision + "=c0ffe"}, nil, 3,
			[]string{`linux/amd64 has ` + revision + `="c0ffee", and "c0ffe" is wanted`, "linux/arm64 has"}},
		{"a label is missing", []string{"REQUIRE_LABELS", revision + ", maintainer"}, nil, 3,
			[]string{"linux/amd64 lacks the label maintainer", "linux/arm64 lacks the label maintainer", "REQUIRE_LABELS"}},
		{"a label is missing on one platform", []string{"REQUIRE_LABELS", "maintainer"}, func(t *testing.T, s *stage) {
			s.image = labelled(t, s.image, "linux/arm64", "maintainer", "")
			s.digest = push(t, s.source, hello+":1.0", s.image)
		}, 3, []string{"linux/amd64 lacks the label maintainer; linux/arm64 has an empty label maintainer"}},
		{"the labels cannot be read", []string{"REQUIRE_LABELS", revision}, func(_ *testing.T, s *stage) {
			s.source.Break("GET /blobs/", -1, faultyregistry.Status(500, ""))
		}, 6, []string{"reading the labels", "500"}},
		{"the labels may not be read", []string{"REQUIRE_LABELS", revision}, func(_ *testing.T, s *stage) {
			s.source.Break("GET /blobs/", -1, faultyregistry.Status(403, "DENIED"))
		}, 5, []string{"reading the labels", "403"}},
		{"the labels are not what their digest says", []string{"REQUIRE_LABELS", revision}, func(_ *testing.T, s *stage) {
			s.source.Break("GET /blobs/", -1, faultyregistry.Corrupt())
		}, 3, []string{"reading the labels"}},
		{"signed", []string{"SIGNATURE_KEY", ours.public()}, signed, 0, nil},
		{"not signed", []string{"SIGNATURE_KEY", ours.public()}, nil, 3, []string{"it is not signed", "cosign sign"}},
		{"signed by another", []string{"SIGNATURE_KEY", theirs.public()}, signed, 3, []string{"none of its 1 signatures counts"}},
		{"a platform's image is signed", []string{"SIGNATURE_KEY", ours.public()}, func(t *testing.T, s *stage) {
			child := must(s.image.IndexManifest()).Manifests[0].Digest.String()
			ours.sign(t, s.source, hello, child, child)
			ours.sign(t, s.source, hello, s.digest, child)
		}, 3, []string{"it is of another image"}},
		{"the signature cannot be read", []string{"SIGNATURE_KEY", ours.public()}, func(t *testing.T, s *stage) {
			signed(t, s)
			s.source.Break("GET .sig", -1, faultyregistry.Status(503, ""))
		}, 6, []string{"checking the signature", "503"}},
		{"a signature in the target is none in the source", []string{"SIGNATURE_KEY", ours.public()}, func(t *testing.T, s *stage) {
			ours.sign(t, s.target, hello, s.digest, s.digest)
		}, 3, []string{"it is not signed"}},
		{"a freeze", []string{"CI_DEPLOY_FREEZE", "true"}, nil, 3, []string{"deployments are frozen", "DEPLOY_FREEZE=false"}},
		{"a freeze that is passed over", []string{"CI_DEPLOY_FREEZE", "true", "DEPLOY_FREEZE", "false"}, nil, 0, nil},
		{"a freeze of one's own", []string{"DEPLOY_FREEZE", "true"}, nil, 3, []string{"deployments are frozen"}},
		{"a freeze that nobody understands", []string{"CI_DEPLOY_FREEZE", "perhaps"}, nil, 2, []string{"DEPLOY_FREEZE"}},
		{"a protected branch", []string{"REQUIRE_PROTECTED_REF", "true", "CI_COMMIT_REF_PROTECTED", "true"}, nil, 0, nil},
		{"an unprotected branch", []string{"REQUIRE_PROTECTED_REF", "true", "CI_COMMIT_REF_PROTECTED", "false"}, nil, 3, []string{"not known to be protected"}},
		{"a branch of which nothing is known", []string{"REQUIRE_PROTECTED_REF", "true"}, nil, 3, []string{"not known to be protected"}},
		{"all at once, and one that cannot be asked", []string{
			"NAMING_TEMPLATE", "{code}/{code}", "REQUIRE_LABELS", "maintainer", "DEPLOY_FREEZE", "true", "SIGNATURE_KEY", ours.public(),
		}, func(_ *testing.T, s *stage) {
			s.source.Break("GET .sig", -1, faultyregistry.Status(503, ""))
		}, 3, []string{"does not follow", "lacks the label maintainer", "deployments are frozen", "checking the signature", "503"}},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			if row.before != nil {
				row.before(t, s)
			}
			got := promote(t, s.with(row.variables...))
			if row.status != 0 {
				refusedWith(t, s, got, row.status, row.reasons...)
				return
			}
			if got.status != 0 || holds(t, s.target, hello+":1.0") != s.digest {
				t.Errorf("status %d: %s", got.status, got.log)
			}
		})
	}
}

// labelled gives the image of one platform a label.
func labelled(t testing.TB, index v1.ImageIndex, platform, key, value string) v1.ImageIndex {
	t.Helper()
	var changed v1.ImageIndex = empty.Index
	for _, child := range must(index.IndexManifest()).Manifests {
		image := must(index.Image(child.Digest))
		if child.Platform.String() == platform {
			config := must(image.ConfigFile()).DeepCopy()
			config.Config.Labels[key] = value
			image = must(mutate.ConfigFile(image, config))
		}
		changed = mutate.AppendManifests(changed, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: child.Platform}})
	}
	return changed
}

// TestGatesOfASet: one image that a gate refuses keeps all of them from being written, and each that is refused is told.
func TestGatesOfASet(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const other, wrong = "deepsky/awl-deepsky-other", "deepsky/awl-nosuch-app"
	push(t, s.source, other+":1.0", twoPlatforms(t, "c0ffee"))
	push(t, s.source, wrong+":1.0", twoPlatforms(t, "c0ffee"))
	key := newSigner()
	key.sign(t, s.source, hello, s.digest, s.digest)
	got := promote(t, s.with(
		"IMAGE", "", "IMAGES", hello+":1.0 "+other+":1.0 "+wrong+":1.0", "NAMING_TEMPLATE", "{code}/awl-{code}-{app}",
		"SIGNATURE_KEY", key.public(), "DEPLOY_FREEZE", "true"))
	refusedWith(t, s, got, 3, "3 of 3 images", wrong, other+"@sha256:", "deepsky/awl-deepsky-{app}")
	if strings.Count(got.last, "deployments are frozen") != 1 || strings.Contains(got.last, hello+"@") {
		t.Errorf("the freeze is not told once, or a signed image is complained of: %s", got.last)
	}
}

// TestGatesAreAskedOfWhatIsThereAlready: a green job says that the image passed.
func TestGatesAreAskedOfWhatIsThereAlready(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	push(t, s.target, hello+":1.0", s.image)
	got := promote(t, s.with("SIGNATURE_KEY", newSigner().public()))
	if got.status != 3 || len(got.results) > 0 || len(writes(s.target)) > 0 {
		t.Errorf("status %d, results %v, writes %v", got.status, got.results, writes(s.target))
	}
}

// TestTheReportSaysWhoSigned: and the key may come from a file.
func TestTheReportSaysWhoSigned(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	key := newSigner()
	key.sign(t, s.source, hello, s.digest, s.digest)
	dir := t.TempDir()
	file, report := filepath.Join(dir, "cosign.pub"), filepath.Join(dir, "report.json")
	if err := os.WriteFile(file, []byte(key.public()), 0o600); err != nil {
		t.Fatal(err)
	}
	got := promote(t, s.with("SIGNATURE_KEY_FILE", file, "REPORT_FILE", report))
	var content struct{ Details struct{ Signature string } }
	if err := json.Unmarshal(must(os.ReadFile(report)), &content); err != nil {
		t.Fatal(err)
	}
	if got.status != 0 || !strings.HasPrefix(content.Details.Signature, "the key sha256:") {
		t.Errorf("status %d, signature %q: %s", got.status, content.Details.Signature, got.log)
	}
}

func TestGateVariables(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	key := newSigner().public()
	for _, row := range []struct {
		description string
		variables   []string
		texts       []string
	}{
		{"a template that is none", []string{"NAMING_TEMPLATE", "{Code}/x"}, []string{"NAMING_TEMPLATE", "placeholder"}},
		{"a label without a key", []string{"REQUIRE_LABELS", "=x"}, []string{"REQUIRE_LABELS"}},
		{"labels that are none", []string{"REQUIRE_LABELS", ","}, []string{"REQUIRE_LABELS names no label"}},
		{"a key that is none", []string{"SIGNATURE_KEY", "nonsense"}, []string{"SIGNATURE_KEY", "PEM"}},
		{"a key twice", []string{"SIGNATURE_KEY", key, "SIGNATURE_KEY_FILE", "/x"}, []string{"SIGNATURE_KEY and SIGNATURE_KEY_FILE are both set"}},
		{"a key's file that is not there", []string{"SIGNATURE_KEY_FILE", "/does/not/exist"}, []string{"SIGNATURE_KEY_FILE"}},
		{"a key and an identity", []string{"SIGNATURE_KEY", key, "SIGNATURE_IDENTITY", "x"}, []string{"SIGNATURE_KEY is set, and so is"}},
		{"an identity alone", []string{"SIGNATURE_IDENTITY", "x"}, []string{"SIGNATURE_ISSUER is missing", "SIGNATURE_TRUSTED_ROOT is missing"}},
		{"a root alone", []string{"SIGNATURE_TRUSTED_ROOT", "x"}, []string{"SIGNATURE_IDENTITY is missing", "SIGNATURE_ISSUER is missing"}},
		{"an identity twice", []string{"SIGNATURE_IDENTITY", "x", "SIGNATURE_IDENTITY_PATTERN", "x", "SIGNATURE_ISSUER", "x", "SIGNATURE_TRUSTED_ROOT", "x"},
			[]string{"SIGNATURE_IDENTITY and SIGNATURE_IDENTITY_PATTERN are both set"}},
		{"a root that is none", []string{"SIGNATURE_IDENTITY", "x", "SIGNATURE_ISSUER", "x", "SIGNATURE_TRUSTED_ROOT", "x"}, []string{"trusted root"}},
	} {
		got := promote(t, s.with(row.variables...))
		if got.status != 2 || len(s.target.Requests()) > 0 {
			t.Errorf("%s: status %d, requests %v: %s", row.description, got.status, s.target.Requests(), got.last)
		}
		for _, text := range row.texts {
			if !strings.Contains(got.last, text) {
				t.Errorf("%s: the last line lacks %q: %s", row.description, text, got.last)
			}
		}
	}
}
