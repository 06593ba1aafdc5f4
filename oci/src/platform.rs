//! What an image runs on.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::json::null;

/// What an image runs on.
///
/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md>
#[derive(Clone, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(remote = "Self")]
pub struct Platform {
    /// As Go's `GOARCH`; empty where an index does not say it.
    #[serde(default, deserialize_with = "null")]
    pub architecture: String,
    /// As Go's `GOOS`; empty where an index does not say it.
    #[serde(default, deserialize_with = "null")]
    pub os: String,
    /// E.g. the build of Windows.
    #[serde(
        default,
        rename = "os.version",
        skip_serializing_if = "Option::is_none"
    )]
    pub os_version: Option<String>,
    /// E.g. `win32k`.
    #[serde(
        default,
        deserialize_with = "null",
        rename = "os.features",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// E.g. `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// The platform that this program was built for.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self {
            architecture: architecture.to_owned(),
            os: std::env::consts::OS.to_owned(),
            ..Self::default()
        }
    }

    /// Whether what runs on this one runs where `wanted` is asked for: what that leaves open (the
    /// variant, the version) may be anything.
    ///
    /// `arm64` is `arm64/v8`, and `arm` is `arm/v7`, as containerd has it.
    pub fn is_for(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_none() || self.full_variant() == wanted.full_variant())
            && (wanted.os_version.is_none() || self.os_version == wanted.os_version)
            && wanted
                .os_features
                .iter()
                .all(|it| self.os_features.contains(it))
    }

    fn full_variant(&self) -> Option<&str> {
        match (self.architecture.as_str(), self.variant.as_deref()) {
            ("arm64", None) => Some("v8"),
            ("arm", None) => Some("v7"),
            ("amd64", None) => Some("v1"),
            (_, variant) => variant,
        }
    }
}

/// `OS/ARCHITECTURE[/VARIANT][:OS_VERSION]`, as other tools write it.
impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if let Some(variant) = &self.variant {
            write!(f, "/{variant}")?;
        }
        if let Some(version) = &self.os_version {
            write!(f, ":{version}")?;
        }
        Ok(())
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let (names, os_version) = match text.split_once(':') {
            Some((names, version)) => (names, Some(version)),
            None => (text, None),
        };
        let names: Vec<&str> = names.split('/').collect();
        let (os, architecture, variant) = match names.as_slice() {
            [os, architecture] => (*os, *architecture, None),
            [os, architecture, variant] => (*os, *architecture, Some(*variant)),
            _ => ("", "", None),
        };
        let is_name = |it: &str| {
            let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
            !it.is_empty() && it.bytes().all(is_plain)
        };
        let mut all = [os, architecture]
            .into_iter()
            .chain(variant)
            .chain(os_version);
        if !all.all(is_name) {
            return Err(PlatformError {
                text: text.to_owned(),
            });
        }
        // Kernels have other names for these than Go.
        let architecture = match architecture {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Ok(Self {
            architecture: architecture.to_owned(),
            os: os.to_owned(),
            os_version: os_version.map(str::to_owned),
            os_features: Vec::new(),
            variant: variant.map(str::to_owned),
        })
    }
}

/// A text is not a [`Platform`].
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a platform: write OS/ARCHITECTURE[/VARIANT], such as `linux/arm64`")]
#[non_exhaustive]
pub struct PlatformError {
    /// What was given.
    pub text: String,
}

crate::json::objects_only!(Platform);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_as_they_are_written() {
        for text in [
            "linux/amd64",
            "linux/arm/v7",
            "linux/arm64/v8",
            "windows/amd64:10.0.17763.6414",
        ] {
            let platform: Platform = text.parse().unwrap();
            assert_eq!(platform.to_string(), text);
        }
        let platform: Platform = "linux/x86_64".parse().unwrap();
        assert_eq!(platform.to_string(), "linux/amd64");
        for text in [
            "",
            "linux",
            "linux/",
            "/amd64",
            "linux/arm/v7/x",
            "linux/arm/",
            "linux/amd64:",
            "linux/am d64",
            "all",
        ] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_left_open_may_be_anything() {
        let is_for = |has: &str, wanted: &str| {
            let (has, wanted): (Platform, Platform) =
                (has.parse().unwrap(), wanted.parse().unwrap());
            has.is_for(&wanted)
        };
        assert!(is_for("linux/arm/v6", "linux/arm"));
        assert!(is_for("linux/arm64", "linux/arm64/v8"));
        assert!(is_for("linux/arm64/v8", "linux/arm64"));
        assert!(is_for("windows/amd64:10.0.1", "windows/amd64"));
        assert!(!is_for("windows/amd64:10.0.1", "windows/amd64:10.0.2"));
        assert!(!is_for("linux/arm/v6", "linux/arm/v7"));
        assert!(!is_for("linux/arm/v6", "linux/arm64"));
        assert!(!is_for("linux/amd64", "windows/amd64"));
        let features = |features: &[&str]| Platform {
            os_features: features.iter().map(|it| (*it).to_owned()).collect(),
            ..Platform::default()
        };
        assert!(features(&["a", "b"]).is_for(&features(&["b"])));
        assert!(!features(&["a"]).is_for(&features(&["a", "b"])));
    }
}
