package record_test

import (
	"strings"
	"testing"
	"time"

	"dockline/pkg/fault"
	"dockline/pkg/record"
)

func TestVerified(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	signed := func(verdict string, ago time.Duration) record.Signed {
		return record.Signed{Record: verification(digestOf("a"), verdict, noon.Add(-ago)), Key: "known"}
	}
	with := func(one record.Signed, change func(*record.Signed)) record.Signed {
		change(&one)
		return one
	}
	right, wrong, left := record.Right, record.Wrong, record.Left
	since := func(one record.Signed, ago time.Duration) record.Signed {
		one.Verification.Since = noon.Add(-ago)
		return one
	}
	for _, row := range []struct {
		description string
		records     []record.Signed
		soak        time.Duration
		says        string // empty means that the gate opens
	}{
		{"no records", nil, 0, "it has no record"},
		{"right", []record.Signed{signed(right, time.Hour)}, 0, ""},
		{"wrong", []record.Signed{signed(wrong, time.Hour)}, 0, "found wrong since 2026-05-04T11:00:00Z"},
		{"right after wrong", []record.Signed{signed(wrong, 2*time.Hour), signed(right, time.Hour)}, 0, ""},
		{"wrong after right, in whichever order", []record.Signed{signed(wrong, time.Hour), signed(right, 2*time.Hour)}, 0, "found wrong"},
		{"both in one second", []record.Signed{signed(wrong, time.Hour), signed(right, time.Hour)}, 0, "found wrong"},
		{"not signed", []record.Signed{with(signed(right, time.Hour), func(s *record.Signed) { s.Key = "" })}, 0, "none of its 1 records"},
		{"wrong, not signed", []record.Signed{signed(right, time.Hour),
			with(signed(wrong, time.Minute), func(s *record.Signed) { s.Key = "" })}, 0, ""},
		{"another environment", []record.Signed{with(signed(right, time.Hour),
			func(s *record.Signed) { s.Verification.Environment = "dev" })}, 0, "none of its 1 records"},
		{"another image", []record.Signed{with(signed(right, time.Hour), func(s *record.Signed) { s.Image = "deepsky/other" })}, 0, "none of its 1 records"},
		{"a promotion", []record.Signed{{Record: promoted(digestOf("a"), record.Copied, noon), Key: "known"}}, 0, "none of its 1 records"},
		{"a clock that is a little ahead", []record.Signed{signed(right, -30*time.Second)}, 0, ""},
		{"a little ahead, with a soak", []record.Signed{signed(right, -30*time.Second)}, time.Second, "for 0s; 1s are wanted"},
		{"in the future", []record.Signed{signed(right, time.Hour), signed(right, -time.Hour)}, 0, "2026-05-04T13:00:00Z, which is in the future"},
		{"in the future, not signed", []record.Signed{signed(right, time.Hour),
			with(signed(right, -time.Hour), func(s *record.Signed) { s.Key = "" })}, 0, ""},
		{"soaked", []record.Signed{signed(right, day)}, day, ""},
		{"not soaked", []record.Signed{signed(right, day-time.Second)}, day, "for 23h59m59s; 24h0m0s are wanted"},
		{"soaked from the first", []record.Signed{signed(right, day), signed(right, time.Hour)}, day, ""},
		{"the soak was interrupted", []record.Signed{signed(right, 3*day), signed(wrong, 2*day), signed(right, time.Hour)}, day,
			"right since 2026-05-04T11:00:00Z, for 1h0m0s"},
		{"left, never verified", []record.Signed{signed(left, time.Hour)}, 0, "none of its 1 records"},
		{"left", []record.Signed{signed(right, 3*day), signed(left, time.Hour)}, 2 * day, ""},
		{"left too early", []record.Signed{signed(right, 3*day), since(signed(left, time.Hour), 3*day-time.Minute)}, day,
			"until it was replaced, for 1m0s"},
		{"left at a time that is not yet", []record.Signed{signed(right, 3*day), since(signed(left, 2*day), -day)}, 2 * day, "for 24h0m0s"},
		{"left and back again", []record.Signed{signed(right, 3*day), signed(left, 2*day), signed(right, time.Hour)}, day, "for 1h0m0s"},
		{"left while it was wrong", []record.Signed{signed(wrong, 3*day), signed(left, 2*day)}, 0, "found wrong"},
		{"wrong and left in one second", []record.Signed{signed(right, 3*day), signed(wrong, day), signed(left, day)}, 0, "found wrong"},
		{"pointed at it anew", []record.Signed{since(signed(right, 3*day), 3*day), since(signed(right, time.Hour), 2*time.Hour)}, day, "for 1h0m0s"},
		{"pointed at it before", []record.Signed{since(signed(right, 3*day), 4*day), since(signed(right, time.Hour), 4*day)}, day, ""},
		{"interrupted before it", []record.Signed{signed(wrong, 3*day), signed(right, 2*day), signed(right, time.Hour)}, day, ""},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			err := record.Verified(row.records, hello, staging, row.soak, noon)
			switch {
			case row.says == "" && err != nil:
				t.Errorf("the gate is closed: %v", err)
			case row.says != "" && (fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), row.says)):
				t.Errorf("%v; %q is wanted", err, row.says)
			}
		})
	}
}

