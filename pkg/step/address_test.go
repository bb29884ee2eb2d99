package step

import (
	"context"
	"strings"
	"testing"

	"dockline/pkg/fault"
)

// TestSecretsInAddresses has addresses as they are written by mistake, and as they are usual. Neither --print-config nor
// a last line that repeats the value may tell the secret, and what is no secret stays readable.
func TestSecretsInAddresses(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		value  string
		secret string // "" means that there is none
		shown  string
	}{
		"a token as the name":        {"https://glpat-S3CRET@host/a.git", "glpat-S3CRET", "https://[MASKED]@host/a.git"},
		"a token and a dummy":        {"https://github_pat_S3CRETS3CRET:x-oauth-basic@host/a", "github_pat_S3CRETS3CRET", "https://[MASKED]@host/a"},
		"a name and a password":      {"https://ci:S3CRET@host/a", "S3CRET", "https://ci:[MASKED]@host/a"},
		"no address":                 {"https://u:S3CR%zzET@host", "S3CR%zzET", "https://u:[MASKED]@host"},
		"escaped":                    {"https://u:S3CR%45T@host/a", "S3CRET", "https://u:[MASKED]@host/a"},
		"an @ in the password":       {"https://u:S3C@RET@host/a", "S3C@RET", "https://u:[MASKED]@host/a"},
		"a / in the password":        {"https://u:S3C/RET@host/a", "S3C/RET", "https://u:[MASKED]@host/a"},
		"no scheme":                  {"ci:S3CRET@host", "S3CRET", "ci:[MASKED]@host"},
		"no scheme, an image":        {"ci:S3CRET@host/a/b:1", "S3CRET", "ci:[MASKED]@host/a/b:1"},
		"a parameter":                {"http://x/?a=b&access_token=S3CRET", "S3CRET", "http://x/?a=[MASKED]&access_token=[MASKED]"},
		"a token and a parameter":    {"http://toktok@x/?token=S3CRET", "toktok", "http://[MASKED]@x/?token=[MASKED]"},
		"several":                    {"A=https://u:S3CRET@h/,B=https://v:w@h/", "S3CRET", "A=https://u:[MASKED]@h/,B=https://v:[MASKED]@h/"},
		"an ssh user":                {"ssh://deploy@host/a.git", "", "ssh://deploy@host/a.git"},
		"git's short form":           {"git@host:a/b.git", "", "git@host:a/b.git"},
		"an e-mail address":          {"release.manager.of.all@host", "", "[MASKED]@host"},
		"an image with its digest":   {"host:5000/a/b@sha256:0123", "", "host:5000/a/b@sha256:0123"},
		"an image, two ways pinned":  {"alpine:3.20.1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "", "alpine:3.20.1@sha256:0123"},
		"a digest that is not whole": {"alpine:3.20.1@sha256:0123", "", "alpine:3.20.1@sha256:0123"},
		"another algorithm":          {"alpine:3.20.1@blake3:0123456789abcdef0123456789abcdef", "", "alpine:3.20.1@blake3:0123"},
		"an account and a digest":    {"ci:S3CRET@host/a:1@sha256:0123", "S3CRET", "ci:[MASKED]@host/a:1@sha256:0123"},
		"a digest with a scheme":     {"docker://alpine:3.20.1@sha256:0123456789abcdef0123456789abcdef", "", "docker://alpine:3.20.1@sha256:0123"},
		"a host with a port":         {"ci:S3CRET@sha256.host:5000", "S3CRET", "ci:[MASKED]@sha256.host:5000"},
		"an @ in the path":           {"https://host:8080/@deepsky/hello", "", "https://host:8080/@deepsky/hello"},
		"an address and a host only": {"https://[::1]:8080/a@b", "", "https://[::1]:8080/a@b"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &sample{}
			_, stdout, _ := try(t, s, []string{"--print-config"}, "IMAGE=a", "GIT_URL="+row.value)
			if !strings.Contains(stdout, row.shown) || row.secret != "" && strings.Contains(stdout, row.secret) {
				t.Errorf("--print-config shows\n%s", stdout)
			}
			s.run = func(context.Context, *Runtime) (Outcome, error) {
				return Outcome{}, fault.New(fault.NotFound, "looking for %s with %s", row.value, row.secret)
			}
			_, _, stderr := try(t, s, nil, "IMAGE=a", "GIT_URL="+row.value)
			if row.secret == "" != strings.Contains(lastLine(stderr), row.value) {
				t.Errorf("the last line tells %q", lastLine(stderr))
			}
			if row.secret != "" && strings.Contains(stderr, row.secret) {
				t.Errorf("the secret shows in %q", lastLine(stderr))
			}
		})
	}
}

// TestWhatIsNoAddressIsNoSecret has variables of a CI system and of a build that only look as if an account were in them:
// what follows the colon must stay readable in all logs.
func TestWhatIsNoAddressIsNoSecret(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"CI_COMMIT_MESSAGE": "Go back to alpine:3.20.1@sha256:0123 and npm:react@18, says release:manager@host",
		"BASE_IMAGE":        "alpine:3.20.1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"LABELS":            "package:react@18",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const said = "3.20.1 react manager"
			s := &sample{run: func(_ context.Context, rt *Runtime) (Outcome, error) {
				rt.Log.Info().Msg(said)
				return Outcome{}, nil
			}}
			if _, _, stderr := try(t, s, nil, "IMAGE=a", name+"="+text); !strings.Contains(stderr, said) {
				t.Errorf("the log is %q", stderr)
			}
			if _, stdout, _ := try(t, s, []string{"--print-config"}, "IMAGE=a", name+"="+text); strings.Contains(stdout, hidden) {
				t.Errorf("--print-config hides what is no secret:\n%s", stdout)
			}
		})
	}
}

func TestAnAccountInAProxysAddressIsMasked(t *testing.T) {
	t.Parallel()
	s := &sample{run: func(context.Context, *Runtime) (Outcome, error) {
		return Outcome{}, fault.New(fault.Unavailable, "connecting by ci:S3CRET@proxy:3128")
	}}
	if _, _, stderr := try(t, s, nil, "IMAGE=a", "https_proxy=ci:S3CRET@proxy:3128"); strings.Contains(stderr, "S3CRET") {
		t.Errorf("the secret shows in %q", lastLine(stderr))
	}
}
