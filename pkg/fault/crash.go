package fault

import (
	"fmt"
	"runtime/debug"
)

// Crash is a panic that became an error.
type Crash struct {
	Value any
	Stack []byte // of the goroutine that crashed
}

// Error says what the panic said.
func (c *Crash) Error() string { return fmt.Sprintf("crashed: %v", c.Value) }

// Catch turns a panic into *err, a Crash of the kind Unexpected, for the goroutine's waiter to return. Every goroutine
// that is started defers it: a panic that nobody recovers ends the process with status 2, which says "configuration",
// and prints what has not been masked.
//
// A goroutine that a library starts by itself is out of reach. Only a second process above this one could make its 2 a 1
// (debug.SetTraceback("crash") ends in SIGABRT, but not as the first process of a container, and with a dump of memory),
// and that would stand between the step and its signals, for what no run has shown yet; the README says what is seen.
//
//	group.Go(func() (err error) {
//		defer fault.Catch(&err)
//		...
//	})
func Catch(err *error) {
	if value := recover(); value != nil {
		*err = New(Unexpected, "%w", &Crash{Value: value, Stack: debug.Stack()})
	}
}
