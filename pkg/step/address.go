package step

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// longestName is the most characters that the name of an account has before it is taken for a token: people's and
// robots' names are no longer ("gitlab-ci-token" has 15), tokens are.
const longestName = 15

// account is the user info of an address, as it is written: NAME, or NAME:PASSWORD.
type account struct {
	scheme string // "" where the address has none, as in user:password@host/path
	text   string
}

// accountsIn finds the user infos in a text by its characters alone: an address that does not parse holds its password
// all the same. A user info lies between "://", or the start, and an "@" before the first "/".
func accountsIn(text string) []account {
	var found []account
	for field := range strings.FieldsSeq(text) {
		scheme, rest, addressed := strings.Cut(field, "://")
		if !addressed {
			found = append(found, before("", field)...)
		}
		for addressed {
			scheme = strings.ToLower(scheme[strings.LastIndexFunc(scheme, notInScheme)+1:])
			found = append(found, before(scheme, rest)...)
			scheme, rest, addressed = strings.Cut(rest, "://")
		}
	}
	return found
}

// before returns the text before the first and before the last "@" of an address that is written without its scheme:
// in a list, or with an "@" in the password, only one of them is right, and which cannot be told.
func before(scheme, rest string) []account {
	if scheme == "" && digested.MatchString(rest) {
		return nil // NAME:TAG@sha256:…, an image
	}
	authority, _, _ := strings.Cut(rest, "/")
	if _, port, found := strings.Cut(authority, ":"); scheme != "" && found && !strings.Contains(authority, "@") &&
		!strings.HasPrefix(authority, "[") && strings.Trim(port, "0123456789") != "" {
		authority = rest // no port follows: a "/" in a password
	}
	first, last := strings.Index(authority, "@"), strings.LastIndex(authority, "@")
	if first <= 0 {
		return nil
	}
	found := []account{{scheme, authority[:first]}}
	if last > first {
		found = append(found, account{scheme, authority[:last]})
	}
	return found
}

// digested is a reference to an image by its digest (OCI distribution specification, "Digests").
var digested = regexp.MustCompile(`^[^@]*@[a-z0-9+._-]+:[0-9a-fA-F]{32,}\b`)

func notInScheme(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '+' && r != '-' && r != '.'
}

// nameIsSecret tells whether the account's name is a token: where no password follows it, as Git servers take them over
// https, and where it is as long as one.
func (a account) nameIsSecret() bool {
	name, _, found := strings.Cut(a.text, ":")
	return !found && strings.HasPrefix(a.scheme, "http") || len(name) > longestName
}

// hidden returns the account as it may be shown.
func (a account) hidden() string {
	name, _, found := strings.Cut(a.text, ":")
	switch {
	case a.nameIsSecret():
		return hidden
	case found:
		return name + ":" + hidden
	}
	return name
}

// secretsInAddresses returns the secrets in the addresses that a text holds, as they are written there and unescaped:
// passwords, names that are tokens, and parameters that are called a secret's name.
func secretsInAddresses(text string) []string {
	var secrets []string
	for _, a := range accountsIn(text) {
		name, password, found := strings.Cut(a.text, ":")
		if a.nameIsSecret() && (a.scheme != "" || found) { // else it may be an e-mail address
			secrets = append(secrets, name)
		}
		secrets = append(secrets, password)
	}
	for _, parameter := range secretParameter.FindAllStringSubmatch(text, -1) {
		secrets = append(secrets, parameter[1])
	}
	for _, secret := range slices.Clone(secrets) {
		if plain, err := url.PathUnescape(secret); err == nil {
			secrets = append(secrets, plain)
		}
	}
	return secrets
}

// hideInAddresses returns a value with the secrets in its addresses hidden, the parameters' all.
func hideInAddresses(value string) string {
	found := accountsIn(value)
	slices.Reverse(found) // what reaches to the last "@" before its own beginning
	for _, a := range found {
		value = strings.ReplaceAll(value, a.text+"@", a.hidden()+"@")
	}
	if strings.Contains(value, "://") {
		value = parameter.ReplaceAllString(value, "${1}"+hidden)
	}
	return value
}

var (
	parameter       = regexp.MustCompile(`([?&][^=&#\s]*=)[^&#\s]+`)
	secretParameter = regexp.MustCompile(`(?i)[?&][^=&#\s]*(?:token|secret|password|passwd|pwd|key|sig|signature|auth|credential|jwt)=([^&#\s"',]+)`)
)
