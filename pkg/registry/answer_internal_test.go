package registry

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// FuzzAnswer sends any bytes at all for answers, the same to each request of a call, and looks at what the call takes
// them for: what it returns is what it was asked for, absence is only what an answer 404 says, and an error is a text
// for one's eyes.
func FuzzAnswer(f *testing.F) {
	const manifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	for operation := range uint8(8) {
		for _, answer := range []string{
			"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.oci.image.index.v1+json\r\nContent-Length: 88\r\n\r\n" + manifest,
			"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\r\n" + `{"errors":[{"code":"NAME_UNKNOWN","message":"x"}]}`,
			"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://token.example/\",service=\"x\"\r\n\r\n" + `{"token":"t"}`,
			"HTTP/1.1 202 Accepted\r\nLocation: /v2/a/b/blobs/uploads/1?x=y\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nLink: </v2/a/b/tags/list?last=1>; rel=\"next\"\r\n\r\n" + `{"name":"a/b","tags":["1.0"]}`,
			"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\n\r\n",
			"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://other.example/\r\n\r\n",
			"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
			"<html>",
			"HTTP/1.1 200 OK\r\n" + strings.Repeat("\x91", 5000) + "\r\n\r\n",
			"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 300<<10) + "\r\n\r\n",
		} {
			f.Add(operation, []byte(answer))
		}
	}
	f.Fuzz(func(t *testing.T, operation uint8, answer []byte) {
		in := answering(t, answer)
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		blob := v1.Descriptor{Size: 5}
		blob.Digest, _, _ = v1.SHA256(strings.NewReader("hello"))
		var status int
		if read, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil); err == nil {
			status = read.StatusCode
		}
		var err error
		switch operation % 8 {
		case 0:
			var found Manifest
			var present bool
			if found, present, err = in.Lookup(ctx, "1.0"); err != nil {
				break
			}
			if digest, _, _ := v1.SHA256(bytes.NewReader(found.Raw)); present && (digest != found.Digest || len(found.Raw) == 0) {
				t.Errorf("found %+v", found)
			} else if !present && status != http.StatusNotFound {
				t.Errorf("taken for absent: %q", answer)
			}
		case 1:
			var found Manifest
			if found, err = in.Manifest(ctx, blob.Digest); err == nil {
				t.Errorf("no manifest has this digest, and it returned %+v", found)
			}
		case 2:
			var content io.ReadCloser
			if content, err = in.Blob(ctx, blob); err == nil {
				var all []byte
				if all, err = io.ReadAll(content); err == nil && string(all) != "hello" {
					t.Errorf("read %q", all)
				}
				_ = content.Close()
			}
		case 3:
			var tags []string
			tags, err = in.Tags(ctx)
			for _, tag := range tags {
				if !tagGrammar.MatchString(tag) {
					t.Errorf("tag %q", tag)
				}
			}
		case 4:
			var all []v1.Descriptor
			all, err = in.Referrers(ctx, blob.Digest)
			for _, one := range all {
				if one.Digest.Hex == "" || one.Size < 0 {
					t.Errorf("referrer %+v", one)
				}
			}
		case 5:
			_, err = in.upload(ctx, blob, func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader("hello")), nil
			}, nil)
			if err == nil && (status < 200 || status > 299) {
				t.Errorf("taken for written: %q", answer)
			}
		case 6:
			var removed bool
			if removed, err = in.DeleteTag(ctx, "1.0", time.Now(), func(context.Context) (bool, error) { return false, nil }); err == nil && removed && status != 404 && (status < 200 || status > 299) {
				t.Errorf("taken for removed: %q", answer)
			}
		case 7:
			manifest := Manifest{MediaType: "application/vnd.oci.image.index.v1+json", Digest: blob.Digest, Raw: []byte("hello")}
			if err = in.Put(ctx, manifest, "1.0"); err == nil && (status < 200 || status > 299) {
				t.Errorf("taken for written: %q", answer)
			}
		}
		if err == nil {
			return
		}
		if text := err.Error(); len(text) > 4000 || strings.ContainsAny(text, "\n\r\x1b") || strings.Contains(text, "hunter2") {
			t.Errorf("an error that cannot be printed: %q", text)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no end: %v", err)
		}
	})
}

// answering returns a repository whose registry answers each request with these bytes, and then hangs up.
func answering(t *testing.T, answer []byte) *Repository {
	t.Helper()
	opened, err := Open(Config{
		Address: "registry.example", Insecure: true, Username: "user", Password: "hunter2", //nolint:gosec // a test's
		Patience: Patience{Attempts: 1, First: 1, Longest: 1, Silence: time.Second},
		Dial: func(_ context.Context, _, address string) (net.Conn, error) {
			if host, _, _ := net.SplitHostPort(address); host != "registry.example" && host != "token.example" {
				return nil, fmt.Errorf("%q is not there", host)
			}
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				request, err := http.ReadRequest(bufio.NewReader(theirs))
				if err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, request.Body)
				_, _ = theirs.Write(answer)
			}()
			return ours, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	opened.client.spoken.Store(int32(plain))
	return opened.Repository("a/b")
}
