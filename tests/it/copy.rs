//! Graphs on the move: what arrives, in which order, and what does not hold it up.

mod choice;
mod command;
mod digest_tags;
mod hooked;
mod killed;
mod limits;
mod many;
mod once;
mod random;
mod registries;
mod selected;
mod together;
mod walked;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use oci::store::{RegistryClient, RegistryOptions, read};
use oci::{
    Content, CopyError, CopyOptions, Descriptor, Digest, LayoutStore, Limits, Manifest, MediaType,
    MemoryStore, Outcome, Platform, Progress, Relation, Selector, Store, StoreError, Tag, Upload,
    copy_graph, walk,
};
use testkit::Workspace;
use testkit::registry::{Switches, TestRegistry};

use crate::layout::{fixture, push_image};

fn all() -> CopyOptions {
    CopyOptions {
        referrers: true,
        ..CopyOptions::default()
    }
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

/// An index of two images; proof of the index, of a child, and of a proof.
async fn graph(store: &dyn Store) -> Descriptor {
    let amd64 = push_image(store, b"amd64", None).await;
    let arm64 = push_image(store, b"arm64", None).await;
    let index = push_index(store, &[(&amd64, "amd64"), (&arm64, "arm64")]).await;
    let proof = push_image(store, b"proof", Some(&index)).await;
    push_image(store, b"proof of a child", Some(&arm64)).await;
    push_image(store, b"proof of a proof", Some(&proof)).await;
    index
}

async fn push_index(store: &dyn Store, images: &[(&Descriptor, &str)]) -> Descriptor {
    let manifests: Vec<Descriptor> = images
        .iter()
        .map(|(image, architecture)| Descriptor {
            platform: Some(Platform {
                architecture: (*architecture).to_owned(),
                os: "linux".to_owned(),
                ..Platform::default()
            }),
            ..image.bare()
        })
        .collect();
    push_json(
        store,
        MediaType::IMAGE_INDEX,
        &serde_json::json!({ "schemaVersion": 2, "manifests": manifests }),
    )
    .await
}

async fn push_json(
    store: &dyn Store,
    media_type: MediaType,
    json: &serde_json::Value,
) -> Descriptor {
    let content = Bytes::from(json.to_string());
    let target = Descriptor::of(media_type, &content);
    store.push_manifest(&target, content).await.unwrap();
    target
}

/// All that is below `root`, by digest, and attached to any of it.
pub(crate) async fn contents(store: &dyn Store, root: &Descriptor) -> BTreeMap<Digest, Bytes> {
    let mut found = BTreeMap::new();
    for node in walk(store, root, &Limits::default()).await.unwrap() {
        assert_eq!(node.problem, None);
        for target in node.blobs.iter().chain([&node.descriptor]) {
            let content = read(store, target, 1 << 20).await.unwrap();
            found.insert(target.digest.clone(), content);
        }
    }
    found
}

/// A repository of the registry at `host`.
pub(crate) fn repository(host: &str, name: &str) -> impl Store + use<> {
    let name = format!("{host}/{name}");
    RegistryClient::new(RegistryOptions::default()).repository(&name.parse().unwrap())
}

#[tokio::test]
async fn the_same_graph_arrives_both_ways() {
    let workspace = Workspace::new();
    let src = MemoryStore::new();
    let root = graph(&src).await;
    let layout = LayoutStore::create(workspace.join("layout")).unwrap();
    let back = MemoryStore::new();
    let there = copy_graph(&src, &layout, &root, &all(), &()).await.unwrap();
    assert_eq!(there.new.manifests, 6);
    assert_eq!(there.new.blobs, 6, "five layers and one config");
    assert_eq!((there.referrers, there.left_behind), (3, 0));
    layout.tag(&root, &tag("app")).await.unwrap();

    // Another view, as another process has it.
    let layout = LayoutStore::open(workspace.join("layout")).unwrap();
    let found = layout.resolve(&Selector::Tag(tag("app"))).await.unwrap();
    copy_graph(&layout, &back, &found, &all(), &())
        .await
        .unwrap();
    let expected = contents(&src, &root).await;
    assert_eq!(expected.len(), 12);
    assert_eq!(contents(&layout, &root).await, expected);
    assert_eq!(contents(&back, &root).await, expected);

    let again = copy_graph(&src, &layout, &root, &all(), &()).await.unwrap();
    assert_eq!((again.new.blobs, again.new.manifests), (0, 0));
    assert_eq!(again.skipped.manifests, 6);
    assert_eq!(again.referrers, 3);
}

/// A referrer may be an index, and what is attached to one of its images belongs to the graph; also
/// if it was attached after the index was copied.
#[tokio::test]
async fn what_is_attached_below_a_referrer_arrives() {
    let src = MemoryStore::new();
    let image = push_image(&src, b"image", None).await;
    let part = push_image(&src, b"part", None).await;
    let index = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::IMAGE_INDEX,
        "manifests": [part],
        "subject": image,
    });
    push_json(&src, MediaType::IMAGE_INDEX, &index).await;
    let dst = MemoryStore::new();
    for turn in 0..2 {
        push_image(&src, &[turn], Some(&part)).await;
        let copied = copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
        assert_eq!(copied.referrers, 2 + usize::from(turn));
        assert_eq!(contents(&dst, &image).await, contents(&src, &image).await);
    }
}

