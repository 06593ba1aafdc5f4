package sealpack.health

has_file(s, name) if {
	path := object.get(said(s), ["files", name], null)
	is_string(path)
	path != ""
}

problem contains p if {
	some name in input.parameters["health-files"]
	some s in health
	not has_file(s, name)
	p := {
		"statement": s.digest,
		"message": sprintf("the source has no file of the kind `%v`", [name]),
		"solution": "add one to the source, or take it out of `parameters.health-files`",
	}
}
