package sealpack.sbom

# A purl has many spellings, and what is denied is denied in each: its scheme, its type and most names are
# compared without case, any character may be encoded, and empty segments of its path count for nothing.

# Longer than any that a tool writes. What is longer is not compared.
longest_purl := 4096

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

# One of `outer`, one of `inner`, and so on: of `outer` there is one more.
woven(outer, inner) := concat("", [part |
	padded := array.concat(inner, [""])
	some index, text in outer
	some part in [text, padded[index]]
])

# All that a pattern has to match one of.
#
# - With the qualifiers and the path that may stand behind the version (`?arch=amd64`, `#sub/path`), and
#   without: who denies a version means it for each architecture. Qualifiers stand in any order.
# - Without a version it may be any, and so it is one that `@*` matches.
# - Names of Python projects are the same with `-`, `_` and `.`, one or several (PEP 503): in a spelling of
#   their own, so that no other purl is matched by what is meant for these.
spellings(purl) := {[kind, spelled] |
	parts := cut(lower(trim_space(purl)))
	bare := shortened(lower(decoded(parts.front)))
	all := {behind(bare, tail) | some tail in tails(parts.behind)} | {bare}
	some one in all | {sprintf("%s@", [bare]) | not has_version(bare)}
	some kind, spelled in kinds(one)
}

# What is before the qualifiers and the path, and these. Cut before it is decoded: `%23` is a part of a name.
cut(raw) := {"front": front, "behind": substring(raw, count(front), -1)} if {
	front := split(split(raw, "#")[0], "?")[0]
}

# Qualifiers and path as they stand, in order, and each alone.
tails(raw) := {lower(decoded(tail)) | some tail in orders(raw)}

orders(raw) := {raw, concat("", [qualifiers, path]), qualifiers, path} if {
	front := split(raw, "#")[0]
	path := substring(raw, count(front), -1)
	qualifiers := ordered(front)
}

ordered(qualifiers) := sprintf("?%s", [concat("&", sort(split(trim_prefix(qualifiers, "?"), "&")))]) if {
	startswith(qualifiers, "?")
} else := qualifiers

behind(bare, tail) := shortened(concat("", [bare, tail]))

kinds(purl) := {"plain": purl, "python": python(purl)} if {
	startswith(purl, "pkg:pypi/")
} else := {"plain": purl}

# All that a pattern means, of each kind. One without a version means each.
pattern_spellings(pattern) := {"plain": meant, "python": {python_pattern(one) | some one in meant}} if {
	parts := cut_pattern(lower(trim_space(pattern)))
	bare := shortened(lower(decoded_pattern(parts.front)))
	some_version := {bare} | {sprintf("%s@*", [bare]) | not has_version(bare)}
	meant := {behind(one, lower(decoded_pattern(tail))) |
		some one in some_version
		some tail in {parts.behind, pattern_order(parts.behind)}
	}
}

pattern_order(raw) := concat("", [ordered(front), substring(raw, count(front), -1)]) if {
	front := split(raw, "#")[0]
}

# In a pattern `?` is any one character, unless what follows is a qualifier.
cut_pattern(raw) := {"front": found[0][1], "behind": found[0][2]} if {
	found := regex.find_all_string_submatch_n(
		`(?s)^((?:\[[^\]]*\]|[^\[])*?)(\?[a-z][a-z0-9._-]*=.*|#.*)$`,
		raw, 1,
	)
	count(found) > 0
} else := {"front": raw, "behind": ""}

# The `@` of a scope stands before the last slash, or at the beginning of a segment.
has_version(purl) if regex.match(`[^/:]@[^/]*$`, purl)

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
