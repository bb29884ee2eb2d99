package step

import (
	"fmt"
	"io"
	"strings"
)

// helpWidth is the width of a meaning in --help, so that a line fits a wide terminal.
const helpWidth = 96

// writeHelp writes the program's whole table of variables.
func (p Program) writeHelp(w io.Writer) {
	fmt.Fprintf(w, "%s: %s\n\n", p.Name, p.Summary)
	fmt.Fprintf(w, "It takes no arguments: environment variables configure it, and an empty one counts as unset.\n"+
		"  --help          prints this\n  --print-config  prints each variable's value and where it came from, secrets masked\n"+
		"  --version       prints the version\n\n")
	for _, v := range p.Variables() {
		fmt.Fprintf(w, "%s%s\n", v.Name, v.notes())
		for _, line := range wrap(v.Meaning, helpWidth) {
			fmt.Fprintf(w, "    %s\n", line)
		}
	}
	fmt.Fprintf(w, "\nResults: %s\n", strings.Join(p.Results, ", "))
	fmt.Fprint(w, "\nExit status: 0 done, 1 unexpected, 2 configuration, 3 refused by a rule, 4 not found, 5 not allowed, "+
		"6 unreachable,\n7 timed out waiting, 8 found wrong, 9 the build failed, 130 and 143 interrupted.\n")
}

func (v Variable) notes() string {
	var notes []string
	if v.Required {
		notes = append(notes, "required")
	}
	if v.Secret {
		notes = append(notes, "or "+v.Name+"_FILE")
	}
	if v.Default != "" {
		notes = append(notes, "default: "+v.Default)
	}
	if len(v.GitLab) > 0 {
		notes = append(notes, "in GitLab: "+strings.Join(v.GitLab, ", "))
	}
	if len(notes) == 0 {
		return ""
	}
	return " (" + strings.Join(notes, "; ") + ")"
}

func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// Reference returns the program's part of the reference in docs/, in Markdown: the same table as --help.
func (p Program) Reference() string {
	var page strings.Builder
	fmt.Fprintf(&page, "# %s\n\n%s\n\n", p.Name, sentence(p.Summary))
	page.WriteString("| variable | default | in GitLab | meaning |\n| --- | --- | --- | --- |\n")
	for _, v := range p.Variables() {
		name := "`" + v.Name + "`"
		if v.Secret {
			name += "<br>or `" + v.Name + "_FILE`"
		}
		value := ""
		switch {
		case v.Required:
			value = "required"
		case v.Default != "":
			value = "`" + v.Default + "`"
		}
		gitlab := ""
		if len(v.GitLab) > 0 {
			gitlab = "`" + strings.Join(v.GitLab, "`, `") + "`"
		}
		fmt.Fprintf(&page, "| %s | %s | %s | %s |\n", name, value, gitlab, strings.ReplaceAll(v.Meaning, "|", `\|`))
	}
	fmt.Fprintf(&page, "\nResults: `%s`.\n", strings.Join(p.Results, "`, `"))
	return page.String()
}

func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + strings.TrimSuffix(text[1:], ".") + "."
}
