package record

import (
	"cmp"
	"time"

	"dockline/pkg/fault"
)

// LastForced returns the promotion by which the tag to came to hold the image that the records are attached to, if that
// replaced another image: what undoing it has to bring back. With signedOnly, records count that a known key signed, and
// no others. Errors are of kind fault.Refused.
//
// An unsigned record may be anybody's. Whoever acts on one must have another word for it: that the backup tag holds the
// very image that the record says was replaced.
func LastForced(records []Signed, to string, signedOnly bool, now time.Time) (Promotion, error) {
	last, err := Last(records, to, signedOnly, now)
	switch {
	case err != nil:
		return Promotion{}, err
	case last.Promotion.Kind != Forced || last.Promotion.Replaced == "" || last.Promotion.Backup == "":
		return Promotion{}, fault.New(fault.Refused,
			"reading the records: the last one about %q is of a promotion that replaced nothing (%s)", to, last.Promotion.Kind)
	}
	return *last.Promotion, nil
}

// Last returns the record that says how the reference came to hold the image, at the time now: the newest, of which those
// of kind Same count only where there is no other, since they say that it held the image already. Of one second, Undone
// is the newest. Errors are of kind fault.Refused: there is none, or one of those that count is dated in the future: it
// would be the newest for as long as it likes.
func Last(records []Signed, to string, signedOnly bool, now time.Time) (Signed, error) {
	var last Signed
	other := 0
	for _, one := range records {
		switch {
		case one.Promotion == nil || one.Promotion.To != to:
		case signedOnly && one.Key == "":
			other++
		case one.Promotion.Time.After(now.Add(clockSkew)):
			return Signed{}, fault.New(fault.Refused, "reading the records: one about %q is dated %s, which is in the future",
				to, one.Promotion.Time.UTC().Format(time.RFC3339))
		case last.Promotion == nil || one.newer(last):
			last = one
		}
	}
	switch {
	case last.Promotion == nil && other > 0:
		return last, fault.New(fault.Refused,
			"reading the records: of those about %q none is signed by a key that is known here (%d are not)", to, other)
	case last.Promotion == nil:
		return last, fault.New(fault.Refused, "reading the records: there is none about %q", to)
	}
	return last, nil
}

// newer tells whether it goes before other, see [Last].
func (s Signed) newer(other Signed) bool {
	if same := s.Promotion.Kind == Same; same != (other.Promotion.Kind == Same) {
		return !same
	}
	return cmp.Or(whole(s.Promotion.Time).Compare(whole(other.Promotion.Time)),
		cmp.Compare(kinds[s.Promotion.Kind], kinds[other.Promotion.Kind])) >= 0
}

// kinds has the order of records of one second: that something was undone comes last, since nothing is done then.
var kinds = map[string]int{Copied: 0, Forced: 1, Undone: 2}
