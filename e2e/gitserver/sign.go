package gitserver

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"io"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// Signer signs commits and tags, as gpg or ssh-keygen do it for Git.
type Signer struct {
	// Public is what a verifier is given: an armored OpenPGP key, or a line of an allowed_signers file.
	Public string
	// Sign returns the armored signature on a text.
	Sign func(text []byte) (string, error)
}

// OpenPGP makes a signer with an OpenPGP key that was made then, and lives so long (0 means for ever).
func OpenPGP(email string, made time.Time, lives time.Duration) (*Signer, error) {
	at := func() time.Time { return made.Add(time.Second) }
	config := &packet.Config{
		Algorithm: packet.PubKeyAlgoEdDSA, KeyLifetimeSecs: uint32(lives / time.Second), Time: at,
	}
	entity, err := openpgp.NewEntity("Release Manager", "", email, config)
	if err != nil {
		return nil, err
	}
	var public bytes.Buffer
	block, err := armor.Encode(&public, openpgp.PublicKeyType, nil)
	if err != nil {
		return nil, err
	}
	if err := entity.Serialize(block); err != nil {
		return nil, err
	}
	if err := block.Close(); err != nil {
		return nil, err
	}
	return &Signer{Public: public.String() + "\n", Sign: func(text []byte) (string, error) {
		var signature bytes.Buffer
		err := openpgp.ArmoredDetachSign(&signature, entity, bytes.NewReader(text), &packet.Config{Time: at})
		return signature.String() + "\n", err
	}}, nil
}

// SSH makes a signer with an Ed25519 key that signs in a namespace, Git's being "git".
func SSH(principal, namespace string) (*Signer, error) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		return nil, err
	}
	return &Signer{
		Public: principal + " " + string(ssh.MarshalAuthorizedKey(signer.PublicKey())),
		Sign: func(text []byte) (string, error) {
			signature, err := sshsig.Sign(bytes.NewReader(text), signer, sshsig.HashSHA512, namespace)
			if err != nil {
				return "", err
			}
			return string(sshsig.Armor(signature)), nil
		},
	}, nil
}

// SignCommit replaces a branch's last commit by the same one with a signature, and returns its hash.
func SignCommit(dir, branch string, by *Signer) (string, error) {
	repo, err := gogit.PlainOpen(dir)
	if err != nil {
		return "", fmt.Errorf("opening %q: %w", dir, err)
	}
	name := plumbing.NewBranchReferenceName(branch)
	at, err := repo.Reference(name, true)
	if err != nil {
		return "", err
	}
	commit, err := repo.CommitObject(at.Hash())
	if err != nil {
		return "", err
	}
	if commit.PGPSignature, err = sign(commit, by); err != nil {
		return "", err
	}
	hash, err := write(repo.Storer, commit)
	if err != nil {
		return "", err
	}
	return hash.String(), repo.Storer.SetReference(plumbing.NewHashReference(name, hash))
}

// SignTag makes an annotated tag of a commit, signed under a name and referred to by another where they differ.
func SignTag(dir, name, signedName, commit string, by *Signer) error {
	repo, err := gogit.PlainOpen(dir)
	if err != nil {
		return fmt.Errorf("opening %q: %w", dir, err)
	}
	tag := &object.Tag{
		Name: signedName, Message: "Release " + signedName + "\n", TargetType: plumbing.CommitObject, Target: plumbing.NewHash(commit),
		Tagger: object.Signature{Name: "Release Manager", Email: "release@example.com", When: Epoch},
	}
	if tag.PGPSignature, err = sign(tag, by); err != nil {
		return err
	}
	hash, err := write(repo.Storer, tag)
	if err != nil {
		return err
	}
	return repo.Storer.SetReference(plumbing.NewHashReference(plumbing.NewTagReferenceName(name), hash))
}

func sign(thing interface {
	EncodeWithoutSignature(o plumbing.EncodedObject) error
}, by *Signer,
) (string, error) {
	encoded := &plumbing.MemoryObject{}
	if err := thing.EncodeWithoutSignature(encoded); err != nil {
		return "", err
	}
	reader, err := encoded.Reader()
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(reader)
	if err != nil {
		return "", err
	}
	return by.Sign(text)
}
