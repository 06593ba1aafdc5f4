//! TLS: whose certificate is checked, and who sees ours.

use std::net::TcpListener;
use std::time::Duration;

use oci::store::{ClientCertificate, RegistryOptions};
use oci::{Selector, Store as _, StoreError};
use testkit::{Certificates, Reply, Scripted, Workspace};

use super::{blob, content, count, quick, read, scripted, store_at, text_of};

/// Options that trust the authority of `certificates`.
fn trusting(certificates: &Certificates) -> RegistryOptions {
    let mut options = quick();
    options.trust.extra_roots = vec![fs_err::read(certificates.ca()).unwrap()];
    options
}

/// A certificate of our own, by the same authority.
fn certificate_of(certificates: &Certificates) -> ClientCertificate {
    ClientCertificate {
        chain: fs_err::read(certificates.certificate("client")).unwrap(),
        key: fs_err::read_to_string(certificates.key("client"))
            .unwrap()
            .into(),
    }
}

fn v1() -> Selector {
    Selector::Tag("v1".parse().unwrap())
}

/// `127.0.0.1:PORT` by its other name, which is another server for all that we know.
fn by_name(server: &Scripted) -> String {
    server.host().replace("127.0.0.1", "localhost")
}

#[tokio::test]
async fn our_certificate_is_shown_to_the_registry_alone() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let small = content(10);
    let body = small.to_vec();
    let elsewhere = Scripted::start_tls(&certificates, move |_| Reply::new(200).body(body.clone()));
    let tokens = Scripted::start_tls(&certificates, |_| {
        Reply::new(200).body(r#"{"token":"good"}"#)
    });
    let (realm, place) = (by_name(&tokens), by_name(&elsewhere));
    let registry = Scripted::start_tls(&certificates, move |asked| {
        if asked.headers.contains_key("authorization") {
            return Reply::new(307)
                .header(format!("Location: https://{place}/blob"))
                .body("");
        }
        Reply::new(401)
            .header(format!(
                "WWW-Authenticate: Bearer realm=\"https://{realm}/token\""
            ))
            .body("")
    });
    let mut options = trusting(&certificates);
    options.trust.client_certificate = Some(certificate_of(&certificates));
    let store = store_at(&registry.host(), options);
    assert_eq!(read(&store, &blob(&small)).await.unwrap(), small);
    let shown = |server: &Scripted| -> Vec<bool> {
        let asked = server.asked().into_iter().filter(|it| it.line != "TLS");
        asked.map(|it| it.certificate).collect()
    };
    // Asked for TLS by `GET /v2/`, and then for the blob.
    assert_eq!(shown(&registry), [true; 3]);
    assert_eq!(shown(&tokens), [false]);
    assert_eq!(shown(&elsewhere), [false]);
}

#[tokio::test]
async fn our_certificate_is_shown_to_a_registry_that_gives_out_tokens_itself() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let registry = Scripted::start_tls(&certificates, |asked| {
        if asked.line.contains("/token") {
            return Reply::new(200).body(r#"{"token":"good"}"#);
        }
        if asked.headers.contains_key("authorization") {
            return Reply::new(200).body("{}");
        }
        let realm = format!("https://{}/token", asked.headers["host"]);
        Reply::new(401)
            .header(format!("WWW-Authenticate: Bearer realm=\"{realm}\""))
            .body("")
    });
    let mut options = trusting(&certificates);
    options.trust.client_certificate = Some(certificate_of(&certificates));
    store_at(&registry.host(), options).ping().await.unwrap();
    let asked = registry.asked().into_iter().filter(|it| it.line != "TLS");
    let asked: Vec<_> = asked.collect();
    assert!(asked.iter().any(|it| it.line.contains("/token")));
    assert!(asked.iter().all(|it| it.certificate), "{asked:?}");
}

/// A loopback registry is tried by plain HTTP first, which says nothing where it speaks TLS.
#[tokio::test]
async fn a_certificate_of_nobody_we_know_is_what_is_said() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let server = Scripted::start_tls(&certificates, |_| Reply::new(200).body("{}"));
    let error = store_at(&server.host(), quick()).ping().await.unwrap_err();
    let text = text_of(&error);
    assert!(text.contains("certificate"), "{text}");
    assert!(!text.contains("broke off"), "{text}");
}

