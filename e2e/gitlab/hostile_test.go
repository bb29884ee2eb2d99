//go:build e2e

package gitlab

import (
	"encoding/hex"
	"strings"
	"testing"

	"dockline/e2e/baseimage"
)

// TestAHostileDockerfile has the Dockerfile of the pipeline's build search all it can reach for the variables of the
// project's settings, which are in the environment of every job. The same search, as a line of the script before it,
// finds them.
func TestAHostileDockerfile(t *testing.T) {
	s := begin(t)
	probe, err := baseimage.Program(t.Context(), "dockline/e2e/probe")
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{s.world.Testing.Password, s.world.Production.Password, s.world.Dev.Token, s.world.Prod.Token}
	dockerfile := "ARG BASE\nFROM ${BASE}\nCOPY --chmod=755 probe /bin/probe\nCOPY index.html /srv/\n"
	pipeline := project.read(t, ".gitlab-ci.yml") + "build-image:\n  script:\n    - cp probe /tmp/probe && chmod +x /tmp/probe\n"
	for _, secret := range secrets {
		digits := hex.EncodeToString([]byte(secret))
		dockerfile += `RUN ["/bin/probe", "search", "` + digits + "\"]\n"
		pipeline += "    - /tmp/probe search " + digits + " | sed 's/^/BEFORE /'\n"
	}
	s.commit("Search", map[string]string{
		"probe": string(probe), "Dockerfile": dockerfile + "EXPOSE 8080\nENTRYPOINT [\"/bin/serve\", \"/srv\"]\n",
		".gitlab-ci.yml": pipeline + "    - clone-build-push\n",
	})
	out := s.runs(nil, toDev...)
	// Each search ends in a line "SEARCHED COUNT", those of the script first.
	searches := strings.Count(out, "SEARCHED ")
	none := strings.Count(out, "SEARCHED 0")
	if searches != 2*len(secrets) || none != len(secrets) || strings.Count(out, "BEFORE SEARCHED 0") > 0 {
		t.Errorf("%d searches, of which %d found nothing; %d and %d are wanted\n%s", searches, none, 2*len(secrets), len(secrets), out)
	}
	for _, secret := range secrets {
		if strings.Contains(out, secret) {
			t.Error("the output shows a secret")
		}
	}
	s.shows(s.world.Dev, first)
}
