package git

import (
	"errors"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/client"
	"github.com/go-git/go-git/v5/plumbing/transport/server"
)

func init() {
	// go-git reads local repositories by running the git program. This reads them in process.
	client.InstallProtocol("file", server.NewClient(localLoader{}))
}

// localLoader opens a bare repository, a work tree, or a linked work tree.
type localLoader struct{}

func (localLoader) Load(at *transport.Endpoint) (storer.Storer, error) {
	repo, err := gogit.PlainOpenWithOptions(at.Path, &gogit.PlainOpenOptions{EnableDotGitCommonDir: true})
	if errors.Is(err, gogit.ErrRepositoryNotExists) {
		return nil, transport.ErrRepositoryNotFound
	}
	if err != nil {
		return nil, err
	}
	return repo.Storer, nil
}
