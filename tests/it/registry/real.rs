//! Against registries that others wrote; skipped, loudly, where they are not installed.

use std::path::Path;
use std::process::Command;

use oci::auth::{Credential, Credentials};
use oci::store::RegistryOptions;
use oci::{Descriptor, Selector, Store as _, StoreError, Upload};
use testkit::{
    Certificates, Gate, Server, TokenServer, distribution, docker_registry, free_port, olareg,
    olareg_with, peer,
};

use super::{attach, blob, content, manifest, push_image, quick, read, resolve, store_at};

#[tokio::test]
async fn docker_registry_keeps_what_we_push() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(server) = docker_registry(folder.path()) {
        round_trip(server.host(), quick()).await;
    }
}

#[tokio::test]
async fn distribution_keeps_what_we_push_over_tls_for_whom_it_lets_in() {
    let folder = tempfile::tempdir().unwrap();
    let Some(certificates) = Certificates::make(folder.path()) else {
        return;
    };
    let tokens = TokenServer::start(&certificates);
    for gate in [Gate::Open, Gate::Htpasswd, Gate::Tokens(&tokens)] {
        let Some(server) = distribution(folder.path(), &certificates, gate) else {
            return;
        };
        let login = Credential::basic("me", "hunter2");
        let mut options = RegistryOptions {
            credentials: Credentials::default().with(server.host(), login),
            ..quick()
        };
        options.trust.extra_roots = vec![fs_err::read(certificates.ca()).unwrap()];
        round_trip(server.host(), options).await;
    }
}

#[tokio::test]
async fn olareg_keeps_what_we_push() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(server) = olareg(folder.path()) {
        round_trip(server.host(), quick()).await;
    }
}

#[tokio::test]
async fn olareg_without_the_referrers_api_keeps_what_we_push() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(server) = olareg_with(folder.path(), &["--api-referrer=false"]) {
        round_trip(server.host(), quick()).await;
    }
}

#[tokio::test]
async fn olareg_with_a_rate_limit_keeps_what_we_push() {
    let folder = tempfile::tempdir().unwrap();
    if let Some(server) = olareg_with(folder.path(), &["--rate-limit", "20"]) {
        round_trip(server.host(), RegistryOptions::default()).await;
    }
}

async fn round_trip(host: &str, options: RegistryOptions) {
    let store = store_at(host, options.clone());
    store.ping().await.unwrap();
    let tag = Selector::Tag("v1".parse().unwrap());
    assert_eq!(store.check_read(&tag).await.unwrap(), None);
    let image = push_image(&store).await;
    assert_eq!(store.referrers(&image.digest).await.unwrap(), []);

    // Large, from a file, and mounted by a neighbour.
    let large = content(5 << 20);
    let file = tempfile::NamedTempFile::new().unwrap();
    fs_err::write(file.path(), &large).unwrap();
    let upload = Upload::File(file.path().to_owned());
    store.push_blob(&blob(&large), upload).await.unwrap();
    assert_eq!(read(&store, &blob(&large)).await.unwrap(), large);
    let client = oci::store::RegistryClient::new(options.clone());
    let neighbour = client.repository(&format!("{host}/team/other").parse().unwrap());
    let from = format!("{host}/team/app").parse().unwrap();
    if neighbour.mount(&blob(&large), &from).await.unwrap() {
        assert_eq!(read(&neighbour, &blob(&large)).await.unwrap(), large);
    }

    // Referrers, one by one and many at once, also of a referrer.
    let referrer = attach(&store, &image, "application/x.a").await.unwrap();
    let nested = attach(&store, &referrer, "application/x.b").await.unwrap();
    let layer = blob(&content(100));
    let more = (0..20).map(|at| manifest(&layer, Some(&image), &format!("application/y.{at}")));
    store.push_manifests(more.collect()).await.unwrap();
    let fresh = store_at(host, options);
    let found = fresh.referrers(&image.digest).await.unwrap();
    assert_eq!(found.len(), 21);
    let entry = |it: &&Descriptor| it.digest == referrer.digest;
    let entry = found.iter().find(entry).unwrap();
    assert_eq!(entry.artifact_type, Some("application/x.a".into()));
    assert_eq!(entry.annotations["key"], "application/x.a");
    let of_referrer = fresh.referrers(&referrer.digest).await.unwrap();
    assert_eq!(of_referrer.len(), 1);

    store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
    assert_eq!(resolve(&fresh, "v1").await.unwrap(), image);
    assert!(fresh.tags().await.unwrap().contains(&"v1".parse().unwrap()));

    store.delete(&nested).await.unwrap();
    assert!(!fresh.contains(&nested).await.unwrap());
    assert_eq!(fresh.referrers(&referrer.digest).await.unwrap(), []);
}

/// A registry that speaks TLS, with a certificate by a private CA, and asks for a name and password.
fn secured(folder: &Path) -> Option<(Server, Vec<u8>)> {
    let (program, openssl) = (peer("docker-registry")?, peer("openssl")?);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let made = Command::new(openssl)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=test", "-addext"])
        .args(["subjectAltName=IP:127.0.0.1", "-addext"])
        .args(["basicConstraints=critical,CA:FALSE"])
        .args(["-keyout", &path("key.pem"), "-out", &path("cert.pem")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    // Of `hunter2`.
    let login = "me:$2b$04$iBSAqiMj3n7bWqtv/.yT8ecrb80IebS.Cpy6zrPZ5K2VTnmWq93Rq\n";
    fs_err::write(path("htpasswd"), login).unwrap();
    let port = free_port();
    let config = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}}}\n\
         auth: {{htpasswd: {{realm: test, path: {}}}}}\n\
         http: {{addr: '127.0.0.1:{port}', secret: test, tls: {{certificate: {}, key: {}}}}}\n",
        path("storage"),
        path("htpasswd"),
        path("cert.pem"),
        path("key.pem"),
    );
    fs_err::write(path("config.yml"), config).unwrap();
    let mut command = Command::new(program);
    command.arg("serve").arg(path("config.yml"));
    let server = Server::start(&mut command, port, "/");
    Some((server, fs_err::read(path("cert.pem")).unwrap()))
}

#[tokio::test]
async fn a_private_ca_is_trusted_when_it_is_given_and_only_then() {
    let folder = tempfile::tempdir().unwrap();
    let Some((server, certificate)) = secured(folder.path()) else {
        return;
    };
    let login = Credential::basic("me", "hunter2");
    let options = RegistryOptions {
        credentials: Credentials::default().with(server.host(), login),
        ..quick()
    };
    let mut trusting = options.clone();
    trusting.trust.extra_roots = vec![certificate];
    let store = store_at(server.host(), trusting);
    let image = push_image(&store).await;
    assert_eq!(read(&store, &image).await.unwrap().len() as u64, image.size);

    let mut careless = options.clone();
    careless.insecure = vec![server.host().to_owned()];
    read(&store_at(server.host(), careless), &image)
        .await
        .unwrap();

    // Another registry is insecure, not this one.
    let mut strict = options;
    strict.insecure = vec!["127.0.0.2".to_owned()];
    let error = read(&store_at(server.host(), strict), &image)
        .await
        .unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }));
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        text.push_str(&error.to_string());
        text.push_str("; ");
        cause = error.source();
    }
    assert!(text.contains("certificate"), "{text}");
}
