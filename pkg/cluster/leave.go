package cluster

import (
	"net/http"

	"dockline/pkg/fault"
)

// leavable lets a call be left when its context ends, whatever it waits for: client-go runs a kubeconfig's credential
// plugin, which may take for ever, inside of a call and knows no way to end it. The plugin itself is left behind.
type leavable struct{ http.RoundTripper }

func (l leavable) RoundTrip(request *http.Request) (*http.Response, error) {
	type reply struct {
		answer *http.Response
		err    error
	}
	replies := make(chan reply)
	go func() {
		var got reply
		defer func() {
			select {
			case replies <- got:
			case <-request.Context().Done():
				if got.answer != nil {
					_ = got.answer.Body.Close()
				}
			}
		}()
		defer fault.Catch(&got.err)
		got.answer, got.err = l.RoundTripper.RoundTrip(request) //nolint:bodyclose // whoever gets the answer closes it
	}()
	select {
	case got := <-replies:
		return got.answer, got.err
	case <-request.Context().Done():
		return nil, Ended(request.Context())
	}
}
