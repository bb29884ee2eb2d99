package kaniko

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	"github.com/moby/sys/signal"
)

// state is what the instructions of a stage have made so far, but for the files.
type state struct {
	config    dockerspec.DockerOCIImage
	variables variables // ENV and ARG
	cmdIsOwn  bool      // CMD was set in this stage
}

// defaultPath is the PATH of an image that has none.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// configure executes an instruction that changes the configuration alone. It is false for one that is none.
func (s *state) configure(command instructions.Command, r *recipe) (bool, error) {
	config := &s.config.Config
	switch c := command.(type) {
	case *instructions.ArgCommand:
		return true, s.declare(c, r)
	case *instructions.EnvCommand:
		for _, pair := range c.Env {
			s.variables[pair.Key] = pair.Value
			config.Env = setVariable(config.Env, pair.Key, pair.Value)
		}
	case *instructions.LabelCommand:
		if config.Labels == nil {
			config.Labels = map[string]string{}
		}
		for _, pair := range c.Labels {
			config.Labels[pair.Key] = pair.Value
		}
	case *instructions.MaintainerCommand:
		s.config.Author = c.Maintainer
	case *instructions.OnbuildCommand:
		config.OnBuild = append(config.OnBuild, c.Expression)
	case *instructions.CmdCommand:
		config.Cmd, config.ArgsEscaped, s.cmdIsOwn = s.words(c.ShellDependantCmdLine), true, true //nolint:staticcheck // deprecated, and set by BuildKit all the same
	case *instructions.EntrypointCommand:
		config.Entrypoint = s.words(c.ShellDependantCmdLine)
		if !s.cmdIsOwn {
			config.Cmd = nil
		}
	case *instructions.ShellCommand:
		config.Shell = c.Shell
	case *instructions.UserCommand:
		config.User = c.User
	case *instructions.HealthCheckCommand:
		config.Healthcheck = c.Health
	case *instructions.StopSignalCommand:
		if _, err := signal.ParseSignal(c.Signal); err != nil {
			return true, err
		}
		config.StopSignal = c.Signal
	case *instructions.VolumeCommand:
		if config.Volumes == nil {
			config.Volumes = map[string]struct{}{}
		}
		for _, volume := range c.Volumes {
			if volume == "" {
				return true, fmt.Errorf("a volume has no path")
			}
			config.Volumes[volume] = struct{}{}
		}
	case *instructions.ExposeCommand:
		return true, s.expose(c, r)
	default:
		return false, nil
	}
	return true, nil
}

// words is a command as it is executed: the shell form by the shell.
func (s *state) words(c instructions.ShellDependantCmdLine) []string {
	if !c.PrependShell {
		return c.CmdLine
	}
	return append(s.shell(), strings.Join(c.CmdLine, " "))
}

func (s *state) shell() []string {
	if len(s.config.Config.Shell) > 0 {
		return slices.Clone(s.config.Config.Shell)
	}
	return []string{"/bin/sh", "-c"}
}

// declare executes ARG. A build argument goes before the default, and that before what was declared before the first FROM.
func (s *state) declare(c *instructions.ArgCommand, r *recipe) error {
	for _, argument := range c.Args {
		given, isGiven := r.buildArgs[argument.Key]
		switch global, isGlobal := r.globals[argument.Key]; {
		case isGiven:
			s.variables[argument.Key] = given
		case argument.Value != nil:
			value, err := r.expand(*argument.Value, s.variables)
			if err != nil {
				return err
			}
			s.variables[argument.Key] = value
		case isGlobal:
			s.variables[argument.Key] = global
		}
	}
	return nil
}

// expose executes EXPOSE, whose words may be several ports, or ranges of them, after expansion.
func (s *state) expose(c *instructions.ExposeCommand, r *recipe) error {
	config := &s.config.Config
	if config.ExposedPorts == nil {
		config.ExposedPorts = map[string]struct{}{}
	}
	for _, word := range c.Ports {
		ports, err := r.lex.ProcessWords(word, s.variables)
		if err != nil {
			return err
		}
		for _, port := range ports {
			numbers, protocol, hasProtocol := strings.Cut(port[strings.LastIndexByte(port, ':')+1:], "/")
			protocol = strings.ToLower(protocol)
			if !hasProtocol {
				protocol = "tcp"
			}
			if !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
				return fmt.Errorf("%q is no port: the protocol is none of tcp, udp, sctp", port)
			}
			first, last, isRange := strings.Cut(numbers, "-")
			if !isRange {
				last = first
			}
			from, err := strconv.ParseUint(first, 10, 16)
			if err != nil {
				return fmt.Errorf("%q is no port", port)
			}
			to, err := strconv.ParseUint(last, 10, 16)
			if err != nil || to < from {
				return fmt.Errorf("%q is no port", port)
			}
			for number := from; number <= to; number++ {
				config.ExposedPorts[strconv.FormatUint(number, 10)+"/"+protocol] = struct{}{}
			}
		}
	}
	return nil
}

// enter changes the working directory.
func (s *state) enter(dir string) string {
	if !path.IsAbs(dir) {
		dir = path.Join("/", s.config.Config.WorkingDir, dir)
	}
	s.config.Config.WorkingDir = path.Clean(dir)
	return s.config.Config.WorkingDir
}

// absolute is a path as seen from the working directory; a "/" or "/." at its end stays, since it says "a folder".
func (s *state) absolute(name string) string {
	out := path.Clean(name)
	if !path.IsAbs(name) {
		out = path.Join("/", s.config.Config.WorkingDir, name)
	}
	if out != "/" && (strings.HasSuffix(name, "/") || strings.HasSuffix(name, "/.") || name == ".") {
		out += "/"
	}
	return out
}

// inherit is the state at the beginning of a stage that is built on this one.
func (s *state) inherit() *state {
	out := &state{config: s.config, variables: variables{}}
	config := &out.config.Config
	config.Env, config.OnBuild, config.Shell = slices.Clone(config.Env), nil, slices.Clone(config.Shell)
	config.Cmd, config.Entrypoint = slices.Clone(config.Cmd), slices.Clone(config.Entrypoint)
	config.Labels, config.Volumes = cloneMap(config.Labels), cloneMap(config.Volumes)
	config.ExposedPorts = cloneMap(config.ExposedPorts)
	out.config.History = slices.Clone(out.config.History)
	for name, value := range s.variables {
		out.variables[name] = value
	}
	if !slices.ContainsFunc(config.Env, func(pair string) bool { return strings.HasPrefix(pair, "PATH=") }) {
		config.Env = append(config.Env, "PATH="+defaultPath)
	}
	for _, pair := range config.Env {
		name, value, _ := strings.Cut(pair, "=")
		out.variables[name] = value // before an ARG of the stage that it is built on
	}
	return out
}

func cloneMap[V any](from map[string]V) map[string]V {
	if from == nil {
		return nil
	}
	to := map[string]V{}
	for key, value := range from {
		to[key] = value
	}
	return to
}

// setVariable replaces a variable where it is, or adds it at the end.
func setVariable(environment []string, name, value string) []string {
	for i, pair := range environment {
		if strings.HasPrefix(pair, name+"=") {
			environment[i] = name + "=" + value
			return environment
		}
	}
	return append(environment, name+"="+value)
}
