package cluster

import (
	"net/http"
	"strings"
)

// mostRedirects bounds how often one request is sent on.
const mostRedirects = 5

// checkRedirect follows a redirect only within the API's own address. client-go adds the credentials below http.Client,
// to every hop, so that net/http's own rule, which keeps them from other hosts, never gets to see them. A write that
// would go on as a read is not followed either: its answer would pass for the write's.
func checkRedirect(next *http.Request, via []*http.Request) error {
	first := via[0]
	if len(via) > mostRedirects || next.Method != first.Method || next.URL.Scheme != first.URL.Scheme ||
		!strings.EqualFold(next.URL.Host, first.URL.Host) {
		return &redirectError{to: next.URL.Scheme + "://" + next.URL.Host}
	}
	return nil
}

// redirectError is an answer that leads elsewhere, as a log-in page or a proxy gives it: no API, and for good.
type redirectError struct{ to string }

func (e *redirectError) Error() string {
	return "it redirects to " + e.to + ", where credentials are not sent: this is not the cluster's API"
}
