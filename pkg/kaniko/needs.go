package kaniko

import (
	"strings"

	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

// need is a capability that builds use, and what it is for.
type need struct {
	capability uint64
	name       string
}

// needed are those without which no base image can be unpacked: its files have owners, and modes that root itself must
// get past. OpenShift's restricted and restricted-v2 SecurityContextConstraints drop them all; anyuid leaves them.
var needed = []need{{unix.CAP_CHOWN, "CHOWN"}, {unix.CAP_DAC_OVERRIDE, "DAC_OVERRIDE"}, {unix.CAP_FOWNER, "FOWNER"}}

// wanted are those that many Dockerfiles cannot do without.
var wanted = []need{{unix.CAP_SETUID, "SETUID"}, {unix.CAP_SETGID, "SETGID"}}

// checkCapabilities refuses a build where a needed capability is missing, and names the fix.
func checkCapabilities(have uint64) error {
	missing := lacking(have, needed)
	if len(missing) == 0 {
		return nil
	}
	return fault.WithHint(
		fault.New(fault.Denied, "building needs the capabilities %s, which this container lacks", strings.Join(missing, ", ")),
		"add them (securityContext.capabilities.add: ["+strings.Join(missing, ", ")+
			"]); on OpenShift the restricted SecurityContextConstraints drop them, and anyuid does not")
}

// capabilityWarning tells what a Dockerfile cannot do here.
func capabilityWarning(have uint64) string {
	missing := lacking(have, wanted)
	if len(missing) == 0 {
		return ""
	}
	return "without the capabilities " + strings.Join(missing, ", ") + " USER, and programs in RUN that change their user, such as apt, will not work"
}

func lacking(have uint64, of []need) []string {
	var missing []string
	for _, one := range of {
		if have&(1<<one.capability) == 0 {
			missing = append(missing, one.name)
		}
	}
	return missing
}
