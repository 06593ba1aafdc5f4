package sealpack.sbom

hex := split(input.image.digest, ":")[1]

# Hex is the same in either case.
is_hex(text) if {
	is_string(text)
	lower(text) == hex
}

names_hex(text) if {
	is_string(text)
	contains(lower(text), hex)
}

# An SBOM of another image, signed by someone accepted and attached to this one, is still the SBOM
# of another image.
is_image(component) if component.version == input.image.digest

is_image(component) if component.versionInfo == input.image.digest

is_image(component) if {
	is_array(component.hashes)
	some hash in component.hashes
	is_hex(hash.content)
}

is_image(component) if {
	is_array(component.checksums)
	some checksum in component.checksums
	is_hex(checksum.checksumValue)
}

is_image(component) if names_hex(component.purl)

is_image(component) if {
	is_array(component.externalRefs)
	some reference in component.externalRefs
	is_purl(reference)
	names_hex(reference.referenceLocator)
}

# The type of a reference in any letters, or as RDF has it: `http://spdx.org/rdf/references/purl`.
is_purl(reference) if {
	is_string(reference.referenceType)
	regex.match(`^(.*/)?purl$`, lower(reference.referenceType))
}

is_about_image(s) if is_image(s.predicate.metadata.component)

described(s) := {r.relatedSpdxElement |
	is_array(s.predicate.relationships)
	some r in s.predicate.relationships
	r.relationshipType == "DESCRIBES"
} | {id | is_array(s.predicate.documentDescribes); some id in s.predicate.documentDescribes}

is_about_image(s) if {
	is_array(s.predicate.packages)
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
