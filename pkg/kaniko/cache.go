package kaniko

import (
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	confined "github.com/containerd/continuity/fs"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/osscontainertools/kaniko/pkg/image/remote"
	"github.com/sirupsen/logrus"
)

// Cache is where the layers of RUNs are kept from one build to the next: each as an image of one layer, under a tag that is
// its key. The child asks for them through the parent, which alone writes (see Image.Cached).
//
// A key stands for all that has happened in the build before: the base images by digest, every instruction of every stage
// with its variables, the content of what was copied, and the layers of the RUNs before. So an entry can hold nothing that
// a build of just that would not have made: what a hostile RUN leaves behind, in another stage or on a mount, is under a key
// that only builds with the same hostile RUN ask for.
type Cache struct {
	Repository name.Repository
	// TTL is the age from which an entry does not count. The default, zero, is no limit.
	TTL time.Duration
}

// Cached is an entry for the cache.
type Cached struct {
	Key    string // 64 hexadecimal digits
	Digest v1.Hash
	Image  *Image
}

// chain is the key so far.
type chain string

// link adds what an instruction depends on.
func (c *chain) link(parts ...string) {
	hash := sha256.New()
	for _, part := range append([]string{string(*c)}, parts...) {
		_ = binary.Write(hash, binary.BigEndian, uint64(len(part)))
		_, _ = io.WriteString(hash, part)
	}
	*c = chain(hex.EncodeToString(hash.Sum(nil)))
}

// linkStep adds an instruction, and what it reads.
func (e *execution) linkStep(s *state, step step) error {
	if e.told.CacheRepository == "" {
		return nil
	}
	config := s.config.Config
	e.chain.link(fmt.Sprint(step.Command), strings.Join(s.variables.environ(), "\x00"), config.User, config.WorkingDir, strings.Join(s.shell(), "\x00"))
	for _, from := range step.sources {
		if from.image != "" {
			image, err := e.fetch(from.image)
			if err != nil {
				return err
			}
			digest, err := image.Digest()
			if err != nil {
				return err
			}
			e.chain.link(from.image, digest.String())
		}
	}
	run, ok := step.Command.(*instructions.RunCommand)
	if !ok {
		return nil
	}
	for _, file := range run.Files { // the here-documents, which are not in its text
		e.chain.link("file", file.Name, file.Data, fmt.Sprint(file.Chomp))
	}
	for _, mount := range instructions.GetMounts(run) {
		said, err := json.Marshal(mount) // by value: what it points to is elsewhere in every run
		if err != nil {
			return err
		}
		e.chain.link(string(said))
		if mount.Type == instructions.MountTypeBind && mount.From == "" {
			content, err := e.context.digest(mount.Source)
			if err != nil {
				return err
			}
			e.chain.link(content)
		}
		if mount.Type == instructions.MountTypeSecret {
			_, given := e.told.Secrets[secretID(mount)]
			e.chain.link(fmt.Sprint(given))
		}
	}
	return nil
}

// digest stands for the files of the context below a path, but for their times.
func (c *contextFiles) digest(name string) (string, error) {
	hash := sha256.New()
	top, err := confined.RootPath(c.root, name) // as the mount follows links
	if err != nil {
		return "", err
	}
	_, _ = fmt.Fprintf(hash, "%q\n", strings.TrimPrefix(top, c.root))
	err = filepath.WalkDir(top, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(c.root, file)
		if err != nil {
			return err
		}
		if !c.has(relative) {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(hash, "%q %v %d\n", relative, info.Mode(), info.Size())
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(file)
			_, _ = fmt.Fprintf(hash, "%q\n", target)
			return err
		case 0:
			content, err := os.Open(file)
			if err != nil {
				return err
			}
			defer content.Close()
			_, err = io.Copy(hash, content)
			return err
		}
		return nil
	})
	return hex.EncodeToString(hash.Sum(nil)), ignoreAbsent(err)
}

// entry is a layer that the cache has, or is to have; nil when the RUN changed nothing.
type entry struct {
	key   string
	layer *packedLayer
}

// lookUp asks the cache for the layer of the RUN that comes next. What cannot be had is built.
func (e *execution) lookUp() (entry, bool) {
	found := entry{key: string(e.chain)}
	image, err := remote.RetrieveRemoteImage(e.told.CacheRepository+":"+found.key, e.options.RegistryOptions, e.options.CustomPlatform)
	if err != nil {
		logrus.Debugf("The cache does not have it: %v", err)
		return found, false
	}
	if err := e.take(image, &found); err != nil {
		logrus.Warnf("The cache's entry %s is not used: %v", found.key, err)
		return found, false
	}
	return found, true
}

// take reads an entry.
func (e *execution) take(image v1.Image, into *entry) error {
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	if age := time.Since(config.Created.Time); e.told.CacheTTL > 0 && age > e.told.CacheTTL {
		return fmt.Errorf("it is %s old", age.Round(time.Minute))
	}
	layers, err := image.Layers()
	if err != nil || len(layers) == 0 {
		return err
	}
	if len(layers) > 1 {
		return errors.New("it has more than one layer")
	}
	if into.layer, err = e.keepLayer(layers[0]); err != nil {
		return err
	}
	diffID, err := layers[0].DiffID()
	if err != nil {
		return err
	}
	if diffID != into.layer.diffID {
		return fmt.Errorf("its layer is %s, and not %s", into.layer.diffID, diffID)
	}
	return nil
}

// keepLayer fetches a layer once.
func (e *execution) keepLayer(from v1.Layer) (kept *packedLayer, err error) {
	kept = &packedLayer{}
	if kept.digest, err = from.Digest(); err != nil {
		return nil, err
	}
	if kept.mediaType, err = from.MediaType(); err != nil {
		return nil, err
	}
	content, err := from.Compressed() // which checks the digest
	if err != nil {
		return nil, err
	}
	defer content.Close()
	out, err := os.CreateTemp(e.work, "cached-*.tar.gz")
	if err != nil {
		return nil, err
	}
	defer out.Close()
	kept.file = out.Name()
	if kept.size, err = io.Copy(out, content); err != nil {
		return nil, err
	}
	if _, err := out.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	plain, err := gzip.NewReader(out)
	if err != nil {
		return nil, err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, plain); err != nil { //nolint:gosec // as large as a layer may be
		return nil, err
	}
	kept.diffID = sum(hash)
	return kept, nil
}

// image is an entry in the form in which a registry has it.
func (n entry) image(platform dockerspec.DockerOCIImage) (v1.Image, error) {
	now := time.Now().UTC()
	config := dockerspec.DockerOCIImage{}
	config.Platform, config.Created = platform.Platform, &now
	var layers []v1.Layer
	if n.layer != nil {
		layers = append(layers, n.layer)
	}
	return assemble(config, layers, false, nil)
}
