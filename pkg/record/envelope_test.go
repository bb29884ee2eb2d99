package record_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"

	"dockline/pkg/record"
)

// theirs is a key for the reference implementation of DSSE, which knows envelopes and no signatures.
type theirs struct{ private *ecdsa.PrivateKey }

func (k theirs) Sign(_ context.Context, data []byte) ([]byte, error) {
	hash := sha256.Sum256(data)
	return k.private.Sign(rand.Reader, hash[:], crypto.SHA256)
}

func (k theirs) Verify(_ context.Context, data, sig []byte) error {
	if hash := sha256.Sum256(data); !ecdsa.VerifyASN1(&k.private.PublicKey, hash[:], sig) {
		return errors.New("wrong")
	}
	return nil
}

func (k theirs) KeyID() (string, error)   { return must(record.ReadKey(pkcs8(k.private), "")).ID(), nil }
func (k theirs) Public() crypto.PublicKey { return k.private.Public() }

// TestEnvelopesAreDSSE has the specification's own implementation read our envelopes, and us read its.
func TestEnvelopesAreDSSE(t *testing.T) {
	t.Parallel()
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	key := must(record.ReadKey(pkcs8(private), ""))
	r := verification(digestOf("a"), record.Right, noon)
	statement := string(must(r.Statement()))

	var envelope dsse.Envelope
	if err := json.Unmarshal(layerOf(t, r, key), &envelope); err != nil {
		t.Fatal(err)
	}
	verifier := must(dsse.NewEnvelopeVerifier(theirs{private}))
	accepted, payload, err := verifier.VerifyAndDecode(t.Context(), &envelope)
	if err != nil || len(accepted) != 1 || accepted[0].KeyID != key.ID() {
		t.Errorf("accepted %v, %v", accepted, err)
	}
	if diff := cmp.Diff(statement, string(payload)); diff != "" {
		t.Error(diff)
	}

	signer := must(dsse.NewEnvelopeSigner(theirs{private}))
	made := must(json.Marshal(must(signer.SignPayload(t.Context(), "application/vnd.in-toto+json", []byte(statement)))))
	read, err := record.Read(made, key.Public())
	if diff := cmp.Diff(record.Signed{Record: r, Key: key.ID()}, read); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
}
