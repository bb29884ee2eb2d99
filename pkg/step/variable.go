package step

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Variable is one environment variable that a program reads.
type Variable struct {
	Name     string
	Default  string
	Meaning  string // the field's doc comment
	Required bool
	Secret   bool     // may be given as NAME_FILE, and is masked
	Family   bool     // Name ends in *: any variable that begins so, such as BUILD_SECRET_*
	GitLab   []string // GitLab's variables that stand in for it, in order
	group    string   // GitLab's variables stand in only while none of the group is set

	value reflect.Value // the field
	tag   string        // its env tag, prefixes applied
}

// Variables returns all variables that the program reads: the step's own in the order of its struct, then the common ones.
func (p Program) Variables() []Variable {
	own, _ := p.variables(&Common{})
	return own
}

func (p Program) variables(common *Common) (all []Variable, own int) {
	docs := comments(slices.Concat(p.Shared, ownSource), p.Source)
	all = collect(reflect.ValueOf(p.Step).Elem(), "", docs, nil)
	own = len(all)
	return append(all, collect(reflect.ValueOf(common).Elem(), "", docs, nil)...), own
}

// standIn is what an embedding field's tags say of the variables of the group below it.
type standIn struct {
	group  string
	gitlab map[string][]string
}

func collect(of reflect.Value, prefix string, docs map[string]string, from *standIn) []Variable {
	var all []Variable
	structType := of.Type()
	for i := range structType.NumField() {
		field := structType.Field(i)
		tag, tagged := field.Tag.Lookup("env")
		if !field.IsExported() || (!tagged && !field.Anonymous) {
			continue
		}
		name, options, _ := strings.Cut(tag, ",")
		name = strings.TrimSpace(name)
		if field.Type.Kind() == reflect.Struct && name == "" {
			all = append(all, collect(of.Field(i), prefix+option(options, "prefix="), docs, below(field.Tag))...)
			continue
		}
		variable := Variable{
			Name:     prefix + name,
			Default:  option(options, "default="),
			Meaning:  docs[structType.Name()+"."+field.Name],
			Required: slices.Contains(trimmed(strings.Split(options, ",")), "required"),
			Secret:   isSecret(field.Type),
			Family:   strings.HasSuffix(name, "*"),
			GitLab:   trimmed(strings.Split(field.Tag.Get("ci"), ",")),
			group:    field.Tag.Get("group"),
			value:    of.Field(i),
			tag:      prefix + tag,
		}
		if from != nil {
			variable.group = from.group
			variable.GitLab = append(variable.GitLab, from.gitlab[name]...)
		}
		all = append(all, variable)
	}
	return all
}

// below reads the tags of a field that holds a shared group: group:"image" ci:"REGISTRY=CI_REGISTRY".
func below(tag reflect.StructTag) *standIn {
	if tag.Get("group") == "" && tag.Get("ci") == "" {
		return nil
	}
	from := &standIn{group: tag.Get("group"), gitlab: map[string][]string{}}
	for _, pair := range trimmed(strings.Split(tag.Get("ci"), ",")) {
		if name, gitlab, ok := strings.Cut(pair, "="); ok {
			from.gitlab[name] = append(from.gitlab[name], gitlab)
		}
	}
	return from
}

// option returns the text after name in a tag's options; a default reaches to the tag's end, as in go-envconfig.
func option(options, name string) string {
	_, rest, found := strings.Cut(options, name)
	if !found {
		return ""
	}
	if name != "default=" {
		rest, _, _ = strings.Cut(rest, ",")
	}
	return strings.TrimSpace(rest)
}

func isSecret(t reflect.Type) bool {
	return t == reflect.TypeFor[Secret]() || t == reflect.TypeFor[map[string]Secret]()
}

func trimmed(texts []string) []string {
	var all []string
	for _, text := range texts {
		if text = strings.TrimSpace(text); text != "" {
			all = append(all, text)
		}
	}
	return all
}

// isAddress tells by the variable's name whether it holds an address, such as GIT_URL or an image's.
func (v Variable) isAddress() bool {
	return slices.ContainsFunc([]string{"IMAGE", "IMAGES", "REGISTRY", "SERVER", "URL"},
		func(ending string) bool { return strings.HasSuffix(v.Name, ending) })
}

// wanted says in words what a variable of this field's type must look like.
func (v Variable) wanted() string {
	switch t := v.value.Type(); {
	case t.String() == "time.Duration":
		return "a duration such as 90s, 10m or 1h30m"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64:
		return "a whole number"
	case t.Kind() == reflect.Map:
		return "a list NAME=VALUE, separated by commas"
	default:
		return fmt.Sprintf("a %s", t)
	}
}
