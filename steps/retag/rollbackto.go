package retag

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/imagestream"
	"dockline/pkg/step"
	"dockline/steps/environment"
)

// destination is what ROLLBACK_TO says: one of the three is set.
type destination struct {
	digest  string // or its beginning
	age     time.Duration
	version string
}

// parseDestination reads ROLLBACK_TO. What could be an age (2h) or a version is an age.
func parseDestination(text string) (destination, error) {
	if strings.HasPrefix(text, "sha256:") {
		if !digestGrammar.MatchString(text) {
			return destination{}, fmt.Errorf("%q is no digest (sha256: and 12 to 64 hexadecimal digits)", text)
		}
		return destination{digest: text}, nil
	}
	if age, isAge := parseAge(text); isAge {
		if age <= 0 || age > longestAge {
			return destination{}, fmt.Errorf("%q is no age of an image", text)
		}
		return destination{age: age}, nil
	}
	if image.CheckVersion(text) != nil {
		return destination{}, fmt.Errorf("%q is neither a version, nor a digest, nor an age such as 2h or 3d", text)
	}
	return destination{version: text}, nil
}

var (
	digestGrammar = regexp.MustCompile(`^sha256:[0-9a-f]{12,64}$`)
	daysGrammar   = regexp.MustCompile(`^([0-9]+)d(.*)$`)
)

// longestAge keeps sums of days in range.
const longestAge = 100 * 365 * day

const day = 24 * time.Hour

// parseAge reads what time.ParseDuration does, and days (d) before it. A number without a unit is a version.
func parseAge(text string) (time.Duration, bool) {
	var days time.Duration
	if match := daysGrammar.FindStringSubmatch(text); match != nil {
		n, err := strconv.ParseUint(match[1], 10, 16)
		if err != nil {
			return -1, true // more days than any image is old
		}
		if days, text = time.Duration(n)*day, match[2]; text == "" {
			return days, true
		}
	}
	if strings.Trim(text, "+-0") == "" {
		return 0, false
	}
	rest, err := time.ParseDuration(text)
	return days + rest, err == nil
}

// checkRollbackTo returns what is wrong with ROLLBACK_TO.
func (c *Config) checkRollbackTo() error {
	if c.RollbackTo == "" {
		return nil
	}
	if !c.Rollback {
		return step.Problem("ROLLBACK_TO needs ROLLBACK=true")
	}
	if c.Digest != "" {
		return step.Problem("DIGEST and ROLLBACK_TO are both set: set one of them")
	}
	if _, err := parseDestination(c.RollbackTo); err != nil {
		return step.Problem("ROLLBACK_TO: %w", err)
	}
	return nil
}

// aimTo finds the image that ROLLBACK_TO means. Where the tag means it already, nothing is to be done.
func (r *run) aimTo() (goal, error) {
	to, err := parseDestination(r.RollbackTo)
	if err != nil {
		return goal{}, err
	}
	found := to.in(r.before, time.Now())
	now := r.before.Digest()
	switch {
	case len(found) == 0 && to.age > 0:
		return goal{}, r.notInHistory("no image that is so old: " + r.RollbackTo)
	case len(found) == 0:
		return goal{}, r.notInHistory("no image " + r.RollbackTo)
	case len(found) > 1 && to.digest != "":
		return goal{}, fault.WithHint(fault.New(fault.Configuration, "rolling back %s: ROLLBACK_TO=%s is the beginning of %s",
			r.Name, r.RollbackTo, strings.Join(found, " and of ")), "Give the whole digest.")
	case len(found) > 1:
		r.rt.Log.Info().Str("digest", found[0]).Msgf(
			"%d images of the history were %s: taking the newest that the tag does not mean now", len(found), to.version)
	}
	digest := found[0]
	if digest == now && r.before.Settled() && r.before.Failure == nil {
		r.rt.Log.Info().Str("digest", now).Msgf("the tag means %s already", r.RollbackTo)
		return goal{digest: now, change: imagestream.Change{From: r.before.From}}, nil
	}
	r.endSchedule()
	return goal{digest: digest, change: r.back(digest, now)}, nil
}

// in returns the images of the tag's history that are meant, the one to take first. Of a tag that was rolled back already
// it is the present image, unless another one was named: the same job started again would else go further back, or, by
// an age, forward to the bad image.
func (to destination) in(tag imagestream.Tag, now time.Time) []string {
	var found []string
	if to.age > 0 {
		if rolledBack(tag) {
			return []string{tag.Digest()}
		}
		for _, item := range tag.History {
			if !item.Created.IsZero() && !item.Created.After(now.Add(-to.age)) {
				return []string{item.Digest}
			}
		}
		return nil
	}
	versions := versionsOf(tag)
	for _, item := range tag.History {
		meant := to.digest != "" && strings.HasPrefix(item.Digest, to.digest) ||
			to.version != "" && slices.Contains(versions[item.Digest], to.version)
		if meant && !slices.Contains(found, item.Digest) {
			found = append(found, item.Digest)
		}
	}
	if to.version == "" || len(found) < 2 || found[0] != tag.Digest() {
		return found
	}
	if rolledBack(tag) {
		return found[:1]
	}
	return append(found[1:], found[0])
}

// rolledBack tells whether the tag is where a rollback has put it.
func rolledBack(tag imagestream.Tag) bool {
	return tag.Annotations[rolledBackFrom] != "" && tag.From.Kind == imagestream.ImageStreamImage
}

// notInHistory is the error of a rollback to what the history does not have. It says what it has.
func (r *run) notInHistory(what string) error {
	return fault.WithHint(fault.At(cluster.Side, fault.New(fault.NotFound,
		"rolling back %s: its history has %s. %s", r.Name, what, history(r.before, time.Now()))),
		"Name an image of the history with ROLLBACK_TO: by its version, its digest or an age.")
}

// history lists the images of the tag, the newest first.
func history(tag imagestream.Tag, now time.Time) string {
	if len(tag.History) == 0 {
		return "It is empty"
	}
	versions := versionsOf(tag)
	var items []string
	for i, item := range tag.History {
		if i == mostListed {
			items = append(items, fmt.Sprintf("%d older ones", len(tag.History)-i))
			break
		}
		reference, version, _ := image.SplitReference(item.Reference)
		if known := versions[item.Digest]; version == "" && len(known) > 0 {
			version = strings.Join(known, ",")
		}
		if version != "" {
			reference += ":" + version
		}
		items = append(items, fmt.Sprintf("%s (%s, %s)", environment.Short(item.Digest), environment.Age(item.Created, now), reference))
	}
	return "It has " + strings.Join(items, "; ")
}

// mostListed keeps an error readable.
const mostListed = 10
