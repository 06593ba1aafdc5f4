package sealpack.slsa

# Those of our own build types. A parameter that nobody knows could do anything.
known_parameters := object.get(
	input.parameters, "external-parameters",
	["buildpacks", "builder", "env", "network", "processType", "rebase", "runImage", "source"],
)

problem contains p if {
	some s in provenance
	some name, _ in object.get(s.predicate, ["buildDefinition", "externalParameters"], {})
	not name in known_parameters
	p := {
		"statement": s.digest,
		"message": sprintf("external parameter `%s` is not known", [name]),
		"solution": "read what it does, then add it to `parameters.external-parameters`",
	}
}

problem contains p if {
	some s in provenance
	object.get(input.parameters, "allow-forced-rebase", false) != true
	rebase := object.get(s.predicate, ["buildDefinition", "externalParameters", "rebase"], {})
	object.get(rebase, "force", false) != false
	p := {
		"statement": s.digest,
		"message": "the image was rebased by force: what its run image may be was not looked at",
		"solution": "rebase it without `--force`, or set `parameters.allow-forced-rebase`",
	}
}
