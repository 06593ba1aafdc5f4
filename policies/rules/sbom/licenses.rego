package sealpack.sbom

# All that an SBOM says of the licences of a component: names, identifiers and addresses, and texts.
license_said(component) := {["name", text] |
	some text in license_names(component)
	is_string(text)
} | {["text", text] | some text in license_texts(component)}

# What a licence is called by one of these.
license_ids(said) := ids(said[1]) if {
	said[0] == "name"
} else := ids_in(said[1])

# A licence that is an alternative (`MIT OR AGPL-3.0-only`) is found too: which one was chosen is
# not known.
ids(text) := address_ids(trim_space(text)) if {
	is_address(trim_space(text))
} else := full(line) if {
	line := typed(text)
	full(line)
} else := ((words(line) | gnu_names(line)) | official(line)) | {id |
	some found in regex.find_n(address, line, -1)
	some id in address_ids(found)
} if {
	line := typed(text)
}

# The name of a listed licence in full, and nothing else. What other identifiers are in it are not meant: `MIT No
# Attribution` is not `MIT`. An identifier is what it is, even if it is also the name of another licence.
full(line) := {official_names[id] | some id in named} | ({word |
	some word in words(line)
	not official_names[lower(word)]
} | gnu_names(line)) if {
	not official_names[lower(trim_space(line))]
	named := official_ids[name_plain(line)]
}

# `MIT/Apache-2.0` is how Cargo once wrote an alternative.
words(line) := {id |
	some word in regex.split(`[()\[\]{}<>\s,;/|&"'“”‘’«»\x60]+`, regex.replace(line, address, " "))
	id := trim(word, ".:!")
	id != ""
	# What is said behind belongs to it: `GPL-3.0 or later`.
	not regex.match(gnu_word, id)
}

# With the dashes and blanks of ASCII.
typed(text) := regex.replace(
	regex.replace(text, `[\x{2010}-\x{2015}\x{2212}]`, "-"),
	`[\x{a0}\x{2000}-\x{200a}\x{202f}\x{3000}]`, " ",
)

address := `(?i)https?://[^\s()\[\]<>"'\x60]+`

is_address(text) if regex.match(`(?i)^https?://\S+$`, text)

# `https://spdx.org/licenses/MIT.html`. The last segment is a licence where licences are published, and
# elsewhere if it has a version: `https://example.test/json` is some program.
address_ids(text) := {id |
	plain := trim_right(split(split(text, "#")[0], "?")[0], "/.,;")
	some segment in regex.find_n(`[^/]+$`, plain, 1)
	id := typed(decoded_id(segment))
	is_published(plain, id)
} | {sprintf("CC-%s-%s", [upper(found[1]), found[2]]) |
	some found in regex.find_all_string_submatch_n(
		`(?i)^https?://(?:www\.)?creativecommons\.org/licenses/([a-z-]+)/([0-9.]+)`,
		text, 1,
	)
} | {sprintf("CC0-%s", [found[1]]) |
	some found in regex.find_all_string_submatch_n(
		`(?i)^https?://(?:www\.)?creativecommons\.org/publicdomain/zero/([0-9.]+)`,
		text, 1,
	)
}

decoded_id(segment) := decoded(lower(segment)) if {
	contains(segment, "%")
} else := segment

is_published(text, _) if regex.match(
	`(?i)^https?://([a-z0-9-]+\.)*(spdx\.org|opensource\.org|gnu\.org|apache\.org|choosealicense\.com|creativecommons\.org)[:/]`,
	text,
)

is_published(_, segment) if regex.match(`[0-9]`, segment)

# GNU's licences, as people call them: `GNU Affero General Public License (AGPL) version 3 or later`,
# `AGPL v3`, `GPL (>= 2)`. A group for the name, one for `>=`, the version, what is said of later ones, and
# what else belongs to the word.
gnu_phrase := concat("", [
	# Of ASCII only, or it would be larger than what an engine takes.
	`(?i-u:`,
	`((?:gnu[-\s]+)?(?:(?:affero|lesser|library)[-\s]+)?(?:(?:gnu[-\s]+)?general[-\s]+public[-\s]+licen[cs]e|gpl)`,
	`|gnu[-\s]+(?:(?:affero|lesser|library)[-\s]+)?public[-\s]+licen[cs]e`,
	`|(?:gnu[-\s]+)?[al]gpl)`,
	`(?:[-\s]+licen[cs]e)?(?:\s*\(\s*(?:gnu\s+)?[al]?gpl\s*\))?`,
	`(?:\s+as\s+published\s+by\s+the\s+free\s+software\s+foundation[;,]?(?:\s+either)?)?`,
	`(?:[-_\s,:]*\(?\s*(?:version|vers?\.?|v\.?|(>=))[-_\s]*|[-_\s]*)`,
	`([0-9]+(?:\.[0-9]+)*)(?:\s+of\s+the\s+licen[cs]e)?`,
	`(\+|-plus\b|[-_\s,]*\(?\s*(?:or|and)[-_\s,]+(?:\(?\s*at\s+your\s+(?:option|choice|discretion)\s*\)?[,\s]*)?`,
	`(?:any\s+)?(?:later|newer|greater|above|higher)\b|[-_\s]*only\b)?`,
	`(\w*(?:[-.+]\w+)*))`,
])

