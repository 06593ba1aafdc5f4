//! What `index.json` says, and how it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::{Error as _, SerializeMap as _, SerializeSeq as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::{Descriptor, Digest, MediaType, Tag};

/// The annotation that is a tag.
///
/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/annotations.md>
pub(in crate::store) const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// With all that other tools wrote into it.
#[derive(Clone, Debug)]
pub(in crate::store) struct IndexFile {
    schema_version: u32,
    media_type: Option<MediaType>,
    pub(in crate::store) manifests: Vec<Entry>,
    /// Entries that name nothing that can be read here, e.g. by a digest of another kind. They hide no
    /// other, and stay.
    pub(in crate::store) odd: Vec<Arc<RawValue>>,
    other: BTreeMap<String, Arc<RawValue>>,
}

/// What it says of one manifest. There may be thousands: most of it is kept as the text that it is.
#[derive(Clone, Debug)]
pub(in crate::store) struct Entry {
    pub(in crate::store) digest: Digest,
    pub(in crate::store) media_type: MediaType,
    size: u64,
    ref_name: Option<Box<str>>,
    /// None if it cannot be written.
    text: Option<Arc<RawValue>>,
}

/// By hand: `flatten` would take the manifests apart before they can be kept as text.
impl<'de> Deserialize<'de> for IndexFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = IndexFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an image index")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<IndexFile, A::Error> {
                let mut schema_version = None;
                let mut media_type: Option<Option<MediaType>> = None;
                let mut manifests: Option<Vec<Arc<RawValue>>> = None;
                let mut other = BTreeMap::new();
                while let Some(name) = map.next_key::<String>()? {
                    let is_second = match name.as_str() {
                        "schemaVersion" => schema_version
                            .replace(map.next_value::<Option<_>>()?.unwrap_or(2))
                            .is_some(),
                        "mediaType" => media_type.replace(map.next_value()?).is_some(),
                        // Docker 25 writes `null` for none.
                        "manifests" => manifests
                            .replace(map.next_value::<Option<Texts>>()?.unwrap_or_default().0)
                            .is_some(),
                        // Of what nobody here reads, the last stays.
                        _ => {
                            other.insert(name.clone(), map.next_value::<Box<RawValue>>()?.into());
                            false
                        }
                    };
                    if is_second {
                        return Err(A::Error::custom(format_args!("it has two `{name}`")));
                    }
                }
                let missing = A::Error::missing_field;
                let manifests = manifests.ok_or_else(|| missing("manifests"))?;
                let (mut read, mut odd) = (Vec::new(), Vec::new());
                for text in manifests {
                    match Entry::parse(&text) {
                        Some(entry) => read.push(entry),
                        None => odd.push(text),
                    }
                }
                Ok(IndexFile {
                    schema_version: schema_version.unwrap_or(2),
                    media_type: media_type.flatten(),
                    manifests: read,
                    odd,
                    other,
                })
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

#[derive(Default)]
struct Texts(Vec<Arc<RawValue>>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<Box<RawValue>>::deserialize(deserializer)?;
        Ok(Self(texts.into_iter().map(Into::into).collect()))
    }
}

impl Serialize for IndexFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Manifests<'a>(&'a IndexFile);

        impl Serialize for Manifests<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let count = self.0.manifests.len() + self.0.odd.len();
                let mut list = serializer.serialize_seq(Some(count))?;
                for entry in &self.0.manifests {
                    list.serialize_element(entry)?;
                }
                for text in &self.0.odd {
                    list.serialize_element(&**text)?;
                }
                list.end()
            }
        }

        let mut fields = serializer.serialize_map(None)?;
        fields.serialize_entry("schemaVersion", &self.schema_version)?;
        if let Some(media_type) = &self.media_type {
            fields.serialize_entry("mediaType", media_type)?;
        }
        fields.serialize_entry("manifests", &Manifests(self))?;
        for (name, text) in &self.other {
            fields.serialize_entry(name, &**text)?;
        }
        fields.end()
    }
}

impl Serialize for Entry {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.text {
            Some(text) => text.serialize(serializer),
            None => Err(S::Error::custom("an entry cannot be written")),
        }
    }
}

