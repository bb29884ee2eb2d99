package story

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// Teller prints the story and counts what held.
type Teller struct {
	Out io.Writer
	// Check checks a fact. The default is to ask it once.
	Check func(ctx context.Context, fact Fact) error

	Facts    int // that held so far
	Steps    int // that were run so far
	chapters int
	last     *Outcome // of the latest step, to be shown when something is wrong
}

// chapter tells one part of the story, and how long it took.
func (t *Teller) chapter(ctx context.Context, title string, tell func(context.Context) error) error {
	t.chapters++
	fmt.Fprintf(t.Out, "%2d  %s\n", t.chapters, title)
	started := time.Now()
	if err := tell(ctx); err != nil {
		return err
	}
	fmt.Fprintf(t.Out, "%69.1f s\n", time.Since(started).Seconds())
	return nil
}

// ran tells of a step that was run.
func (t *Teller) ran(o *Outcome) {
	t.Steps++
	t.last = o
	fmt.Fprintf(t.Out, "    %-17s %.1f s, exit status %d\n", o.Step, o.Took.Seconds(), o.Status)
}

// hold checks facts and tells them.
func (s *story) hold(ctx context.Context, facts ...Fact) error {
	for _, fact := range facts {
		if err := s.teller.check(ctx, fact); err != nil {
			return err
		}
	}
	return nil
}

func (t *Teller) check(ctx context.Context, fact Fact) error {
	check := t.Check
	if check == nil {
		check = func(ctx context.Context, fact Fact) error { return fact.Holds(ctx) }
	}
	if err := check(ctx, fact); err != nil {
		fmt.Fprintf(t.Out, "      NOT TRUE: %s: %v\n", fact.Name, err)
		if t.last != nil {
			fmt.Fprintf(t.Out, "      The latest step was %s (exit status %d):\n", t.last.Step, t.last.Status)
			t.quote(t.last.Stdout + t.last.Stderr)
		}
		return fmt.Errorf("not true: %s: %w", fact.Name, err)
	}
	t.Facts++
	fmt.Fprintf(t.Out, "      ok  %s\n", fact.Name)
	return nil
}

// quote prints what a program said.
func (t *Teller) quote(text string) {
	for line := range strings.Lines(text) {
		fmt.Fprintf(t.Out, "        | %s\n", strings.TrimRight(line, "\n"))
	}
}

// table prints what each environment runs in the end, as the servers say it.
func (t *Teller) table(ctx context.Context, world *World) error {
	table := tabwriter.NewWriter(t.Out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(table, "\nENVIRONMENT\tVERSION\tDIGEST\tPAGE\n")
	for _, environment := range []*Environment{world.Dev, world.Prod} {
		stream, err := environment.stream(ctx)
		if err != nil {
			return err
		}
		page, err := environment.Page(ctx)
		if err != nil {
			return err
		}
		_, version, _ := strings.Cut(stream.from(), ImageName+":")
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", environment.name(), version, stream.digest(), Heading(page))
	}
	return table.Flush()
}
