package step

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table writes rows for people, their cells below one another. What a cell holds cannot make a row of its own.
type Table struct{ columns *tabwriter.Writer }

// NewTable begins a table.
func NewTable(to io.Writer) Table { return Table{tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)} }

// Row adds a row.
func (t Table) Row(cells ...string) {
	for i := range cells {
		cells[i] = cleanLine(cells[i])
	}
	fmt.Fprintln(t.columns, strings.Join(cells, "\t"))
}

// Flush writes the rows so far; those that follow have columns of their own.
func (t Table) Flush() { _ = t.columns.Flush() }