impl Default for IndexFile {
    fn default() -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::IMAGE_INDEX),
            manifests: Vec::new(),
            odd: Vec::new(),
            other: BTreeMap::new(),
        }
    }
}

impl Entry {
    /// `None` if it names nothing that we can read.
    fn parse(text: &Arc<RawValue>) -> Option<Self> {
        let descriptor: Descriptor = serde_json::from_str(text.get()).ok()?;
        let ref_name = descriptor.annotations.get(REF_NAME);
        Some(Self {
            ref_name: ref_name.map(|it| it.as_str().into()),
            digest: descriptor.digest,
            media_type: Some(descriptor.media_type)
                .filter(|it| !it.as_str().is_empty())
                .unwrap_or(MediaType::IMAGE_MANIFEST),
            size: descriptor.size,
            text: Some(Arc::clone(text)),
        })
    }

    /// Without a tag. A manifest may carry the annotation, too; here it would be one.
    fn new(target: &Descriptor) -> Self {
        let mut target = target.clone();
        target.annotations.remove(REF_NAME);
        let text = to_raw_value(&target).ok();
        Self {
            digest: target.digest,
            media_type: target.media_type,
            size: target.size,
            ref_name: None,
            text: text.map(Into::into),
        }
    }

    fn named(mut self, tag: &str) -> Self {
        self.annotate(|it| {
            it.insert(REF_NAME.to_owned(), tag.to_owned());
        });
        self
    }

    /// Changes its annotations, and nothing else that it says.
    pub(in crate::store) fn annotate(
        &mut self,
        change: impl FnOnce(&mut BTreeMap<String, String>),
    ) {
        let text = self.text.take();
        let fields = text
            .as_ref()
            .and_then(|it| serde_json::from_str(it.get()).ok());
        let Some(mut fields): Option<BTreeMap<String, Box<RawValue>>> = fields else {
            return;
        };
        let before = fields.remove("annotations");
        let before = before.and_then(|it| serde_json::from_str(it.get()).ok());
        let before: BTreeMap<String, String> = before.unwrap_or_default();
        let mut annotations = before.clone();
        change(&mut annotations);
        if annotations == before {
            self.text = text;
            return;
        }
        self.ref_name = annotations.get(REF_NAME).map(|it| it.as_str().into());
        if !annotations.is_empty() {
            let Ok(annotations) = to_raw_value(&annotations) else {
                return;
            };
            fields.insert("annotations".to_owned(), annotations);
        }
        self.text = to_raw_value(&fields).ok().map(Into::into);
    }

    /// Without the hints.
    pub(in crate::store) fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest.clone(), self.size)
    }

    pub(in crate::store) fn ref_name(&self) -> Option<&str> {
        self.ref_name.as_deref()
    }

    /// Whether its tag is one by which registries and cosign attach things: `sha256-<hex>…`.
    pub(in crate::store) fn is_digest_tag(&self) -> bool {
        let tag = self.ref_name().and_then(|it| it.parse().ok());
        tag.is_some_and(|it: Tag| it.is_digest_tag())
    }
}

