//! What can be found out from an index and the manifests that it leads to, wherever they lie.

use bytes::Bytes;

use super::index::IndexFile;
use crate::store::check;
use crate::{Descriptor, Digest, Limits, Manifest, MediaType, StoreError};

/// Where the manifests of a layout lie: in a folder, or in a tar file.
pub(in crate::store) trait Source {
    /// How it is called in errors.
    fn place(&self) -> String;

    /// How much is read.
    fn limits(&self) -> &Limits;

    /// Reads the content of `digest`, of whatever size up to `limit`, checked.
    fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Bytes>, StoreError>;

    fn malformed(&self, problem: impl Into<String>) -> StoreError {
        StoreError::Malformed {
            place: self.place(),
            problem: problem.into(),
        }
    }

    fn not_found(&self, what: impl Into<String>) -> StoreError {
        StoreError::NotFound {
            what: what.into(),
            place: self.place(),
            answer: None,
        }
    }

    /// What `index` names `name`; `has` says whether its content is there.
    fn resolve_tag(
        &self,
        index: &IndexFile,
        name: &str,
        has: impl FnOnce(&Descriptor) -> Result<bool, StoreError>,
    ) -> Result<Descriptor, StoreError> {
        let mut found = index.tagged(name);
        let Some(first) = found.next() else {
            return Err(self.not_found(name));
        };
        if found.next().is_some() {
            return Err(self.malformed(format!("`index.json` has the tag `{name}` twice")));
        }
        let target = first.descriptor();
        if !has(&target)? {
            return Err(self.malformed(format!(
                "`index.json` tags {} as `{name}`, which is missing or not {} bytes long",
                target.digest, target.size
            )));
        }
        Ok(target)
    }

    /// Its media type is what `index` says, else what the manifest itself says or looks like.
    fn resolve_listed(&self, index: &IndexFile, digest: &Digest) -> Result<Descriptor, StoreError> {
        let Some(content) = self.read(digest, self.limits().manifest_bytes)? else {
            return Err(self.not_found(digest.as_str()));
        };
        let listed = index.find(digest).map(|it| &it.media_type);
        let media_type = listed
            .filter(|it| it.is_manifest())
            .cloned()
            .or_else(|| media_type_of(&content))
            .unwrap_or_else(|| MediaType::from("application/octet-stream"));
        let target = Descriptor::new(media_type, digest.clone(), content.len() as u64);
        self.parse(&target, &content)?;
        Ok(target)
    }

    /// The only image that `index` lists. Manifests with a subject do not count.
    fn only_listed(&self, index: &IndexFile) -> Result<Descriptor, StoreError> {
        // What an odd entry is may be an image, too.
        if !index.odd.is_empty() {
            return Err(self.malformed("it holds what is not understood, and no image was named"));
        }
        let mut found: Option<Descriptor> = None;
        for entry in &index.manifests {
            let target = &entry.descriptor();
            if found.as_ref().is_some_and(|it| it.digest == target.digest)
                || entry.is_digest_tag()
                || self.manifest(target)?.subject().is_some()
            {
                continue;
            }
            if found.is_some() {
                return Err(self.malformed("it holds several images, and none was named"));
            }
            found = Some(target.bare());
        }
        found.ok_or_else(|| self.not_found("any image"))
    }

    /// Reads and parses the manifest `target`.
    fn manifest(&self, target: &Descriptor) -> Result<Manifest, StoreError> {
        let Some(content) = self.read(&target.digest, self.limits().manifest_bytes)? else {
            return Err(self.not_found(target.digest.as_str()));
        };
        check(target, &content)?;
        self.parse(target, &content)
    }

    fn parse(&self, target: &Descriptor, content: &[u8]) -> Result<Manifest, StoreError> {
        Manifest::parse(&target.media_type, content, self.limits()).map_err(|source| {
            StoreError::Manifest {
                digest: target.digest.clone(),
                source,
            }
        })
    }
}

/// What a manifest says that it is, else what it looks like.
pub(in crate::store) fn media_type_of(content: &[u8]) -> Option<MediaType> {
    Manifest::media_type_of(content)
}
