package sealpack.sbom

# A purl has many spellings, and what is denied is denied in each: its scheme, its type and most names are
# compared without case, any character may be encoded, and empty segments of its path count for nothing.
plain(purl) := shortened(decoded(lower(trim_space(purl)), {}))

# The same of a pattern. What stands for itself because it is encoded, but would mean something in a
# pattern, stands for any one character there.
plain_pattern(pattern) := shortened(decoded(
	lower(trim_space(pattern)),
	{"%2a": "?", "%5b": "?", "%5c": "?", "%5d": "?", "%7b": "?", "%7d": "?"},
))

# With the qualifiers and the path that may stand behind the version (`?arch=amd64`, `#sub/path`), and
# without: who denies a version means it for each architecture.
spellings(purl) := {purl, trim_right(regex.replace(purl, `[?#].*$`, ""), "/")}

shortened(purl) := trim_right(
	regex.replace(regex.replace(purl, `^pkg:/+`, "pkg:"), `/+`, "/"),
	"/",
)

decoded(text, others) := text if {
	not contains(text, "%")
} else := strings.replace_n(object.union(characters, others), text)

# Letters as they are compared: in lower case.
characters := {
	"%20": " ", "%21": "!", "%22": "\"", "%23": "#", "%24": "$", "%25": "%", "%26": "&", "%27": "'",
	"%28": "(", "%29": ")", "%2a": "*", "%2b": "+", "%2c": ",", "%2d": "-", "%2e": ".", "%2f": "/",
	"%30": "0", "%31": "1", "%32": "2", "%33": "3", "%34": "4", "%35": "5", "%36": "6", "%37": "7",
	"%38": "8", "%39": "9", "%3a": ":", "%3b": ";", "%3c": "<", "%3d": "=", "%3e": ">", "%3f": "?",
	"%40": "@", "%41": "a", "%42": "b", "%43": "c", "%44": "d", "%45": "e", "%46": "f", "%47": "g",
	"%48": "h", "%49": "i", "%4a": "j", "%4b": "k", "%4c": "l", "%4d": "m", "%4e": "n", "%4f": "o",
	"%50": "p", "%51": "q", "%52": "r", "%53": "s", "%54": "t", "%55": "u", "%56": "v", "%57": "w",
	"%58": "x", "%59": "y", "%5a": "z", "%5b": "[", "%5c": "\\", "%5d": "]", "%5e": "^", "%5f": "_",
	"%60": "`", "%61": "a", "%62": "b", "%63": "c", "%64": "d", "%65": "e", "%66": "f", "%67": "g",
	"%68": "h", "%69": "i", "%6a": "j", "%6b": "k", "%6c": "l", "%6d": "m", "%6e": "n", "%6f": "o",
	"%70": "p", "%71": "q", "%72": "r", "%73": "s", "%74": "t", "%75": "u", "%76": "v", "%77": "w",
	"%78": "x", "%79": "y", "%7a": "z", "%7b": "{", "%7c": "|", "%7d": "}", "%7e": "~",
}
