package sealpack.sbom

# A licence that is an alternative (`MIT OR AGPL-3.0-only`) is found too: which one was chosen is
# not known.
license_ids(component) := {id |
	some text in license_texts(component)
	some id in regex.split(`[()\s]+`, text)
	id != ""
}

license_texts(component) := {text |
	some entry in object.get(component, "licenses", [])
	text := entry.expression
} | {text |
	some entry in object.get(component, "licenses", [])
	some field in ["id", "name"]
	text := entry.license[field]
} | {text |
	some field in ["licenseConcluded", "licenseDeclared"]
	text := component[field]
}

purls(component) := {purl | purl := component.purl} | {r.referenceLocator |
	some r in component.externalRefs
	r.referenceType == "purl"
}

problem contains p if {
	count(object.get(input.parameters, "denied-licenses", [])) > 0
	some s in sbom
	some component in components(s)
	some id in license_ids(component)
	id in input.parameters["denied-licenses"]
	p := {
		"statement": s.digest,
		"message": sprintf("`%s` has the denied licence `%s`", [title(component), id]),
		"solution": "replace it",
	}
}

problem contains p if {
	some pattern in object.get(input.parameters, "denied-purls", [])
	some s in sbom
	some component in components(s)
	some purl in purls(component)
	# Without delimiters, so that `*` is any text: an empty list would mean `.`.
	glob.match(pattern, null, purl)
	p := {
		"statement": s.digest,
		"message": sprintf("`%s` is denied by `%s`", [purl, pattern]),
		"solution": "replace it",
	}
}
