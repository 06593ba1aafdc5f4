//! `sealpack delete` and `sealpack gc`: what goes, and what does not.

use std::sync::Arc;

use insta::assert_snapshot;
use oci::store::{ArchiveForm, ArchiveStore, RegistryClient, RegistryOptions};
use oci::{Descriptor, LayoutStore, MediaType, MemoryStore, Selector, Store, Tag, Upload};
use serde_json::Value;
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{Output, Workspace, docker_registry, olareg};

use crate::layout::push_image;

/// An image and what is attached to it.
struct Graph {
    image: Descriptor,
    proofs: [Descriptor; 2],
    of_proof: Descriptor,
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

/// An image by two names, two proofs, and a proof of the first of them.
async fn graph(store: &dyn Store) -> Graph {
    let image = push_image(store, b"image", None).await;
    let one = push_image(store, b"one", Some(&image)).await;
    let two = push_image(store, b"two", Some(&image)).await;
    let of_proof = push_image(store, b"of one", Some(&one)).await;
    for name in ["v1", "latest"] {
        store.tag(&image, &tag(name)).await.unwrap();
    }
    Graph {
        image,
        proofs: [one, two],
        of_proof,
    }
}

fn registry_store(host: &str) -> Arc<dyn Store> {
    let client = RegistryClient::new(RegistryOptions::default());
    Arc::new(client.repository(&format!("{host}/team/app").parse().unwrap()))
}

fn delete(workspace: &Workspace, words: &[&str]) -> Output {
    Output::of(&mut workspace.sealpack([&["delete"], words].concat()))
}

async fn is_there(store: &dyn Store, target: &Descriptor) -> bool {
    let selector = Selector::Digest(target.digest.clone());
    store.resolve(&selector).await.is_ok()
}

/// The store at `place` as it is now; what was opened before may remember more.
fn open(workspace: &Workspace, place: &str) -> Arc<dyn Store> {
    match place.split_once(':') {
        Some(("oci", path)) => Arc::new(LayoutStore::open(workspace.join(path)).unwrap()),
        Some(("oci-archive", path)) => {
            let path = workspace.join(path);
            Arc::new(ArchiveStore::open(path, ArchiveForm::Oci, None).unwrap())
        }
        _ => registry_store(place.trim_end_matches("/team/app")),
    }
}

/// A graph in each kind of place.
async fn everywhere(workspace: &Workspace, registries: &[&TestRegistry]) -> Vec<(String, Graph)> {
    let mut places = Vec::new();
    for registry in registries {
        let store = registry_store(&registry.host());
        let place = format!("{}/team/app", registry.host());
        places.push((place, graph(&*store).await));
    }
    let layout = LayoutStore::create(workspace.join("layout")).unwrap();
    places.push(("oci:layout".to_owned(), graph(&layout).await));
    let path = workspace.join("app.tar");
    let archive = ArchiveStore::create(path, ArchiveForm::Oci, None).unwrap();
    let made = graph(&archive).await;
    archive.finish().await.unwrap();
    places.push(("oci-archive:app.tar".to_owned(), made));
    places
}

#[tokio::test]
async fn an_image_goes_with_all_that_is_attached_to_it() {
    let workspace = Workspace::new();
    let with_api = TestRegistry::start(Switches::default());
    let without = TestRegistry::start(Switches {
        no_referrers_api: true,
        ..Switches::default()
    });
    for (place, graph) in everywhere(&workspace, &[&with_api, &without]).await {
        let image = format!("{place}@{}", graph.image.digest);
        let output = delete(&workspace, &[&image, "--referrers"]).expect(0);
        let says = format!("deleted {image} and 3 manifests attached to it\n");
        assert_eq!((output.stdout, output.stderr), (says, String::new()));
        let store = open(&workspace, &place);
        let [one, two] = &graph.proofs;
        for gone in [&graph.image, one, two, &graph.of_proof] {
            assert!(!is_there(&*store, gone).await, "{place}");
            let attached = store.referrers(&gone.digest).await.unwrap();
            assert_eq!(attached, [], "{place}");
        }
        for name in ["v1", "latest"] {
            let found = store.resolve(&Selector::Tag(tag(name))).await;
            assert!(found.unwrap_err().is_not_found(), "{place}");
        }
    }
    // From the leaves on, the image last.
    let same = graph(&MemoryStore::new()).await;
    let [one, two] = &same.proofs;
    for registry in [&with_api, &without] {
        let requests = registry.requests();
        let at = |it: &Descriptor| {
            let deleted = format!("DELETE /v2/team/app/manifests/{}", it.digest);
            let found = requests.iter().position(|it| it.starts_with(&deleted));
            found.unwrap()
        };
        assert!(at(&same.of_proof) < at(one));
        assert!(at(one).max(at(two)) < at(&same.image));
    }
}

#[tokio::test]
async fn what_is_attached_stays_unless_it_is_asked_for() {
    let workspace = Workspace::new();
    let registry = TestRegistry::start(Switches::default());
    for (place, graph) in everywhere(&workspace, &[&registry]).await {
        // One proof: it only.
        let [one, two] = &graph.proofs;
        let proof = format!("{place}@{}", two.digest);
        let output = delete(&workspace, &[&proof, "--output", "json"]).expect(0);
        let report: Value = serde_json::from_str(&output.stdout).unwrap();
        let expected = serde_json::json!({
            "image": proof, "deleted": [two.digest], "leftBehind": 0,
        });
        assert_eq!(report, expected);
        let store = open(&workspace, &place);
        let attached = store.referrers(&graph.image.digest).await.unwrap();
        let attached: Vec<_> = attached.iter().map(|it| &it.digest).collect();
        assert_eq!(attached, [&one.digest], "{place}");
        assert!(is_there(&*store, &graph.image).await);
        assert!(is_there(&*store, &graph.of_proof).await);

        // The image: what is attached to it is still there, and is said to be.
        let image = format!("{place}@{}", graph.image.digest);
        let output = delete(&workspace, &[&image]).expect(0);
        assert_eq!(output.stdout, format!("deleted {image}\n"));
        let says = "  warning  1 manifests that are attached to it stay: `--referrers` deletes them, too\n";
        assert_eq!(output.stderr, says);
        let store = open(&workspace, &place);
        assert!(!is_there(&*store, &graph.image).await);
        // An archive is written anew with what can be reached.
        if !place.starts_with("oci-archive") {
            assert!(is_there(&*store, one).await, "{place}");
        }
    }
}

/// What has gone by then was attached to what is still there, so nothing is out of reach.
#[tokio::test]
async fn what_broke_off_is_completed_by_doing_it_again() {
    let workspace = Workspace::new();
    let registry = TestRegistry::start(Switches {
        faults: vec![Fault {
            on: "DELETE",
            after: 1,
            times: 1,
            kind: FaultKind::Status(403, None),
        }],
        ..Switches::default()
    });
    let store = registry_store(&registry.host());
    let graph = graph(&*store).await;
    let image = format!("{}/team/app@{}", registry.host(), graph.image.digest);
    let output = delete(&workspace, &[&image, "--referrers"]).expect(2);
    assert_eq!(output.stdout, "");
    assert!(is_there(&*store, &graph.image).await);
    let again = delete(&workspace, &[&image, "--referrers"]).expect(0);
    assert!(again.stdout.ends_with(" and 2 manifests attached to it\n"));
    assert_eq!(registry.manifests("team/app"), 0);
}

#[tokio::test]
async fn what_is_not_deleted_is_said() {
    let workspace = Workspace::new();
    let registry = TestRegistry::start(Switches {
        faults: vec![Fault::first(9, "DELETE", FaultKind::Status(405, None))],
        ..Switches::default()
    });
    let store = registry_store(&registry.host());
    let graph = graph(&*store).await;
    let place = format!("{}/team/app", registry.host());
    let (by_tag, by_digest) = (
        format!("{place}:v1"),
        format!("{place}@{}", graph.image.digest),
    );
    let missing = format!("{place}@{}", Descriptor::of(MediaType::EMPTY, b"-").digest);
    let host = registry.host();
    let names = [(host.as_str(), "[registry]")];
    let mut said = String::new();
    for image in [&by_tag, &by_digest, &missing, "docker-daemon:app"] {
        said += &delete(&workspace, &[image]).transcript(&names);
    }
    assert_snapshot!(said, @r"
exit: 2
--- stdout
--- stderr
error: `[registry]/team/app:v1` is a tag, and `delete` needs a digest: it removes every tag that points to it
hint: if that is meant, name it by digest: `[registry]/team/app@sha256:[digest]`
exit: 2
--- stdout
--- stderr
error: `[registry]/team/app` cannot delete manifests: it is set up not to
exit: 2
--- stdout
--- stderr
error: `sha256:[digest]` not found in `[registry]/team/app`
exit: 2
--- stdout
--- stderr
error: what a Docker daemon has is deleted by the daemon
hint: `docker image rm NAME:TAG`
");
    assert!(is_there(&*store, &graph.image).await);
}

#[tokio::test]
async fn registries_delete_what_they_are_asked_to() {
    let workspace = Workspace::new();
    let servers = [docker_registry(workspace.path()), olareg(workspace.path())];
    for server in servers.into_iter().flatten() {
        let store = registry_store(server.host());
        let graph = graph(&*store).await;
        let image = format!("{}/team/app@{}", server.host(), graph.image.digest);
        delete(&workspace, &[&image, "--referrers"]).expect(0);
        let store = registry_store(server.host());
        for gone in [&graph.image, &graph.proofs[0], &graph.of_proof] {
            assert!(!is_there(&*store, gone).await);
        }
        delete(&workspace, &[&image]).expect(2);
    }
}

#[tokio::test]
async fn garbage_is_collected_once_it_is_old() {
    let workspace = Workspace::new();
    let store = LayoutStore::create(workspace.join("out")).unwrap();
    let old = push_image(&store, b"old", None).await;
    let new = push_image(&store, b"new", None).await;
    let proof = push_image(&store, b"proof", Some(&new)).await;
    store.tag(&old, &tag("app")).await.unwrap();
    store.tag(&new, &tag("app")).await.unwrap();
    workspace.write("out/blobs/sha256/.tmp-1", vec![0; 1500]);
    let gc = |words: &[&str]| {
        let mut command = workspace.sealpack([&["gc", "oci:out"], words].concat());
        Output::of(&mut command).expect(0).stdout
    };
    // Someone may still be at it.
    assert_eq!(gc(&["--untagged"]), "freed 0 B in oci:out\n");
    assert_eq!(gc(&["--older-than", "0"]), "freed 1.5 kB in oci:out\n");
    let store = LayoutStore::create(workspace.join("out")).unwrap();
    let upload = Upload::Bytes("none".into());
    let orphan = Descriptor::of(MediaType::LAYER_TAR, b"none");
    store.push_blob(&orphan, upload).await.unwrap();
    let report = gc(&["--older-than", "0", "--output", "json"]);
    let report: Value = serde_json::from_str(&report).unwrap();
    let expected = serde_json::json!({ "layout": "oci:out", "freedBytes": 4 });
    assert_eq!(report, expected);
    assert!(store.contains(&old).await.unwrap());

    let freed = old.size + 3;
    let freed = format!("freed {freed} B in oci:out\n");
    assert_eq!(gc(&["--older-than", "0", "--untagged"]), freed);
    let store = LayoutStore::open(workspace.join("out")).unwrap();
    assert!(!is_there(&store, &old).await);
    let attached = store.referrers(&new.digest).await.unwrap();
    assert_eq!(attached.len(), 1);
    assert_eq!(attached[0].digest, proof.digest);
}

#[test]
fn only_a_layout_has_garbage() {
    let workspace = Workspace::new();
    let folder = workspace.path().to_str().unwrap();
    fs_err::create_dir(workspace.join("empty")).unwrap();
    let mut said = String::new();
    for place in [
        "oci:empty",
        "oci:none",
        "oci:out:v1",
        "registry.example/app",
        "oci-archive:app.tar",
    ] {
        said +=
            &Output::of(&mut workspace.sealpack(["gc", place])).transcript(&[(folder, "[folder]")]);
    }
    assert_snapshot!(said, @r"
exit: 2
--- stdout
--- stderr
error: `oci:[folder]/empty` is malformed: it has no `oci-layout` file
exit: 2
--- stdout
--- stderr
error: folder `none` not found
exit: 2
--- stdout
--- stderr
error: `oci:out:v1` is one image, and what is freed is all that no image refers to
hint: name the layout: `oci:out`
exit: 2
--- stdout
--- stderr
error: `registry.example/app` is not a layout: only a layout (`oci:DIR`) has content to remove
hint: registries free what was deleted by themselves; an archive is written without it
exit: 2
--- stdout
--- stderr
error: `oci-archive:app.tar` is not a layout: only a layout (`oci:DIR`) has content to remove
hint: registries free what was deleted by themselves; an archive is written without it
");
}
