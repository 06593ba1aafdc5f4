//! What is asked of a server of HTTP: protocols, limits, nonsense, its end.

use std::time::Duration;

use hyper::Method;
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use testkit::registry::{Fault, FaultKind, Switches};
use testkit::{Https, answer, review};
use tokio::time::Instant;

use super::{Shop, outcome, pod};

#[tokio::test]
async fn both_protocols_are_spoken_and_health_is_told() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let webhook = shop.webhook(&[]);
    for version_2 in [false, true] {
        let connected = Https::connect(webhook.address(), &shop.certificates.ca(), version_2).await;
        let mut connection = connected.unwrap();
        for (method, path, status) in [
            (Method::GET, "/healthz", 200),
            (Method::GET, "/readyz", 200),
            (Method::GET, "/metrics", 200),
            (Method::GET, "/validate", 405),
            (Method::POST, "/readyz", 405),
            (Method::GET, "/", 404),
        ] {
            let response = connection.send(method, path, &[], "").await.unwrap();
            assert_eq!(response.status, status, "{path}");
        }
        let review = review(
            "CREATE",
            &json!({"apiVersion": "v1", "kind": "Pod", "spec": {}}),
            &Value::Null,
        );
        let response = connection
            .send(
                Method::POST,
                "/validate?timeout=10s",
                &[],
                review.to_string(),
            )
            .await;
        assert!(outcome(&answer(&response.unwrap())).0);
    }
    assert_eq!(webhook.health("/readyz").unwrap().0, 200);
    // Without TLS nothing is decided.
    assert_eq!(webhook.health("/validate").unwrap().0, 404);
    let name =
        "sealpack_answers_total{path=\"validate\",operation=\"CREATE\",verdict=\"no-images\"}";
    assert_eq!(webhook.figure(name), Some(2.0));
}

#[tokio::test]
async fn nonsense_is_denied_with_a_reason() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let webhook = shop.webhook(&[]);
    let mut connection = webhook.connect().await;
    let mut send = async |body: String| {
        connection
            .send(Method::POST, "/validate", &[], body)
            .await
            .unwrap()
    };
    for body in ["", "{", "[]", "null", "{\"kind\":\"AdmissionReview\"}"] {
        assert_eq!(send(body.to_owned()).await.status, 400, "{body}");
    }
    // What has a uid has an answer.
    for object in [
        json!([]),
        json!("x"),
        json!({"kind": "Pod", "spec": {"containers": 7}}),
    ] {
        let response = answer(&send(review("CREATE", &object, &Value::Null).to_string()).await);
        let (allowed, message) = outcome(&response);
        assert!(!allowed);
        assert_eq!(response["status"]["code"], 403);
        assert!(
            message.starts_with("the request was not understood: ")
                || message.contains("no policy"),
            "{message}"
        );
    }
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let nested = review(
        "CREATE",
        &json!({"kind": "Pod", "spec": "DEEP"}),
        &Value::Null,
    )
    .to_string()
    .replace("\"DEEP\"", &deep);
    assert!(!outcome(&answer(&send(nested).await)).0);
    // A pod as large as API servers take, twice, is read; what is larger than any is not.
    let mut large = pod("oci:/etc");
    large["metadata"]["annotations"] = json!({"x": "y".repeat(3 << 20)});
    let update = review("UPDATE", &large, &large).to_string();
    assert!(update.len() > 6 << 20);
    assert!(outcome(&answer(&send(update).await)).0);
    let response = send(" ".repeat((8 << 20) + 1)).await;
    assert_eq!(response.status, 413);
}

#[tokio::test]
async fn a_server_that_is_told_to_end_ends_what_is_in_flight() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let image = shop.push("shop/web", "1");
    shop.sign(&image);
    let slow = FaultKind::Slow(Duration::from_millis(1500));
    shop.registry
        .set(|it| it.faults = vec![Fault::first(1, "/referrers/", slow)]);
    let mut webhook = shop.webhook(&["--lame-duck", "0.5"]);
    let object = pod(&shop.name(&image, None));
    let in_flight = webhook.ask("/validate?timeout=10s", &object);
    let ended = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        webhook.signal(Signal::SIGTERM);
        webhook.wait_for("it is not ready", |it| {
            it.health("/readyz").is_some_and(|it| it.0 == 503)
        });
        // Whoever has not heard of it is answered still.
        let late = webhook.ask("/validate", &pod("oci:/etc")).await;
        assert!(!outcome(&late).0);
    };
    let (response, ()) = tokio::join!(in_flight, ended);
    assert_eq!(outcome(&response), (true, ""));
    assert_eq!(webhook.wait(), 0);
    assert_eq!(webhook.logged("ended").len(), 1);
    // Told twice, it does not wait.
    let mut webhook = shop.webhook(&["--lame-duck", "60"]);
    let started = Instant::now();
    webhook.signal(Signal::SIGTERM);
    webhook.wait_for("it was told", |it| !it.logged("told to end").is_empty());
    webhook.signal(Signal::SIGTERM);
    assert_eq!(webhook.wait(), 0);
    assert!(started.elapsed() < Duration::from_secs(10));
}
