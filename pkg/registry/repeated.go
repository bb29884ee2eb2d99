package registry

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// shortestSecret is the number of bytes below which a secret is not looked for: it would be found in innocent words.
const shortestSecret = 4

// repeated takes out of an answer's words what the server may repeat of our secrets, before they are shortened: a part of
// a secret would not be known for one again, where what is said is masked.
func repeated(answer *http.Response) *strings.Replacer {
	var secrets []string
	if body, ok := answer.Body.(*receivedBody); ok && body.secrets != nil {
		secrets = body.secrets()
	}
	if _, credential, _ := strings.Cut(answer.Request.Header.Get("Authorization"), " "); credential != "" {
		secrets = append(secrets, credential)
	}
	var forms []string
	for _, secret := range secrets {
		if len(secret) < shortestSecret {
			continue
		}
		escaped, _ := json.Marshal(secret) // a string can always be marshalled
		forms = append(forms, secret, legible(secret), url.QueryEscape(secret), strings.Trim(string(escaped), `"`))
	}
	slices.SortFunc(forms, func(a, b string) int { return len(b) - len(a) }) // one may begin with another
	var pairs []string
	for _, form := range forms {
		if form != "" {
			pairs = append(pairs, form, "[MASKED]")
		}
	}
	return strings.NewReplacer(pairs...)
}

// secrets returns what the registry or its token service may have been told by now.
func (a *authority) secrets() []string {
	all := a.keyring.secrets()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, token := range a.tokens {
		all = append(all, token.value)
	}
	return all
}

func (k *keyring) secrets() []string {
	all := k.explicit.secrets()
	for _, file := range k.files {
		for _, entry := range file.entries {
			all = append(all, entry.credentials.secrets()...)
		}
	}
	return all
}

func (c credentials) secrets() []string {
	all := []string{c.password, c.identityToken, c.registryToken}
	if c.password != "" {
		all = append(all, base64.StdEncoding.EncodeToString([]byte(c.username+":"+c.password)))
	}
	return all
}
