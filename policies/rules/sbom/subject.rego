package sealpack.sbom

hex := split(input.image.digest, ":")[1]

# An SBOM of another image, signed by someone accepted and attached to this one, is still the SBOM
# of another image.
is_image(component) if component.version == input.image.digest

is_image(component) if component.versionInfo == input.image.digest

is_image(component) if {
	some hash in component.hashes
	hash.content == hex
}

is_image(component) if {
	some checksum in component.checksums
	checksum.checksumValue == hex
}

is_image(component) if contains(component.purl, hex)

is_image(component) if {
	some reference in component.externalRefs
	reference.referenceType == "purl"
	contains(reference.referenceLocator, hex)
}

is_about_image(s) if is_image(s.predicate.metadata.component)

described(s) := {r.relatedSpdxElement |
	some r in s.predicate.relationships
	r.relationshipType == "DESCRIBES"
} | {id | some id in s.predicate.documentDescribes}

is_about_image(s) if {
	some component in s.predicate.packages
	component.SPDXID in described(s)
	is_image(component)
}

problem contains p if {
	some s in sbom
	not is_about_image(s)
	p := {
		"statement": s.digest,
		"message": "SBOM does not say that it is about this image",
		"solution": "make one that names the image's digest: version, hash or purl of its main component",
	}
}
