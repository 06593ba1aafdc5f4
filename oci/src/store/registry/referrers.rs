//! What is attached to an image: the API for it, and the tag where there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use net::header::{ETAG, HeaderMap, HeaderValue, IF_MATCH};
use net::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};

use super::token::Access;
use super::transport::{Document, Endpoint};
use super::{RegistryRefusal, manifests};
use crate::{Descriptor, Digest, MediaType, Selector, StoreError, Tag};

/// How often a fallback index is written anew because another client got in between.
const MAX_ROUNDS: u32 = 20;

impl Endpoint {
    /// The referrers of `subject`: by the API, or, where the registry has none, by the fallback tag.
    ///
    /// <https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#listing-referrers>
    pub(super) async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        let found = if self.host.lacks_referrers(self.repository.path()) {
            None
        } else {
            self.referrers_by_api(subject).await?
        };
        match found {
            Some(found) => Ok(found),
            None => self.referrers_by_tag(subject).await,
        }
    }

    /// `None`: there is no such API.
    async fn referrers_by_api(
        &self,
        subject: &Digest,
    ) -> Result<Option<Vec<Descriptor>>, StoreError> {
        let limits = self.shared.options.limits;
        let action = format!("list referrers of {subject}");
        let mut found = BTreeMap::new();
        let mut request = self.request(
            Method::GET,
            format!("referrers/{subject}"),
            Access::Pull,
            &action,
        );
        for page in 0..limits.pages {
            let document = self.document(request, limits.manifest_bytes).await?;
            if page == 0 && is_without_api(&document) {
                let refusal = RegistryRefusal::parse(document.status, &document.bytes, &[]);
                // A repository that is not there yet says nothing about the API.
                if document.status == StatusCode::NOT_FOUND && !refusal.has_code("NAME_UNKNOWN") {
                    self.host.learn_lack_of_referrers(self.repository.path());
                }
                return Ok(None);
            }
            if !document.status.is_success() {
                // A page that is gone is no end of the list.
                return Err(match document.status {
                    StatusCode::NOT_FOUND => self.malformed("a page of its referrers is missing"),
                    _ => self.refusal_of(&document, &action, subject.as_str()),
                });
            }
            for descriptor in entries(&document.bytes).map_err(|problem| {
                self.malformed(format!(
                    "the registry's list of referrers is not valid JSON: {problem}"
                ))
            })? {
                found.entry(descriptor.digest.clone()).or_insert(descriptor);
            }
            if found.len() > limits.referrers {
                return Err(self.too_many("referrers", limits.referrers));
            }
            request = self.request(Method::GET, "", Access::Pull, &action);
            match self.next_page(&document)? {
                Some(next) => request.target = next,
                None => return Ok(Some(found.into_values().collect())),
            }
        }
        Err(self.too_many("pages of referrers", limits.pages))
    }

    async fn referrers_by_tag(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        let limits = self.shared.options.limits;
        let Fallback::Index { content, .. } = self.read_fallback(subject).await? else {
            return Ok(Vec::new());
        };
        let found: BTreeMap<Digest, Descriptor> = entries(&content)
            .map_err(|problem| {
                self.malformed(format!(
                    "the registry's list of referrers of {subject} is not valid JSON: {problem}"
                ))
            })?
            .into_iter()
            .map(|it| (it.digest.clone(), it))
            .collect();
        if found.len() > limits.referrers {
            return Err(self.too_many("referrers", limits.referrers));
        }
        Ok(found.into_values().collect())
    }

    /// Puts referrers into the fallback index of `subject`, or takes them out.
    ///
    /// Those who change the same index at the same time, in this process, are served together. One
    /// of another process is noticed by the condition that we write under, where the registry keeps
    /// it, and else by reading again what we wrote.
    pub(super) async fn change_fallback(
        &self,
        subject: &Digest,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<(), StoreError> {
        let merge = self
            .shared
            .merges
            .of(&format!("{}@{subject}", self.repository));
        let ours = merge.announce(changes);
        let _turn = merge.turn.lock().await;
        let changes = merge.announced();
        if !ours.clone().any(|id| changes.contains_key(&id)) {
            // Whoever had the turn before took ours along.
            return Ok(());
        }
        let result = self
            .write_fallback(subject, &changes.values().cloned().collect::<Vec<_>>())
            .await;
        match &result {
            Ok(()) => merge.withdraw(changes.into_keys()),
            // The others try for themselves.
            Err(_) => merge.withdraw(ours),
        }
        result
    }

    /// Held while a referrer of `subject` is pushed: registries that keep the list themselves have
    /// been seen to lose one of two that come at the same time.
    pub(super) fn turn(&self, subject: &Digest) -> Arc<tokio::sync::Mutex<()>> {
        let key = format!("push {}@{subject}", self.repository);
        self.shared.merges.of(&key).turn.clone()
    }

    async fn write_fallback(&self, subject: &Digest, changes: &[Change]) -> Result<(), StoreError> {
        let selector = Selector::Tag(fallback_tag(subject)?);
        let limits = self.shared.options.limits;
        let action = format!("list a referrer of {subject}");
        let unwritable = |error| self.unavailable(&action, error);
        let mut read = self.read_fallback(subject).await?;
        for round in 0..MAX_ROUNDS {
            let (mut index, etag) = match read {
                Fallback::None => (IndexDocument::empty().map_err(unwritable)?, None),
                Fallback::Index {
                    content,
                    etag,
                    is_ours: true,
                } => (
                    IndexDocument::parse(&content).map_err(|problem| self.malformed(problem))?,
                    etag,
                ),
                Fallback::Index { .. } | Fallback::Other => {
                    return Err(self.malformed(format!(
                        "tag `{selector}`, where the referrers of {subject} belong, is not a list of them"
                    )));
                }
            };
            if !index.apply(changes).map_err(unwritable)? {
                return Ok(());
            }
            if round > 0 {
                self.shared.pause(round.min(3), None).await;
            }
            let content = index.to_bytes().map_err(unwritable)?;
            if content.len() as u64 > limits.manifest_bytes {
                return Err(StoreError::TooLarge {
                    digest: subject.clone(),
                    limit: limits.manifest_bytes,
                });
            }
            let mut condition = HeaderMap::new();
            if let Some(etag) = etag {
                condition.insert(IF_MATCH, etag);
            }
            self.put_manifest(&selector, &MediaType::IMAGE_INDEX, content, condition)
                .await?;
            read = self.read_fallback(subject).await?;
        }
        Err(self.unavailable(&action, "other clients change the list all the time"))
    }

    async fn read_fallback(&self, subject: &Digest) -> Result<Fallback, StoreError> {
        let selector = Selector::Tag(fallback_tag(subject)?);
        let action = format!("list referrers of {subject}");
        match self.read_any(&selector, &action).await {
            // Some registries take the tag for the digest that it stands for.
            Ok((digest, _)) if digest == *subject => Ok(Fallback::Other),
            // What it says to be is a hint: some write Docker's list there, which is read.
            Ok((_, document)) if is_index(&document) || is_listing(&document.bytes) => {
                Ok(Fallback::Index {
                    etag: document.headers.get(ETAG).cloned(),
                    is_ours: is_index(&document),
                    content: document.bytes,
                })
            }
            Ok(_) | Err(StoreError::Malformed { .. } | StoreError::NoRegistry { .. }) => {
                Ok(Fallback::Other)
            }
            Err(error) if error.is_not_found() => Ok(Fallback::None),
            Err(error) => Err(error),
        }
    }
}