func TestLastForced(t *testing.T) {
	t.Parallel()
	const to = "registry.example/" + hello + ":1.0"
	signed := func(kind string, ago time.Duration) record.Signed {
		return record.Signed{Record: promoted(digestOf("a"), kind, noon.Add(-ago)), Key: "known"}
	}
	unsigned := func(one record.Signed) record.Signed { one.Key = ""; return one }
	elsewhere := signed(record.Forced, time.Minute)
	elsewhere.Promotion.To = "registry.example/" + hello + ":2.0"
	later := signed(record.Undone, -time.Hour)
	later.Promotion.To = elsewhere.Promotion.To
	for _, row := range []struct {
		description string
		records     []record.Signed
		signedOnly  bool
		says        string
	}{
		{"forced", []record.Signed{signed(record.Copied, time.Hour), signed(record.Forced, time.Minute)}, true, ""},
		{"nobody signed it", []record.Signed{unsigned(signed(record.Forced, time.Minute))}, false, ""},
		{"nobody signed it, which is wanted", []record.Signed{unsigned(signed(record.Forced, time.Minute))}, true, "none is signed"},
		{"an unsigned one later", []record.Signed{signed(record.Copied, time.Hour), unsigned(signed(record.Forced, time.Minute))}, true, "replaced nothing (copied)"},
		{"of another tag", []record.Signed{elsewhere}, false, "there is none about"},
		{"copied since", []record.Signed{signed(record.Forced, time.Hour), signed(record.Copied, time.Minute)}, true, "replaced nothing (copied)"},
		{"undone since", []record.Signed{signed(record.Undone, time.Minute), signed(record.Forced, time.Hour)}, true, "replaced nothing (undone)"},
		{"there already since", []record.Signed{signed(record.Forced, time.Hour), signed(record.Same, time.Minute)}, true, ""},
		{"there already, and then forced", []record.Signed{signed(record.Same, time.Hour), signed(record.Forced, time.Minute)}, true, ""},
		{"there already", []record.Signed{signed(record.Same, time.Minute)}, true, "replaced nothing (same)"},
		{"forced and undone in one second", []record.Signed{signed(record.Undone, time.Minute), signed(record.Forced, time.Minute-time.Millisecond)},
			true, "replaced nothing (undone)"},
		{"none", nil, false, "there is none about"},
		{"a clock that is a little ahead", []record.Signed{signed(record.Forced, -30*time.Second)}, true, ""},
		{"from the future", []record.Signed{signed(record.Forced, -time.Hour)}, true, "dated 2026-05-04T13:00:00Z, which is in the future"},
		{"undone in the future", []record.Signed{unsigned(signed(record.Undone, -time.Hour)), signed(record.Forced, time.Hour)}, false, "in the future"},
		{"undone in the future, not signed", []record.Signed{unsigned(signed(record.Undone, -time.Hour)), signed(record.Forced, time.Hour)}, true, ""},
		{"another tag's, in the future", []record.Signed{signed(record.Forced, time.Hour), later}, true, ""},
	} {
		got, err := record.LastForced(row.records, to, row.signedOnly, noon)
		switch {
		case row.says == "" && (err != nil || got.Replaced != digestOf("b").String()):
			t.Errorf("%s: %+v, %v", row.description, got, err)
		case row.says != "" && (fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), row.says)):
			t.Errorf("%s: %v; %q is wanted", row.description, err, row.says)
		}
	}
}
