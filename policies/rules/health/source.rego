package sealpack.health

# The commits that accepted provenance says the image was built from.
built_from contains commit if {
	some s in input.statements
	s.predicateType == "https://slsa.dev/provenance/v1"
	some dependency in object.get(said(s), ["buildDefinition", "resolvedDependencies"], [])
	some algorithm in ["gitCommit", "sha1"]
	commit := dependency.digest[algorithm]
}

problem contains p if {
	input.parameters["health-of-source"] == true
	some s in health
	commit := object.get(said(s), ["source", "digest", "gitCommit"], "none")
	not commit in built_from
	p := {
		"statement": s.digest,
		"message": "the statement about health is not about the commit that the image was built from",
		"solution": "measure the commit that provenance names, and build from a clean checkout",
	}
}