/// What lies under a fallback tag.
enum Fallback {
    None,
    Index {
        content: Bytes,
        etag: Option<HeaderValue>,
        /// Whether it is an index as we write it; another is not replaced.
        is_ours: bool,
    },
    /// Something that is not ours to replace.
    Other,
}

/// A change to a fallback index.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Change {
    Add(Box<Descriptor>),
    Remove(Digest),
}

/// Whether the answer means that there is no referrers API: where there is one, it is never 404, and
/// always an index.
fn is_without_api(document: &Document) -> bool {
    matches!(
        document.status,
        StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST | StatusCode::NOT_ACCEPTABLE
    ) || (document.status.is_success()
        && manifests::media_type(&document.headers) != Some(MediaType::IMAGE_INDEX))
}

/// The tag that holds the referrers of `subject` where there is no API. Of long digests only a part
/// fits, so each entry's own subject has to be looked at.
fn fallback_tag(subject: &Digest) -> Result<Tag, StoreError> {
    let hex: String = subject.hex().chars().take(64).collect();
    format!("{}-{hex}", subject.algorithm().name())
        .parse()
        .map_err(|error: crate::ReferenceError| StoreError::Malformed {
            place: subject.to_string(),
            problem: error.to_string(),
        })
}

/// Whether a document came as an index.
fn is_index(document: &Document) -> bool {
    manifests::media_type(&document.headers) == Some(MediaType::IMAGE_INDEX)
}