#[tokio::test]
async fn real_images_arrive_with_their_proof() {
    for (name, root, referrers) in [
        ("cosign-v3-key", "image", 4),
        ("cosign-v3-fallback-tag", "image", 4),
        ("cosign-v3-index", "index", 3),
        ("attached-unsigned", "image", 2),
    ] {
        let src = LayoutStore::open(fixture(name)).unwrap();
        let root = src.resolve(&Selector::Tag(tag(root))).await.unwrap();
        let dst = MemoryStore::new();
        let plain = CopyOptions::default();
        let without = copy_graph(&src, &dst, &root, &plain, &());
        let without = without.await.unwrap();
        assert_eq!((without.referrers, without.left_behind), (0, referrers));
        let copied = copy_graph(&src, &dst, &root, &all(), &()).await.unwrap();
        assert_eq!((copied.referrers, copied.left_behind), (referrers, 0));
        assert_eq!(contents(&dst, &root).await, contents(&src, &root).await);
    }
}

/// Something that a [`Spy`] was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Call {
    Fetch(Digest),
    Blob(Digest),
    Manifest(Digest),
}

/// A store that writes down what it is asked, and lies or fails on demand.
#[derive(Debug, Default)]
struct Spy {
    inner: MemoryStore,
    calls: Mutex<Vec<Call>>,
    /// Writing fails when so many writes were done.
    broken_after: Option<usize>,
    writes: AtomicUsize,
    /// Content that is handed out unchecked.
    lies: Vec<(Digest, Bytes)>,
    /// Listed as attached to anything.
    junk: Vec<Descriptor>,
    /// Cannot be asked for these.
    down: Vec<Digest>,
}

impl Spy {
    fn note(&self, call: Call) {
        self.calls.lock().unwrap().push(call);
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    fn write(&self) -> Result<(), StoreError> {
        let done = self.writes.fetch_add(1, Ordering::Relaxed);
        match self.broken_after {
            Some(limit) if done >= limit => Err(unavailable()),
            _ => Ok(()),
        }
    }
}

fn unavailable() -> StoreError {
    StoreError::io("spy", "answer", std::io::ErrorKind::ConnectionReset.into())
}

#[async_trait]
impl Store for Spy {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        self.inner.resolve(selector).await
    }

    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        self.inner.contains(target).await
    }

    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        self.note(Call::Fetch(target.digest.clone()));
        if self.down.contains(&target.digest) {
            return Err(unavailable());
        }
        match self
            .lies
            .iter()
            .find(|(digest, _)| *digest == target.digest)
        {
            Some((_, lie)) => Ok(Content::new(stream::iter([Ok(lie.clone())]))),
            None => self.inner.fetch(target).await,
        }
    }

    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        if self.inner.contains(target).await? {
            return Ok(());
        }
        self.write()?;
        self.inner.push_blob(target, upload).await?;
        self.note(Call::Blob(target.digest.clone()));
        Ok(())
    }

    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.write()?;
        let limits = Limits::default();
        let manifest = Manifest::parse(&target.media_type, &content, &limits).unwrap();
        for successor in manifest.successors() {
            assert!(
                self.inner.contains(successor).await?,
                "a manifest came first"
            );
        }
        if let Some(subject) = manifest.subject() {
            assert!(self.inner.contains(subject).await?, "a referrer came first");
        }
        self.inner.push_manifest(target, content).await?;
        self.note(Call::Manifest(target.digest.clone()));
        Ok(())
    }

    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        self.inner.tag(target, tag).await
    }

    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.inner.tags().await
    }

    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        if self.down.contains(subject) {
            return Err(unavailable());
        }
        let mut found = self.inner.referrers(subject).await?;
        found.extend(self.junk.clone());
        Ok(found)
    }

    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        self.inner.delete(target).await
    }
}

