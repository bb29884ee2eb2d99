package git

import (
	"net"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"

	"dockline/pkg/fault"
)

// address is a repository's address after checking: it holds no password.
type address struct {
	url    string // as go-git takes it
	scheme string // "https", "http", "ssh" or "file"
	host   string // lower case, with the port when it is not the scheme's own; "" for a local path
	user   string // of an ssh URL
}

// CheckURL says whether a URL can be cloned from, without a look at the network. The error's kind is Configuration,
// and its text shows no password.
func CheckURL(raw string, allowLocal bool) error {
	_, err := parseAddress(raw, allowLocal)
	return err
}

var (
	// scpLike is Git's short form of an ssh address, "git@host:path". A slash before the colon makes it a path.
	scpLike = regexp.MustCompile(`^(?:([^@/:\s]+)@)?([^/:@\s]+):([^:].*)$`)
	// remoteHelper is the form by which git would run a program: "ext::sh -c …".
	remoteHelper = regexp.MustCompile(`^[A-Za-z0-9+.-]+::`)
	// notAHost is what stands before the colon when "://" was mistyped, or forgotten before "oauth2:TOKEN@HOST/PATH".
	notAHost     = regexp.MustCompile(`(?i)^(https?|ssh|git|file|` + TokenUser + `)$`)
	defaultPorts = map[string]string{"https": "443", "http": "80", "ssh": "22"}
)

func parseAddress(raw string, allowLocal bool) (address, error) {
	refuse := func(why string) (address, error) {
		return address{}, fault.New(fault.Configuration, "reading the Git URL %q: %s", redactRefused(raw), why)
	}
	switch {
	case raw == "":
		return refuse("it is empty")
	case strings.HasPrefix(raw, "-"):
		return refuse("it begins with a dash")
	case strings.ContainsFunc(raw, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return refuse("it holds a blank or a control character")
	case remoteHelper.MatchString(raw):
		return refuse("remote helpers are not supported")
	case strings.Contains(raw, "://"):
		return parseURL(raw, allowLocal, refuse)
	case filepath.IsAbs(raw) || strings.HasPrefix(raw, "."):
		return localAddress(raw, allowLocal, refuse)
	}
	if m := scpLike.FindStringSubmatch(raw); m != nil {
		user := m[1]
		if user == "" {
			user = sshUser
		}
		switch {
		case strings.HasPrefix(m[2], "-") || strings.HasPrefix(user, "-"):
			return refuse("its host begins with a dash")
		case notAHost.MatchString(m[2]) || strings.Contains(m[3], "@"):
			return refuse("it is no address of ssh, git@HOST:PATH, and one of https begins with https://, without credentials")
		}
		return address{url: user + "@" + m[2] + ":" + m[3], scheme: "ssh", host: strings.ToLower(m[2]), user: user}, nil
	}
	return refuse("it is none of https://…, ssh://…, git@HOST:PATH and an absolute path")
}

func parseURL(raw string, allowLocal bool, refuse func(string) (address, error)) (address, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return refuse("it is malformed") // url.Error repeats the URL, password included
	}
	scheme := strings.ToLower(u.Scheme)
	if scheme == "file" {
		if u.Host != "" {
			return refuse("a file:// URL takes three slashes")
		}
		return localAddress(u.Path, allowLocal, refuse)
	}
	if _, known := defaultPorts[scheme]; !known {
		return refuse("its scheme is none of https, http, ssh and file")
	}
	if u.Hostname() == "" || strings.HasPrefix(u.Hostname(), "-") {
		return refuse("it has no usable host")
	}
	if _, has := u.User.Password(); has || (u.User != nil && scheme != "ssh") {
		return refuse("it carries credentials, which belong into the settings for the user name and the password")
	}
	a := address{scheme: scheme, host: hostPort(u, scheme)}
	if scheme == "ssh" {
		a.user = u.User.Username()
		if a.user == "" {
			a.user = sshUser
		}
		if strings.HasPrefix(a.user, "-") {
			return refuse("its user begins with a dash")
		}
		u.User = url.User(a.user)
	}
	u.Scheme, u.Fragment, u.RawFragment = scheme, "", ""
	a.url = u.String()
	return a, nil
}

func localAddress(path string, allowed bool, refuse func(string) (address, error)) (address, error) {
	if !allowed {
		return refuse("local repositories are not allowed here (GIT_ALLOW_LOCAL)")
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return refuse("its path cannot be made absolute")
	}
	return address{url: "file://" + absolute, scheme: "file"}, nil
}

// hostPort makes "host:443" equal "host", and "HOST" equal "host".
func hostPort(u *url.URL, scheme string) string {
	host := strings.ToLower(u.Hostname())
	if port := u.Port(); port != "" && port != defaultPorts[scheme] {
		return net.JoinHostPort(host, port)
	}
	return host
}

// sameHost says whether credentials for a may be sent to b: the same scheme, host and port.
func (a address) sameHost(b address) bool {
	return a.scheme == b.scheme && a.host == b.host && a.host != ""
}

// loopback says whether the host is this very machine.
func (a address) loopback() bool {
	host := a.host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// sshUser is the user name of ssh where none is given, and the only one that is shown: another may be a token that got
// there by mistake.
const sshUser = "git"

var (
	urlScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)
	userinfo  = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://)?[^/]*@`)
)

// RedactURL returns a URL without its user and password. It also takes what is no URL.
func RedactURL(raw string) string {
	a, err := parseAddress(raw, true)
	if err != nil {
		return redactRefused(raw)
	}
	return a.withoutUser(raw)
}

// shown is the address as a message tells it.
func (a address) shown() string { return a.withoutUser(a.url) }

// withoutUser takes the user out of an address that is this one.
func (a address) withoutUser(text string) string {
	if a.scheme == "ssh" && a.user != sshUser {
		return userinfo.ReplaceAllString(text, "$1")
	}
	return text
}

// redactRefused hides all that may be a credential in what could not be read as an address: nobody can say where one
// ends there, but that it ends before the last "@".
func redactRefused(raw string) string {
	if at := strings.LastIndex(raw, "@"); at >= 0 {
		if scheme := urlScheme.FindString(raw); scheme != "" && len(scheme) <= at {
			return scheme + raw[at+1:]
		}
		return "…" + raw[at:]
	}
	if user, _, ok := strings.Cut(raw, ":"); ok && strings.EqualFold(user, TokenUser) {
		return user + ":…"
	}
	return raw
}