gnu_word := `(?i)^[al]?gpl[-_]?v?\.?[0-9]+(\.[0-9]+)*(\+|-only|-or-later)?(-with-.*)?$`

gnu_names(text) := {id |
	some found in regex.find_all_string_submatch_n(
		concat("", [`(?:^|[\s()\[\]{}<>,;:/|&"'“”‘’«»\x60=])(`, gnu_phrase, ")"]),
		text, -1,
	)
	is_whole(found[6])
	id := regex.replace(trim_space(found[1]), `\s+`, " ")
}

# `-with-classpath-exception`, as `WITH` was once written.
is_whole(tail) if tail == ""

is_whole(tail) if startswith(lower(tail), "-with-")

# One of them as SPDX writes it.
gnu(text) := concat("", [letter, "gpl-", found[0][3], later]) if {
	found := regex.find_all_string_submatch_n(concat("", ["^", gnu_phrase, "$"]), text, 1)
	count(found) > 0
	is_whole(found[0][5])
	letter := gnu_letter(lower(found[0][1]))
	later := gnu_later(lower(concat("", [found[0][2], found[0][4]])))
}

gnu_letter(name) := "a" if {
	regex.match(`affero|agpl`, name)
} else := "l" if {
	regex.match(`lesser|library|lgpl`, name)
} else := ""

gnu_later(said) := "" if {
	said == ""
} else := "-only" if {
	endswith(said, "only")
} else := "-or-later"

# Identifiers of licences are compared without case (SPDX 2.3, annex D.2). Who denies `AGPL-3.0`, as it
# was written before there was `-only`, means the licence, whatever stands behind. Who writes `-only` or
# `-or-later` means that one, in its newer spelling and in the older ones.
is_denied(id) if is_meant(id)

is_denied(id) if own_name(id) in denied_own

is_denied(id) if denied_official[id]

# A name in full.
is_denied(name) if {
	contains(name, " ")
	some id in official_ids[name_plain(name)]
	is_meant(id)
}

is_meant(id) if {
	plain := license_plain(id)
	some denied in denied_meanings
	denied.base == license_base(plain)
	is_later(plain) in denied.later
}

denied_meanings := [{"base": license_base(plain), "later": which} |
	some denied in denied_licenses
	not is_own(denied)
	plain := license_plain_denied(denied)
	which := {later | some later in [true, false]; not is_other(plain, later)}
]

# A name of one's own is only itself: `LicenseRef-Commercial` is not the word `commercial`. An identifier with
# an exception in it is not all else that the licence is used for.
denied_own := {own_name(denied) |
	some denied in denied_licenses
	is_exact(denied)
}

is_exact(denied) if is_own(denied)

is_exact(denied) if contains(lower(denied), "-with-")

is_own(id) if regex.match(`^(documentref-[^:]*:)?licenseref-`, lower(id))

own_name(id) := regex.replace(lower(trim_space(id)), `^documentref-[^:]*:`, "")

license_plain_denied(denied) := license_plain(denied) if {
	not contains(lower(denied), "-with-")
}

is_other(plain, later) if {
	regex.match(suffix, plain)
	is_later(plain) != later
}

suffix := `(-only|-or-later|\+)$`

license_base(plain) := regex.replace(regex.replace(plain, suffix, ""), `\.0$`, "")

is_later(plain) := regex.match(`(-or-later|\+)$`, plain)

# Without what stands around an identifier where it is a name of one's own (`LicenseRef-AGPL-3.0`), a
# file (`agpl-3.0.en.html`, `LICENSE.AGPL-3.0`) or how others write it (`AGPLv3`).
license_plain(id) := plain if {
	plain := gnu(license_bare(id))
} else := regex.replace(license_bare(id), `^license-2\.0$`, "apache-2.0")

license_bare(id) := regex.replace(
	regex.replace(
		regex.replace(lower(trim_space(id)), `^(documentref-[^:]*:)?licenseref-(scancode-)?`, ""),
		`(-license)?(-standalone)?((\.[a-z]{2}(-[a-z]{2})?)?\.(html?|json|md|php|txt|xml))?$`, "",
	),
	`^(?:licen[cs]e|copying)[-_.]([a-z])`, "$1",
)

