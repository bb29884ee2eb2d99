package promote

import (
	"context"

	"dockline/pkg/fault"
)

// gateSignature asks whether the image, by the very digest that is promoted, is signed in the source registry by whom
// SIGNATURE_KEY or SIGNATURE_IDENTITY names.
func (p *promotion) gateSignature(ctx context.Context, it *item) error {
	if p.config.verifier == nil {
		return nil
	}
	signed, err := p.config.verifier.Check(ctx, it.from, it.image.Digest)
	if err != nil {
		return fault.WithHint(shut(ctx, it, "checking the signature", err), signatureHint(err))
	}
	it.report.Signature = signed.By
	p.rt.Log.Info().Str("in", signed.At).Msgf("%s is signed by %s", it.report.Source, signed.By)
	return nil
}

// signatureHint is for an image that is not signed; the registry's own hints are for the rest.
func signatureHint(err error) string {
	if fault.KindOf(err) != fault.Refused {
		return ""
	}
	return "sign the digest in the source registry (cosign sign), and promote it then; a signature of a platform's image, or an attestation, is none of this one"
}
