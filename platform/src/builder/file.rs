use lifecycle_core::files::run::{Run, RunImages};
use serde::Deserialize;
use toml::Spanned;

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
    pub(super) targets: Vec<Target>,
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

/// A variable that all buildpacks see.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct BuildEnv {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// How it goes together with what the variable has already.
    pub suffix: EnvSuffix,
    /// What stands between the two.
    pub delim: Option<String>,
    /// In which execution environments it is set; empty for all.
    pub exec_env: Vec<String>,
}

impl From<EnvEntry> for BuildEnv {
    fn from(entry: EnvEntry) -> Self {
        Self {
            name: entry.name.into_inner(),
            value: entry.value,
            suffix: entry.suffix,
            delim: entry.delim,
            exec_env: entry.exec_env,
        }
    }
}

/// How a value goes together with what a variable has already.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "the specification knows these")]
pub enum EnvSuffix {
    /// As the lifecycle sees fit.
    #[default]
    #[serde(rename = "")]
    None,
    /// Behind it.
    Append,
    /// Only if it has none.
    Default,
    /// In its place.
    Override,
    /// Before it.
    Prepend,
}

impl EnvSuffix {
    /// What its file is called, besides the variable.
    pub(super) const fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Append => ".append",
            Self::Default => ".default",
            Self::Override => ".override",
            Self::Prepend => ".prepend",
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LifecycleEntry {
    pub(super) uri: Option<Spanned<String>>,
    pub(super) version: Option<String>,
}

/// Which lifecycle a builder asks for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Lifecycle {
    /// From there.
    pub uri: Option<String>,
    /// This version.
    pub version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Stack {
    #[serde(rename = "id")]
    _id: Option<String>,
    pub(super) build_image: Option<String>,
    pub(super) run_image: Option<String>,
    #[serde(default)]
    pub(super) run_image_mirrors: Vec<String>,
}

/// What a builder builds for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Target {
    /// As Go's `GOOS`.
    pub os: String,
    /// As Go's `GOARCH`.
    pub arch: String,
    /// E.g. `v8`.
    pub variant: String,
    /// Empty for any.
    pub distros: Vec<TargetDistro>,
}

/// A distribution that a [`Target`] names.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct TargetDistro {
    /// As `ID` in `/etc/os-release`.
    pub name: String,
    /// As `VERSION_ID` in `/etc/os-release`.
    pub version: String,
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

/// What of `buildpack.toml` and `extension.toml` a builder has to know.
#[derive(Debug, Deserialize)]
pub(super) struct BuildpackFile {
    pub(super) api: String,
    pub(super) buildpack: Option<ModuleTable>,
    pub(super) extension: Option<ModuleTable>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ModuleTable {
    pub(super) id: Spanned<String>,
    pub(super) version: Spanned<String>,
}
