//! `buildpack.toml` and `extension.toml`: what a module says of itself.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use go::files::join;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{ApiError, Kind, api_of};
use crate::api::BuildpackApi;
use crate::files::group::{GroupElement, escape_id, is_for};
use crate::files::order::OrderGroup;
use crate::files::{FileError, OsError, read_required};

/// The content of `buildpack.toml` or `extension.toml`, and where it lies.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md#buildpacktoml-toml>
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BuildpackDescriptor {
    /// What it is.
    pub kind: Kind,
    /// The API that it says to speak, as text.
    pub api: String,
    /// Who it is.
    pub info: Info,
    /// Of a composite buildpack, what it stands for.
    pub order: Vec<OrderGroup>,
    /// What it runs on; empty for everything.
    pub targets: Vec<Target>,
    /// Its folder.
    pub root: PathBuf,
}

/// Who a module is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename_all = "kebab-case")]
pub struct Info {
    /// The id. What the order says counts instead.
    pub id: String,
    /// The version. What the order says counts instead, but for its bill of materials.
    pub version: String,
    /// A name for people.
    pub name: String,
    /// A page for people.
    pub homepage: String,
    /// Whether it is not given the user's variables.
    pub clear_env: bool,
    /// The media types of the SBOM files that it writes.
    pub sbom_formats: Vec<String>,
    /// The execution environments that it is for; empty for all.
    #[serde(deserialize_with = "exec_env")]
    pub exec_env: Vec<String>,
}

/// What a module runs on. An empty field fits everything.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Target {
    /// As Go's `GOOS`.
    pub os: String,
    /// As Go's `GOARCH`.
    pub arch: String,
    /// E.g. `v8`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub arch_variant: String,
    /// The distributions, if it is for some only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub distros: Vec<Distro>,
}

/// A distribution of an operating system. An empty field fits everything.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Distro {
    /// As `ID` in `/etc/os-release`.
    pub name: String,
    /// As `VERSION_ID` there.
    pub version: String,
}

impl BuildpackDescriptor {
    /// Reads the descriptor of `element`, whose folder lies in `dir`.
    pub fn read(dir: &Path, element: &GroupElement) -> Result<Self, FileError> {
        let kind = Kind::of(element);
        if dir.as_os_str().is_empty() {
            return Err(FileError::NoFolder {
                of: match kind {
                    Kind::Buildpack => "buildpacks",
                    Kind::Extension => "extensions",
                },
            });
        }
        let root = join(&join(dir, escape_id(&element.id)), &element.version);
        match kind {
            Kind::Buildpack => Self::of_buildpack(root),
            Kind::Extension => Self::of_extension(root),
        }
    }

    fn of_buildpack(root: PathBuf) -> Result<Self, FileError> {
        let text: BuildpackFile = read_required(&root.join("buildpack.toml"))?;
        let targets = if text.targets.is_empty() {
            text.implied_targets(&root)?
        } else {
            text.targets
        };
        Ok(Self {
            kind: Kind::Buildpack,
            api: text.api,
            info: text.buildpack,
            order: text.order,
            targets,
            root,
        })
    }

    fn of_extension(root: PathBuf) -> Result<Self, FileError> {
        let text: ExtensionFile = read_required(&root.join("extension.toml"))?;
        let mut targets = text.targets;
        if targets.is_empty() {
            let mut programs = programs(&root)?.into_iter();
            targets.push(if programs.any(|it| it == "detect" || it == "generate") {
                Target::linux()
            } else {
                Target::default()
            });
        }
        Ok(Self {
            kind: Kind::Extension,
            api: text.api,
            info: text.extension.into(),
            order: Vec::new(),
            targets,
            root,
        })
    }

    /// The API that it speaks. `element` says who it is in an error.
    pub fn api(&self, element: &GroupElement) -> Result<BuildpackApi, ApiError> {
        api_of(self.kind, element, &self.api)
    }

    /// Whether it is for this execution environment.
    pub fn runs_in(&self, exec_env: &str) -> bool {
        is_for(&self.info.exec_env, exec_env)
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct BuildpackFile {
    api: String,
    buildpack: Info,
    order: Vec<OrderGroup>,
    targets: Vec<Target>,
    stacks: Vec<Stack>,
}

/// What else stands there may be anything.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ExtensionFile {
    api: String,
    extension: Extension,
    targets: Vec<Target>,
}

/// Who an extension is: one writes no SBOMs, so what its file says of them may be anything.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Extension {
    id: String,
    version: String,
    name: String,
    homepage: String,
    clear_env: bool,
    #[serde(deserialize_with = "exec_env")]
    exec_env: Vec<String>,
}

