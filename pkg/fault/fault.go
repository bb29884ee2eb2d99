// Package fault gives an error a kind, a side and a hint, so that a program can end in the right exit status and a
// helpful last line, whatever went wrong below it. The packages under pkg/ return such errors; pkg/step alone turns
// them into exit statuses and words for people.
package fault

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
)

// Kind says what sort of thing went wrong. Its number is the exit status of a step that ends in it.
type Kind int

// The kinds, in the order of the exit statuses 1 to 9.
const (
	Unexpected    Kind = iota + 1 // a bug, a crash, or an answer that nobody foresaw
	Configuration                 // a variable is missing, malformed or in conflict with another
	Refused                       // a rule forbids it: the tag holds another digest, an expectation does not hold
	NotFound                      // an image, a revision, a stream, a namespace is not there
	Denied                        // authentication or permission
	Unavailable                   // unreachable, or still failing after retries
	TimedOut                      // waited for as long as was allowed
	Wrong                         // verified or rolled out, and found wrong
	BuildFailed                   // the Dockerfile or its context
)

var names = map[Kind]string{
	Unexpected: "unexpected", Configuration: "configuration", Refused: "refused", NotFound: "not found",
	Denied: "not allowed", Unavailable: "unavailable", TimedOut: "timed out", Wrong: "wrong", BuildFailed: "build failed",
}

// String returns the kind in words, such as "not found".
func (k Kind) String() string { return names[k] }

// Error is an error that a caller decides by. Its text is that of Err alone, led by Side when one is set.
type Error struct {
	Kind Kind
	Side string // which party failed: "source registry", "target registry", "Git server", "cluster"; may be empty
	Hint string // one sentence that says what to do; empty means the hint table's
	Err  error
}

// Error returns "SIDE: ERR", or ERR alone where no side is known.
func (e *Error) Error() string {
	if e.Side == "" {
		return e.Err.Error()
	}
	return e.Side + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of this kind; format and args are fmt.Errorf's, %w included.
func New(kind Kind, format string, args ...any) error {
	return &Error{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// As gives err a kind, unless it has one already. As(kind, nil) is nil.
func As(kind Kind, err error) error {
	if err == nil || hasKind(err) {
		return err
	}
	return &Error{Kind: kind, Err: err}
}

// At says on which side err arose, unless it says so already. At(side, nil) is nil.
func At(side string, err error) error {
	if err == nil || SideOf(err) != "" {
		return err
	}
	return &Error{Side: side, Err: err}
}

// WithHint adds what the reader can do about err, unless err carries a hint. WithHint(err, hint) of nil is nil.
func WithHint(err error, hint string) error {
	if err == nil || HintOf(err) != "" {
		return err
	}
	return &Error{Hint: hint, Err: err}
}

// KindOf returns the kind of the outermost error in the chain that has one, else Unexpected.
func KindOf(err error) Kind {
	kind := Unexpected
	walk(err, func(e *Error) bool {
		if e.Kind == 0 {
			return false
		}
		kind = e.Kind
		return true
	})
	return kind
}

// SideOf returns the outermost side named in the chain, else "".
func SideOf(err error) string {
	var side string
	walk(err, func(e *Error) bool { side = e.Side; return side != "" })
	return side
}

// HintOf returns the outermost hint in the chain, else "".
func HintOf(err error) string {
	var hint string
	walk(err, func(e *Error) bool { hint = e.Hint; return hint != "" })
	return hint
}

func hasKind(err error) bool {
	return walk(err, func(e *Error) bool { return e.Kind != 0 })
}

// Recover turns a panic into an error of kind Unexpected that names the function it arose in. It is deferred, with the
// address of the named result, in goroutines: what is not recovered there ends the process, in a trace that nobody masks.
func Recover(err *error) {
	if crash := recover(); crash != nil {
		*err = New(Unexpected, "crashed in %s: %v", panicking(), crash)
	}
}

// panicking names the function that called panic, or that the runtime stopped: the one before the runtime's own frames.
func panicking() string {
	callers := make([]uintptr, 32)
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers)]) // without Callers, panicking and Recover
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf("%s (%s:%d)", frame.Function, filepath.Base(frame.File), frame.Line)
		}
		if !more {
			return "an unknown function"
		}
	}
}

// walk visits the Errors of a chain from the outside in, through joined errors too, until visit returns true.
func walk(err error, visit func(*Error) bool) bool {
	for err != nil {
		if e, ok := err.(*Error); ok && visit(e) { //nolint:errorlint // the walk itself unwraps, one layer at a time
			return true
		}
		if joined, ok := err.(interface{ Unwrap() []error }); ok { //nolint:errorlint // likewise
			for _, one := range joined.Unwrap() {
				if walk(one, visit) {
					return true
				}
			}
			return false
		}
		err = errors.Unwrap(err)
	}
	return false
}
