//! By a real API server: it denies and admits by what we say, and the user reads why.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Value, json};
use testkit::registry::{Fault, FaultKind, Switches};
use testkit::{Kube, Output, Webhook};

use super::{Shop, deployment, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// The shop, an API server, and a webhook that it asks to validate and to mutate.
async fn cluster() -> Option<(Shop, Kube, Webhook)> {
    let shop = Shop::open(Switches::default())?;
    let kube = start(&shop).await?;
    let webhook = shop.webhook(&[]);
    let [mutate, validate] = ["mutate", "validate"].map(|it| format!("{}/{it}", webhook.url()));
    kube.register("mutating", "pin", &mutate, 5).await;
    kube.register("validating", "proof", &validate, 5).await;
    both_are_asked(&kube).await;
    Some((shop, kube, webhook))
}

async fn start(shop: &Shop) -> Option<Kube> {
    let folder = shop.workspace.join("kube");
    fs_err::create_dir(&folder).unwrap();
    Kube::start(&folder, &shop.certificates).await
}

/// A configuration takes a moment to be seen. Pods are asked about when they are mutated first, what
/// makes pods only when it is validated.
async fn both_are_asked(kube: &Kube) {
    for (path, object, name) in [
        (PODS, pod_in_default("probe", "oci:/etc"), "\"pin."),
        (DEPLOYMENTS, in_default("oci:/etc"), "\"proof."),
    ] {
        let path = format!("{path}?dryRun=All");
        let mut said = String::new();
        for _ in 0..100 {
            let (_, answer) = kube.request(Method::POST, &path, Some(&object)).await;
            said = answer["message"].as_str().unwrap_or("").to_owned();
            if said.contains(name) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert!(said.contains(name) && said.contains("malformed"), "{said}");
    }
}

fn in_default(image: &str) -> Value {
    let mut object = deployment(image);
    object["metadata"]["namespace"] = "default".into();
    object
}

fn pod_in_default(name: &str, image: &str) -> Value {
    let mut pod = pod(image);
    pod["metadata"] = json!({"name": name, "namespace": "default"});
    pod
}

#[tokio::test]
async fn an_api_server_admits_and_denies_by_what_is_proven() {
    let Some((shop, kube, webhook)) = cluster().await else {
        return;
    };
    let good = shop.push("shop/good", "1");
    shop.sign(&good);
    let bad = shop.push("shop/bad", "1");
    let by_tag = shop.name(&good, Some("1"));
    let pinned = format!("{by_tag}@{}", good.descriptor.digest);

    // A pod by tag becomes one by digest.
    let (status, made) = kube
        .request(Method::POST, PODS, Some(&pod_in_default("good", &by_tag)))
        .await;
    assert_eq!(status, 201, "{made}");
    assert_eq!(made["spec"]["containers"][0]["image"], pinned);

    // One that is not signed is not made, and the user reads why.
    let (status, denied) = kube
        .request(
            Method::POST,
            PODS,
            Some(&pod_in_default("bad", &shop.name(&bad, Some("1")))),
        )
        .await;
    assert_eq!(
        (status, denied["reason"].as_str()),
        (403, Some("Forbidden")),
        "{denied}"
    );
    let message = denied["message"].as_str().unwrap();
    for part in [
        "denied the request: image `",
        "/shop/bad:1` (container `web`) is rejected by policy `shop`: require: no signature by an accepted signer",
        "\n  to see the same: sealpack policy check ",
    ] {
        assert!(message.contains(part), "{message}");
    }

    // `kubectl debug` adds a container to a pod that runs.
    let ephemeral = |image: &str| {
        json!({"spec": {"ephemeralContainers": [
            {"name": "debug", "image": image, "targetContainerName": "web"},
        ]}})
    };
    let path = format!("{PODS}/good/ephemeralcontainers");
    let debug = ephemeral(&shop.name(&bad, None));
    let (status, answer) = kube.request(Method::PATCH, &path, Some(&debug)).await;
    assert_eq!(status, 403, "{answer}");
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("ephemeral container `debug`"),
        "{answer}"
    );
    let (status, answer) = kube
        .request(Method::PATCH, &path, Some(&ephemeral(&by_tag)))
        .await;
    assert_eq!(status, 200, "{answer}");

    // What makes pods is denied early, scaled freely, and deleted freely.
    let path = DEPLOYMENTS;
    let (status, answer) = kube
        .request(
            Method::POST,
            path,
            Some(&in_default(&shop.name(&bad, None))),
        )
        .await;
    assert_eq!(status, 403, "{answer}");
    let (status, answer) = kube
        .request(Method::POST, path, Some(&in_default(&by_tag)))
        .await;
    assert_eq!(status, 201, "{answer}");

    // From here on nothing is accepted, and all that changes no image goes on.
    shop.workspace.write(
        "policies/shop.toml",
        "images = [\"other.example/**\"]\n[[accept]]\nclaims = [\"signature\"]\nsigner = { key = \"release.pub\" }\n[[require]]\nclaim = \"signature\"\n",
    );
    webhook.wait_for("it was read", |it| !it.logged("reloaded").is_empty());
    let web = format!("{path}/web");
    for change in [
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"spec": {"replicas": 3}}),
    ] {
        let (status, answer) = kube.request(Method::PATCH, &web, Some(&change)).await;
        assert_eq!(status, 200, "{answer}");
    }
    let scale = json!({"spec": {"replicas": 2}});
    let (status, answer) = kube
        .request(Method::PATCH, &format!("{web}/scale"), Some(&scale))
        .await;
    assert_eq!(status, 200, "{answer}");
    let image = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "web", "image": "other.example/x:1"},
    ]}}}});
    let (status, answer) = kube.request(Method::PATCH, &web, Some(&image)).await;
    assert!(matches!(status, 403 | 503), "{answer}");
    for path in [web, format!("{PODS}/good?gracePeriodSeconds=0")] {
        let (status, answer) = kube.request(Method::DELETE, &path, None).await;
        assert_eq!(status, 200, "{answer}");
    }
}

