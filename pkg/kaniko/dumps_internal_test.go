package kaniko

import "testing"

func TestGivesDumpsBack(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]bool{
		"core\n": false,
		"|/usr/share/apport/apport -p%p -s%s -c%c -d%d -P%P -u%u -g%g -F%F -- %E\n": true,
		"|/usr/lib/systemd/systemd-coredump %P %u %g %s %t %c %h\n":                 false,
		"/var/apport/core": false,
	} {
		if got := givesDumpsBack(pattern); got != want {
			t.Errorf("%q: %v", pattern, got)
		}
	}
}
