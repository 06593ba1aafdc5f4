//! The formats of SBOMs.

use std::fmt;

/// A format of SBOM that a buildpack may write.
///
/// <https://github.com/buildpacks/spec/blob/buildpack/v0.12/buildpack.md#bill-of-materials>
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum Format {
    /// CycloneDX, JSON.
    CycloneDx,
    /// SPDX 2, JSON.
    Spdx,
    /// Syft's own JSON.
    Syft,
}

impl Format {
    /// All formats, in the order of their names.
    pub const ALL: [Self; 3] = [Self::CycloneDx, Self::Spdx, Self::Syft];

    /// The media type, as `sbom-formats` of a `buildpack.toml` has it.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::CycloneDx => "application/vnd.cyclonedx+json",
            Self::Spdx => "application/spdx+json",
            Self::Syft => "application/vnd.syft+json",
        }
    }

    /// What the name of such a file ends in: `sbom.cdx.json`.
    pub const fn file_suffix(self) -> &'static str {
        match self {
            Self::CycloneDx => "sbom.cdx.json",
            Self::Spdx => "sbom.spdx.json",
            Self::Syft => "sbom.syft.json",
        }
    }

    /// The format of the file called `name`: `sbom.cdx.json` or `launcher.sbom.cdx.json`, say.
    pub fn of_file_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| {
            name.strip_suffix(it.file_suffix())
                .is_some_and(|stem| stem.is_empty() || stem.ends_with('.'))
        })
    }

    /// The format with this media type. Parameters (`;version=1.5`) are ignored.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        Self::ALL.into_iter().find(|it| it.media_type() == essence)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CycloneDx => "CycloneDX",
            Self::Spdx => "SPDX",
            Self::Syft => "Syft",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_format_that_its_name_ends_in() {
        assert_eq!(
            Format::of_file_name("sbom.cdx.json"),
            Some(Format::CycloneDx)
        );
        assert_eq!(
            Format::of_file_name("launcher.sbom.spdx.json"),
            Some(Format::Spdx)
        );
        assert_eq!(Format::of_file_name("mysbom.cdx.json"), None);
        assert_eq!(Format::of_file_name("sbom.legacy.json"), None);
        for format in Format::ALL {
            assert_eq!(Format::of_file_name(format.file_suffix()), Some(format));
            assert_eq!(Format::of_media_type(format.media_type()), Some(format));
        }
    }
}
