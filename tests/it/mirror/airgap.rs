//! Over an air gap: into files on one side, judged again on the other, without network.

use oci::store::{ArchiveForm, ArchiveStore};

use super::*;

/// The far side knows images by the names that they had, so each is judged by the policy that is for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_layouts_is_judged_on_both_sides() {
    let site = Site::new();
    let from = TestRegistry::start(Switches::default());
    let host = from.host();
    for name in ["strict/app", "lax/app"] {
        let store = repository(&host, name);
        let image = push(&store, &[name], None).await;
        sign(&store, &image, &site.key).await;
        tag(&store, &image, "v1").await;
    }
    let other = Site::new();
    site.policy("policies/lax", &format!("images = [\"{host}/lax/*\"]"));
    site.policy("policies/all", "");
    let sources = [
        format!("{host}/strict/app:v1"),
        format!("{host}/lax/app:v1"),
    ];
    let words = [&sources[0], &sources[1], "oci:usb/", "--policy", "policies"];
    assert_eq!(site.report(&words, 0)["counts"]["mirrored"], 2);

    // There, whoever signs what is strict is somebody else.
    let key = other.key.public_key().to_pem();
    site.workspace.write("policies/all/release.pub", key);
    drop(from);
    let far = TestRegistry::start(Switches::default());
    let destination = format!("{}/in/", far.host());
    let words = [
        "oci:usb/",
        &destination,
        "--policy",
        "policies",
        "--keep-going",
        "--offline",
    ];
    let report = site.report(&words, 1);
    let source = |name: &str| format!("oci:usb/{host}/{name}:v1");
    assert_eq!(status(&report, &source("lax/app")), "mirrored");
    assert_eq!(status(&report, &source("strict/app")), "refused");
    assert!(
        tagged(&repository(&far.host(), "in/lax/app"), "v1")
            .await
            .is_some()
    );
    assert_eq!(far.manifests("in/strict/app"), 0);
}

/// `copy` has the same gates: into an archive, out of it, and what was changed on the way is refused.
#[tokio::test(flavor = "multi_thread")]
async fn one_image_through_an_archive() {
    let site = Site::new();
    let from = TestRegistry::start(Switches::default());
    let store = repository(&from.host(), "app");
    let image = push(&store, &["app"], None).await;
    tag(&store, &image, "v1").await;
    let source = format!("{}/app:v1", from.host());
    let copy = |from: &str, to: &str| {
        let words = ["copy", from, to, "--policy", "policy"];
        Output::of(&mut site.workspace.sealpack(words))
    };
    let refused = copy(&source, "oci-archive:app.tar:v1").expect(1);
    assert!(
        refused
            .stderr
            .contains("no signature by an accepted signer"),
        "{}",
        refused.stderr
    );
    assert!(!site.workspace.join("app.tar").exists());

    sign(&store, &image, &site.key).await;
    let expected = contents(&store, &image).await;
    copy(&source, "oci-archive:app.tar:v1").expect(0);
    drop(from);
    let far = TestRegistry::start(Switches::default());
    let to = format!("{}/app:v1", far.host());
    copy("oci-archive:app.tar:v1", &to).expect(0);
    let there = repository(&far.host(), "app");
    let found = tagged(&there, "v1").await.map(|it| it.digest);
    assert_eq!(found, Some(image.digest.clone()));
    assert_eq!(contents(&there, &image).await, expected);
    copy("oci-archive:app.tar:v1", "oci:out:v1").expect(0);

    // Without its signature it does not come in.
    let bare = [
        "copy",
        "--no-referrers",
        "oci-archive:app.tar:v1",
        "oci-archive:bare.tar:v1",
    ];
    Output::of(&mut site.workspace.sealpack(bare)).expect(0);
    copy("oci-archive:bare.tar:v1", "oci:bare:v1").expect(1);
    assert!(!site.workspace.join("bare/index.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_images_in_one_archive() {
    let site = Site::new();
    let from = TestRegistry::start(Switches::default());
    let store = repository(&from.host(), "app");
    let mut images = Vec::new();
    for version in ["v1", "v2", "v3"] {
        let image = push(&store, &["base", version], None).await;
        sign(&store, &image, &site.key).await;
        tag(&store, &image, version).await;
        images.push((version, image));
    }
    let source = format!("{}/app:v*", from.host());
    let report = site.report(&[&source, "oci-archive:all.tar"], 0);
    assert_eq!(report["counts"]["mirrored"], 3);
    let path = site.workspace.join("all.tar");
    let archive = ArchiveStore::open(path, ArchiveForm::Oci, None).unwrap();
    for (version, image) in &images {
        assert_eq!(
            tagged(&archive, version).await.map(|it| it.digest),
            Some(image.digest.clone())
        );
        assert_eq!(
            contents(&archive, image).await,
            contents(&store, image).await
        );
    }
    // And all of them out of it again.
    let report = site.report(&["oci-archive:all.tar", "oci:out", "--offline"], 0);
    assert_eq!(report["counts"]["mirrored"], 3);
}
