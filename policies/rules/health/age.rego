package sealpack.health

# What may not be older than so many days, where it is said, and how it is called.
ages := {
	"health-age-days": [["asOf"], "the statement about health"],
	"health-last-commit-days": [["commits", "last"], "the last commit"],
	"health-last-release-days": [["releases", "last", "time"], "the last release"],
}

day := ((24 * 60) * 60) * 1000000000

# Undefined if there is no such time.
time_of(s, path) := time.parse_rfc3339_ns(text) if {
	text := object.get(said(s), path, null)
	is_string(text)
	regex.match(`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z$`, text)
}

# By a time that was given: without one, a rule about ages cannot decide.
is_young(s, path, days) if {
	is_number(days)
	age := time.now_ns() - time_of(s, path)
	age <= days * day

	# What is later than now was made up.
	age >= 0 - day
}

problem contains p if {
	some parameter, [path, what] in ages
	days := input.parameters[parameter]
	some s in health
	not is_young(s, path, days)
	p := {
		"statement": s.digest,
		"message": sprintf("%s is older than %v days, or its time is not known", [what, days]),
		"solution": "measure again, use a source that is alive, or allow more in the policy's parameters",
	}
}
