//! Moves new images, and all that is attached to them, to their destinations.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lifecycle_core::files;
use lifecycle_core::files::report::{ImageReport, ReportFile};
use oci::{
    Content, Descriptor, Digest, Found, Location, Reference, Repository, Selector, Store,
    StoreError, Tag, Upload,
};
use policies::Verdict;

use super::Made;
use super::image::Workbench;
use super::settings::Settings;
use crate::claims::{Attached, Verifier};
use crate::error::CommandError;
use crate::images::Lookup;
use crate::publishing::{self, Staged};
use crate::ui::Ui;

/// Where an image went.
pub(super) struct Published {
    /// The first destination, by digest.
    pub(super) image: String,
    /// What was attached after it was judged.
    pub(super) attached: Vec<Attached>,
}

/// Publishes: blobs, manifests, referrers, and the tag last; then the verdict.
pub(super) async fn run(
    made: &Made,
    verdicts: &[Verdict],
    found: &Found,
    staging: &Workbench,
    settings: &Settings,
    images: &Lookup<'_>,
    ui: &Ui,
) -> Result<Published, CommandError> {
    let root = &made.root;
    let mut published = Published {
        image: String::new(),
        attached: Vec::new(),
    };
    for (at, destination) in settings.destinations.iter().enumerate() {
        let store = known(images.create(destination).await?, destination, found, made);
        let staged = Staged {
            store: &*staging.store,
            target: root,
        };
        let signed = verdicts.get(at).zip(settings.signer.as_ref());
        let verdict = signed.map(|(verdict, signer)| {
            let by = Verifier {
                signer,
                id: &settings.builder_id,
                policy_name: &settings.judges.name,
                destination,
            };
            (verdict, by)
        });
        let to = (destination, &*store);
        let attached =
            publishing::publish(&[], staged, to, verdict, settings.signer.as_ref(), ui).await?;
        published.attached.extend(attached);
        if published.image.is_empty() {
            published.image = destination.at(root.digest.clone()).to_string();
        }
    }
    Ok(published)
}

/// Writes what the lifecycle's rebaser would write.
pub(super) fn write_report(
    path: &Path,
    root: &Descriptor,
    destinations: &[Reference],
) -> Result<(), CommandError> {
    let report = ReportFile {
        image: ImageReport {
            tags: destinations.iter().map(ToString::to_string).collect(),
            image_id: None,
            digest: Some(root.digest.to_string()),
            manifest_size: Some(root.size),
            run_image: None,
        },
        ..ReportFile::default()
    };
    files::write(path, &report).map_err(CommandError::undecided)
}

/// The destination; where it is the repository of the image before, with what is known to be there.
fn known(
    store: Arc<dyn Store>,
    destination: &Reference,
    found: &Found,
    made: &Made,
) -> Arc<dyn Store> {
    let is_same = destination.location == found.reference.location;
    if !is_same || !matches!(destination.location, Location::Registry(_)) {
        return store;
    }
    let layers = made.images.iter().flat_map(|it| it.layers.iter().cloned());
    Arc::new(Known {
        store,
        layers: layers.collect(),
    })
}

/// A store that has these layers: an image that is there has them. It is not asked for them.
#[derive(Debug)]
struct Known {
    store: Arc<dyn Store>,
    layers: BTreeSet<Digest>,
}

#[async_trait]
impl Store for Known {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        self.store.resolve(selector).await
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        Ok(self.layers.contains(&target.digest) || self.store.contains(target).await?)
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        self.store.fetch(target).await
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        if self.layers.contains(&target.digest) {
            return Ok(());
        }
        self.store.push_blob(target, upload).await
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.store.push_manifest(target, content).await
    }

    async fn push_manifests(&self, manifests: Vec<(Descriptor, Bytes)>) -> Result<(), StoreError> {
        self.store.push_manifests(manifests).await
    }

    async fn mount(&self, target: &Descriptor, from: &Repository) -> Result<bool, StoreError> {
        if self.layers.contains(&target.digest) {
            return Ok(true);
        }
        self.store.mount(target, from).await
    }

    fn repository(&self) -> Option<&Repository> {
        self.store.repository()
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        self.store.tag(target, tag).await
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.store.tags().await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        self.store.referrers(subject).await
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        self.store.delete(target).await
    }

    async fn finish(&self) -> Result<(), StoreError> {
        self.store.finish().await
    }
}