#[tokio::test]
async fn an_api_server_is_told_in_time_that_it_could_not_be_decided() {
    let Some((shop, kube, webhook)) = cluster().await else {
        return;
    };
    let signed = |repository, tag| {
        let image = shop.push(repository, tag);
        shop.sign(&image);
        pod_in_default("web", &shop.name(&image, None))
    };
    let slow = FaultKind::Slow(std::time::Duration::from_secs(20));
    let throttled = FaultKind::Status(429, Some("55"));
    for (repository, kind, word) in [
        ("shop/slow", slow, "no answer within"),
        ("shop/throttled", throttled, "throttled by"),
    ] {
        let object = signed(repository, "1");
        let fault = Fault::first(1, "/referrers/", kind);
        shop.registry.set(|it| it.faults = vec![fault]);
        let (status, answer) = kube.request(Method::POST, PODS, Some(&object)).await;
        let message = answer["message"].as_str().unwrap();
        assert_eq!(status, 503, "{answer}");
        let said = "denied the request: could not decide about image";
        assert!(message.contains(said), "{message}");
        assert!(message.contains(word), "{message}");
    }
    // That it is not there is the one thing that it cannot say.
    drop(webhook);
    let object = signed("shop/web", "1");
    let (status, answer) = kube.request(Method::POST, PODS, Some(&object)).await;
    assert_eq!(status, 500, "{answer}");
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("failed calling webhook"), "{message}");
}

/// The manifest of the example, with addresses on this machine in place of a Service.
#[tokio::test]
async fn the_example_is_applied_and_denies() {
    let Some(kubectl) = testkit::peer("kubectl") else {
        return;
    };
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let Some(kube) = start(&shop).await else {
        return;
    };
    let example = testkit::repository().join("examples/admission");
    let policy = fs_err::read(example.join("policies/policy.toml")).unwrap();
    shop.workspace.write("policies/shop.toml", policy);
    let webhook = shop.webhook(&[]);
    let authority = STANDARD.encode(fs_err::read(shop.certificates.ca()).unwrap());
    let mut manifest = fs_err::read_to_string(example.join("webhook.yaml")).unwrap();
    for path in ["/mutate", "/validate"] {
        let service = format!("service: {{name: sealpack, namespace: sealpack, path: {path}}}");
        assert!(manifest.contains(&service));
        manifest = manifest.replace(&service, &format!("url: {}{path}", webhook.url()));
    }
    let manifest = manifest.replace("caBundle: \"\"", &format!("caBundle: {authority}"));
    let file = shop.workspace.write("webhook.yaml", manifest);
    let run = |arguments: &[&str]| {
        let mut command = shop.workspace.command(&kubectl);
        command
            .arg("--kubeconfig")
            .arg(kube.kubeconfig())
            .args(arguments);
        Output::of(&mut command)
    };
    let applied = run(&["apply", "-f", file.to_str().unwrap()]).expect(0);
    for made in [
        "namespace/sealpack created",
        "deployment.apps/sealpack created",
        "service/sealpack created",
        "mutatingwebhookconfiguration.admissionregistration.k8s.io/sealpack created",
        "validatingwebhookconfiguration.admissionregistration.k8s.io/sealpack created",
    ] {
        assert!(applied.stdout.contains(made), "{}", applied.stdout);
    }
    both_are_asked(&kube).await;
    let good = shop.push("any/good", "1");
    shop.sign(&good);
    let bad = shop.push("any/bad", "1");
    let image = |it| format!("--image={}", shop.name(it, Some("1")));
    run(&["run", "good", &image(&good)]).expect(0);
    let denied = run(&["run", "bad", &image(&bad)]).expect(1);
    assert!(
        denied.stderr.contains("is rejected by policy `shop`"),
        "{}",
        denied.stderr
    );
    // Its own namespace is left alone, or it could never start again.
    run(&["-n", "sealpack", "run", "bad", &image(&bad)]).expect(0);
}
