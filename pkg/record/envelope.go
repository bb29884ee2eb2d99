package record

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"dockline/pkg/fault"
)

// payloadType is what an envelope holds (in-toto attestation framework, "Envelope").
const payloadType = "application/vnd.in-toto+json"

const (
	largestRecord  = 128 << 10 // a statement in base64, and signatures
	mostSignatures = 16        // each may cost a try with every key
)

// envelope is DSSE's (Dead Simple Signing Envelope, version 1.0.2, "Envelope").
type envelope struct {
	PayloadType string      `json:"payloadType"`
	Payload     string      `json:"payload"`
	Signatures  []signature `json:"signatures"`
}

type signature struct {
	KeyID string `json:"keyid,omitempty"`
	Sig   string `json:"sig"`
}

// Signed is what was read of a record, and who stands for it.
type Signed struct {
	Record
	// Key is the identity (see [Key]) of the known key that signed it; empty when none did.
	Key string
	// Foreign says that there are signatures, all of them by keys that are not known, or not valid.
	Foreign bool
}

// seal returns the statement in an envelope, signed.
func seal(statement []byte, key *Key) ([]byte, error) {
	sealed, err := sealed(statement, key)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealed)
}

func sealed(statement []byte, key *Key) (envelope, error) {
	signed, err := key.sign(encoded(payloadType, statement))
	if err != nil {
		return envelope{}, fault.New(fault.Unexpected, "signing the record: %w", err)
	}
	return envelope{
		PayloadType: payloadType,
		Payload:     base64.StdEncoding.EncodeToString(statement),
		Signatures:  []signature{{KeyID: key.ID(), Sig: base64.StdEncoding.EncodeToString(signed)}},
	}, nil
}

// Read reads a record as a registry holds it, an envelope or a bare statement, and finds out which of the keys signed it.
// A record that none of them signed is no error. What is no record at all is one, of kind fault.Refused.
func Read(content []byte, keys Keys) (Signed, error) {
	if len(content) > largestRecord {
		return Signed{}, unreadable(errors.New("it is larger than 128 KiB"))
	}
	var sealed envelope
	if err := decode(content, &sealed); err != nil {
		return Signed{}, unreadable(err)
	}
	if sealed.PayloadType == "" && sealed.Payload == "" {
		record, err := parse(content)
		return Signed{Record: record}, err
	}
	switch {
	case sealed.PayloadType != payloadType:
		return Signed{}, unreadable(fmt.Errorf("the envelope holds %q", shortened(sealed.PayloadType)))
	case len(sealed.Signatures) > mostSignatures:
		return Signed{}, unreadable(fmt.Errorf("it has more than %d signatures", mostSignatures))
	}
	statement, err := unbase64(sealed.Payload)
	if err != nil {
		return Signed{}, unreadable(err)
	}
	record, problem := parse(statement)
	read := Signed{Record: record, Foreign: len(sealed.Signatures) > 0}
	message := encoded(sealed.PayloadType, statement)
	for _, one := range sealed.Signatures {
		signed, err := unbase64(one.Sig)
		if err != nil {
			continue // as good as a wrong one
		}
		if key := keys.verify(message, signed); key != "" {
			read.Key, read.Foreign = key, false
			break
		}
	}
	return read, problem
}

// encoded is what is signed (DSSE protocol, "Signature Definition"): the pre-authentication encoding.
func encoded(payloadType string, payload []byte) []byte {
	head := fmt.Sprintf("DSSEv1 %d %s %d ", len(payloadType), payloadType, len(payload))
	return append([]byte(head), payload...)
}

// unbase64 takes both alphabets, as DSSE's specification asks for.
func unbase64(text string) ([]byte, error) {
	content, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		content, err = base64.URLEncoding.DecodeString(text)
	}
	return content, err
}
