# METADATA
# title: There is a good SBOM of each kind that is asked for
# description: >
#   The other files of this package say what is wrong with a document. One by which nothing is wrong
#   is enough for its kind; so another one, or one less, never makes a rejected image accepted.
package sealpack.sbom

types := {
	"cyclonedx": "https://cyclonedx.org/bom",
	"spdx": "https://spdx.dev/Document",
}

sbom contains s if {
	some s in input.statements
	some type in types
	s.predicateType == type
}

required := {name | some name, type in types; type in input.policy.require}

# What is asked for: each of these is a set of types, one of which has to be there.
wanted := {{name} | some name in input.parameters["sbom-types"]} if {
	input.parameters["sbom-types"]
} else := {{name} | some name in required} if {
	count(required) > 0
} else := {{"cyclonedx", "spdx"}}

flawed contains p.statement if some p in problem

candidates(names) := {s | some s in sbom; some name in names; s.predicateType == types[name]}

is_good(names) if {
	some s in candidates(names)
	not s.digest in flawed
}

deny contains finding if {
	some names in wanted
	count(candidates(names)) == 0
	finding := {
		"message": sprintf("no SBOM (%s) by an accepted signer", [concat(" or ", names)]),
		"solution": "attach one, or accept its signer",
	}
}

deny contains finding if {
	some names in wanted
	not is_good(names)
	some s in candidates(names)
	some p in problem
	p.statement == s.digest
	finding := {"message": p.message, "solution": p.solution}
}

# What a document lists, whatever its kind: the name, for messages, and licences and purls.
# What the document is about is not listed, but what is in it is.
components(s) := array.concat(
	[c |
		some list in [
			object.get(s.predicate, "components", []),
			object.get(s.predicate, ["metadata", "component", "components"], []),
		]
		walk(list, [_, c])
		is_object(c)
		c.name
		c.type
	],
	[c |
		is_array(s.predicate.packages)
		some c in s.predicate.packages
		is_object(c)
	],
)

title(component) := sprintf("%s@%s", [
	object.get(component, "name", object.get(component, "fileName", "?")),
	object.get(component, "version", object.get(component, "versionInfo", "?")),
])
