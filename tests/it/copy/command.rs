//! What `sealpack copy` refuses before it does anything.

use oci::{LayoutStore, Store as _};
use testkit::{Output, Workspace};

use super::tag;
use crate::layout::push_image;

#[tokio::test]
async fn what_cannot_be_kept_is_not_begun() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("src")).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    let copy = |arguments: &[&str]| {
        let words = [&["copy", "oci:src:v1"], arguments].concat();
        let mut command = workspace.sealpack(words);
        Output::of(command.env("DOCKER_HOST", "unix:///nowhere")).expect(2)
    };
    let to = format!("oci:dst@{}", image.digest);
    let output = copy(&[&to]);
    let text = "error: an image cannot be copied to a digest: it keeps the one it has";
    assert!(output.stderr.starts_with(text), "{}", output.stderr);
    assert!(!workspace.join("dst").exists());
    for flag in ["--referrers", "--digest-tags"] {
        let output = copy(&["docker-daemon:app", flag]);
        let text = "error: a Docker daemon cannot keep what is attached to an image";
        assert!(output.stderr.starts_with(text), "{}", output.stderr);
    }
}

/// Signatures by tag are no images that could be meant.
#[tokio::test]
async fn the_only_image_is_meant_whatever_is_attached_to_it_by_tag() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("src")).unwrap();
    let image = push_image(&store, b"layer", None).await;
    store.tag(&image, &tag("v1")).await.unwrap();
    let proof = push_image(&store, b"proof", None).await;
    for ending in ["", ".sig", ".att"] {
        let name = format!("sha256-{}{ending}", image.digest.hex());
        store.tag(&proof, &tag(&name)).await.unwrap();
    }
    let mut copy = workspace.sealpack(["copy", "oci:src", "oci:dst:v1"]);
    let output = Output::of(&mut copy).expect(0);
    assert!(output.stdout.contains(image.digest.as_str()));
    store.tag(&image, &tag("sha256-short")).await.unwrap();
    let output = Output::of(&mut copy).expect(2);
    assert!(
        output
            .stderr
            .contains("several images: `sha256-short` and `v1`\n")
    );
}