#[tokio::test]
async fn nothing_is_read_twice_and_nothing_comes_before_what_it_needs() {
    let src = Spy::default();
    let root = graph(&src.inner).await;
    let dst = Spy::default();
    copy_graph(&src, &dst, &root, &all(), &()).await.unwrap();
    let reads = src.calls();
    let distinct: BTreeSet<String> = reads.iter().map(|it| format!("{it:?}")).collect();
    assert_eq!((reads.len(), distinct.len()), (12, 12));
    // The index last of its own tree; only what is attached comes after.
    let writes = dst.calls();
    let place = writes
        .iter()
        .position(|it| *it == Call::Manifest(root.digest.clone()));
    let own = contents(&src.inner, &root).await.len() - 2 * 3;
    assert_eq!(place, Some(own - 1));

    // What the destination has is not even asked for.
    let src = Spy::default();
    let image = push_image(&src.inner, b"layer", None).await;
    let dst = Spy::default();
    push_image(&dst.inner, b"layer", None).await;
    dst.inner.delete(&image).await.unwrap();
    copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    assert_eq!(src.calls(), [Call::Fetch(image.digest)]);
}

#[tokio::test]
async fn a_copy_that_broke_off_is_completed_by_the_next() {
    let src = MemoryStore::new();
    let root = graph(&src).await;
    let expected = contents(&src, &root).await;
    for broken_after in 0..12 {
        let mut dst = Spy {
            broken_after: Some(broken_after),
            ..Spy::default()
        };
        let broken = copy_graph(&src, &dst, &root, &all(), &()).await;
        assert!(matches!(broken, Err(CopyError::Destination { .. })));
        dst.broken_after = None;
        copy_graph(&src, &dst, &root, &all(), &()).await.unwrap();
        assert_eq!(contents(&dst.inner, &root).await, expected);
    }
}

#[tokio::test]
async fn junk_is_dropped_by_name_and_blocks_nothing() {
    let mut src = Spy::default();
    let image = push_image(&src.inner, b"image", None).await;
    let proof = push_image(&src.inner, b"proof", Some(&image)).await;
    let stray = push_image(&src.inner, b"stray", None).await;
    let lost = Descriptor::of(MediaType::IMAGE_MANIFEST, b"lost");
    let long = Descriptor {
        size: image.size + 1,
        ..image.bare()
    };
    let other = Descriptor {
        media_type: "text/plain".into(),
        digest: Digest::of(b"{}"),
        ..Descriptor::of(MediaType::EMPTY, b"{}")
    };
    // Attached, but its layer is not there; and one whose layer has another size elsewhere.
    let bad = |layer: Descriptor| {
        serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::IMAGE_MANIFEST,
            "config": Descriptor::of(MediaType::EMPTY, b"{}"),
            "layers": [layer],
            "subject": image,
        })
    };
    let gone = bad(Descriptor::of(MediaType::LAYER_TAR, b"gone"));
    let gone = push_json(&src.inner, MediaType::IMAGE_MANIFEST, &gone).await;
    let mut lying = Descriptor::of(MediaType::LAYER_TAR, b"image");
    lying.size = 1 << 40;
    let lying = push_json(&src.inner, MediaType::IMAGE_MANIFEST, &bad(lying)).await;
    src.junk = vec![stray.clone(), lost.clone(), long, other.clone()];
    let dst = MemoryStore::new();
    let copied = copy_graph(&src, &dst, &image, &all(), &()).await.unwrap();
    assert_eq!(copied.referrers, 1);
    assert!(dst.contains(&proof).await.unwrap());
    let dropped: BTreeSet<Digest> = copied
        .dropped
        .iter()
        .map(|it| it.descriptor.digest.clone())
        .collect();
    for bad in [&stray, &lost, &other, &gone, &lying] {
        assert!(dropped.contains(&bad.digest), "{bad:?}");
        assert!(!dst.contains(bad).await.unwrap() || bad.digest == other.digest);
    }

    // The walk says the same.
    let nodes = walk(&src, &image, &Limits::default()).await.unwrap();
    let good: Vec<_> = nodes.iter().filter(|it| it.problem.is_none()).collect();
    assert!(good.iter().any(|it| it.descriptor.digest == proof.digest));
    assert!(good.iter().all(|it| it.descriptor.digest != stray.digest));
    let stray = nodes
        .iter()
        .find(|it| it.descriptor.digest == stray.digest)
        .unwrap();
    assert_eq!(stray.relation, Relation::Referrer);

    // But a source that cannot be asked leaves open what would be lost.
    src.down = vec![proof.digest.clone()];
    let failed = copy_graph(&src, &MemoryStore::new(), &image, &all(), &()).await;
    assert!(matches!(failed, Err(CopyError::Source { digest, .. }) if digest == proof.digest));
    src.down = vec![image.digest.clone()];
    let failed = copy_graph(
        &src,
        &MemoryStore::new(),
        &image,
        &CopyOptions::default(),
        &(),
    )
    .await;
    assert!(matches!(failed, Err(CopyError::Source { .. })));
}

