//! How far a walk goes, and what it says of what it leaves out.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oci::{Limits, MemoryStore, Node, Relation, walk};

use super::hooked::Hooked;
use super::{Spy, push_index, unavailable};
use crate::layout::push_image;

fn problems(nodes: &[Node]) -> Vec<&str> {
    nodes
        .iter()
        .filter_map(|it| it.problem.as_deref())
        .collect()
}

#[tokio::test]
async fn what_is_met_again_is_not_walked_again() {
    let src = MemoryStore::new();
    let image = push_image(&src, b"image", None).await;
    push_image(&src, b"proof", Some(&image)).await;
    let mut root = image;
    // Each leads twice to the one below: two to the sixth ways.
    for _ in 0..6 {
        root = push_index(&src, &[(&root, "amd64"), (&root, "arm64")]).await;
    }
    let nodes = walk(&src, &root, &Limits::default()).await.unwrap();
    assert_eq!(nodes.len(), 1 + 6 * 2 + 1);
    let proof = nodes.iter().filter(|it| it.relation == Relation::Referrer);
    assert_eq!(proof.count(), 1);
    assert_eq!(problems(&nodes), [] as [&str; 0]);
}

#[tokio::test]
async fn a_walk_ends_at_the_limits_and_says_so() {
    let src = MemoryStore::new();
    let image = push_image(&src, b"image", None).await;
    for turn in 0..4_u8 {
        push_image(&src, &[turn], Some(&image)).await;
    }
    let root = push_index(&src, &[(&image, "amd64")]).await;
    let root = push_index(&src, &[(&root, "amd64")]).await;
    let all = walk(&src, &root, &Limits::default()).await.unwrap();
    assert_eq!((all.len(), problems(&all).len()), (7, 0));
    let few = Limits {
        referrers: 3,
        ..Limits::default()
    };
    let nodes = walk(&src, &root, &few).await.unwrap();
    assert_eq!(nodes.len(), 6);
    let said = "it leads to 4 manifests, and only 3 of them are shown";
    assert_eq!(problems(&nodes), [said]);
    let few = Limits {
        manifests: 5,
        ..Limits::default()
    };
    let nodes = walk(&src, &root, &few).await.unwrap();
    assert_eq!(nodes.len(), 5);
    let said = "it leads to 4 manifests, and only 2 of them are shown";
    assert_eq!(problems(&nodes), [said]);
    let flat = Limits {
        depth: 2,
        ..Limits::default()
    };
    let nodes = walk(&src, &root, &flat).await.unwrap();
    assert_eq!(nodes.len(), 3);
    assert_eq!(problems(&nodes), ["there may be more below, deeper than 2"]);
    let small = Limits {
        manifest_bytes: image.size - 1,
        ..Limits::default()
    };
    let spy = Spy::default();
    let nodes = walk(&spy, &image, &small).await;
    assert!(nodes.is_err(), "{nodes:?}");
    assert_eq!(spy.calls(), [], "it was not even asked for");
}

#[tokio::test]
async fn referrers_that_are_not_known_are_no_reason_to_end() {
    let mut src = Hooked::default();
    let image = push_image(&src.inner, b"image", None).await;
    let root = push_index(&src.inner, &[(&image, "amd64")]).await;
    let digest = root.digest.clone();
    src.referrers = Some(Box::new(move |subject| {
        (*subject == digest).then(|| Err(unavailable()))
    }));
    let nodes = walk(&src, &root, &Limits::default()).await.unwrap();
    assert_eq!(nodes.len(), 2);
    let problems = problems(&nodes);
    assert_eq!(problems.len(), 1);
    assert!(
        problems[0].starts_with("its referrers are not known: "),
        "{problems:?}"
    );
}

/// Of a long list not all manifests are held at once.
#[tokio::test]
async fn what_is_attached_is_walked_some_at_a_time() {
    let mut src = Hooked::default();
    let image = push_image(&src.inner, b"image", None).await;
    for turn in 0..300 {
        push_image(&src.inner, format!("proof {turn}").as_bytes(), Some(&image)).await;
    }
    let read = Arc::new(AtomicUsize::new(0));
    let first = Arc::new(AtomicUsize::new(usize::MAX));
    let (counting, seen, lowest) = (read.clone(), read.clone(), first.clone());
    src.fetch = Some(Box::new(move |_| {
        counting.fetch_add(1, Ordering::Relaxed);
        None
    }));
    let root = image.digest.clone();
    src.referrers = Some(Box::new(move |subject| {
        if *subject != root {
            lowest.fetch_min(seen.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        None
    }));
    let nodes = walk(&src, &image, &Limits::default()).await.unwrap();
    assert_eq!(nodes.len(), 301);
    let (read, first) = (read.load(Ordering::Relaxed), first.load(Ordering::Relaxed));
    assert_eq!(read, 301);
    assert!(first < read, "{first} of {read}");
}
