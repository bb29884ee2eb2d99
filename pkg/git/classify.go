package git

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"unicode"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
	"golang.org/x/crypto/ssh/knownhosts"

	"dockline/pkg/fault"
)

// classify gives an error of go-git its kind. The words of the well-known ones are ours: go-git appends the body of
// the server's answer, often a page of HTML.
func classify(err error) error {
	var (
		answer  *githttp.Err
		request *url.Error
		dial    *net.OpError
		network net.Error
		hostKey *knownhosts.KeyError
		revoked *knownhosts.RevokedError
	)
	switch {
	case err == nil, errors.Is(err, gogit.NoErrAlreadyUpToDate),
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, syscall.ENOSPC):
		return fault.WithHint(fault.As(fault.Unavailable, err), "give the folder that is cloned into more room")
	case errors.Is(err, transport.ErrAuthenticationRequired):
		return fault.New(fault.Denied, "the server asks for a user name and a password, or refuses those given")
	case errors.Is(err, transport.ErrAuthorizationFailed):
		return fault.New(fault.Denied, "the server forbids it")
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return fault.New(fault.NotFound, "there is no such repository, or it may not be seen with these credentials")
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return fault.New(fault.NotFound, "the repository is empty")
	case errors.As(err, &hostKey), errors.As(err, &revoked):
		return fault.WithHint(fault.New(fault.Denied, "the host's key is not among the known hosts: %w", err),
			"put the key that the server's administrators publish into GIT_KNOWN_HOSTS (ssh-keyscan shows what the host sends)")
	case errors.As(unexpected(err), &answer):
		return fromStatus(answer.StatusCode())
	case strings.Contains(err.Error(), "ssh: unable to authenticate"):
		return fault.New(fault.Denied, "the server refuses the ssh key")
	case strings.Contains(err.Error(), "http redirect: "):
		return fault.WithHint(fault.New(fault.Denied, "%s", firstLine(err.Error())),
			"set GIT_URL to the address that the repository has now: this redirect is not followed")
	case errors.As(err, &dial) && dial.Op == "proxyconnect":
		return fault.As(fault.Unavailable, fmt.Errorf("connecting through the proxy: %w", dial.Err))
	case errors.As(err, &request):
		return fault.As(fault.Unavailable, request.Err) // without the URL, which is told already
	case errors.As(err, &network), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return fault.As(fault.Unavailable, err)
	}
	return errors.New(firstLine(err.Error()))
}

func fromStatus(code int) error {
	kind := fault.Unexpected
	if code >= http.StatusInternalServerError || code == http.StatusTooManyRequests {
		kind = fault.Unavailable
	}
	return fault.New(kind, "the server answers %d %s", code, http.StatusText(code))
}

// unexpected opens go-git's wrappers, which have no Unwrap.
func unexpected(err error) error {
	var (
		surprise  *plumbing.UnexpectedError
		permanent *plumbing.PermanentError
	)
	switch {
	case errors.As(err, &surprise):
		return surprise.Err
	case errors.As(err, &permanent):
		return permanent.Err
	}
	return err
}

// lasting says whether an unavailable server will not be better a few seconds later.
func lasting(err error) bool {
	var certificate *tls.CertificateVerificationError
	return errors.As(err, &certificate)
}

// firstLine cuts a server's or an author's words down to what fits into a line of a log.
func firstLine(text string) string {
	const longest = 200
	text, _, _ = strings.Cut(strings.TrimSpace(text), "\n")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return strings.TrimSpace(text)
}
