package clonebuildpush

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"

	"dockline/pkg/provenance"
	"dockline/pkg/sbom"
)

// keyPair is a key that signs, and its public half.
func keyPair(t *testing.T) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	half, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text})), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: half}))
}

// said is an in-toto statement as a reader finds it.
type said struct {
	ArtifactType string `json:"-"`
	Type         string `json:"_type"`
	Subject      []struct {
		Name   string
		Digest map[string]string
	}
	PredicateType string
	Predicate     json.RawMessage
}

// attached reads what is attached to an image, by predicate type, as a tool that knows nothing of us would.
func (s *stage) attached(digest string) map[string]said {
	s.t.Helper()
	repository, err := name.NewRepository(s.registry+"/deepsky/hello", name.Insecure)
	if err != nil {
		s.t.Fatal(err)
	}
	index, err := remote.Referrers(repository.Digest(digest), account)
	if err != nil {
		s.t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil {
		s.t.Fatal(err)
	}
	all := map[string]said{}
	for _, one := range list.Manifests {
		image, err := remote.Image(repository.Digest(one.Digest.String()), account)
		if err != nil {
			s.t.Fatal(err)
		}
		layers, err := image.Layers()
		if err != nil || len(layers) != 1 {
			s.t.Fatalf("%d layers (%v)", len(layers), err)
		}
		content, err := layers[0].Compressed()
		if err != nil {
			s.t.Fatal(err)
		}
		text, err := io.ReadAll(content)
		if err != nil {
			s.t.Fatal(err)
		}
		var bundle struct {
			DSSEEnvelope struct{ Payload string }
		}
		if err := json.Unmarshal(text, &bundle); err != nil {
			s.t.Fatal(err)
		}
		if bundle.DSSEEnvelope.Payload != "" {
			if text, err = base64.StdEncoding.DecodeString(bundle.DSSEEnvelope.Payload); err != nil {
				s.t.Fatal(err)
			}
		}
		statement := said{ArtifactType: one.ArtifactType}
		if err := json.Unmarshal(text, &statement); err != nil {
			s.t.Fatal(err)
		}
		if annotated := one.Annotations["in-toto.io/predicate-type"]; annotated != statement.PredicateType {
			s.t.Errorf("the list says %q of %q", annotated, statement.PredicateType)
		}
		all[statement.PredicateType] = statement
	}
	return all
}

// provenance reads what is said of how 1.0 was built.
func (s *stage) provenance() (said provenance.Predicate) {
	s.t.Helper()
	if err := json.Unmarshal(s.attached(s.digest("1.0"))[provenance.Type].Predicate, &said); err != nil {
		s.t.Fatal(err)
	}
	return said
}

// TestProvenanceNamesAnotherExecutor, which is not the Kaniko whose version is told.
func TestProvenanceNamesAnotherExecutor(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit("one")
	s.mustRun("PROVENANCE", "true", "KANIKO_EXECUTOR", "/kaniko/executor")
	if got := s.provenance().BuildDefinition.ExternalParameters.Executor; got != "/kaniko/executor" {
		t.Errorf("executor %q", got)
	}
}

func TestProvenance(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	base, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(s.reference("base", "1"), base, account); err != nil {
		t.Fatal(err)
	}
	baseDigest, err := base.Digest()
	if err != nil {
		t.Fatal(err)
	}
	hash := s.commitFiles(map[string]string{
		"hello_v1.0/page": "one", "hello_v1.0/Dockerfile": "FROM " + s.registry + "/deepsky/base:1\nCOPY page /page\n",
	})
	key, _ := keyPair(t)
	const pipeline = "https://gitlab.example.com/deepsky/hello/-/pipelines/42"
	s.mustRun("PROVENANCE", "true", "BUILD_ARGS", "A=1,TOKEN="+gitPassword, "LABELS", "team=blue", "BUILD_SECRET_NPM", "s3cr3t-npm",
		"ANNOTATIONS", "docs=https://example.com/hello, token="+gitPassword, "MEDIA_TYPES", "oci", "CI_PIPELINE_URL", pipeline, "REUSE", reuseUnchanged, "RECORD_KEY", key, "PERSON", "jdoe")
	digest := s.digest("1.0")
	all := s.attached(digest)
	got, ok := all[provenance.Type]
	if !ok || len(all) != 1 {
		t.Fatalf("attached: %v", all)
	}
	if got.Type != "https://in-toto.io/Statement/v1" || len(got.Subject) != 1 || got.Subject[0].Name != "deepsky/hello" ||
		"sha256:"+got.Subject[0].Digest["sha256"] != digest || got.ArtifactType != "application/vnd.dev.sigstore.bundle.v0.3+json" {
		t.Errorf("statement is %+v", got)
	}
	var predicate provenance.Predicate
	strict := json.NewDecoder(bytes.NewReader(got.Predicate))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&predicate); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(got.Predicate, []byte(gitPassword)) || bytes.Contains(got.Predicate, []byte("s3cr3t-npm")) {
		t.Errorf("a secret is in it: %s", got.Predicate)
	}
	asked := predicate.BuildDefinition.ExternalParameters
	want := provenance.Parameters{
		Source: s.env["GIT_URL"], Revision: "develop", ContextDir: "hello_v1.0", Dockerfile: "Dockerfile",
		BuildArgs: map[string]string{"A": "1", "TOKEN": asked.BuildArgs["TOKEN"]}, Platforms: []string{orOwnPlatform("")},
		Labels: map[string]string{"team": "blue"}, Secrets: []string{"NPM"}, MediaTypes: "oci",
		Annotations: map[string]string{"docs": "https://example.com/hello", "token": asked.Annotations["token"]},
	}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("parameters (-want +got)\n%s", diff)
	}
	dependencies := []provenance.Resource{
		{URI: "git+" + s.env["GIT_URL"], Digest: map[string]string{"gitCommit": hash}},
		{URI: "pkg:docker/deepsky/base@1?repository_url=" + strings.ReplaceAll(s.registry, ":", "%3A"), Digest: map[string]string{"sha256": baseDigest.Hex}},
	}
	if diff := cmp.Diff(dependencies, predicate.BuildDefinition.ResolvedDependencies); diff != "" {
		t.Errorf("dependencies (-want +got)\n%s", diff)
	}
	details := predicate.RunDetails
	if details.Builder.ID != provenance.Builder || details.Builder.Version["dockline"] == "" || details.Metadata.InvocationID != pipeline ||
		details.Metadata.StartedOn.IsZero() || details.Metadata.FinishedOn.Before(details.Metadata.StartedOn) {
		t.Errorf("run is %+v", details)
	}
	if told := predicate.BuildDefinition.InternalParameters; keyTag(told.BuildKey) != s.keyTags()[0] || told.Person != "jdoe" {
		t.Errorf("internal parameters are %+v", told)
	}
	// A run that reuses the image has not built it, and says nothing of how.
	s.mustRun("PROVENANCE", "true", "BUILD_ARGS", "A=1,TOKEN="+gitPassword, "LABELS", "team=blue", "BUILD_SECRET_NPM", "s3cr3t-npm",
		"ANNOTATIONS", "docs=https://example.com/hello, token="+gitPassword, "MEDIA_TYPES", "oci", "CI_PIPELINE_URL", pipeline+"1", "REUSE", reuseUnchanged)
	if again := s.attached(digest); len(s.builder.requests) != 1 || !bytes.Equal(again[provenance.Type].Predicate, got.Predicate) {
		t.Errorf("%d builds, attached: %v", len(s.builder.requests), again)
	}
}

