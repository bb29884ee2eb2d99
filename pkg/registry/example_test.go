package registry_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http/httptest"

	inprocess "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"

	"dockline/pkg/registry"
)

func Example() {
	server := httptest.NewServer(inprocess.New(inprocess.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ctx := context.Background()

	production, err := registry.Open(registry.Config{Address: server.Listener.Addr().String(), Insecure: true})
	if err != nil {
		log.Fatal(err)
	}
	hello := production.Repository("deepsky/awl-deepsky-hello")

	_, present, err := hello.Lookup(ctx, "1.0")
	fmt.Println("before:", present, err)

	digest, err := empty.Image.Digest()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := registry.Copy(ctx, registry.FromImage(empty.Image), digest, hello, nil); err != nil {
		log.Fatal(err)
	}
	manifest, err := hello.Manifest(ctx, digest)
	if err != nil {
		log.Fatal(err)
	}
	if err := hello.Put(ctx, manifest, "1.0"); err != nil {
		log.Fatal(err)
	}
	found, present, err := hello.Lookup(ctx, "1.0")
	fmt.Println("after:", present, found.Digest == digest, err)
	// Output:
	// before: false <nil>
	// after: true true <nil>
}
