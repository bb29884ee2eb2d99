// Command plain is the Kaniko executor with its usual set-up, and without the clouds' storage of its own program, which
// would cost the tests minutes of compiling: one process that holds the registry's credentials, runs the Dockerfile's RUNs
// beside them, and pushes. The tests' controls are built by it: what an attack gets from it, and not from Dockline, is what
// Dockline protects. Its flags are the executor's own.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/containerd/platforms"
	"github.com/osscontainertools/kaniko/pkg/config"
	"github.com/osscontainertools/kaniko/pkg/executor"
	"github.com/osscontainertools/kaniko/pkg/util"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	options := &config.KanikoOptions{
		SnapshotMode: "full", Compression: config.GZip, CompressionLevel: -1, CompressedCaching: true, CacheRunLayers: true,
		CustomPlatform: platforms.Format(platforms.Normalize(platforms.DefaultSpec())), IgnoreVarRun: true,
		Secrets: config.SecretOptions{},
	}
	options.RegistryMaps = map[string][]string{}
	flags := flag.NewFlagSet("executor", flag.ContinueOnError)
	flags.Bool("force", false, "")
	flags.StringVar(&options.DockerfilePath, "dockerfile", "", "")
	flags.StringVar(&options.SrcContext, "context", "", "")
	flags.Var(&options.Destinations, "destination", "")
	flags.Var(&options.BuildArgs, "build-arg", "")
	flags.Var(&options.Labels, "label", "")
	flags.Var(&options.Secrets, "secret", "")
	flags.Var(&options.RegistryMaps, "registry-map", "")
	flags.Var(&options.InsecureRegistries, "insecure-registry", "")
	flags.StringVar(&options.CustomPlatform, "custom-platform", options.CustomPlatform, "")
	flags.StringVar(&options.DigestFile, "digest-file", "", "")
	flags.StringVar(&options.ImageNameDigestFile, "image-name-with-digest-file", "", "")
	flags.StringVar(&options.OCILayoutPath, "oci-layout-path", "", "")
	flags.BoolVar(&options.NoPush, "no-push", false, "")
	flags.BoolVar(&options.Insecure, "insecure", false, "")
	flags.BoolVar(&options.InsecurePull, "insecure-pull", false, "")
	flags.BoolVar(&options.Reproducible, "reproducible", false, "")
	flags.BoolVar(&options.SkipDefaultRegistryFallback, "skip-default-registry-fallback", false, "")
	target := flags.String("target", "", "")
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if flags.NArg() > 0 || options.DockerfilePath == "" {
		return errors.New("a Dockerfile is needed, and nothing beside flags")
	}
	if *target != "" {
		options.Target = []string{*target}
	}
	options.SrcContext = strings.TrimPrefix(options.SrcContext, "dir://")
	util.AddToDefaultIgnoreList(util.IgnoreListEntry{Path: "/var/run"})
	if !options.NoPush {
		if err := executor.CheckPushPermissions(options); err != nil {
			return fmt.Errorf("error checking push permissions: %w", err)
		}
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	image, err := executor.DoBuild(options)
	if err != nil {
		return fmt.Errorf("error building image: %w", err)
	}
	if err := executor.DoPush(image, options); err != nil {
		return fmt.Errorf("error pushing image: %w", err)
	}
	return nil
}
