//! `extend-config.toml`: the arguments of an extension's Dockerfiles.

use serde::Deserialize;

/// What it is called, beside the Dockerfiles.
pub const NAME: &str = "extend-config.toml";

/// The content of `extend-config.toml`.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/0.12/image_extension.md#extend-configtoml-toml>
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename = "extend.Config")]
pub struct ExtendConfig {
    /// For `build.Dockerfile`.
    pub build: ImageConfig,
    /// For `run.Dockerfile`.
    pub run: ImageConfig,
}

/// What is said of one image.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename = "extend.BuildConfig")]
pub struct ImageConfig {
    /// Values for `ARG`, in order.
    pub args: Vec<Argument>,
}

/// The value of one `ARG`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename = "extend.Arg")]
pub struct Argument {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub value: String,
}

impl ExtendConfig {
    /// The first argument that only the lifecycle may give, if there is one.
    pub fn reserved(&self) -> Option<&str> {
        const RESERVED: [&str; 3] = ["build_id", "user_id", "group_id"];
        let args = self.build.args.iter().chain(&self.run.args);
        let mut names = args.map(|it| it.name.as_str());
        names.find(|it| RESERVED.contains(it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::parse;

    #[test]
    fn arguments_are_those_of_their_image_and_some_are_reserved() {
        let text =
            "[[build.args]]\nname = \"a\"\nvalue = \"1\"\n\n[[run.args]]\nname = \"user_id\"\n";
        let config: ExtendConfig = parse(text.as_bytes()).unwrap();
        let [argument] = config.build.args.as_slice() else {
            panic!("{config:?}")
        };
        assert_eq!(
            (argument.name.as_str(), argument.value.as_str()),
            ("a", "1")
        );
        assert_eq!(config.reserved(), Some("user_id"));
        assert_eq!(ExtendConfig::default().reserved(), None);
    }
}
