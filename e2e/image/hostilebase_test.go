//go:build e2e

package image_test

import (
	"archive/tar"
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"dockline/e2e/baseimage"
	"dockline/e2e/faultyregistry"
)

// takeOver is a program that a hostile base image puts where ours are.
const takeOver = "#!/bin/busybox sh\necho TAKEN OVER\n"

func file(path string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: 0o755} }

func link(kind byte, path, to string) tar.Header {
	return tar.Header{Typeflag: kind, Name: path, Linkname: to, Mode: 0o777}
}

// removal is how a layer says that a file of the layers below is gone.
func removal(path string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: filepath.Join(filepath.Dir(path), ".wh."+filepath.Base(path))}
}

// TestAHostileBaseImageTakesNothingOver builds on images whose files would replace the step's own, by each way that a layer
// has to say so. Either what is in /kaniko stays to the byte, and the next lines of the script are ours; or the step fails,
// and a script of GitLab's has no next line.
func TestAHostileBaseImageTakesNothingOver(t *testing.T) {
	t.Parallel()
	registry := faultyregistry.StartTLS(t)
	registry.Login(user, password)
	trusting := remote.WithTransport(&http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}) //nolint:gosec // it is right here
	push := func(name string, image v1.Image) string {
		name = registry.Host() + "/deepsky/" + name
		if err := remote.Write(reference(t, name), image, account, trusting); err != nil {
			t.Fatal(err)
		}
		return name
	}
	busybox, err := os.ReadFile(project + "/.build/rootfs/kaniko/busybox/busybox")
	if err != nil {
		t.Fatal(err)
	}
	base, err := baseimage.Pack(
		baseimage.File{Path: "/bin/busybox", Content: busybox}, baseimage.File{Path: "/bin/sh", Content: []byte(takeOver)},
		baseimage.File{Path: "/usr/bin/env", Content: []byte(takeOver)}, baseimage.File{Path: "/busybox/sh", Content: []byte(takeOver)},
		baseimage.File{Path: "/etc/ssl/certs/ca-certificates.crt", Content: []byte("nothing\n")},
		baseimage.File{Path: "/etc/hosts", Content: []byte("127.0.0.66 localhost\n")})
	if err != nil {
		t.Fatal(err)
	}
	clean := push("clean:1", base)
	for name, row := range map[string]struct {
		layer []tar.Header
		run   string // instruction, none by default
		says  string // of a build that is refused
	}{
		"files": {layer: []tar.Header{
			file("kaniko/bin/clone-build-push"), file("kaniko/bin/dockline"), file("kaniko/bin/promote"), file("kaniko/bin/ls"),
			file("kaniko/busybox/busybox"), file("kaniko/busybox/sh"), file("kaniko/ssl/certs/ca-certificates.crt"),
			file("kaniko/dockline-owns-this-root"),
		}},
		"other spellings": {layer: []tar.Header{
			file("./kaniko/bin/promote"), file("/kaniko/bin/verify"), file("srv/../kaniko/bin/retag"),
		}},
		"leaving the root":               {layer: []tar.Header{file("../kaniko/bin/promote")}},
		"a link in the folder's place":   {layer: []tar.Header{link(tar.TypeSymlink, "kaniko", "/srv"), file("srv/bin/promote")}},
		"a symbolic link to a file":      {layer: []tar.Header{link(tar.TypeSymlink, "way", "/kaniko/bin/dockline"), file("way")}},
		"a hard link, then its contents": {layer: []tar.Header{link(tar.TypeLink, "way", "kaniko/bin/dockline"), file("way")}},
		"a folder's removal":             {layer: []tar.Header{removal("kaniko")}},
		"the removal of what is in it":   {layer: []tar.Header{removal("kaniko/bin"), removal("kaniko/.wh..opq")}},
		"through a symbolic link":        {layer: []tar.Header{link(tar.TypeSymlink, "way", "/kaniko"), file("way/bin/ls")}},
		"through a relative link":        {layer: []tar.Header{link(tar.TypeSymlink, "srv/way", "../kaniko/bin"), file("srv/way/promote")}},
		"removal through a link":         {layer: []tar.Header{link(tar.TypeSymlink, "way", "/kaniko"), removal("way/bin")}},
		// What a RUN does is found out.
		"a RUN that puts a program in ours' place": {
			nil, "RUN busybox rm /kaniko/busybox/sh && busybox cp /usr/bin/env /kaniko/busybox/sh", `changed "/kaniko/busybox/sh"`,
		},
		"a RUN that adds a program": {nil, "RUN busybox cp /usr/bin/env /kaniko/bin/ls", `changed "/kaniko/bin/ls"`},
		"a RUN that adds a certificate": {
			nil, "RUN busybox cp /usr/bin/env /kaniko/ssl/certs/mine.pem", `changed "/kaniko/ssl/certs/mine.pem"`,
		},
		"a RUN that leaves a pipe": {nil, "RUN busybox mkfifo /kaniko/bin/git", `changed "/kaniko/bin/git"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			version := strings.NewReplacer(" ", "-", "'", "", ",", "").Replace(name)
			image := push("hostile:"+version, withSettings(t, withLayer(t, base, row.layer)))
			work := t.TempDir()
			write(t, filepath.Join(work, "ca.pem"), string(registry.CA()))
			write(t, filepath.Join(work, "Dockerfile"),
				"FROM "+image+" AS one\nCOPY Dockerfile /srv/one\n"+
					"FROM "+clean+"\nCOPY --from=one /srv/one /srv/two\nSHELL [\"/bin/busybox\", \"sh\", \"-c\"]\n"+row.run+"\n")
			id := newJob(t, work, registry, version, "-e", "REGISTRY_INSECURE=false", "-e", "REGISTRY_CA_FILE=/builds/deepsky/hello/ca.pem")
			status, stdout, stderr := script(t, id, `set -e
state() { (cd /kaniko; ls -lnR bin busybox ssl; sha256sum bin/dockline bin/clone-build-push busybox/busybox ssl/certs/* dockline-owns-this-root); }
state >before
clone-build-push
state >after
diff -U 0 before after || echo CHANGED
sh -c 'echo a shell'
promote --version
`)
			output := stdout + stderr
			wanted := map[bool]int{true: 0, false: 9}[row.says == ""]
			if status != wanted || !strings.Contains(stderr, row.says) {
				t.Errorf("exit status %d, want %d, and %q in\n%s", status, wanted, row.says, output)
			}
			if strings.Contains(output, "TAKEN OVER") || strings.Contains(output, "CHANGED") {
				t.Errorf("taken over:\n%s", output)
			}
			if row.says == "" && !strings.Contains(stdout, "a shell\npromote ") {
				t.Errorf("the script did not go on:\n%s", output)
			}
			_, err := remote.Head(reference(t, registry.Host()+"/"+hello+":"+version), account, trusting)
			if (row.says == "") != (err == nil) {
				t.Errorf("the registry says %v\n%s", err, output)
			}
		})
	}
}

// withLayer adds a layer with these entries, whose files take over.
func withLayer(t *testing.T, base v1.Image, headers []tar.Header) v1.Image {
	t.Helper()
	var archive bytes.Buffer
	out := tar.NewWriter(&archive)
	for _, header := range headers {
		content := ""
		if header.Typeflag == tar.TypeReg && !strings.Contains(header.Name, ".wh.") {
			content = takeOver
		}
		header.Size = int64(len(content))
		if err := out.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(out, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(base, layer)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// withSettings has an image tell whoever runs it, or builds on it, to do what helps an attacker.
func withSettings(t *testing.T, image v1.Image) v1.Image {
	t.Helper()
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	file = file.DeepCopy()
	file.Config.Entrypoint, file.Config.Cmd, file.Config.Shell = []string{"/bin/sh"}, []string{"-c", "echo TAKEN OVER"}, []string{"/bin/sh"}
	file.Config.Env = []string{
		"PATH=/srv", "HOME=/srv", "KANIKO_DIR=/srv", "SSL_CERT_DIR=/srv", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
		"LD_PRELOAD=/srv/nothing.so", "HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1", "ALLOW_PRIVILEGED=true",
	}
	file.Config.OnBuild = []string{`RUN ["/bin/busybox", "true"]`}
	file.Config.WorkingDir = "/kaniko"
	if image, err = mutate.ConfigFile(image, file); err != nil {
		t.Fatal(err)
	}
	return image
}
