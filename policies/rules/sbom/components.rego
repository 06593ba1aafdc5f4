package sealpack.sbom

# An SPDX document lists the image itself as a package.
problem contains p if {
	some s in sbom
	count([c | some c in components(s); not is_image(c)]) == 0
	p := {
		"statement": s.digest,
		"message": "SBOM lists no components",
		"solution": "use buildpacks that write SBOMs, or an SBOM of a scanner",
	}
}
