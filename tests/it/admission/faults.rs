//! A registry that is down, slow, throttles, pages, or is full of what strangers attached.

use std::time::Duration;

use testkit::registry::{Fault, FaultKind, Switches};
use testkit::{Webhook, free_port};
use tokio::time::Instant;

use super::{Shop, outcome, pod};

/// The answer, and how long it took.
async fn timed(webhook: &Webhook, path: &str, image: &str) -> (serde_json::Value, Duration) {
    let started = Instant::now();
    let response = webhook.ask(path, &pod(image)).await;
    (response, started.elapsed())
}

/// Not knowing: said as that, and never as a rejection.
#[track_caller]
fn assert_undecided(response: &serde_json::Value) -> &str {
    let (allowed, message) = outcome(response);
    assert!(!allowed, "{response}");
    assert_eq!(response["status"]["code"], 503, "{message}");
    assert!(
        message.starts_with("could not decide about image"),
        "{message}"
    );
    assert!(!message.contains("is rejected"), "{message}");
    message
}

#[tokio::test]
async fn a_registry_that_is_down_is_said_to_be_that() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let nobody = format!("127.0.0.1:{}", free_port());
    shop.policy("nobody", &format!("images = [\"{nobody}/**\"]"));
    let webhook = shop.webhook(&[]);
    let image = format!("{nobody}/web:1");
    let (response, took) = timed(&webhook, "/validate?timeout=2s", &image).await;
    let message = assert_undecided(&response);
    assert!(message.contains(&nobody), "{message}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    let lenient = shop.webhook(&["--undecided", "warn"]);
    let (response, _) = timed(&lenient, "/validate?timeout=1s", &image).await;
    assert_eq!(outcome(&response), (true, ""));
    assert_eq!(response["auditAnnotations"]["verdict"], "undecided");
    assert!(
        response["warnings"][0]
            .as_str()
            .unwrap()
            .starts_with("could not decide")
    );
}

#[tokio::test]
async fn a_slow_registry_is_not_waited_for_too_long_and_the_next_try_finds_the_answer() {
    let slow = |on| Fault::first(1, on, FaultKind::Slow(Duration::from_millis(1500)));
    for on in ["/referrers/", "/manifests/"] {
        let Some(shop) = Shop::open(Switches::default()) else {
            return;
        };
        let image = shop.push("shop/web", "1");
        shop.sign(&image);
        shop.registry.set(|it| it.faults = vec![slow(on)]);
        let webhook = shop.webhook(&[]);
        let name = shop.name(&image, Some("1"));
        let (response, took) = timed(&webhook, "/validate?timeout=1s", &name).await;
        assert_undecided(&response);
        assert!(took < Duration::from_secs(1), "{on}: {took:?}");
        // The work went on meanwhile.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let (response, _) = timed(&webhook, "/validate?timeout=1s", &name).await;
        assert_eq!(outcome(&response), (true, ""), "{on}");
    }
}

#[tokio::test]
async fn throttling_is_waited_for_within_the_time_and_else_said() {
    let throttled = |after: &'static str| {
        let kind = FaultKind::Status(429, Some(after));
        Fault::first(1, "/referrers/", kind)
    };
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let image = shop.push("shop/web", "1");
    shop.sign(&image);
    shop.registry.set(|it| it.faults = vec![throttled("1")]);
    let webhook = shop.webhook(&[]);
    let name = shop.name(&image, None);
    let (response, took) = timed(&webhook, "/validate?timeout=5s", &name).await;
    assert_eq!(outcome(&response), (true, ""));
    assert!(took >= Duration::from_secs(1), "{took:?}");
    // Longer than there is time: said at once, with the time, and not as a rejection.
    let webhook = shop.webhook(&[]);
    shop.registry.set(|it| it.faults = vec![throttled("50")]);
    let (response, took) = timed(&webhook, "/validate?timeout=10s", &name).await;
    let message = assert_undecided(&response);
    let said = format!("throttled by `{}` until 2", shop.registry.host());
    assert!(message.contains(&said), "{message}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    // Meanwhile the registry is left alone.
    shop.registry.take_requests();
    let (response, took) = timed(&webhook, "/validate?timeout=10s", &name).await;
    assert_undecided(&response);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(shop.registry.take_requests(), [] as [&str; 0]);
}

#[tokio::test]
async fn a_registry_that_fails_is_not_a_rejection() {
    for kind in [
        FaultKind::Status(500, None),
        FaultKind::Status(401, None),
        FaultKind::Status(403, None),
        FaultKind::Drop(10),
        FaultKind::Lost,
    ] {
        let Some(shop) = Shop::open(Switches::default()) else {
            return;
        };
        let image = shop.push("shop/web", "1");
        let fault = Fault::first(100, "/referrers/", kind.clone());
        shop.registry.set(|it| it.faults = vec![fault]);
        let webhook = shop.webhook(&[]);
        let (response, took) =
            timed(&webhook, "/validate?timeout=2s", &shop.name(&image, None)).await;
        assert_undecided(&response);
        assert!(took < Duration::from_secs(2), "{kind:?}: {took:?}");
    }
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let image = shop.push("shop/web", "1");
    shop.sign(&image);
    shop.registry.set(|it| it.wrong_content = true);
    let webhook = shop.webhook(&[]);
    let (response, _) = timed(
        &webhook,
        "/validate?timeout=3s",
        &shop.name(&image, Some("1")),
    )
    .await;
    assert!(!outcome(&response).0);
}

#[tokio::test]
async fn a_listing_is_read_to_its_last_page() {
    let Some(shop) = Shop::open(Switches {
        page_size: Some(3),
        ..Switches::default()
    }) else {
        return;
    };
    let image = shop.push("shop/web", "1");
    shop.strangers(&image, 20);
    shop.sign(&image);
    let webhook = shop.webhook(&[]);
    let name = shop.name(&image, None);
    let (response, _) = timed(&webhook, "/validate?timeout=10s", &name).await;
    assert_eq!(outcome(&response), (true, ""));
    // Without the API for it, by the tag where others keep their lists.
    let endless = shop.push("shop/endless", "1");
    shop.strangers(&endless, 4);
    shop.registry.set(|it| it.endless_pages = true);
    let (response, took) =
        timed(&webhook, "/validate?timeout=2s", &shop.name(&endless, None)).await;
    assert_undecided(&response);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn strangers_do_not_keep_a_good_image_out() {
    let Some(shop) = Shop::open(Switches::default()) else {
        return;
    };
    let image = shop.push("shop/web", "1");
    shop.strangers(&image, 400);
    shop.sign(&image);
    let unsigned = shop.push("shop/other", "1");
    shop.strangers(&unsigned, 400);
    let webhook = shop.webhook(&["--time-limit", "60"]);
    let (response, _) = timed(&webhook, "/validate", &shop.name(&image, None)).await;
    assert_eq!(outcome(&response), (true, ""));
    let (response, _) = timed(&webhook, "/validate", &shop.name(&unsigned, None)).await;
    let (allowed, message) = outcome(&response);
    assert!(!allowed);
    assert_eq!(response["status"]["code"], 403, "{message}");
    assert!(message.len() < 4096, "{message}");
    shop.registry.take_requests();
    let (response, _) = timed(&webhook, "/validate", &shop.name(&image, None)).await;
    assert_eq!(outcome(&response), (true, ""));
    assert_eq!(shop.registry.take_requests(), [] as [&str; 0]);
}
