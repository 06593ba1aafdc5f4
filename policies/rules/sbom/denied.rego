package sealpack.sbom

# A licence that is an alternative (`MIT OR AGPL-3.0-only`) is found too: which one was chosen is
# not known.
license_ids(component) := {id |
	some text in license_texts(component)
	is_string(text)
	some id in regex.split(`[()\s]+`, text)
	id != ""
}

# `null` is no licence, as it is no list of any.
licenses(component) := [entry |
	is_array(component.licenses)
	some entry in component.licenses
	is_object(entry)
]

license_texts(component) := {text |
	some entry in licenses(component)
	text := entry.expression
} | {text |
	some entry in licenses(component)
	some field in ["id", "name"]
	text := entry.license[field]
} | {text |
	some field in ["licenseConcluded", "licenseDeclared"]
	text := component[field]
}

purls(component) := {purl | purl := component.purl; is_string(purl)} | {r.referenceLocator |
	is_array(component.externalRefs)
	some r in component.externalRefs
	r.referenceType == "purl"
	is_string(r.referenceLocator)
}

# What is denied is denied in any spelling. Identifiers of licences are compared without case (SPDX
# 2.3, annex D.2), a purl's type is, and so are names of most kinds; and some characters may be
# encoded or not.
plain(purl) := replace(replace(replace(replace(lower(purl), "%40", "@"), "%2f", "/"), "%2b", "+"), "%3a", ":")

problem contains p if {
	count(object.get(input.parameters, "denied-licenses", [])) > 0
	some s in sbom
	some component in components(s)
	some id in license_ids(component)
	some denied in input.parameters["denied-licenses"]
	lower(id) == lower(denied)
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
	glob.match(plain(pattern), null, plain(purl))
	p := {
		"statement": s.digest,
		"message": sprintf("`%s` is denied by `%s`", [purl, pattern]),
		"solution": "replace it",
	}
}
