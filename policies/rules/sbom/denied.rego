package sealpack.sbom

# A licence that is an alternative (`MIT OR AGPL-3.0-only`) is found too: which one was chosen is
# not known.
license_ids(component) := {id |
	some text in license_texts(component)
	is_string(text)
	# `MIT/Apache-2.0` is how Cargo once wrote an alternative.
	some id in regex.split(`[()\s,;/|&]+`, text)
	id != ""
}

# Identifiers of licences are compared without case (SPDX 2.3, annex D.2). Who denies `AGPL-3.0`, as it
# was written before there was `-only`, means the licence, whatever stands behind. Who writes `-only` or
# `-or-later` means that one, in its newer spelling and in the older ones.
is_denied(id, denied) if {
	license_base(id) == license_base(denied)
	lower(trim_space(denied)) == license_base(denied)
}

is_denied(id, denied) if {
	license_base(id) == license_base(denied)
	is_later(id) == is_later(denied)
}

license_base(id) := regex.replace(lower(trim_space(id)), `(-only|-or-later|\+)$`, "")

is_later(id) := regex.match(`(-or-later|\+)$`, lower(trim_space(id)))

# `null` is no licence, as it is no list of any. What was found in a component counts as what it says.
licenses(component) := [entry |
	some list in [
		object.get(component, "licenses", null),
		object.get(component, ["evidence", "licenses"], null),
	]
	is_array(list)
	some entry in list
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
} | {text |
	some field in ["licenseInfoFromFiles", "licenseInfoInFiles", "licenseInfoInSnippets"]
	is_array(component[field])
	some text in component[field]
}

purls(component) := {purl | purl := component.purl; is_string(purl)} | {r.referenceLocator |
	is_array(component.externalRefs)
	some r in component.externalRefs
	is_purl(r)
	is_string(r.referenceLocator)
}

# All that may have a licence or a purl, with or without a name: components and services wherever they
# stand, what the document is about, and in SPDX packages, files and snippets.
judged(s) := [c |
	some list in [
		object.get(s.predicate, "components", []),
		object.get(s.predicate, "services", []),
		[object.get(s.predicate, ["metadata", "component"], null)],
	]
	walk(list, [path, c])
	is_object(c)
	is_number(path[count(path) - 1])
]

judged_spdx(s) := [c |
	some field in ["packages", "files", "snippets"]
	is_array(s.predicate[field])
	some c in s.predicate[field]
	is_object(c)
]

denied_licenses := [it |
	some it in object.get(input.parameters, "denied-licenses", [])
	is_string(it)
]

denied_purls := {pattern: plain_pattern(pattern) |
	some pattern in object.get(input.parameters, "denied-purls", [])
	is_string(pattern)
}

problem contains p if {
	count(denied_licenses) > 0
	some s in sbom
	some component in array.concat(judged(s), judged_spdx(s))
	some id in license_ids(component)
	some denied in denied_licenses
	is_denied(id, denied)
	p := {
		"statement": s.digest,
		"message": sprintf("`%s` has the denied licence `%s`", [title(component), id]),
		"solution": "replace it",
	}
}

problem contains p if {
	count(denied_purls) > 0
	some s in sbom
	some component in array.concat(judged(s), judged_spdx(s))
	some purl in purls(component)
	some spelled in spellings(plain(purl))
	some pattern, meant in denied_purls
	# Without delimiters, so that `*` is any text: an empty list would mean `.`.
	glob.match(meant, null, spelled)
	p := {
		"statement": s.digest,
		"message": sprintf("`%s` is denied by `%s`", [purl, pattern]),
		"solution": "replace it",
	}
}
