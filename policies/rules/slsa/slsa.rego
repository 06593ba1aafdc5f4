# METADATA
# title: One provenance statement has all that is asked for
# description: >
#   The other files of this package say what is wrong with a statement. A statement by which nothing
#   is wrong is enough; so another one, or one less, never makes a rejected image accepted.
package sealpack.slsa

provenance contains s if {
	some s in input.statements
	s.predicateType == "https://slsa.dev/provenance/v1"
}

flawed contains p.statement if some p in problem

is_proven if {
	some s in provenance
	not s.digest in flawed
}

deny contains finding if {
	count(provenance) == 0
	finding := {
		"message": "no SLSA provenance by an accepted signer",
		"solution": "attach provenance (`https://slsa.dev/provenance/v1`), or accept its signer for `provenance`",
	}
}

deny contains finding if {
	not is_proven
	some p in problem
	finding := {"message": p.message, "solution": p.solution}
}
