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
// all the same. A user info lies between "://", or the start, and an "@" before the first "/". Those after no "://" are
// found with bare set alone: in other texts than an address, "npm:react@18" is none.
func accountsIn(text string, bare bool) []account {
	var found []account
	for field := range strings.FieldsSeq(text) {
		scheme, rest, addressed := strings.Cut(field, "://")
		if !addressed && bare {
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
	authority, _, _ := strings.Cut(rest, "/")
	if _, port, found := strings.Cut(authority, ":"); scheme != "" && found && !strings.Contains(authority, "@") &&
		!strings.HasPrefix(authority, "[") && strings.Trim(port, "0123456789") != "" {
		authority = rest // no port follows: a "/" in a password
	}
	var ends []int
	for i, r := range authority {
		if r == '@' && i > 0 && !beginsWithDigest(authority[i+1:], scheme == "") {
			ends = append(ends, i)
		}
	}
	if len(ends) == 0 {
		return nil
	}
	found := []account{{scheme, authority[:ends[0]]}}
	if last := ends[len(ends)-1]; last > ends[0] {
		found = append(found, account{scheme, authority[:last]})
	}
	return found
}

// beginsWithDigest tells whether the text after an "@" is an image's digest, as in alpine:3.20@sha256:…, and no host with
// a port. What is written without a scheme may be an image, whose digest may not be whole.
func beginsWithDigest(text string, bare bool) bool {
	return digest.MatchString(text) || bare && (strings.HasPrefix(text, "sha256:") || strings.HasPrefix(text, "sha512:"))
}

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
// passwords, names that are tokens, and parameters that are called a secret's name. Bare is that of accountsIn.
func secretsInAddresses(text string, bare bool) []string {
	var secrets []string
	for _, a := range accountsIn(text, bare) {
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
func hideInAddresses(value string, bare bool) string {
	found := accountsIn(value, bare)
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
	// digest is as the image specification (descriptor.md, "Digests") has it, of 128 bits or more.
	digest          = regexp.MustCompile(`^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-f]{32}`)
	parameter       = regexp.MustCompile(`([?&][^=&#\s]*=)[^&#\s]+`)
	secretParameter = regexp.MustCompile(`(?i)[?&][^=&#\s]*(?:token|secret|password|passwd|pwd|key|sig|signature|auth|credential|jwt)=([^&#\s"',]+)`)
)
