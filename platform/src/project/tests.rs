use super::*;

const OLD: &str = r#"
[project]
id = "example.app"
version = "1.2"
source-url = "https://git.example/app"
[[project.licenses]]
type = "MIT"

[build]
exclude = ["*.jar", "/target/"]
builder = "example/builder"
[[build.buildpacks]]
id = "example/one"
version = "1.0"
[[build.buildpacks]]
uri = "../two"
[[build.env]]
name = "A"
value = "1"
[build.pre]
group = [{ id = "before" }]

[metadata]
anything = 1

[tool.other]
anything = 1
"#;

const NEW: &str = r#"
[_]
schema-version = "0.3"
name = "App"
version = "2"
[_.metadata]
anything = 1

[io.buildpacks]
include = ["src/", "!*.tmp"]
[[io.buildpacks.group]]
id = "example/only-for-tests"
exec-env = ["test"]
[[io.buildpacks.group]]
id = "inline"
[io.buildpacks.group.script]
api = "0.10"
inline = "echo hello"
[[io.buildpacks.post.group]]
uri = "docker://r.example/after"
[[io.buildpacks.build.env]]
name = "A"
value = "1"
[[io.buildpacks.build.env]]
name = "A"
value = "2"
exec-env = ["test"]

[io.other]
anything = 1
"#;

fn parse(text: &str) -> Result<Project, ProjectError> {
    Project::parse(Path::new("project.toml"), text)
}

fn warnings(text: &str) -> Vec<String> {
    let project = parse(text).unwrap();
    let warnings = project.warnings.iter();
    warnings
        .map(|it| format!("{}: {}", it.line, it.text))
        .collect()
}

fn problem(text: &str) -> String {
    let error = parse(text).unwrap_err().to_string();
    error.replace("`project.toml`, ", "")
}

#[test]
fn schema_0_1_is_read() {
    let project = parse(OLD).unwrap();
    assert_eq!(project.schema, Schema::V0_1);
    assert_eq!(project.builder.as_deref(), Some("example/builder"));
    let Files::Exclude(patterns) = &project.files else {
        panic!("{:?}", project.files);
    };
    assert!(patterns.mean(b"a/b.jar", false));
    let what: Vec<_> = project.group.iter().map(|it| it.what.clone()).collect();
    let expected = [
        What::Id("example/one@1.0".to_owned()),
        What::Uri("../two".to_owned()),
    ];
    assert_eq!(what, expected);
    assert_eq!(project.pre[0].what, What::Id("before".to_owned()));
    assert_eq!(
        project.env_in("production").collect::<Vec<_>>(),
        [("A", "1")]
    );
    let source = project.metadata().source.unwrap();
    assert_eq!(source.kind, "project");
    assert_eq!(source.version["declared"].as_str(), Some("1.2"));
    assert_eq!(
        source.metadata["url"].as_str(),
        Some("https://git.example/app")
    );
    assert_eq!(
        warnings(OLD),
        ["1: no `schema-version` in the table `_`: read as schema 0.1"]
    );
}

#[test]
fn schema_0_3_is_read_with_its_execution_environments() {
    let project = parse(NEW).unwrap();
    assert_eq!(project.schema, Schema::V0_3);
    assert!(project.warnings.is_empty(), "{:?}", project.warnings);
    let in_group = |exec_env: &str| {
        project
            .group
            .iter()
            .filter(|it| it.is_for(exec_env))
            .count()
    };
    assert_eq!([in_group("production"), in_group("test")], [1, 2]);
    let env = |exec_env| project.env_in(exec_env).last().unwrap().1.to_owned();
    assert_eq!([env("production"), env("test")], ["1", "2"]);
    assert_eq!(project.post[0].line, 19);
    assert_eq!(
        project.metadata().source.unwrap().version["declared"].as_str(),
        Some("2")
    );
    let Files::Include(patterns) = &project.files else {
        panic!("{:?}", project.files);
    };
    assert!(patterns.mean(b"src/a", false));
}

#[test]
fn a_script_becomes_a_buildpack() {
    let project = parse(NEW).unwrap();
    let What::Script(script) = &project.group[1].what else {
        panic!("{:?}", project.group);
    };
    let folder = tempfile::tempdir().unwrap();
    script.write(&folder.path().join("a")).unwrap();
    let read = |name: &str| std::fs::read_to_string(folder.path().join("a").join(name)).unwrap();
    assert_eq!(read("bin/build"), "#!/bin/sh\n\necho hello\n");
    assert_eq!(read("bin/detect"), "#!/bin/sh\n\nexit 0\n");
    let table: toml::Table = read("buildpack.toml").parse().unwrap();
    assert_eq!(table["api"].as_str(), Some("0.10"));
    assert_eq!(table["buildpack"]["id"].as_str(), Some("inline"));
    assert_eq!(table["buildpack"]["version"].as_str(), Some("0.0.0"));
}

