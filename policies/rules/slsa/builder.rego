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
	not s.signer.fingerprint in bound
	p := {
		"statement": s.digest,
		"message": sprintf("key %s does not speak for builder `%s`", [s.signer.fingerprint, id]),
		"solution": "see `parameters.builder-signers`",
	}
}

provenance_signers contains a.fingerprint if {
	some a in input.policy.accept
	a.predicateType == "https://slsa.dev/provenance/v1"
}

problem contains p if {
	some s in provenance
	id := builder_id(s)
	object.get(input.parameters, ["builder-signers", id], null) == null
	count(provenance_signers) > 1
	p := {
		"statement": s.digest,
		"message": sprintf("builder `%s` is bound to no signer, and several are accepted for provenance", [id]),
		"solution": "name the keys of the builder in `parameters.builder-signers`",
	}
}
