package git_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"

	"dockline/e2e/gitserver"
	"dockline/pkg/fault"
	"dockline/pkg/git"
)

// TestHintsNameWhatHelps: not all that is not allowed is mended by a user name and a password.
func TestHintsNameWhatHelps(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	key, signer := newKey(t)
	_, other := newKey(t)
	address, _ := startSSH(t, signer.PublicKey())
	open := serve(t, gitserver.Options{Root: h.root}, false)
	closed := serve(t, gitserver.Options{Root: h.root}, true, func(http.Handler) http.Handler {
		return http.RedirectHandler(open.URL+"/team/hello.git/info/refs?service=git-upload-pack", http.StatusFound)
	})
	lib := commit(t, filepath.Join(h.root, "lib.git"), "main", "Lib", gitserver.Text(map[string]string{"x": "1"}))
	commit(t, filepath.Join(h.root, "top.git"), "main", "Top", gitserver.Files{
		".gitmodules": modules("m", "lib", "git@elsewhere.invalid:lib.git"), "lib": {Submodule: lib},
	})
	for _, test := range []struct {
		description string
		options     git.Options
		hint        string
	}{
		{"an unknown host", git.Options{
			URL: "ssh://git@" + address + h.path, SSHKey: key, KnownHosts: []byte(knownhosts.Line([]string{"elsewhere:22"}, other.PublicKey())),
		}, "GIT_KNOWN_HOSTS"},
		{"a host with another key", git.Options{
			URL: "ssh://git@" + address + h.path, SSHKey: key, KnownHosts: []byte(knownhosts.Line([]string{address}, other.PublicKey())),
		}, "GIT_KNOWN_HOSTS"},
		{"a redirect out of https", git.Options{URL: closed.URL + "/team/hello.git", CA: closed.CA}, "GIT_URL"},
		{"a submodule on another host", git.Options{URL: open.URL + "/top.git", Submodules: true}, ".gitmodules"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			test.options.Dir, test.options.Pauses = t.TempDir(), []time.Duration{}
			_, err := git.Clone(t.Context(), test.options)
			if fault.KindOf(err) != fault.Denied || !strings.Contains(fault.HintOf(err), test.hint) {
				t.Errorf("error %v of kind %v, hint %q; want one with %q", err, fault.KindOf(err), fault.HintOf(err), test.hint)
			}
		})
	}
}
