//! An app and small buildpacks to build it with.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{Output, Workspace, repository};

/// A buildpack of two shell scripts.
#[derive(Clone, Debug)]
pub struct FakeBuildpack {
    id: &'static str,
    detect: String,
    build: String,
}

impl FakeBuildpack {
    /// One that always fits, and adds nothing to the image but an SBOM of one component.
    pub fn new(id: &'static str) -> Self {
        Self {
            id,
            detect: String::new(),
            build: String::new(),
        }
    }

    /// One that adds a static program as the process `web`, a launch layer, a cached layer and SBOM
    /// files. The launch layer holds what the app's file `layer` says, if there is one.
    pub fn typical() -> Self {
        Self::new("test/typical").build(TYPICAL)
    }

    /// What `bin/detect` does.
    #[must_use]
    pub fn detect(mut self, script: impl Into<String>) -> Self {
        self.detect = script.into();
        self
    }

    /// What `bin/build` does.
    #[must_use]
    pub fn build(mut self, script: impl Into<String>) -> Self {
        self.build = script.into();
        self
    }
}

const SBOM: &str = r#"
cat > "$CNB_LAYERS_DIR/launch.sbom.cdx.json" <<'JSON'
{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"components":[{"type":"library","bom-ref":"fake","name":"fake","version":"1.0.0"}]}
JSON
"#;

const TYPICAL: &str = r#"
layers=$CNB_LAYERS_DIR
mkdir -p "$layers/kept/env.launch" "$layers/cached"
echo "hello from typical"
cat layer > "$layers/kept/content" 2>/dev/null || echo content > "$layers/kept/content"
printf world > "$layers/kept/env.launch/GREETING.default"
printf '[types]\nlaunch = true\ncache = true\n' > "$layers/kept.toml"
echo cached > "$layers/cached/content"
printf '[types]\ncache = true\n' > "$layers/cached.toml"
cat > "$layers/kept.sbom.cdx.json" <<'JSON'
{"bomFormat":"CycloneDX","specVersion":"1.5","version":1,"components":[{"type":"library","bom-ref":"lib","name":"lib","version":"1.2.3"}]}
JSON
cat > "$layers/launch.toml" <<'TOML'
[[processes]]
type = "web"
command = ["/workspace/app"]
default = true
TOML
"#;

/// An app and a builder of small buildpacks, in a workspace: what needs no compiler and takes less
/// than a second.
#[derive(Debug)]
pub struct Project {
    workspace: Workspace,
}

