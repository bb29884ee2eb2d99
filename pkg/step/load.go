package step

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/sethvargo/go-envconfig"
)

// setting is where one variable's value came from.
type setting struct {
	Variable
	shown  string // the value, secrets masked
	origin string // "environment", "file PATH", "GitLab's CI_X", "default" or "unset"
}

// loader fills a program's configuration from an environment.
type loader struct {
	environment map[string]string // without the empty variables: empty counts as unset
	runtime     *Runtime
	settings    []setting
	warnings    []string
}

// load fills every variable and returns all problems at once.
func (l *loader) load(variables []Variable) error {
	explicit := map[string]bool{}
	for _, v := range variables {
		if v.group != "" && (l.environment[v.Name] != "" || l.environment[v.Name+"_FILE"] != "") {
			explicit[v.group] = true
		}
	}
	var problems []error
	for _, v := range variables {
		if v.Family {
			problems = append(problems, l.loadFamily(v))
			continue
		}
		value, origin, err := l.lookup(v, !explicit[v.group] || v.group == "")
		if err != nil {
			problems = append(problems, err)
			continue
		}
		problems = append(problems, l.set(v, value, origin))
	}
	l.warnings = append(l.warnings, nearMisses(l.environment, variables)...)
	return errors.Join(problems...)
}

// lookup finds a variable's value: its own, a file's, GitLab's; an empty origin means that it is unset.
func (l *loader) lookup(v Variable, gitlab bool) (value, origin string, err error) {
	value = l.environment[v.Name]
	path := ""
	if v.Secret {
		path = l.environment[v.Name+"_FILE"]
	}
	switch {
	case value != "" && path != "":
		return "", "", Problem("%s and %s_FILE are both set: set one of them", v.Name, v.Name)
	case value != "":
		return value, "environment", nil
	case path != "":
		content, err := l.runtime.readCredentials(path)
		if err != nil {
			return "", "", Problem("%s_FILE: %w", v.Name, err)
		}
		value = strings.TrimSuffix(strings.TrimSuffix(string(content), "\n"), "\r")
		if value == "" {
			return "", "", Problem("%s_FILE: the file %q is empty", v.Name, path)
		}
		return value, "file " + path, nil
	}
	if gitlab {
		for _, name := range v.GitLab {
			if value := l.environment[name]; value != "" {
				return value, "GitLab's " + name, nil
			}
		}
	}
	return "", "", nil
}

// set decodes one value into its field with go-envconfig, which also knows the default. One variable at a time,
// because go-envconfig stops at the first problem, and names the field instead of the variable.
func (l *loader) set(v Variable, value, origin string) error {
	if v.Required && value == "" {
		l.settings = append(l.settings, setting{Variable: v, origin: "missing"})
		return Problem("%s is missing", v.Name)
	}
	one := reflect.New(reflect.StructOf([]reflect.StructField{{
		Name: "Value", Type: v.value.Type(), Tag: reflect.StructTag(fmt.Sprintf("env:%q", v.tag)),
	}}))
	values := map[string]string{}
	if value != "" {
		values[v.Name] = value
	}
	if v.Secret {
		l.remember(v.Name, value)
	}
	if v.isAddress() {
		l.runtime.Mask(secretsInAddresses(value, true)...)
	}
	err := envconfig.ProcessWith(context.Background(),
		&envconfig.Config{Target: one.Interface(), Lookuper: envconfig.MapLookuper(values)})
	if err != nil {
		if v.Secret {
			return Problem("%s does not hold %s", v.Name, v.wanted())
		}
		return Problem("%s: %q is not %s", v.Name, value, v.wanted())
	}
	v.value.Set(one.Elem().Field(0))
	if origin == "" {
		origin = "unset"
		if v.Default != "" {
			value, origin = v.Default, "default"
		}
	}
	l.settings = append(l.settings, setting{Variable: v, shown: l.show(v, value), origin: origin})
	return nil
}

// loadFamily fills a map from all variables that begin with the family's name, X_FILE included.
func (l *loader) loadFamily(v Variable) error {
	prefix := strings.TrimSuffix(v.Name, "*")
	var problems []error
	names := map[string]bool{}
	for name := range l.environment {
		if rest, ok := strings.CutPrefix(name, prefix); ok && rest != "" && rest != "FILE" {
			names[strings.TrimSuffix(rest, "_FILE")] = true
		}
	}
	values := map[string]Secret{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		one := v
		one.Name = prefix + name
		value, origin, err := l.lookup(one, false)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		values[name] = Secret(value)
		l.remember(one.Name, value)
		l.settings = append(l.settings, setting{Variable: one, shown: hidden, origin: origin})
	}
	v.value.Set(reflect.ValueOf(values))
	return errors.Join(problems...)
}

func (l *loader) remember(name, value string) {
	if value == "" {
		return
	}
	if len(value) < shortestSecret {
		l.warnings = append(l.warnings, fmt.Sprintf(
			"%s has fewer than %d characters: too short to be masked in logs", name, shortestSecret))
	}
	l.runtime.Mask(value)
}

// show returns what --print-config may say of a value. A password inside an address is a secret whatever its variable.
func (l *loader) show(v Variable, value string) string {
	if v.Secret {
		return Secret(value).String()
	}
	return l.runtime.Masked(hideInAddresses(value, v.isAddress()))
}

// maskAmbient makes known the secrets that a CI system puts into every job's environment, and those in any variable
// that is called one, whether a step reads them or not.
func (l *loader) maskAmbient() {
	names := make([]string, 0, len(l.environment))
	for name := range l.environment {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value := l.environment[name]
		l.runtime.Mask(secretsInAddresses(value, strings.HasSuffix(strings.ToLower(name), "_proxy"))...)
		for _, ending := range []string{"PASSWORD", "_TOKEN", "_SECRET", "_JWT"} {
			if strings.HasSuffix(name, ending) && len(value) >= 8 {
				l.runtime.Mask(value)
			}
		}
	}
}