func TestSBOMOfEachPlatform(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit("one")
	s.mustRun("SBOM", "true", "PROVENANCE", "true", "PLATFORMS", "linux/amd64,linux/arm64", "LABELS", "org.opencontainers.image.url=https://example.com/hello")
	index, err := remote.Index(s.reference("hello", "1.0"), account)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 {
		t.Fatalf("index %+v (%v)", manifest, err)
	}
	if got := s.attached(s.digest("1.0"))[provenance.Type]; len(got.Subject) != 3 {
		t.Errorf("provenance is about %v", got.Subject)
	}
	for _, child := range manifest.Manifests {
		got, ok := s.attached(child.Digest.String())[sbom.Type]
		if !ok || got.ArtifactType != "application/vnd.in-toto+json" || got.Subject[0].Digest["sha256"] != child.Digest.Hex {
			t.Fatalf("%s: %+v", child.Platform, got)
		}
		var document v2_3.Document
		if err := json.Unmarshal(got.Predicate, &document); err != nil {
			t.Fatal(err)
		}
		image := document.Packages[0]
		if document.SPDXVersion != "SPDX-2.3" || image.PackageComment != "Platform: "+child.Platform.String() || image.PackageHomePage != "https://example.com/hello" {
			t.Errorf("document is %+v", image)
		}
	}
}

// TestPhasesAttach: PHASE=build knows what it was built from, and PHASE=push has the key.
func TestPhasesAttach(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.env["PROVENANCE"], p.env["SBOM"], p.env["PLATFORMS"] = "true", "true", "linux/amd64,linux/arm/v7"
	key, _ := keyPair(t)
	p.commit("one")
	p.mustDo(phaseClone, phaseBuild)
	if status, output := p.phase(phaseBuild, "RECORD_KEY", key); status != 2 || !strings.Contains(lastLineOf(output), "RECORD_KEY is set, and PHASE=build has no use") {
		t.Errorf("exit status %d:\n%s", status, output)
	}
	if status, output := p.phase(phasePush, "RECORD_KEY", key); status != 0 {
		t.Fatalf("exit status %d:\n%s", status, output)
	}
	index, err := remote.Index(p.reference("hello", "1.0"), account)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 {
		t.Fatalf("index %+v (%v)", manifest, err)
	}
	if diff := cmp.Diff(&v1.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, manifest.Manifests[1].Platform); diff != "" {
		t.Errorf("platform (-want +got)\n%s", diff)
	}
	if got := p.attached(p.digest("1.0"))[provenance.Type]; !strings.Contains(got.ArtifactType, "sigstore.bundle") {
		t.Errorf("provenance is %+v", got)
	}
	if got := p.attached(manifest.Manifests[1].Digest.String())[sbom.Type]; got.Predicate == nil {
		t.Error("the second platform has no SBOM")
	}
}

// TestWhatCannotBeAttachedIsNotShown: no tag leads to an image that lacks what was asked for.
func TestWhatCannotBeAttachedIsNotShown(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env["REGISTRY"] = startRegistry(t, func(open http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/manifests/") {
				open.ServeHTTP(w, r)
				return
			}
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			if bytes.Contains(body, []byte(`"subject"`)) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusBadRequest)
				_, _ = w.Write([]byte(`{"errors":[{"code":"MANIFEST_INVALID","message":"no subject here"}]}`))
				return
			}
			open.ServeHTTP(w, r)
		})
	})
	s.registry = s.env["REGISTRY"]
	s.commit("one")
	status, output := s.run("PROVENANCE", "true")
	if status == 0 || s.digest("1.0") != "" || s.result("IMAGE_DIGEST") != "" || !strings.Contains(lastLineOf(output), "without PROVENANCE and SBOM") {
		t.Errorf("exit status %d, 1.0 is %q:\n%s", status, s.digest("1.0"), output)
	}
}