#[tokio::test]
async fn lies_are_refused() {
    // A circle needs a store that hands out what does not hash: two indexes in each other.
    let (a, b) = (Digest::of(b"a"), Digest::of(b"b"));
    let index = |of: &Digest| {
        let child = Descriptor::new(MediaType::IMAGE_INDEX, of.clone(), 300);
        let text = serde_json::json!({ "schemaVersion": 2, "manifests": [child] }).to_string();
        Bytes::from(format!("{text:300}"))
    };
    let src = Spy {
        lies: vec![(a.clone(), index(&b)), (b.clone(), index(&a))],
        ..Spy::default()
    };
    let root = Descriptor::new(MediaType::IMAGE_INDEX, a, 300);
    let dst = MemoryStore::new();
    let refused = copy_graph(&src, &dst, &root, &all(), &()).await;
    assert!(
        matches!(refused, Err(CopyError::Cycle { .. })),
        "{refused:?}"
    );

    // One blob with two sizes; a size that is not that of the blob.
    let src = MemoryStore::new();
    push_image(&src, b"layer", None).await;
    let layer = Descriptor::of(MediaType::LAYER_TAR, b"layer");
    let mut lying = layer.clone();
    lying.size = 4;
    for layers in [vec![&layer, &lying], vec![&lying]] {
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "config": Descriptor::of(MediaType::EMPTY, b"{}"),
            "layers": layers,
        });
        let root = push_json(&src, MediaType::IMAGE_MANIFEST, &manifest).await;
        let refused = copy_graph(&src, &dst, &root, &all(), &()).await;
        assert!(matches!(
            refused,
            Err(CopyError::Source {
                source: StoreError::SizeMismatch { .. },
                ..
            })
        ));
        assert_eq!(dst.contains(&root).await.ok(), Some(false));
    }
}

