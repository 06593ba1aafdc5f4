package sealpack.health

# Of what: where it is counted, and how it is called.
signed := {
	"health-signed-commits-percent": ["commitsLastYear", "commits of the last year"],
	"health-signed-tags-percent": ["tags", "tags"],
}

has_signatures(s, of, percent) if {
	is_number(percent)
	total := figure(s, ["signatures", of, "total"])
	total > 0
	figure(s, ["signatures", of, "signed"]) * 100 >= percent * total
}

problem contains p if {
	some parameter, [of, what] in signed
	percent := input.parameters[parameter]
	some s in health
	not has_signatures(s, of, percent)
	p := {
		"statement": s.digest,
		"message": sprintf("fewer than %v %% of the %s carry a signature", [percent, what]),
		"solution": "sign them, or ask for less in the policy's parameters",
	}
}
