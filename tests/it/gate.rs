//! May this image be used? Asked of registries that are well, slow, down or full of strangers' things.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use attest::key::PrivateKey;
use attest::{Accept, SignerPattern};
use gate::{Gate, GateOptions, Image, PolicySet, Question, Undecided};
use intoto::PredicateType;
use oci::store::{RegistryClient, RegistryOptions};
use oci::{Descriptor, MemoryStore, Places, Store, copy_graph};
use policies::{Policy, PolicySource};
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};

use crate::copy::repository;
use crate::layout::push_image;

/// A signed image in a registry, with so many signatures by strangers.
struct Case {
    registry: TestRegistry,
    image: Descriptor,
    key: PrivateKey,
    places: Arc<Places>,
}

impl Case {
    async fn new(strangers: usize) -> Self {
        let store = MemoryStore::new();
        let image = push_image(&store, b"layer", None).await;
        let sign = async |key: &PrivateKey| {
            let images = std::slice::from_ref(&image);
            let statement = attest::image_signature(images, &BTreeMap::new()).unwrap();
            let bundle = attest::sign(&statement, key).unwrap();
            attest::attach(&store, &image, &bundle, None).await.unwrap();
        };
        let key = PrivateKey::generate().unwrap();
        sign(&key).await;
        for _ in 0..strangers {
            sign(&PrivateKey::generate().unwrap()).await;
        }
        let registry = TestRegistry::start(Switches::default());
        let options = oci::CopyOptions {
            referrers: true,
            concurrency: 16,
            ..oci::CopyOptions::default()
        };
        copy_graph(
            &store,
            &repository(&registry.host(), "app"),
            &image,
            &options,
            &(),
        )
        .await
        .unwrap();
        registry.take_requests();
        let options = RegistryOptions {
            concurrency: 32,
            ..RegistryOptions::default()
        };
        Self {
            registry,
            image,
            key,
            places: Arc::new(Places::default().with_client(RegistryClient::new(options))),
        }
    }

    fn policy(&self, images: &[&str]) -> Policy {
        let mut source = PolicySource::new("policy");
        source.accepts.push(Accept {
            predicate_type: PredicateType::COSIGN_SIGN,
            signer: SignerPattern::Key(self.key.public_key().clone()),
        });
        source.required.push(PredicateType::COSIGN_SIGN);
        source.images = images.iter().map(|it| it.parse().unwrap()).collect();
        Policy::compile(source).unwrap()
    }

