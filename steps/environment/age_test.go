package environment_test

import (
	"testing"
	"time"

	"dockline/steps/environment"
)

func TestAge(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for age, want := range map[time.Duration]string{
		-time.Minute:     "0 seconds ago", // another machine's clock
		time.Second:      "1 second ago",
		90 * time.Second: "90 seconds ago",
		2 * time.Minute:  "2 minutes ago",
		3 * time.Hour:    "3 hours ago",
		72 * time.Hour:   "3 days ago",
	} {
		if got := environment.Age(now.Add(-age), now); got != want {
			t.Errorf("%s is %q, want %q", age, got, want)
		}
	}
	if got := environment.Age(time.Time{}, now); got != "unknown" {
		t.Errorf("no time is %q", got)
	}
}
