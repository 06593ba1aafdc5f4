//! Limits, and manifests that are missing, broken or in circles.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use super::index::IndexFile;
use super::snapshot::Snapshot;
use super::*;
use crate::MediaType;

/// Manifests in memory, which are handed out as they are.
struct Held {
    content: BTreeMap<Digest, Bytes>,
    limits: Limits,
}

impl Source for Held {
    fn place(&self) -> String {
        "held".to_owned()
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn read(&self, digest: &Digest, limit: u64) -> Result<Option<Bytes>, StoreError> {
        let Some(content) = self.content.get(digest) else {
            return Ok(None);
        };
        if content.len() as u64 > limit {
            let digest = digest.clone();
            return Err(StoreError::TooLarge { digest, limit });
        }
        Ok(Some(content.clone()))
    }
}

impl Held {
    fn new(limits: Limits) -> Self {
        Self {
            content: BTreeMap::new(),
            limits,
        }
    }

    fn add(&mut self, content: &serde_json::Value) -> Descriptor {
        let content = Bytes::from(content.to_string());
        let target = Descriptor::of(MediaType::IMAGE_INDEX, &content);
        self.content.insert(target.digest.clone(), content);
        target
    }

    fn index(&mut self, manifests: &[&Descriptor]) -> Descriptor {
        self.add(&serde_json::json!({ "schemaVersion": 2, "manifests": manifests }))
    }

    fn proof_of(&mut self, subject: &Descriptor) -> Descriptor {
        self.add(&serde_json::json!({
            "schemaVersion": 2, "manifests": [], "subject": subject,
        }))
    }

    /// How many referrers `subject` has, if `listed` are in `index.json`.
    fn referrers(&self, listed: &[&Descriptor], subject: &Descriptor) -> Result<usize, StoreError> {
        let mut index = IndexFile::default();
        for target in listed {
            index.list(target);
        }
        let stamp = snapshot::Stamp::numbered(1);
        let snapshot = Snapshot { stamp, index };
        let found = Graph::default().referrers(self, &snapshot, &subject.digest)?;
        Ok(found.len())
    }
}

fn elsewhere() -> Descriptor {
    Descriptor::of(MediaType::IMAGE_MANIFEST, b"elsewhere")
}

#[test]
fn referrers_are_looked_for_as_far_as_the_limits_go() {
    let subject = elsewhere();
    let mut held = Held::new(Limits {
        manifests: 3,
        depth: 2,
        ..Limits::default()
    });
    let proof = held.proof_of(&subject);
    let one = held.index(&[&proof]);
    let two = held.index(&[&one]);
    let three = held.index(&[&two]);
    assert_eq!(held.referrers(&[&two], &subject).unwrap(), 1);
    assert_eq!(held.referrers(&[&three], &subject).unwrap(), 0);
    let others: Vec<_> = [b"1", b"2", b"3"]
        .map(|it| Descriptor::of(MediaType::IMAGE_MANIFEST, it))
        .to_vec();
    let listed: Vec<&Descriptor> = others.iter().chain([&proof]).collect();
    assert!(matches!(
        held.referrers(&listed, &subject),
        Err(StoreError::TooMany { limit: 3, .. })
    ));
    // Those that are listed in many places are few.
    let many = held.index(&[&proof, &proof, &proof, &proof]);
    assert_eq!(held.referrers(&[&many, &proof], &subject).unwrap(), 1);
}

/// Else a few small indexes would lead to a hundred to the eighth.
#[test]
fn what_is_met_in_many_ways_is_looked_at_once() {
    let subject = elsewhere();
    let mut held = Held::new(Limits::default());
    let mut last = held.proof_of(&subject);
    for _ in 0..8 {
        last = held.index(&[&last; 100]);
    }
    assert_eq!(held.referrers(&[&last], &subject).unwrap(), 1);
}

#[test]
fn manifests_that_are_missing_large_or_none_are_no_referrers() {
    let subject = elsewhere();
    let mut held = Held::new(Limits {
        manifest_bytes: 1000,
        ..Limits::default()
    });
    let proof = held.proof_of(&subject);
    let large = held.add(&serde_json::json!({
        "schemaVersion": 2, "manifests": [], "subject": subject, "large": "x".repeat(1000),
    }));
    let none = held.add(&serde_json::json!(["no manifest"]));
    let listed = [&proof, &large, &none, &elsewhere()];
    assert_eq!(held.referrers(&listed, &subject).unwrap(), 1);
}

/// Content that was hashed cannot form a circle, but there is no end to what a disk can say.
#[test]
fn circles_end() {
    let subject = elsewhere();
    let mut held = Held::new(Limits::default());
    let root = held.index(&[]);
    let circle = serde_json::json!({ "schemaVersion": 2, "manifests": [root] });
    let content = Bytes::from(circle.to_string());
    held.content.insert(root.digest.clone(), content);
    assert_eq!(held.referrers(&[&root], &subject).unwrap(), 0);
}

/// A disk that lies is an error: nobody knows what was in the manifest.
#[test]
fn a_manifest_that_is_not_what_its_name_says_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = LayoutStore::create(folder.path()).unwrap();
    let layout = &store.layout;
    let content = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
    let target = Descriptor::of(MediaType::IMAGE_INDEX, &content);
    layout.push_manifests(&[(target.clone(), content)]).unwrap();
    layout
        .snapshots
        .update(|index| Ok(index.list(&target)))
        .unwrap();
    let file = layout.blobs.folder(target.digest.algorithm());
    fs_err::write(file.join(target.digest.hex()), "changed").unwrap();
    let other = LayoutStore::open(folder.path()).unwrap();
    let snapshot = other.layout.snapshots.current().unwrap();
    let refused = other
        .layout
        .graph
        .referrers(&*other.layout, &snapshot, &target.digest);
    assert!(matches!(refused, Err(StoreError::DigestMismatch { .. })));
}

