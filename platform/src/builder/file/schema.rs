//! The content of `builder.toml`, as its keys have it.

use lifecycle_core::files::run::{Run, RunImages};
use serde::Deserialize;
use toml::Spanned;

use crate::builder::env::{BuildEnv, EnvSuffix};
use crate::builder::target::{Target, TargetDistro};

/// The content of `builder.toml`. What it does not know is an error, lest a misspelt key change
/// nothing in silence.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BuilderFile {
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) buildpacks: Vec<ModuleEntry>,
    #[serde(default)]
    pub(super) extensions: Vec<ModuleEntry>,
    #[serde(default)]
    pub(super) order: Vec<Group>,
    #[serde(default)]
    pub(super) order_extensions: Vec<Group>,
    #[serde(default)]
    pub(super) build: Build,
    #[serde(default, deserialize_with = "run")]
    pub(super) run: Run,
    pub(super) stack: Option<Spanned<Stack>>,
    #[serde(default)]
    pub(super) lifecycle: LifecycleEntry,
    #[serde(default)]
    pub(super) targets: Vec<TargetEntry>,
    #[serde(default)]
    pub(super) system: SystemEntry,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModuleEntry {
    pub(super) id: Option<Spanned<String>>,
    pub(super) version: Option<Spanned<String>>,
    /// `image` is what `uri` was called before.
    #[serde(alias = "image")]
    pub(super) uri: Spanned<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Group {
    #[serde(default)]
    pub(super) group: Vec<GroupEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupEntry {
    pub(super) id: Spanned<String>,
    pub(super) version: Option<String>,
    #[serde(default)]
    pub(super) optional: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Build {
    pub(super) image: Option<String>,
    #[serde(default)]
    pub(super) env: Vec<EnvEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct EnvEntry {
    pub(super) name: Spanned<String>,
    value: String,
    #[serde(default)]
    suffix: EnvSuffix,
    delim: Option<String>,
    #[serde(default)]
    exec_env: Vec<String>,
}

impl EnvEntry {
    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let name = self.name.get_ref();
        let joins = matches!(self.suffix, EnvSuffix::Append | EnvSuffix::Prepend);
        if name.is_empty() || name.contains(['/', '=', '\0', '.']) {
            Some("this cannot be the name of a variable")
        } else if joins && self.delim.is_none() {
            Some("`append` and `prepend` need a `delim`")
        } else {
            None
        }
    }
}

impl From<&EnvEntry> for BuildEnv {
    fn from(entry: &EnvEntry) -> Self {
        Self {
            name: entry.name.get_ref().clone(),
            value: entry.value.clone(),
            suffix: entry.suffix,
            delim: entry.delim.clone(),
            exec_env: entry.exec_env.clone(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LifecycleEntry {
    pub(super) uri: Option<Spanned<String>>,
    pub(super) version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Stack {
    pub(super) id: Option<String>,
    pub(super) build_image: Option<String>,
    pub(super) run_image: Option<String>,
    #[serde(default)]
    pub(super) run_image_mirrors: Vec<String>,
}

/// What a builder or package is for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TargetEntry {
    os: String,
    arch: String,
    variant: String,
    distros: Vec<DistroEntry>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct DistroEntry {
    name: String,
    version: String,
}

impl From<&TargetEntry> for Target {
    fn from(entry: &TargetEntry) -> Self {
        let distro = |it: &DistroEntry| TargetDistro {
            name: it.name.clone(),
            version: it.version.clone(),
        };
        Self {
            os: entry.os.clone(),
            arch: entry.arch.clone(),
            variant: entry.variant.clone(),
            distros: entry.distros.iter().map(distro).collect(),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SystemEntry {
    pub(super) pre: SystemGroup,
    pub(super) post: SystemGroup,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SystemGroup {
    pub(super) buildpacks: Vec<GroupEntry>,
}

/// The lifecycle's type takes keys that it does not know.
fn run<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Run, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct RunEntry {
        #[serde(default)]
        images: Vec<Image>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Image {
        image: String,
        #[serde(default)]
        mirrors: Vec<String>,
    }

    let mut run = Run::default();
    for Image { image, mirrors } in RunEntry::deserialize(deserializer)?.images {
        run.images.push(RunImages { image, mirrors });
    }
    Ok(run)
}
