package clonebuildpush

import (
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"dockline/pkg/fault"
	"dockline/pkg/git"
	"dockline/pkg/step"
)

// What the phases hand on: PHASE=clone by CHECKOUT_DIR, which the container that builds mounts read-only, and
// PHASE=build by IMAGE_DIR, in which a RUN can do as it likes.
const (
	sourceName   = "source"        // in CHECKOUT_DIR: the work tree
	checkoutName = "checkout.json" // in CHECKOUT_DIR: a checkout
	layoutName   = "image"         // in IMAGE_DIR: the image, an OCI layout; of several, image-OS-ARCH
	sealedName   = "image.json"    // in IMAGE_DIR: a handedImage, sealed
	sealName     = "seal.key"      // in IMAGE_DIR: the seal's key, while no RUN is alive
)

// checkout is what PHASE=clone tells the phases after it. No RUN can change it.
type checkout struct {
	Commit  string    `json:"commit"`
	Time    time.Time `json:"time"` // the committer's
	Subject string    `json:"subject"`
	Branch  string    `json:"branch,omitempty"`
	Tag     string    `json:"tag,omitempty"`
	Project string    `json:"project,omitempty"` // its web address
	Signed  string    `json:"signed,omitempty"`  // what GIT_VERIFY asked a signature of
	Signer  string    `json:"signer,omitempty"`  // whose it is
	// Addresses of the registry's host, where it is reached without TLS: a RUN can rewrite the /etc/hosts of a whole pod.
	Addresses map[string][]string `json:"addresses,omitempty"`
	Seal      ed25519.PublicKey   `json:"seal"` // by which PHASE=push knows what PHASE=build has written
}

// handedImage is what PHASE=build tells PHASE=push.
type handedImage struct {
	Image       string            `json:"image"`                 // with its version
	Digest      string            `json:"digest"`                // of the image, built or found
	Built       bool              `json:"built"`                 // false when the registry had the image already
	Reuse       string            `json:"reuse,omitempty"`       // the setting
	Reused      string            `json:"reused,omitempty"`      // why it need not be built
	Key         string            `json:"key,omitempty"`         // of all that it is built from
	Children    []handedChild     `json:"children,omitempty"`    // of an index
	Annotations map[string]string `json:"annotations,omitempty"` // of an index
	Made        *making           `json:"made,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Cache       []handedLayer     `json:"cache,omitempty"` // the layers that are to be kept
	Warnings    []string          `json:"warnings,omitempty"`
}

// handedChild is the image of one platform.
type handedChild struct {
	Platform string `json:"platform"`
	Digest   string `json:"digest"`
	Layout   string `json:"layout"` // its folder in IMAGE_DIR
}

// handedLayer is a layer for CACHE_REPO.
type handedLayer struct {
	Key    string `json:"key"`
	Digest string `json:"digest"` // of the image of that layer alone
	Layout string `json:"layout"` // its folder in IMAGE_DIR
}

// writeCheckout hands on what was cloned.
func writeCheckout(folder *os.Root, told checkout) error {
	content, err := json.MarshalIndent(told, "", "  ")
	if err != nil {
		return err
	}
	return replaceFile(folder, checkoutName, append(content, '\n'), 0o644)
}

// readCheckout reads what PHASE=clone has handed on.
func readCheckout(dir string) (checkout, source, error) {
	folder, err := openFolder("CHECKOUT_DIR", dir)
	if err != nil {
		return checkout{}, source{}, err
	}
	defer folder.Close()
	content, err := readFile(folder, checkoutName)
	if err != nil {
		return checkout{}, source{}, fault.WithHint(fmt.Errorf("reading what PHASE=clone has left: %w", err),
			"run PHASE=clone before, with the same CHECKOUT_DIR")
	}
	var told checkout
	if err := json.Unmarshal(content, &told); err != nil || !git.IsFullHash(told.Commit) || len(told.Seal) != ed25519.PublicKeySize {
		return checkout{}, source{}, fault.WithHint(
			fault.New(fault.Refused, "reading what PHASE=clone has left: %q is not what it writes", checkoutName),
			"run PHASE=clone again, by the same version of this program")
	}
	return told, source{
		Commit: git.Commit{Hash: told.Commit, Time: told.Time, Subject: told.Subject},
		Dir:    filepath.Join(dir, sourceName), Branch: told.Branch, Tag: told.Tag, Project: told.Project, Signer: told.Signer,
	}, nil
}

func openFolder(variable, path string) (*os.Root, error) {
	folder, err := os.OpenRoot(path)
	if err != nil {
		return nil, step.Problem("%s: %w", variable, err)
	}
	return folder, nil
}

// removeAll removes what an earlier run has left under these names.
func removeAll(folder *os.Root, names ...string) error {
	for _, name := range names {
		if err := folder.RemoveAll(name); err != nil {
			return fmt.Errorf("removing what an earlier run left: %w", err)
		}
	}
	return nil
}

// largestHandover bounds what is read of a file that is handed on.
const largestHandover = 1 << 20

// readFile reads a small regular file. What a RUN may have put there, such as a pipe, does not hold it up.
func readFile(folder *os.Root, name string) ([]byte, error) {
	file, err := folder.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.NotFound, "there is no %q", filepath.Join(folder.Name(), name))
	}
	if err != nil {
		return nil, fault.As(fault.Refused, err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > largestHandover {
		return nil, fault.New(fault.Refused, "%q is not a small regular file", filepath.Join(folder.Name(), name))
	}
	return io.ReadAll(io.LimitReader(file, largestHandover))
}

// replaceFile writes a file by way of a new one and a rename, whatever was there before.
func replaceFile(folder *os.Root, name string, content []byte, mode fs.FileMode) error {
	temporary := "." + name
	if err := folder.RemoveAll(temporary); err != nil {
		return err
	}
	file, err := folder.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Chmod(mode), file.Close()); err != nil {
		return err
	}
	return errors.Join(folder.RemoveAll(name), folder.Rename(temporary, name))
}
