package record

import (
	"cmp"
	"slices"
	"time"

	"dockline/pkg/fault"
)

// clockSkew is how far the clocks of the machine that verified and of this one may differ.
const clockSkew = time.Minute

// Verified says whether an environment was found to run the image, and has been so for the time soak, at the time now;
// nil means yes. Records are all that are attached to the image, of which those that a known key signed and that are
// about this image name and this environment count, and no others:
//
//   - the newest must be "right"; of two of one second, "wrong" counts as the newer;
//   - the soak is counted from the oldest "right" that no "wrong" follows;
//   - one that is dated in the future closes the gate, whatever it says: some clock is wrong, and with it the soak.
//
// Errors are of kind fault.Refused.
func Verified(records []Signed, image, environment string, soak time.Duration, now time.Time) error {
	refuse := func(format string, args ...any) error {
		return fault.New(fault.Refused, "asking whether %q was verified in %q: "+format, append([]any{image, environment}, args...)...)
	}
	for _, one := range counted(records, image, environment) {
		if one.Time.After(now.Add(clockSkew)) {
			return refuse("a record is dated %s, which is in the future", one.Time.UTC().Format(time.RFC3339))
		}
	}
	standing := StandingIn(records, image, environment)
	since := standing.Since.UTC().Format(time.RFC3339)
	switch age := max(now.Sub(standing.Since), 0); {
	case standing.Verdict == "" && len(records) > 0:
		return refuse("none of its %d records says so and is signed by a key that is known here", len(records))
	case standing.Verdict == "":
		return refuse("it has no record")
	case standing.Verdict != Right:
		return refuse("it has been found %s since %s", standing.Verdict, since)
	case age < soak:
		return refuse("it has been right since %s, which is %s; %s are wanted", since, age.Round(time.Second), soak)
	}
	return nil
}

// Standing is what the records come to that count.
type Standing struct {
	Verdict string    // of the newest; empty when there is none
	Since   time.Time // of the oldest that says the same, with no other in between
}

// StandingIn returns what an environment was last found to be, by the rules of Verified.
func StandingIn(records []Signed, image, environment string) Standing {
	var now Standing
	for _, one := range counted(records, image, environment) {
		if one.Verdict != now.Verdict {
			now = Standing{one.Verdict, one.Time}
		}
	}
	return now
}

// counted returns those of the records that count, the oldest first.
func counted(records []Signed, image, environment string) []Verification {
	var those []Verification
	for _, one := range records {
		if one.Verification != nil && one.Key != "" && one.Image == image && one.Verification.Environment == environment {
			those = append(those, *one.Verification)
		}
	}
	slices.SortStableFunc(those, func(a, b Verification) int {
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Verdict, b.Verdict)) // "right" before "wrong"
	})
	return those
}
