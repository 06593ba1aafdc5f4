//! Graphs of any shape come out as they went in.

use bytes::Bytes;
use oci::{Descriptor, LayoutStore, MediaType, MemoryStore, Store, Upload, copy_graph};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;
use testkit::Workspace;
use testkit::registry::{Switches, TestRegistry};

use super::{all, contents, push_json, repository};

/// A manifest; it refers to those before it.
#[derive(Clone, Debug)]
struct Plan {
    /// Of an index: its children. Of an image: none.
    children: Option<Vec<Index>>,
    /// Its layers, out of a few that all share.
    layers: Vec<u8>,
    subject: Option<Index>,
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let plan = (
        prop::option::weighted(0.4, vec(any::<Index>(), 0..4)),
        vec(0..5_u8, 0..4),
        prop::option::weighted(0.6, any::<Index>()),
    )
        .prop_map(|(children, layers, subject)| Plan {
            children,
            layers,
            subject,
        });
    // No longer than referrers may nest.
    vec(plan, 1..8)
}

async fn push_blob(store: &dyn Store, media_type: MediaType, content: String) -> Descriptor {
    let content = Bytes::from(content);
    let target = Descriptor::of(media_type, &content);
    let upload = Upload::Bytes(content);
    store.push_blob(&target, upload).await.unwrap();
    target
}

/// Pushes what is planned; all of it, in order.
async fn push(store: &dyn Store, plans: &[Plan]) -> Vec<Descriptor> {
    let mut pushed: Vec<Descriptor> = Vec::new();
    for (number, plan) in plans.iter().enumerate() {
        let known = |it: &Index| (!pushed.is_empty()).then(|| it.get(&pushed).bare());
        let mut manifest = json!({
            "schemaVersion": 2,
            "annotations": { "number": number.to_string() },
        });
        if let Some(subject) = plan.subject.as_ref().and_then(known) {
            manifest["subject"] = json!(subject);
        }
        let media_type = if let Some(children) = &plan.children {
            let children: Vec<_> = children.iter().filter_map(known).collect();
            manifest["manifests"] = json!(children);
            MediaType::IMAGE_INDEX
        } else {
            let mut layers = Vec::new();
            for layer in &plan.layers {
                let content = format!("layer {layer}");
                layers.push(push_blob(store, MediaType::LAYER_TAR, content).await);
            }
            let config = push_blob(store, MediaType::EMPTY, "{}".to_owned()).await;
            manifest["config"] = json!(config);
            manifest["layers"] = json!(layers);
            MediaType::IMAGE_MANIFEST
        };
        manifest["mediaType"] = json!(media_type);
        pushed.push(push_json(store, media_type, &manifest).await);
    }
    pushed
}

async fn round(plans: Vec<Plan>, root: Index) {
    let workspace = Workspace::in_memory();
    let source = MemoryStore::new();
    let pushed = push(&source, &plans).await;
    let root = root.get(&pushed);
    let expected = contents(&source, root).await;
    let with_api = TestRegistry::start(Switches::default());
    let without = TestRegistry::start(Switches {
        no_referrers_api: true,
        ..Switches::default()
    });
    let layout = |name| LayoutStore::create(workspace.join(name)).unwrap();
    let mut last: Box<dyn Store> = Box::new(source);
    let stops: [Box<dyn Store>; 5] = [
        Box::new(layout("one")),
        Box::new(repository(&with_api.host(), "a")),
        Box::new(repository(&without.host(), "b")),
        Box::new(layout("two")),
        Box::new(MemoryStore::new()),
    ];
    for next in stops {
        let copied = copy_graph(&*last, &*next, root, &all(), &()).await.unwrap();
        assert_eq!(copied.dropped, []);
        assert_eq!(contents(&*next, root).await, expected, "{next:?}");
        let again = copy_graph(&*last, &*next, root, &all(), &()).await.unwrap();
        assert_eq!((again.new.blobs, again.referrers), (0, copied.referrers));
        last = next;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        max_shrink_iters: 200,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn any_graph_arrives_as_it_was(plans in plans(), root: Index) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(round(plans, root));
    }
}