/// Whether a document is a list of manifests, and nothing else.
fn is_listing(content: &[u8]) -> bool {
    let content = String::from_utf8_lossy(content);
    serde_json::from_str::<BTreeMap<String, &RawValue>>(&content).is_ok_and(|fields| {
        fields.contains_key(MANIFESTS)
            && ["config", "layers"]
                .iter()
                .all(|it| fields.get(*it).is_none_or(|it| it.get() == "null"))
    })
}

/// The entries of a listing. Whoever may push can put anything into one of them, so none of them may
/// spoil the others: what is wrong with the hints loses the hints, what names nothing is left out. All
/// but the digest is a hint; a size that is not given is 0, which no manifest has.
fn entries(content: &[u8]) -> Result<Vec<Descriptor>, serde_json::Error> {
    #[derive(Deserialize)]
    struct Listing<'a> {
        // Some write `null` for none.
        #[serde(borrow)]
        manifests: Option<Vec<&'a RawValue>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Bare<'a> {
        digest: Digest,
        #[serde(borrow)]
        media_type: Option<&'a RawValue>,
        #[serde(borrow)]
        size: Option<&'a RawValue>,
        #[serde(borrow)]
        artifact_type: Option<&'a RawValue>,
    }
    // A byte that is no text is in one entry, and must not hide the others.
    let content = String::from_utf8_lossy(content);
    let listing: Listing<'_> = serde_json::from_str(&content)?;
    let entry = |raw: &RawValue| {
        let whole = serde_json::from_str(raw.get()).ok();
        let whole = whole.filter(|it: &Descriptor| !it.media_type.as_str().is_empty());
        whole.or_else(|| {
            let bare: Bare<'_> = serde_json::from_str(raw.get()).ok()?;
            Some(Descriptor {
                artifact_type: bare.artifact_type.and_then(hint),
                ..Descriptor::new(
                    bare.media_type
                        .and_then(hint)
                        .unwrap_or(MediaType::IMAGE_MANIFEST),
                    bare.digest,
                    bare.size.and_then(hint).unwrap_or(0),
                )
            })
        })
    };
    let entries = listing.manifests.unwrap_or_default();
    Ok(entries.into_iter().filter_map(entry).collect())
}

fn hint<T: serde::de::DeserializeOwned>(raw: &RawValue) -> Option<T> {
    serde_json::from_str(raw.get()).ok()
}

/// A fallback index that is about to be changed. What others wrote in it stays as it is, to the
/// letter: only the digests are read, once, as there may be thousands.
struct IndexDocument {
    fields: BTreeMap<String, Box<RawValue>>,
    /// Each with the digest that it names, if it names one.
    entries: Vec<(Option<Digest>, Box<RawValue>)>,
    listed: BTreeSet<Digest>,
}

/// The field that holds the entries.
const MANIFESTS: &str = "manifests";

impl IndexDocument {
    /// One that lists nothing.
    fn empty() -> Result<Self, serde_json::Error> {
        let fields = [
            ("schemaVersion", to_raw_value(&2)?),
            ("mediaType", to_raw_value(&MediaType::IMAGE_INDEX)?),
        ];
        Ok(Self {
            fields: fields.map(|(name, value)| (name.to_owned(), value)).into(),
            entries: Vec::new(),
            listed: BTreeSet::new(),
        })
    }

    fn parse(content: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Entry {
            digest: Digest,
        }
        let malformed = |error| format!("malformed list of referrers: {error}");
        let content = String::from_utf8_lossy(content);
        let mut fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_str(&content).map_err(malformed)?;
        let Some(entries) = fields.remove(MANIFESTS) else {
            return Err("malformed list of referrers: `manifests` is missing".to_owned());
        };
        // Some write `null` for none.
        let entries: Option<Vec<Box<RawValue>>> =
            serde_json::from_str(entries.get()).map_err(malformed)?;
        let digest_of = |entry: Box<RawValue>| {
            let named = serde_json::from_str::<Entry>(entry.get()).ok();
            (named.map(|it| it.digest), entry)
        };
        let entries: Vec<_> = entries
            .unwrap_or_default()
            .into_iter()
            .map(digest_of)
            .collect();
        Ok(Self {
            listed: entries.iter().filter_map(|it| it.0.clone()).collect(),
            fields,
            entries,
        })
    }

