//! What is admitted, and what is not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use insta::assert_snapshot;
use serde_json::{Value, json};
use testkit::registry::Switches;
use testkit::{answer, review};

use super::{Shop, deployment, outcome, pod};

#[tokio::test]
async fn what_is_signed_is_admitted_and_then_the_registry_is_not_asked() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let image = shop.push("shop/web", "1");
    shop.sign(&image);
    let webhook = shop.webhook(&[]);
    let by_digest = pod(&shop.name(&image, None));
    let response = webhook.ask("/validate?timeout=10s", &by_digest).await;
    assert_eq!(outcome(&response), (true, ""));
    assert_eq!(response["auditAnnotations"]["verdict"], "accepted");
    assert!(!shop.registry.take_requests().is_empty());
    // Again, and for eight containers of the same image, and for what makes such pods.
    let mut eight = by_digest.clone();
    let container = eight["spec"]["containers"][0].take();
    eight["spec"]["containers"] = vec![container; 8].into();
    let makes = deployment(&shop.name(&image, None));
    for object in [&by_digest, &eight, &makes] {
        for path in ["/validate", "/mutate"] {
            let response = webhook.ask(path, object).await;
            assert_eq!(outcome(&response), (true, ""), "{object}");
            assert_eq!(response.get("patch"), None, "{object}");
        }
    }
    assert_eq!(shop.registry.take_requests(), [] as [&str; 0]);
    assert_eq!(
        webhook.figure("sealpack_images_total{verdict=\"accepted\"}"),
        Some(6.0)
    );
}

#[tokio::test]
async fn what_is_not_signed_is_denied_and_told_why() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let image = shop.push("shop/web", "1");
    shop.strangers(&image, 1);
    let webhook = shop.webhook(&[]);
    let response = webhook
        .ask("/validate?timeout=10s", &pod(&shop.name(&image, Some("1"))))
        .await;
    let (allowed, message) = outcome(&response);
    assert!(!allowed);
    assert_eq!(response["status"]["code"], 403);
    assert_snapshot!(shop.plain(message), @r#"
    image `registry.test/shop/web:1` (container `web`) is rejected by policy `shop`: require: no signature by an accepted signer; attached, but proves nothing: sha256:…: signed by a different key
      to mend it: attach one, or accept its signer in the policy
      to see the same: sealpack policy check registry.test/shop/web@sha256:… --policy policies
    "#);
    // What the last line says gives the same verdict.
    let command = message.lines().last().unwrap();
    let (_, command) = command.split_once("sealpack ").unwrap();
    let output = testkit::Output::of(&mut shop.workspace.sealpack(command.split(' '))).expect(1);
    assert!(
        output.stderr.contains("no signature by an accepted signer"),
        "{}",
        output.stderr
    );
    // It is in the log, with who and what.
    let logged = webhook.logged("answered");
    assert_eq!(logged[0]["user"], "alice");
    assert_eq!(logged[0]["verdict"], "rejected");
    assert_eq!(
        logged[0]["images"][0]["digest"],
        image.descriptor.digest.as_str()
    );
    // Signed by now, it is admitted after a while, and at once where nothing was remembered.
    shop.sign(&image);
    let webhook = shop.webhook(&[]);
    let response = webhook
        .ask("/validate", &pod(&shop.name(&image, Some("1"))))
        .await;
    assert_eq!(outcome(&response), (true, ""));
}

#[tokio::test]
async fn a_tag_becomes_the_digest_that_was_judged() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let image = shop.push("shop/web", "1");
    shop.sign(&image);
    let webhook = shop.webhook(&[]);
    let by_tag = shop.name(&image, Some("1"));
    let response = webhook.ask("/mutate", &pod(&by_tag)).await;
    assert_eq!(outcome(&response), (true, ""));
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = STANDARD
        .decode(response["patch"].as_str().unwrap())
        .unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    let pinned = format!("{by_tag}@{}", image.descriptor.digest);
    let path = "/spec/containers/0/image";
    assert_eq!(
        patch,
        json!([
            {"op": "test", "path": path, "value": by_tag},
            {"op": "replace", "path": path, "value": pinned},
        ])
    );
    // What comes of it is judged as that, without a word to the registry, and is not changed again.
    shop.registry.take_requests();
    for path in ["/validate", "/mutate"] {
        let response = webhook.ask(path, &pod(&pinned)).await;
        assert_eq!(outcome(&response), (true, ""));
        assert_eq!(response.get("patch"), None);
    }
    assert_eq!(shop.registry.take_requests(), [] as [&str; 0]);
    // Workloads are left as they are, unless it is said.
    let makes = deployment(&by_tag);
    assert_eq!(webhook.ask("/mutate", &makes).await.get("patch"), None);
    let all = shop.webhook(&["--mutate", "workloads"]);
    assert!(all.ask("/mutate", &makes).await["patch"].is_string());
    // The tag moves to what nobody signed: what was admitted by digest still is, the tag is not.
    let moved = shop.push("shop/web", "2");
    let manifest = shop.registry.tagged("shop/web", "2").unwrap();
    shop.registry.put_manifest(
        "shop/web",
        Some("1"),
        moved.descriptor.media_type.as_str(),
        manifest,
    );
    tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
    assert!(outcome(&webhook.ask("/validate", &pod(&pinned)).await).0);
    assert!(!outcome(&webhook.ask("/validate", &pod(&by_tag)).await).0);
}

