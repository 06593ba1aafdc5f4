//! Credentials and tokens.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use oci::auth::{ConfigFile, Credential, Credentials};
use oci::store::{RegistryOptions, RegistryStore};
use oci::{Store as _, StoreError, Upload};
use testkit::registry::{Login, Switches, TestRegistry};

use super::{attach, blob, content, push_image, quick, read, resolve, shapes, store_at, text_of};

fn registry(login: Login) -> TestRegistry {
    TestRegistry::start(Switches {
        login,
        ..Switches::default()
    })
}

fn store_as(registry: &TestRegistry, credential: Credential) -> RegistryStore {
    let options = RegistryOptions {
        credentials: Credentials::default().with(&registry.host(), credential),
        ..quick()
    };
    store_at(&registry.host(), options)
}

#[tokio::test]
async fn a_name_and_a_password_open_a_registry() {
    let registry = registry(Login::Basic {
        username: "me",
        password: "hunter2",
    });
    let store = store_as(&registry, Credential::basic("me", "hunter2"));
    let image = push_image(&store).await;
    read(&store, &image).await.unwrap();
    // Asked for once, sent from then on.
    let sent = registry.authorizations();
    assert_eq!(sent.iter().filter(|it| it.is_none()).count(), 1);

    for credential in [None, Some(Credential::basic("me", "wrong-password"))] {
        let store = match credential {
            Some(credential) => store_as(&registry, credential),
            None => store_at(&registry.host(), quick()),
        };
        let error = read(&store, &image).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused { .. }));
        let text = text_of(&error);
        assert!(text.contains("UNAUTHORIZED"), "{text}");
        for secret in ["wrong-password", "bWU6d3JvbmctcGFzc3dvcmQ="] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

