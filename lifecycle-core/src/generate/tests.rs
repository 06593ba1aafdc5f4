use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Mutex;

use super::*;
use crate::api::PlatformApi;
use crate::exec::Host;
use crate::files::run::RunImages;

const EXTEND: &str = "ARG base_image\nFROM ${base_image}\nRUN echo\n";

/// A builder in a temporary folder, with extensions.
struct Builder {
    dir: tempfile::TempDir,
    host: Host,
    extensions: Vec<GroupElement>,
    log: Lines,
}

#[derive(Debug, Default)]
struct Lines(Mutex<String>);

impl Log for Lines {
    fn line(&self, level: Level, text: &str) {
        if level > Level::Info {
            self.output(text.as_bytes());
        }
    }

    fn output(&self, bytes: &[u8]) {
        let mut text = self.0.lock().expect("no thread panics");
        text.push_str(&String::from_utf8_lossy(bytes));
    }
}

impl Builder {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("app")).expect("a folder");
        Self {
            dir,
            host: Host::default(),
            extensions: Vec::new(),
            log: Lines::default(),
        }
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our file");
    }

    fn extension(&mut self, id: &str, script: Option<&str>) {
        let dir = format!("extensions/{id}/1");
        self.file(&format!("{dir}/extension.toml"), "api = \"0.10\"\n");
        if let Some(script) = script {
            let script = format!("#!/bin/sh\nset -eu\n{script}\n");
            self.file(&format!("{dir}/bin/generate"), &script);
        }
        self.extensions.push(GroupElement {
            api: "0.10".to_owned(),
            ..GroupElement::new(id, "1")
        });
    }

    fn writes(&mut self, id: &str, file: &str, text: &str) {
        let script = format!("cat > $1/{file} <<'END'\n{text}END");
        self.extension(id, Some(&script));
    }

    fn generate(&self, api: PlatformApi) -> Result<Generated, GenerateError> {
        let root = self.dir.path();
        let modules = ModuleContext {
            platform_api: api,
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
        let run_image = RunImage {
            image: "r.example/run:1".to_owned(),
            ..RunImage::default()
        };
        let context = GenerateContext {
            modules: &modules,
            extensions: self.extensions.clone(),
            plan: BuildPlan::default(),
            analyzed: Analyzed {
                run_image: Some(run_image),
                ..Analyzed::default()
            },
            run_images: Run {
                images: vec![RunImages {
                    image: "r.example/other:2".to_owned(),
                    mirrors: Vec::new(),
                }],
            },
            generated_dir: root.join("generated"),
        };
        generate(&context, &self.log)
    }

    fn run_image(&self) -> RunImage {
        let generated = self.generate(PlatformApi::V0_15).expect("it is fine");
        generated.analyzed.run_image.expect("it is set")
    }

    fn has(&self, path: &str) -> bool {
        self.dir.path().join("generated").join(path).exists()
    }

    fn log(&self) -> String {
        self.log.0.lock().expect("no thread panics").clone()
    }
}

#[test]
fn the_last_new_base_decides_and_what_is_before_it_is_ignored() {
    let mut builder = Builder::new();
    builder.writes("e1", "run.Dockerfile", EXTEND);
    builder.writes("e2", "run.Dockerfile", "FROM r.example/other:2\n");
    assert_eq!(builder.run_image().reference, "r.example/other:2");
    assert!(!builder.run_image().extend);
    assert!(builder.has("e1/run.Dockerfile.ignore"));
    assert!(!builder.has("e2/run.Dockerfile.ignore"));
    builder.writes("e3", "run.Dockerfile", EXTEND);
    assert!(builder.run_image().extend);
    assert_eq!(builder.log(), "");
    builder.writes("e4", "run.Dockerfile", "FROM r.example/else\n");
    assert_eq!(builder.run_image().image, "r.example/else");
    let warning = "new runtime base image 'r.example/else' not found in run metadata";
    assert!(builder.log().contains(warning));
}

#[test]
fn old_platforms_look_elsewhere() {
    let mut builder = Builder::new();
    builder.writes("e", "build.Dockerfile", EXTEND);
    builder.generate(PlatformApi::V0_12).unwrap();
    assert!(builder.has("build/e/Dockerfile") && !builder.has("e"));
}

#[test]
fn what_is_prepared_stays_as_it_is() {
    let mut builder = Builder::new();
    builder.extension("e1", None);
    builder.file("extensions/e1/1/generate/run.Dockerfile", EXTEND);
    assert!(builder.run_image().extend);
    builder.writes("e2", "run.Dockerfile", "FROM r.example/other:2\n");
    builder.run_image();
    let prepared = "extensions/e1/1/generate/run.Dockerfile";
    assert!(builder.dir.path().join(prepared).exists());
}

#[test]
fn what_extensions_must_not_do_is_refused() {
    let problem = |file: &str, text: &str| {
        let mut builder = Builder::new();
        builder.writes("e", file, text);
        let error = builder
            .generate(PlatformApi::V0_15)
            .expect_err("it is refused");
        assert_eq!(error.exit_code(), 92);
        error.to_string()
    };
    let build = "build.Dockerfile";
    for (file, text, expected) in [
        (build, "FROM ${base_image}\n", "required ARG command"),
        (build, "ARG x\nFROM ${base_image}\n", "required ARG command"),
        (build, "ARG base_image\n", "at least one stage"),
        ("run.Dockerfile", "ARG x\n", "at least one stage"),
        (
            build,
            "ARG base_image\nFROM x\n",
            "required FROM ${base_image}",
        ),
        ("run.Dockerfile", "FROM a\nFROM b\n", "multistage build"),
        (
            "run.Dockerfile",
            "FRO a\n",
            "failed to parse run.Dockerfile for extension e",
        ),
        (
            extend_config::NAME,
            "[[run.args]]\nname = \"user_id\"\n",
            "\"user_id\" is not allowed",
        ),
    ] {
        let problem = problem(file, text);
        assert!(problem.contains(expected), "{problem}");
    }
    let mut builder = Builder::new();
    builder.extension("e", Some("mkdir $1/context $1/context.run"));
    let error = builder
        .generate(PlatformApi::V0_15)
        .expect_err("it is refused");
    assert!(matches!(error, GenerateError::Contexts { .. }));
}

#[test]
fn an_extension_that_fails_has_a_code_of_its_own() {
    let mut builder = Builder::new();
    builder.extension("e", Some("echo said; exit 3"));
    let error = builder.generate(PlatformApi::V0_15).expect_err("it fails");
    assert_eq!(error.exit_code(), 91);
    assert_eq!(error.to_string(), "failed to build: exit status 3");
    assert_eq!(builder.log(), "said\n");
}
