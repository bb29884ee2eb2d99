package git_test

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/knownhosts"

	"dockline/pkg/fault"
	"dockline/pkg/git"
)

func TestCheckURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		description, url string
		local            bool
		refused          string // "" means accepted
	}{
		{"https", "https://gitlab.example.com/team/hello.git", false, ""},
		{"https with a port", "https://gitlab.example.com:8443/team/hello.git", false, ""},
		{"http", "http://gitlab.example.com/team/hello.git", false, ""},
		{"ssh", "ssh://git@gitlab.example.com:2222/team/hello.git", false, ""},
		{"ssh without a user", "ssh://gitlab.example.com/team/hello.git", false, ""},
		{"the short form of ssh", "git@gitlab.example.com:team/hello.git", false, ""},
		{"a local path", "/srv/hello.git", true, ""},
		{"a relative path", "./hello.git", true, ""},
		{"a file URL", "file:///srv/hello.git", true, ""},
		{"nothing", "", false, "empty"},
		{"an option", "--upload-pack=touch /tmp/x", false, "dash"},
		{"a host that is an option", "ssh://-oProxyCommand=x/hello.git", false, "host"},
		{"a host that is an option, short form", "-oProxyCommand=x:hello.git", false, "dash"},
		{"a user that is an option", "ssh://-oProxyCommand=x@host/hello.git", false, "dash"},
		{"a program", "ext::sh -c touch% /tmp/x", false, "blank"},
		{"a program without a blank", "ext::sh", false, "remote helpers"},
		{"a descriptor", "fd::17", false, "remote helpers"},
		{"the git protocol, which proves nothing", "git://host/hello.git", false, "scheme"},
		{"ftp", "ftp://host/hello.git", false, "scheme"},
		{"a local path where none is allowed", "/srv/hello.git", false, "not allowed"},
		{"a file URL where none is allowed", "file:///srv/hello.git", false, "not allowed"},
		{"a password", "https://user:s3cr3t@host/hello.git", false, "credentials"},
		{"a token as the user", "https://s3cr3t@host/hello.git", false, "credentials"},
		{"a password for ssh", "ssh://git:s3cr3t@host/hello.git", false, "credentials"},
		{"a malformed URL with a password", "https://user:s3cr3t@host:port/%zz", false, "malformed"},
		{"a token whose scheme is forgotten", "oauth2:s3cr3t@gitlab.example.com/x.git", false, "begins with https://"},
		{"a token whose scheme is forgotten, with a port", "oauth2:s3cr3t@gitlab.example.com:8443/x.git", false, "begins with https://"},
		{"an account whose scheme is forgotten", "release:s3cr3t@gitlab.example.com/x.git", false, "begins with https://"},
		{"a token, and nothing after it", "oauth2:s3cr3t", false, "begins with https://"},
		{"one slash too few", "https:/oauth2:s3cr3t@gitlab.example.com/x.git", false, "begins with https://"},
		{"the other slashes", `HTTPS:\\oauth2:s3cr3t@gitlab.example.com/x.git`, false, "begins with https://"},
		{"no colon", "https//oauth2:s3cr3t@gitlab.example.com/x.git", false, "none of"},
		{"a token alone, without a scheme", "s3cr3t@gitlab.example.com/x.git", false, "none of"},
		{"a password with a slash", "https://release:s3cr3t/s3cr3t@gitlab.example.com/x.git", false, "malformed"},
		{"a password with an at sign and a slash", "https://release:s3cr3t@s3cr3t/s3cr3t@gitlab.example.com/x.git", false, "credentials"},
		{"a password and a blank", "https://release:s3cr3t @gitlab.example.com/x.git", false, "blank"},
		{"a line break", "https://host/hello.git\nX", false, "control character"},
		{"a bare name", "hello", false, "none of"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			err := git.CheckURL(test.url, test.local)
			if test.refused == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.refused) || fault.KindOf(err) != fault.Configuration {
				t.Errorf("error is %v, want a refusal with %q", err, test.refused)
			}
			if err != nil && strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("error shows the password: %v", err)
			}
		})
	}
}

