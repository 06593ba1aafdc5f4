//! What `index.json` says, and how it changes.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Descriptor, Digest, MediaType, Tag};

/// The annotation that is a tag.
///
/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md>
pub(in crate::store) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// With all that other tools wrote into it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::store) struct IndexFile {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    media_type: Option<MediaType>,
    pub(in crate::store) manifests: Vec<Entry>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(try_from = "Map<String, Value>")]
pub(in crate::store) struct Entry {
    #[serde(flatten)]
    pub(in crate::store) descriptor: Descriptor,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// Reads the descriptor, and keeps what is not of it: with `flatten` alone all would be in both, and
/// be written twice.
impl TryFrom<Map<String, Value>> for Entry {
    type Error = serde_json::Error;

    fn try_from(map: Map<String, Value>) -> Result<Self, Self::Error> {
        const OF_DESCRIPTOR: [&str; 8] = [
            "mediaType",
            "digest",
            "size",
            "urls",
            "annotations",
            "data",
            "platform",
            "artifactType",
        ];
        let (of_descriptor, other): (Map<_, _>, Map<_, _>) = map
            .into_iter()
            .partition(|(name, _)| OF_DESCRIPTOR.contains(&name.as_str()));
        Ok(Self {
            descriptor: serde_json::from_value(Value::Object(of_descriptor))?,
            other,
        })
    }
}

impl Default for IndexFile {
    fn default() -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::IMAGE_INDEX),
            manifests: Vec::new(),
            other: Map::new(),
        }
    }
}

impl Entry {
    fn new(descriptor: Descriptor) -> Self {
        Self {
            descriptor,
            other: Map::new(),
        }
    }

    pub(in crate::store) fn ref_name(&self) -> Option<&str> {
        self.descriptor
            .annotations
            .get(REF_NAME)
            .map(String::as_str)
    }

    /// Whether its tag is one by which registries and cosign attach things: `sha256-<hex>…`.
    pub(in crate::store) fn is_digest_tag(&self) -> bool {
        self.ref_name()
            .and_then(|name| name.strip_prefix("sha256-"))
            .and_then(|rest| rest.get(..64))
            .is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

impl IndexFile {
    pub(in crate::store) fn tagged<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.manifests
            .iter()
            .filter(move |it| it.ref_name() == Some(tag))
    }

    /// All tags, sorted; names that are no tags are left out.
    pub(in crate::store) fn tags(&self) -> Vec<Tag> {
        let tags: BTreeSet<Tag> = self
            .manifests
            .iter()
            .filter_map(|it| it.ref_name()?.parse().ok())
            .collect();
        tags.into_iter().collect()
    }

    pub(in crate::store) fn find(&self, digest: &Digest) -> Option<&Descriptor> {
        let mut all = self.manifests.iter().map(|it| &it.descriptor);
        all.find(|it| it.digest == *digest)
    }

    /// Adds `target` without a tag if it is not there. Whether anything changed.
    pub(in crate::store) fn list(&mut self, target: &Descriptor) -> bool {
        self.list_all(std::slice::from_ref(target))
    }

    /// Adds each of `targets` that is not there.
    pub(in crate::store) fn list_all(&mut self, targets: &[Descriptor]) -> bool {
        let mut known: BTreeSet<Digest> = self
            .manifests
            .iter()
            .map(|it| it.descriptor.digest.clone())
            .collect();
        let before = self.manifests.len();
        for target in targets {
            if known.insert(target.digest.clone()) {
                let mut target = target.clone();
                // A manifest may carry this annotation; here it would be a tag.
                target.annotations.remove(REF_NAME);
                self.manifests.push(Entry::new(target));
            }
        }
        self.manifests.len() > before
    }

    /// Makes `tag`, or another name, name `target`, and it alone. What had the tag stays, without it.
    pub(in crate::store) fn tag(&mut self, target: &Descriptor, tag: &str) {
        let mut entries: BTreeMap<&Digest, usize> = BTreeMap::new();
        for entry in &self.manifests {
            *entries.entry(&entry.descriptor.digest).or_default() += 1;
        }
        let crowded: BTreeSet<Digest> = entries
            .into_iter()
            .filter(|(_, count)| *count > 1)
            .map(|(digest, _)| digest.clone())
            .collect();
        let mut found = false;
        self.manifests.retain_mut(|entry| {
            if entry.ref_name() != Some(tag) {
                return true;
            }
            if entry.descriptor.digest == target.digest && !found {
                found = true;
                return true;
            }
            entry.descriptor.annotations.remove(REF_NAME);
            !crowded.contains(&entry.descriptor.digest)
        });
        if found {
            return;
        }
        let mut same = self
            .manifests
            .iter_mut()
            .filter(|it| it.descriptor.digest == target.digest);
        let name = |entry: &mut Entry| {
            let annotations = &mut entry.descriptor.annotations;
            annotations.insert(REF_NAME.to_owned(), tag.to_string());
        };
        match same.next() {
            Some(entry) if entry.ref_name().is_none() => name(entry),
            Some(entry) => {
                let mut entry = entry.clone();
                name(&mut entry);
                self.manifests.push(entry);
            }
            None => {
                let mut entry = Entry::new(target.bare());
                name(&mut entry);
                self.manifests.push(entry);
            }
        }
    }

    /// Removes `digest` and its tags. Whether anything changed.
    pub(in crate::store) fn remove(&mut self, digest: &Digest) -> bool {
        let before = self.manifests.len();
        self.manifests.retain(|it| it.descriptor.digest != *digest);
        self.manifests.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(content: &[u8]) -> Descriptor {
        Descriptor::of(MediaType::IMAGE_MANIFEST, content)
    }

    fn names(index: &IndexFile, target: &Descriptor) -> Vec<Option<String>> {
        let same = |it: &&Entry| it.descriptor.digest == target.digest;
        let entries = index.manifests.iter().filter(same);
        entries.map(|it| it.ref_name().map(str::to_owned)).collect()
    }

    #[test]
    fn a_moved_tag_leaves_its_old_image_listed_once() {
        let (old, new) = (manifest(b"old"), manifest(b"new"));
        let (v1, latest): (Tag, Tag) = ("v1".parse().unwrap(), "latest".parse().unwrap());
        let mut index = IndexFile::default();
        assert!(index.list(&old));
        assert!(!index.list(&old));
        index.tag(&old, latest.as_str());
        assert_eq!(names(&index, &old), [Some("latest".to_owned())]);
        index.tag(&old, v1.as_str());
        index.tag(&new, latest.as_str());
        assert_eq!(names(&index, &old), [Some("v1".to_owned())]);
        index.tag(&new, v1.as_str());
        assert_eq!(names(&index, &old), [None]);
        assert_eq!(index.tags(), [latest, v1]);
        assert!(index.remove(&new.digest));
        assert_eq!(index.tags(), []);
    }

    #[test]
    fn what_others_wrote_is_kept() {
        let text = r#"{"annotations":{"a":"b"},"manifests":[{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","mediaType":"x/y","new":{"z":1},"size":0}],"schemaVersion":2,"subject":null}"#;
        let index: IndexFile = serde_json::from_str(text).unwrap();
        let written = serde_json::to_string(&index).unwrap();
        let parsed: Value = serde_json::from_str(&written).unwrap();
        assert_eq!(parsed, serde_json::from_str::<Value>(text).unwrap());
        // A field that stands there twice is not seen in a value.
        assert_eq!(written.matches("digest").count(), 1, "{written}");
        serde_json::from_str::<IndexFile>(&written).unwrap();
    }
}
