package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"dockline/pkg/cluster"
	"dockline/pkg/step"
)

const (
	pageTimeout = 10 * time.Second // a page that takes longer is no service
	largestPage = 1 << 20
)

// checkPage fetches URL once. That nobody answers is a finding like a wrong answer: it says nothing about this program.
// The end of ctx is none: an error is returned then.
func (r *run) checkPage(ctx context.Context) (Check, error) {
	check := r.fetchPage(ctx)
	if check.Status == failed && ctx.Err() != nil {
		return check, fmt.Errorf("fetching %s: %w", r.shownURL(), cluster.Ended(ctx))
	}
	return check, nil
}

func (r *run) fetchPage(ctx context.Context) Check {
	check := Check{Name: "page", Expected: fmt.Sprintf("%s answers %d", r.shownURL(), r.ExpectStatus), Status: failed}
	if r.ExpectText != "" {
		check.Expected += fmt.Sprintf(" and says %q", r.ExpectText)
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.URL, http.NoBody)
	if err != nil {
		check.Found = step.Problem("URL: %w", err).Error()
		return check
	}
	request.Header.Set("User-Agent", "dockline")
	request.Header.Set("Cache-Control", "no-cache")
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is one
	transport.DisableKeepAlives = true                           // each look reaches the service anew
	answer, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		if told, ok := errors.AsType[*url.Error](err); ok {
			err = told.Err // without the address that was asked, or redirected to: its parameters may hold a token
		}
		check.Found = "no answer: " + err.Error()
		return check
	}
	defer answer.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(io.LimitReader(answer.Body, largestPage))
	switch {
	case err != nil:
		check.Found = "the answer broke off: " + err.Error()
	case answer.StatusCode != r.ExpectStatus:
		check.Found = fmt.Sprintf("answers %d instead of %d", answer.StatusCode, r.ExpectStatus)
	case !strings.Contains(string(body), r.ExpectText):
		check.Found = fmt.Sprintf("says %q instead of %q", beginning(string(body)), r.ExpectText)
	default:
		check.Status = passed
		check.Found = fmt.Sprintf("answers %d: %q", answer.StatusCode, beginning(string(body)))
	}
	return check
}

// beginning returns a page's first words on one line.
func beginning(page string) string {
	text := strings.Join(strings.Fields(page), " ")
	if runes := []rune(text); len(runes) > 100 {
		text = string(runes[:100]) + "…"
	}
	return text
}
