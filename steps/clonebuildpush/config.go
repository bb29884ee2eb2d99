package clonebuildpush

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"dockline/pkg/git"
	"dockline/pkg/image"
	"dockline/pkg/kaniko"
	"dockline/pkg/step"
	"dockline/steps/recording"
)

// Config is the step's configuration.
type Config struct {
	// What to do: clone, build or push, for a pod that does each in a container of its own with only its own secret.
	// Clone needs GIT_…; build needs no account, or one that may read REGISTRY, for base images there and to build
	// nothing where the image of a Git tag's commit is there; push needs REGISTRY…. Unset means all three, in turn. Apart
	// from them, index joins PLATFORM_IMAGES.
	Phase string `env:"PHASE"`
	// Folder in which PHASE=clone leaves the work tree and what is known of its commit. The containers of PHASE=build
	// and PHASE=push mount it read-only.
	CheckoutDir string `env:"CHECKOUT_DIR"`
	// Folder in which PHASE=build leaves the image for PHASE=push, and PHASE=clone the key by which that is known to be
	// the build's own. Only PHASE=push may mount it read-only.
	ImageDir string `env:"IMAGE_DIR"`

	// Image to build, CODE/NAME or CODE/NAME:VERSION. Without a version it is the Git tag without its v
	// (v1.2.0 gives 1.2.0), else BRANCH-COMMIT (feature/login gives feature-login-0e0cf4c8). Required, but by
	// PHASE=clone.
	Image string `env:"IMAGE"`
	// Further tags for the image, separated by commas, such as latest. They are moved whatever they hold.
	ExtraTags []string `env:"EXTRA_TAGS"`
	// Whether a version that the registry has already may be replaced. Unset means true when a branch is built, and
	// false when a Git tag is.
	Overwrite string `env:"OVERWRITE"`
	// What is not built. With unchanged, an image of the registry that was built from the same is tagged instead: the same
	// context, Dockerfile, arguments, settings and base images, whatever the commit. Unset means nothing, but for a Git
	// tag whose commit has an image.
	Reuse string `env:"REUSE"`
	// Images of one platform each, which PHASE=index joins to IMAGE: CODE/NAME:VERSION@sha256:…, separated by commas or
	// white space. They are in REGISTRY, and built from one commit.
	PlatformImages string `env:"PLATFORM_IMAGES"`
	// The registry that is pushed to; images for FROM come from it with the same credentials, where it is their host.
	step.Registry `ci:"REGISTRY=CI_REGISTRY"`

	// Repository to clone: https://HOST/PATH, ssh://git@HOST/PATH or git@HOST:PATH. Credentials belong into GIT_USERNAME
	// and GIT_PASSWORD.
	GitURL string `env:"GIT_URL" group:"git"`
	// Allow GIT_URL to be the path of a repository in this container, such as a volume's.
	GitAllowLocal bool `env:"GIT_ALLOW_LOCAL"`
	// What to build: a branch, a tag, a reference (refs/…) or a full commit hash. Unset means the default branch.
	GitRevision string `env:"GIT_REVISION" group:"git" ci:"CI_COMMIT_SHA"`
	// Branch that the commit belongs to, where GIT_REVISION is a hash. It names the version.
	GitBranch string `env:"GIT_BRANCH" group:"git" ci:"CI_COMMIT_BRANCH, CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"`
	// Tag that the commit is released by, where GIT_REVISION is a hash. It names the version, and must lead to that commit:
	// a tag that was moved is refused (exit status 3).
	GitTag string `env:"GIT_TAG" group:"git" ci:"CI_COMMIT_TAG"`
	// What must be signed to be built, commit or tag: the commit, or the annotated tag that GIT_REVISION or GIT_TAG names.
	// Where it is not signed by one of GIT_VERIFY_KEYS, nothing is built (exit status 3). Unset means neither.
	GitVerify string `env:"GIT_VERIFY"`
	// Keys that may sign: armored OpenPGP public keys, lines of an allowed_signers file (ssh-keygen), or both. A key that
	// has expired signs nothing, whatever time a commit tells.
	GitVerifyKeys string `env:"GIT_VERIFY_KEYS"`
	// File with the keys that may sign, instead of GIT_VERIFY_KEYS.
	GitVerifyKeysFile string `env:"GIT_VERIFY_KEYS_FILE"`
	// Account for the Git server. With a password alone it is oauth2, which is right for an access token.
	GitUsername string `env:"GIT_USERNAME"`
	// Password or access token for the Git server. It is sent to that server only.
	GitPassword step.Secret `env:"GIT_PASSWORD"`
	// Private key for ssh, without a passphrase.
	GitSSHKey step.Secret `env:"GIT_SSH_KEY"`
	// Lines of a known_hosts file that the ssh server's key is checked against.
	GitKnownHosts string `env:"GIT_KNOWN_HOSTS"`
	// File with the CA certificate (PEM) that signs the Git server's certificate.
	GitCAFile string `env:"GIT_CA_FILE" ci:"CI_SERVER_TLS_CA_FILE"`
	// Clone submodules too. Those on another host are cloned without credentials.
	GitSubmodules bool `env:"GIT_SUBMODULES"`
	// Work tree to build instead of cloning one.
	SourceDir string `env:"SOURCE_DIR" group:"git" ci:"CI_PROJECT_DIR"`
	// Web address of the project, for the label org.opencontainers.image.source. Unset means GIT_URL.
	ProjectURL string `env:"PROJECT_URL" group:"git" ci:"CI_PROJECT_URL"`

	// Directory in the repository that is the build context.
	ContextDir string `env:"CONTEXT_DIR, default=."`
	// Path of the Dockerfile in CONTEXT_DIR.
	Dockerfile string `env:"DOCKERFILE, default=Dockerfile"`
	// Build arguments, NAME=VALUE, separated by commas, or one a line where a value holds a comma. They can be read
	// in the image's history: they are no place for secrets.
	BuildArgs string `env:"BUILD_ARGS"`
	// File with build arguments, NAME=VALUE, one a line: a path in CONTEXT_DIR, or an absolute one in this container. A value
	// is all that follows the first =, quotes and spaces included; a line that begins with # says nothing. A name
	// must not have another value in BUILD_ARGS.
	BuildArgsFile string `env:"BUILD_ARGS_FILE"`
	// Where images for FROM are looked for first, HOST=ADDRESS, separated by commas or white space: what HOST has as HOST/NAME,
	// ADDRESS has as ADDRESS/NAME. Of several for one host the first that has it is taken, else the host itself.
	RegistryMirrors string `env:"REGISTRY_MIRRORS"`
	// Stage of the Dockerfile to build. Unset means the last one.
	BuildTarget string `env:"BUILD_TARGET"`
	// Platform of the image, such as linux/amd64. Unset means this machine's.
	Platform string `env:"PLATFORM"`
	// Platforms of an image that is for several kinds of machine, such as linux/amd64,linux/arm64. It is built for one after
	// the other, and pushed as an index. A RUN is refused for a platform whose programs this machine does not run.
	Platforms []string `env:"PLATFORMS"`
	// Labels for the image, NAME=VALUE, separated by commas, or one a line where a value holds a comma. The labels
	// org.opencontainers.image.revision, source, version, created and title are set without being asked for.
	Labels string `env:"LABELS"`
	// Annotations for the image's manifest, NAME=VALUE, separated by commas, or one a line where a value holds a comma.
	Annotations string `env:"ANNOTATIONS"`
	// Media types of the image: oci or docker. Unset means those of the base image. Annotations are OCI's alone.
	MediaTypes string `env:"MEDIA_TYPES"`
	// Build the same image from the same commit: no file times, and the commit's time as the image's.
	Reproducible bool `env:"REPRODUCIBLE"`
	// Image name, CODE/NAME, in REGISTRY, under which the layers that RUNs make are kept for later builds. Unset means to keep
	// none. PHASE=build needs an account that may read it, and PHASE=push one that may write it.
	CacheRepo string `env:"CACHE_REPO"`
	// Age from which a layer in CACHE_REPO does not count.
	CacheTTL time.Duration `env:"CACHE_TTL, default=336h"`
	// Build secrets: BUILD_SECRET_NPM is what RUN --mount=type=secret,id=NPM reads.
	BuildSecrets map[string]step.Secret `env:"BUILD_SECRET_*"`
	// Have the directory .git in the build context. Credentials are removed from it. It is for PHASE=clone and
	// PHASE=build alike.
	KeepGitDir bool `env:"KEEP_GIT_DIR"`

	// Path of another Kaniko executor program that builds instead of the one that is built in, such as /kaniko/executor: it
	// must be directly in that folder. Every RUN can read its memory, so BUILD_SECRET_… is refused beside it, and so are
	// ANNOTATIONS, MEDIA_TYPES, CACHE_REPO and PLATFORMS; and what fails names no instruction.
	KanikoExecutor string `env:"KANIKO_EXECUTOR"`

	// Attach a statement to the image of how it was built (SLSA provenance), signed when RECORD_KEY is set.
	Provenance bool `env:"PROVENANCE"`
	// Attach a list to the image of what is known to be in it (SBOM in SPDX form), signed when RECORD_KEY is set.
	SBOM bool `env:"SBOM"`
	// Records are for what is attached: the key that signs it, and those that REUSE believes.
	Records recording.Records `env:""`

	// Build although the container is privileged or holds a container engine's socket, so that a Dockerfile's RUN
	// can reach every credential, and the machine.
	AllowPrivileged bool `env:"ALLOW_PRIVILEGED"`
	// Build although a Dockerfile's RUN can read files with credentials that could not be removed.
	AllowReadableCredentials bool `env:"ALLOW_READABLE_CREDENTIALS"`
}

