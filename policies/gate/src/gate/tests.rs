use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use attest::key::PrivateKey;
use attest::{Accept, SignerPattern};
use bytes::Bytes;
use intoto::PredicateType;
use oci::{Content, MediaType, MemoryStore, Tag, Upload};
use policies::PolicySource;
use tokio::sync::Semaphore;

use super::*;

/// A store that counts what it is asked, and answers slowly if told to.
#[derive(Debug, Default)]
struct Counted {
    store: MemoryStore,
    listings: AtomicUsize,
    fetches: AtomicUsize,
    /// If there is one, each fetch waits for a permit.
    slow: Option<Semaphore>,
}

#[async_trait]
impl Store for Counted {
    async fn resolve(&self, selector: &Selector) -> Result<Descriptor, StoreError> {
        self.store.resolve(selector).await
    }
    async fn contains(&self, target: &Descriptor) -> Result<bool, StoreError> {
        self.store.contains(target).await
    }
    async fn fetch(&self, target: &Descriptor) -> Result<Content, StoreError> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        if let Some(permits) = &self.slow {
            permits.acquire().await.unwrap().forget();
        }
        self.store.fetch(target).await
    }
    async fn push_blob(&self, target: &Descriptor, upload: Upload) -> Result<(), StoreError> {
        self.store.push_blob(target, upload).await
    }
    async fn push_manifest(&self, target: &Descriptor, content: Bytes) -> Result<(), StoreError> {
        self.store.push_manifest(target, content).await
    }
    async fn tag(&self, target: &Descriptor, tag: &Tag) -> Result<(), StoreError> {
        self.store.tag(target, tag).await
    }
    async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        self.store.tags().await
    }
    async fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, StoreError> {
        self.listings.fetch_add(1, Ordering::Relaxed);
        self.store.referrers(subject).await
    }
    async fn delete(&self, target: &Descriptor) -> Result<(), StoreError> {
        self.store.delete(target).await
    }
}

impl Counted {
    /// How often it was asked since this was asked last: listings and fetches.
    fn asked(&self) -> (usize, usize) {
        (
            self.listings.swap(0, Ordering::Relaxed),
            self.fetches.swap(0, Ordering::Relaxed),
        )
    }
}

struct Case {
    key: Arc<PrivateKey>,
    store: Arc<Counted>,
    image: Descriptor,
}

impl Case {
    async fn new(slow: Option<Semaphore>) -> Self {
        let store = Arc::new(Counted {
            slow,
            ..Counted::default()
        });
        let manifest = Bytes::from_static(
            br#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}"#,
        );
        let image = Descriptor::of(MediaType::IMAGE_MANIFEST, &manifest);
        store.push_manifest(&image, manifest).await.unwrap();
        Self {
            key: Arc::new(PrivateKey::generate().unwrap()),
            store,
            image,
        }
    }

    async fn sign(&self, key: &PrivateKey) {
        let statement =
            attest::image_signature(std::slice::from_ref(&self.image), &BTreeMap::new()).unwrap();
        let bundle = attest::sign(&statement, key).unwrap();
        attest::attach(&self.store.store, &self.image, &bundle, None)
            .await
            .unwrap();
    }

    fn question(&self, place: &str, seconds: u64) -> Question {
        let mut source = PolicySource::new("policy.toml");
        source.accepts.push(Accept {
            predicate_type: PredicateType::COSIGN_SIGN,
            signer: SignerPattern::Key(self.key.public_key().clone()),
        });
        source.required.push(PredicateType::COSIGN_SIGN);
        Question {
            image: Image::Found(Box::new(Found {
                reference: format!("r.example/{place}@{}", self.image.digest)
                    .parse()
                    .unwrap(),
                store: Arc::clone(&self.store) as Arc<dyn Store>,
                descriptor: self.image.clone(),
            })),
            policy: Arc::new(Policy::compile(source).unwrap()),
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds),
        }
    }
}

async fn accepted(gate: &Gate, question: &Question) -> bool {
    gate.ask(question).await.unwrap().judged.verdict.accepted()
}

#[tokio::test]
async fn what_is_remembered_holds_for_as_long_as_it_may() {
    let case = Case::new(None).await;
    let gate = Gate::new(GateOptions::default());
    assert!(!accepted(&gate, &case.question("a", 0)).await);
    assert_eq!(case.store.asked(), (1, 0));
    case.sign(&case.key).await;
    // For a while what was rejected stays so, without a question to the store.
    assert!(!accepted(&gate, &case.question("a", 9)).await);
    assert_eq!(case.store.asked(), (0, 0));
    assert!(accepted(&gate, &case.question("a", 10)).await);
    assert_eq!(case.store.asked(), (1, 2));
    assert!(accepted(&gate, &case.question("a", 309)).await);
    assert_eq!(case.store.asked(), (0, 0));
    // After that the list is asked for, and nothing that is on it.
    assert!(accepted(&gate, &case.question("a", 310)).await);
    assert_eq!(case.store.asked(), (1, 0));
    // What is newly attached is looked at.
    case.sign(&PrivateKey::generate().unwrap()).await;
    assert!(accepted(&gate, &case.question("a", 700)).await);
    assert_eq!(case.store.asked(), (1, 4));
    assert!(accepted(&gate, &case.question("a", 4300)).await);
    assert_eq!(case.store.asked(), (1, 4));
    // A clock that was set back remembers nothing.
    assert!(accepted(&gate, &case.question("a", 0)).await);
    assert_eq!(case.store.asked(), (1, 4));
    gate.forget();
    assert!(accepted(&gate, &case.question("a", 1)).await);
    assert_eq!(case.store.asked(), (1, 4));
}

