package record

import (
	"cmp"
	"slices"
	"time"

	"dockline/pkg/fault"
)

// clockSkew is how far the clocks of the machine that wrote a record and of this one may differ.
const clockSkew = time.Minute

// Verified says whether an environment was found to run the image, and has been so for the time soak, at the time now;
// nil means yes. Records are all that are attached to the image, of which those that a known key signed and that are
// about this image name and this environment count, and no others: see [StandingIn]. One that is dated in the future
// closes the gate, whatever it says: some clock is wrong, and with it the soak. Errors are of kind fault.Refused.
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
	switch lasted := standing.lasted(now); {
	case standing.Verdict == "" && len(records) > 0:
		return refuse("none of its %d records says so and is signed by a key that is known here", len(records))
	case standing.Verdict == "":
		return refuse("it has no record")
	case standing.Verdict == Wrong:
		return refuse("it has been found wrong since %s", since)
	case lasted < soak && standing.Verdict == Left:
		return refuse("it was right from %s until it was replaced, for %s; %s are wanted", since, lasted, soak)
	case lasted < soak:
		return refuse("it has been right since %s, for %s; %s are wanted", since, lasted, soak)
	}
	return nil
}

// Standing is what the records of an image and an environment come to.
type Standing struct {
	Verdict string    // of the newest; empty when there is none
	Since   time.Time // of the first Right, or the first Wrong, with nothing else in between
	Until   time.Time // when a Right came to its end that was Left; else zero
}

// lasted returns how long the image was right at a time.
func (s Standing) lasted(now time.Time) time.Duration {
	if s.Verdict == Left {
		now = s.Until
	}
	return max(now.Sub(s.Since), 0).Round(time.Second)
}

// StandingIn returns what an environment was found to be, by the records that count: those that a known key signed, that
// are about this image name, and about this environment. They are taken in the order of their times; of one second,
// Wrong comes last. A Right begins where no Right is before it, or where the environment was pointed at the image anew
// since that. It ends with Wrong, and it keeps its length with Left.
func StandingIn(records []Signed, image, environment string) Standing {
	var now Standing
	for _, one := range counted(records, image, environment) {
		switch {
		case one.Verdict == Left && now.Verdict == Right:
			now.Verdict, now.Until = Left, one.Time
			if !one.Since.IsZero() && one.Since.Before(one.Time) {
				now.Until = one.Since
			}
		case one.Verdict == Left: // of something that was not right
		case one.Verdict != now.Verdict, one.Verdict == Right && one.Since.After(now.Since):
			now = Standing{Verdict: one.Verdict, Since: one.Time}
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
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(order[a.Verdict], order[b.Verdict]))
	})
	return those
}

var order = map[string]int{Right: 0, Left: 1, Wrong: 2}
