//! Answers that no registry should give: nothing of them is believed that can be checked, and none of
//! them holds us up for ever.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use oci::auth::{Credential, Credentials};
use oci::store::RegistryOptions;
use oci::{Content, Digest, Limits, MediaType, Selector, Store as _, StoreError, Upload};
use testkit::registry::{Fault, FaultKind, Login, Switches, TestRegistry};
use testkit::{Reply, Scripted, free_port};

use super::{
    blob, content, count, manifest, quick, read, resolve, scripted, soon, store_at, text_of,
};

/// Options that read little, and wait for little.
fn strict() -> RegistryOptions {
    RegistryOptions {
        limits: Limits {
            manifest_bytes: 1000,
            ..Limits::default()
        },
        silence_timeout: Duration::from_secs(5),
        document_timeout: Duration::from_millis(300),
        ..quick()
    }
}

fn is_malformed<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    let error = result.unwrap_err();
    let is_one = matches!(
        error,
        StoreError::Malformed { .. } | StoreError::NoRegistry { .. }
    );
    assert!(is_one, "{error:?}");
    error.to_string()
}

fn is_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    text_of(&error)
}

#[tokio::test]
async fn redirects_are_counted() {
    let (server, store) = scripted(quick(), |asked| {
        let path = asked.line.trim_start_matches("GET ");
        Reply::new(307).header(format!("Location: {path}")).body("")
    });
    let text = is_malformed(soon(read(&store, &blob(&content(10)))).await);
    assert!(text.contains("redirects"), "{text}");
    assert_eq!(server.lines().len(), 6);
}

