package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"dockline/e2e/baseimage"
)

// localImage is the name of an image that the node has without pulling it.
func localImage(program string) string { return "localhost/" + program + ":1" }

func (c Cluster) startContainerd(ctx context.Context) error {
	// No pod has a network of its own, but without a network the node would not be ready. No plugin is ever called.
	network := `{"cniVersion": "0.4.0", "name": "none", "plugins": [{"type": "loopback"}]}`
	text := fmt.Sprintf(`version = 2
root = %q
state = %q
[grpc]
  address = %q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  disable_tcp_service = true
  restrict_oom_score_adj = true # else runc fails where a process may not lower its own
  stream_server_address = "127.0.0.1"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
`, c.in("containerd", "root"), c.in("containerd", "state"), c.socket(), localImage("pause"),
		c.in("cni"), c.in("cni"), c.in("certs.d"))
	if err := errors.Join(os.Mkdir(c.in("cni"), 0o700), os.Mkdir(c.in("certs.d"), 0o755),
		os.WriteFile(c.in("cni", "none.conflist"), []byte(network), 0o600),
		os.WriteFile(c.in("containerd.toml"), []byte(text), 0o600),
		c.start("containerd", nil, "containerd", "--config", c.in("containerd.toml"))); err != nil {
		return err
	}
	return until(ctx, time.Minute, func(ctx context.Context) error {
		_, err := c.ctr(ctx, "version")
		return errors.Join(err, c.alive("containerd"))
	})
}

func (c Cluster) socket() string { return c.in("containerd.sock") }

func (c Cluster) ctr(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return run(exec.CommandContext(ctx, "ctr", append([]string{"--address", c.socket(), "--namespace", "k8s.io"}, args...)...)) //nolint:gosec // ours
}

// importImages gives the node those images that no registry has: the pods' pause, and Tekton's helpers.
func (c Cluster) importImages(ctx context.Context) error {
	pause, err := baseimage.Program(ctx, "dockline/e2e/cluster/pause")
	if err != nil {
		return err
	}
	programs := map[string][]byte{"pause": pause}
	for _, name := range []string{
		"pipelines-entrypoint", "pipelines-nop", "pipelines-workingdirinit", "triggers-eventlistenersink",
	} {
		if programs[name], err = os.ReadFile(c.program(name)); err != nil {
			return err
		}
	}
	images := map[name.Reference]v1.Image{}
	for program, content := range programs {
		path := "/ko-app/" + program[strings.Index(program, "-")+1:] // where Tekton looks for it
		image, err := baseimage.Pack(baseimage.File{Path: path, Content: content})
		if err != nil {
			return err
		}
		config, err := image.ConfigFile()
		if err != nil {
			return err
		}
		config = config.DeepCopy()
		config.Config.Entrypoint = []string{path}
		if image, err = mutate.ConfigFile(image, config); err != nil {
			return err
		}
		reference, err := name.ParseReference(localImage(program))
		if err != nil {
			return err
		}
		images[reference] = image
	}
	archive := c.in("images.tar")
	defer os.Remove(archive)
	if err := tarball.MultiRefWriteToFile(archive, images); err != nil {
		return err
	}
	_, err = c.ctr(ctx, "images", "import", archive)
	return err
}

func (c Cluster) startNode(ctx context.Context) error {
	text := fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: 127.0.0.1
healthzBindAddress: 127.0.0.1
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: %q}}
authorization: {mode: Webhook}
tlsCertFile: %q
tlsPrivateKeyFile: %q
containerRuntimeEndpoint: %q
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
enforceNodeAllocatable: []
localStorageCapacityIsolation: false
evictionHard: {memory.available: 100Mi, nodefs.available: 1%%, imagefs.available: 1%%, nodefs.inodesFree: 1%%}
imageGCHighThresholdPercent: 99
imageGCLowThresholdPercent: 98
podLogsDir: %q
volumePluginDir: %q
`, c.in("ca.crt"), c.in("kubelet-server.crt"), c.in("kubelet-server.key"), "unix://"+c.socket(),
		c.in("pod-logs"), c.in("volume-plugins"))
	if err := errors.Join(os.Mkdir(c.in("kubelet"), 0o700), os.Mkdir(c.in("volume-plugins"), 0o700),
		os.WriteFile(c.in("kubelet.yaml"), []byte(text), 0o600),
		c.part("kubelet", "--config="+c.in("kubelet.yaml"), "--kubeconfig="+c.in("kubelet.kubeconfig"),
			"--root-dir="+c.in("kubelet"), "--cert-dir="+c.in("kubelet", "pki"),
			// It refuses a loopback address as its own; a cloud's controller may give it one. That is us.
			"--hostname-override=localhost", "--cloud-provider=external")); err != nil {
		return err
	}
	if err := until(ctx, time.Minute, func(ctx context.Context) error {
		_, err := c.Kubectl(ctx, "get", "node", "localhost")
		return errors.Join(err, c.alive("kubelet"))
	}); err != nil {
		return err
	}
	for _, args := range [][]string{
		{
			"patch", "node", "localhost", "--subresource=status", "--type=merge", "--patch",
			`{"status":{"addresses":[{"type":"InternalIP","address":"127.0.0.1"},{"type":"Hostname","address":"localhost"}]}}`,
		},
		{"taint", "node", "localhost", "node.cloudprovider.kubernetes.io/uninitialized-"},
		{"wait", "--for=condition=Ready", "node/localhost", "--timeout=60s"},
	} {
		if _, err := c.Kubectl(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}
