//go:build e2e

package cluster_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"dockline/e2e/baseimage"
	"dockline/e2e/cluster"
	"dockline/e2e/imageapi"
	"dockline/e2e/story"
)

// TestImageStreams has the step programs work on image streams of the real cluster: its API server knows who asks and
// what they may do, its controllers roll out, its kubelet pulls, and the page comes from the pod.
func TestImageStreams(t *testing.T) {
	s := openStreams(t)
	image10, image11, patched := s.push("1.0", page10), s.push("1.1", page11), ""

	// Who may only look may not move the tag, and it is not there afterwards.
	s.step("retag", "looker", 5, "imagestream", map[string]string{"IMAGE": story.ImageName + ":1.0", "DIGEST": image10})
	s.means("")
	s.step("retag", "nobody", 5, "", map[string]string{"IMAGE": story.ImageName + ":1.0", "DIGEST": image10})
	s.means("")

	s.retag("1.0", image10)
	s.runs("1.0", image10, page10)
	// It is not 1.1, whatever one looks at.
	for _, wrong := range []map[string]string{
		{"EXPECT_IMAGE": story.ImageName + ":1.1"}, {"EXPECT_DIGEST": image11},
		{"URL": s.url(), "EXPECT_TEXT": page11},
	} {
		s.step("verify", "looker", 8, "", wrong)
	}

	s.retag("1.1", image11)
	s.runs("1.1", image11, page11)

	// The version is built again: until it is imported again, the environment runs what it did.
	const page = "Hello from a Pipeline, version 1.1 patched"
	patched = s.push("1.1", page)
	s.step("verify", "looker", 8, "", map[string]string{"EXPECT_IMAGE": story.ImageName + ":1.1"})
	s.shows(page11)
	s.retag("1.1", patched)
	s.runs("1.1", patched, page)

	s.step("retag", "retag", 5, "imagestream", map[string]string{
		"NAMESPACE": "default", "IMAGE": story.ImageName + ":1.0", "DIGEST": image10,
	})

	s.step("retag", "retag", 0, "", map[string]string{"ROLLBACK": "true"})
	s.means(image11)
	s.shows(page11)
}

// streams are an environment of the real cluster: a Deployment that follows hello-app:dev.
type streams struct {
	t        *testing.T
	cluster  cluster.Cluster
	world    *story.World
	programs string
	port     int
	caFiles  [2]string         // of the registry, of the cluster
	tokens   map[string]string // by account
	serve    []byte
}

const streamsNamespace = "streams"

