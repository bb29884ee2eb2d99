package registry

import (
	"net/http"
	"strings"
)

// challenge is one scheme of a WWW-Authenticate header: what the registry wants to see before it answers.
type challenge struct {
	scheme string            // lower case: "basic", "bearer"
	params map[string]string // keys in lower case: realm, service, scope, error
}

// usable returns the challenge to answer: Bearer before Basic, nil when there is neither.
func usable(header http.Header) *challenge {
	var basic *challenge
	for _, value := range header.Values("WWW-Authenticate") {
		for _, found := range parseChallenges(value) {
			switch {
			case found.scheme == "bearer" && found.params["realm"] != "":
				return &found
			case found.scheme == "basic" && basic == nil:
				basic = &found
			}
		}
	}
	return basic
}

// parseChallenges reads a WWW-Authenticate value (RFC 9110, section 11.6.1): schemes and parameters, both separated by
// commas. What it does not understand it leaves out.
func parseChallenges(value string) []challenge {
	var all []challenge
	for value != "" {
		var word string
		value = strings.TrimLeft(value, " \t,")
		word, value = token(value)
		if word == "" {
			return all
		}
		after := strings.TrimLeft(value, " \t")
		if !strings.HasPrefix(after, "=") {
			all = append(all, challenge{scheme: strings.ToLower(word), params: map[string]string{}})
			continue
		}
		var content string
		content, value = parameter(strings.TrimLeft(after[1:], " \t"))
		if len(all) > 0 {
			all[len(all)-1].params[strings.ToLower(word)] = content
		}
	}
	return all
}

func token(text string) (word, rest string) {
	end := strings.IndexAny(text, " \t,=\"")
	if end < 0 {
		return text, ""
	}
	return text[:end], text[end:]
}

func parameter(text string) (content, rest string) {
	if !strings.HasPrefix(text, `"`) {
		return token(text)
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			i++
			b.WriteByte(text[i])
		case c == '"':
			return b.String(), text[i+1:]
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}