/// What would not be seen would be taken away.
#[test]
fn beyond_the_limits_nothing_is_collected() {
    let folder = tempfile::tempdir().unwrap();
    LayoutStore::create(folder.path()).unwrap();
    let mut layout = Layout::at(folder.path().to_owned());
    let mut target = elsewhere();
    for _ in 0..4 {
        let content = serde_json::json!({ "schemaVersion": 2, "manifests": [target] });
        let content = Bytes::from(content.to_string());
        target = Descriptor::of(MediaType::IMAGE_INDEX, &content);
        layout.push_manifests(&[(target.clone(), content)]).unwrap();
    }
    layout
        .snapshots
        .update(|index| Ok(index.list(&target)))
        .unwrap();
    let orphan = Descriptor::of(MediaType::LAYER_TAR, b"orphan");
    layout.blobs.write(&orphan, b"orphan").unwrap();
    let later = fs_err::metadata(folder.path()).unwrap().modified().unwrap();
    let later = later + Duration::from_mins(1);
    for (manifests, depth) in [(3, 8), (100, 3)] {
        layout.limits = Limits {
            manifests,
            depth,
            ..Limits::default()
        };
        for before in [SystemTime::UNIX_EPOCH, later] {
            let refused = gc::collect(&layout, GcRoots::Listed, before);
            assert!(matches!(refused, Err(StoreError::TooMany { .. })));
        }
        assert!(layout.blobs.has(&orphan).unwrap());
    }
    layout.limits = Limits::default();
    assert_eq!(gc::collect(&layout, GcRoots::Listed, later).unwrap(), 6);
}

