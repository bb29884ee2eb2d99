package retag

import (
	"time"

	"dockline/pkg/cluster"
	"dockline/pkg/step"
	"dockline/pkg/workload"
)

// Impatient is the program with hardly any pauses, for the tests.
func Impatient() step.Program {
	program := Program()
	program.Step = &Config{
		calls: cluster.Patience{
			Attempts: 3, First: time.Millisecond, Longest: 5 * time.Millisecond, Silence: 10 * time.Second,
			Poll: 10 * time.Millisecond,
		},
		watching: workload.Patience{Poll: 10 * time.Millisecond, Failing: workload.DefaultPatience.Failing},
	}
	return program
}
