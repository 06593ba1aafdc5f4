//! Daemons at a port: who they are, and who we are to them.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci::StoreError;
use oci::store::{
    DaemonAddress, DaemonAddressError, DaemonOptions, DaemonProblem, DaemonTls, DockerDaemon,
};
use testkit::daemon::{DaemonSwitches, TestDaemon, TlsPort};
use testkit::{Certificates, Output, Workspace, skipped};

use super::quick;

/// A folder of certificates by the names that Docker has for them.
fn folder(workspace: &Workspace, name: &str, files: &[(&str, &Path)]) -> PathBuf {
    let folder = workspace.join(name);
    fs_err::create_dir_all(&folder).unwrap();
    for (name, from) in files {
        fs_err::copy(from, folder.join(name)).unwrap();
    }
    folder
}

async fn ping(host: &str, port: u16, tls: Option<DaemonTls>) -> Result<(), StoreError> {
    let address = DaemonAddress::parse(&format!("tcp://{host}:{port}"), tls).unwrap();
    DockerDaemon::new(address, quick()).ping().await
}

fn cause(outcome: Result<(), StoreError>) -> DaemonProblem {
    match outcome {
        Err(StoreError::Unavailable { source, .. }) => *source.downcast().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_daemon_is_known_by_its_certificate_and_knows_us_by_ours() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let daemon = TestDaemon::start(DaemonSwitches::default());
    let port = TlsPort::open(&daemon, &certificates, Ipv4Addr::LOCALHOST);
    let (ca, certificate, key) = (
        certificates.ca(),
        certificates.certificate("client"),
        certificates.key("client"),
    );
    let ours = [
        ("ca.pem", &*ca),
        ("cert.pem", &*certificate),
        ("key.pem", &*key),
    ];
    let good = folder(&workspace, "good", &ours);
    let tls = || Some(DaemonTls::read(&good).unwrap());
    ping("127.0.0.1", port.number(), tls()).await.unwrap();
    ping("localhost", port.number(), tls()).await.unwrap();

    // Not by plain HTTP, not without a certificate, not by another name or authority.
    let plain = cause(ping("127.0.0.1", port.number(), None).await);
    assert!(matches!(plain, DaemonProblem::Broken(_)), "{plain:?}");
    let anonymous = folder(&workspace, "anonymous", &ours[..1]);
    let anonymous = DaemonTls::read(&anonymous).unwrap();
    ping("127.0.0.1", port.number(), Some(anonymous))
        .await
        .unwrap_err();
    let elsewhere = TlsPort::open(&daemon, &certificates, Ipv4Addr::new(127, 0, 0, 2));
    let refused = cause(ping("127.0.0.2", elsewhere.number(), tls()).await);
    assert!(matches!(refused, DaemonProblem::Unproven(_)), "{refused:?}");
    let stranger = certificates.certificate("tokens");
    let mut theirs = ours;
    theirs[0] = ("ca.pem", &stranger);
    let other = folder(&workspace, "other", &theirs);
    let other = DaemonTls::read(&other).unwrap();
    let refused = cause(ping("127.0.0.1", port.number(), Some(other)).await);
    assert!(matches!(refused, DaemonProblem::Unproven(_)), "{refused:?}");

    // As a user has it.
    let run = |variables: &[(&str, &str)]| {
        let mut command = workspace.sealpack(["inspect", "docker-daemon:app"]);
        command.env("DOCKER_HOST", format!("tcp://127.0.0.1:{}", port.number()));
        Output::of(command.envs(variables.iter().copied())).stderr
    };
    let verify = ("DOCKER_TLS_VERIFY", "1");
    let stderr = run(&[verify, ("DOCKER_CERT_PATH", good.to_str().unwrap())]);
    assert!(stderr.contains("not found"), "{stderr}");
    let stderr = run(&[("DOCKER_CERT_PATH", good.to_str().unwrap())]);
    assert!(stderr.contains("the connection broke"), "{stderr}");
    folder(&workspace, "home/.docker", &ours);
    let stderr = run(&[verify]);
    assert!(stderr.contains("not found"), "{stderr}");
}

#[tokio::test]
async fn certificates_that_do_not_fit_together_are_refused() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let (ca, certificate, key) = (
        certificates.ca(),
        certificates.certificate("client"),
        certificates.key("client"),
    );
    let junk = workspace.write(
        "junk.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    let bad = workspace.write(
        "bad.pem",
        "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n",
    );
    let other = certificates.key("server");
    for (name, files) in [
        ("bad", &[("ca.pem", &*bad)][..]),
        (
            "no key",
            &[("ca.pem", &*ca), ("cert.pem", &*certificate)][..],
        ),
        ("no certificate", &[("ca.pem", &*ca), ("key.pem", &*key)]),
        ("junk", &[("ca.pem", &*junk)]),
        (
            "another key",
            &[
                ("ca.pem", &*ca),
                ("cert.pem", &*certificate),
                ("key.pem", &*other),
            ],
        ),
    ] {
        let refused = DaemonTls::read(&folder(&workspace, name, files));
        assert!(
            matches!(refused, Err(DaemonAddressError::Certificates { .. })),
            "{name}: {refused:?}"
        );
    }
    let good = folder(&workspace, "good", &[("ca.pem", &ca)]);
    let good = DaemonTls::read(&good).unwrap();
    let address = DaemonAddress::parse("tcp://docker.example", Some(good)).unwrap();
    assert_eq!(address.to_string(), "tcp://docker.example:2376");
    let refused = DaemonTls::read(&workspace.join("home"));
    assert!(matches!(refused, Err(DaemonAddressError::Read { .. })));
}

/// Somebody listens, and says nothing.
#[tokio::test]
async fn a_port_that_is_silent_is_not_waited_for() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let ca = certificates.ca();
    let tls = DaemonTls::read(&folder(&workspace, "tls", &[("ca.pem", &ca)])).unwrap();
    let address = format!("tcp://127.0.0.1:{port}");
    let address = DaemonAddress::parse(&address, Some(tls)).unwrap();
    let hasty = DaemonOptions {
        connect_timeout: Duration::from_millis(200),
        ..quick()
    };
    let daemon = DockerDaemon::new(address, hasty);
    let ping = tokio::time::timeout(Duration::from_mins(1), daemon.ping());
    let silent = cause(ping.await.unwrap());
    assert!(matches!(silent, DaemonProblem::Silent(_)), "{silent:?}");
}

/// This machine has two, and not every server listens at both.
#[tokio::test]
async fn every_address_of_a_name_is_tried() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        skipped("this machine has no IPv6");
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let answers = std::thread::spawn(move || drop(listener.accept().unwrap()));
    let broken = cause(ping("localhost", port, None).await);
    assert!(matches!(broken, DaemonProblem::Broken(_)), "{broken:?}");
    answers.join().unwrap();
}
