# METADATA
# title: The source is in good health
# description: >
#   The other files of this package say what is wrong with a statement about the health of the source:
#   only what a parameter asks for. One statement by which nothing is wrong is enough; so another one, or
#   one less, never makes a rejected image accepted.
package sealpack.health

type := "https://sealpack.example/docs/predicates/health-v1.md"

health contains s if {
	some s in input.statements
	s.predicateType == type
}

flawed contains p.statement if some p in problem

is_good if {
	some s in health
	not s.digest in flawed
}

deny contains finding if {
	count(health) == 0
	finding := {
		"message": "no statement about the health of the source by an accepted signer",
		"solution": "attach what `sealpack health --output json` prints, or accept its signer",
	}
}

deny contains finding if {
	not is_good
	some p in problem
	finding := {"message": p.message, "solution": p.solution}
}

# A statement that does not say which commit it is about is about none.
problem contains p if {
	some s in health
	not is_commit(object.get(said(s), ["source", "digest", "gitCommit"], null))
	p := {
		"statement": s.digest,
		"message": "the statement about health does not say of which commit it is",
		"solution": "attach what `sealpack health --output json` prints",
	}
}

# What a statement says; what is not an object says nothing.
said(s) := s.predicate if {
	is_object(s.predicate)
} else := {}

is_commit(text) if {
	is_string(text)
	regex.match(`^([0-9a-f]{40}|[0-9a-f]{64})$`, text)
}

# A number of the statement that is not there counts as none.
figure(s, path) := value if {
	value := object.get(said(s), path, 0)
	is_number(value)
} else := 0

short contains {"statement": s.digest, "what": what, "least": least, "value": value} if {
	some parameter, [path, what] in minimums
	least := input.parameters[parameter]
	some s in health
	value := figure(s, path)
	not at_least(value, least)
}

at_least(value, least) if {
	is_number(least)
	value >= least
}

minimums := {
	"health-contributors": [["contributors", "lastYear"], "people contributed in the last year"],
	"health-new-contributors": [["contributors", "newLastYear"], "people were new in the last year"],
	"health-absence-factor": [["contributors", "absenceFactorLastYear"], "people made half of the last year's contributions"],
	"health-elephant-factor": [["organizations", "elephantFactorLastYear"], "organisations made half of the last year's contributions"],
	"health-commits": [["commits", "lastYear"], "commits were made in the last year"],
	"health-releases": [["releases", "lastYear"], "releases were made in the last year"],
}

problem contains p if {
	some it in short
	p := {
		"statement": it.statement,
		"message": sprintf("%v %s, fewer than %v", [it.value, it.what, it.least]),
		"solution": "use a source with more behind it, or ask for less in the policy's parameters",
	}
}
