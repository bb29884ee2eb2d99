package git

import (
	"io"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"dockline/pkg/fault"
)

// access holds the credentials for one host, and how it is talked to.
type access struct {
	home     address // whose host the credentials are for
	auth     transport.AuthMethod
	progress io.Writer
	pauses   []time.Duration
}

// TokenUser is the user name that goes with a password alone: GitLab and GitHub take any beside a token.
const TokenUser = "oauth2"

func accessFor(home address, o Options) (*access, error) {
	a := &access{home: home, progress: o.Progress, pauses: o.Pauses}
	if a.pauses == nil {
		a.pauses = []time.Duration{time.Second, 4 * time.Second}
	}
	switch home.scheme {
	case "https", "http":
		if o.Password == "" && o.Username == "" {
			return a, nil
		}
		if home.scheme == "http" && !home.loopback() {
			return nil, fault.New(fault.Configuration,
				"reading the Git URL %q: a password is not sent over plain http", home.shown())
		}
		user := o.Username
		if user == "" {
			user = TokenUser
		}
		a.auth = &githttp.BasicAuth{Username: user, Password: o.Password}
	case "ssh":
		auth, err := sshAuth(home, o.SSHKey, o.KnownHosts)
		if err != nil {
			return nil, err
		}
		a.auth = auth
	}
	return a, nil
}

// authFor returns the credentials for a repository: those of the home host for it alone.
func (a *access) authFor(to address) transport.AuthMethod {
	if a.auth != nil && a.home.sameHost(to) {
		return a.auth
	}
	return nil
}
