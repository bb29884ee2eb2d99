package clonebuildpush

import (
	"context"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

func TestPullerUsesTheRegistrysOwnAccount(t *testing.T) {
	t.Parallel()
	host := startRegistry(t)
	base, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	reference, err := name.ParseReference(host+"/base/go:1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, base, remote.WithAuth(&authn.Basic{Username: "pusher", Password: registryPassword})); err != nil {
		t.Fatal(err)
	}
	config := registry.Config{Address: host + "/team", Username: "pusher", Password: registryPassword, Insecure: true}
	pull, err := newPuller(t.Context(), config, mirrors{}, []string{host + "/base/go:1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	digest, _ := base.Digest()
	mediaType, raw, err := pull.Manifest(t.Context(), reference.Context(), digest.String())
	if want, _ := base.RawManifest(); err != nil || string(raw) != string(want) || mediaType == "" {
		t.Errorf("manifest %q of type %q: %v", raw, mediaType, err)
	}
	layers, _ := base.Layers()
	layer, _ := layers[0].Digest()
	content, size, err := pull.Blob(t.Context(), reference.Context(), layer)
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if bytes, err := io.ReadAll(content); err != nil || int64(len(bytes)) != size {
		t.Errorf("read %d bytes of %d: %v", len(bytes), size, err)
	}
	if _, _, err := pull.Blob(t.Context(), reference.Context(), v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a blob that no manifest names: %v", err)
	}
	if _, err := newPuller(t.Context(), config, mirrors{}, []string{host + "/base/go:2"}, nil); fault.KindOf(err) != fault.NotFound {
		t.Errorf("a base image that is not there: %v", err)
	}
}

// TestPullerResolvesATagOnce has a base image's tag move between two stages that name it.
func TestPullerResolvesATagOnce(t *testing.T) {
	t.Parallel()
	host := startRegistry(t)
	reference, err := name.ParseReference(host+"/base/go:1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	push := func() []byte {
		base, err := random.Image(100, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(reference, base, account); err != nil {
			t.Fatal(err)
		}
		raw, _ := base.RawManifest()
		return raw
	}
	want := push()
	config := registry.Config{Address: host, Username: "pusher", Password: registryPassword, Insecure: true}
	pull, err := newPuller(t.Context(), config, mirrors{}, []string{host + "/base/go:1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	push()
	_, raw, err := pull.Manifest(t.Context(), reference.Context(), "1")
	if err != nil || string(raw) != string(want) {
		t.Errorf("the second stage is built on %s (%v)", raw, err)
	}
}

func TestPullerKeepsTheAccountFromOtherHosts(t *testing.T) {
	t.Parallel()
	pull, err := newPuller(t.Context(), registry.Config{
		Address: "registry.example.com", Username: "pusher", Password: registryPassword,
	}, mirrors{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	config := pull.configFor("docker.io")
	if config.Username != "" || config.Password != "" || config.Insecure {
		t.Errorf("another host gets the account: %+v", config)
	}
	for _, same := range []string{"registry.example.com", "REGISTRY.example.com:443"} {
		if config := pull.configFor(same); config.Username != "pusher" {
			t.Errorf("%s does not get the account", same)
		}
	}
}

func TestPinsKeepTheFirstAddress(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(nil)
	t.Cleanup(server.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "http://"), ":")
	answers := map[string][]string{"registry.test": {"127.0.0.1"}, "late.test": {"127.0.0.1"}}
	p := newPins()
	p.lookup = func(_ context.Context, host string) ([]string, error) { return answers[host], nil }

	dial := func(host string) error {
		connection, err := p.Dial(t.Context(), "tcp", host+":"+port)
		if err == nil {
			_ = connection.Close()
		}
		return err
	}
	if err := dial("registry.test"); err != nil {
		t.Fatal(err)
	}
	p.freeze()
	answers["registry.test"] = []string{"127.0.0.2"} // as a RUN would have it
	if err := dial("registry.test"); err != nil {
		t.Errorf("the known address is not used: %v", err)
	}
	if err := dial("late.test"); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a host was looked up after the build: %v", err)
	}
	if err := dial("127.0.0.1"); err != nil {
		t.Errorf("an address needs no looking up: %v", err)
	}
}