impl Project {
    /// One whose builder has one group: all of `buildpacks`, in this order.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn new(buildpacks: &[FakeBuildpack]) -> Self {
        let workspace = Workspace::new();
        workspace.write("app/hello.txt", "hello\n");
        let mut builder = String::new();
        let mut group = String::from("[[order]]\n");
        for buildpack in buildpacks {
            let folder = Path::new("buildpacks").join(buildpack.id);
            let id = buildpack.id;
            let toml = format!(
                "api = \"0.12\"\n\n[buildpack]\nid = \"{id}\"\nversion = \"1.0.0\"\nsbom-formats = [\"application/vnd.cyclonedx+json\"]\n\n[[targets]]\nos = \"linux\"\n"
            );
            workspace.write(folder.join("buildpack.toml"), toml);
            for (name, before, script) in [
                ("detect", "", &buildpack.detect),
                ("build", SBOM, &buildpack.build),
            ] {
                let path = folder.join("bin").join(name);
                let script = format!("#!/bin/sh\nset -eu\n{before}\n{script}\n");
                let path = workspace.write(path, script);
                fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755))
                    .expect("it is ours");
            }
            write!(
                builder,
                "[[buildpacks]]\nid = \"{id}\"\nversion = \"1.0.0\"\nuri = \"{}\"\n\n",
                folder.display()
            )
            .unwrap_or_default();
            write!(
                group,
                "[[order.group]]\nid = \"{id}\"\nversion = \"1.0.0\"\n"
            )
            .unwrap_or_default();
        }
        workspace.write("builder.toml", format!("{builder}{group}"));
        let policy = repository().join("examples/policy/policy.toml");
        workspace.write(
            "policy/policy.toml",
            fs_err::read(policy).expect("the example has a policy"),
        );
        for (from, to) in [("p256-pkcs8.pem", "test.key"), ("p256.pub.pem", "test.pub")] {
            let key = repository().join("tests/fixtures/keys").join(from);
            workspace.write(to, fs_err::read(key).expect("the fixtures have keys"));
        }
        Self { workspace }
    }

    /// One that is built by [`FakeBuildpack::typical`].
    pub fn typical() -> Self {
        Self::new(&[FakeBuildpack::typical()])
    }

    /// The workspace: `app`, `builder.toml`, `policy`, `test.key` (not encrypted) and `test.pub`.
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// A path in the workspace.
    pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
        self.workspace.join(path)
    }

    /// Writes a file into the workspace.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        self.workspace.write(path, content)
    }

    /// `sealpack`, with these arguments.
    pub fn sealpack<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        self.workspace.sealpack(arguments)
    }

    /// `sealpack build app --builder builder.toml --cache cache`, and these arguments.
    pub fn build_command<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Command {
        let mut command = self.sealpack(["build", "app", "--builder", "builder.toml"]);
        command.args(["--cache", "cache"]).args(arguments);
        command
    }

    /// Builds, signs with `test.key`, judges by the policy; for `destination`.
    pub fn build(&self, destination: &str) -> Output {
        self.build_with(destination, &[])
    }

    /// The same, with more arguments.
    pub fn build_with(&self, destination: &str, arguments: &[&str]) -> Output {
        let all = ["--key", "test.key", "--policy", "policy", "--tag"];
        Output::of(self.build_command(all).arg(destination).args(arguments))
    }

    /// Runs `sealpack` with these arguments to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Output::of(&mut self.sealpack(arguments))
    }

    /// What was printed, for a snapshot: without what differs from run to run.
    pub fn transcript(&self, output: &Output) -> String {
        let workspace = self.workspace.path().display().to_string();
        let text = output.transcript(&[(&workspace, "[workspace]")]);
        settled(&text)
    }
}

/// Puts `[size]` in place of numbers of bytes.
fn without_sizes(line: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    for word in line.split(' ') {
        let is_unit = ["B", "kB", "MB", "GB"].contains(&word.trim_end_matches([')', ',']));
        let number = words.last().map(|it| it.trim_start_matches('('));
        if is_unit && number.is_some_and(|it| it.parse::<f64>().is_ok()) {
            let open = words.pop().is_some_and(|it| it.starts_with('('));
            let close = word.trim_start_matches(|it: char| it.is_ascii_alphabetic());
            let open = if open { "(" } else { "" };
            words.push(format!("{open}[size]{close}"));
        } else {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}

/// Puts `[time]` in place of seconds, and `[name]` in place of random names of folders.
fn settled(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        if let Some((before, seconds)) = line.rsplit_once(" in ")
            && seconds
                .strip_suffix(" s")
                .is_some_and(|it| it.parse::<f64>().is_ok())
        {
            line = format!("{before} in [time]");
        }
        // What this machine allows is not what the message is about.
        if line.contains("(this machine refuses ") {
            continue;
        }
        line = without_sizes(&line);
        for prefix in ["sealpack-staged-", "sealpack-build-", ".sealpack-"] {
            if let Some((before, after)) = line.split_once(prefix) {
                let is_of_name = |it: char| it.is_ascii_alphanumeric() || it == '-';
                let rest = after.trim_start_matches(is_of_name);
                line = format!("{before}{prefix}[name]{rest}");
            }
        }
        lines.push(line);
    }
    lines.join("\n")
}