    /// Whether anything had to be changed.
    fn apply(&mut self, changes: &[Change]) -> Result<bool, serde_json::Error> {
        let mut changed = false;
        for change in changes {
            match change {
                Change::Add(descriptor) => {
                    if self.listed.insert(descriptor.digest.clone()) {
                        let entry = to_raw_value(descriptor)?;
                        self.entries.push((Some(descriptor.digest.clone()), entry));
                        changed = true;
                    }
                }
                Change::Remove(digest) => {
                    if self.listed.remove(digest) {
                        self.entries.retain(|(it, _)| it.as_ref() != Some(digest));
                        changed = true;
                    }
                }
            }
        }
        Ok(changed)
    }

    fn to_bytes(&self) -> Result<Bytes, serde_json::Error> {
        let entries: Vec<&RawValue> = self.entries.iter().map(|(_, entry)| &**entry).collect();
        let entries = to_raw_value(&entries)?;
        let index = to_raw_value(&MediaType::IMAGE_INDEX)?;
        let mut fields: BTreeMap<&str, &RawValue> = BTreeMap::new();
        fields.extend(self.fields.iter().map(|(name, value)| (&**name, &**value)));
        fields.insert(MANIFESTS, &entries);
        // It is written as an index, whatever it was.
        fields.entry("mediaType").and_modify(|it| *it = &index);
        Ok(serde_json::to_vec(&fields)?.into())
    }
}

/// Who is changing which fallback index.
#[derive(Debug, Default)]
pub(super) struct Merges(Mutex<BTreeMap<String, Arc<Merge>>>);

/// A change stays announced until it is written: one whose owner went away meanwhile is written by
/// the next one, or not needed.
#[derive(Debug, Default)]
struct Merge {
    announced: Mutex<BTreeMap<u64, Change>>,
    ids: AtomicU64,
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Merges {
    fn of(&self, key: &str) -> Arc<Merge> {
        let mut merges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody waits for those that only we hold.
        merges.retain(|it, merge| {
            it == key || Arc::strong_count(merge) > 1 || Arc::strong_count(&merge.turn) > 1
        });
        merges.entry(key.to_owned()).or_default().clone()
    }
}

impl Merge {
    fn announce(&self, changes: impl IntoIterator<Item = Change>) -> Range<u64> {
        // Under the lock, so that nobody else's are between ours.
        let mut announced = self.lock();
        let start = self.ids.load(Ordering::Relaxed);
        for change in changes {
            announced.insert(self.ids.fetch_add(1, Ordering::Relaxed), change);
        }
        start..self.ids.load(Ordering::Relaxed)
    }

    fn announced(&self) -> BTreeMap<u64, Change> {
        self.lock().clone()
    }

