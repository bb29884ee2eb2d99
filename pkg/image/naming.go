package image

import (
	"maps"
	"regexp"
	"strings"

	"dockline/pkg/fault"
)

// NamePattern is a rule for image names, CODE/NAME without a version: text as it is, and placeholders such as {code}, each
// of which stands for lower case letters, digits and separators inside one part of the path. A placeholder that comes
// again stands for the same text: {code}/awl-{code}-{app} fits deepsky/awl-deepsky-hello, and not deepsky/awl-other-hello.
type NamePattern string

// Check says what is wrong with the pattern. Its errors are of kind fault.Configuration.
func (p NamePattern) Check() error {
	wrong := func(problem string) error {
		return fault.New(fault.Configuration, "%q is no pattern for image names: %s", short(string(p)), problem)
	}
	names := map[string]bool{}
	parts := p.parts()
	for i, part := range parts {
		switch {
		case part.placeholder != "":
			names[part.placeholder] = true
			if i > 0 && parts[i-1].placeholder != "" {
				return wrong("between two placeholders there must be text that ends the first")
			}
		case strings.ContainsAny(part.text, "{}"):
			return wrong("a placeholder is {name}, of lower case letters, digits and \"_\"")
		}
	}
	switch {
	case len(names) > mostPlaceholders:
		return wrong("it has more than six placeholders")
	case len(names) == 0 && nameProblem(string(p)) != "":
		return wrong(nameProblem(string(p)))
	}
	// With each placeholder filled in it must be a name, or no image could ever have it.
	if problem := nameProblem(placeholder.ReplaceAllString(string(p), "x")); problem != "" {
		return wrong(problem)
	}
	return nil
}

// Fit tells whether a name follows the pattern. If it does not, closest is the pattern with what the name's beginning says
// of its placeholders filled in: "deepsky/awl-deepsky-{app}".
func (p NamePattern) Fit(name string) (closest string, fits bool) {
	m := &matching{name: name, values: map[string]string{}, best: map[string]string{}}
	if m.match(p.parts(), 0) {
		return name, true
	}
	return placeholder.ReplaceAllStringFunc(string(p), func(whole string) string {
		if value, known := m.best[strings.Trim(whole, "{}")]; known {
			return value
		}
		return whole
	}), false
}

// mostPlaceholders bounds the ways in which a name is tried to be taken apart.
const mostPlaceholders = 6

var (
	placeholder = regexp.MustCompile(`\{[a-z0-9_]+\}`)
	// filling is what a placeholder stands for: one part of nameGrammar.
	filling = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*$`)
)

// part is text, or a placeholder.
type part struct{ text, placeholder string }

func (p NamePattern) parts() []part {
	var all []part
	rest := string(p)
	for rest != "" {
		at := placeholder.FindStringIndex(rest)
		if at == nil {
			return append(all, part{text: rest})
		}
		if at[0] > 0 {
			all = append(all, part{text: rest[:at[0]]})
		}
		all = append(all, part{placeholder: rest[at[0]+1 : at[1]-1]})
		rest = rest[at[1]:]
	}
	return all
}

// matching takes a name apart.
type matching struct {
	name     string
	values   map[string]string // of the placeholders so far
	best     map[string]string // likewise, where most of the name was taken
	furthest int
}

func (m *matching) match(parts []part, at int) bool {
	if at > m.furthest {
		m.furthest, m.best = at, maps.Clone(m.values)
	}
	if len(parts) == 0 {
		return at == len(m.name)
	}
	next, rest := parts[0], m.name[at:]
	text, bound := m.values[next.placeholder]
	switch {
	case next.placeholder == "":
		text = next.text
	case !bound:
		return m.fill(next.placeholder, parts[1:], at)
	}
	return strings.HasPrefix(rest, text) && m.match(parts[1:], at+len(text))
}

// fill tries what a placeholder may stand for, the longest first.
func (m *matching) fill(placeholder string, parts []part, at int) bool {
	component, _, _ := strings.Cut(m.name[at:], "/")
	for length := len(component); length > 0; length-- {
		if !filling.MatchString(component[:length]) {
			continue
		}
		m.values[placeholder] = component[:length]
		if m.match(parts, at+length) {
			return true
		}
		delete(m.values, placeholder)
	}
	return false
}