func openStreams(t *testing.T) *streams {
	t.Helper()
	s := &streams{t: t, cluster: shared.cluster, world: shared.world, programs: shared.programs, tokens: map[string]string{}}
	if err := s.cluster.TrustRegistry(s.world.Testing.Host, s.world.CA); err != nil {
		t.Fatal(err)
	}
	stop, err := s.cluster.ServeImageAPI(t.Context(), imageapi.Options{RegistryCA: s.world.CA, Log: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, gone := s.cluster.Kubectl(context.Background(), "delete", "namespace", streamsNamespace, "--timeout=60s")
		if err := errors.Join(gone, stop()); err != nil {
			t.Error(err)
		}
	})
	s.serve, err = baseimage.Program(t.Context(), "dockline/e2e/baseimage/serve")
	if err != nil {
		t.Fatal(err)
	}
	s.caFiles[0], s.caFiles[1] = filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(s.cluster.Dir, "ca.crt")
	if err := os.WriteFile(s.caFiles[0], s.world.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = listener.Addr().(*net.TCPAddr).Port //nolint:errcheck,forcetypeassert // tcp
	_ = listener.Close()

	s.kubectl("", "create", "namespace", streamsNamespace)
	in := "--namespace=" + streamsNamespace
	s.kubectl("", in, "create", "secret", "docker-registry", "registry", "--docker-server="+s.world.Testing.Host,
		"--docker-username="+s.world.Testing.Username, "--docker-password="+s.world.Testing.Password)
	s.kubectl("", in, "apply", "--filename=../../tekton/environment/roles.yaml")
	for account, roles := range map[string][]string{
		"looker": {"dockline-look"}, "retag": {"dockline-look", "dockline-tag"}, "nobody": nil,
	} {
		s.kubectl("", in, "create", "serviceaccount", account)
		for _, role := range roles {
			s.kubectl("", in, "create", "rolebinding", account+"-"+role, "--role="+role,
				"--serviceaccount="+streamsNamespace+":"+account)
		}
		s.tokens[account] = strings.TrimSpace(s.kubectl("", in, "create", "token", account))
	}
	s.kubectl(fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata:
  name: hello-app
  annotations:
    image.openshift.io/triggers: >-
      [{"from": {"kind": "ImageStreamTag", "name": "hello-app:dev"},
      "fieldPath": "spec.template.spec.containers[?(@.name==\"hello-app\")].image"}]
spec:
  selector: {matchLabels: {app: hello-app}}
  strategy: {type: Recreate} # all pods are on one network
  template:
    metadata: {labels: {app: hello-app}}
    spec:
      terminationGracePeriodSeconds: 5
      imagePullSecrets: [{name: registry}]
      containers:
        - name: hello-app
          image: " "
          env: [{name: ADDRESS, value: 127.0.0.1}, {name: PORT, value: %[1]q}]
          ports: [{containerPort: %[1]s}]
          readinessProbe: {httpGet: {path: /, port: %[1]s}, periodSeconds: 1}
`, fmt.Sprint(s.port)), in, "apply", "--filename=-")
	return s
}

func (s *streams) kubectl(input string, args ...string) string {
	s.t.Helper()
	command := s.cluster.Command(s.t.Context(), args...)
	command.Stdin = strings.NewReader(input)
	var errs bytes.Buffer
	command.Stderr = &errs
	out, err := command.Output()
	if err != nil {
		s.t.Fatalf("kubectl %s: %v: %s", strings.Join(args, " "), err, errs.String())
	}
	return string(out)
}

// push pushes the service with a page as a version, and returns its digest.
func (s *streams) push(version, page string) string {
	s.t.Helper()
	image, err := baseimage.Pack(baseimage.File{Path: "/bin/serve", Content: s.serve},
		baseimage.File{Path: "/srv/index.html", Mode: 0o644, Content: []byte("<h1>" + page + "</h1>\n")})
	if err == nil {
		image, err = mutate.Config(image, v1.Config{Entrypoint: []string{"/bin/serve", "/srv"}})
	}
	if err == nil {
		err = s.world.Testing.Push(s.t.Context(), story.ImageName+":"+version, image)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		s.t.Fatal(err)
	}
	return digest.String()
}

// step runs a step program with an account's token, and wants it to end with a status and to say something in its
// last line.
func (s *streams) step(name, account string, status int, says string, special map[string]string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	environment := map[string]string{
		"NAMESPACE": streamsNamespace, "STREAM_TAG": "hello-app:dev", "TIMEOUT": "60s",
		"KUBE_SERVER": s.server(), "KUBE_TOKEN": s.tokens[account], "KUBE_CA_FILE": s.caFiles[1],
		"REGISTRY": s.world.Testing.Host, "REGISTRY_CA_FILE": s.caFiles[0],
		"REGISTRY_USERNAME": s.world.Testing.Username, "REGISTRY_PASSWORD": s.world.Testing.Password,
	}
	if name == "verify" && status != 0 {
		delete(environment, "TIMEOUT") // it is to judge at once
	}
	command := exec.CommandContext(ctx, filepath.Join(s.programs, name))
	command.Dir = s.t.TempDir()
	for _, set := range []map[string]string{environment, special} {
		for variable, value := range set {
			command.Env = append(command.Env, variable+"="+value)
		}
	}
	began := time.Now()
	out, _ := command.CombinedOutput()
	text := strings.TrimSpace(string(out))
	s.t.Logf("%s as %s, %.1f s:\n%s", name, account, time.Since(began).Seconds(), text)
	last := text[strings.LastIndexByte(text, '\n')+1:]
	if got := command.ProcessState.ExitCode(); got != status || !strings.Contains(last, says) {
		s.t.Fatalf("%s as %s ends with exit status %d; it should be %d, and its last line should hold %q", name, account, got, status, says)
	}
}

// server is the address of the cluster's API, as its kubeconfig has it.
func (s *streams) server() string {
	s.t.Helper()
	return s.kubectl("", "config", "view", "--output=jsonpath={.clusters[0].cluster.server}")
}

func (s *streams) retag(version, digest string) {
	s.t.Helper()
	s.step("retag", "retag", 0, "", map[string]string{"IMAGE": story.ImageName + ":" + version, "DIGEST": digest})
}

// runs wants the environment to run an image, as verify and the cluster say, and to show its page.
func (s *streams) runs(version, digest, page string) {
	s.t.Helper()
	s.means(digest)
	s.step("verify", "looker", 0, "", map[string]string{
		"EXPECT_IMAGE": story.ImageName + ":" + version, "EXPECT_DIGEST": digest, "URL": s.url(), "EXPECT_TEXT": page,
	})
	ids := s.kubectl("", "--namespace="+streamsNamespace, "get", "pods", "--selector=app=hello-app",
		"--output=jsonpath={.items[*].status.containerStatuses[*].imageID}")
	if !strings.HasSuffix(ids, "@"+digest) || strings.Count(ids, "@") != 1 {
		s.t.Errorf("the pods run %q; it should be one with %s", ids, digest)
	}
	s.shows(page)
}

// means wants the tag to mean an image, "" where it is not to be there.
func (s *streams) means(digest string) {
	s.t.Helper()
	got := s.kubectl("", "--namespace="+streamsNamespace, "get", "imagestreams", "hello-app", "--ignore-not-found",
		`--output=jsonpath={.status.tags[?(@.tag=="dev")].items[0].image}`)
	if got != digest {
		s.t.Errorf("the tag means %q; it should be %q", got, digest)
	}
}

func (s *streams) url() string { return fmt.Sprintf("http://127.0.0.1:%d/", s.port) }

// shows wants the pod to answer with a page.
func (s *streams) shows(page string) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url(), nil)
	if err != nil {
		s.t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || story.Heading(string(text)) != page {
		s.t.Errorf("the page is %q, %v; it should be %q", text, err, page)
	}
}
