//! Versions of the CNB APIs, and what each of them has.
//!
//! Nothing else compares versions: a difference between versions is a method here, named for what
//! differs.

use std::fmt;
use std::str::FromStr;

macro_rules! versions {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
        #[non_exhaustive]
        pub enum $name {
            $(#[doc = $text] $variant,)*
        }

        impl $name {
            /// All that are supported, lowest first.
            pub const SUPPORTED: &[Self] = &[$(Self::$variant,)*];

            /// The version as text.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = Unsupported;

            fn from_str(text: &str) -> Result<Self, Unsupported> {
                let version = version(text);
                Self::SUPPORTED
                    .iter()
                    .copied()
                    .find(|it| version.as_deref() == Some(it.as_str()))
                    .ok_or_else(|| Unsupported { text: text.to_owned() })
            }
        }
    };
}

versions! {
    /// The API between a platform and the lifecycle.
    ///
    /// <https://github.com/buildpacks/spec/blob/platform/0.15/platform.md>
    PlatformApi {
        V0_7 = "0.7",
        V0_8 = "0.8",
        V0_9 = "0.9",
        V0_10 = "0.10",
        V0_11 = "0.11",
        V0_12 = "0.12",
        V0_13 = "0.13",
        V0_14 = "0.14",
        V0_15 = "0.15",
    }
}

versions! {
    /// The API between the lifecycle and a buildpack or extension.
    ///
    /// <https://github.com/buildpacks/spec/blob/buildpack/0.12/buildpack.md>
    BuildpackApi {
        V0_7 = "0.7",
        V0_8 = "0.8",
        V0_9 = "0.9",
        V0_10 = "0.10",
        V0_11 = "0.11",
        V0_12 = "0.12",
    }
}

impl PlatformApi {
    /// Whether the command of a process is a list of words, and arguments can be replaced.
    pub fn has_command_lists(self) -> bool {
        self >= Self::V0_10
    }

    /// Whether SBOM files of buildpacks count.
    pub fn has_sbom_files(self) -> bool {
        self >= Self::V0_8
    }

    /// Whether buildpacks' own bill of materials is no longer part of images and reports.
    pub fn has_sbom_files_only(self) -> bool {
        self >= Self::V0_9
    }

    /// Whether a builder may have image extensions.
    pub fn has_extensions(self) -> bool {
        self >= Self::V0_10
    }

    /// Whether image extensions are no experiment any more; with it came their new output folders.
    pub fn has_stable_extensions(self) -> bool {
        self >= Self::V0_13
    }

    /// Whether operating system, architecture and distribution of images count, in place of stacks.
    pub fn has_targets(self) -> bool {
        self >= Self::V0_12
    }

    /// Whether SBOMs are layers of images and caches.
    pub fn has_sbom_layers(self) -> bool {
        self >= Self::V0_8
    }

    /// Whether the time of an image can be given.
    pub fn has_source_date_epoch(self) -> bool {
        self >= Self::V0_9
    }

    /// Whether builder and detector are told where `build-config` is.
    pub fn has_build_config(self) -> bool {
        self >= Self::V0_11
    }

    /// Whether the detector is told of the run images that there are.
    pub fn tells_detector_of_run_images(self) -> bool {
        self >= Self::V0_12
    }

    /// Whether the SBOM of the launcher is part of the image.
    pub fn has_launcher_sbom(self) -> bool {
        self >= Self::V0_11
    }

    /// Whether images tell how each layer was made.
    pub fn has_history(self) -> bool {
        self >= Self::V0_12
    }

    /// Whether an earlier cache image stays when there is a new one.
    pub fn keeps_old_cache_images(self) -> bool {
        self >= Self::V0_13
    }

    /// Whether a layer for cache and launch comes back from the cache alone.
    pub fn restores_launch_layers_from_cache(self) -> bool {
        self >= Self::V0_14
    }

    /// Whether there are system buildpacks.
    pub fn has_system_buildpacks(self) -> bool {
        self >= Self::V0_15
    }

    /// Whether buildpacks and processes may be for some execution environments only.
    pub fn has_exec_env(self) -> bool {
        self >= Self::V0_15
    }
}

impl BuildpackApi {
    /// Whether paths are given as `CNB_…` variables, and a process may name its working directory.
    pub fn has_path_variables(self) -> bool {
        self >= Self::V0_8
    }

    /// Whether the command of a process is a list of words that never sees a shell.
    pub fn has_command_lists(self) -> bool {
        self >= Self::V0_9
    }

    /// Whether the target is given as `CNB_TARGET_…` variables and stacks are a thing of the past.
    pub fn has_targets(self) -> bool {
        self >= Self::V0_10
    }

    /// Whether buildpacks may be for some execution environments only.
    pub fn has_exec_env(self) -> bool {
        self >= Self::V0_12
    }
}

