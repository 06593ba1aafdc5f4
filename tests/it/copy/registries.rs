//! Between registries that others wrote, of either kind, and layouts: by our program.

use std::time::Duration;

use oci::store::{RegistryClient, RegistryOptions};
use oci::{LayoutStore, MemoryStore, Selector, Store, copy_graph};
use testkit::registry::{Switches, TestRegistry};
use testkit::{Output, Workspace, docker_registry, olareg, plain_distribution};

use super::{all, contents, graph, repository, tag};
use crate::layout::push_image;

#[tokio::test]
async fn a_hundred_referrers_arrive_whichever_way_they_go() {
    let workspace = Workspace::new();
    let servers = [docker_registry, olareg, plain_distribution].map(|it| it(workspace.path()));
    let servers: Vec<_> = servers.into_iter().flatten().collect();
    let Some(first) = servers.first() else { return };

    let source = MemoryStore::new();
    let root = graph(&source).await;
    for number in 0..99 {
        let proof = format!("proof {number}");
        push_image(&source, proof.as_bytes(), Some(&root)).await;
    }
    let expected = contents(&source, &root).await;
    // The index and its images, the proof that the graph has, and that above; for each but the
    // index a layer, and one config.
    assert_eq!(expected.len(), (1 + 2 + 3 + 99) * 2 - 1 + 1);
    let store = repository(first.host(), "from");
    copy_graph(&source, &store, &root, &all(), &())
        .await
        .unwrap();
    store.tag(&root, &tag("v1")).await.unwrap();
    assert_eq!(contents(&store, &root).await, expected);

    // From each registry into a layout, and from there into the next one, and into the first again.
    let mut from = format!("{}/from:v1", first.host());
    let next = servers.iter().skip(1).chain([first]);
    for (number, server) in next.enumerate() {
        let layout = format!("oci:layout-{number}:v1");
        let to = format!("{}/to:v1", server.host());
        for (from, to) in [(&from, &layout), (&layout, &to)] {
            Output::of(&mut workspace.sealpack(["copy", "--referrers", from, to])).expect(0);
        }
        let path = workspace.join(format!("layout-{number}"));
        let layout = LayoutStore::open(path).unwrap();
        let selector = Selector::Tag(tag("v1"));
        assert_eq!(layout.resolve(&selector).await.unwrap(), root);
        assert_eq!(contents(&layout, &root).await, expected, "layout {number}");
        let store = repository(server.host(), "to");
        assert_eq!(store.resolve(&selector).await.unwrap(), root);
        assert_eq!(contents(&store, &root).await, expected, "{}", server.host());
        from = to;
    }
}

/// What a neighbour in the same registry has is not moved, and no one else is asked for it.
#[tokio::test]
async fn blobs_are_mounted_from_a_neighbour_only() {
    let registry = TestRegistry::start(Switches::default());
    let other = TestRegistry::start(Switches::default());
    let from = repository(&registry.host(), "one");
    let image = push_image(&from, b"layer", None).await;
    let asked = |registry: &TestRegistry| -> (usize, usize) {
        let requests = registry.take_requests();
        let mounts = requests.iter().filter(|it| it.contains("mount="));
        let reads = requests
            .iter()
            .filter(|it| it.starts_with("GET") && it.contains("/blobs/"));
        (mounts.count(), reads.count())
    };
    asked(&registry);
    let to = repository(&registry.host(), "two");
    let copied = copy_graph(&from, &to, &image, &all(), &()).await.unwrap();
    assert_eq!(copied.new.blobs, 2);
    assert_eq!(asked(&registry), (2, 0));
    let abroad = repository(&other.host(), "two");
    copy_graph(&from, &abroad, &image, &all(), &())
        .await
        .unwrap();
    assert_eq!((asked(&registry), asked(&other)), ((0, 2), (0, 0)));
    let copied = copy_graph(&from, &from, &image, &all(), &()).await.unwrap();
    assert_eq!((copied.new.blobs, copied.skipped.blobs), (0, 2));
    assert_eq!(asked(&registry), (0, 0));
}

/// An upload waits for the download that it sends on, which must not wait for it.
#[tokio::test]
async fn one_at_a_time_is_enough_for_both_sides() {
    let servers = [Switches::default(), Switches::default()].map(TestRegistry::start);
    let client = RegistryClient::new(RegistryOptions {
        concurrency: 1,
        ..RegistryOptions::default()
    });
    let [from, to] = servers.each_ref().map(|it| {
        let name = format!("{}/team/app", it.host());
        client.repository(&name.parse().unwrap())
    });
    let image = push_image(&from, &vec![7; 3 << 20], None).await;
    let options = all();
    let copy = copy_graph(&from, &to, &image, &options, &());
    let copied = tokio::time::timeout(Duration::from_mins(1), copy).await;
    copied.expect("it ends").unwrap();
}
