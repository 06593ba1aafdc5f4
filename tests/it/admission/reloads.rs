//! Certificates and policies that change under a running server.

use std::os::unix::fs::symlink;
use std::path::Path;

use nix::sys::signal::Signal;
use testkit::Certificates;
use testkit::registry::Switches;

use super::{Shop, outcome, pod};

#[tokio::test]
async fn a_policy_that_changes_holds_at_once_and_a_bad_one_does_not() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let host = shop.registry.host();
    let image = shop.push("shop/web", "1");
    let name = shop.name(&image, None);
    shop.sign(&image);
    let webhook = shop.webhook(&[]);
    assert!(outcome(&webhook.ask("/validate", &pod(&name)).await).0);
    let reloads = |outcome: &str| {
        let name = format!("sealpack_reloads_total{{what=\"policies\",outcome=\"{outcome}\"}}");
        webhook.figure(&name).unwrap_or(0.0)
    };
    // Half of one.
    shop.workspace.write("policies/shop.toml", "images = [\"");
    webhook.wait_for("it was refused", |_| reloads("refused") >= 1.0);
    assert!(outcome(&webhook.ask("/validate", &pod(&name)).await).0);
    let logged = webhook.logged("not reloaded: what was in force stays in force");
    assert_eq!(logged[0]["level"], "error");
    assert!(
        logged[0]["reason"].as_str().unwrap().contains("shop.toml"),
        "{logged:?}"
    );
    // The other half, of another one.
    shop.policy("shop", &format!("images = [\"{host}/other/**\"]"));
    webhook.wait_for("it was read", |_| reloads("reloaded") >= 1.0);
    let response = webhook.ask("/validate", &pod(&name)).await;
    assert!(outcome(&response).1.contains("no policy"), "{response}");
    // All of it again, because it was said, though nothing changed.
    webhook.signal(Signal::SIGHUP);
    webhook.wait_for("it was read again", |_| reloads("reloaded") >= 2.0);
}

/// A volume of Kubernetes: `..data` leads to a folder, and names lead into `..data`.
#[tokio::test]
async fn a_volume_that_is_swapped_is_read_as_a_whole() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let image = shop.push("shop/web", "1");
    let name = shop.name(&image, None);
    shop.sign(&image);
    let volume = shop.workspace.join("volume");
    let swap = |version: &str, scope: &str| {
        shop.policy("shop", scope);
        let folder = volume.join(version);
        fs_err::create_dir_all(&folder).unwrap();
        for file in ["shop.toml", "release.pub"] {
            fs_err::copy(
                shop.workspace.join("policies").join(file),
                folder.join(file),
            )
            .unwrap();
            if !volume.join(file).exists() {
                symlink(Path::new("..data").join(file), volume.join(file)).unwrap();
            }
        }
        symlink(version, volume.join("..new")).unwrap();
        fs_err::rename(volume.join("..new"), volume.join("..data")).unwrap();
    };
    swap("1", "images = [\"other.example/**\"]");
    let arguments = ["--policy", "volume", "--lame-duck", "0"];
    let webhook = testkit::Webhook::start(&shop.workspace, &shop.certificates, &arguments);
    assert!(!outcome(&webhook.ask("/validate", &pod(&name)).await).0);
    swap("2", &format!("images = [\"{}/**\"]", shop.registry.host()));
    webhook.wait_for("it was read", |it| !it.logged("reloaded").is_empty());
    assert!(outcome(&webhook.ask("/validate", &pod(&name)).await).0);
}

#[tokio::test]
async fn a_certificate_that_is_renewed_is_shown_to_new_connections() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let webhook = shop.webhook(&[]);
    let mut old = webhook.connect().await;
    let first = old.certificate().to_vec();
    let reloads = |outcome: &str| {
        let name = format!("sealpack_reloads_total{{what=\"certificate\",outcome=\"{outcome}\"}}");
        webhook.figure(&name).unwrap_or(0.0)
    };
    // A key of another certificate.
    let place = |name: &str| shop.workspace.join("tls").join(name);
    fs_err::copy(place("client.key"), place("server.key")).unwrap();
    webhook.wait_for("it was refused", |_| reloads("refused") >= 1.0);
    assert_eq!(webhook.connect().await.certificate(), first);
    // A new pair by the same authority: cut in two moments, as files are written.
    let scratch = shop.workspace.join("renewed");
    fs_err::create_dir(&scratch).unwrap();
    Certificates::make(&scratch).unwrap();
    for file in ["ca.pem", "server.key", "server.pem"] {
        fs_err::copy(scratch.join(file), place(file)).unwrap();
    }
    webhook.wait_for("it was read", |_| reloads("reloaded") >= 1.0);
    // The authority in `ca.pem` is the new one, and so is what is shown.
    assert_ne!(webhook.connect().await.certificate(), first);
    // What was connected before goes on.
    let response = old
        .send(hyper::Method::GET, "/healthz", &[], "")
        .await
        .unwrap();
    assert_eq!(response.status, 200);
}
