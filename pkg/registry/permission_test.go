package registry_test

import (
	"strings"
	"testing"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
)

func TestCheckPush(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		fault       faultyregistry.Fault
		times       int
		kind        fault.Kind // 0: may be written to
	}{
		{"allowed", nil, 0, 0},
		{"allowed, after a while", faultyregistry.Status(503, ""), 2, 0},
		{"read only", faultyregistry.Status(403, "DENIED"), -1, fault.Denied},
		{"down", faultyregistry.Status(500, ""), -1, fault.Unavailable},
	} {
		server := faultyregistry.Start(t)
		if row.fault != nil {
			server.Break("POST /uploads/", row.times, row.fault)
		}
		err := plain(t, server).Repository("a/b").CheckPush(t.Context())
		if (err != nil) != (row.kind != 0) || err != nil && (fault.KindOf(err) != row.kind || fault.SideOf(err) != "target registry") {
			t.Errorf("%s: error %v of kind %v", row.description, err, fault.KindOf(err))
		}
	}
}

// TestCheckPushLeavesNothing: the session that was opened is ended, by its own address, and nothing else is asked for.
func TestCheckPushLeavesNothing(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	if err := plain(t, server).Repository("a/b").CheckPush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var writes []string
	for _, request := range server.Requests() {
		if !strings.HasPrefix(request, "GET ") && !strings.HasPrefix(request, "HEAD ") {
			writes = append(writes, request)
		}
	}
	const at = "/v2/a/b/blobs/uploads/"
	if len(writes) != 2 || writes[0] != "POST "+at || !strings.HasPrefix(writes[1], "DELETE "+at) || writes[1] == "DELETE "+at {
		t.Errorf("it asked for %q", writes)
	}
}