#[tokio::test]
async fn all_places_of_images_are_judged_and_only_what_an_update_changes() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let good = shop.push("shop/good", "1");
    shop.sign(&good);
    let (good, bad) = (
        shop.name(&good, None),
        shop.name(&shop.push("shop/bad", "1"), None),
    );
    let webhook = shop.webhook(&[]);
    let container = |image: &str| json!([{"name": "x", "image": image}]);
    for (section, entry) in [
        ("initContainers", container(&bad)),
        ("containers", container(&bad)),
        ("ephemeralContainers", container(&bad)),
        (
            "volumes",
            json!([{"name": "x", "image": {"reference": bad}}]),
        ),
    ] {
        let mut object = pod(&good);
        object["spec"][section] = entry;
        let response = webhook.ask("/validate", &object).await;
        assert!(!outcome(&response).0, "{section}");
    }
    let mut connection = webhook.connect().await;
    let mut ask = async |operation: &str, new: &Value, old: &Value| {
        let review = review(operation, new, old).to_string();
        let response = connection
            .send(Method::POST, "/validate", &[], review)
            .await;
        answer(&response.unwrap())
    };
    let (admitted, other) = (pod(&bad), pod(&good));
    let mut labelled = admitted.clone();
    labelled["metadata"]["labels"] = json!({"a": "b"});
    shop.registry.take_requests();
    assert!(outcome(&ask("UPDATE", &labelled, &admitted).await).0);
    assert!(outcome(&ask("DELETE", &Value::Null, &admitted).await).0);
    assert_eq!(shop.registry.take_requests(), [] as [&str; 0]);
    assert!(outcome(&ask("UPDATE", &other, &admitted).await).0);
    assert!(!outcome(&ask("UPDATE", &admitted, &other).await).0);
}

#[tokio::test]
async fn the_policy_for_the_image_and_its_namespace_holds() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let host = shop.registry.host();
    let web = shop.push("shop/web", "1");
    let lab = shop.push("lab/web", "1");
    shop.sign(&lab);
    shop.policy(
        "lab",
        &format!("images = [\"{host}/lab/**\"]\nnamespaces = [\"lab\"]"),
    );
    let webhook = shop.webhook(&[]);
    // No policy is about it in the namespace `shop`, and no registry has to be asked for that.
    let response = webhook.ask("/validate", &pod(&shop.name(&lab, None))).await;
    let (allowed, message) = outcome(&response);
    assert!(!allowed);
    assert_eq!(response["status"]["code"], 403);
    assert!(
        message.contains("no policy is for it in namespace `shop`"),
        "{message}"
    );
    assert_eq!(shop.registry.take_requests(), [] as [&str; 0]);
    let lenient = shop.webhook(&["--no-match", "warn", "--mode", "warn"]);
    for (image, word) in [(&lab, "no policy"), (&web, "is rejected")] {
        let response = lenient
            .ask("/validate", &pod(&shop.name(image, None)))
            .await;
        assert_eq!(outcome(&response), (true, ""));
        let warning = response["warnings"][0].as_str().unwrap();
        assert!(warning.contains(word), "{warning}");
    }
}

#[tokio::test]
async fn the_same_verdict_is_had_without_kubernetes() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let good = shop.push("shop/good", "1");
    shop.sign(&good);
    let bad = shop.push("shop/bad", "1");
    let webhook = shop.webhook(&[]);
    let mut connection = webhook.connect().await;
    let images = [
        shop.name(&good, None),
        shop.name(&bad, None),
        "oci:/etc".to_owned(),
    ];
    let question = json!({"images": images, "namespace": "shop"}).to_string();
    let response = connection
        .send(Method::POST, "/v1/verify", &[], question)
        .await
        .unwrap();
    assert_eq!(response.status, 200);
    let said = response.json();
    assert_eq!(said["accepted"], false);
    let verdicts: Vec<_> = (0..3)
        .map(|it| said["images"][it]["verdict"].as_str().unwrap())
        .collect();
    assert_eq!(verdicts, ["accepted", "rejected", "rejected"]);
    for bad in [
        "",
        "{}",
        r#"{"images":"x"}"#,
        r#"{"images":[],"namespaces":"x"}"#,
    ] {
        let response = connection
            .send(Method::POST, "/v1/verify", &[], bad)
            .await
            .unwrap();
        assert_eq!(response.status, 400, "{bad}");
    }
}