#[tokio::test]
async fn more_than_the_limits_is_refused() {
    let (src, dst) = (MemoryStore::new(), MemoryStore::new());
    // Deep, and many.
    let mut root = push_image(&src, b"deep", None).await;
    let image = root.clone();
    for _ in 0..10 {
        root = push_index(&src, &[(&root, "amd64")]).await;
    }
    let refused = copy_graph(&src, &dst, &root, &all(), &()).await;
    assert!(matches!(refused, Err(CopyError::TooDeep { limit: 8 })));
    let mut last = image.clone();
    for turn in 0..12_u8 {
        last = push_image(&src, &[turn], Some(&last)).await;
    }
    let refused = copy_graph(&src, &dst, &image, &all(), &()).await;
    assert!(matches!(refused, Err(CopyError::TooDeep { limit: 8 })));
    let few = CopyOptions {
        limits: Limits {
            manifests: 3,
            ..Limits::default()
        },
        ..all()
    };
    let refused = copy_graph(&src, &dst, &image, &few, &()).await;
    assert!(matches!(
        refused,
        Err(CopyError::TooManyManifests { limit: 3 })
    ));
    let nodes = walk(&src, &root, &Limits::default()).await.unwrap();
    assert!(nodes.last().unwrap().problem.is_some());

    // Many at one image, and large.
    let image = push_image(&src, b"popular", None).await;
    for turn in 0..4_u8 {
        push_image(&src, &[b'p', turn], Some(&image)).await;
    }
    let limited = |limits| CopyOptions { limits, ..all() };
    let few = limited(Limits {
        referrers: 3,
        ..Limits::default()
    });
    let refused = copy_graph(&src, &dst, &image, &few, &()).await;
    assert!(matches!(
        refused,
        Err(CopyError::TooManyReferrers { limit: 3, .. })
    ));
    let small = limited(Limits {
        metadata_bytes: 100,
        ..Limits::default()
    });
    let refused = copy_graph(&src, &dst, &image, &small, &()).await;
    assert!(matches!(
        refused,
        Err(CopyError::TooLarge { limit: 100, .. })
    ));
    let small = limited(Limits {
        manifest_bytes: 100,
        ..Limits::default()
    });
    let refused = copy_graph(&src, &dst, &image, &small, &()).await;
    assert!(matches!(
        refused,
        Err(CopyError::Source {
            source: StoreError::TooLarge { limit: 100, .. },
            ..
        })
    ));
}

#[derive(Default)]
struct Count {
    bytes: AtomicU64,
    copied: AtomicUsize,
    skipped: AtomicUsize,
}

impl Progress for Count {
    fn advance(&self, _: &Descriptor, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn end(&self, _: &Descriptor, outcome: Outcome) {
        let count = match outcome {
            Outcome::Skipped => &self.skipped,
            _ => &self.copied,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_wrong_blob_gets_into_no_store() {
    let layer = vec![7; 3_000_000];
    let target = Descriptor::of(MediaType::LAYER_TAR, &layer);
    let lies = [
        [&layer[1..], b"8"].concat(),
        layer[1..].to_vec(),
        [&layer[..], b"7"].concat(),
        Vec::new(),
    ];
    for lie in lies {
        let src = Spy {
            lies: vec![(target.digest.clone(), lie.into())],
            ..Spy::default()
        };
        let root = push_image(&src.inner, &layer, None).await;
        let workspace = Workspace::new();
        let registry = TestRegistry::start(Switches::default());
        let repository = format!("{}/team/app", registry.host()).parse().unwrap();
        let client = RegistryClient::new(RegistryOptions::default());
        let stores: [Box<dyn Store>; 3] = [
            Box::new(MemoryStore::new()),
            Box::new(LayoutStore::create(workspace.join("layout")).unwrap()),
            Box::new(client.repository(&repository)),
        ];
        for dst in stores {
            let copied = copy_graph(&src, &*dst, &root, &all(), &()).await;
            assert!(
                matches!(copied, Err(CopyError::Source { .. })),
                "{copied:?}"
            );
            assert!(!dst.contains(&target).await.unwrap(), "{dst:?}");
            assert!(!dst.contains(&root).await.unwrap(), "{dst:?}");
        }
        assert_eq!(registry.open_uploads(), 0);
    }
}

/// From a task of its own, as servers run it; a large blob in pieces.
#[tokio::test(flavor = "multi_thread")]
async fn progress_counts_every_byte_once() {
    let workspace = Workspace::new();
    let src = LayoutStore::create(workspace.join("src")).unwrap();
    let dst = LayoutStore::create(workspace.join("dst")).unwrap();
    let image = push_image(&src, &vec![7; 5_000_000], None).await;
    let task = tokio::spawn(async move {
        let count = Count::default();
        for _ in 0..2 {
            copy_graph(&src, &dst, &image, &all(), &count)
                .await
                .unwrap();
        }
        count
    });
    let count = task.await.unwrap();
    assert_eq!(count.bytes.into_inner(), 5_000_002);
    assert_eq!(
        (count.copied.into_inner(), count.skipped.into_inner()),
        (2, 2)
    );
}
