package clonebuildpush

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"os"

	"dockline/pkg/fault"
)

// seal is how the parent of a build says that a file is its own, and that no RUN is left: PHASE=clone makes a pair of
// keys, and puts the private one where PHASE=build takes it away before the first RUN. So a RUN can neither read it nor
// write what PHASE=push accepts, and PHASE=push does nothing while a RUN may be alive, whoever started it.
type seal struct {
	folder *os.Root // IMAGE_DIR
	key    ed25519.PrivateKey
}

// newSeal makes a pair of keys, and returns the public one.
func newSeal(folder *os.Root) (ed25519.PublicKey, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("making the key of the seal: %w", err)
	}
	return public, seal{folder, private}.putBack()
}

// takeSeal takes the key away, so that this process alone has it.
func takeSeal(folder *os.Root, public ed25519.PublicKey) (seal, error) {
	key, err := readFile(folder, sealName)
	if err != nil {
		return seal{}, fault.WithHint(fmt.Errorf("taking the key that PHASE=clone has left: %w", err),
			"run PHASE=clone again, with the same IMAGE_DIR: a build that was killed takes the key with it")
	}
	if len(key) != ed25519.PrivateKeySize || !bytes.Equal(ed25519.PrivateKey(key).Public().(ed25519.PublicKey), public) { //nolint:errcheck,forcetypeassert // it is one
		return seal{}, fault.WithHint(fault.New(fault.Refused, "taking the key that PHASE=clone has left: it is another's"),
			"run PHASE=clone again, with the same CHECKOUT_DIR and IMAGE_DIR")
	}
	if err := folder.Remove(sealName); err != nil {
		return seal{}, fmt.Errorf("taking the key that PHASE=clone has left: %w", err)
	}
	return seal{folder, key}, nil
}

// putBack leaves the key for another build, when no RUN is left to read it.
func (s seal) putBack() error {
	if err := replaceFile(s.folder, sealName, s.key, 0o600); err != nil {
		return fmt.Errorf("leaving the key of the seal: %w", err)
	}
	return nil
}

// sealed is the form of a sealed file.
type sealed struct {
	Content   []byte `json:"content"` // JSON, of a handedImage
	Signature []byte `json:"signature"`
}

// write hands on an image, when no RUN is left.
func (s seal) write(told handedImage) error {
	content, err := json.Marshal(told)
	if err != nil {
		return err
	}
	file, err := json.Marshal(sealed{content, ed25519.Sign(s.key, content)})
	if err != nil {
		return err
	}
	if err := replaceFile(s.folder, sealedName, append(file, '\n'), 0o644); err != nil {
		return fmt.Errorf("handing the image on: %w", err)
	}
	return nil
}

// readSealed reads what PHASE=build has handed on, and nothing that a RUN has.
func readSealed(folder *os.Root, public ed25519.PublicKey) (handedImage, error) {
	content, err := readFile(folder, sealedName)
	if err != nil {
		return handedImage{}, fault.WithHint(fmt.Errorf("reading what PHASE=build has left: %w", err),
			"run PHASE=build before, with the same IMAGE_DIR: it leaves nothing unless it succeeds")
	}
	var file sealed
	var told handedImage
	if json.Unmarshal(content, &file) != nil || !ed25519.Verify(public, file.Content, file.Signature) ||
		json.Unmarshal(file.Content, &told) != nil {
		return handedImage{}, fault.WithHint(
			fault.New(fault.Refused, "reading what PHASE=build has left: %q is not sealed by the build of this checkout", sealedName),
			"run PHASE=build again after PHASE=clone; when it did run, a RUN of the Dockerfile wrote this")
	}
	return told, nil
}
