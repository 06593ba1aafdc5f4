//! How registries are reached: through proxies, with certificates of ones own, by whom.

use std::process::Command;

use oci::store::{RegistryClient, RegistryOptions};
use oci::{Reference, Selector, Store as _};
use testkit::registry::{Login, Switches, TestRegistry};
use testkit::{Certificates, Gate, Output, Proxy, ProxyRequest, Workspace, distribution, peer};

use crate::layout::push_image;

/// Puts an image under `team/app:v1`.
fn fill(host: &str, options: RegistryOptions) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = RegistryClient::new(options);
        let store = client.repository(&format!("{host}/team/app").parse().unwrap());
        let image = push_image(&store, b"app", None).await;
        store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
    });
}

/// `sealpack copy` of the image at `host` into a layout.
fn copy(workspace: &Workspace, host: &str) -> Command {
    workspace.sealpack(["copy", &format!("{host}/team/app:v1"), "oci:out:v1"])
}

#[test]
fn plain_http_goes_through_the_proxy_but_for_exceptions() {
    let workspace = Workspace::new();
    let registry = TestRegistry::start(Switches {
        login: Login::token("me", "hunter2"),
        ..Switches::default()
    });
    registry.set(|it| it.login = Login::Open);
    fill(&registry.host(), RegistryOptions::default());
    let proxy = Proxy::start(&registry.host());
    let url = format!("http://agent:secret-word@{}", proxy.host());
    let through = |name: &str, value: &str, except: &str| {
        let mut command = copy(&workspace, "registry.test:5000");
        command
            .args(["--insecure-registry", "registry.test:5000"])
            .env(name, value)
            .env("NO_PROXY", except);
        Output::of(&mut command)
    };

    // The name is known to nobody but the proxy.
    through("HTTP_PROXY", &url, "").expect(0);
    let asked = proxy.requests();
    assert!(!asked.is_empty());
    for ProxyRequest {
        line,
        authorization,
    } in asked
    {
        assert!(line.contains(" http://registry.test:5000/v2/"), "{line}");
        // Of `agent:secret-word`.
        let sent = Some("Basic YWdlbnQ6c2VjcmV0LXdvcmQ=");
        assert_eq!(authorization.as_deref(), sent);
    }
    through("http_proxy", &url, "other.test").expect(0);

    let count = proxy.requests().len();
    let output = through("HTTP_PROXY", &url, "registry.test:5000").expect(2);
    assert_eq!(proxy.requests().len(), count);
    assert!(!output.stderr.contains("secret-word"), "{}", output.stderr);
    // Loopback is never asked through a proxy.
    let mut direct = copy(&workspace, &registry.host());
    Output::of(direct.env("HTTP_PROXY", &url)).expect(0);
    assert_eq!(proxy.requests().len(), count);

    let output = through("HTTP_PROXY", "socks5://agent:secret-word@127.0.0.1:1", "").expect(2);
    assert!(
        output.stderr.contains("neither `http://"),
        "{}",
        output.stderr
    );
    assert!(!output.stderr.contains("secret-word"), "{}", output.stderr);
    let output = through("HTTP_PROXY", "http://agent:secret-word@[::1", "").expect(2);
    assert!(
        output.stderr.contains("malformed proxy"),
        "{}",
        output.stderr
    );
    assert!(!output.stderr.contains("secret-word"), "{}", output.stderr);

    // One that was not named as insecure is not asked by plain HTTP.
    let before = proxy.requests().len();
    let mut secure = copy(&workspace, "registry.test:5000");
    secure.env("HTTP_PROXY", &url).env("HTTPS_PROXY", &url);
    Output::of(&mut secure).expect(2);
    let asked = proxy.requests().split_off(before);
    assert!(!asked.is_empty());
    assert!(asked.iter().all(|it| it.line.starts_with("CONNECT ")));
}

#[tokio::test]
async fn one_client_asks_directly_and_through_a_proxy() {
    let registry = TestRegistry::start(Switches::default());
    let proxy = Proxy::start(&registry.host());
    let mut options = RegistryOptions {
        insecure: vec!["registry.test".to_owned()],
        ..RegistryOptions::default()
    };
    options.proxies.http = Some(format!("http://{}", proxy.host()).into());
    options.retries.count = 0;
    // Where no TLS is spoken, roots are not even looked for.
    options.trust.roots_file = Some("/surely/not/there".into());
    let client = RegistryClient::new(options);
    for (host, through) in [
        (registry.host(), 0),
        ("registry.test:5000".to_owned(), 1),
        (registry.host(), 1),
    ] {
        let store = client.repository(&format!("{host}/team/app").parse().unwrap());
        store.ping().await.unwrap();
        assert_eq!(proxy.requests().len(), through, "{host}");
    }
}

