package step

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// printConfig writes each variable's resolved value and where it came from.
func printConfig(w io.Writer, settings []setting) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range settings {
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Name, s.shown, s.origin)
	}
	return table.Flush()
}
