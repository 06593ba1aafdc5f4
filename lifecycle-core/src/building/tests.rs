use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use super::*;
use crate::api::PlatformApi;
use crate::exec::Host;
use crate::files::metadata::Command as ProcessCommand;

/// A builder in a temporary folder.
struct Builder {
    dir: tempfile::TempDir,
    host: Host,
    api: PlatformApi,
    group: Group,
    log: Text,
}

#[derive(Debug, Default)]
struct Text(Mutex<String>);

impl Log for Text {
    fn line(&self, level: Level, text: &str) {
        if level > Level::Debug {
            self.output(format!("{text}\n").as_bytes());
        }
    }

    fn output(&self, bytes: &[u8]) {
        let mut text = self.0.lock().expect("no thread panics");
        text.push_str(&String::from_utf8_lossy(bytes));
    }
}

impl Builder {
    fn new(api: PlatformApi) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("app")).expect("a folder");
        Self {
            dir,
            host: Host::default(),
            api,
            group: Group::default(),
            log: Text::default(),
        }
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our file");
    }

    fn buildpack(&mut self, id: &str, api: &str, script: &str) {
        let formats = "sbom-formats = [\"application/spdx+json\"]";
        let who = format!("id = \"{id}\"\nversion = \"1\"");
        let text = format!("api = \"{api}\"\n[buildpack]\n{who}\n{formats}\n");
        let dir = format!("buildpacks/{}/1", id.replace('/', "_"));
        self.file(&format!("{dir}/buildpack.toml"), &text);
        let script = format!("#!/bin/sh\nset -eu\n{script}\n");
        self.file(&format!("{dir}/bin/build"), &script);
        self.group.group.push(GroupElement {
            api: api.to_owned(),
            ..GroupElement::new(id, "1")
        });
    }

    fn build(&self, plan: &str) -> Result<Built, BuildError> {
        let root = self.dir.path();
        let modules = ModuleContext {
            platform_api: self.api,
            app_dir: root.join("app"),
            buildpacks_dir: root.join("buildpacks"),
            extensions_dir: root.join("extensions"),
            platform_dir: root.join("platform"),
            build_config_dir: root.join("build-config"),
            target: TargetMetadata::default(),
            os_release: root.join("os-release"),
            exec_env: "production".to_owned(),
            env: BTreeMap::from([("PATH".into(), "/bin:/usr/bin".into())]),
            temp_dir: root.to_owned(),
            telemetry: None,
            run: &self.host,
        };
        let context = BuildContext {
            modules: &modules,
            layers_dir: root.join("layers"),
            group: self.group.clone(),
            plan: toml::from_str(plan).expect("a plan"),
            building: Some(root.join("layers/building")),
        };
        build(&context, &self.log)
    }

    fn log(&self) -> String {
        self.log.0.lock().expect("no thread panics").clone()
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.dir.path().join("layers").join(path)).expect("a file")
    }

    fn has(&self, path: &str) -> bool {
        self.dir.path().join("layers").join(path).exists()
    }
}

fn code(result: Result<Built, BuildError>) -> u8 {
    result.expect_err("it fails").exit_code()
}

#[test]
fn a_buildpack_may_take_its_folder_away() {
    let mut builder = Builder::new(PlatformApi::V0_15);
    builder.buildpack("a", "0.10", "rm -r $1");
    builder.buildpack("b", "0.10", "true");
    assert!(builder.build("").unwrap().layers.is_empty());
}

#[test]
fn it_is_said_which_buildpack_builds() {
    let mut builder = Builder::new(PlatformApi::V0_15);
    builder.buildpack("a/b", "0.10", "true");
    builder.buildpack("c", "0.10", "exit 3");
    builder.buildpack("d", "0.10", "true");
    assert_eq!(code(builder.build("")), 51);
    assert_eq!(builder.read("building"), builder.group.group[1].to_string());
}

#[test]
fn build_layers_extend_the_environment_of_those_after() {
    let mut builder = Builder::new(PlatformApi::V0_15);
    builder.buildpack(
        "a/b",
        "0.10",
        "mkdir -p $1/one/bin $1/one/env.build $1/two/bin $1/launch-only/bin $1/none
        printf v > $1/one/env.build/VAR
        printf '[types]\\nbuild = true\\n' | tee $1/one.toml > $1/two.toml
        printf '[types]\\nlaunch = true\\n' > $1/launch-only.toml
        printf '[metadata]\\n' > $1/none.toml",
    );
    builder.buildpack("c", "0.10", "echo $PATH $VAR");
    let built = builder.build("").unwrap();
    let layers = builder.dir.path().join("layers/a_b");
    let layers = layers.display();
    assert!(builder.log().ends_with(&format!(
        "{layers}/two/bin:{layers}/one/bin:/bin:/usr/bin v\n"
    )));
    assert!(builder.has("a_b/none.ignore") && !builder.has("a_b/none"));
    let names: Vec<_> = built.layers.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["launch-only", "none", "one", "two"]);
}

