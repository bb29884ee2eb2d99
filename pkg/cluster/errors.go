package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"dockline/pkg/fault"
)

// ErrConflict is the cause of an error when an object was changed, or made, by somebody else in the meantime.
var ErrConflict = errors.New("changed by somebody else in the meantime")

// temporary tells whether the same call may be answered otherwise in a moment.
func temporary(err error) bool {
	if status := apierrors.APIStatus(nil); errors.As(err, &status) {
		code := status.Status().Code
		return code == http.StatusTooManyRequests || code >= http.StatusInternalServerError
	}
	return !untrusted(err) && !errors.As(err, new(*redirectError))
}

// explain gives the API's answer a kind and keeps its words.
func (c *Cluster) explain(doing string, attempts int, err error) error {
	kind := fault.Unexpected
	var (
		redirect *redirectError
		silent   *silentPlugin
	)
	switch {
	case errors.As(err, &silent):
		return fault.At(Side, fault.WithHint(fault.New(fault.Unavailable, "%s: %w (waited %d times)", doing, err, attempts),
			"run the plugin by itself, without a terminal: it may wait for somebody to log in"))
	case errors.As(err, &redirect):
		kind, err = fault.Unavailable, fmt.Errorf("connecting to %s: %w", c.server, redirect)
	case apierrors.IsUnauthorized(err):
		kind = fault.Denied
		err = fmt.Errorf("the cluster refuses the credentials: %w", err)
	case apierrors.IsForbidden(err):
		kind = fault.Denied
	case apierrors.IsNotFound(err), apierrors.IsGone(err):
		kind = fault.NotFound
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err):
		kind, err = fault.Refused, fmt.Errorf("%w: %w", ErrConflict, err)
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		kind = fault.Configuration
	case isStatus(err):
		if temporary(err) {
			kind, err = fault.Unavailable, fmt.Errorf("%w (tried %d times)", err, attempts)
		}
	case untrusted(err):
		kind = fault.Unavailable
		err = fmt.Errorf("connecting to %s: %w", c.server, err)
	default:
		kind, err = fault.Unavailable, fmt.Errorf("connecting to %s: %w (tried %d times)", c.server, err, attempts)
	}
	return fault.At(Side, fault.New(kind, "%s: %w", doing, err))
}

func isStatus(err error) bool {
	status := apierrors.APIStatus(nil)
	return errors.As(err, &status)
}

// untrusted tells whether a connection failed for good: over the certificate, or since the other side does not speak
// TLS at all.
func untrusted(err error) bool {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		record       tls.RecordHeaderError
	)
	return errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &record) ||
		strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}
