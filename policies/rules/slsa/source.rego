package sealpack.slsa

has_source(s) if {
	some dependency in object.get(s.predicate, ["buildDefinition", "resolvedDependencies"], [])
	dependency.name == "source"
	count(object.get(dependency, "digest", {})) > 0
}

has_source(s) if {
	some dependency in object.get(s.predicate, ["buildDefinition", "resolvedDependencies"], [])
	some algorithm in ["gitCommit", "sha1"]
	dependency.digest[algorithm]
	startswith(dependency.uri, "git+")
}

problem contains p if {
	some s in provenance
	not has_source(s)
	p := {
		"statement": s.digest,
		"message": "provenance does not say which source the image was built from",
		"solution": "use a builder that lists the source in `resolvedDependencies`",
	}
}

problem contains p if {
	some s in provenance
	object.get(input.parameters, "allow-dirty-source", false) != true
	object.get(s.predicate, ["buildDefinition", "externalParameters", "source", "git", "dirty"], false) != false
	p := {
		"statement": s.digest,
		"message": "the source held changes that are in no commit",
		"solution": "commit and build again, or set `parameters.allow-dirty-source`",
	}
}
