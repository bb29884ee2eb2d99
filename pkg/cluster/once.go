package cluster

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// callKey leads in a call's context to the *call that tells [Cluster.repeat] of it.
type callKey struct{}

// call is what client-go would keep to itself of one call.
type call struct {
	asked  time.Duration // what the API's Retry-After asks for
	silent string        // credential plugin that had not answered yet when the call was left
}

// once keeps client-go from repeating by itself, below [Cluster.repeat], untold and for as long as the API likes: it
// repeats ten times after a Retry-After of any length, and after a lost connection. (Its requests can be told not to,
// by MaxRetries, but the dynamic client does not let them be.) What the API asked for is handed to repeat instead.
type once struct{ http.RoundTripper }

func (o once) RoundTrip(request *http.Request) (*http.Response, error) {
	answer, err := o.RoundTripper.RoundTrip(request)
	if err != nil {
		if utilnet.IsProbableEOF(err) || utilnet.IsConnectionReset(err) || utilnet.IsHTTP2ConnectionLost(err) {
			err = errLost // in other words than those that client-go knows
		}
		return nil, err
	}
	told, known := request.Context().Value(callKey{}).(*call)
	if seconds, err := strconv.Atoi(answer.Header.Get("Retry-After")); known && err == nil {
		told.asked = time.Duration(seconds) * time.Second
	}
	answer.Header.Del("Retry-After")
	return answer, nil
}

var errLost = errors.New("the connection broke off before the answer came")
