package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
)

// statementType is in-toto's version 1 (in-toto attestation framework, "Statement").
const statementType = "https://in-toto.io/Statement/v1"

// largestStatement is some fifty times what a record needs. It keeps hostile ones out of memory.
const largestStatement = 64 << 10

type statement struct {
	Type          string    `json:"_type"`
	Subject       []subject `json:"subject"`
	PredicateType string    `json:"predicateType"`
	Predicate     any       `json:"predicate"`
}

type subject struct {
	Name   string            `json:"name"`
	Digest map[string]string `json:"digest"`
}

// Statement returns the record as in-toto has it. One record has one form, byte for byte. A record that is incomplete or
// larger than 64 KiB is an error.
func (r Record) Statement() ([]byte, error) {
	var predicate any
	if p := r.Promotion; p != nil {
		one := *p
		one.Time = whole(one.Time)
		predicate = one
	}
	if v := r.Verification; v != nil {
		one := *v
		one.Time, one.Since = whole(one.Time), whole(one.Since)
		predicate = one
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // a reason with "<" is to be read by people
	err := encoder.Encode(statement{
		Type:          statementType,
		Subject:       []subject{{Name: r.Image, Digest: map[string]string{r.Digest.Algorithm: r.Digest.Hex}}},
		PredicateType: r.Type(),
		Predicate:     predicate,
	})
	if err == nil && text.Len() > largestStatement {
		err = fault.New(fault.Configuration, "it has %d bytes, and 64 KiB are the most: shorten the reason", text.Len())
	}
	if err != nil {
		return nil, fault.New(fault.KindOf(err), "making the record: %w", err)
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}

// whole leaves out what the records' times do not carry.
func whole(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// parse reads a statement. Fields that it does not know are let be: a later version of the program may write more.
func parse(text []byte) (Record, error) {
	if len(text) > largestStatement {
		return Record{}, unreadable(errors.New("it is larger than 64 KiB"))
	}
	var predicate json.RawMessage
	read := statement{Predicate: &predicate}
	if err := decode(text, &read); err != nil {
		return Record{}, unreadable(err)
	}
	if read.Type != statementType {
		return Record{}, unreadable(errors.New("it is no in-toto statement of version 1"))
	}
	if len(read.Subject) != 1 {
		return Record{}, unreadable(errors.New("it is not about exactly one image"))
	}
	record := Record{
		Image:  read.Subject[0].Name,
		Digest: v1.Hash{Algorithm: "sha256", Hex: read.Subject[0].Digest["sha256"]},
	}
	var into any
	switch read.PredicateType {
	case PromotionType:
		record.Promotion = &Promotion{}
		into = record.Promotion
	case VerificationType:
		record.Verification = &Verification{}
		into = record.Verification
	default:
		return Record{}, fault.New(fault.Refused, "reading a record: its type %q is not known here", shortened(read.PredicateType))
	}
	if err := decode(predicate, into); err != nil {
		return Record{}, unreadable(err)
	}
	return record, record.check()
}

// decode reads exactly one JSON value.
func decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	return nil
}

func unreadable(err error) error { return fault.New(fault.Refused, "reading a record: %w", err) }
