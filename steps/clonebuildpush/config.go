package clonebuildpush

import (
	"errors"
	"path/filepath"
	"strings"

	"github.com/containerd/platforms"

	"dockline/pkg/git"
	"dockline/pkg/image"
	"dockline/pkg/step"
)

// Config is the step's configuration.
type Config struct {
	// What to do: clone, build or push, for a pod that does each in a container of its own with only its own secret.
	// Clone needs GIT_…; build needs no account, or one that may read REGISTRY, for base images there and to build
	// nothing where the image of a Git tag's commit is there; push needs REGISTRY…. Unset means all three, in turn.
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
	// The registry that is pushed to; images for FROM come from it with the same credentials, where it is their host.
	step.Registry `ci:"REGISTRY=CI_REGISTRY"`

	// Repository to clone: https://HOST/PATH, ssh://git@HOST/PATH, git@HOST:PATH or an absolute path. Credentials
	// belong into GIT_USERNAME and GIT_PASSWORD.
	GitURL string `env:"GIT_URL" group:"git"`
	// What to build: a branch, a tag, a reference (refs/…) or a full commit hash. Unset means the default branch.
	GitRevision string `env:"GIT_REVISION" group:"git" ci:"CI_COMMIT_SHA"`
	// Branch that the commit belongs to, where GIT_REVISION is a hash. It names the version.
	GitBranch string `env:"GIT_BRANCH" group:"git" ci:"CI_COMMIT_BRANCH, CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"`
	// Tag that the commit is released by, where GIT_REVISION is a hash. It names the version.
	GitTag string `env:"GIT_TAG" group:"git" ci:"CI_COMMIT_TAG"`
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
	// Stage of the Dockerfile to build. Unset means the last one.
	BuildTarget string `env:"BUILD_TARGET"`
	// Platform of the image, such as linux/amd64. Unset means this machine's.
	Platform string `env:"PLATFORM"`
	// Labels for the image, NAME=VALUE, separated by commas, or one a line where a value holds a comma. The labels
	// org.opencontainers.image.revision, source, version, created and title are set without being asked for.
	Labels string `env:"LABELS"`
	// Build the same image from the same commit: no file times, and the commit's time as the image's.
	Reproducible bool `env:"REPRODUCIBLE"`
	// Build secrets: BUILD_SECRET_NPM is what RUN --mount=type=secret,id=NPM reads.
	BuildSecrets map[string]step.Secret `env:"BUILD_SECRET_*"`
	// Have the directory .git in the build context. Credentials are removed from it. It is for PHASE=clone and
	// PHASE=build alike.
	KeepGitDir bool `env:"KEEP_GIT_DIR"`

	// Path of another Kaniko executor program that builds instead of the one that is built in, such as /kaniko/executor: it
	// must be directly in that folder. Every RUN can read its memory, so BUILD_SECRET_… is refused beside it; and what fails names no instruction.
	KanikoExecutor string `env:"KANIKO_EXECUTOR"`

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
		check("GIT_URL", git.CheckURL(c.GitURL, true))
	}
	check("GIT_REVISION", git.CheckRevision(c.GitRevision))
	check("GIT_BRANCH", git.CheckRevision(c.GitBranch))
	check("GIT_TAG", git.CheckRevision(c.GitTag))
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
	if c.KanikoExecutor != "" && !filepath.IsAbs(c.KanikoExecutor) {
		problem("KANIKO_EXECUTOR: %q is not an absolute path", c.KanikoExecutor)
	}
	for name := range c.BuildSecrets {
		if c.KanikoExecutor != "" {
			problem("BUILD_SECRET_%s and KANIKO_EXECUTOR are both set: every RUN could read the secret in the other program's memory", name)
		}
	}
	_, err := pairs(c.BuildArgs)
	check("BUILD_ARGS", err)
	labels, err := pairs(c.Labels)
	check("LABELS", err)
	if _, set := labels[labelRevision]; set {
		problem("LABELS: %s is the commit that is built, and cannot be set", labelRevision)
	}
	if c.Platform != "" {
		_, err := platforms.Parse(c.Platform)
		check("PLATFORM", err)
	}
	return errors.Join(problems...)
}

// pairs reads NAME=VALUE, separated by commas, or by line ends where there are any.
func pairs(text string) (map[string]string, error) {
	separator := ","
	if strings.Contains(strings.TrimSpace(text), "\n") {
		separator = "\n"
	}
	out := map[string]string{}
	for _, pair := range strings.Split(text, separator) {
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
		out[name] = value
	}
	return out, nil
}
