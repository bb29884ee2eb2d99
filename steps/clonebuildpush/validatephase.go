package clonebuildpush

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"

	"dockline/pkg/step"
)

// does says whether this run does a phase.
func (c *Config) does(phase string) bool { return c.Phase == "" || c.Phase == phase }

// needsRegistry says whether the registry's variables must be complete: those of an account that only reads are optional
// for a build, and a clone at most looks the host up.
func (c *Config) needsRegistry() bool {
	switch c.Phase {
	case phaseClone:
		return false
	case phaseBuild:
		return c.Address != "" || c.Username != "" || c.Password != ""
	}
	return true
}

// validatePhase returns all problems with PHASE and what belongs to it.
func (c *Config) validatePhase() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, step.Problem(format, args...)) }
	if c.PlatformImages != "" && c.Phase != phaseIndex {
		problem("PLATFORM_IMAGES is set, and PHASE=index is not, which joins them")
	}
	folders := map[string]string{"CHECKOUT_DIR": c.CheckoutDir, "IMAGE_DIR": c.ImageDir}
	switch c.Phase {
	case "":
		for _, variable := range slices.Sorted(maps.Keys(folders)) {
			if folders[variable] != "" {
				problem("%s is set, and PHASE is not: it is for handing on from one phase to the next", variable)
			}
		}
		return errors.Join(problems...)
	case phaseClone, phaseBuild, phasePush:
	case phaseIndex:
		return c.validateIndex()
	default:
		problem("PHASE: %q is none of clone, build, push, index", c.Phase)
		return errors.Join(problems...)
	}

	for _, variable := range slices.Sorted(maps.Keys(folders)) {
		switch path := folders[variable]; {
		case path == "":
			problem("%s is missing: PHASE=%s needs it", variable, c.Phase)
		case !filepath.IsAbs(path):
			problem("%s: %q is not an absolute path", variable, path)
		}
	}
	if c.CheckoutDir != "" && c.ImageDir != "" && (within(c.CheckoutDir, c.ImageDir) || within(c.ImageDir, c.CheckoutDir)) {
		problem("CHECKOUT_DIR and IMAGE_DIR are one in the other: a build may change the one and not the other")
	}
	if c.SourceDir != "" {
		problem("SOURCE_DIR is set, and PHASE=%s works on what PHASE=clone clones", c.Phase)
	}

	// A secret in a container that does not need it is one that was meant to be kept out of it.
	stray := func(variable string, set bool, users ...string) {
		if set && !slices.Contains(users, c.Phase) {
			problem("%s is set, and PHASE=%s has no use for it: keep it out of this container", variable, c.Phase)
		}
	}
	stray("GIT_PASSWORD", c.GitPassword != "", phaseClone)
	stray("GIT_SSH_KEY", c.GitSSHKey != "", phaseClone)
	stray("REGISTRY_PASSWORD", c.Password != "", phaseBuild, phasePush)
	stray("REGISTRY_KEY", c.Key != "", phaseBuild, phasePush)
	stray("REGISTRY_AUTH_FILE", c.AuthFile != "", phaseBuild, phasePush)
	stray("RECORD_KEY", c.Records.Key != "", phasePush)
	for _, name := range slices.Sorted(maps.Keys(c.BuildSecrets)) {
		stray("BUILD_SECRET_"+name, true, phaseBuild)
	}
	return errors.Join(problems...)
}

// within says whether a path is dir, or below it.
func within(path, dir string) bool {
	relative, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(relative)
}