#[tokio::test]
async fn tokens_are_asked_for_once_per_scope() {
    let registry = registry(Login::token("me", "hunter2"));
    let store = store_as(&registry, Credential::basic("me", "hunter2"));
    let image = push_image(&store).await;
    store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
    attach(&store, &image, "application/x.a").await.unwrap();
    resolve(&store, "v1").await.unwrap();
    store.referrers(&image.digest).await.unwrap();
    let requests = registry.take_requests();
    let tokens: Vec<_> = requests.iter().filter(|it| it.contains("/token")).collect();
    assert_eq!(
        tokens,
        ["GET /token?service=test&scope=repository%3Ateam%2Fapp%3Apush%2Cpull"]
    );
    // The password went to the token server, and nowhere else.
    let login = "Basic bWU6aHVudGVyMg==".to_owned();
    let sent = store_as(&registry, Credential::basic("me", "hunter2"));
    resolve(&sent, "v1").await.unwrap();
    let lines = registry.requests();
    for (line, sent) in lines.iter().zip(registry.authorizations()) {
        assert_eq!(
            sent.as_ref() == Some(&login),
            line.contains("/token"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn everybody_may_read_what_is_public_and_no_more() {
    let registry = registry(Login::token("me", "hunter2"));
    let image = push_image(&store_as(&registry, Credential::basic("me", "hunter2"))).await;
    let anonymous = store_at(&registry.host(), quick());
    read(&anonymous, &image).await.unwrap();
    assert!(matches!(
        anonymous.check_write().await,
        Err(StoreError::Refused { .. })
    ));
    let error = resolve(
        &store_as(&registry, Credential::basic("me", "wrong-password")),
        "v1",
    )
    .await
    .unwrap_err();
    assert!(matches!(error, StoreError::Refused { .. }));
    let text = text_of(&error);
    assert!(
        !text.contains("wrong-password") && !text.contains("bWU6d3Jvbmct"),
        "{text}"
    );
}

#[tokio::test]
async fn a_token_that_expires_in_the_middle_of_a_push_is_renewed() {
    let registry = registry(Login::Token {
        username: "me",
        password: "hunter2",
        anonymous_pull: false,
        uses: Some(1),
        realm: None,
        oauth: true,
    });
    let store = store_as(&registry, Credential::basic("me", "hunter2"));
    let large = content(3 << 20);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), &large).unwrap();
    let upload = Upload::File(file.path().to_owned());
    store.push_blob(&blob(&large), upload).await.unwrap();
    let image = push_image(&store).await;
    read(&store, &image).await.unwrap();
    assert_eq!(read(&store, &blob(&large)).await.unwrap(), large);
}

#[tokio::test]
async fn a_mount_asks_for_both_repositories() {
    let registry = registry(Login::token("me", "hunter2"));
    let store = store_as(&registry, Credential::basic("me", "hunter2"));
    let small = content(10);
    registry.put_blob("team/base", small.clone());
    let from = format!("{}/team/base", registry.host()).parse().unwrap();
    assert!(store.mount(&blob(&small), &from).await.unwrap());
}

#[tokio::test]
async fn identity_and_registry_tokens_are_taken() {
    for oauth in [true, false] {
        let registry = registry(Login::Token {
            username: "me",
            password: "refresh-token",
            anonymous_pull: false,
            uses: None,
            realm: None,
            oauth,
        });
        let store = store_as(&registry, Credential::IdentityToken("refresh-token".into()));
        let image = push_image(&store).await;
        let requests = shapes(&registry);
        assert_eq!(requests.contains(&"GET /token".to_owned()), !oauth);
        assert!(requests.contains(&"POST /token".to_owned()));

        // Somebody else got us a token for this registry: the first that it handed out.
        let cnb = format!(r#"{{"{}":"Bearer token-1"}}"#, registry.host());
        let options = RegistryOptions {
            credentials: Credentials::default().with_cnb_registry_auth(&cnb).unwrap(),
            ..quick()
        };
        read(&store_at(&registry.host(), options), &image)
            .await
            .unwrap();
        assert!(!shapes(&registry).iter().any(|it| it.contains("token")));
    }
}

#[tokio::test]
async fn a_credential_helper_is_asked_only_when_the_registry_asks() {
    let folder = tempfile::tempdir().unwrap();
    let registry = registry(Login::Open);
    let config = folder.path().join("config.json");
    fs_err::write(&config, r#"{"credsStore":"surely-not-installed"}"#).unwrap();
    let environment = BTreeMap::from([(
        "DOCKER_CONFIG".to_owned(),
        folder.path().to_str().unwrap().to_owned(),
    )]);
    let options = RegistryOptions {
        credentials: Credentials::find(None, &environment).unwrap(),
        ..quick()
    };
    let store = store_at(&registry.host(), options);
    push_image(&store).await;
    registry.set(|it| {
        it.login = Login::Basic {
            username: "me",
            password: "x",
        }
    });
    assert!(matches!(
        resolve(&store, "v1").await,
        Err(StoreError::Unavailable { .. })
    ));
    let mode = fs_err::metadata(&config).unwrap().permissions().mode();
    assert_ne!(mode & 0o400, 0);
    assert!(ConfigFile::read(&config).unwrap().is_some());
}

#[tokio::test]
async fn credentials_stay_with_the_registry_they_are_for() {
    // Blobs and uploads at another server.
    let other = TestRegistry::start(Switches::default());
    let registry = TestRegistry::start(Switches {
        login: Login::Basic {
            username: "me",
            password: "hunter2",
        },
        elsewhere: Some(format!("http://{}", other.host())),
        ..Switches::default()
    });
    let store = store_as(&registry, Credential::basic("me", "hunter2"));
    let large = content(3 << 20);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), &large).unwrap();
    for upload in [
        Upload::File(file.path().to_owned()),
        Upload::Bytes(large.clone()),
    ] {
        store.push_blob(&blob(&large), upload).await.unwrap();
    }
    read(&store, &blob(&large)).await.unwrap();
    assert!(!other.requests().is_empty());
    assert!(other.authorizations().iter().all(Option::is_none));
}

#[tokio::test]
async fn a_token_server_that_is_not_secure_gets_nothing() {
    let registry = registry(Login::Token {
        username: "me",
        password: "hunter2",
        anonymous_pull: false,
        uses: None,
        realm: Some("http://tokens.example/token".to_owned()),
        oauth: true,
    });
    let store = store_as(&registry, Credential::basic("me", "hunter2"));
    assert!(matches!(
        resolve(&store, "v1").await,
        Err(StoreError::Malformed { .. })
    ));
}
