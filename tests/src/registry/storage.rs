//! What it holds.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use oci::Digest;
use serde_json::Value;

/// All that a registry holds, by repository.
#[derive(Debug, Default)]
pub(super) struct Storage {
    repositories: BTreeMap<String, Repository>,
    pub(super) uploads: BTreeMap<String, BytesMut>,
    uploads_begun: usize,
}

#[derive(Debug, Default)]
pub(super) struct Repository {
    pub(super) blobs: BTreeMap<String, Bytes>,
    pub(super) manifests: BTreeMap<String, Stored>,
    pub(super) tags: BTreeMap<String, String>,
    /// Manifests that no listing of referrers shows.
    pub(super) unlisted: BTreeSet<String>,
    /// Manifests that cannot be found by their digest.
    pub(super) hidden: BTreeSet<String>,
    /// Manifests by their subject, so that listing a few does not take as long as there are many;
    /// deleted ones too.
    attached: BTreeMap<String, BTreeSet<String>>,
}

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) media_type: String,
    pub(super) content: Bytes,
}

impl Storage {
    pub(super) fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    /// A blob, in whichever repository.
    pub(super) fn any_blob(&self, digest: &str) -> Option<Bytes> {
        self.repositories
            .values()
            .find_map(|it| it.blobs.get(digest).cloned())
    }

    pub(super) fn begin_upload(&mut self) -> String {
        self.uploads_begun += 1;
        let id = format!("upload-{}", self.uploads_begun);
        self.uploads.insert(id.clone(), BytesMut::new());
        id
    }
}

impl Repository {
    /// The manifests that name this subject, in digest order.
    pub(super) fn attached(&self, subject: &str) -> impl Iterator<Item = (&String, &Stored)> {
        let attached = self.attached.get(subject).into_iter().flatten();
        attached.filter_map(|digest| self.manifests.get_key_value(digest))
    }

    /// What a tag or a digest names, with its digest.
    pub(super) fn find(&self, reference: &str) -> Option<(String, Stored)> {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        let stored = self.manifests.get(digest)?;
        Some((digest.to_owned(), stored.clone()))
    }

    pub(super) fn put(
        &mut self,
        tag: Option<&str>,
        digest: &Digest,
        media_type: &str,
        content: Bytes,
    ) {
        let document: Option<Value> = serde_json::from_slice(&content).ok();
        let subject = document
            .as_ref()
            .and_then(|it| it.pointer("/subject/digest"));
        if let Some(subject) = subject.and_then(Value::as_str) {
            let attached = self.attached.entry(subject.to_owned()).or_default();
            attached.insert(digest.to_string());
        }
        let stored = Stored {
            media_type: media_type.to_owned(),
            content,
        };
        self.manifests.insert(digest.to_string(), stored);
        if let Some(tag) = tag {
            self.tags.insert(tag.to_owned(), digest.to_string());
        }
    }
}
