package clonebuildpush

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"dockline/pkg/fault"
	"dockline/pkg/git"
	"dockline/pkg/step"
)

// fetch returns the work tree: a clone, or the one that is there. What it leaves behind goes by cleanUp.
func (r *runner) fetch(ctx context.Context, rt *step.Runtime) (from source, cleanUp func(), err error) {
	if r.SourceDir != "" {
		from, err = r.workTree(ctx, rt)
		return from, func() {}, err
	}
	dir, err := workspace(rt)
	if err != nil {
		return source{}, nil, err
	}
	cleanUp = func() { _ = os.RemoveAll(dir) }
	from, err = r.clone(ctx, rt, filepath.Join(dir, "source"))
	if err != nil {
		cleanUp()
		return source{}, nil, err
	}
	return from, cleanUp, nil
}

func (r *runner) clone(ctx context.Context, rt *step.Runtime, dir string) (source, error) {
	defer rt.Section("clone", "Cloning "+git.RedactURL(r.GitURL))()
	defer rt.Waiting(ctx, func() string { return "cloning " + git.RedactURL(r.GitURL) })()
	options := git.Options{
		URL: r.GitURL, Revision: r.GitRevision, Dir: dir,
		Username: r.GitUsername, Password: r.GitPassword.Reveal(),
		SSHKey: sshKey(r.GitSSHKey), KnownHosts: []byte(r.GitKnownHosts),
		AllowLocal: r.GitAllowLocal, Submodules: r.GitSubmodules, KeepGitDir: r.KeepGitDir,
	}
	var err error
	if options.Rules, err = r.rules(); err != nil {
		return source{}, err
	}
	if options.Proxy, err = rt.Proxies(); err != nil {
		return source{}, err
	}
	if r.GitPassword != "" {
		rt.Mask(cmp.Or(r.GitUsername, git.TokenUser) + ":" + r.GitPassword.Reveal()) // as basic authentication encodes it
	}
	if r.GitCAFile != "" {
		ca, err := os.ReadFile(r.GitCAFile)
		if err != nil {
			return source{}, step.Problem("GIT_CA_FILE: %w", err)
		}
		options.CA = ca
	}
	checkout, err := git.Clone(ctx, options)
	if err != nil {
		return source{}, err
	}
	rt.Log.Info().Str("commit", checkout.Hash).Str("subject", checkout.Subject).Msg("cloned")
	r.tellSigner(rt, checkout.Signer)
	for _, submodule := range checkout.Submodules {
		rt.Log.Info().Str("path", submodule.Path).Str("commit", submodule.Hash).
			Bool("with_credentials", submodule.Authenticated).Msg("cloned a submodule")
	}
	return source{
		Commit: checkout.Commit, Dir: dir,
		Branch: cmp.Or(r.GitBranch, checkout.Branch), Tag: cmp.Or(r.GitTag, checkout.Tag), Signer: checkout.Signer,
	}, nil
}

// workTree takes the work tree that is there. Its commit must be the one that it is said to be.
func (r *runner) workTree(ctx context.Context, rt *step.Runtime) (source, error) {
	if info, err := os.Stat(r.SourceDir); err != nil || !info.IsDir() {
		return source{}, step.Problem("SOURCE_DIR: %q is no directory", r.SourceDir)
	}
	from := source{Dir: r.SourceDir, Branch: r.GitBranch, Tag: r.GitTag}
	head, err := git.Head(r.SourceDir)
	switch {
	case err == nil:
		from.Commit = head
		if git.IsFullHash(r.GitRevision) && r.GitRevision != head.Hash {
			return source{}, step.Problem("SOURCE_DIR is at commit %s, and GIT_REVISION is %s", head.Hash, r.GitRevision)
		}
	case fault.KindOf(err) == fault.NotFound:
		if git.IsFullHash(r.GitRevision) {
			from.Hash = r.GitRevision
		}
	default:
		return source{}, err
	}
	rules, err := r.rules()
	if err != nil {
		return source{}, err
	}
	if rules.Signed == "" && (head.Hash == "" || rules.Tag == "") {
		return from, nil
	}
	from.Signer, err = git.CheckWorkTree(ctx, r.SourceDir, rules)
	if fault.KindOf(err) == fault.NotFound { // a gate that cannot be looked through is closed
		err = fault.New(fault.Refused, "GIT_VERIFY=%s: %w", r.GitVerify, err)
	}
	if err != nil {
		return source{}, fmt.Errorf("taking the work tree %q: %w", r.SourceDir, err)
	}
	r.tellSigner(rt, from.Signer)
	return from, nil
}

// workspace makes a directory for the clone: below Kaniko's own directory, which the build leaves alone, or where
// there is none, and so no build can be, a temporary one.
func workspace(rt *step.Runtime) (string, error) {
	parent := rt.Getenv("KANIKO_DIR")
	if info, err := os.Stat(parent); err != nil || !info.IsDir() {
		parent = ""
	}
	dir, err := os.MkdirTemp(parent, "workspace-")
	if err != nil {
		return "", fmt.Errorf("making a directory to clone into: %w", err)
	}
	// RUN may switch to a user who has to read the context, by a bind mount for one.
	return dir, os.Chmod(dir, 0o755) //nolint:gosec // there is nothing in it but the sources
}

// sshKey ends the key in a line break, which secret stores like to cut off, and without which it cannot be read.
func sshKey(key step.Secret) []byte {
	if key == "" {
		return nil
	}
	return []byte(key.Reveal() + "\n")
}