#[test]
fn each_buildpack_sees_its_plan_until_it_is_met() {
    let mut builder = Builder::new(PlatformApi::V0_15);
    let plan = "[[entries]]\n[[entries.providers]]\nid = \"a\"\n[[entries.providers]]\nid = \"b\"\n\
        [[entries.requires]]\nname = \"x\"\n[[entries]]\n[[entries.providers]]\nid = \"a\"\n\
        [[entries.providers]]\nid = \"b\"\n[[entries.requires]]\nname = \"y\"\n";
    builder.buildpack(
        "a",
        "0.10",
        "printf '[[unmet]]\\nname = \"y\"\\n' > $1/build.toml",
    );
    builder.buildpack("b", "0.10", "cat $3");
    builder.build(plan).unwrap();
    assert!(builder.log().ends_with("[[entries]]\n  name = \"y\"\n"));
    for unmet in ["", "name = \"z\""] {
        let mut builder = Builder::new(PlatformApi::V0_15);
        let script = format!("printf '[[unmet]]\\n{unmet}\\n' > $1/build.toml");
        builder.buildpack("a", "0.10", &script);
        assert_eq!(code(builder.build(plan)), 52);
    }
}

#[test]
fn the_metadata_has_upstreams_bytes() {
    let mut builder = Builder::new(PlatformApi::V0_15);
    builder.buildpack(
        "a",
        "0.10",
        "cat > $1/launch.toml <<'T'
[[processes]]\ntype = \"web\"\ncommand = [\"a<b\"]\nargs = []\ndefault = true
[[labels]]\nkey = \"k\"\nvalue = \"<\"\n[[slices]]\npaths = [\"*\"]\nT",
    );
    let built = builder.build("").unwrap();
    assert_eq!(
        builder.read("config/metadata.toml"),
        "buildpack-default-process-type = \"web\"\n\n[[buildpacks]]\n  id = \"a\"\n  version = \"1\"\n  \
         api = \"0.10\"\n\n[[labels]]\n  key = \"k\"\n  value = \"<\"\n\n[[processes]]\n  \
         type = \"web\"\n  command = [\"a\\u003cb\"]\n  args = []\n  direct = true\n  \
         buildpack-id = \"a\"\n\n[[slices]]\n  paths = [\"*\"]\n"
    );
    assert_eq!(built.metadata.buildpack_default_process_type, "web");
}

#[test]
fn processes_have_the_form_of_the_buildpacks_api() {
    let old = "[[processes]]\\ntype = \"web\"\\ncommand = \"x y\"\\nworking-dir = \"/w\"\\n";
    let new = "[[processes]]\\ntype = \"web\"\\ncommand = [\"x\"]\\n";
    let build = |api: &str, text: &str| {
        let mut builder = Builder::new(PlatformApi::V0_15);
        builder.buildpack("a", api, &format!("printf '{text}' > $1/launch.toml"));
        let built = builder.build("");
        (built, builder.log())
    };
    let (built, log) = build("0.7", old);
    let process = built.unwrap().metadata.processes()[0].clone();
    assert_eq!(
        process.command,
        ProcessCommand::Words(vec!["x y".to_owned()])
    );
    assert!(!process.direct && process.working_dir.is_empty());
    assert!(log.contains("Ignoring working directory for process 'web'"));
    assert_eq!(code(build("0.8", new).0), 52);
    assert_eq!(code(build("0.9", old).0), 52);
    let direct = format!("{new}direct = true\\n");
    assert!(matches!(
        build("0.9", &direct).0,
        Err(BuildError::DirectNotSupported { .. })
    ));
    let two = format!("{new}default = true\\n").repeat(2);
    assert!(matches!(
        build("0.10", &two).0,
        Err(BuildError::MultipleDefaults { .. })
    ));
}

#[test]
fn sboms_go_where_they_are_looked_for() {
    let mut builder = Builder::new(PlatformApi::V0_15);
    builder.buildpack(
        "a/b",
        "0.10",
        "printf '[types]\\nlaunch = true\\ncache = true\\n' > $1/l.toml; mkdir $1/l
        for it in launch build l gone; do echo {} > $1/$it.sbom.spdx.json; done",
    );
    builder.file("layers/sbom/launch/old", "");
    let built = builder.build("").unwrap();
    for path in [
        "launch/a_b/sbom.spdx.json",
        "launch/a_b/l/sbom.spdx.json",
        "cache/a_b/l/sbom.spdx.json",
        "build/a_b/sbom.spdx.json",
    ] {
        assert_eq!(builder.read(&format!("sbom/{path}")), "{}\n");
    }
    assert_eq!(built.sboms.len(), 4);
    assert!(built.sboms.iter().all(|it| it.path.exists()));
    assert!(!builder.has("sbom/launch/old") && !builder.has("sbom/launch/a_b/gone"));
    assert_eq!(builder.read("sbom/launch/sbom.legacy.json"), "null\n");
}