/// Attack 32: an answer is one about this image, by this policy, with this evidence, in this place.
#[tokio::test]
async fn no_answer_is_taken_for_another() {
    let case = Case::new(None).await;
    case.sign(&case.key).await;
    let gate = Gate::new(GateOptions::default());
    assert!(accepted(&gate, &case.question("a", 0)).await);
    // Another place may have other proof; the same list needs no second look.
    case.store.asked();
    assert!(accepted(&gate, &case.question("b", 0)).await);
    assert_eq!(case.store.asked(), (1, 0));
    // Another policy.
    let stranger = Case {
        key: Arc::new(PrivateKey::generate().unwrap()),
        store: Arc::clone(&case.store),
        image: case.image.clone(),
    };
    assert!(!accepted(&gate, &stranger.question("a", 0)).await);
    // Another image.
    let other = Case {
        image: Descriptor::of(MediaType::IMAGE_MANIFEST, b"other"),
        key: Arc::clone(&case.key),
        ..stranger
    };
    assert!(!accepted(&gate, &other.question("a", 0)).await);
    // The same image, with its proof taken away where it lies.
    let bare = Case::new(None).await;
    assert_eq!(bare.image, case.image);
    let bare = Case {
        key: Arc::clone(&case.key),
        ..bare
    };
    assert!(!accepted(&gate, &bare.question("c", 0)).await);
}

#[tokio::test]
async fn many_who_ask_the_same_are_answered_once() {
    let case = Case::new(None).await;
    case.sign(&case.key).await;
    let gate = Gate::new(GateOptions::default());
    let question = case.question("a", 0);
    let all = futures_util::future::join_all((0..50).map(|_| gate.ask(&question))).await;
    assert!(
        all.iter()
            .all(|it| it.as_ref().unwrap().judged.verdict.accepted())
    );
    assert_eq!(case.store.asked(), (1, 2));
}

#[tokio::test]
async fn there_is_one_limit_for_the_whole_question() {
    // The manifest comes, the bundle does not.
    let case = Case::new(Some(Semaphore::new(1))).await;
    case.sign(&case.key).await;
    let gate = Gate::new(GateOptions {
        limit: Some(Duration::from_millis(50)),
        ..GateOptions::default()
    });
    let question = case.question("a", 0);
    let (one, two) = tokio::join!(gate.ask(&question), gate.ask(&question));
    let expected = format!(
        "no answer within 50 ms; it waited for what is attached to `r.example/a@{}` (1 referrers): 1 parts of it came, 1 more were asked for",
        case.image.digest
    );
    assert_eq!(one.unwrap_err().to_string(), expected);
    assert_eq!(two.unwrap_err().to_string(), expected);
    // It goes on, so the next one finds the answer.
    if let Some(permits) = &case.store.slow {
        permits.add_permits(1);
    }
    while gate.remembered() == 0 {
        tokio::task::yield_now().await;
    }
    case.store.asked();
    assert!(accepted(&gate, &question).await);
    assert_eq!(case.store.asked(), (0, 0));
    // But not for ever.
    let impatient = Gate::new(GateOptions {
        limit: Some(Duration::from_millis(10)),
        grace: Duration::from_millis(10),
        ..GateOptions::default()
    });
    assert!(impatient.ask(&question).await.is_err());
    while impatient.flights.under_way() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(impatient.remembered(), 0);
}

#[tokio::test]
async fn memory_is_bounded() {
    let gate = Gate::new(GateOptions {
        memory: 8 << 10,
        ..GateOptions::default()
    });
    for _ in 0..20 {
        let case = Case::new(None).await;
        assert!(!accepted(&gate, &case.question("a", 0)).await);
    }
    assert!((1..8).contains(&gate.remembered()), "{}", gate.remembered());
}

/// A tag may have moved; a digest says all, before anything is asked.
#[tokio::test]
async fn what_is_remembered_by_digest_needs_no_search() {
    let folder = tempfile::tempdir().unwrap();
    let layout = oci::LayoutStore::create(folder.path().join("out")).unwrap();
    let case = Case::new(None).await;
    case.sign(&case.key).await;
    let options = oci::CopyOptions {
        referrers: true,
        ..oci::CopyOptions::default()
    };
    oci::copy_graph(&case.store.store, &layout, &case.image, &options, &())
        .await
        .unwrap();
    layout.tag(&case.image, &Tag::latest()).await.unwrap();
    let gate = Gate::new(GateOptions::default());
    let places = Arc::new(Places::new(folder.path(), None, BTreeMap::new()));
    let named = |reference: &str| Question {
        image: Image::Named {
            places: Arc::clone(&places),
            reference: reference.parse().unwrap(),
        },
        ..case.question("a", 0)
    };
    let answer = gate.ask(&named("oci:out:latest")).await.unwrap();
    assert!(answer.judged.verdict.accepted());
    let by_digest = format!("oci:out@{}", case.image.digest);
    assert_eq!(answer.image.to_string(), by_digest);
    drop(layout);
    std::fs::remove_dir_all(folder.path().join("out")).unwrap();
    assert!(accepted(&gate, &named(&by_digest)).await);
    let error = gate.ask(&named("oci:out:latest")).await.unwrap_err();
    assert!(error.to_string().starts_with("folder `"), "{error}");
}
