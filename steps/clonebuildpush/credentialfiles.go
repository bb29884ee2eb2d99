package clonebuildpush

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"dockline/pkg/fault"
	"dockline/pkg/git"
	"dockline/pkg/step"
)

// hideCredentials removes the files with credentials that a Dockerfile's RUN could read. What cannot be removed, such
// as a read-only mount, is refused by name, unless that is allowed.
//
// It must be called after everything has been read, and only where a build is about to take place: in our own image
// or sandbox, where the files are copies.
func hideCredentials(rt *step.Runtime, root, sourceDir string, allowed bool) error {
	var left []string
	for _, path := range credentialFiles(rt, root) {
		switch err := unlink(path); {
		case err == nil:
			rt.Log.Info().Str("file", path).Msg("removed a file with credentials, which the build could read")
		case errors.Is(err, fs.ErrNotExist):
		default:
			left = append(left, path)
		}
	}
	if sourceDir != "" {
		changed, err := git.Scrub(sourceDir)
		for _, path := range changed {
			rt.Log.Info().Str("file", path).Msg("removed credentials from a Git configuration, which the build could read")
		}
		if err != nil {
			still, _ := git.CredentialFiles(sourceDir)
			left = append(left, still...)
		}
	}
	if len(left) == 0 {
		return nil
	}
	if allowed {
		rt.Log.Warn().Strs("files", left).Msg("the build can read these files with credentials (ALLOW_READABLE_CREDENTIALS)")
		return nil
	}
	err := fault.New(fault.Refused, "a RUN of the Dockerfile could read the credentials in %s, which cannot be removed",
		strings.Join(left, ", "))
	return fault.WithHint(err, "keep them out of this container, or set ALLOW_READABLE_CREDENTIALS=true "+
		"if every Dockerfile that is built here is trusted with them")
}

// credentialFiles lists the files that hold credentials, or are there for nothing else: those that the step has read,
// those that tools look for, and those that Tekton, GitLab and Kubernetes put into a container. Root is "/", except in
// tests.
func credentialFiles(rt *step.Runtime, root string) []string {
	at := func(path string) string { return filepath.Join(root, path) }
	found := rt.CredentialFiles()

	if home := rt.Getenv("HOME"); home != "" {
		for _, name := range []string{
			".docker/config.json", ".config/containers/auth.json", ".git-credentials", ".config/git/credentials", ".netrc",
			".ssh/id_rsa", ".ssh/id_ecdsa", ".ssh/id_ed25519", ".aws/credentials", ".kube/config",
			".config/gcloud/application_default_credentials.json",
		} {
			found = append(found, filepath.Join(home, name))
		}
	}
	for variable, name := range map[string]string{
		"DOCKER_CONFIG": "config.json", "XDG_RUNTIME_DIR": "containers/auth.json",
	} {
		if dir := rt.Getenv(variable); dir != "" {
			found = append(found, filepath.Join(dir, name))
		}
	}
	for _, variable := range []string{
		"REGISTRY_AUTH_FILE", "KUBECONFIG", "GOOGLE_APPLICATION_CREDENTIALS", "AWS_SHARED_CREDENTIALS_FILE",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AZURE_FEDERATED_TOKEN_FILE", "VAULT_TOKEN_FILE",
	} {
		if path := rt.Getenv(variable); path != "" {
			found = append(found, path)
		}
	}
	found = append(found, at("/kaniko/.docker/config.json"), at("/root/.docker/config.json"))
	// Tekton copies its credentials here, and Kubernetes mounts the ServiceAccount's token below the others.
	for _, dir := range []string{"/tekton/creds", "/tekton/creds-secrets", "/var/run/secrets", "/run/secrets"} {
		found = append(found, regularFiles(at(dir))...)
	}
	// GitLab's runner keeps file variables, and the job token's Git configuration, beside the work tree.
	if project := rt.Getenv("CI_PROJECT_DIR"); project != "" {
		found = append(found, regularFiles(strings.TrimSuffix(project, "/")+".tmp")...)
	}

	slices.Sort(found)
	return slices.DeleteFunc(slices.Compact(found), func(path string) bool {
		info, err := os.Stat(path)
		return err != nil || !info.Mode().IsRegular() || harmless(path)
	})
}

// regularFiles lists the files below dir, links to files included.
func regularFiles(dir string) []string {
	var out []string
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			out = append(out, path)
		}
		return nil
	})
	return out
}

// harmless says whether a file is empty, or a name or a certificate, which stand beside a ServiceAccount's token and
// among GitLab's file variables.
func harmless(path string) bool {
	if name := filepath.Base(path); name == "namespace" {
		return true
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	text = bytes.TrimSpace(text)
	return len(text) == 0 ||
		bytes.HasPrefix(text, []byte("-----BEGIN CERTIFICATE-----")) && !bytes.Contains(text, []byte("PRIVATE KEY"))
}

// unlink removes a file, and what it is a link to: Kubernetes mounts secrets by links.
func unlink(path string) error {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	if err := os.Remove(target); err != nil {
		return fmt.Errorf("removing %q: %w", target, err)
	}
	if target != path {
		_ = os.Remove(path)
	}
	return nil
}
