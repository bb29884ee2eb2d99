package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"dockline/pkg/fault"
)

// authority makes the Authorization headers for one registry: none until it asks for one, then Basic, or a bearer
// token for the wanted scopes (distribution's "Token Authentication Specification").
type authority struct {
	keyring *keyring
	host    string

	mu        sync.Mutex
	challenge *challenge
	tokens    map[string]bearer        // by scopes, the request's own repository first
	asking    map[string]chan struct{} // by scopes, while a token is on its way
}

type bearer struct {
	value   string
	expires time.Time
}

// scope is what a request wants to do with a repository: "pull", or "pull,push".
type scope struct{ repository, actions string }

func (s scope) String() string { return "repository:" + s.repository + ":" + s.actions }

// header returns the Authorization header for a request with these scopes, the first being the request's own
// repository; "" when none is wanted or none can be given.
func (a *authority) header(ctx context.Context, c *client, scopes []scope) (string, error) {
	a.mu.Lock()
	asked := a.challenge
	a.mu.Unlock()
	if asked == nil || len(scopes) == 0 {
		return "", nil
	}
	own := a.keyring.find(scopes[0].repository)
	if own.registryToken != "" {
		return "Bearer " + own.registryToken, nil
	}
	if asked.scheme == "basic" {
		if own.username == "" {
			return "", nil
		}
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(own.username+":"+own.password)), nil
	}
	return a.bearer(ctx, c, asked, own, scopes)
}

// bearer returns a token for the scopes: one that is there, one that somebody else has asked for at this time, or a new
// one. Many calls start at once, and the token service is to be asked once.
func (a *authority) bearer(
	ctx context.Context, c *client, asked *challenge, own credentials, scopes []scope,
) (string, error) {
	key := scopesText(scopes, " ")
	for {
		a.mu.Lock()
		known, ok := a.tokens[key]
		if ok && time.Until(known.expires) > 0 {
			a.mu.Unlock()
			return "Bearer " + known.value, nil
		}
		other := a.asking[key]
		if other == nil {
			break
		}
		a.mu.Unlock()
		select {
		case <-other: // if it has failed, it is our turn to ask
		case <-ctx.Done():
			return "", lost(ctx, ctx.Err())
		}
	}
	if a.tokens == nil {
		a.tokens, a.asking = map[string]bearer{}, map[string]chan struct{}{}
	}
	answered := make(chan struct{})
	a.asking[key] = answered
	a.mu.Unlock()
	var fresh bearer
	defer func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if fresh.value != "" {
			a.tokens[key] = fresh
		}
		delete(a.asking, key)
		close(answered)
	}()
	fresh, err := a.exchange(ctx, c, asked, own, scopes)
	if err != nil {
		return "", err
	}
	return "Bearer " + fresh.value, nil
}

// learn takes in an answer 401, and tells whether the request is worth repeating with another header.
func (a *authority) learn(answer *http.Response, scopes []scope) bool {
	found := usable(answer.Header)
	if found == nil || len(scopes) == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.challenge = found
	// Many calls may have used a token that has run out: the first one's new token is not to be thrown away by the others.
	key := scopesText(scopes, " ")
	if answer.Request.Header.Get("Authorization") == "Bearer "+a.tokens[key].value {
		delete(a.tokens, key)
	}
	return found.scheme == "bearer" || !a.keyring.find(scopes[0].repository).anonymous()
}

// exchange gets a token from the token service. It goes there with the registry's credentials, since the protocol has it
// so, but never over plain http when the registry itself is spoken to in https.
func (a *authority) exchange(
	ctx context.Context, c *client, asked *challenge, own credentials, scopes []scope,
) (bearer, error) {
	realm, err := url.Parse(asked.params["realm"])
	if err != nil || realm.Host == "" {
		return bearer{}, fault.New(fault.Denied, "logging in to %q: its token service has no usable address", a.host)
	}
	if realm.Scheme != "https" && (realm.Scheme != "http" || spoken(c.spoken.Load()) != plain) {
		return bearer{}, fault.New(fault.Denied,
			"logging in to %q: its token service %q is not spoken to in https, and would get the password in the clear",
			a.host, realm.Scheme+"://"+realm.Host)
	}
	request, err := tokenRequest(ctx, realm, asked.params["service"], own, scopes)
	if err != nil {
		return bearer{}, fault.New(fault.Unexpected, "logging in to %q: %w", a.host, err)
	}
	request.Header.Set("User-Agent", c.agent)
	asking := time.Now()
	answer, err := c.exchange(request, false)
	if err != nil {
		return bearer{}, loginError(realm.Host, err)
	}
	if isRedirect(answer.StatusCode) {
		discard(answer)
		return bearer{}, fault.WithHint(loginError(realm.Host, notARegistry("it redirects, and no password is taken elsewhere")),
			"a log-in page or a proxy may stand before the token service: ask for its address at the registry")
	}
	if answer.StatusCode != http.StatusOK {
		return bearer{}, loginError(realm.Host, failure(answer))
	}
	body, err := io.ReadAll(io.LimitReader(whole(answer), 1<<20))
	discard(answer)
	if err != nil {
		return bearer{}, loginError(realm.Host, err)
	}
	var content struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &content); err != nil || content.Token+content.AccessToken == "" {
		return bearer{}, fault.New(fault.Unavailable, "logging in at %q: its answer holds no token", realm.Host)
	}
	if content.Token == "" {
		content.Token = content.AccessToken
	}
	if c.onSecret != nil {
		c.onSecret(content.Token)
	}
	if content.ExpiresIn <= 0 {
		content.ExpiresIn = 60 // the specification's default
	}
	// A token is renewed when a fifth of its time is left. Its time is counted by our own clock, from before it was made:
	// issued_at is of another one.
	life := time.Duration(min(content.ExpiresIn, longestToken)) * time.Second
	return bearer{value: content.Token, expires: asking.Add(life * 4 / 5)}, nil
}

// longestToken is the longest time that a token is trusted for, in seconds: a day. What says more may be an overflow.
const longestToken = 24 * 60 * 60

func tokenRequest(
	ctx context.Context, realm *url.URL, service string, own credentials, scopes []scope,
) (*http.Request, error) {
	if own.identityToken != "" { // distribution's "OAuth2 token authentication"
		form := url.Values{
			"grant_type": {"refresh_token"}, "refresh_token": {own.identityToken}, "client_id": {"dockline"},
			"service": {service}, "scope": {scopesText(scopes, " ")},
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, realm.String(), strings.NewReader(form.Encode()))
		if err == nil {
			request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		return request, err
	}
	at := *realm
	query := at.Query()
	if service != "" {
		query.Set("service", service)
	}
	for _, one := range scopes {
		query.Add("scope", one.String())
	}
	at.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err == nil && own.username != "" {
		request.SetBasicAuth(own.username, own.password)
	}
	return request, err
}

// loginError keeps the kind of err, but for two: a token service that is not there says nothing of an image, and what
// one refuses is the login.
func loginError(host string, err error) error {
	kind := fault.KindOf(err)
	switch kind {
	case fault.NotFound:
		kind = fault.Unavailable
	case fault.Refused:
		kind = fault.Denied
	}
	return fault.New(kind, "logging in at %q: %w", host, err)
}

func scopesText(scopes []scope, separator string) string {
	texts := make([]string, 0, len(scopes))
	for _, one := range scopes {
		texts = append(texts, one.String())
	}
	return strings.Join(texts, separator)
}
