package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"dockline/pkg/fault"
)

// mostTags is more than a registry can list in a useful time.
const mostTags = 200_000

// tagGrammar is the distribution specification's ("Pulling manifests").
var tagGrammar = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// Tags returns the repository's tags, sorted; none when the repository is not there.
func (r *Repository) Tags(ctx context.Context) ([]string, error) {
	all, err := r.tags(ctx)
	if err != nil {
		return nil, fault.At(r.client.side, fmt.Errorf("listing the tags of %q: %w", r, err))
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func (r *Repository) tags(ctx context.Context) ([]string, error) {
	var all []string
	var count pages
	at := "/v2/" + r.path + "/tags/list"
	for first := true; ; first = false {
		var got page
		err := r.client.repeat(ctx, func() (err error) {
			got, err = r.page(ctx, at, "application/json")
			return err
		})
		if first && fault.KindOf(err) == fault.NotFound {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		more, err := readTags(got.body)
		if err != nil {
			return nil, err
		}
		if all = append(all, more...); len(all) > mostTags {
			return nil, fault.WithHint(fault.New(fault.Refused, "giving up: it lists more than %d", mostTags), hostileHint)
		}
		if got.next == "" {
			return all, nil
		}
		if err := count.another(got); err != nil {
			return nil, err
		}
		at = got.next
	}
}

func readTags(body []byte) ([]string, error) {
	var read struct {
		Name *string  `json:"name"`
		Tags []string `json:"tags"` // null, by some registries, where there are none
	}
	if err := json.Unmarshal(body, &read); err != nil || read.Name == nil && read.Tags == nil {
		return nil, notARegistry("the body is not a list of tags")
	}
	for _, tag := range read.Tags {
		if !tagGrammar.MatchString(tag) {
			return nil, notARegistry("a list with a tag that cannot be one: " + printable(tag, 140))
		}
	}
	return read.Tags, nil
}

// DeleteTag removes a tag, and nothing else, where the registry can: the manifest stays, and other tags of it. It never
// deletes by digest. removed tells whether the tag is gone. It is false, without an error, where the registry says that
// it does not delete tags: 400 (distribution before version 3 takes the tag for a digest), 404 while the tag is there,
// 405 and 501. Want of permission is an error. look comes before each attempt, as with [Repository.PutTag].
func (r *Repository) DeleteTag(ctx context.Context, tag string, looked time.Time, look Look) (removed bool, err error) {
	removed, err = r.deleteTag(ctx, tag, looked, look)
	return removed, r.told(err, "removing the tag %q: %w", tag)
}

func (r *Repository) deleteTag(ctx context.Context, tag string, looked time.Time, look Look) (bool, error) {
	if !tagGrammar.MatchString(tag) {
		return false, fault.New(fault.Unexpected, "it is not a tag")
	}
	var unable *StatusError
	err := r.eachLooked(ctx, looked, look, func() error {
		answer, err := r.client.once(ctx, call{
			method: http.MethodDelete,
			at:     "/v2/" + r.path + "/manifests/" + tag,
			scopes: r.scopes("pull,delete"),
		})
		if err != nil {
			return err
		}
		if answer.StatusCode >= 200 && answer.StatusCode <= 299 {
			discard(answer)
			return nil
		}
		err = failure(answer)
		if status, ok := errors.AsType[*StatusError](err); ok && status.deletesNoTags() {
			unable = status
			return nil
		}
		return r.explain(err)
	})
	if err != nil || unable == nil {
		return err == nil, err
	}
	if unable.absent() { // an attempt before may have removed it, its answer lost
		_, present, err := r.Lookup(ctx, tag)
		return err == nil && !present, err
	}
	return false, nil
}

// deletesNoTags tells whether a registry says that it cannot. (A page of HTML with such a status is not a registry's.)
func (e *StatusError) deletesNoTags() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return e.Foreign == "" || e.Message != ""
	case http.StatusNotFound:
		return e.absent()
	}
	return false
}
