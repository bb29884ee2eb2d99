package registry

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
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
	tokens    map[string]*bearer // by scopes, the request's own repository first
}

// bearer is one token, which is asked for by one request at a time: many that find it expired wait for the same new one.
type bearer struct {
	turn chan struct{} // holds one while somebody asks for the token

	value   string // this and the next are under authority.mu
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
	value, err := a.token(ctx, c, asked, own, scopes)
	if err != nil {
		return "", err
	}
	return "Bearer " + value, nil
}

// learn takes in an answer 401 to a request with that Authorization, and tells whether the request is worth repeating
// with another one. A token that has been renewed since the request was sent stays.
func (a *authority) learn(answer http.Header, sent string, scopes []scope) bool {
	found := usable(answer)
	if found == nil || len(scopes) == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.challenge = found
	if known := a.tokens[scopesText(scopes, " ")]; known != nil && sent == "Bearer "+known.value {
		known.expires = time.Time{}
	}
	return found.scheme == "bearer" || !a.keyring.find(scopes[0].repository).anonymous()
}

// token returns the token for the scopes: the one that is known, while it lasts, else a new one.
func (a *authority) token(
	ctx context.Context, c *client, asked *challenge, own credentials, scopes []scope,
) (string, error) {
	known, value := a.known(scopes)
	if value != "" {
		return value, nil
	}
	select {
	case known.turn <- struct{}{}:
		defer func() { <-known.turn }()
	case <-ctx.Done():
		return "", fmt.Errorf("logging in to %q: %w", a.host, ctx.Err())
	}
	if _, value := a.known(scopes); value != "" { // another request has got it meanwhile
		return value, nil
	}
	fresh, life, err := a.exchange(ctx, c, asked, own, scopes)
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	known.value, known.expires = fresh, life
	return fresh, nil
}

// known returns the place of the token for the scopes, and its value unless there is none or it has expired.
func (a *authority) known(scopes []scope) (*bearer, string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	key := scopesText(scopes, " ")
	known := a.tokens[key]
	if known == nil {
		known = &bearer{turn: make(chan struct{}, 1)}
		if a.tokens == nil {
			a.tokens = map[string]*bearer{}
		}
		a.tokens[key] = known
	}
	if !time.Now().Before(known.expires) {
		return known, ""
	}
	return known, known.value
}

// exchange gets a token from the token service, and until when to use it. It goes there with the registry's credentials, since the protocol has it
// so, but never over plain http when the registry itself is spoken to in https.
func (a *authority) exchange(
	ctx context.Context, c *client, asked *challenge, own credentials, scopes []scope,
) (token string, expires time.Time, err error) {
	realm, err := url.Parse(asked.params["realm"])
	if err != nil || realm.Host == "" {
		return "", time.Time{}, fault.New(fault.Denied, "logging in to %q: its token service has no usable address", a.host)
	}
	if realm.Scheme != "https" && (realm.Scheme != "http" || !c.plain.Load()) {
		return "", time.Time{}, fault.New(fault.Denied,
			"logging in to %q: its token service %q is not spoken to in https, and would get the password in the clear",
			a.host, realm.Scheme+"://"+realm.Host)
	}
	request, err := tokenRequest(ctx, realm, asked.params["service"], own, scopes)
	if err != nil {
		return "", time.Time{}, fault.New(fault.Unexpected, "logging in to %q: %w", a.host, err)
	}
	request.Header.Set("User-Agent", c.agent)
	asking := time.Now()
	answer, err := c.exchange(request)
	if err != nil {
		return "", time.Time{}, loginError(realm.Host, err)
	}
	if isRedirect(answer.StatusCode) {
		discard(answer)
		return "", time.Time{}, fault.WithHint(loginError(realm.Host, notARegistry("it redirects, and no password is taken elsewhere")),
			"a log-in page or a proxy may stand before the token service: ask for its address at the registry")
	}
	if answer.StatusCode != http.StatusOK {
		return "", time.Time{}, loginError(realm.Host, failure(answer))
	}
	body, err := io.ReadAll(io.LimitReader(whole(answer), 1<<20))
	discard(answer)
	if err != nil {
		return "", time.Time{}, loginError(realm.Host, err)
	}
	var content struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &content); err != nil || content.Token+content.AccessToken == "" {
		return "", time.Time{}, fault.New(fault.Unavailable, "logging in at %q: its answer holds no token", realm.Host)
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
	return content.Token, asking.Add(life * 4 / 5), nil
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