#[test]
fn https_goes_through_the_proxy_untouched() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let Some(server) = distribution(workspace.path(), &certificates, Gate::Htpasswd) else {
        return;
    };
    let ca = fs_err::read(certificates.ca()).unwrap();
    let mut options = RegistryOptions {
        credentials: oci::auth::Credentials::default()
            .with(server.host(), oci::auth::Credential::basic("me", "hunter2")),
        ..RegistryOptions::default()
    };
    options.trust.extra_roots = vec![ca];
    fill(server.host(), options);

    let proxy = Proxy::start(server.host());
    let mut command = copy(&workspace, Certificates::NAME);
    command
        .arg("--registry-ca")
        .arg(certificates.ca())
        .env(
            "HTTPS_PROXY",
            format!("http://agent:secret-word@{}", proxy.host()),
        )
        // Of `me:hunter2`.
        .env(
            "CNB_REGISTRY_AUTH",
            r#"{"registry.test":"Basic bWU6aHVudGVyMg=="}"#,
        );
    Output::of(&mut command).expect(0);
    let asked = proxy.requests();
    assert!(!asked.is_empty());
    for it in asked {
        assert_eq!(it.line, "CONNECT registry.test:443");
        assert_eq!(
            it.authorization.as_deref(),
            Some("Basic YWdlbnQ6c2VjcmV0LXdvcmQ=")
        );
    }
}

#[test]
fn a_server_that_is_its_own_authority_is_trusted_where_it_is_named() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    // As people make them, by the defaults of `openssl req -x509`.
    let mut openssl = Command::new("openssl");
    openssl
        .args([
            "req", "-x509", "-nodes", "-days", "2", "-newkey", "rsa:2048",
        ])
        .args([
            "-subj",
            "/CN=server",
            "-addext",
            "subjectAltName=DNS:localhost",
        ])
        .args(["-keyout", "server.key", "-out", "server.pem"])
        .current_dir(workspace.path());
    Output::of(&mut openssl).expect(0);
    let Some(server) = distribution(workspace.path(), &certificates, Gate::Open) else {
        return;
    };
    let (_, port) = server.host().rsplit_once(':').unwrap();
    let ls = |host: &str, named: Option<&str>| {
        let mut command = workspace.sealpack(["ls", &format!("{host}:{port}/app")]);
        if let Some(named) = named {
            command
                .arg("--registry-ca")
                .arg(certificates.certificate(named));
        }
        // There is no such repository.
        Output::of(&mut command).expect(2).stderr
    };
    let untrusted = "the certificate of the server is not trusted";
    assert!(!ls("localhost", Some("server")).contains("certificate"));
    assert!(ls("localhost", None).contains(untrusted));
    assert!(ls("localhost", Some("client")).contains(untrusted));
    // It is for the name that it says, and for no other.
    assert!(ls("127.0.0.1", Some("server")).contains(untrusted));
}