    fn question(&self, seconds: u64) -> Question {
        let reference = format!("{}/app@{}", self.registry.host(), self.image.digest);
        Question {
            image: Image::Named {
                places: Arc::clone(&self.places),
                reference: reference.parse().unwrap(),
            },
            policy: Arc::new(self.policy(&[])),
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_referrers_cost_little_and_change_nothing() {
    const STRANGERS: usize = 300;
    let case = Case::new(STRANGERS).await;
    let far = FaultKind::Slow(Duration::from_millis(5));
    case.registry.set(|it| {
        it.faults = vec![Fault::first(usize::MAX, "/v2/", far)];
    });
    let gate = Gate::new(GateOptions::default());
    let answer = gate.ask(&case.question(0)).await.unwrap();
    assert!(answer.judged.verdict.accepted());
    assert_eq!(answer.judged.unproven.len(), STRANGERS);
    // What the image is, the list, and of each referrer manifest and bundle.
    let asked = case.registry.take_requests().len();
    assert!(asked <= 4 + 2 * (STRANGERS + 1), "{asked} requests");
    assert!(case.registry.most_at_once() > 16, "hardly any at once");

    let warm = gate.ask(&case.question(299)).await.unwrap();
    assert!(warm.judged.verdict.accepted());
    assert_eq!(case.registry.take_requests(), [""; 0]);
    // Later only the image and the list are asked for again.
    gate.ask(&case.question(301)).await.unwrap();
    let asked = case.registry.take_requests();
    assert!(asked.len() <= 2, "{asked:?}");
}

/// Attack 29: neither silence nor an error is a yes, and it is said which of them it was.
#[tokio::test(flavor = "multi_thread")]
async fn row_29_no_policy_no_time_and_no_registry_are_no_yes() {
    let case = Case::new(0).await;
    let host = case.registry.host();
    let set = PolicySet::one(case.policy(&["elsewhere.example/*"]));
    let name = format!("{host}/app").parse().unwrap();
    let error = set.choose(Some(&name), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("no policy is about `{host}/app`")
    );
    // A policy that accepts nobody, or asks for nothing, is none.
    assert!(Policy::compile(PolicySource::new("policy")).is_err());

    let gate = Gate::new(GateOptions {
        limit: Some(Duration::from_millis(200)),
        grace: Duration::from_millis(200),
        ..GateOptions::default()
    });
    let slow = FaultKind::Slow(Duration::from_secs(30));
    case.registry.set(|it| {
        it.faults = vec![Fault::first(usize::MAX, "/referrers/", slow)];
    });
    let error = gate.ask(&case.question(0)).await.unwrap_err();
    assert!(matches!(*error, Undecided::TooLong { .. }));
    let waited = format!("it waited for the list of what is attached to `{host}/app@");
    assert!(error.to_string().contains(&waited), "{error}");

    case.registry.set(|it| {
        let down = FaultKind::Status(500, None);
        it.faults = vec![Fault::first(usize::MAX, "/v2/", down)];
    });
    assert!(gate.ask(&case.question(0)).await.is_err());
    // What could not be decided is not remembered.
    case.registry.set(|it| it.faults.clear());
    let patient = Gate::new(GateOptions::default());
    assert!(
        patient
            .ask(&case.question(0))
            .await
            .unwrap()
            .judged
            .verdict
            .accepted()
    );
}

/// Attack 32: what was found out about a tag, or while something was missing, is not kept for it.
#[tokio::test(flavor = "multi_thread")]
async fn row_32_what_is_remembered_is_about_a_digest() {
    let case = Case::new(0).await;
    let host = case.registry.host();
    let store = repository(&host, "app");
    store
        .tag(&case.image, &"v1".parse().unwrap())
        .await
        .unwrap();
    let gate = Gate::new(GateOptions::default());
    let by_tag = |seconds| Question {
        image: Image::Named {
            places: Arc::clone(&case.places),
            reference: format!("{host}/app:v1").parse().unwrap(),
        },
        ..case.question(seconds)
    };
    let answer = gate.ask(&by_tag(0)).await.unwrap();
    assert!(answer.judged.verdict.accepted());
    assert_eq!(answer.image.digest.as_ref(), Some(&case.image.digest));
    let other = push_image(&store, b"other", None).await;
    store.tag(&other, &"v1".parse().unwrap()).await.unwrap();
    let answer = gate.ask(&by_tag(1)).await.unwrap();
    assert!(!answer.judged.verdict.accepted());
    assert_eq!(answer.image.digest.as_ref(), Some(&other.digest));
}

/// What is listed and cannot be had may be there the next time: such an answer does not stay.
#[tokio::test(flavor = "multi_thread")]
async fn proof_that_comes_late_is_found() {
    let case = Case::new(0).await;
    let host = case.registry.host();
    let listed = repository(&host, "app")
        .referrers(&case.image.digest)
        .await
        .unwrap();
    let manifest = &listed[0].digest;
    let gate = Gate::new(GateOptions::default());
    case.registry.set(|it| {
        let missing = FaultKind::Status(404, None);
        it.faults = vec![Fault::first(1, "/manifests/", missing)];
        // The image itself is asked for first.
        it.faults[0].after = 1;
    });
    assert!(
        !gate
            .ask(&case.question(0))
            .await
            .unwrap()
            .judged
            .verdict
            .accepted(),
        "{manifest}"
    );
    assert!(
        gate.ask(&case.question(10))
            .await
            .unwrap()
            .judged
            .verdict
            .accepted()
    );
}

/// A listing that is a lie is as good as none.
#[tokio::test(flavor = "multi_thread")]
async fn hints_of_a_listing_decide_nothing() {
    let case = Case::new(3).await;
    for switches in [
        Switches {
            wrong_artifact_type: Some("application/x-other"),
            ..Switches::default()
        },
        Switches {
            page_size: Some(1),
            ..Switches::default()
        },
    ] {
        case.registry.set(|it| *it = switches);
        let gate = Gate::new(GateOptions::default());
        assert!(
            gate.ask(&case.question(0))
                .await
                .unwrap()
                .judged
                .verdict
                .accepted()
        );
    }
}
