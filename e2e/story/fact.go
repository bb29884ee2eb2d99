package story

import (
	"context"
	"fmt"
	"strings"
)

// Fact is something that must be true at a point of the story.
type Fact struct {
	Name string
	// About is what the fact is read from: an *[Outcome], a [TagOf], a [BlobsOf], a [TagOfStream], a [PageOf] or
	// [Output]. A test falsifies it there.
	About any
	// Holds looks, and says what is there instead when it is not so.
	Holds func(ctx context.Context) error
}

// TagOf is a tag in a registry.
type TagOf struct {
	Registry *Registry
	Tag      string
}

// BlobsOf is what an image consists of.
type BlobsOf TagOf

// TagOfStream is what the cluster says of an environment's image stream tag and its pods.
type TagOfStream struct{ Environment *Environment }

// PageOf is the page of an environment's service.
type PageOf struct{ Environment *Environment }

// Output is all that the steps wrote.
type Output struct{}

// different is the error of a fact that does not hold.
func different(got, want any) error { return fmt.Errorf("it is %q, not %q", got, want) }

// ended wants a step to have ended with an exit status.
func ended(name string, o *Outcome, status int) Fact {
	return Fact{name, o, func(context.Context) error {
		if o.Status != status {
			return fmt.Errorf("the exit status is %d, not %d", o.Status, status)
		}
		return nil
	}}
}

// handedOn wants a step to have written a result, or none where value is empty.
func handedOn(name string, o *Outcome, result, value string) Fact {
	return Fact{name, o, func(context.Context) error {
		if got := o.Results[result]; got != value {
			return different(got, value)
		}
		return nil
	}}
}

// says wants a digest in a step's last line.
func says(name string, o *Outcome, digest *string) Fact {
	return Fact{name, o, func(context.Context) error {
		if last := o.LastLine(); !strings.Contains(last, *digest) {
			return different(last, *digest)
		}
		return nil
	}}
}

// prints wants a text in what a step prints for people.
func prints(name string, o *Outcome, text string) Fact {
	return Fact{name, o, func(context.Context) error {
		if !strings.Contains(o.Stdout, text) {
			return different(o.Stdout, text)
		}
		return nil
	}}
}