#[tokio::test]
async fn whoever_a_registry_names_has_to_be_who_he_says() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let answer = |_: &testkit::Asked| Reply::new(200).body(r#"{"token":"good"}"#);
    for is_realm in [true, false] {
        let other = Scripted::start_tls(&certificates, answer);
        let place = format!("https://{}/there", by_name(&other));
        let registry = move |_: &testkit::Asked| {
            if is_realm {
                let realm = format!("WWW-Authenticate: Bearer realm=\"{place}\"");
                return Reply::new(401).header(realm).body("");
            }
            Reply::new(307)
                .header(format!("Location: {place}"))
                .body("")
        };
        let (server, store) = scripted(quick(), registry.clone());
        let error = store.resolve(&v1()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
        assert!(text_of(&error).contains("certificate"), "{error:?}");
        // It stays who it is: there was one handshake, and no request.
        assert_eq!(other.lines(), ["TLS"], "{is_realm}");
        // Where there is no token, it is asked whether it lets in who has none.
        assert_eq!(count(&server.lines(), "GET"), 1 + usize::from(is_realm));

        // But for those of whom the user says that it does not matter; or whom one names of whom
        // it does not matter.
        for insecure in [by_name(&other), "127.0.0.1".to_owned()] {
            let before = count(&other.lines(), "/there");
            let (_server, store) = scripted(
                RegistryOptions {
                    insecure: vec![insecure],
                    ..quick()
                },
                registry.clone(),
            );
            // What it answers is no manifest.
            assert!(store.resolve(&v1()).await.is_err());
            assert_ne!(count(&other.lines(), "/there"), before);
        }
    }
}

#[tokio::test]
async fn nobody_but_the_registry_is_asked_whether_it_speaks_tls() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let elsewhere = Scripted::start(|_| Reply::none());
    let place = by_name(&elsewhere);
    let registry = Scripted::start_tls(&certificates, move |_| {
        Reply::new(307)
            .header(format!("Location: http://{place}/blob"))
            .body("")
    });
    let store = store_at(&registry.host(), trusting(&certificates));
    assert!(read(&store, &blob(&content(10))).await.is_err());
    let lines = elsewhere.lines();
    assert_ne!(count(&lines, "/blob"), 0, "{lines:?}");
    assert_eq!(count(&lines, "TLS"), 0, "{lines:?}");
}

#[tokio::test]
async fn a_proxy_that_speaks_tls_has_to_be_who_it_says() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let proxy = Scripted::start_tls(&certificates, |_| Reply::new(200).body("{}"));
    for (mut options, is_known) in [(quick(), false), (trusting(&certificates), true)] {
        options.insecure = vec!["registry.test".to_owned()];
        options.proxies.http = Some(format!("https://{}", proxy.host()).into());
        let pinged = store_at("registry.test:5000", options).ping().await;
        assert_eq!(pinged.is_ok(), is_known, "{pinged:?}");
        let asked = count(&proxy.lines(), "http://registry.test:5000/v2/");
        assert_eq!(asked, usize::from(is_known));
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up() {
    // It takes connections, and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut options = RegistryOptions {
        connect_timeout: Duration::from_millis(100),
        ..quick()
    };
    options.retries.count = 1;
    let (_server, store) = scripted(options, move |_| {
        Reply::new(307)
            .header(format!("Location: https://localhost:{port}/there"))
            .body("")
    });
    let tag = v1();
    let resolved = tokio::time::timeout(Duration::from_secs(20), store.resolve(&tag));
    let error = resolved.await.expect("it ends").unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
}

/// All begin by plain HTTP, as none knows better; one learns first, and the others are not to fail.
#[tokio::test]
async fn many_at_once_find_out_that_a_registry_speaks_tls() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let registry = Scripted::start_tls(&certificates, |_| Reply::new(200).body(""));
    let store = store_at(&registry.host(), trusting(&certificates));
    let wanted: Vec<_> = (1..=32).map(|it| blob(&content(it))).collect();
    let asked = wanted.iter().map(|it| store.contains(it));
    for found in futures_util::future::join_all(asked).await {
        assert!(found.unwrap());
    }
}
