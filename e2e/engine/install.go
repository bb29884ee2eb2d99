package engine

import (
	"context"
	"errors"
	"os"

	"dockline/e2e/debian"
)

// install makes sure that the engine and its client are there. An error says what is missing.
func install(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("an engine of one's own needs root")
	}
	if err := debian.Need(ctx, map[string]string{"dockerd": "docker.io"}); err != nil {
		return err
	}
	return debian.Need(ctx, map[string]string{"docker": "docker-cli"}) // a package of its own since Debian 13
}