#[tokio::test]
async fn a_redirect_to_nowhere_is_an_answer_like_others() {
    let (server, store) = scripted(quick(), |_| Reply::new(304));
    let text = is_unavailable(read(&store, &blob(&content(10))).await);
    assert!(text.contains("304 Not Modified"), "{text}");
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn what_is_written_goes_nowhere_else() {
    let other = Scripted::start(|_| Reply::new(201).body(""));
    let elsewhere = format!("Location: http://{}/elsewhere", other.host());
    for status in [301, 302, 303] {
        let location = elsewhere.clone();
        let (server, store) = scripted(quick(), move |_| {
            Reply::new(status).header(&location).body("")
        });
        let (target, document) = manifest(&blob(&content(10)), None, "application/x.a");
        is_malformed(store.push_manifest(&target, document).await);
        assert_eq!(server.lines().len(), 1);
    }
    // It was sent, and cannot be sent again.
    let (server, store) = scripted(quick(), move |asked| match asked.line.split(' ').next() {
        Some("HEAD") => Reply::new(404).body(""),
        Some("POST") => Reply::new(202)
            .header("Location: /v2/team/app/blobs/uploads/1")
            .body(""),
        _ => Reply::new(307).header(&elsewhere).body(""),
    });
    let large = content(3 << 20);
    let chunk = futures_util::stream::iter([Ok(large.clone())]);
    let upload = Upload::Stream(Content::new(chunk));
    is_malformed(store.push_blob(&blob(&large), upload).await);
    assert_eq!(server.lines().len(), 3);
    assert_eq!(other.lines(), [""; 0]);
}

#[tokio::test]
async fn a_place_that_is_not_secure_is_not_asked() {
    for status in [200, 202] {
        let (server, store) = scripted(quick(), move |asked| match asked.line.split(' ').next() {
            Some("HEAD") => Reply::new(404).body(""),
            Some("POST") => Reply::new(202)
                .header("Location: http://elsewhere.example/upload")
                .body(""),
            _ => Reply::new(302)
                .header("Location: http://elsewhere.example/blob")
                .body(""),
        });
        let small = content(10);
        let text = if status == 200 {
            is_malformed(read(&store, &blob(&small)).await)
        } else {
            let upload = Upload::Bytes(small.clone());
            is_malformed(store.push_blob(&blob(&small), upload).await)
        };
        assert!(text.contains("not secure"), "{text}");
        assert!(server.lines().len() <= 2);
    }
}

#[tokio::test]
async fn an_upload_without_an_address_is_no_upload() {
    let (_server, store) = scripted(quick(), |asked| match asked.line.split(' ').next() {
        Some("HEAD") => Reply::new(404).body(""),
        _ => Reply::new(202).body(""),
    });
    let small = content(10);
    let text = is_malformed(
        store
            .push_blob(&blob(&small), Upload::Bytes(small.clone()))
            .await,
    );
    assert!(text.contains("Location"), "{text}");
}

#[tokio::test]
async fn only_the_registry_says_how_to_log_in() {
    let other = Scripted::start(|asked| {
        let host = &asked.headers["host"];
        Reply::new(401)
            .header(format!(
                "WWW-Authenticate: Bearer realm=\"http://{host}/token\""
            ))
            .body("")
    });
    let registry = TestRegistry::start(Switches {
        login: Login::Basic {
            username: "me",
            password: "hunter2",
        },
        ..Switches::default()
    });
    let credentials =
        Credentials::default().with(&registry.host(), Credential::basic("me", "hunter2"));
    let options = RegistryOptions {
        credentials,
        ..quick()
    };
    let store = store_at(&registry.host(), options);
    let small = content(10);
    registry.put_blob("team/app", small.clone());
    // It asks who we are before it sends us on.
    read(&store, &blob(&small)).await.unwrap();
    registry.set(|it| it.elsewhere = Some(format!("http://{}", other.host())));
    let error = read(&store, &blob(&small)).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    let asked = other.asked();
    assert_eq!(asked.len(), 1);
    assert!(!asked[0].headers.contains_key("authorization"));
    // What it said is not taken for the registry's word.
    registry.set(|it| it.elsewhere = None);
    read(&store, &blob(&small)).await.unwrap();
}

#[tokio::test]
async fn an_address_that_gives_access_is_not_shown() {
    let down = free_port();
    let (_server, store) = scripted(quick(), move |_| {
        Reply::new(307)
            .header(format!(
                "Location: http://127.0.0.1:{down}/blob?signature=hunter2"
            ))
            .body("")
    });
    let text = is_unavailable(read(&store, &blob(&content(10))).await);
    assert!(!text.contains("hunter2"), "{text}");
}

/// A download of 100 bytes that breaks off in the middle, and is answered so when it goes on.
fn broken_download(
    again: Reply,
    options: RegistryOptions,
) -> (Scripted, oci::store::RegistryStore, Bytes) {
    let all = content(100);
    let whole = all.clone();
    let (server, store) = scripted(options, move |asked| {
        if asked.headers.contains_key("range") {
            return again.clone();
        }
        Reply::new(200)
            .header("Content-Length: 100")
            .unsized_body(whole.slice(..50))
    });
    (server, store, all)
}

#[tokio::test]
async fn a_part_that_is_not_the_one_asked_for_is_not_taken() {
    let part = |range: &str| Reply::new(206).header(range).body(content(100).slice(50..));
    let right = part("Content-Range: bytes 50-99/100");
    let (server, store, all) = broken_download(right, quick());
    assert_eq!(read(&store, &blob(&all)).await.unwrap(), all);
    let ranges = |server: &Scripted| -> Vec<Option<String>> {
        let asked = server.asked().into_iter();
        asked.map(|it| it.headers.get("range").cloned()).collect()
    };
    assert_eq!(ranges(&server), [None, Some("bytes=50-".to_owned())]);
    for wrong in [
        part("Content-Range: bytes 0-49/100"),
        part("Content-Range: items 50-99/100"),
        part("X-Nothing: 1"),
        Reply::new(416).body(""),
    ] {
        let (server, store, all) = broken_download(wrong, quick());
        // It is asked for the whole, which breaks off each time.
        is_unavailable(soon(read(&store, &blob(&all))).await);
        let ranges = ranges(&server);
        assert_eq!(ranges.iter().flatten().count(), 1, "{ranges:?}");
        assert_eq!(ranges.len(), 5, "{ranges:?}");
    }
}

#[tokio::test]
async fn a_part_is_not_taken_where_the_whole_was_asked_for() {
    let (_server, store) = scripted(quick(), |_| {
        Reply::new(206)
            .header("Content-Range: bytes 0-9/10")
            .body(content(10))
    });
    is_unavailable(read(&store, &blob(&content(10))).await);
}

#[tokio::test]
async fn a_download_that_is_said_to_be_another_is_not_begun() {
    let (_server, store) = scripted(quick(), |_| {
        Reply::new(200).header("Content-Length: 11").then_silence()
    });
    let error = soon(store.fetch(&blob(&content(10)))).await.unwrap_err();
    assert!(
        matches!(error, StoreError::SizeMismatch { presented: 11, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_download_that_gets_on_is_not_given_up() {
    let (registry, store) = super::registry(Switches::default());
    let content = content(6 << 20);
    registry.put_blob("team/app", content.clone());
    let drop = Fault::first(5, "GET", FaultKind::Drop((1 << 20) + 10));
    registry.set(|it| it.faults = vec![drop]);
    assert_eq!(read(&store, &blob(&content)).await.unwrap(), content);
    assert_eq!(registry.take_requests().len(), 6);
}

#[tokio::test]
async fn a_document_that_is_too_large_is_not_read() {
    let (target, document) = manifest(&blob(&content(10)), None, "application/x.a");
    let page = format!(r#"{{"manifests":[],"tags":[],"x":"{}"}}"#, "x".repeat(1000));
    let media_type = format!("Content-Type: {}", MediaType::IMAGE_INDEX);
    for reply in [
        Reply::new(200).unsized_body(page.clone()),
        Reply::new(200)
            .header("Content-Length: 1000000000")
            .then_silence(),
        Reply::new(201).unsized_body(page.clone()),
    ] {
        let reply = reply.header(&media_type);
        let (server, store) = scripted(strict(), move |_| reply.clone());
        let texts = [
            is_unavailable(soon(read(&store, &target)).await),
            is_unavailable(soon(store.tags()).await),
            is_unavailable(soon(store.referrers(&target.digest)).await),
            is_unavailable(soon(store.push_manifest(&target, document.clone())).await),
        ];
        for text in texts {
            assert!(text.contains("larger than 1000 bytes"), "{text}");
        }
        assert_eq!(server.lines().len(), 4);
    }
}

#[tokio::test]
async fn a_document_that_does_not_end_is_given_up() {
    let (target, _) = manifest(&blob(&content(10)), None, "application/x.a");
    let (server, store) = scripted(strict(), |_| Reply::new(200).then_trickle());
    let text = is_unavailable(soon(read(&store, &target)).await);
    assert!(text.contains("took too long"), "{text}");
    assert_eq!(server.lines().len(), 1);
    // Nor does one that says no.
    let (server, store) = scripted(strict(), |_| Reply::new(403).then_trickle());
    let error = soon(read(&store, &blob(&content(10)))).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_document_that_breaks_off_is_asked_for_again_for_a_while() {
    let (target, _) = manifest(&blob(&content(10)), None, "application/x.a");
    let (server, store) = scripted(strict(), |_| {
        Reply::new(200)
            .header("Content-Length: 100")
            .unsized_body("{")
    });
    is_unavailable(soon(read(&store, &target)).await);
    assert_eq!(server.lines().len(), 4);
}

#[tokio::test]
async fn a_long_refusal_is_not_read() {
    let message = "no".repeat(100 << 10);
    let body = format!(r#"{{"errors":[{{"code":"DENIED","message":"{message}"}}]}}"#);
    let (_server, store) = scripted(strict(), move |_| Reply::new(403).body(body.clone()));
    let error = read(&store, &blob(&content(10))).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    assert!(!text_of(&error).contains("DENIED"), "{error:?}");
}

#[tokio::test]
async fn a_tag_names_a_manifest_and_nothing_else() {
    let (target, document) = manifest(&blob(&content(10)), None, "application/x.a");
    let digest = format!("Docker-Content-Digest: {}", target.digest);
    let expected = target.clone();
    // What HEAD says is no manifest, may be one all the same.
    let (server, store) = scripted(quick(), move |asked| {
        let reply = Reply::new(200).header(&digest);
        if asked.line.starts_with("HEAD") {
            return reply
                .header("Content-Type: text/html")
                .header("Content-Length: 7");
        }
        reply
            .header(format!("Content-Type: {}", MediaType::IMAGE_MANIFEST))
            .body(document.to_vec())
    });
    assert_eq!(resolve(&store, "v1").await.unwrap(), expected);
    assert_eq!(server.lines().len(), 1);

    let (_server, store) = scripted(quick(), |asked| {
        let reply = Reply::new(200).header("Content-Type: text/html");
        if asked.line.starts_with("HEAD") {
            reply.header("Content-Length: 2")
        } else {
            reply.body("{}")
        }
    });
    is_malformed(resolve(&store, "v1").await);
}

#[tokio::test]
async fn a_web_page_is_named_as_what_it_is() {
    let (_server, store) = scripted(quick(), |asked| {
        let reply = Reply::new(200).header("Content-Type: text/html; charset=utf-8");
        if asked.line.starts_with("HEAD") {
            reply.header("Content-Length: 18")
        } else {
            reply.body("<title>hi</title>\n")
        }
    });
    let (target, _) = manifest(&blob(&content(10)), None, "application/x.a");
    let by_digest = store.fetch(&target).await.map(|_| ());
    for said in [
        resolve(&store, "v1").await.unwrap_err().to_string(),
        by_digest.unwrap_err().to_string(),
        store.tags().await.unwrap_err().to_string(),
    ] {
        let expected = "did not answer as a registry: text/html instead of a ";
        assert!(said.contains(expected), "{said}");
    }
}

/// What is behind a proxy is there under another path, and token servers move.
#[tokio::test]
async fn what_a_registry_asks_for_is_asked_of_the_token_server_wherever_that_sends_us() {
    for status in [302, 307] {
        let (target, document) = manifest(&blob(&content(10)), None, "application/x.a");
        let (server, store) = scripted(quick(), move |asked| {
            if asked.line.starts_with("GET /token") {
                let location = asked.line.replace("GET /token", "Location: /moved");
                return Reply::new(status).header(location).body("");
            }
            if asked.line.starts_with("GET /moved") {
                return Reply::new(200).body(r#"{"token":"good"}"#);
            }
            if asked.headers.contains_key("authorization") {
                return Reply::new(200)
                    .header(format!("Content-Type: {}", MediaType::IMAGE_MANIFEST))
                    .body(document.to_vec());
            }
            let challenge =
                r#"Bearer realm="/token" service=s; scope="repository:tenant/app:pull""#;
            Reply::new(401)
                .header(format!("WWW-Authenticate: {challenge}"))
                .body("")
        });
        assert_eq!(resolve(&store, "v1").await.unwrap(), target);
        let lines = server.lines();
        let asked = "GET /moved?service=s&scope=repository%3Ateam%2Fapp%3Apull&scope=repository%3Atenant%2Fapp%3Apull";
        assert!(lines.iter().any(|it| it == asked), "{lines:?}");
        // The token serves what comes next, too.
        resolve(&store, "v1").await.unwrap();
        assert_eq!(server.lines().len(), lines.len() + 1);
    }
    // Elsewhere it does not lead.
    let (server, store) = scripted(quick(), |asked| {
        if asked.line.starts_with("GET /token") {
            return Reply::new(307)
                .header("Location: http://localhost:1/token")
                .body("");
        }
        Reply::new(401)
            .header("WWW-Authenticate: Bearer realm=\"/token\"")
            .body("")
    });
    let text = is_unavailable(resolve(&store, "v1").await);
    assert!(text.contains("307 Temporary Redirect"), "{text}");
    // Whether it lets in who has no token is asked, too.
    assert_eq!(server.lines().len(), 3);
}

#[tokio::test]
async fn the_first_form_of_images_is_named_as_what_it_is() {
    let (_server, store) = scripted(quick(), |_| {
        Reply::new(200)
            .header("Content-Type: application/vnd.docker.distribution.manifest.v1+prettyjws")
            .body(r#"{"schemaVersion":1,"name":"app","fsLayers":[]}"#)
    });
    let said = is_malformed(resolve(&store, "v1").await);
    let expected = "`v1` is a Docker schema 1 manifest, which is not supported";
    assert!(said.contains(expected), "{said}");
}

#[tokio::test]
async fn a_list_of_tags_may_have_what_is_none() {
    let (_server, store) = scripted(quick(), |_| {
        Reply::new(200).body(b"{\"tags\":[null,\"v1\",\"\xff\"]}".to_vec())
    });
    assert_eq!(store.tags().await.unwrap(), ["v1".parse().unwrap()]);
}

#[tokio::test]
async fn a_manifest_that_is_read_by_tag_has_the_digest_of_its_bytes() {
    let (target, document) = manifest(&blob(&content(10)), None, "application/x.a");
    let (_server, store) = scripted(quick(), move |asked| {
        if asked.line.starts_with("HEAD") {
            return Reply::new(405).body("");
        }
        Reply::new(200)
            .header(format!("Content-Type: {}", MediaType::IMAGE_MANIFEST))
            .header(format!("Docker-Content-Digest: {}", Digest::of(b"other")))
            .body(document.to_vec())
    });
    assert_eq!(resolve(&store, "v1").await.unwrap(), target);
}

#[tokio::test]
async fn what_is_no_list_of_tags_is_not_taken_for_an_empty_one() {
    for body in ["", "[]", r#"{"tags":["v1""#, r#"{"tags":{}}"#] {
        let (_server, store) = scripted(quick(), move |_| Reply::new(200).body(body));
        is_malformed(store.tags().await);
    }
}

#[tokio::test]
async fn what_a_registry_echoes_is_not_shown() {
    let credentials =
        |host: &str| Credentials::default().with(host, Credential::basic("me", "hunter2"));
    let (target, document) = manifest(&blob(&content(10)), None, "application/x.a");
    for status in [403, 404] {
        let server = Scripted::start(move |asked| match asked.headers.get("authorization") {
            Some(sent) => Reply::new(status).body(format!("{sent} of me:hunter2 may not")),
            None => Reply::new(401)
                .header("WWW-Authenticate: Basic realm=\"test\"")
                .body(""),
        });
        let options = RegistryOptions {
            credentials: credentials(&server.host()),
            ..quick()
        };
        let store = store_at(&server.host(), options);
        let pushed = store.push_manifest(&target, document.clone()).await;
        let text = text_of(&pushed.unwrap_err());
        assert!(text.contains("may not"), "{text}");
        for secret in ["hunter2", "bWU6aHVudGVyMg=="] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[tokio::test]
async fn a_manifest_by_digest_is_checked_where_head_tells_nothing() {
    let (registry, store) = super::registry(Switches::default());
    let image = super::push_image(&store).await;
    registry.set(|it| {
        it.no_head = true;
        it.wrong_content = true;
    });
    let selector = Selector::Digest(image.digest.clone());
    assert!(matches!(
        store.resolve(&selector).await,
        Err(StoreError::DigestMismatch { .. })
    ));
}

#[tokio::test]
async fn a_link_that_is_no_text_is_no_end_of_a_listing() {
    let asked = AtomicUsize::new(0);
    let (_server, store) = scripted(quick(), move |_| {
        let reply = Reply::new(200);
        match asked.fetch_add(1, Ordering::Relaxed) {
            0 => reply
                .header("Link: </é>; rel=\"next\"")
                .body(r#"{"tags":["v1"]}"#),
            _ => reply.body(r#"{"tags":["v2"]}"#),
        }
    });
    assert_eq!(store.tags().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_registry_that_does_not_say_how_to_log_in_is_asked_once() {
    let (server, store) = scripted(quick(), |_| Reply::new(401).body(""));
    let error = read(&store, &blob(&content(10))).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }), "{error:?}");
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn tls_is_tried_before_the_first_answer_and_never_after() {
    let (server, store) = scripted(quick(), |asked| match asked.line.as_str() {
        "GET /v2/" => Reply::new(200).body("{}"),
        _ => Reply::none(),
    });
    store.ping().await.unwrap();
    is_unavailable(read(&store, &blob(&content(10))).await);
    let lines = server.lines();
    assert_eq!(count(&lines, "TLS"), 0, "{lines:?}");
    assert_eq!(count(&lines, "/blobs/"), 4, "{lines:?}");

    let (server, store) = scripted(quick(), |_| Reply::none());
    is_unavailable(store.ping().await);
    assert!(count(&server.lines(), "TLS") > 0);
    // That something was wrong with a request, is an answer to it.
    let (server, store) = scripted(quick(), |_| Reply::new(400).body(""));
    store.ping().await.unwrap_err();
    assert_eq!(server.lines(), ["GET /v2/"]);
}
