use std::path::Path;

use fs_err as fs;
use tempfile::TempDir;

use super::testing::buildpack;
use super::*;
use crate::source;

const GOOD: &str = r#"
description = "For tests"

[[buildpacks]]
id = "example/one"
version = "1.2.3"
uri = "one"

[[buildpacks]]
uri = "file:///nowhere"

[[order]]
[[order.group]]
id = "example/one"
[[order.group]]
id = "two"
version = "0.1.0"
optional = true

[build]
image = "build"
[[build.env]]
name = "GREETING"
value = "hello"
[[build.env]]
name = "PATHS"
value = "/a"
suffix = "append"
delim = ":"
[[build.env]]
name = "ONLY"
value = "in tests"
suffix = "default"
exec-env = ["test"]

[[run.images]]
image = "run"
mirrors = ["mirror/run"]

[stack]
id = "any"
build-image = "build"
run-image = "run"

[lifecycle]
version = "0.21.0"

[[targets]]
os = "linux"
[[targets.distros]]
name = "debian"

[system.pre]
buildpacks = [{ id = "two" }]
"#;

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, id, version) in [("one", "example/one", "1.2.3"), ("two", "two", "0.1.0")] {
        buildpack(&folder.path().join(name), id, version);
    }
    folder
}

fn load(folder: &TempDir, text: &str) -> Result<Builder, BuilderError> {
    let path = folder.path().join("builder.toml");
    let two = folder.path().join("two").display().to_string();
    fs::write(&path, text.replace("/nowhere", &two)).unwrap();
    Builder::load(&path)
}

#[tokio::test]
async fn a_builder_is_read_and_laid_out() {
    let folder = folder();
    let builder = load(&folder, GOOD).unwrap();
    let order: Vec<String> = builder.order.order[0]
        .group
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(order, ["example/one@1.2.3", "two@0.1.0"]);
    assert_eq!(builder.build_image.as_deref(), Some("build"));
    assert_eq!(builder.run.images[0].mirrors, ["mirror/run"]);
    assert_eq!(builder.targets[0].distros[0].name, "debian");

    let target = TempDir::new().unwrap();
    let cnb = target.path().join("cnb");
    builder.lay_out(&cnb, "production").await.unwrap();
    let read = |name: &str| fs::read_to_string(cnb.join(name)).unwrap();
    assert_eq!(
        read("order.toml"),
        "[[order]]\n\n  [[order.group]]\n    id = \"example/one\"\n    version = \"1.2.3\"\n\n  \
         [[order.group]]\n    id = \"two\"\n    version = \"0.1.0\"\n    optional = true\n"
    );
    assert_eq!(
        read("run.toml"),
        "[[images]]\n  image = \"run\"\n  mirrors = [\"mirror/run\"]\n"
    );
    assert!(read("system.toml").contains("two"));
    assert_eq!(read("build-config/env/GREETING"), "hello");
    assert_eq!(read("build-config/env/PATHS.append"), "/a");
    assert_eq!(read("build-config/env/PATHS.delim"), ":");
    assert!(!cnb.join("build-config/env/ONLY.default").exists());
    let copied = cnb.join("buildpacks/example_one/1.2.3");
    assert_eq!(
        source::digest(&copied).unwrap(),
        builder.buildpacks[0].origin.digest
    );
}

#[tokio::test]
async fn a_buildpack_that_changes_after_it_was_hashed_is_not_used() {
    let folder = folder();
    let builder = load(&folder, GOOD).unwrap();
    fs::write(folder.path().join("one/bin/build"), "#!/bin/evil\n").unwrap();
    let target = TempDir::new().unwrap();
    let laid_out = builder.lay_out(target.path(), "production").await;
    let error = laid_out.unwrap_err();
    assert!(matches!(error, LayOutError::Changed { .. }));
}

#[test]
fn each_mistake_is_named_with_its_line() {
    let folder = folder();
    for (good, bad, line, problem) in [
        ("description", "descripton", 2, "unknown field `descripton`"),
        (
            "suffix = \"append\"",
            "suffix = \"apend\"",
            28,
            "unknown variant `apend`",
        ),
        (
            "delim = \":\"",
            "",
            26,
            "`append` and `prepend` need a `delim`",
        ),
        (
            "name = \"GREETING\"",
            "name = \"../X\"",
            23,
            "this cannot be the name of a variable",
        ),
        (
            "id = \"two\"\nversion = \"0.1.0\"",
            "id = \"three\"",
            16,
            "`three` is not listed",
        ),
        (
            "version = \"0.1.0\"",
            "version = \"9.9.9\"",
            16,
            "not listed in version `9.9.9`",
        ),
        (
            "version = \"1.2.3\"",
            "version = \"1.2.4\"",
            6,
            "the version is `1.2.4`",
        ),
        (
            "id = \"example/one\"\nversion = \"1.2.3\"",
            "id = \"example/other\"",
            5,
            "the id is",
        ),
        (
            "uri = \"file:///nowhere\"",
            "uri = \"one\"",
            10,
            "is listed twice",
        ),
        (
            "uri = \"one\"",
            "uri = \"docker://one\"",
            7,
            "is not a local folder",
        ),
        (
            "run-image = \"run\"",
            "run-image = \"other\"",
            40,
            "`stack.run-image` is another",
        ),
        (
            "build-image = \"build\"",
            "build-image = \"other\"",
            40,
            "`stack.build-image` is",
        ),
        (
            "version = \"0.21.0\"",
            "version = \"0.21.0\"\nuri = \"x\"",
            47,
            "both `uri` and",
        ),
        ("[[order]]", "[[order]", 12, ""),
    ] {
        assert!(GOOD.contains(good), "{good}");
        match load(&folder, &GOOD.replacen(good, bad, 1)) {
            Err(BuilderError::Invalid {
                line: presented,
                problem: text,
                ..
            }) => {
                assert!(text.contains(problem) && !text.contains('\n'), "{text}");
                assert_eq!(presented, line, "{text}");
            }
            other => panic!("{bad}: {other:?}"),
        }
    }
    let error = load(&folder, &GOOD.replace("uri = \"one\"", "uri = \"none\"")).unwrap_err();
    assert!(matches!(error, BuilderError::Read { .. }));
}

#[test]
fn a_broken_buildpack_is_named() {
    for (text, line) in [
        ("", 1),
        ("api = \"0.10\"", 1),
        (
            "api = \"0.10\"\n[buildpack]\nid = \"x y\"\nversion = \"1.2.3\"",
            3,
        ),
        (
            "api = \"0.10\"\n[buildpack]\nid = \"x\"\nversion = \"../1.2.3\"",
            4,
        ),
        (
            "api = \"0.10\"\n[buildpack]\nid = \"config\"\nversion = \"1.2.3\"",
            3,
        ),
        ("api = 3", 1),
    ] {
        let folder = folder();
        fs::write(folder.path().join("one/buildpack.toml"), text).unwrap();
        match load(&folder, GOOD) {
            Err(BuilderError::Invalid {
                path,
                line: presented,
                ..
            }) => {
                assert!(path.ends_with("one/buildpack.toml"));
                assert_eq!(presented, line, "{text}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn the_example_is_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/builder.toml");
    assert!(!Builder::load(&path).unwrap().order.order.is_empty());
}
