package cluster

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"

	"dockline/pkg/fault"
)

// leavable lets a call be left when its context ends, whatever it waits for: client-go runs a kubeconfig's credential
// plugin, which may take for ever, inside of a call and knows no way to end it. The plugin itself is left behind.
type leavable struct {
	http.RoundTripper
	plugin string
}

func (l leavable) RoundTrip(request *http.Request) (*http.Response, error) {
	type reply struct {
		answer *http.Response
		err    error
	}
	var answered atomic.Bool
	request = request.WithContext(context.WithValue(request.Context(), passedKey{}, &answered))
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
		if told, known := request.Context().Value(callKey{}).(*call); known && !answered.Load() {
			told.silent = l.plugin
		}
		return nil, Ended(request.Context())
	}
}

// passedKey leads in a request's context to the *atomic.Bool that is set when the plugin has answered.
type passedKey struct{}

// passed is below the plugin: a request that comes here has what the plugin gave.
type passed struct{ http.RoundTripper }

func (p passed) RoundTrip(request *http.Request) (*http.Response, error) {
	if answered, known := request.Context().Value(passedKey{}).(*atomic.Bool); known {
		answered.Store(true)
	}
	return p.RoundTripper.RoundTrip(request)
}

// silentPlugin is the error of a call that was left before the API was asked anything.
type silentPlugin struct{ plugin string }

func (s *silentPlugin) Error() string {
	return fmt.Sprintf("the credential plugin %q of the kubeconfig does not answer", s.plugin)
}
