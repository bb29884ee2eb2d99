package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
	"unicode"

	"dockline/pkg/fault"
)

// StatusError is an answer that means a failure (distribution specification, "Error Codes").
type StatusError struct {
	Status  int      // HTTP status
	Codes   []string // such as "MANIFEST_UNKNOWN"; none when the body is not a registry's
	Message string   // the registry's words, shortened, in printable characters
	// Foreign is what answered instead of a registry: the media type of a body that is not one of the protocol's.
	Foreign string
	asked   time.Duration
}

// Error returns such as `503 Service Unavailable (UNAVAILABLE: try again later)`.
func (e *StatusError) Error() string {
	text := strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
	var detail []string
	if len(e.Codes) > 0 {
		detail = append(detail, strings.Join(e.Codes, ", "))
	}
	if e.Message != "" {
		detail = append(detail, e.Message)
	}
	if e.Foreign != "" {
		detail = append(detail, "with a body of type "+e.Foreign+", which is not a registry's")
	}
	if e.asked > 0 {
		detail = append(detail, "it asks to wait for "+e.asked.Round(time.Second).String())
	}
	if len(detail) == 0 {
		return text
	}
	return text + " (" + strings.Join(detail, ": ") + ")"
}

// statusOf returns the HTTP status of the answer that err is about, or 0 when there was none.
func statusOf(err error) int {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.Status
	}
	return 0
}

// absent tells whether an answer 404 says that what was asked for is not there: one without a body, or with one of the
// protocol's codes. (NOT_FOUND is Harbor's.) A page of a proxy or of a web site says nothing about an image.
func (e *StatusError) absent() bool {
	if e.Status != http.StatusNotFound || e.Foreign != "" {
		return false
	}
	if len(e.Codes) == 0 {
		return e.Message == ""
	}
	for _, code := range e.Codes {
		switch code {
		case "MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND":
		default:
			return false
		}
	}
	return true
}

// failure reads an answer that means a failure, closes it, and gives it a kind.
func failure(answer *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(whole(answer), 64<<10))
	discard(answer)
	if err != nil && (answer.StatusCode == http.StatusNotFound || errors.Is(err, context.Canceled)) {
		// What says that something is not there must be heard to its end.
		return fmt.Errorf("reading an answer %d: %w", answer.StatusCode, err)
	}
	secrets := repeated(answer)
	words := func(text string, longest int) string { return shortened(secrets.Replace(legible(text)), longest) }
	status := &StatusError{Status: answer.StatusCode, asked: askedPause(answer.Header, time.Now())}
	var content struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Detail  any    `json:"detail"`
		} `json:"errors"`
	}
	switch err := json.Unmarshal(body, &content); {
	case len(strings.TrimSpace(string(body))) == 0:
	case err == nil && len(content.Errors) > 0:
		var messages []string
		for _, one := range content.Errors {
			status.Codes = append(status.Codes, words(one.Code, 60))
			if one.Message != "" {
				messages = append(messages, one.Message)
			}
		}
		status.Message = words(strings.Join(messages, "; "), 300)
	default:
		kind, _, _ := strings.Cut(answer.Header.Get("Content-Type"), ";")
		if status.Foreign = words(kind, 60); status.Foreign == "" {
			status.Foreign = "unknown"
		}
		if strings.HasPrefix(kind, "text/plain") || strings.HasPrefix(kind, "application/json") {
			status.Message = words(string(body), 200)
		}
	}
	return fault.As(kindOf(status), status)
}

func kindOf(e *StatusError) fault.Kind {
	switch {
	case e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden:
		return fault.Denied
	case e.absent():
		return fault.NotFound
	case e.Status == http.StatusNotFound || transientStatus(e.Status) || e.Status/100 == 3:
		return fault.Unavailable
	case e.Status/100 == 4: // a rule of the registry, or of what stands before it, which will say the same again
		return fault.Refused
	}
	return fault.Unexpected
}

func transientStatus(status int) bool {
	return status == http.StatusRequestTimeout || status == http.StatusTooManyRequests || status >= 500
}

// transientError is a failure that another attempt may mend.
type transientError struct{ error }

// Error is short: Go's HTTP client quotes the whole of a line that it does not understand.
func (e *transientError) Error() string { return printable(e.error.Error(), 600) }

func (e *transientError) Unwrap() error { return e.error }

func transient(err error) bool {
	if _, other := errors.AsType[*otherSide](err); other {
		return false
	}
	if status, ok := errors.AsType[*StatusError](err); ok {
		return transientStatus(status.Status)
	}
	_, ok := errors.AsType[*transientError](err)
	return ok
}

func pauseAskedBy(err error) time.Duration {
	if status, ok := errors.AsType[*StatusError](err); ok {
		return status.asked
	}
	return 0
}

var errNotTLS = errors.New("it answers in plain http")

// lost gives a connection's error its kind and words. The end of the caller's own context stays what it is.
func lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("talking to the registry: %w", ctx.Err())
	}
	if _, known := errors.AsType[*fault.Error](err); known {
		return err
	}
	verification, badCertificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknownAuthority := errors.AsType[x509.UnknownAuthorityError](err)
	_, notTLS := errors.AsType[tls.RecordHeaderError](err)
	dns, noAddress := errors.AsType[*net.DNSError](err)
	switch {
	case unknownAuthority:
		return fault.New(fault.Unavailable, "checking its certificate: signed by an authority that is not known here: %w", err)
	case badCertificate:
		return fault.New(fault.Unavailable, "checking its certificate: %w", verification.Err)
	case notTLS || strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return fault.New(fault.Unavailable, "connecting: %w: server gave HTTP response to HTTPS client", errNotTLS)
	case certificateRefused(err):
		return fault.New(fault.Denied, "connecting: it does not take our client certificate, or wants one: %w", err)
	case noAddress && dns.IsNotFound:
		return fault.New(fault.Unavailable, "connecting: no such host: %q", dns.Name)
	}
	switch dial, ok := errors.AsType[*net.OpError](err); {
	case ok && dial.Op == "proxyconnect":
		return fault.New(fault.Unavailable, "connecting through the proxy: %w", &transientError{err})
	case ok && dial.Op == "dial":
		return fault.New(fault.Unavailable, "connecting: %w", &transientError{err})
	}
	return fault.New(fault.Unavailable, "losing the connection: %w", &transientError{err})
}

type silenceError time.Duration

func (e silenceError) Error() string {
	return "nothing moved for " + time.Duration(e).String()
}

type unfinishedError time.Duration

func (e unfinishedError) Error() string {
	return "the answer was not there in whole after " + time.Duration(e).String()
}

// notARegistry is for answers that no registry gives: a log-in page, a proxy's error page, a redirect to elsewhere.
func notARegistry(what string) error {
	return fault.New(fault.Unavailable, "reading the answer: it is not a registry's: %s", what)
}

// printable keeps text from a server from moving the cursor, forging log lines or flooding them.
func printable(text string, longest int) string { return shortened(legible(text), longest) }

func legible(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r == '\r' {
			return ' '
		}
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}

func shortened(text string, longest int) string {
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}
