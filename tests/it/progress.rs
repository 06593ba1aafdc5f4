//! What a terminal shows while something takes long.

use std::time::Duration;

use oci::store::{RegistryClient, RegistryOptions};
use oci::{Descriptor, MediaType, Store as _};
use serde_json::json;
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{Output, Terminal, Workspace};

use crate::layout::push_image;

/// A registry with an image of two layers, one of which it is slow to give: 3 and 2 MB.
pub(crate) async fn slow_registry() -> (TestRegistry, String) {
    let (quick, slow) = (vec![3; 3_000_000], vec![2; 2_000_000]);
    let layers = [&quick, &slow].map(|it| Descriptor::of(MediaType::LAYER_TAR, it));
    let on = format!("GET /v2/app/blobs/{}", layers[1].digest);
    let registry = TestRegistry::start(Switches {
        faults: vec![Fault {
            on: on.leak(),
            after: 0,
            times: 1,
            kind: FaultKind::Slow(Duration::from_secs(2)),
        }],
        ..Switches::default()
    });
    let name = format!("{}/app", registry.host());
    let client = RegistryClient::new(RegistryOptions::default());
    let store = client.repository(&name.parse().unwrap());
    push_image(&store, b"config and such", None).await;
    for layer in [quick, slow] {
        registry.put_blob("app", layer);
    }
    let config = Descriptor::of(MediaType::EMPTY, b"{}");
    let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
    let manifest = bytes::Bytes::from(manifest.to_string());
    let image = Descriptor::of(MediaType::IMAGE_MANIFEST, &manifest);
    store.push_manifest(&image, manifest).await.unwrap();
    store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
    (registry, format!("{name}:v1"))
}

#[tokio::test]
async fn a_copy_shows_how_many_bytes_it_has_moved() {
    let (_registry, image) = slow_registry().await;
    let workspace = Workspace::new();
    let copy = |to: &str| workspace.sealpack(["copy", &image, to]);
    let Some(mut terminal) = Terminal::start(copy("oci:out:v1").env("TERM", "xterm")) else {
        return;
    };
    terminal.wait_to_show("3.00 MB of 5.00 MB");
    let (code, screen) = terminal.end("copied");
    assert_eq!(code, 0, "{screen}");
    // The line is cleared before the result comes, and nothing follows but that it is cleared again.
    let (before, after) = screen.rsplit_once("MB/s").unwrap();
    assert!(before.contains("3.00 MB of"), "{screen}");
    let (blank, result) = after.split_once("\x1b[2K").unwrap();
    assert_eq!(blank.trim(), "", "{screen}");
    assert!(result.contains("copied"), "{screen}");

    // Whoever is no terminal, or wants to hear less or more, sees no bar.
    let output = Output::of(&mut copy("oci:out:v2")).expect(0);
    assert_eq!(output.stderr, "");
}