#[test]
fn what_means_nothing_is_warned_of() {
    assert_eq!(
        warnings("[project]\nnmae = 1\n[io.buildpacks]\nexclude = []\n"),
        [
            "1: no `schema-version` in the table `_`: read as schema 0.1",
            "2: the key `project.nmae` is not known, and is ignored",
            "3: `io.buildpacks` is of schema 0.2, and is ignored: write `schema-version = \"0.2\"` into the table `_`",
        ]
    );
    let text = r#"
[_]
schema-version = "0.2"
verison = "1"
[build]
[io.buildpacks]
includes = ["a"]
exclude = ["../a", "b"]
[[io.buildpacks.group]]
id = "a"
exec-env = ["test"]
optional = true
[[io.buildpacks.env.build]]
name = "A"
value = "1"
"#;
    assert_eq!(
        warnings(text),
        [
            "4: the key `_.verison` is not known, and is ignored",
            "5: `build` is of schema 0.1, and is ignored in schema 0.2",
            "7: the key `io.buildpacks.includes` is not known, and is ignored",
            "8: the pattern `../a` means nothing: paths are those in the app, without `.` and `..`",
            "11: `exec-env` is of schema 0.3, and is ignored: write `schema-version = \"0.3\"` into the table `_`",
            "12: the key `io.buildpacks.group.optional` is not known, and is ignored",
            "13: `io.buildpacks.env.build` is the wrong key: it is `io.buildpacks.build.env`",
        ]
    );
}

#[test]
fn the_wrong_key_for_variables_counts_if_there_is_no_right_one() {
    let wrong =
        "[_]\nschema-version = \"0.2\"\n[[io.buildpacks.env.build]]\nname = \"A\"\nvalue = \"1\"\n";
    assert_eq!(parse(wrong).unwrap().env[0].value, "1");
    let both = format!("{wrong}[[io.buildpacks.build.env]]\nname = \"A\"\nvalue = \"2\"\n");
    let project = parse(&both).unwrap();
    assert_eq!(project.env.len(), 1);
    assert_eq!(project.env[0].value, "2");
}

#[test]
fn what_cannot_be_is_refused_with_its_line() {
    let with = |text: &str| format!("[_]\nschema-version = \"0.2\"\n[io.buildpacks]\n{text}");
    let member = |text: &str| with(&format!("[[io.buildpacks.group]]\n{text}"));
    let script = |text: &str| member(&format!("id = \"a\"\nscript = {{ {text} }}\n"));
    let env = |text: &str| with(&format!("[[io.buildpacks.build.env]]\n{text}"));
    let exec_env = env("name = \"A\"\nexec-env = [\"a b\"]\n").replace("0.2", "0.3");
    for (text, expected) in [
        (
            "[_]\nschema-version = \"0.9\"\n".to_owned(),
            "line 2: schema version `0.9` is not known: it is `0.1`, `0.2` or `0.3`",
        ),
        (
            "[_]\nschema-version = 0.2\n".to_owned(),
            "line 2: `schema-version` is not a text: write it as `\"0.2\"`",
        ),
        (
            with("include = []\nexclude = [\"a\"]\n"),
            "line 5: there is `include` as well as `exclude`: keep one of them",
        ),
        (
            with("include = \"a\"\n"),
            "line 4: `io.buildpacks.include` is not a list of texts",
        ),
        (
            with("include = [\n1]\n"),
            "line 5: `io.buildpacks.include` is not a list of texts",
        ),
        (
            with("include = [\"a\\nb\"]\n"),
            "line 4: a pattern in `include` has several lines: make it several",
        ),
        (
            with("build = 1\n"),
            "line 4: `io.buildpacks.build` is not a table",
        ),
        (
            member("version = \"1\"\n"),
            "line 4: a buildpack has neither an `id` nor a `uri`",
        ),
        (
            member("uri = \"a\"\nversion = \"1\"\n"),
            "line 6: a buildpack has a `uri` as well as a `version`: what is at the `uri` has its own version",
        ),
        (
            member("uri = \"a\"\nscript = {}\n"),
            "line 5: a buildpack has a `uri` as well as a `script`: keep one of them",
        ),
        (
            script("inline = \"a\""),
            "line 6: an inline buildpack needs `api` in its table `script`",
        ),
        (
            script("api = \"0.10\""),
            "line 6: an inline buildpack needs `inline` in its table `script`",
        ),
        (
            script("api = \"0.10\", inline = \"a\"").replace("\"a\"\ns", "\"../a b\"\ns"),
            "line 5: `../a b` cannot be an id",
        ),
        (
            script("api = \"0.10\", inline = \"a\"")
                .replace("\nscript", "\nversion = \"../1\"\nscript"),
            "line 6: `../1` is not a version",
        ),
        (
            script("api = \"0.10\", inline = \"a\", shell = \"/bin/a\\n\""),
            "line 6: `shell` is one line, of at most 200 bytes",
        ),
        (env("value = \"1\"\n"), "line 4: a variable has no `name`"),
        (
            env("name = \"../A\"\n"),
            "line 5: `../A` cannot be the name of a variable",
        ),
        (
            "[[project.licenses]]\n".to_owned(),
            "line 1: a license has a `type` or a `uri`",
        ),
        (exec_env, "line 6: `a b` cannot be an execution environment"),
    ] {
        assert_eq!(problem(&text), expected, "{text}");
    }
    assert!(problem("[build\n").starts_with("line 1: "));
}

#[test]
fn only_files_of_some_size_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let error = Project::load(folder.path()).unwrap_err();
    assert!(matches!(error, ProjectError::NoFile { .. }), "{error}");
    let path = folder.path().join(FILE);
    std::fs::write(&path, vec![b'\n'; 1 + (1 << 20)]).unwrap();
    let error = Project::load(&path).unwrap_err();
    assert!(matches!(error, ProjectError::TooLarge { .. }), "{error}");
}
