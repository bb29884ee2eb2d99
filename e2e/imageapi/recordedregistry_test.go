package imageapi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
)

// recordedRegistry holds images like those of the recording: versions 1.0 and 1.1 of one image, and an index of both.
// Their configuration says what the recorded ones said, and every blob has the recorded size; only what the layer holds
// is not known, so the digests differ.
type registryOfRecording struct {
	host        string
	digest10    string
	digest11    string
	unreachable string
}

const (
	recordedDigest10 = "sha256:d95a99cdfac3b9cce119ec6bf0d47962e4e7ddcfe8122bfa81fb6b54730c6af8"
	recordedDigest11 = "sha256:dc8257df6822de715a65f03084e331dd07eef63768498be1895ebff24fe653f3"
	dockerManifest   = "application/vnd.docker.distribution.manifest.v2+json"
	ociIndex         = "application/vnd.oci.image.index.v1+json"

	recordedLayerSize  = 1064337
	recordedConfigSize = 1066335 - recordedLayerSize
)

func newRecordedRegistry(t *testing.T) *registryOfRecording {
	server := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	r := &registryOfRecording{host: strings.TrimPrefix(server.URL, "http://")}
	for _, repository := range []string{"deepsky/awl-deepsky-hello", "deepsky/idx"} {
		r.digest10 = putImage(t, server.URL, repository, "1.0", recordedConfig(
			"1.0", "2026-11-22T22:28:37.1Z", "ea04e76fae7aee1093ca98bcbce3804c77d2365fbe16d01fa05ad482626e402d",
			"sha256:d393665722d0d25d69329474034264cd11daf1dc718ddccd531e24e55124c228"))
		r.digest11 = putImage(t, server.URL, repository, "1.1", recordedConfig(
			"1.1", "2026-11-22T22:28:38.1Z", "99dd32825d3e177c0e590d63513f61a95872214d35d9286aac92cd749159548f",
			"sha256:0245aabc5bfe5869172553eae481605e07aa0fc3a6e732f6c2ec99b4c3d86982"))
	}
	// The recording's digest of the index proves that it named arm64 twice: so Legacy mode took the first child.
	index := `{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[` + descriptor(r.digest10) + `,` +
		descriptor(r.digest11) + `]}`
	put(t, server.URL+"/v2/deepsky/idx/manifests/1", ociIndex, []byte(index))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.unreachable = listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	return r
}

// adapter puts our addresses and digests into a recorded request.
func (r *registryOfRecording) adapter() func(string) string {
	return strings.NewReplacer(recordedRegistry, r.host, recordedDown, r.unreachable,
		recordedDigest10, r.digest10, recordedDigest11, r.digest11).Replace
}

func descriptor(digest string) string {
	return fmt.Sprintf(`{"mediaType":"%s","digest":"%s","size":528,"platform":{"architecture":"arm64","os":"linux"}}`,
		dockerManifest, digest)
}

// recordedConfig is an image's configuration file as the Docker of the recording wrote it, empty fields included.
func recordedConfig(version, created, container, parent string) []byte {
	common := func(hostname string, command any) map[string]any {
		return map[string]any{
			"Hostname": hostname, "Domainname": "", "User": "", "AttachStdin": false, "Tty": false,
			"ExposedPorts": map[string]any{"8080/tcp": map[string]any{}},
			"Env":          []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "V=" + version},
			"Cmd":          command, "Image": parent, "Volumes": nil, "WorkingDir": "", "Entrypoint": nil, "OnBuild": nil,
			"Labels": map[string]string{
				"org.opencontainers.image.revision": "aaa", "org.opencontainers.image.version": version,
			},
		}
	}
	file := map[string]any{
		"architecture": "amd64", "os": "linux", "created": created, "container": container,
		"docker_version": "20.10.24+dfsg1", "config": common("", nil),
		"container_config": common(container[:12], []string{"/bin/sh", "-c", "#(nop) ", "EXPOSE 8080"}),
		"rootfs":           map[string]any{"type": "layers", "diff_ids": []string{digestOf(layer)}},
		"history":          []any{},
	}
	data, err := json.Marshal(file)
	if err != nil || len(data) > recordedConfigSize {
		panic(fmt.Sprint("the configuration does not fit: ", len(data), err))
	}
	return append(data, bytes.Repeat([]byte(" "), recordedConfigSize-len(data))...)
}

var layer = bytes.Repeat([]byte{7}, recordedLayerSize)

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// putImage pushes an image of one layer, and returns its digest.
func putImage(t *testing.T, url, repository, tag string, config []byte) string {
	for _, blob := range [][]byte{layer, config} {
		upload(t, url, repository, blob)
	}
	manifest := fmt.Sprintf(`{
   "schemaVersion": 2,
   "mediaType": "%s",
   "config": {
      "mediaType": "application/vnd.docker.container.image.v1+json",
      "size": %d,
      "digest": "%s"
   },
   "layers": [
      {
         "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
         "size": %d,
         "digest": "%s"
      }
   ]
}`, dockerManifest, len(config), digestOf(config), len(layer), digestOf(layer))
	put(t, url+"/v2/"+repository+"/manifests/"+tag, dockerManifest, []byte(manifest))
	return digestOf([]byte(manifest))
}

func upload(t *testing.T, url, repository string, blob []byte) {
	response, err := http.Post(url+"/v2/"+repository+"/blobs/uploads/?digest="+digestOf(blob),
		"application/octet-stream", bytes.NewReader(blob))
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusCreated {
		t.Fatalf("uploading a blob: %s, %v", response.Status, err)
	}
}

func put(t *testing.T, url, mediaType string, body []byte) {
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", mediaType)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusCreated {
		t.Fatalf("putting %s: %s, %v", url, response.Status, err)
	}
}
