package attack

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
)

// read looks into files, and into all that is below folders.
func read(secret string, paths ...string) (evidence, why string) {
	for _, path := range paths {
		if found := filesThatHold(path, []byte(secret)); len(found) > 0 {
			return found[0], ""
		}
	}
	return "", "there is none"
}

func kanikoConfig(g Given) (evidence, why string) {
	for _, path := range []string{"/kaniko/.docker/config.json", "/root/.docker/config.json"} {
		content, err := os.ReadFile(path)
		encoded := base64.StdEncoding.EncodeToString([]byte(Account + ":" + g.Secret("registry")))
		if err == nil && bytes.Contains(content, []byte(encoded)) {
			return path, ""
		}
	}
	return "", "there is none"
}

// HomeFiles are files with credentials below a home.
var HomeFiles = []string{".netrc", ".git-credentials", ".ssh/id_ed25519", ".config/containers/auth.json"}

func home(g Given) (evidence, why string) {
	var paths []string
	for _, name := range HomeFiles {
		paths = append(paths, filepath.Join("/root", name))
	}
	return read(g.Secret("home"), paths...)
}

func gitConfig(g Given) (evidence, why string) {
	return read(g.Secret("job"), filepath.Join(g.WorkTree, ".git"))
}

func gitCopied(Given) (evidence, why string) {
	if _, err := os.Stat("/src/.git/config"); err != nil {
		return "", err.Error()
	}
	return "/src/.git/config", ""
}

func gitlabFiles(g Given) (evidence, why string) {
	return read(g.Secret("deploy"), g.WorkTree+".tmp")
}

func serviceAccount(g Given) (evidence, why string) {
	return read(g.Secret("service-account"), "/var/run/secrets", "/run/secrets")
}

func tektonCreds(g Given) (evidence, why string) {
	return read(g.Secret("tekton"), "/tekton/creds", "/tekton/creds-secrets")
}

// otherBuildSecret looks everywhere, but in what is this RUN's own.
func otherBuildSecret(g Given) (evidence, why string) {
	secret := g.Secret("build")
	for _, place := range Search([]byte(secret)) {
		return place, ""
	}
	return "", "it is nowhere"
}
