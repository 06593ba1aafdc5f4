package sealpack.sbom

purls(component) := {purl | purl := component.purl; is_string(purl)} | {r.referenceLocator |
	is_array(component.externalRefs)
	some r in component.externalRefs
	is_purl(r)
	is_string(r.referenceLocator)
} | {purl |
	some found in identities(object.get(component, ["evidence", "identity"], null))
	found.field == "purl"
	purl := found.concludedValue
	is_string(purl)
}

# As of CycloneDX 1.6 a list, or one as before.
identities(evidence) := evidence if {
	is_array(evidence)
} else := [evidence]

# All that may have a licence or a purl, with or without a name: components and services wherever they
# stand, what the document is about, and in SPDX packages, files and snippets. Not what a component was made
# from or could be instead (`pedigree`): that is not in the image, and a fork is often how one gets rid of it.
judged(s) := [c |
	some list in [
		object.get(s.predicate, "components", []),
		object.get(s.predicate, "services", []),
		[object.get(s.predicate, ["metadata", "component"], null)],
	]
	walk(list, [path, c])
	is_object(c)
	is_number(path[count(path) - 1])
	not "pedigree" in path
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

denied_purls := {pattern: pattern_spellings(pattern) |
	some pattern in object.get(input.parameters, "denied-purls", [])
	is_string(pattern)
}

# Looked up, not compared with one another: a document may name thousands.
problem contains p if {
	count(denied_licenses) > 0
	some s in sbom
	named := {[title(component), said] |
		some component in array.concat(judged(s), judged_spdx(s))
		some said in license_said(component)
	}
	# Each once: most have the same few licences.
	denied := {said: found |
		some said in {name[1] | some name in named}
		found := {what | some id in license_ids(said); some what in called(id, s.digest)}
		count(found) > 0
	}
	some name in named
	some what in denied[name[1]]
	p := {
		"statement": s.digest,
		"message": sprintf("`%s` has the denied licence %s", [name[0], what]),
		"solution": "replace it",
	}
}

# Which denied licence is called so, if it is one: by its identifier, or by a name of the document's own.
called(id, document) := {sprintf("`%s`", [id])} if {
	is_denied(id)
} else := {sprintf("`%s` (`%s`)", [found, id]) |
	some found in denied_references[document][lower(id)]
}

problem contains p if {
	count(denied_purls) > 0
	some s in sbom
	some component in array.concat(judged(s), judged_spdx(s))
	some purl in purls(component)
	count(purl) <= longest_purl
	some [kind, spelled] in spellings(purl)
	some pattern, meanings in denied_purls
	some meant in meanings[kind]
	# Without delimiters, so that `*` is any text: an empty list would mean `.`.
	glob.match(meant, null, spelled)
	p := {
		"statement": s.digest,
		"message": sprintf("`%s` is denied by `%s`", [purl, pattern]),
		"solution": "replace it",
	}
}

problem contains p if {
	count(denied_purls) > 0
	some s in sbom
	some component in array.concat(judged(s), judged_spdx(s))
	some purl in purls(component)
	count(purl) > longest_purl
	p := {
		"statement": s.digest,
		"message": sprintf("purl of more than %d characters: `%s…`", [longest_purl, substring(purl, 0, 60)]),
		"solution": "give the package a shorter name or version",
	}
}
