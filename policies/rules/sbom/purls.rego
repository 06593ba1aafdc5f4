package sealpack.sbom

# A purl has many spellings, and what is denied is denied in each: its scheme, its type and most names are
# compared without case, any character may be encoded, and empty segments of its path count for nothing.
plain(purl) := shortened(lower(decoded(lower(trim_space(purl)))))

shortened(purl) := trim_right(
	regex.replace(regex.replace(purl, `^pkg:/+`, "pkg:"), `/+`, "/"),
	"/",
)

encoded := `(?:%[0-9a-f]{2})+`

# Each run of encoded bytes is UTF-8, and is decoded once: `%2540` is `%40`.
decoded(text) := text if {
	not contains(text, "%")
} else := woven(regex.split(encoded, text), [urlquery.decode(run) |
	some run in regex.find_n(encoded, text, -1)
])

# What stands for itself in a pattern because it is encoded, but would mean something there, stands for any
# one character.
decoded_pattern(text) := text if {
	not contains(text, "%")
} else := woven(regex.split(encoded, text), [regex.replace(urlquery.decode(run), `[*?\[\]{}\\]`, "?") |
	some run in regex.find_n(encoded, text, -1)
])

# One of `outer`, one of `inner`, and so on.
woven(outer, inner) := concat("", [part |
	some index, text in outer
	part := concat("", [text, object.get(indexed(inner), index, "")])
])

indexed(list) := {index: text | some index, text in list}

# All that a pattern has to match one of.
#
# - With the qualifiers and the path that may stand behind the version (`?arch=amd64`, `#sub/path`), and
#   without: who denies a version means it for each architecture. Qualifiers stand in any order.
# - Without a version it may be any, and so it is one that `@*` matches.
# - Names of Python projects are the same with `-`, `_` and `.`, one or several (PEP 503): in a spelling of
#   their own, so that no other purl is matched by what is meant for these.
spellings(purl) := {[kind, spelled] |
	full := plain(purl)
	bare := trim_right(regex.replace(full, `[?#].*$`, ""), "/")
	some one in {full, ordered(full), bare} | {sprintf("%s@", [bare]) | not has_version(bare)}
	some kind, spelled in kinds(one)
}

kinds(purl) := {"plain": purl, "python": python(purl)} if {
	startswith(purl, "pkg:pypi/")
} else := {"plain": purl}

# All that a pattern means, of each kind. One without a version means each.
pattern_spellings(pattern) := {"plain": meant, "python": {python_pattern(one) | some one in meant}} if {
	full := shortened(lower(decoded_pattern(lower(trim_space(pattern)))))
	meant := {full} | {sprintf("%s@*", [full]) | not has_version(full)}
}

# The `@` of a scope stands before the last slash, or at the beginning of a segment.
has_version(purl) if regex.match(`[^/:]@[^/]*$`, purl)

ordered(purl) := sprintf("%s?%s", [
	found[0][1],
	concat("&", sort(split(found[0][2], "&"))),
]) if {
	found := regex.find_all_string_submatch_n(`^([^?#]*)\?([^#]*)`, purl, 1)
	count(found) > 0
} else := purl

# Up to the version only, in which these differ.
python(purl) := concat("@", array.concat(
	[regex.replace(split(purl, "@")[0], `[-_.]+`, "-")],
	array.slice(split(purl, "@"), 1, count(split(purl, "@"))),
))

class := `\[[^\]]*\]`

# The same of a pattern. In a class of characters a separator more stands at its end, where it begins no range.
python_pattern(pattern) := concat("@", array.concat(
	[woven(
		[regex.replace(text, `[-_.]+`, "-") | some text in regex.split(class, split(pattern, "@")[0])],
		[regex.replace(found, `^(.*[_.].*)\]$`, "$1-]") | some found in regex.find_n(class, split(pattern, "@")[0], -1)],
	)],
	array.slice(split(pattern, "@"), 1, count(split(pattern, "@"))),
))