#[test]
fn a_private_ca_is_named_by_flag_variable_or_folder() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let Some(server) = distribution(workspace.path(), &certificates, Gate::Open) else {
        return;
    };
    let ca = fs_err::read(certificates.ca()).unwrap();
    let mut options = RegistryOptions::default();
    options.trust.extra_roots = vec![ca.clone()];
    fill(server.host(), options);
    let run = |change: &dyn for<'a> Fn(&'a mut Command) -> &'a mut Command| {
        let mut command = copy(&workspace, server.host());
        change(&mut command);
        Output::of(&mut command)
    };

    let output = run(&|it| it).expect(2);
    assert!(output.stderr.contains("certificate"), "{}", output.stderr);
    let file = certificates.ca();
    run(&|it| it.arg("--registry-ca").arg(&file)).expect(0);
    run(&|it| it.env("SSL_CERT_FILE", &file)).expect(0);
    let roots = workspace.write("roots/ca.pem", &ca);
    let folders = format!("/surely/not/there:{}", roots.parent().unwrap().display());
    run(&|it| it.env("SSL_CERT_DIR", &folders)).expect(0);
    let output = run(&|it| it.env("SSL_CERT_FILE", "/surely/not/there")).expect(2);
    assert!(
        output.stderr.contains("/surely/not/there"),
        "{}",
        output.stderr
    );
    let output = run(&|it| it.arg("--registry-ca").arg("/dev/null")).expect(2);
    assert!(output.stderr.contains("malformed"), "{}", output.stderr);

    // For this registry alone.
    let folder = "home/.config/containers/certs.d";
    workspace.write(format!("{folder}/127.0.0.1:1/ca.crt"), &ca);
    run(&|it| it).expect(2);
    workspace.write(format!("{folder}/{}/ca.crt", server.host()), &ca);
    run(&|it| it).expect(0);
    // It holds for this one, and no longer what the system has for all.
    workspace.write(format!("{folder}/{}/mine.cert", server.host()), &ca);
    let output = run(&|it| it).expect(2);
    assert!(output.stderr.contains("mine.key"), "{}", output.stderr);
}

#[test]
fn a_client_certificate_is_shown_to_whom_it_is_for() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let Some(server) = distribution(workspace.path(), &certificates, Gate::ClientCertificate)
    else {
        return;
    };
    let read = |path| fs_err::read(path).unwrap();
    let ca = read(certificates.ca());
    let (certificate, key) = (
        certificates.certificate("client"),
        certificates.key("client"),
    );
    let mut options = RegistryOptions::default();
    options.trust.extra_roots = vec![ca.clone()];
    options.trust.client_certificate = Some(oci::store::ClientCertificate {
        chain: read(certificate.clone()),
        key: fs_err::read_to_string(&key).unwrap().into(),
    });
    fill(server.host(), options);

    let with_ca = || {
        let mut command = copy(&workspace, server.host());
        command.arg("--registry-ca").arg(certificates.ca());
        command
    };
    Output::of(&mut with_ca()).expect(2);
    let pair = |command: &mut Command| {
        command.arg("--registry-cert").arg(&certificate);
        command.arg("--registry-key").arg(&key);
        Output::of(command)
    };
    pair(&mut with_ca()).expect(0);
    // One without the other is a mistake.
    Output::of(with_ca().arg("--registry-cert").arg(&certificate)).expect(2);
    let output = Output::of(
        with_ca()
            .arg("--registry-cert")
            .arg(&certificate)
            .arg("--registry-key")
            .arg(&certificate),
    )
    .expect(2);
    assert!(output.stderr.contains("client key"), "{}", output.stderr);

    let folder = format!("home/.config/containers/certs.d/{}", server.host());
    workspace.write(format!("{folder}/ca.crt"), &ca);
    workspace.write(format!("{folder}/client.cert"), read(certificate.clone()));
    workspace.write(format!("{folder}/client.key"), read(key.clone()));
    Output::of(&mut copy(&workspace, server.host())).expect(0);
    // As skopeo reads the same folder.
    if let Some(skopeo) = peer("skopeo") {
        let image = format!("docker://{}/team/app:v1", server.host());
        Output::of(workspace.command(skopeo).args(["inspect", "--raw", &image])).expect(0);
    }
}

#[test]
fn a_registry_that_speaks_http_2_is_asked_by_it() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let Some(server) = distribution(workspace.path(), &certificates, Gate::Open) else {
        return;
    };
    let mut options = RegistryOptions::default();
    options.trust.extra_roots = vec![fs_err::read(certificates.ca()).unwrap()];
    fill(server.host(), options.clone());
    let proxy = Proxy::start(server.host());
    options.proxies.https = Some(format!("http://{}", proxy.host()).into());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = RegistryClient::new(options);
        let reference: Reference = format!("{}/team/app", Certificates::NAME).parse().unwrap();
        let oci::Location::Registry(repository) = reference.location else {
            panic!("it names a registry");
        };
        let store = client.repository(&repository);
        let tag = Selector::Tag("v1".parse().unwrap());
        store.resolve(&tag).await.unwrap();
        // Many at the same time, over one connection.
        let asks = (0..8).map(|_| store.resolve(&tag));
        for answer in futures_util::future::join_all(asks).await {
            answer.unwrap();
        }
    });
    assert_eq!(proxy.requests().len(), 1);
}