func TestRedactURL(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ description, url, want string }{
		{"a password goes", "https://user:pass@host/x.git", "https://host/x.git"},
		{"a token goes", "https://token@host/x.git", "https://host/x.git"},
		{"a password with an at sign goes whole", "https://user:p@ss@host/x.git", "https://host/x.git"},
		{"the user of ssh stays", "ssh://git@host/x.git", "ssh://git@host/x.git"},
		{"the password of ssh goes", "ssh://git:pass@host/x.git", "ssh://host/x.git"},
		{"an at sign in the path stays", "https://host/x@y.git", "https://host/x@y.git"},
		{"the user of the short form of ssh stays", "git@host:x.git", "git@host:x.git"},
		{"a token in the place of the user of ssh goes", "glpat-x@host:8443/x.git", "host:8443/x.git"},
		{"a token in the place of the user of ssh goes, in a URL", "ssh://glpat-x@host/x@y.git", "ssh://host/x@y.git"},
		{"a token whose scheme is forgotten goes", "oauth2:glpat-x@host/x.git", "…@host/x.git"},
		{"a token after a mistyped scheme goes", "https//oauth2:glpat-x@host/x.git", "…@host/x.git"},
		{"a password with a slash goes", "https://user:pa/ss@host/x.git", "https://host/x.git"},
		{"a path stays", "/srv/x.git", "/srv/x.git"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			if got := git.RedactURL(test.url); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestIsFullHash(t *testing.T) {
	t.Parallel()
	const hash = "0e0cf4c8bb274194d0a5524d37f1874ecfda99b3"
	for revision, want := range map[string]bool{
		hash: true, hash[:39]: false, hash + "0": false, strings.ToUpper(hash): false, "refs/heads/" + hash: false, "": false, hash + "\n": false,
	} {
		if got := git.IsFullHash(revision); got != want {
			t.Errorf("%q: %t, want %t", revision, got, want)
		}
	}
}

func TestPasswordNeverGoesOverPlainHTTP(t *testing.T) {
	t.Parallel()
	_, err := git.Clone(t.Context(), git.Options{
		URL: "http://git.invalid/hello.git", Dir: t.TempDir(), Username: "release", Password: "s3cr3t",
	})
	if fault.KindOf(err) != fault.Configuration || !strings.Contains(err.Error(), "plain http") {
		t.Errorf("error is %v, want a refusal", err)
	}
}

// TestATokenForSSHIsNotShown: a user name of ssh may be a token, when the scheme was forgotten before an address with a port.
func TestATokenForSSHIsNotShown(t *testing.T) {
	t.Parallel()
	key, signer := newKey(t)
	known := []byte(knownhosts.Line([]string{"[127.0.0.1]:1"}, signer.PublicKey()) + "\n")
	for _, url := range []string{"glpat-s3cr3t@127.0.0.1:8443/x.git", "ssh://glpat-s3cr3t@127.0.0.1:1/x.git"} {
		for _, key := range [][]byte{key, nil} {
			_, err := git.Clone(t.Context(), git.Options{
				URL: url, Dir: t.TempDir(), SSHKey: key, KnownHosts: known, Pauses: []time.Duration{},
			})
			if err == nil || strings.Contains(err.Error(), "s3cr3t") || !strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("%s: error is %v, want one with the host, without the token", url, err)
			}
		}
	}
}

func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"https://host/x.git", "ssh://git@host:22/x", "git@host:x", "file:///x", "-x", "ext::x", "https://u:p@h/", "./x", "h:x",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		err := git.CheckURL(raw, false)
		if err != nil {
			if fault.KindOf(err) != fault.Configuration {
				t.Errorf("kind of %v is not Configuration", err)
			}
			return
		}
		if strings.HasPrefix(raw, "-") || strings.Contains(raw, "\n") || strings.HasPrefix(raw, "/") {
			t.Errorf("accepted %q", raw)
		}
		if strings.HasPrefix(strings.ToLower(raw), "https://") && git.RedactURL(raw) != raw {
			t.Errorf("accepted credentials in %q", raw)
		}
	})
}