#[test]
fn sboms_of_another_format_are_refused() {
    for (format, is_known) in [("cdx", true), ("foo", false)] {
        let mut builder = Builder::new(PlatformApi::V0_15);
        builder.buildpack("a", "0.10", &format!("echo > $1/launch.sbom.{format}.json"));
        match builder.build("") {
            Err(BuildError::SbomUndeclared { .. }) => assert!(is_known),
            Err(BuildError::SbomFormat { .. }) => assert!(!is_known),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn sboms_about_no_layer_are_ignored_whatever_their_format() {
    for format in ["cdx", "foo"] {
        let mut builder = Builder::new(PlatformApi::V0_15);
        builder.buildpack("a", "0.10", &format!("echo > $1/x.sbom.{format}.json"));
        assert_eq!(builder.build("").unwrap().sboms, []);
    }
}

#[test]
fn dates_in_old_boms_are_text_as_go_writes_it() {
    let dates = "a = 1979-05-27T07:32:00Z\\nb = 1979-05-27\\nc = 07:32:00";
    let bom = format!("printf '[[bom]]\\nname = \"x\"\\n[bom.metadata]\\n{dates}\\n'");
    let mut builder = Builder::new(PlatformApi::V0_9);
    builder.buildpack("a", "0.8", &format!("{bom} > $1/launch.toml"));
    builder.build("").unwrap();
    assert_eq!(
        builder.read("sbom/launch/sbom.legacy.json"),
        "[{\"name\":\"x\",\"metadata\":{\"a\":\"1979-05-27T07:32:00Z\",\
         \"b\":\"1979-05-27T00:00:00Z\",\"c\":\"0000-01-01T07:32:00Z\"},\
         \"buildpack\":{\"id\":\"a\",\"version\":\"1\"}}]\n"
    );
}

#[test]
fn the_version_in_an_old_bom_belongs_to_its_metadata() {
    for file in ["launch.toml", "build.toml"] {
        let mut builder = Builder::new(PlatformApi::V0_9);
        let bom = "printf '[[bom]]\\nname = \"x\"\\nversion = \"1\"\\n'";
        builder.buildpack("a", "0.8", &format!("{bom} > $1/{file}"));
        let error = builder.build("").expect_err("it has a version");
        assert_eq!(error.exit_code(), 52);
        assert_eq!(
            error.to_string(),
            "failed to build: bom entry 'x' has a top level version which is not allowed. The buildpack should \
             instead set metadata.version"
        );
    }
}

#[test]
fn old_boms_are_in_the_metadata_of_old_platforms_only() {
    let bom = "printf '[[bom]]\\nname = \"<b>\"\\n[bom.metadata]\\na = 1\\n' > $1/launch.toml";
    let mut builder = Builder::new(PlatformApi::V0_8);
    builder.buildpack("a", "0.8", bom);
    builder.build("").unwrap();
    assert_eq!(
        builder.read("config/metadata.toml"),
        "processes = []\n\n[[bom]]\n  name = \"<b>\"\n  [bom.metadata]\n    a = 1\n  \
         [bom.buildpack]\n    id = \"a\"\n    version = \"1\"\n\n[[buildpacks]]\n  id = \"a\"\n  \
         version = \"1\"\n  api = \"0.8\"\n"
    );
    assert!(!builder.has("sbom/launch/sbom.legacy.json"));

    let mut builder = Builder::new(PlatformApi::V0_9);
    builder.buildpack("a", "0.8", bom);
    builder.build("").unwrap();
    assert!(!builder.read("config/metadata.toml").contains("bom"));
    assert_eq!(
        builder.read("sbom/launch/sbom.legacy.json"),
        "[{\"name\":\"\\u003cb\\u003e\",\"metadata\":{\"a\":1},\
         \"buildpack\":{\"id\":\"a\",\"version\":\"1\"}}]\n"
    );
    assert!(builder.log().contains("BOM table is deprecated"));
}

#[test]
fn failures_have_their_codes_and_words() {
    let mut builder = Builder::new(PlatformApi::V0_15);
    builder.buildpack("a", "0.10", "echo said; exit 3");
    let error = builder.build("").expect_err("it exits 3");
    assert_eq!(error.to_string(), "failed to build: exit status 3");
    assert_eq!(error.exit_code(), 51);
    assert!(builder.log().ends_with("said\n"));

    builder.group.group[0].version = "2".to_owned();
    assert_eq!(code(builder.build("")), 52);
    builder.group.group[0].api = "0.99".to_owned();
    assert_eq!(code(builder.build("")), 12);
    builder.group.group[0].api.clear();
    let error = builder.build("").expect_err("it has no API");
    assert!(
        error
            .to_string()
            .contains("parse buildpack API '<nil>' for buildpack 'a@2'")
    );
}

#[test]
fn a_cancelled_build_starts_nothing() {
    let mut builder = Builder::new(PlatformApi::V0_15);
    builder.buildpack("a", "0.10", "echo ran");
    builder.host.cancel.cancel();
    assert_eq!(code(builder.build("")), 51);
    assert!(!builder.log().contains("ran"));
}