/// The Platform API that `CNB_PLATFORM_API` asks for.
///
/// # Errors
///
/// When it is unset, blank, no version, or not supported.
pub fn negotiate_platform(asked: Option<&str>) -> Result<PlatformApi, NegotiateError> {
    let text = asked
        .filter(|it| !it.trim().is_empty())
        .ok_or(NegotiateError::PlatformUnset)?;
    match text.parse() {
        Ok(api) => Ok(api),
        Err(_) if is_version(text) => Err(NegotiateError::PlatformUnsupported {
            api: text.to_owned(),
        }),
        Err(_) => Err(NegotiateError::PlatformMalformed {
            api: text.to_owned(),
        }),
    }
}

/// The Buildpack API that the module `name` (`id` or `id@version`) was written for; `kind` is what
/// messages call it.
///
/// # Errors
///
/// When it is missing, malformed or not supported.
pub fn negotiate_buildpack(
    kind: &'static str,
    name: &str,
    asked: &str,
) -> Result<BuildpackApi, NegotiateError> {
    let name = name.to_owned();
    match asked.parse() {
        Ok(api) => Ok(api),
        Err(_) if is_version(asked) => Err(NegotiateError::BuildpackUnsupported {
            kind,
            name,
            api: asked.to_owned(),
        }),
        Err(_) => Err(NegotiateError::BuildpackMalformed { kind, name }),
    }
}

/// Whether this is a version at all: `1`, `0.7`, `v0.12`.
pub fn is_version(text: &str) -> bool {
    version(text).is_some()
}

/// A version in its one form, `0.7`; upstream takes `v00.7` for that, too.
fn version(text: &str) -> Option<String> {
    let bare = text.strip_prefix('v').unwrap_or(text);
    let (major, minor) = bare.split_once('.').unwrap_or((bare, ""));
    let number = |part: &str| -> Option<u64> {
        let is_number = part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|_| is_number)
    };
    let minor = if minor.is_empty() {
        Some(0)
    } else {
        number(minor)
    };
    Some(format!("{}.{}", number(major)?, minor?))
}

/// Platform or buildpack and lifecycle do not understand each other.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NegotiateError {
    /// The platform does not say which API it speaks.
    #[error(
        "failed to get platform API version; please set 'CNB_PLATFORM_API' to specify the desired \
         platform API version"
    )]
    PlatformUnset,
    /// What the platform says is no version.
    #[error("failed to parse platform API '{api}'")]
    PlatformMalformed {
        /// What it says.
        api: String,
    },
    /// The platform speaks an API that this lifecycle does not.
    #[error(
        "failed to set platform API: platform API version '{api}' is incompatible with the lifecycle"
    )]
    PlatformUnsupported {
        /// The API.
        api: String,
    },
    /// What the module says is no version.
    #[error("failed to parse buildpack API '<nil>' for {} '{name}'", kind.to_lowercase())]
    BuildpackMalformed {
        /// Buildpack or extension.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The module speaks an API that this lifecycle does not.
    #[error(
        "failed to set API for {kind} '{name}': buildpack API version '{api}' is incompatible with \
         the lifecycle"
    )]
    BuildpackUnsupported {
        /// Buildpack or extension.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The API.
        api: String,
    },
}

/// A version that this lifecycle does not speak.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("API version `{text}` is not supported")]
#[non_exhaustive]
pub struct Unsupported {
    /// What was asked for.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_order_as_numbers() {
        assert!(PlatformApi::V0_9 < PlatformApi::V0_10);
        assert_eq!("0.10".parse(), Ok(PlatformApi::V0_10));
        assert_eq!("v0.10".parse(), Ok(BuildpackApi::V0_10));
        assert_eq!("00.010".parse(), Ok(BuildpackApi::V0_10));
        for bad in ["", "0.16", "1.0", "0.1", "0.x", "0"] {
            assert!(bad.parse::<PlatformApi>().is_err());
        }
    }

    #[test]
    fn what_is_no_version_differs_from_what_is_not_supported() {
        assert_eq!(negotiate_platform(Some("0.15")), Ok(PlatformApi::V0_15));
        assert_eq!(negotiate_platform(None), Err(NegotiateError::PlatformUnset));
        assert_eq!(
            negotiate_platform(Some("")),
            Err(NegotiateError::PlatformUnset)
        );
        assert_eq!(
            negotiate_platform(Some(" ")),
            Err(NegotiateError::PlatformUnset)
        );
        for (asked, is_version) in [
            ("0.99", true),
            ("1", true),
            ("v2.0", true),
            ("abc", false),
            ("0.7.1", false),
        ] {
            let error = negotiate_platform(Some(asked)).unwrap_err();
            assert_eq!(
                matches!(error, NegotiateError::PlatformUnsupported { .. }),
                is_version,
                "{asked}"
            );
        }
        assert_eq!(
            negotiate_buildpack("Buildpack", "a@1", "")
                .unwrap_err()
                .to_string(),
            "failed to parse buildpack API '<nil>' for buildpack 'a@1'"
        );
    }
}