impl IndexFile {
    pub(in crate::store) fn tagged<'a>(&'a self, tag: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.manifests
            .iter()
            .filter(move |it| it.ref_name() == Some(tag))
    }

    /// All names, sorted; those that the specification does not allow are left out.
    pub(in crate::store) fn tags(&self) -> Vec<Tag> {
        let tags: BTreeSet<Tag> = self
            .manifests
            .iter()
            .filter_map(|it| Tag::in_layout(it.ref_name()?).ok())
            .collect();
        tags.into_iter().collect()
    }

    pub(in crate::store) fn find(&self, digest: &Digest) -> Option<&Entry> {
        self.manifests.iter().find(|it| it.digest == *digest)
    }

    /// Adds `target` without a tag if it is not there. Whether anything changed.
    pub(in crate::store) fn list(&mut self, target: &Descriptor) -> bool {
        self.list_all(std::slice::from_ref(target))
    }

    /// Adds each of `targets` that is not there.
    pub(in crate::store) fn list_all(&mut self, targets: &[Descriptor]) -> bool {
        let mut known: BTreeSet<Digest> =
            self.manifests.iter().map(|it| it.digest.clone()).collect();
        let before = self.manifests.len();
        for target in targets {
            if known.insert(target.digest.clone()) {
                self.manifests.push(Entry::new(target));
            }
        }
        self.manifests.len() > before
    }

    /// Makes `tag`, or another name, name `target`, and it alone. What had the tag stays, without it.
    pub(in crate::store) fn tag(&mut self, target: &Descriptor, tag: &str) {
        let mut listed: BTreeMap<Digest, usize> = BTreeMap::new();
        for entry in &self.manifests {
            *listed.entry(entry.digest.clone()).or_default() += 1;
        }
        let mut found = false;
        self.manifests.retain_mut(|entry| {
            if entry.ref_name() != Some(tag) {
                return true;
            }
            if entry.digest == target.digest && !found {
                found = true;
                return true;
            }
            entry.annotate(|it| drop(it.remove(REF_NAME)));
            listed.get(&entry.digest) == Some(&1)
        });
        if found {
            return;
        }
        let mut same = self.manifests.iter_mut();
        let named = match same.find(|it| it.digest == target.digest) {
            Some(entry) if entry.ref_name().is_none() => {
                *entry = entry.clone().named(tag);
                return;
            }
            Some(entry) => entry.clone().named(tag),
            None => Entry::new(&target.bare()).named(tag),
        };
        self.manifests.push(named);
    }

    /// Removes `digest` and its tags. Whether anything changed.
    pub(in crate::store) fn remove(&mut self, digest: &Digest) -> bool {
        let before = self.manifests.len();
        self.manifests.retain(|it| it.digest != *digest);
        self.manifests.len() < before
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_entry_is_odd_for_itself() {
        let good = |more: &str| {
            let digest = Digest::of(more.as_bytes());
            format!(r#"{{"digest":"{digest}"{more},"size":1}}"#)
        };
        let odd = [
            "null".to_owned(),
            format!(
                r#"{{"digest":"sha384:{}","mediaType":"x/y","size":1}}"#,
                "0".repeat(96)
            ),
            r#"{"digest":"x","mediaType":"x/y","size":1}"#.to_owned(),
            r#"{"mediaType":"x/y","size":1}"#.to_owned(),
        ];
        let (plain, typed) = (good(""), good(r#","mediaType":"x/y""#));
        let text = format!(
            r#"{{"manifests":[{},{plain},{typed}],"x":1,"x":{{"y":1e999}},"schemaVersion":null}}"#,
            odd.join(",")
        );
        let index: IndexFile = serde_json::from_str(&text).unwrap();
        let types: Vec<_> = index
            .manifests
            .iter()
            .map(|it| it.media_type.as_str())
            .collect();
        assert_eq!(types, [MediaType::IMAGE_MANIFEST.as_str(), "x/y"]);
        // They stay.
        let expected = format!(
            r#"{{"schemaVersion":2,"manifests":[{plain},{typed},{}],"x":{{"y":1e999}}}}"#,
            odd.join(",")
        );
        assert_eq!(serde_json::to_string(&index).unwrap(), expected);
    }

    fn manifest(content: &[u8]) -> Descriptor {
        Descriptor::of(MediaType::IMAGE_MANIFEST, content)
    }

    fn names(index: &IndexFile, target: &Descriptor) -> Vec<Option<String>> {
        let same = |it: &&Entry| it.digest == target.digest;
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
        // Also beside a tag that comes and goes.
        let mut index = index;
        let target = index.manifests[0].descriptor();
        index.tag(&target, "v1");
        let tagged = serde_json::to_string(&index).unwrap();
        assert!(
            tagged.contains(r#""new":{"z":1}"#) && tagged.contains("v1"),
            "{tagged}"
        );
        index.tag(&manifest(b"other"), "v1");
        let (_, entry) = text.split_once('[').unwrap();
        let (entry, _) = entry.split_once(']').unwrap();
        assert_eq!(index.manifests[0].text.as_ref().unwrap().get(), entry);
    }

    #[test]
    fn a_field_that_is_there_twice_is_refused() {
        for text in [
            r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#,
            r#"{"schemaVersion":2}"#,
            "[2,null,[]]",
        ] {
            assert!(serde_json::from_str::<IndexFile>(text).is_err(), "{text}");
        }
    }
}