// Validate returns all problems at once.
func (c *Config) Validate() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, step.Problem(format, args...)) }
	check := func(variable string, err error) {
		if err != nil {
			problem("%s: %w", variable, err)
		}
	}

	problems = append(problems, c.validatePhase())
	if c.Image != "" {
		name, err := image.ParseName(c.Image)
		if err == nil && name.Version != "" {
			err = image.CheckTarget(name.Version)
		}
		check("IMAGE", err)
	} else if c.Phase != phaseClone {
		problem("IMAGE is missing")
	}
	for _, tag := range c.ExtraTags {
		check("EXTRA_TAGS", image.CheckTarget(tag))
	}
	if c.Overwrite != "" && c.Overwrite != "true" && c.Overwrite != "false" {
		problem("OVERWRITE: %q is neither true nor false", c.Overwrite)
	}
	if c.needsRegistry() {
		if err := c.Registry.Validate(""); err != nil {
			problems = append(problems, err)
		}
	}

	switch {
	case !c.does(phaseClone):
	case c.GitURL == "" && c.Phase == phaseClone:
		problem("GIT_URL is missing")
	case c.GitURL == "" && c.SourceDir == "":
		problem("GIT_URL is missing, and so is SOURCE_DIR: one of them is needed")
	case c.GitURL != "" && c.SourceDir != "":
		problem("GIT_URL and SOURCE_DIR are both set: set one of them")
	case c.GitURL != "":
		check("GIT_URL", git.CheckURL(c.GitURL, c.GitAllowLocal))
	}
	check("GIT_REVISION", git.CheckRevision(c.GitRevision))
	check("GIT_BRANCH", git.CheckRevision(c.GitBranch))
	check("GIT_TAG", git.CheckRevision(c.GitTag))
	problems = append(problems, c.validateVerify())
	if c.does(phaseClone) && c.GitUsername != "" && c.GitPassword == "" {
		problem("GIT_PASSWORD is missing: GIT_USERNAME is set")
	}
	if c.GitSSHKey != "" && c.GitKnownHosts == "" {
		problem("GIT_KNOWN_HOSTS is missing: GIT_SSH_KEY is set, and a host's key is always checked")
	}

	for variable, path := range map[string]string{"CONTEXT_DIR": c.ContextDir, "DOCKERFILE": c.Dockerfile} {
		if !filepath.IsLocal(path) {
			problem("%s: %q leaves the repository", variable, path)
		}
	}
	if c.KanikoExecutor != "" {
		for _, text := range c.checkExecutor() {
			problem("%s", text)
		}
	}
	_, err := pairs(c.BuildArgs)
	check("BUILD_ARGS", err)
	if c.BuildArgsFile != "" && !filepath.IsAbs(c.BuildArgsFile) && !filepath.IsLocal(c.BuildArgsFile) {
		problem("BUILD_ARGS_FILE: %q leaves the repository", c.BuildArgsFile)
	}
	_, err = parseMirrors(c.RegistryMirrors)
	check("REGISTRY_MIRRORS", err)
	labels, err := pairs(c.Labels)
	check("LABELS", err)
	if _, set := labels[labelRevision]; set {
		problem("LABELS: %s is the commit that is built, and cannot be set", labelRevision)
	}
	for _, label := range []string{labelKey, labelSources} {
		if _, set := labels[label]; set {
			problem("LABELS: %s is what REUSE goes by, and cannot be set", label)
		}
	}
	if c.CacheRepo != "" {
		cache, err := image.ParseName(c.CacheRepo)
		check("CACHE_REPO", err)
		if err == nil && cache.Version != "" {
			problem("CACHE_REPO: %q has a version: it is for many", c.CacheRepo)
		}
	}
	if c.CacheTTL < 0 {
		problem("CACHE_TTL: %s is negative", c.CacheTTL)
	}
	annotations, err := pairs(c.Annotations)
	check("ANNOTATIONS", err)
	switch c.MediaTypes {
	case "", kaniko.OCI:
	case kaniko.Docker:
		if len(annotations) > 0 {
			problem("ANNOTATIONS is set, and MEDIA_TYPES is docker: only OCI's manifests have annotations")
		}
		if len(c.Platforms) > 0 {
			problem("PLATFORMS is set, and MEDIA_TYPES is docker: the index of several images is OCI's")
		}
	default:
		problem("MEDIA_TYPES: %q is neither oci nor docker", c.MediaTypes)
	}
	problems = append(problems, c.validatePlatforms()...)
	problems = append(problems, c.validateReuse()...)
	problems = append(problems, c.Records.Validate())
	return errors.Join(problems...)
}

