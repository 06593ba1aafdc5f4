//! Why a graph could not be copied.

use crate::{Digest, Platform, StoreError};

/// Why a graph could not be copied. What was copied by then stays, without a tag.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CopyError {
    /// The source failed, or what it has is not what it should be.
    #[error("failed to copy {digest} from its source")]
    Source {
        /// What was asked for: content, or the subject of a listing.
        digest: Digest,
        /// Why.
        source: StoreError,
    },
    /// The destination failed.
    #[error("failed to copy {digest} to its destination")]
    Destination {
        /// What was to be added, or the subject of a listing.
        digest: Digest,
        /// Why.
        source: StoreError,
    },
    /// The index has no image for the platform.
    #[error("{digest} has no image for {platform}; it has {}", list(.has))]
    NoPlatform {
        /// The index.
        digest: Digest,
        /// What was asked for.
        platform: Box<Platform>,
        /// What there is, in the order of the index.
        has: Vec<Platform>,
    },
    /// The image is none for the platform.
    #[error("{digest} is an image for {has}, not for {platform}")]
    OtherPlatform {
        /// The image.
        digest: Digest,
        /// What was asked for.
        platform: Box<Platform>,
        /// What it runs on.
        has: Box<Platform>,
    },
    /// A manifest refers to itself.
    #[error("{digest} refers to itself, directly or not")]
    Cycle {
        /// Which.
        digest: Digest,
    },
    /// Indexes or referrers are nested deeper than we follow.
    #[error("manifests are nested more than {limit} deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// More manifests than we copy.
    #[error("there are more than {limit} manifests")]
    TooManyManifests {
        /// The limit.
        limit: usize,
    },
    /// The manifests of one image or artifact are larger than we hold.
    #[error("the manifests of {digest} are larger than {limit} bytes")]
    TooLarge {
        /// The root of them.
        digest: Digest,
        /// The limit.
        limit: u64,
    },
    /// More is attached to one manifest than we copy.
    #[error("{subject} has more than {limit} referrers")]
    TooManyReferrers {
        /// To which.
        subject: Digest,
        /// The limit.
        limit: usize,
    },
}

impl CopyError {
    pub(super) fn source(digest: &Digest, source: StoreError) -> Self {
        Self::Source {
            digest: digest.clone(),
            source,
        }
    }

    pub(super) fn destination(digest: &Digest, source: StoreError) -> Self {
        Self::Destination {
            digest: digest.clone(),
            source,
        }
    }

    /// Whether the source has bad content, as against a store that could not be asked.
    pub(super) fn is_about_content(&self) -> bool {
        match self {
            Self::Source { source, .. } => matches!(
                source,
                StoreError::DigestMismatch { .. }
                    | StoreError::SizeMismatch { .. }
                    | StoreError::NotFound { .. }
                    | StoreError::TooLarge { .. }
                    | StoreError::Manifest { .. }
            ),
            Self::Destination { .. } | Self::NoPlatform { .. } | Self::OtherPlatform { .. } => {
                false
            }
            Self::Cycle { .. }
            | Self::TooDeep { .. }
            | Self::TooManyManifests { .. }
            | Self::TooLarge { .. }
            | Self::TooManyReferrers { .. } => true,
        }
    }
}

/// The first few of `platforms`, for people.
fn list(platforms: &[Platform]) -> String {
    const SHOWN: usize = 10;
    if platforms.is_empty() {
        return "none".to_owned();
    }
    let shown = platforms.iter().take(SHOWN).map(ToString::to_string);
    let mut shown: Vec<_> = shown.collect();
    if platforms.len() > SHOWN {
        shown.push(format!("{} more", platforms.len() - SHOWN));
    }
    shown.join(", ")
}
