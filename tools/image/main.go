// Command image packs Dockline's image without a container engine and without a registry, from a root file system that
// `make rootfs` has laid out and the last stage of the Dockerfile, and attaches files to it.
//
//	image pack -rootfs DIR -name NAME[:TAG] -out DIR [-dockerfile FILE] [-arg NAME=VALUE]... [-engine docker]
//	image attach -out DIR -type MEDIATYPE FILE...
//
// The folder out then holds the image as an OCI layout (oci) and as an archive for `docker load` (image.tar). The same
// input gives the same digest; SOURCE_DATE_EPOCH, in seconds since 1970, is the time of everything in it (default: 0).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) > 0 && args[0] == "pack" {
		return runPack(ctx, args[1:])
	}
	if len(args) > 0 && args[0] == "attach" {
		return runAttach(args[1:])
	}
	return errors.New("the first argument is pack or attach")
}

func runPack(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("pack", flag.ContinueOnError)
	rootfs := flags.String("rootfs", "", "the root file system's `folder`")
	tagged := flags.String("name", "", "the image's `name`, such as dockline:dev")
	out := flags.String("out", "", "the `folder` for the packed image")
	dockerfile := flags.String("dockerfile", "Dockerfile", "the `file` whose last stage describes the image")
	engine := flags.String("engine", "docker", "the engine's client `program`; empty loads the image nowhere")
	buildArgs := arguments{}
	flags.Var(buildArgs, "arg", "a build argument, `NAME=VALUE`, as docker build takes it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	tag, err := name.NewTag(*tagged)
	if err != nil {
		return fmt.Errorf("reading -name: %w", err)
	}
	when, err := epoch()
	if err != nil {
		return err
	}
	source, err := os.ReadFile(*dockerfile)
	if err != nil {
		return err
	}
	config, err := readConfig(source, buildArgs)
	if err != nil {
		return fmt.Errorf("%s:%w", *dockerfile, err)
	}
	image, err := newImage(*rootfs, config, when)
	if err != nil {
		return fmt.Errorf("packing %q: %w", *rootfs, err)
	}
	packed, err := writeImage(*out, tag, image)
	if err != nil {
		return fmt.Errorf("writing the image to %q: %w", *out, err)
	}
	fmt.Printf("packed %s for linux/%s: %d bytes compressed, digest %s\n", tag, runtime.GOARCH, packed.size, packed.digest)
	fmt.Printf("  as an OCI layout:      %s\n  for docker load:       %s\n", packed.layout, packed.archive)
	return load(ctx, *engine, tag, packed)
}

// load has a container engine take the image, where one answers.
func load(ctx context.Context, engine string, tag name.Tag, packed packed) error {
	if engine == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, engine, "version").CombinedOutput(); err != nil { //nolint:gosec // the caller's choice
		lines := strings.Split(strings.TrimSpace(string(out)), "\n")
		fmt.Printf("NOT loaded into an engine, since %s does not answer (%v: %s); later: %s load -i %s\n",
			engine, err, lines[len(lines)-1], engine, packed.archive)
		return nil
	}
	out, err := exec.CommandContext(ctx, engine, "load", "-q", "-i", packed.archive).CombinedOutput() //nolint:gosec // likewise
	if err != nil {
		return fmt.Errorf("loading the image into %s: %w: %s", engine, err, strings.TrimSpace(string(out)))
	}
	fmt.Printf("loaded into %s as %s (image ID %s)\n", engine, tag, packed.id)
	return nil
}

func runAttach(args []string) error {
	flags := flag.NewFlagSet("attach", flag.ContinueOnError)
	out := flags.String("out", "", "the `folder` of the packed image")
	mediaType := flags.String("type", "", "the files' `media type`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *mediaType == "" || flags.NArg() == 0 {
		return errors.New("-type and a file are needed")
	}
	for _, file := range flags.Args() {
		digest, err := attach(filepath.Join(*out, layoutFolder), file, *mediaType)
		if err != nil {
			return fmt.Errorf("attaching %q: %w", file, err)
		}
		fmt.Printf("attached %s as a referrer of the image: %s\n", file, digest)
	}
	return nil
}

// epoch reads the time that reproducible builds agree on (reproducible-builds.org/specs/source-date-epoch).
func epoch() (time.Time, error) {
	text := os.Getenv("SOURCE_DATE_EPOCH")
	if text == "" {
		return time.Unix(0, 0).UTC(), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading SOURCE_DATE_EPOCH: %w", err)
	}
	return time.Unix(seconds, 0).UTC(), nil
}

// arguments are build arguments, given one by one.
type arguments map[string]string

func (a arguments) String() string { return "" }

// Set adds one (flag.Value).
func (a arguments) Set(text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found || name == "" {
		return fmt.Errorf("%q is not NAME=VALUE", text)
	}
	a[name] = value
	return nil
}
