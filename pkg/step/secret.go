package step

import (
	"encoding/json"

	"github.com/rs/zerolog"
)

// hidden stands for a secret's value wherever one is shown.
const hidden = "[MASKED]"

// Secret is a value that must not be shown: every way of printing it says [MASKED]. A variable X of this type may be
// given as X_FILE, the path of a file that holds it; one line end at the file's end does not count.
type Secret string

// Reveal returns the value itself.
func (s Secret) Reveal() string { return string(s) }

// String hides the value; an empty secret prints as nothing.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return hidden
}

// GoString hides the value from %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText hides the value from encoders.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON hides the value from JSON.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// MarshalZerologObject hides the value from logs.
func (s Secret) MarshalZerologObject(e *zerolog.Event) { e.Str("value", s.String()) }
