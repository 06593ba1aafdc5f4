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
