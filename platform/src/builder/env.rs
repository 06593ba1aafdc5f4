//! Variables that all buildpacks of a builder see.

use serde::Deserialize;

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
    pub const fn extension(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Append => ".append",
            Self::Default => ".default",
            Self::Override => ".override",
            Self::Prepend => ".prepend",
        }
    }
}
