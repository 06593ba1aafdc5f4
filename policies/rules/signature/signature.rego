# METADATA
# title: Enough signers stand for the image
package sealpack.signature

# Only cosign's own type is a signature: an SBOM is signed too, but does not stand for the image.
signers contains signer if {
	some s in input.statements
	signer := object.filter(s.signer, ["kind", "fingerprint", "issuer", "subject"])
	s.predicateType == "https://sigstore.dev/cosign/sign/v1"
}

threshold := object.get(input.parameters, "signature-threshold", 1)

deny contains finding if {
	count(signers) < threshold
	finding := {
		"message": sprintf("%d of %d required signers found", [count(signers), threshold]),
		"solution": "let another accepted signer sign the image, or lower `signature-threshold`",
	}
}
