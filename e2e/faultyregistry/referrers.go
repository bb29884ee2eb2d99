package faultyregistry

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// StartListing starts a registry that keeps lists of referrers (distribution specification, "Listing Referrers") and
// says so when it is given one. What Start starts knows nothing of referrers, as distribution's does.
func StartListing(t testing.TB) *Registry {
	return start(t, httptest.NewServer, registry.WithReferrersSupport(true))
}

// sayingSubject adds what go-containerregistry's registry leaves out: the header OCI-Subject.
func sayingSubject(next http.Handler, listing bool) http.Handler {
	if !listing {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			var manifest struct {
				Subject struct {
					Digest string `json:"digest"`
				} `json:"subject"`
			}
			if json.Unmarshal(body, &manifest) == nil && manifest.Subject.Digest != "" {
				w.Header().Set("OCI-Subject", manifest.Subject.Digest)
			}
		}
		next.ServeHTTP(w, r)
	})
}
