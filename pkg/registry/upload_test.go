package registry_test

import (
	"net/http"
	"strings"
	"testing"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// TestARefusalInTheMiddleOfAnUpload: a token may run out while a layer is on its way, and is renewed once. What is
// refused with the new one too is not sent again and again.
func TestARefusalInTheMiddleOfAnUpload(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		config      registry.Config
		times       int
		puts        int        // of three blobs, one after the other refused or not
		kind        fault.Kind // 0: it arrives
		text        string
	}{
		{"once", registry.Config{Username: "user", Password: "secret"}, 1, 4, 0, ""},
		{"for ever", registry.Config{Username: "user", Password: "secret"}, -1, 2, fault.Denied, "with the configured user name and password"},
		{"for ever, without credentials", registry.Config{}, -1, 1, fault.Denied, "none are configured"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := faultyregistry.Start(t)
			if row.config.Username != "" {
				server.Login("user", "secret")
			}
			server.Break("PUT /uploads/", row.times, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
				faultyregistry.Status(401, "UNAUTHORIZED")(w, r, next)
			})
			row.config.Address, row.config.Insecure, row.config.Side = server.Host(), true, "target registry"
			image := randomImage(t)
			digest, err := image.Digest()
			if err != nil {
				t.Fatal(err)
			}
			_, err = registry.Copy(t.Context(), registry.FromImage(image), digest, open(t, row.config).Repository("a/b"), nil)
			if row.kind == 0 {
				if err != nil || count(server, "PUT /v2/a/b/blobs/uploads/") != row.puts {
					t.Errorf("error %v, requests %v", err, server.Requests())
				}
				return
			}
			if fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), "401 Unauthorized") || !strings.Contains(err.Error(), row.text) {
				t.Errorf("error %v of kind %v, want %v with %q", err, fault.KindOf(err), row.kind, row.text)
			}
			if puts := count(server, "PUT /v2/a/b/blobs/uploads/"); puts > 3*row.puts { // of three blobs at once
				t.Errorf("%d uploads of 3 blobs, want at most %d of each", puts, row.puts)
			}
		})
	}
}

func TestAnUploadIsNotTakenForAMount(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	from, to := plain(t, source).Repository("a/b"), plain(t, target).Repository("a/b")
	pushed := push(t, from, "1.0", randomImage(t))
	target.Break("POST /uploads/", -1, faultyregistry.Status(201, ""))
	copied, err := registry.Copy(t.Context(), from, pushed.Digest, to, nil)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "not a registry's") || copied.Mounted > 0 {
		t.Errorf("%+v, error %v; nothing was sent, nothing was mounted", copied, err)
	}
	if err := to.CheckPush(t.Context()); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("CheckPush: %v", err)
	}
	if puts := count(target, "PUT "); puts > 0 {
		t.Errorf("went on to write: %v", target.Requests())
	}
}
