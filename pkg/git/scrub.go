package git

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

var (
	// urlCredentials are user and password of an http URL, wherever in a configuration it stands.
	urlCredentials = regexp.MustCompile(`(?i)(https?://)[^/\s"@]+(?::[^/\s"@]*)?@`)
	// secretSettings are settings whose value is a credential: an Authorization header, a password, a token.
	secretSettings = regexp.MustCompile(`(?im)^[ \t]*(?:\[[^\]\n]*\][ \t]*)?(extraheader|password|token)[ \t]*=(?:[^\\\n]|\\(?:.|\n))*\n?`)
)

// CredentialFiles lists the configuration files in a work tree's .git that hold credentials: URLs with a password,
// Authorization headers. The paths begin with dir. A work tree without .git has none.
func CredentialFiles(dir string) ([]string, error) {
	var found []string
	err := eachConfig(dir, func(path string, text []byte) error {
		if !bytes.Equal(scrubbed(text), text) {
			found = append(found, path)
		}
		return nil
	})
	return found, err
}

// Scrub removes the credentials from the configuration files in a work tree's .git, and lists the files it changed.
func Scrub(dir string) ([]string, error) {
	var changed []string
	err := eachConfig(dir, func(path string, text []byte) error {
		clean := scrubbed(text)
		if bytes.Equal(clean, text) {
			return nil
		}
		if err := replaceFile(path, clean); err != nil {
			return fmt.Errorf("removing the credentials from %q: %w", path, err)
		}
		changed = append(changed, path)
		return nil
	})
	return changed, err
}

func scrubbed(text []byte) []byte {
	text = urlCredentials.ReplaceAll(text, []byte("$1"))
	return secretSettings.ReplaceAllFunc(text, func(line []byte) []byte {
		// A header and its first setting may share a line; the header stays.
		if end := bytes.IndexByte(line, ']'); end >= 0 && bytes.HasPrefix(bytes.TrimSpace(line), []byte("[")) {
			return append(bytes.Clone(line[:end+1]), '\n')
		}
		return nil
	})
}

// eachConfig visits config and config.worktree of .git, and of the submodules and linked work trees below it.
func eachConfig(dir string, visit func(path string, text []byte) error) error {
	gitDir, err := locate(dir)
	if err != nil || gitDir == "" {
		return err
	}
	return filepath.WalkDir(gitDir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && (entry.Name() == "objects" || entry.Name() == "refs") && filepath.Dir(path) == gitDir {
			return fs.SkipDir
		}
		if !entry.Type().IsRegular() || (entry.Name() != "config" && entry.Name() != "config.worktree") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("reading %q: %w", path, err)
		}
		return visit(path, text)
	})
}

// locate finds .git, also when it is a file that names the directory, as in linked work trees and submodules.
func locate(dir string) (string, error) {
	at := filepath.Join(dir, ".git")
	info, err := os.Lstat(at)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil || info.IsDir() {
		return at, err
	}
	text, err := os.ReadFile(at)
	if err != nil {
		return "", fmt.Errorf("reading %q: %w", at, err)
	}
	target, ok := strings.CutPrefix(strings.TrimSpace(string(text)), "gitdir: ")
	if !ok {
		return "", nil
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(dir, target)
	}
	if _, err := os.Stat(target); err != nil {
		return "", nil //nolint:nilerr // a work tree whose repository is elsewhere has nothing to scrub here
	}
	return target, nil
}

// replaceFile writes beside path and renames, so that a crash leaves one of the two.
func replaceFile(path string, text []byte) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), ".config-*")
	if err != nil {
		return err
	}
	defer os.Remove(temporary.Name())
	if _, err := temporary.Write(text); err != nil {
		return err
	}
	if err := temporary.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if err := temporary.Close(); err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}