    fn withdraw(&self, ids: impl IntoIterator<Item = u64>) {
        let mut announced = self.lock();
        for id in ids {
            announced.remove(&id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Change>> {
        self.announced
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_entry_spoils_the_others() {
        let entry = |more: &str| {
            format!(
                r#"{{"mediaType":"{}","digest":"{}","size":2{more}}}"#,
                MediaType::IMAGE_MANIFEST,
                Digest::of(more.as_bytes()),
            )
        };
        let listing = format!(
            r#"{{"manifests":[{},{},{},1,{{"digest":"md5:00"}}]}}"#,
            entry(""),
            entry(r#","annotations":{"a":1}"#),
            entry(r#","artifactType":"application/x.a""#),
        );
        let found = entries(listing.as_bytes()).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[2].artifact_type, Some("application/x.a".into()));
        // Only the digest says what is meant.
        let digest = Digest::of(b"a");
        for hints in [
            "",
            r#","size":null,"mediaType":null"#,
            r#","size":"5","mediaType":7"#,
            r#","size":-1"#,
        ] {
            let listing = format!(
                r#"{{"manifests":[{{"digest":"{digest}"{hints},"artifactType":"application/x.a"}}]}}"#
            );
            let expected = Descriptor {
                artifact_type: Some("application/x.a".into()),
                ..Descriptor::new(MediaType::IMAGE_MANIFEST, digest.clone(), 0)
            };
            assert_eq!(entries(listing.as_bytes()).unwrap(), [expected], "{hints}");
        }
        let mut bytes = br#"{"manifests":[{"annotations":{"a":""#.to_vec();
        bytes.push(0xff);
        bytes.extend(format!(r#""}}}},{}]}}"#, entry("")).into_bytes());
        assert_eq!(entries(&bytes).unwrap().len(), 1);
        assert!(IndexDocument::parse(&bytes).is_ok());
        assert_eq!(entries(br#"{"manifests":null}"#).unwrap(), []);
        assert!(entries(b"[]").is_err());
        assert!(entries(b"").is_err());
    }

    #[test]
    fn of_a_long_digest_a_part_is_in_the_tag() {
        let long: Digest = format!("sha512:{}", "0a".repeat(64)).parse().unwrap();
        let expected = format!("sha512-{}", "0a".repeat(32));
        assert_eq!(fallback_tag(&long).unwrap().as_str(), expected);
    }

    #[test]
    fn a_change_made_twice_is_made_once() {
        let target = Descriptor::of(MediaType::IMAGE_MANIFEST, b"a");
        let mut index = IndexDocument::empty().unwrap();
        let empty = index.to_bytes().unwrap();
        let add = [Change::Add(Box::new(target.clone()))];
        assert!(index.apply(&add).unwrap());
        let written = index.to_bytes().unwrap();
        for mut index in [index, IndexDocument::parse(&written).unwrap()] {
            assert!(!index.apply(&add).unwrap());
            assert_eq!(index.to_bytes().unwrap(), written);
            assert!(
                index
                    .apply(&[Change::Remove(target.digest.clone())])
                    .unwrap()
            );
            assert!(
                !index
                    .apply(&[Change::Remove(target.digest.clone())])
                    .unwrap()
            );
            assert_eq!(index.to_bytes().unwrap(), empty);
        }
    }

    #[test]
    fn what_others_wrote_stays_as_it_is() {
        let digest = Digest::of(b"b");
        let theirs = format!(
            r#"{{"manifests":[{{"size": 1.0,"x":{{"b":1,"a":2}},"digest":"{digest}"}},7,{{"digest":"md5:00"}}],"schemaVersion":2.0,"z":[ ]}}"#
        );
        let mut index = IndexDocument::parse(theirs.as_bytes()).unwrap();
        assert_eq!(index.to_bytes().unwrap(), theirs);
        let listed = Descriptor::new(MediaType::IMAGE_MANIFEST, digest, 1);
        assert!(!index.apply(&[Change::Add(Box::new(listed))]).unwrap());
        let ours = Descriptor::of(MediaType::IMAGE_MANIFEST, b"c");
        assert!(index.apply(&[Change::Add(Box::new(ours.clone()))]).unwrap());
        assert!(index.apply(&[Change::Remove(ours.digest)]).unwrap());
        assert_eq!(index.to_bytes().unwrap(), theirs);

        assert!(IndexDocument::parse(br#"{"manifests":null}"#).is_ok());
        for none in [r#"{"manifests":{}}"#, "{}", "[]", ""] {
            assert!(IndexDocument::parse(none.as_bytes()).is_err(), "{none}");
        }
    }

    #[test]
    fn a_list_is_a_list_whatever_it_says_to_be() {
        let docker = format!(
            r#"{{"manifests":[],"mediaType":"{}"}}"#,
            MediaType::DOCKER_MANIFEST_LIST
        );
        assert!(is_listing(docker.as_bytes()));
        assert!(is_listing(br#"{"manifests":null,"config":null}"#));
        for other in [
            r#"{"manifests":[],"layers":[]}"#,
            r#"{"layers":[]}"#,
            "[]",
            "{}",
        ] {
            assert!(!is_listing(other.as_bytes()), "{other}");
        }
        // It is written as what it is.
        let written = IndexDocument::parse(docker.as_bytes()).unwrap().to_bytes();
        let expected = docker.replace(
            MediaType::DOCKER_MANIFEST_LIST.as_str(),
            MediaType::IMAGE_INDEX.as_str(),
        );
        assert_eq!(written.unwrap(), expected);
    }

    #[tokio::test]
    async fn who_changes_what_is_forgotten_when_it_is_done() {
        let merges = Merges::default();
        let held = merges.of("held");
        let turn = merges.of("turn").turn.clone();
        drop(merges.of("done"));
        merges.of("other");
        let keys: Vec<_> = merges.0.lock().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["held", "other", "turn"]);
        assert!(Arc::ptr_eq(&held, &merges.of("held")));
        assert!(Arc::ptr_eq(&turn, &merges.of("turn").turn));
    }

    proptest! {
        #[test]
        fn no_listing_panics(content: Vec<u8>) {
            drop(entries(&content));
            drop(IndexDocument::parse(&content));
        }
    }
}
