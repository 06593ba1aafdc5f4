//! One image of an index.

use futures_util::future::{BoxFuture, FutureExt as _};
use serde::Deserialize;

use super::{CopyError, Copying};
use crate::{Descriptor, Digest, Manifest, Platform};

/// An image that was chosen.
pub(super) struct Selected {
    pub(super) image: Descriptor,
    /// The indexes that lead to it; they are not copied.
    pub(super) above: Vec<Digest>,
}

/// The image below `root` that is for `platform`. An entry that does not say what it is for is
/// believed by its config. `root` itself, if it is no index, unless its config says that it is for
/// another platform.
pub(super) async fn select(
    copy: &Copying<'_>,
    root: &Descriptor,
    platform: &Platform,
) -> Result<Selected, CopyError> {
    let mut search = Search {
        copy,
        platform,
        read: 0,
        has: Vec::new(),
    };
    if root.media_type.is_index() {
        let mut above = Vec::new();
        return match search.below(&root.bare(), &mut above).await? {
            Some(image) => Ok(Selected { image, above }),
            None => Err(CopyError::NoPlatform {
                digest: root.digest.clone(),
                platform: Box::new(platform.clone()),
                has: search.has,
            }),
        };
    }
    match search.platform_of(root).await? {
        Some(has) if !has.is_for(platform) => Err(CopyError::OtherPlatform {
            digest: root.digest.clone(),
            platform: Box::new(platform.clone()),
            has: Box::new(has),
        }),
        _ => Ok(Selected {
            image: root.bare(),
            above: Vec::new(),
        }),
    }
}

struct Search<'a> {
    copy: &'a Copying<'a>,
    platform: &'a Platform,
    /// How many manifests were read.
    read: usize,
    /// What there was instead.
    has: Vec<Platform>,
}

impl Search<'_> {
    /// The first image below `index` that fits. `above` are the indexes on the way to it.
    fn below<'s>(
        &'s mut self,
        index: &'s Descriptor,
        above: &'s mut Vec<Digest>,
    ) -> BoxFuture<'s, Result<Option<Descriptor>, CopyError>> {
        async move {
            let limit = self.copy.options.limits.depth;
            if above.len() > limit {
                return Err(CopyError::TooDeep { limit });
            }
            let manifest = self.manifest(index).await?;
            above.push(index.digest.clone());
            for entry in manifest.successors() {
                let fits = match &entry.platform {
                    _ if !entry.media_type.is_manifest() => false,
                    Some(platform) => self.fits(platform),
                    None if entry.media_type.is_index() => true,
                    None => match self.platform_of(entry).await? {
                        Some(platform) => self.fits(&platform),
                        None => false,
                    },
                };
                if !fits {
                    continue;
                }
                if !entry.media_type.is_index() {
                    return Ok(Some(entry.bare()));
                }
                let found = self.below(&entry.bare(), above).await?;
                if found.is_some() {
                    return Ok(found);
                }
            }
            above.pop();
            Ok(None)
        }
        .boxed()
    }

    fn fits(&mut self, platform: &Platform) -> bool {
        let fits = platform.is_for(self.platform);
        if !fits && !self.has.contains(platform) {
            self.has.push(platform.clone());
        }
        fits
    }

    /// What the config of `image` says that it runs on; none if that is an artifact.
    async fn platform_of(&mut self, image: &Descriptor) -> Result<Option<Platform>, CopyError> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(flatten)]
            platform: Platform,
        }
        let manifest = self.manifest(image).await?;
        let Manifest::Image(manifest) = manifest else {
            return Ok(None);
        };
        let limit = self.copy.options.limits.manifest_bytes;
        if !manifest.config.media_type.is_image_config() {
            return Ok(None);
        }
        let content = crate::store::read(self.copy.src, &manifest.config, limit).await;
        let content = content.map_err(|error| CopyError::source(&manifest.config.digest, error))?;
        let config: Option<Config> = serde_json::from_slice(&content).ok();
        let platform = config.map(|it| it.platform);
        Ok(platform.filter(|it| !it.os.is_empty() && !it.architecture.is_empty()))
    }

    async fn manifest(&mut self, target: &Descriptor) -> Result<Manifest, CopyError> {
        let limit = self.copy.options.limits.manifests;
        self.read += 1;
        if self.read > limit {
            return Err(CopyError::TooManyManifests { limit });
        }
        Ok(self.copy.manifest(target).await?.1)
    }
}
