//! `project.toml`: what is read names no file outside, and its patterns come to an end.

use std::path::Path;

use platform::project::{Files, Project, What};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "project",
    run,
    seeds,
    words: &[
        "[_]\nschema-version = \"0.3\"\n",
        "[project]\n",
        "[build]\n",
        "[io.buildpacks]\n",
        "[[io.buildpacks.group]]\n",
        "[[io.buildpacks.pre.group]]\n",
        "[[io.buildpacks.build.env]]\n",
        "[[io.buildpacks.env.build]]\n",
        "exec-env = [\"*\"]\n",
        "include = [\"",
        "exclude = [\"",
        "script = { api = \"0.10\", inline = \"",
        "\"]\n",
        "\"\n",
        "**/",
        "[[:alpha:]]",
        "[!a-",
        "!",
        "\\\\",
        "../",
    ],
    short: 20_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let old = "[project]\nversion = \"1\"\nsource-url = \"https://a.example\"\n[[project.licenses]]\ntype = \"MIT\"\n[build]\nexclude = [\"/a/**/b\", \"!*.[ch]\"]\n[[build.buildpacks]]\nid = \"a/b\"\nversion = \"1.0.0\"\n[[build.env]]\nname = \"A\"\nvalue = \"b\"\n";
    let new = "[_]\nschema-version = \"0.3\"\n[io.buildpacks]\ninclude = [\"src/\", \"**/*.toml\", \"[[:digit:]x-z]?\"]\nbuilder = \"b\"\n[[io.buildpacks.group]]\nid = \"a\"\nexec-env = [\"test\"]\n[io.buildpacks.group.script]\napi = \"0.10\"\ninline = \"echo\"\nshell = \"/bin/bash\"\n[[io.buildpacks.pre.group]]\nuri = \"docker://a/b\"\n[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"b\"\n";
    [old, new].map(|it| it.as_bytes().to_vec()).into()
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let path = Path::new("project.toml");
    let lines = text.split('\n').count();
    let project = match Project::parse(path, text) {
        Ok(project) => project,
        Err(error) => {
            assert!(
                error.to_string().starts_with("`project.toml`, line "),
                "{error}"
            );
            return;
        }
    };
    assert!(
        project
            .warnings
            .iter()
            .all(|it| (1..=lines).contains(&it.line))
    );
    for variable in &project.env {
        let name = Path::new(&variable.name);
        assert_eq!(name.file_name(), Some(name.as_os_str()));
    }
    for wanted in project
        .group
        .iter()
        .chain(&project.pre)
        .chain(&project.post)
    {
        assert!((1..=lines).contains(&wanted.line));
        if let What::Script(script) = &wanted.what {
            let version = Path::new(script.version.as_str());
            assert_eq!(version.file_name(), Some(version.as_os_str()));
            assert!(
                !script.id.as_str().split('/').any(|it| it == ".."),
                "{:?}",
                script.id
            );
            assert!(!script.shell.contains('\n'));
        }
    }
    if let Files::Include(patterns) | Files::Exclude(patterns) = &project.files {
        for path in ["a", "a/x/b", "src/b.c", "1", "x/y/z/Cargo.toml"] {
            // In a folder that is meant, everything is.
            let is_meant = patterns.mean(path.as_bytes(), true);
            assert!(!is_meant || patterns.mean(format!("{path}/x").as_bytes(), false));
        }
    }
}
