// Command builder builds one Dockerfile inside of a sandbox, for the tests of the isolated build: it reads a secret
// from PASSWORD, as the step reads its credentials, builds, and prints what the image holds.
package main

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/pkg/fault"
	"dockline/pkg/kaniko"
)

func main() {
	kaniko.ChildMain()
	if err := kaniko.Shield(); err != nil {
		fmt.Println("ERROR", err)
		os.Exit(1)
	}
	if err := run(); err != nil {
		fmt.Println("ERROR", err)
		os.Exit(int(fault.KindOf(err)))
	}
}

func run() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	baseBytes, err := strconv.ParseInt(cmp.Or(os.Getenv("BASE_BYTES"), "0"), 10, 64)
	if err != nil {
		return err
	}
	secrets := map[string][]byte{}
	if secret := os.Getenv("BUILD_SECRET"); secret != "" {
		secrets["token"] = []byte(secret)
	}
	image, err := kaniko.Build{
		ContextDir: "/kaniko/context", Dockerfile: "Dockerfile", Platform: "linux/amd64",
		Images: strings.Fields(os.Getenv("IMAGES")), Puller: puller{os.Getenv("PASSWORD")}, BaseBytes: baseBytes,
		Layout: os.Getenv("LAYOUT"), Executor: os.Getenv("KANIKO_EXECUTOR"),
		Secrets:         secrets,
		Labels:          map[string]string{"org.opencontainers.image.revision": "abc"},
		AllowPrivileged: os.Getenv("ALLOW_PRIVILEGED") == "true",

		Log: func(line kaniko.Line) {
			if os.Getenv("CRASH") != "" {
				panic(os.Getenv("CRASH"))
			}
			fmt.Println("LOG", line.Level, line.Text)
		},
	}.Run(ctx)
	if err != nil {
		return err
	}
	defer image.Close()
	files := mutate.Extract(image)
	defer files.Close()
	archive := tar.NewReader(files)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		content := ""
		if header.Size < 200 {
			text, _ := io.ReadAll(archive)
			content = string(text)
		}
		fmt.Printf("FILE %s %q\n", header.Name, content)
	}
	fmt.Println("BUILT", image.ManifestDigest)
	return nil
}

// puller fetches with the user's password, as the step does.
type puller struct{ password string }

func (p puller) options(ctx context.Context) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuth(&authn.Basic{Username: "builder", Password: p.password})}
}

func (p puller) Manifest(ctx context.Context, in name.Repository, reference string) (string, []byte, error) {
	separator := ":"
	if strings.Contains(reference, ":") {
		separator = "@"
	}
	parsed, err := name.ParseReference(in.String() + separator + reference)
	if err != nil {
		return "", nil, err
	}
	got, err := remote.Get(parsed, p.options(ctx)...)
	if err != nil {
		return "", nil, fault.As(fault.Denied, err)
	}
	return string(got.MediaType), got.Manifest, nil
}

func (p puller) Blob(ctx context.Context, in name.Repository, digest v1.Hash) (io.ReadCloser, int64, error) {
	layer, err := remote.Layer(in.Digest(digest.String()), p.options(ctx)...)
	if err != nil {
		return nil, 0, err
	}
	content, err := layer.Compressed()
	return content, -1, err
}
