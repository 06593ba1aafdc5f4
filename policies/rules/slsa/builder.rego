package sealpack.slsa

builder_id(s) := object.get(s.predicate, ["runDetails", "builder", "id"], "")

# An id is a claim like any other: it counts only from a signer who may speak for it.
problem contains p if {
	some s in provenance
	id := builder_id(s)
	not id in object.get(input.parameters, "builder-ids", [])
	p := {
		"statement": s.digest,
		"message": sprintf("builder `%s` is not one of `builder-ids`", [id]),
		"solution": "build with a builder of the list, or add this one to `parameters.builder-ids`",
	}
}

problem contains p if {
	some s in provenance
	id := builder_id(s)
	bound := object.get(input.parameters, ["builder-signers", id], null)
	bound != null
	not speaks(s.signer, bound)
	p := {
		"statement": s.digest,
		"message": sprintf("%s does not speak for builder `%s`", [called(s.signer), id]),
		"solution": "see `parameters.builder-signers`",
	}
}

# Of keys the fingerprint, of identities the name and its issuer.
speaks(signer, bound) if {
	signer.kind == "key"
	signer.fingerprint in bound
}

speaks(signer, bound) if {
	signer.kind == "identity"
	some b in bound
	b.identity == signer.subject
	b.issuer == signer.issuer
}

called(signer) := sprintf("key %s", [signer.fingerprint]) if signer.kind == "key"

called(signer) := sprintf("`%s` by `%s`", [signer.subject, signer.issuer]) if signer.kind == "identity"

provenance_signers contains signer if {
	some a in input.policy.accept
	a.predicateType == "https://slsa.dev/provenance/v1"
	signer := object.remove(a, ["predicateType"])
}

# A pattern may mean many.
several if count(provenance_signers) > 1

several if {
	some a in provenance_signers
	a.kind == "identity"
	some part in [a.subject, a.issuer]
	part.pattern
}

problem contains p if {
	some s in provenance
	id := builder_id(s)
	object.get(input.parameters, ["builder-signers", id], null) == null
	several
	p := {
		"statement": s.digest,
		"message": sprintf("builder `%s` is bound to no signer, and several are accepted for provenance", [id]),
		"solution": "name the signers of the builder in `parameters.builder-signers`",
	}
}