# The denied licences whose names in full are in `text`, in other words for the version, too: `Apache License,
# Version 2.0`. A longer name with one in it counts, unless it is that of another licence (`full`).
official(text) := {name |
	count(denied_official) > 0
	# `Eclipse Public License (EPL) v1.0`: with what is in brackets and without.
	some one in {text, regex.replace(text, `\(\s*[A-Za-z]{2,6}\s*\)`, " ")}
	said := sprintf(" %s ", [name_plain(one)])
	some name, plain in denied_official
	contains(said, sprintf(" %s ", [plain]))
}

denied_official[name] := plain if {
	some denied in denied_licenses
	name := official_names[lower(trim_space(denied))]
	plain := name_plain(name)
	# One word is found where it is the identifier, and where nothing else is said (`full`).
	contains(plain, " ")
}

official_ids[plain] contains official_list[index] if some index, plain in official_plain

official_list := [id | some id, _ in official_names]

# Made plain in one go, with a word between them that none has: one by one takes a hundred times as long.
official_plain := split(name_plain(concat(" zzz ", [official_names[id] | some id in official_list])), " zzz ")

name_plain(text) := trim_space(regex.replace(
	regex.replace(
		regex.replace(
			regex.replace(name_words(lower(text)), `(?:\s-\s|[^\p{L}0-9.+-])+`, " "),
			`\b(?:version|vers?\.?|v\.?) ?([0-9])`, "$1",
		),
		`\b(?:the|licen[cs]e)\b`, " ",
	),
	`(?:\.0)?\.?(?:\s+|$)`, " ",
))

# `Server-Side` is two words, as is `NonCommercial`. Twice, for words of one letter.
name_words(text) := replace(
	replace(
		regex.replace(
			regex.replace(text, `(\p{L})-(\p{L})`, "$1 $2"),
			`(\p{L})-(\p{L})`, "$1 $2",
		),
		"noncommercial", "non commercial",
	),
	"sharealike", "share alike",
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

# As of CycloneDX 1.7 an expression has more about its parts.
details(component) := [detail |
	some entry in licenses(component)
	is_array(entry.expressionDetails)
	some detail in entry.expressionDetails
	is_object(detail)
]

license_names(component) := {text |
	some entry in licenses(component)
	text := entry.expression
} | {text |
	some entry in licenses(component)
	some field in ["id", "name", "url"]
	text := entry.license[field]
} | {text |
	some detail in details(component)
	some field in ["licenseIdentifier", "url"]
	text := detail[field]
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

license_texts(component) := {text |
	some entry in licenses(component)
	text := content(entry.license.text)
} | {text |
	some detail in details(component)
	text := content(detail.text)
}

content(attached) := base64.decode(plain) if {
	attached.encoding == "base64"
	is_string(attached.content)
	plain := regex.replace(attached.content, `\s+`, "")
	base64.is_valid(plain)
} else := attached.content if {
	is_string(attached.content)
}

# What a text of a licence calls it: a line is a name, as tools write one that have nothing else. A whole
# licence begins with its own name, and may speak of others behind.
ids_in(text) := ids(text) if {
	count(text) <= 200
	not contains(trim_space(text), "\n")
} else := ((gnu_names(start) | official(start)) | {word |
	# Other words are words: `MIT` and `Intel` are in texts of other licences.
	some word in words(start)
	regex.match(`[0-9]`, word)
}) | {id |
	some found in regex.find_all_string_submatch_n(`(?i)SPDX-License-Identifier:[ \t]*([^\r\n*]+)`, text, -1)
	some id in ids(found[1])
} if {
	start := typed(substring(text, 0, 200))
}

# The licences that an SPDX document defines itself and that are denied, by document and by the name that it
# gives to one, in lower case.
denied_references[document][name] contains id if {
	some s in sbom
	document := s.digest
	is_array(s.predicate.hasExtractedLicensingInfos)
	some info in s.predicate.hasExtractedLicensingInfos
	is_string(info.licenseId)
	name := lower(info.licenseId)
	some id in extracted_ids(info)
	is_denied(id)
}

extracted_ids(info) := {id |
	some text in extracted_names(info)
	is_string(text)
	some id in ids(text)
} | {id |
	is_string(info.extractedText)
	some id in ids_in(info.extractedText)
}

extracted_names(info) := {info.name | is_string(info.name)} | {text |
	is_array(info.seeAlsos)
	some text in info.seeAlsos
} | {cross.url |
	is_array(info.crossRefs)
	some cross in info.crossRefs
}
