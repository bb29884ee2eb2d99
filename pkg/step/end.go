package step

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"dockline/pkg/fault"
)

// interruption is the cause of a context that a signal ended.
type interruption struct{ signal syscall.Signal }

func (i interruption) Error() string {
	if i.signal == syscall.SIGINT {
		return "interrupted (SIGINT)"
	}
	return "terminated (SIGTERM)"
}

// ending is how a run ended, for the last line, the report and the exit status.
type ending struct {
	status int
	name   string // "done", "refused", …
	text   string // what failed, on one line
	side   string
	hint   string
}

// endingOf turns an error into the words and the number that a run ends with.
func endingOf(ctx context.Context, err error) ending {
	if err == nil {
		return ending{name: "done"}
	}
	var crash *fault.Crash
	if cause := context.Cause(ctx); errors.As(cause, &crash) && errors.Is(err, context.Canceled) {
		err = cause
	}
	var signal interruption
	if errors.As(context.Cause(ctx), &signal) && (errors.Is(err, context.Canceled) || errors.As(err, &signal)) {
		return ending{
			status: 128 + int(signal.signal), name: "interrupted", text: signal.Error(), side: fault.SideOf(err),
			hint: strings.TrimSuffix(cmp.Or(fault.HintOf(err),
				"nothing half-done is visible; start the same step again to complete the work"), "."),
		}
	}
	kind := fault.KindOf(err)
	if kind == fault.Unexpected && errors.Is(err, context.DeadlineExceeded) {
		kind = fault.TimedOut
	}
	text := oneLine(err)
	return ending{
		status: int(kind), name: kind.String(), text: text, side: fault.SideOf(err),
		hint: hintFor(kind, fault.SideOf(err), text, fault.HintOf(err)),
	}
}

// lastLine is the one that a person reads first: what failed, one hint, and the exit status.
func (e ending) lastLine(step string) string {
	line := fmt.Sprintf("%s: %s: %s", step, e.name, e.text)
	if e.hint != "" {
		line += ". Hint: " + e.hint
	}
	return line + fmt.Sprintf(" (exit status %d)", e.status)
}

// oneLine joins the lines of an error, such as the problems that errors.Join puts below one another.
func oneLine(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.TrimSuffix(strings.Join(lines, "; "), ".")
}

var terminating = []os.Signal{syscall.SIGINT, syscall.SIGTERM}
