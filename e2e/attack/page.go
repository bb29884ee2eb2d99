package attack

import (
	"fmt"
	"slices"
	"strings"
)

// Page is the table of docs/attacks.md: of each attack and each kind of container, how it went for Dockline and for the
// control.
func Page() string {
	var out strings.Builder
	out.WriteString("| # | attack | what it does | what it would get |")
	for _, kind := range Kinds {
		fmt.Fprintf(&out, " %s |", kind)
	}
	out.WriteString("\n|" + strings.Repeat(" --- |", 4+len(Kinds)) + "\n")
	number := 0
	for _, group := range groups {
		fmt.Fprintf(&out, "| | **%s** | | |%s\n", group.Name, strings.Repeat(" |", len(Kinds)))
		for _, attack := range group.Attacks {
			number++
			what := attack.Tries
			if attack.Note != "" {
				what += " (" + attack.Note + ")"
			}
			fmt.Fprintf(&out, "| %d | `%s` | %s | %s |", number, attack.Name, what, attack.Gets)
			for _, kind := range Kinds {
				fmt.Fprintf(&out, " %s |", attack.cell(kind))
			}
			out.WriteString("\n")
		}
	}
	return out.String()
}

func (a Attack) cell(kind Kind) string {
	switch {
	case !slices.Contains(a.Kinds, kind):
		return "–"
	case kind == Privileged:
		return "refused / succeeds"
	}
	return "fails / succeeds"
}
