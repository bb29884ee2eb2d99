package clonebuildpush

import (
	"errors"
	"os"

	"dockline/pkg/fault"
	"dockline/pkg/git"
	"dockline/pkg/signers"
	"dockline/pkg/step"
)

// validateVerify returns all problems with GIT_VERIFY and what belongs to it.
func (c *Config) validateVerify() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, step.Problem(format, args...)) }
	switch git.Signed(c.GitVerify) {
	case git.SignedCommit, git.SignedTag:
		if c.does(phaseClone) && c.GitVerifyKeys == "" && c.GitVerifyKeysFile == "" {
			problem("GIT_VERIFY_KEYS is missing: GIT_VERIFY is set")
		}
	case "":
		if c.GitVerifyKeys != "" || c.GitVerifyKeysFile != "" {
			problem("GIT_VERIFY is missing: keys for it are set")
		}
	default:
		problem("GIT_VERIFY: %q is neither commit nor tag", c.GitVerify)
	}
	if c.GitVerifyKeys != "" && c.GitVerifyKeysFile != "" {
		problem("GIT_VERIFY_KEYS and GIT_VERIFY_KEYS_FILE are both set: set one of them")
	} else if c.GitVerifyKeys != "" {
		if _, err := signers.Parse([]byte(c.GitVerifyKeys)); err != nil {
			problem("GIT_VERIFY_KEYS: %w", err)
		}
	}
	if c.does(phaseClone) && c.GitURL != "" && c.GitTag != "" && !git.IsFullHash(c.GitRevision) && c.GitRevision != c.GitTag && c.GitRevision != "refs/tags/"+c.GitTag {
		problem("GIT_TAG is set, and GIT_REVISION is neither the full hash of its commit nor that tag")
	}
	return errors.Join(problems...)
}

// rules are what the commit must keep to be built.
func (r *runner) rules() (git.Rules, error) {
	rules := git.Rules{Tag: r.GitTag, Signed: git.Signed(r.GitVerify)}
	if rules.Signed == "" {
		return rules, nil
	}
	variable, text := "GIT_VERIFY_KEYS", []byte(r.GitVerifyKeys)
	var err error
	if r.GitVerifyKeysFile != "" {
		variable = "GIT_VERIFY_KEYS_FILE"
		if text, err = os.ReadFile(r.GitVerifyKeysFile); err != nil {
			return rules, step.Problem("%s: %w", variable, err)
		}
	}
	if rules.Keys, err = signers.Parse(text); err != nil {
		return rules, step.Problem("%s: %w", variable, err)
	}
	return rules, nil
}

func (r *runner) tellSigner(rt *step.Runtime, signer string) {
	if signer != "" {
		rt.Log.Info().Str("what", r.GitVerify).Str("signer", signer).Msg("the signature is good")
	}
}

// checkVerified refuses a checkout whose signature was not asked for as it is here.
func (r *runner) checkVerified(told checkout) error {
	if r.GitVerify == "" || r.GitVerify == told.Signed {
		return nil
	}
	return fault.WithHint(fault.New(fault.Refused,
		"GIT_VERIFY=%s: PHASE=clone has not looked at that signature", r.GitVerify), "give GIT_VERIFY to every phase alike")
}
