package sealpack.sbom

# What a licence is called, by all that an SBOM says of it: its identifier, a name, an address.
license_ids(component) := {id |
	some text in license_texts(component)
	is_string(text)
	some id in ids(text)
}

# A licence that is an alternative (`MIT OR AGPL-3.0-only`) is found too: which one was chosen is
# not known.
ids(text) := {id |
	not is_address(text)
	# `MIT/Apache-2.0` is how Cargo once wrote an alternative.
	some id in regex.split(`[()\s,;/|&]+`, text)
	id != ""
} | {id |
	# `https://spdx.org/licenses/MIT.html`
	is_address(text)
	some id in regex.find_n(`[^/]+$`, trim_right(regex.replace(trim_space(text), `[?#].*$`, ""), "/"), 1)
} | {id |
	# `GNU Affero General Public License v3 or later`
	some found in regex.find_all_string_submatch_n(
		`gnu (affero |lesser |library )?(?:general )?public licen[cs]e,? (?:version |v\.? ?)?([0-9](?:\.[0-9])?)((?: or (?:any )?later)?)`,
		lower(text),
		-1,
	)
	id := sprintf("%sGPL-%s%s", [gnu[found[1]], found[2], or_later[found[3]]])
}

gnu := {"": "", "affero ": "A", "lesser ": "L", "library ": "L"}

or_later := {"": "", " or later": "-or-later", " or any later": "-or-later"}

is_address(text) if regex.match(`^https?://\S+$`, lower(trim_space(text)))

# Identifiers of licences are compared without case (SPDX 2.3, annex D.2). Who denies `AGPL-3.0`, as it
# was written before there was `-only`, means the licence, whatever stands behind. Who writes `-only` or
# `-or-later` means that one, in its newer spelling and in the older ones.
is_denied(id) if {
	plain := license_plain(id)
	some denied in denied_meanings
	denied.base == license_base(plain)
	is_later(plain) in denied.later
}

denied_meanings := [{"base": license_base(plain), "later": which} |
	some denied in denied_licenses
	plain := license_plain(denied)
	which := {later | some later in [true, false]; not is_other(plain, later)}
]

is_other(plain, later) if {
	regex.match(suffix, plain)
	is_later(plain) != later
}

suffix := `(-only|-or-later|\+)$`

license_base(plain) := regex.replace(regex.replace(plain, suffix, ""), `\.0$`, "")

is_later(plain) := regex.match(`(-or-later|\+)$`, plain)

# Without what stands around an identifier where it is a name of one's own (`LicenseRef-AGPL-3.0`), a
# file (`agpl-3.0.en.html`) or how others write it (`AGPLv3`).
license_plain(id) := regex.replace(
	regex.replace(
		regex.replace(
			regex.replace(lower(trim_space(id)), `^(documentref-[^:]*:)?licenseref-(scancode-)?`, ""),
			`(-license)?(\.en)?(\.(html?|json|md|php|txt))?$`, "",
		),
		`^([al]?gpl)[-_ ]?v?([0-9])`, "$1-$2",
	),
	`^license-2\.0$`, "apache-2.0",
)

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
	some field in ["id", "name", "url"]
	text := entry.license[field]
} | {text |
	some entry in licenses(component)
	some text in names_in(entry.license.text.content)
} | {text |
	is_array(component.externalReferences)
	some reference in component.externalReferences
	reference.type == "license"
	text := reference.url
} | {text |
	some field in ["licenseConcluded", "licenseDeclared"]
	text := component[field]
} | {text |
	some field in ["licenseInfoFromFiles", "licenseInfoInFiles", "licenseInfoInSnippets"]
	is_array(component[field])
	some text in component[field]
}

# What a text of a licence calls it: a line is a name, as tools write one that have nothing else. A whole
# licence may speak of others, too.
names_in(text) := {text} if {
	is_string(text)
	count(text) <= 200
	not contains(trim_space(text), "\n")
} else := {found[1] |
	is_string(text)
	some found in regex.find_all_string_submatch_n(`SPDX-License-Identifier:[ \t]*([^\r\n*]+)`, text, -1)
}

# The licences that an SPDX document defines itself and that are denied: pairs of the name that it gives
# to one, and what that is.
denied_references(s) := {[lower(info.licenseId), id] |
	is_array(s.predicate.hasExtractedLicensingInfos)
	some info in s.predicate.hasExtractedLicensingInfos
	is_string(info.licenseId)
	some text in extracted_texts(info)
	is_string(text)
	some id in ids(text)
	is_denied(id)
}

extracted_texts(info) := {info.name | is_string(info.name)} | {text |
	some text in names_in(info.extractedText)
} | {text |
	is_array(info.seeAlsos)
	some text in info.seeAlsos
} | {cross.url |
	is_array(info.crossRefs)
	some cross in info.crossRefs
}