// checkExecutor lists what is wrong with KANIKO_EXECUTOR, and what cannot be had with it.
func (c *Config) checkExecutor() (problems []string) {
	if !filepath.IsAbs(c.KanikoExecutor) {
		problems = append(problems, fmt.Sprintf("KANIKO_EXECUTOR: %q is not an absolute path", c.KanikoExecutor))
	}
	for name := range c.BuildSecrets {
		problems = append(problems, fmt.Sprintf(
			"BUILD_SECRET_%s and KANIKO_EXECUTOR are both set: every RUN could read the secret in the other program's memory", name))
	}
	for _, other := range []struct{ name, value string }{
		{"ANNOTATIONS", c.Annotations}, {"MEDIA_TYPES", c.MediaTypes}, {"CACHE_REPO", c.CacheRepo},
		{"PLATFORMS", strings.Join(c.Platforms, ",")},
	} {
		if other.value != "" {
			problems = append(problems, other.name+" and KANIKO_EXECUTOR are both set: only the executor that is built in has it")
		}
	}
	return problems
}

// pairs reads NAME=VALUE, separated by commas, or by line ends where there are any. What follows a comma and has no "=" is
// still of the value before.
func pairs(text string) (map[string]string, error) {
	separator := ","
	if text = strings.TrimSpace(text); strings.Contains(text, "\n") {
		separator = "\n"
	}
	out := map[string]string{}
	last := ""
	for _, pair := range strings.Split(text, separator) {
		if last != "" && separator == "," && strings.TrimSpace(pair) != "" && !strings.Contains(pair, "=") {
			out[last] += "," + pair
			continue
		}
		if pair = strings.TrimSpace(pair); pair == "" {
			continue
		}
		name, value, ok := strings.Cut(pair, "=")
		if !ok || strings.TrimSpace(name) == "" {
			return nil, errors.New("a list of NAME=VALUE is wanted") // the text may hold a secret by mistake
		}
		if _, twice := out[name]; twice {
			return nil, step.Problem("%q is set twice", name)
		}
		out[name], last = value, name
	}
	return out, nil
}