#[test]
fn blobs_are_checked_by_whoever_writes_or_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    LayoutStore::create(folder.path()).unwrap();
    let layout = Layout::at(folder.path().to_owned());
    let target = Descriptor::of(MediaType::LAYER_TAR, b"good");
    let refused = layout.blobs.write(&target, b"evil");
    assert!(matches!(refused, Err(StoreError::DigestMismatch { .. })));
    assert!(!layout.blobs.has(&target).unwrap());
    layout.blobs.write(&target, b"good").unwrap();
    let refused = layout.blobs.read(&target.digest, 3);
    assert!(matches!(
        refused,
        Err(StoreError::TooLarge { limit: 3, .. })
    ));
    assert_eq!(
        layout.blobs.read(&target.digest, 4).unwrap().unwrap(),
        "good"
    );
    layout.blobs.remove(&target.digest).unwrap();
    layout.blobs.remove(&target.digest).unwrap();
    assert!(layout.blobs.read(&target.digest, 4).unwrap().is_none());

    // Shorter or longer than it says, by whoever has checked the bytes. What is too long is not
    // even written.
    let mut writer = layout.blobs.writer(&target).unwrap();
    let written = writer.write(b"good!");
    assert!(matches!(written, Err(StoreError::SizeMismatch { .. })));
    for content in [&b"goo"[..], b"good!"] {
        let mut writer = layout.blobs.writer(&target).unwrap();
        let written = writer.write(content).and_then(|()| writer.finish());
        assert!(matches!(written, Err(StoreError::SizeMismatch { .. })));
        assert!(!layout.blobs.has(&target).unwrap());
    }
}

/// A file that is cut while it is read.
#[test]
fn a_file_that_shrinks_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    LayoutStore::create(folder.path()).unwrap();
    let layout = Layout::at(folder.path().to_owned());
    let content = vec![7; 1 << 20];
    let target = Descriptor::of(MediaType::LAYER_TAR, &content);
    layout.blobs.write(&target, &content).unwrap();
    let (chunk, reader) = layout.blobs.open(&target).unwrap().step().unwrap();
    assert!(chunk.is_some() && !reader.is_done());
    let file = layout.blobs.folder(target.digest.algorithm());
    let file = std::fs::File::options()
        .write(true)
        .open(file.join(target.digest.hex()));
    file.unwrap().set_len(600_000).unwrap();
    assert!(matches!(
        reader.step(),
        Err(StoreError::SizeMismatch {
            presented: 600_000,
            ..
        })
    ));
}

#[test]
fn an_index_has_its_fields_and_each_tag_once() {
    let parsed = |text: &str| serde_json::from_str::<IndexFile>(text);
    assert!(parsed(r#"{"schemaVersion":2}"#).is_err());
    let target = elsewhere();
    let entry = serde_json::json!({
        "mediaType": target.media_type, "digest": target.digest, "size": target.size,
        "annotations": { "org.opencontainers.image.ref.name": "v1" },
    });
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [entry, entry] });
    let mut index = parsed(&index.to_string()).unwrap();
    assert_eq!(index.tagged("v1").count(), 2);
    index.tag(&target, "v1");
    assert_eq!(index.tagged("v1").count(), 1);
    // What a manifest says of itself is no tag here.
    let mut index = IndexFile::default();
    let named = "org.opencontainers.image.ref.name".to_owned();
    index.list(&Descriptor {
        annotations: BTreeMap::from([(named, "v1".to_owned())]),
        ..target
    });
    assert_eq!(index.tags(), []);
    let text = serde_json::to_string(&index).unwrap();
    assert!(!text.contains(r#""v1""#), "{text}");
}

/// More than memory has.
#[test]
fn a_manifest_is_not_read_beyond_its_limit() {
    let folder = tempfile::tempdir().unwrap();
    LayoutStore::create(folder.path()).unwrap();
    let layout = Layout::at(folder.path().to_owned());
    let target = elsewhere();
    let file = layout.blobs.folder(target.digest.algorithm());
    let file = std::fs::File::create(file.join(target.digest.hex())).unwrap();
    file.set_len(1 << 40).unwrap();
    let refused = layout.blobs.read(&target.digest, 1000);
    assert!(matches!(
        refused,
        Err(StoreError::TooLarge { limit: 1000, .. })
    ));
}
