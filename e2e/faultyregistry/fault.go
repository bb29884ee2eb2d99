package faultyregistry

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"
)

// Fault answers a request instead of the registry, which it may ask (next).
type Fault func(w http.ResponseWriter, r *http.Request, next http.Handler)

// Status answers with an error of the protocol: {"errors":[{"code":…}]}; without a code the body is empty.
func Status(status int, code string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		if code == "" {
			w.WriteHeader(status)
			return
		}
		answer(w, status, fmt.Sprintf(`{"errors":[{"code":%q,"message":"a fault of the test"}]}`, code))
	}
}

// RetryAfter answers with a status and the wish that the client waits for that many seconds.
func RetryAfter(status, seconds int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Retry-After", fmt.Sprint(seconds))
		w.WriteHeader(status)
	}
}

// Page answers as a web site or a proxy does: with HTML.
func Page(status int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprint(w, "<html><body><h1>Please log in</h1></body></html>")
	}
}

// Redirect leads to another address.
func Redirect(location string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Location", location)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

// Hang does not answer until the client gives up, or for a minute.
func Hang() Fault {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		select {
		case <-r.Context().Done():
		case <-time.After(time.Minute):
		}
		panic(http.ErrAbortHandler)
	}
}

// Reset breaks the connection after that many bytes of the true answer's body; with 0, before the answer.
func Reset(after int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if after > 0 {
			send(w, record(r, next), after, nil)
			_ = http.NewResponseController(w).Flush()
		}
		panic(http.ErrAbortHandler)
	}
}

// BrokenOff answers with a status, and breaks the connection before the body that it announced.
func BrokenOff(status int) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(status)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// Lost lets the registry do what is asked, and breaks the connection instead of answering.
func Lost() Fault {
	return func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		record(r, next)
		panic(http.ErrAbortHandler)
	}
}

// Truncate answers with the first bytes of the true body alone, as if they were all.
func Truncate(length int) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		send(w, record(r, next), length, func(header http.Header) { header.Del("Content-Length") })
	}
}

// WrongDigest announces a Docker-Content-Digest that the true body does not have.
func WrongDigest() Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		send(w, record(r, next), -1, func(header http.Header) {
			header.Set("Docker-Content-Digest", "sha256:"+strings.Repeat("0", 64))
		})
	}
}

// Corrupt answers with the true body, of which one byte is changed.
func Corrupt() Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		recorded := record(r, next)
		if body := recorded.Body.Bytes(); len(body) > 0 {
			body[len(body)/2] ^= 1
		}
		send(w, recorded, -1, nil)
	}
}

// Then lets the registry answer, and calls after when it has, before the client hears of it: for races.
func Then(after func()) Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		recorded := record(r, next)
		after()
		send(w, recorded, -1, nil)
	}
}

func record(r *http.Request, next http.Handler) *httptest.ResponseRecorder {
	recorded := httptest.NewRecorder()
	next.ServeHTTP(recorded, r)
	return recorded
}

func send(w http.ResponseWriter, recorded *httptest.ResponseRecorder, length int, change func(http.Header)) {
	for key, values := range recorded.Header() {
		w.Header()[key] = values
	}
	if change != nil {
		change(w.Header())
	}
	body := recorded.Body.Bytes()
	if length >= 0 {
		body = body[:min(length, len(body))]
	}
	w.WriteHeader(recorded.Code)
	_, _ = w.Write(body)
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	fmt.Fprint(w, body)
}
