//! The lifecycle of a builder: its version, and which APIs it speaks.

use serde::{Deserialize, Serialize};

use super::descriptor::nullable;

/// Which lifecycle a builder asks for, or has.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Lifecycle {
    /// Of a `builder.toml`: from there.
    pub uri: Option<String>,
    /// This version.
    pub version: Option<String>,
    /// The APIs that it speaks; of a builder image.
    pub apis: Apis,
}

/// The APIs that a lifecycle speaks.
///
/// <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md#lifecycletoml-toml>
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "the specification knows these")]
pub struct Apis {
    /// With buildpacks.
    #[serde(deserialize_with = "nullable")]
    pub buildpack: Versions,
    /// With platforms.
    #[serde(deserialize_with = "nullable")]
    pub platform: Versions,
}

/// Versions of an API.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "the specification knows these")]
pub struct Versions {
    /// Those that it warns of. Whether the list was not there or is empty is told apart, as labels
    /// tell it.
    pub deprecated: Option<Vec<String>>,
    /// Those that it speaks.
    #[serde(deserialize_with = "nullable")]
    pub supported: Vec<String>,
}

/// One version of each API, as lifecycles said it before they spoke several.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct OldApi {
    pub(crate) buildpack: Option<String>,
    pub(crate) platform: Option<String>,
}

/// `lifecycle.toml`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LifecycleToml {
    pub(crate) lifecycle: LifecycleTable,
    pub(crate) api: OldApi,
    pub(crate) apis: Apis,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LifecycleTable {
    pub(crate) version: Option<String>,
}

impl Versions {
    /// Deprecated and supported ones.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        self.deprecated
            .iter()
            .flatten()
            .chain(&self.supported)
            .map(String::as_str)
    }

    fn earliest(&self) -> Option<String> {
        self.all().min_by_key(|it| number(it)).map(str::to_owned)
    }
}

/// `0.10` as numbers, to compare.
fn number(version: &str) -> (u64, u64) {
    let bare = version.strip_prefix('v').unwrap_or(version);
    let (major, minor) = bare.split_once('.').unwrap_or((bare, "0"));
    (major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}

/// Fills the old form from the new one and the other way round, as pack does.
pub(crate) fn reconcile(api: &mut OldApi, apis: &mut Apis) {
    let supported = |it: &Versions| !it.supported.is_empty();
    if supported(&apis.buildpack) || supported(&apis.platform) {
        if supported(&apis.buildpack) {
            api.buildpack = apis.buildpack.earliest();
        }
        if supported(&apis.platform) {
            api.platform = apis.platform.earliest();
        }
    } else if let (Some(buildpack), Some(platform)) = (&api.buildpack, &api.platform) {
        let only = |it: &String| Versions {
            deprecated: None,
            supported: vec![it.clone()],
        };
        *apis = Apis {
            buildpack: only(buildpack),
            platform: only(platform),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_and_new_forms_are_filled_from_each_other() {
        let mut api = OldApi::default();
        let mut apis: Apis = toml::from_str(
            "[buildpack]\ndeprecated = []\nsupported = [\"0.10\", \"0.7\"]\n[platform]\nsupported = [\"0.12\", \"0.9\"]\n",
        )
        .unwrap();
        reconcile(&mut api, &mut apis);
        assert_eq!(api.buildpack.as_deref(), Some("0.7"));
        assert_eq!(api.platform.as_deref(), Some("0.9"));
        assert_eq!(
            serde_json::to_string(&apis).unwrap(),
            r#"{"buildpack":{"deprecated":[],"supported":["0.10","0.7"]},"platform":{"deprecated":null,"supported":["0.12","0.9"]}}"#
        );
        let mut old: OldApi = toml::from_str("buildpack = \"0.2\"\nplatform = \"0.3\"\n").unwrap();
        let mut apis = Apis::default();
        reconcile(&mut old, &mut apis);
        assert_eq!(apis.platform.supported, ["0.3"]);
    }
}
