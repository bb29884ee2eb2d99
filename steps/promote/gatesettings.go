package promote

import (
	_ "embed"
	"errors"
	"io"
	"os"
	"strings"

	"dockline/pkg/image"
	"dockline/pkg/signature"
	"dockline/pkg/step"
)

//go:embed gatesettings.go
var gatesSource string

// Gates are the rules that an image must pass before anything is written. Each is off unless it is set.
type Gates struct {
	// Rule for the names of images, such as {code}/awl-{code}-{app}: what stands in braces is the same text wherever it
	// comes again.
	NamingTemplate string `env:"NAMING_TEMPLATE"`
	// Labels that the image must carry on every platform, KEY or KEY=VALUE separated by commas; * in a value stands for
	// any text. Such as org.opencontainers.image.revision.
	RequireLabels []string `env:"REQUIRE_LABELS"`
	// Public key (PEM) that must have signed the image, as cosign sign --key does: ECDSA, RSA or Ed25519. Of several keys,
	// one after the other, one must have.
	SignatureKey string `env:"SIGNATURE_KEY"`
	// File with the public key or keys, instead of SIGNATURE_KEY.
	SignatureKeyFile string `env:"SIGNATURE_KEY_FILE"`
	// Identity that must have signed the image keyless: an e-mail address, or the URI of a CI job. Needs SIGNATURE_ISSUER
	// (or its pattern) and SIGNATURE_TRUSTED_ROOT.
	SignatureIdentity string `env:"SIGNATURE_IDENTITY"`
	// Regular expression that the whole identity must match, instead of SIGNATURE_IDENTITY.
	SignatureIdentityPattern string `env:"SIGNATURE_IDENTITY_PATTERN"`
	// Who vouches for that identity, such as https://gitlab.example.com.
	SignatureIssuer string `env:"SIGNATURE_ISSUER"`
	// Regular expression that the whole issuer must match, instead of SIGNATURE_ISSUER.
	SignatureIssuerPattern string `env:"SIGNATURE_ISSUER_PATTERN"`
	// Authorities and logs that keyless signatures are judged by: sigstore's trusted_root.json.
	SignatureTrustedRoot string `env:"SIGNATURE_TRUSTED_ROOT"`
	// File with the trusted root, instead of SIGNATURE_TRUSTED_ROOT.
	SignatureTrustedRootFile string `env:"SIGNATURE_TRUSTED_ROOT_FILE"`
	// Whether deployments are frozen: nothing is promoted then. false promotes in a freeze all the same.
	DeployFreeze bool `env:"DEPLOY_FREEZE" ci:"CI_DEPLOY_FREEZE"`
	// Promote only from a pipeline of a protected branch or tag: PROTECTED_REF must be true.
	RequireProtectedRef bool `env:"REQUIRE_PROTECTED_REF"`
	// Whether the branch or tag of this pipeline is protected.
	ProtectedRef bool `env:"PROTECTED_REF" ci:"CI_COMMIT_REF_PROTECTED"`

	verifier *signature.Verifier // nil when no signature is wanted; after validate
	labels   []labelRule         // after validate
}

// validate reads the rules, and returns all problems.
func (g *Gates) validate() error {
	var problems []error
	if g.NamingTemplate != "" {
		if err := image.NamePattern(g.NamingTemplate).Check(); err != nil {
			problems = append(problems, step.Problem("NAMING_TEMPLATE: %w", err))
		}
	}
	g.labels = nil
	for _, text := range g.RequireLabels {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		rule := readLabelRule(text)
		if rule.key == "" {
			problems = append(problems, step.Problem("REQUIRE_LABELS: %q is neither KEY nor KEY=VALUE", text))
		}
		g.labels = append(g.labels, rule)
	}
	if len(g.RequireLabels) > 0 && len(g.labels) == 0 {
		problems = append(problems, step.Problem("REQUIRE_LABELS names no label"))
	}
	return errors.Join(append(problems, g.validateSignature())...)
}

func (g *Gates) validateSignature() error {
	key, keyProblem := textOrFile("SIGNATURE_KEY", g.SignatureKey, g.SignatureKeyFile)
	root, rootProblem := textOrFile("SIGNATURE_TRUSTED_ROOT", g.SignatureTrustedRoot, g.SignatureTrustedRootFile)
	if err := errors.Join(keyProblem, rootProblem); err != nil {
		return err
	}
	identity := g.SignatureIdentity + g.SignatureIdentityPattern
	keyless := identity + g.SignatureIssuer + g.SignatureIssuerPattern + root
	var problems []error
	missing := func(variable, given string) {
		problems = append(problems, step.Problem("%s is missing: %s is set", variable, given))
	}
	exclude := func(a, b string, values ...string) {
		if values[0] != "" && values[1] != "" {
			problems = append(problems, step.Problem("%s and %s are both set: set one of them", a, b))
		}
	}
	exclude("SIGNATURE_IDENTITY", "SIGNATURE_IDENTITY_PATTERN", g.SignatureIdentity, g.SignatureIdentityPattern)
	exclude("SIGNATURE_ISSUER", "SIGNATURE_ISSUER_PATTERN", g.SignatureIssuer, g.SignatureIssuerPattern)
	switch {
	case key == "" && keyless == "":
		return nil
	case key != "" && keyless != "":
		problems = append(problems, step.Problem("SIGNATURE_KEY is set, and so is what belongs to keyless signatures "+
			"(SIGNATURE_IDENTITY, SIGNATURE_ISSUER, SIGNATURE_TRUSTED_ROOT): set one or the other"))
	case key == "":
		if identity == "" {
			missing("SIGNATURE_IDENTITY", "another variable of keyless signatures")
		}
		if g.SignatureIssuer+g.SignatureIssuerPattern == "" {
			missing("SIGNATURE_ISSUER", "another variable of keyless signatures")
		}
		if root == "" {
			missing("SIGNATURE_TRUSTED_ROOT", "another variable of keyless signatures")
		}
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	policy := signature.Policy{Key: []byte(key)}
	variable := "SIGNATURE_KEY"
	if key == "" {
		variable = "SIGNATURE_IDENTITY"
		policy = signature.Policy{Keyless: &signature.Keyless{
			Identity: g.SignatureIdentity, IdentityPattern: g.SignatureIdentityPattern,
			Issuer: g.SignatureIssuer, IssuerPattern: g.SignatureIssuerPattern, TrustedRoot: []byte(root),
		}}
	}
	var err error
	if g.verifier, err = signature.New(policy); err != nil {
		return step.Problem("%s: %w", variable, err)
	}
	return nil
}

// largestText is what a key and a trusted root are far below: sigstore's public root has some 10 KiB.
const largestText = 1 << 20

// textOrFile returns what a variable holds, or the file that its other form names.
func textOrFile(variable, text, path string) (string, error) {
	switch {
	case text != "" && path != "":
		return "", step.Problem("%s and %s_FILE are both set: set one of them", variable, variable)
	case path == "":
		return text, nil
	}
	file, err := os.Open(path) //nolint:gosec // the path is the user's setting
	if err != nil {
		return "", step.Problem("%s_FILE: %w", variable, err)
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, largestText+1))
	switch {
	case err != nil:
		return "", step.Problem("%s_FILE: %w", variable, err)
	case len(content) > largestText:
		return "", step.Problem("%s_FILE: %q is larger than 1 MiB", variable, path)
	case len(content) == 0:
		return "", step.Problem("%s_FILE: %q is empty", variable, path)
	}
	return string(content), nil
}
