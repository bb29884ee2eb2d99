package fault_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"dockline/pkg/fault"
)

func TestTheOutermostSaysMost(t *testing.T) {
	t.Parallel()
	inner := fault.WithHint(fault.At("registry", fault.New(fault.NotFound, "no tag %q", "1.0")), "inner hint")
	for name, row := range map[string]struct {
		err        error
		kind       fault.Kind
		side, hint string
		text       string
	}{
		"no kind":           {errors.New("odd"), fault.Unexpected, "", "", "odd"},
		"as it was made":    {inner, fault.NotFound, "registry", "inner hint", `registry: no tag "1.0"`},
		"wrapped":           {fmt.Errorf("doing: %w", inner), fault.NotFound, "registry", "inner hint", `doing: registry: no tag "1.0"`},
		"a kind stays":      {fault.As(fault.Wrong, inner), fault.NotFound, "registry", "inner hint", `registry: no tag "1.0"`},
		"a side stays":      {fault.At("cluster", inner), fault.NotFound, "registry", "inner hint", `registry: no tag "1.0"`},
		"a hint stays":      {fault.WithHint(inner, "outer"), fault.NotFound, "registry", "inner hint", `registry: no tag "1.0"`},
		"a new kind wins":   {fault.New(fault.Wrong, "so %w", inner), fault.Wrong, "registry", "inner hint", `so registry: no tag "1.0"`},
		"among joined ones": {errors.Join(errors.New("odd"), inner), fault.NotFound, "registry", "inner hint", "odd\nregistry: no tag \"1.0\""},
		"plain gets a kind": {fault.As(fault.Denied, errors.New("odd")), fault.Denied, "", "", "odd"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if fault.KindOf(row.err) != row.kind || fault.SideOf(row.err) != row.side || fault.HintOf(row.err) != row.hint {
				t.Errorf("got %v, %q, %q", fault.KindOf(row.err), fault.SideOf(row.err), fault.HintOf(row.err))
			}
			if row.err.Error() != row.text {
				t.Errorf("got %q", row.err)
			}
		})
	}
	if fault.As(fault.Wrong, nil) != nil || fault.At("x", nil) != nil || fault.WithHint(nil, "x") != nil {
		t.Error("an error was made of nil")
	}
}

// The number of a kind is the exit status of a program that ends in it: changing one breaks pipelines.
func TestExitStatuses(t *testing.T) {
	t.Parallel()
	for kind, status := range map[fault.Kind]int{
		fault.Unexpected: 1, fault.Configuration: 2, fault.Refused: 3, fault.NotFound: 4, fault.Denied: 5,
		fault.Unavailable: 6, fault.TimedOut: 7, fault.Wrong: 8, fault.BuildFailed: 9,
	} {
		if int(kind) != status {
			t.Errorf("%v is %d, want %d", kind, int(kind), status)
		}
	}
}

func ExampleKindOf() {
	err := fault.At("target registry", fault.New(fault.Denied, "pushing %q: 401 Unauthorized", "deepsky/hello:1.0"))
	fmt.Println(err)
	fmt.Println(fault.KindOf(err), int(fault.KindOf(err)))
	// Output:
	// target registry: pushing "deepsky/hello:1.0": 401 Unauthorized
	// not allowed 5
}

func TestRecover(t *testing.T) {
	t.Parallel()
	work := func(crash func()) (err error) {
		defer fault.Recover(&err)
		crash()
		return errors.New("it went on")
	}
	var none []int
	for text, crash := range map[string]func(){
		"index out of range": func() { none[len(none)]++ },
		"by hand":            func() { panic("by hand") },
		"it went on":         func() {},
	} {
		err := work(crash)
		if fault.KindOf(err) != fault.Unexpected || !strings.Contains(err.Error(), text) {
			t.Errorf("error is %v, want one with %q", err, text)
		}
		if text != "it went on" && !strings.Contains(err.Error(), "TestRecover") {
			t.Errorf("error is %v, want the function that crashed", err)
		}
	}
}
