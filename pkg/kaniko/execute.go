package kaniko

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/osscontainertools/kaniko/pkg/config"
	"github.com/osscontainertools/kaniko/pkg/image/remote"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

var errNoLayer = errors.New("the image has no such layer")

// execution is a build under way: Kaniko's way of building, in the root file system that the process is in, with the
// instructions executed as BuildKit does. Kaniko fetches and unpacks the base images, and clears the root between stages.
type execution struct {
	told    order
	options *config.KanikoOptions
	recipe  *recipe
	at      *position
	context *contextFiles
	work    string // for all that must outlast a stage
	number  int    // of what was put there last
	ignored []string
	built   map[*stage]*builtStage
	images  map[string]string // the folders into which images were unpacked that files are copied from
	on      *stage            // the stage whose files are in the root
	chain   chain             // the cache's key so far
	entries []entry           // for the cache
}

// builtStage is a stage that is done.
type builtStage struct {
	*state
	layers []v1.Layer
	docker bool            // the media types are Docker's
	folder string          // of its files, if they are needed
	has    map[string]bool // which of systemFolders it has
}

// execute builds the image.
func (e *execution) execute() (v1.Image, error) {
	text, err := os.ReadFile(e.told.DockerfilePath)
	if err != nil {
		return nil, err
	}
	if e.recipe, err = readRecipe(text, e.told, e.options.CustomPlatform); err != nil {
		return nil, err
	}
	if err := e.recipe.need(e.recipe.target, e.triggersOf); err != nil {
		return nil, err
	}
	if e.context, err = readContext(e.told.ContextDir, e.told.DockerfilePath); err != nil {
		return nil, fmt.Errorf("reading the build context: %w", err)
	}
	if err := e.findIgnored(); err != nil {
		return nil, err
	}
	// Orphans come here, to be ended with the RUN that left them.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, err
	}
	unix.Umask(0)
	// What is in this image's own root is not in the one that is built.
	if err := e.clear(); err != nil {
		return nil, err
	}
	e.chain.link("dockline 1", e.options.CustomPlatform, fmt.Sprint(e.told.Reproducible))
	e.built, e.images = map[*stage]*builtStage{}, map[string]string{}
	for _, stage := range e.recipe.stages {
		if !stage.needed {
			continue
		}
		if err := e.build(stage); err != nil {
			return nil, err
		}
	}
	done := e.built[e.recipe.target]
	return done.image(e.told)
}

// triggersOf are the ONBUILDs of an image.
func (e *execution) triggersOf(image string) ([]string, error) {
	for _, stage := range e.recipe.stages {
		if stage.image == image && stage.needed {
			e.at.set(stage.line, "FROM") // in case that it cannot be had
			break
		}
	}
	fetched, err := e.fetch(image)
	if err != nil {
		return nil, err
	}
	file, err := fetched.ConfigFile()
	if err != nil {
		return nil, err
	}
	e.at.leave()
	return file.Config.OnBuild, nil
}

func (e *execution) fetch(image string) (v1.Image, error) {
	return remote.RetrieveRemoteImage(image, e.options.RegistryOptions, e.options.CustomPlatform)
}

// begin is a stage before its first instruction.
func (e *execution) begin(s *stage) (*builtStage, error) {
	e.chain.link("FROM", strconv.Itoa(s.index))
	if s.base != nil {
		e.chain.link("stage", strconv.Itoa(s.base.index))
		base := e.built[s.base]
		return &builtStage{
			state: base.inherit(), layers: append([]v1.Layer(nil), base.layers...), docker: base.docker, has: cloneMap(base.has),
		}, nil
	}
	begun := &builtStage{state: &state{}, has: map[string]bool{}}
	platform := strings.Split(e.options.CustomPlatform, "/")
	begun.config.Platform = ocispec.Platform{OS: platform[0], Architecture: platform[1]}
	if len(platform) > 2 {
		begun.config.Variant = platform[2]
	}
	if s.image == "" {
		begun.config.Config.WorkingDir = "/"
		begun.state = begun.inherit()
		return begun, nil
	}
	image, err := e.fetch(s.image)
	if err != nil {
		return nil, err
	}
	digest, err := image.Digest()
	if err != nil {
		return nil, err
	}
	e.chain.link("image", digest.String())
	raw, err := image.RawConfigFile()
	if err != nil {
		return nil, err
	}
	var read dockerspec.DockerOCIImage
	if err := json.Unmarshal(raw, &read); err != nil {
		return nil, fmt.Errorf("reading the configuration of %q: %w", s.image, err)
	}
	if wanted := begun.config.Platform; read.OS != wanted.OS || read.Architecture != wanted.Architecture {
		read.Platform = wanted // else with the base image's own variant
	}
	read.Created = nil
	begun.config = read
	begun.state = begun.inherit()
	if dir := begun.config.Config.WorkingDir; dir != "" {
		begun.enter(dir)
	}
	if begun.layers, err = image.Layers(); err != nil {
		return nil, err
	}
	mediaType, err := image.MediaType()
	begun.docker = mediaType == types.DockerManifestSchema2
	return begun, err
}

// build builds one stage.
func (e *execution) build(s *stage) error {
	logrus.Infof("Building stage %d", s.index)
	e.at.set(s.line, "FROM")
	b, err := e.begin(s)
	if err != nil {
		return err
	}
	e.built[s] = b
	needed := e.isSource(s)
	if needed || changesFiles(s) {
		if err := e.unpack(s, b); err != nil {
			return err
		}
	}
	var before tree
	for _, step := range s.steps {
		e.at.set(step.line, fmt.Sprint(step.Command))
		logrus.Info(step.Command)
		if before, err = e.step(b, step, before); err != nil {
			return err
		}
	}
	e.at.leave()
	if needed {
		return e.keep(s, b)
	}
	return nil
}

// changesFiles says whether a stage has more to do than to write its configuration.
func changesFiles(s *stage) bool {
	for _, step := range s.steps {
		switch step.Command.(type) {
		case *instructions.RunCommand, *instructions.CopyCommand, *instructions.AddCommand, *instructions.WorkdirCommand:
			return true
		}
	}
	return false
}

// image is the stage's, with what was asked for beside the Dockerfile.
func (b *builtStage) image(told order) (v1.Image, error) {
	config := b.config
	created := told.Created
	if created.IsZero() && !told.Reproducible {
		created = time.Now()
	}
	config.Created = &created
	if config.Config.Labels == nil {
		config.Config.Labels = map[string]string{}
	}
	for _, label := range told.Labels {
		name, value, _ := strings.Cut(label, "=")
		config.Config.Labels[name] = value
	}
	docker := b.docker && len(told.Annotations) == 0
	if told.MediaTypes != "" {
		docker = told.MediaTypes == Docker
	}
	return assemble(config, b.layers, docker, told.Annotations)
}
