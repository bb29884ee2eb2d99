package cluster

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"k8s.io/client-go/rest"

	"dockline/pkg/fault"
)

// secretsOf returns the secrets that the settings hold, or name files of. (A file that cannot be read is told of by
// those who need it.)
func secretsOf(settings *rest.Config) []string {
	secrets := []string{settings.BearerToken, settings.Password, string(settings.KeyData)}
	if settings.Password != "" {
		secrets = append(secrets, settings.Username+":"+settings.Password) // as basic authentication encodes it
	}
	for _, path := range []string{settings.BearerTokenFile, settings.KeyFile} {
		if content, err := os.ReadFile(path); err == nil {
			secrets = append(secrets, string(content))
		}
	}
	return secrets
}

// learner tells of each secret that is sent: a ServiceAccount's token is renewed while a step runs, and a kubeconfig's
// plugin brings forth one that the settings do not hold.
type learner struct {
	http.RoundTripper
	tell func(secrets ...string)

	mu   sync.Mutex
	last string
}

func (l *learner) RoundTrip(request *http.Request) (*http.Response, error) {
	_, secret, _ := strings.Cut(request.Header.Get("Authorization"), " ")
	l.mu.Lock()
	isNew := secret != l.last
	l.last = secret
	l.mu.Unlock()
	if isNew {
		plain, _ := base64.StdEncoding.DecodeString(secret)
		_, password, _ := strings.Cut(string(plain), ":")
		l.tell(secret, password)
	}
	return l.RoundTripper.RoundTrip(request)
}

// overhear hands on what the settings' credential plugin, where they have one, writes to its standard error, line by
// line. client-go gives the plugin that of this process, around every mask, and knows no other way: it takes
// os.Stderr as it is when the client is made.
func overhear[T any](settings *rest.Config, say func(string), create func(*rest.Config) (T, error)) (T, error) {
	if settings.ExecProvider == nil {
		return create(settings)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		var none T
		return none, fmt.Errorf("listening to the credential plugin: %w", err)
	}
	plugin := settings.ExecProvider.Command
	go func() { // until the process ends: the plugin may be called at any time
		// After a crash what the plugin says is lost, and nothing else: it would wait for ever to be read.
		defer func() { _, _ = io.Copy(io.Discard, reader) }()
		var crash error
		defer fault.Catch(&crash)
		eachLine(reader, func(text string) { say(fmt.Sprintf("the credential plugin %q says: %s", plugin, text)) })
	}()
	swapping.Lock()
	defer swapping.Unlock()
	before := os.Stderr
	os.Stderr = writer
	defer func() { os.Stderr = before }()
	return create(settings)
}

var swapping sync.Mutex

// longestLine is what is held of a line that a credential plugin writes, in bytes.
const longestLine = 64 << 10

// eachLine calls tell with each line, however long it is. One that is longer than longestLine is cut at a blank: a half
// of a word would not be known as the secret that the whole one may be.
func eachLine(from io.Reader, tell func(string)) {
	lines := bufio.NewReaderSize(from, longestLine)
	for {
		line, more, err := lines.ReadLine()
		if err != nil {
			return
		}
		text := string(line)
		if more {
			text = text[:strings.LastIndexAny(text, " \t")+1] + "…"
		}
		tell(text)
		for more && err == nil {
			_, more, err = lines.ReadLine()
		}
	}
}