impl From<Extension> for Info {
    fn from(it: Extension) -> Self {
        Self {
            id: it.id,
            version: it.version,
            name: it.name,
            homepage: it.homepage,
            clear_env: it.clear_env,
            exec_env: it.exec_env,
            sbom_formats: Vec::new(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename = "ModuleStack")]
struct Stack {
    id: String,
}

impl Target {
    fn linux() -> Self {
        Self {
            os: "linux".to_owned(),
            ..Self::default()
        }
    }
}

impl BuildpackFile {
    /// What a buildpack runs on that does not say so: its stacks tell, or its programs.
    fn implied_targets(&self, root: &Path) -> Result<Vec<Target>, FileError> {
        let has_targets = self
            .api
            .parse::<BuildpackApi>()
            .is_ok_and(BuildpackApi::has_targets);
        let mut targets = Vec::new();
        for stack in &self.stacks {
            if stack.id == "*" {
                targets.push(Target::default());
            } else if stack.id == BIONIC && (has_targets || self.stacks.len() == 1) {
                targets.push(Target {
                    arch: "amd64".to_owned(),
                    distros: vec![Distro {
                        name: "ubuntu".to_owned(),
                        version: "18.04".to_owned(),
                    }],
                    ..Target::linux()
                });
            }
        }
        if targets.is_empty() && programs(root)?.iter().any(|it| it == "build") {
            targets.push(Target::linux());
        }
        Ok(targets)
    }
}

/// What lies in `bin`, which need not be there; but where it is it has to be readable.
fn programs(root: &Path) -> Result<Vec<OsString>, FileError> {
    let bin = root.join("bin");
    if std::fs::metadata(&bin).is_err() {
        return Ok(Vec::new());
    }
    let failed = |source| FileError::Open {
        path: bin.clone(),
        source: OsError(source),
    };
    std::fs::read_dir(&bin)
        .map_err(failed)?
        .map(|entry| entry.map(|it| it.file_name()).map_err(failed))
        .collect()
}

const BIONIC: &str = "io.buildpacks.stacks.bionic";

/// A list of strings, as upstream reads it, or a list of tables with a `name`, as the specification
/// has it.
fn exec_env<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let entries = Vec::<ExecEnv>::deserialize(deserializer)?;
    Ok(entries.into_iter().map(|ExecEnv(name)| name).collect())
}

/// One of them.
struct ExecEnv(String);

impl<'de> Deserialize<'de> for ExecEnv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = toml::Value::deserialize(deserializer)?;
        let name = match &value {
            toml::Value::Table(table) => table.get("name").and_then(toml::Value::as_str),
            value => value.as_str(),
        };
        // Upstream knows names only.
        let found = match &value {
            toml::Value::String(_) => "string",
            toml::Value::Integer(_) => "int64",
            toml::Value::Float(_) => "float64",
            toml::Value::Boolean(_) => "bool",
            toml::Value::Datetime(_) => "time.Time",
            toml::Value::Array(_) => "[]any",
            toml::Value::Table(_) => "map[string]any",
        };
        name.map(|it| Self(it.to_owned())).ok_or_else(|| {
            D::Error::custom(format_args!(
                "incompatible types: TOML value has type {found}; destination has type string"
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets(text: &str, bin: &[&str]) -> Vec<Target> {
        let dir = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(dir.path().join("bin")).expect("a folder");
        for name in bin {
            std::fs::write(dir.path().join("bin").join(name), "").expect("a file");
        }
        let file: BuildpackFile = toml::from_str(text).expect("good TOML");
        file.implied_targets(dir.path()).expect("a readable folder")
    }

    #[test]
    fn targets_are_implied_by_stacks_or_programs() {
        let bionic = "[[stacks]]\nid = \"io.buildpacks.stacks.bionic\"\n";
        let two = format!("api = \"0.9\"\n{bionic}[[stacks]]\nid = \"other\"\n");
        assert_eq!(targets(bionic, &[])[0].arch, "amd64");
        assert!(targets(&two, &[]).is_empty());
        assert_eq!(targets(&two.replace("0.9", "0.10"), &[]).len(), 1);
        assert_eq!(targets(&two, &["build"])[0].os, "linux");
        assert_eq!(
            targets("[[stacks]]\nid = \"*\"\n", &["build"]),
            [Target::default()]
        );
    }

    #[test]
    fn what_an_extension_says_of_sboms_and_stacks_is_not_read() {
        for odd in [
            "sbom-formats = true",
            "[[stacks]]\nid = 1",
            "[[order]]\ngroup = 1",
        ] {
            let text = |kind: &str| format!("[{kind}]\nid = \"x\"\n{odd}\n");
            let file: ExtensionFile = toml::from_str(&text("extension")).unwrap();
            assert_eq!(Info::from(file.extension).id, "x");
            let read = toml::from_str::<BuildpackFile>(&text("buildpack"));
            assert!(read.is_err(), "{odd}");
        }
    }

    #[test]
    fn execution_environments_come_in_two_forms() {
        let list = |text: &str| {
            toml::from_str::<BuildpackFile>(text)
                .unwrap()
                .buildpack
                .exec_env
        };
        assert_eq!(list("[buildpack]\nexec-env = [\"a\", \"b\"]\n"), ["a", "b"]);
        assert_eq!(list("[[buildpack.exec-env]]\nname = \"a\"\n"), ["a"]);
    }
}
