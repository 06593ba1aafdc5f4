package sealpack.slsa

isolation(s) := object.get(
	s.predicate,
	["buildDefinition", "internalParameters", "isolation", "namespaces"],
	[],
)

problem contains p if {
	some s in provenance
	some namespace in object.get(input.parameters, "isolation", [])
	not namespace in isolation(s)
	p := {
		"statement": s.digest,
		"message": sprintf("buildpacks ran without a `%s` namespace of their own", [namespace]),
		"solution": "build with `--isolation required`, or ask for less in `parameters.isolation`",
	}
}
