//! A real daemon at ports, by TLS: it wants to know who we are, and we want to know who it is.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;
use testkit::{Certificates, Dockerd, Output, free_port, peer};

use super::images::{Images, report};

/// A daemon at two addresses of loopback, only the first of which its certificate holds for.
struct Case {
    /// Ends before the folder is removed that it lies in.
    _docker: Dockerd,
    images: Images,
    /// Of the daemon and its clients.
    ours: Certificates,
    /// Of somebody else.
    others: Certificates,
    host: String,
    misnamed: String,
}

impl Case {
    async fn start() -> Option<Self> {
        let images = Images::make().await?;
        let folder = |name: &str| {
            let path = images.workspace.join(name);
            fs_err::create_dir(&path).unwrap();
            path
        };
        let ours = Certificates::make(&folder("ours"))?;
        let others = Certificates::make(&folder("others"))?;
        let host = format!("tcp://127.0.0.1:{}", free_port());
        let misnamed = format!("tcp://127.0.0.2:{}", free_port());
        let docker = folder("docker");
        let shown = |path: &Path| path.display().to_string();
        let arguments = [
            ("--host", host.clone()),
            ("--host", misnamed.clone()),
            ("--tlscacert", shown(&ours.ca())),
            ("--tlscert", shown(&ours.certificate("server"))),
            ("--tlskey", shown(&ours.key("server"))),
        ];
        let arguments = arguments.map(|(name, value)| [name.to_owned(), value]);
        let mut arguments = arguments.concat();
        arguments.push("--tlsverify".to_owned());
        let docker = Dockerd::start(&docker, &arguments)?;
        Some(Self {
            images,
            ours,
            others,
            host,
            misnamed,
            _docker: docker,
        })
    }

    /// A folder as `DOCKER_CERT_PATH` names it: who vouches for the daemon, and who we are.
    fn folder(&self, name: &str, ca: &Certificates, client: Option<&Certificates>) {
        let write = |file: &str, from: &Path| {
            let content = fs_err::read(from).unwrap();
            self.images
                .workspace
                .write(Path::new(name).join(file), content);
        };
        write("ca.pem", &ca.ca());
        if let Some(client) = client {
            write("cert.pem", &client.certificate("client"));
            write("key.pem", &client.key("client"));
        }
    }

    /// `sealpack`, by the certificates in `folder`.
    fn with(&self, folder: &str, host: &str, arguments: &[&str]) -> Command {
        let mut command = self.images.command(host, arguments);
        let folder = self.images.workspace.join(folder);
        command
            .env("DOCKER_TLS_VERIFY", "1")
            .env("DOCKER_CERT_PATH", folder);
        command
    }

    fn said(&self, command: &mut Command) -> String {
        let path = self.images.workspace.path().display().to_string();
        let output = Output::of(command);
        let port = |host: &str| host.rsplit_once(':').map(|(_, it)| it.to_owned()).unwrap();
        output.transcript(&[
            (&path, "[workspace]"),
            (&port(&self.host), "[port]"),
            (&port(&self.misnamed), "[port]"),
        ])
    }
}

const INSPECT: [&str; 2] = ["inspect", "docker-daemon:one"];

#[tokio::test]
async fn a_daemon_behind_tls_is_loaded_and_read() {
    let Some(case) = Case::start().await else {
        return;
    };
    case.folder("known", &case.ours, Some(&case.ours));
    let id = case.images.image(&case.images.store, "one").await;
    let id = id.id().as_str();
    let load = [
        "copy",
        "oci:src:one",
        "docker-daemon:one",
        "--output",
        "json",
    ];
    let loaded = report(Output::of(&mut case.with("known", &case.host, &load)));
    assert_eq!(loaded["imageId"], id);
    let by_name = case.host.replace("127.0.0.1", "localhost");
    let back = ["copy", "docker-daemon:one", "oci:back:one"];
    Output::of(&mut case.with("known", &by_name, &back)).expect(0);
    let shown = report(case.images.sealpack(
        "unix:///nowhere",
        &["inspect", "oci:back:one", "--output", "json"],
    ));
    assert_eq!(shown["imageId"], id);

    // By a context, which Docker's own program makes.
    let Some(docker) = peer("docker") else { return };
    let settings = [
        ("host", case.host.clone()),
        ("ca", case.ours.ca().display().to_string()),
        (
            "cert",
            case.ours.certificate("client").display().to_string(),
        ),
        ("key", case.ours.key("client").display().to_string()),
    ];
    let settings = settings.map(|(name, value)| format!("{name}={value}"));
    let docker = |arguments: &[&str]| {
        Output::of(case.images.workspace.command(&docker).args(arguments)).expect(0);
    };
    docker(&["context", "create", "far", "--docker", &settings.join(",")]);
    let mut command = case.images.workspace.sealpack(INSPECT);
    Output::of(command.env("DOCKER_CONTEXT", "far")).expect(0);
    docker(&["context", "use", "far"]);
    Output::of(&mut case.images.workspace.sealpack(INSPECT)).expect(0);
}

#[tokio::test]
async fn who_is_not_known_is_told_what_to_do() {
    let Some(case) = Case::start().await else {
        return;
    };
    case.folder("known", &case.ours, Some(&case.ours));
    case.folder("nobody", &case.ours, None);
    case.folder("stranger", &case.ours, Some(&case.others));
    case.folder("misled", &case.others, Some(&case.ours));
    let host = &case.host;
    assert_snapshot!(case.said(&mut case.with("nobody", host, &INSPECT)), @"
    exit: 2
    --- stdout
    --- stderr
    error: failed to read the image `one:latest` at `tcp://127.0.0.1:[port]`
      cause: the daemon lets in only whom it knows by certificate
      cause: received fatal alert: BadCertificate
    hint: put `cert.pem` and `key.pem` into the folder of `DOCKER_CERT_PATH`, or into the Docker context: of an authority that the daemon knows
    ");
    assert_snapshot!(case.said(&mut case.with("stranger", host, &INSPECT)), @"
    exit: 2
    --- stdout
    --- stderr
    error: failed to read the image `one:latest` at `tcp://127.0.0.1:[port]`
      cause: the daemon lets in only whom it knows by certificate
      cause: received fatal alert: BadCertificate
    hint: put `cert.pem` and `key.pem` into the folder of `DOCKER_CERT_PATH`, or into the Docker context: of an authority that the daemon knows
    ");
    // Nor is anything believed that is not the daemon.
    assert_snapshot!(case.said(&mut case.with("misled", host, &INSPECT)), @"
    exit: 2
    --- stdout
    --- stderr
    error: failed to read the image `one:latest` at `tcp://127.0.0.1:[port]`
      cause: it does not prove to be this daemon
      cause: the certificate of the server is not trusted: BadSignature
    hint: `ca.pem` in the folder of `DOCKER_CERT_PATH`, or that of the Docker context, has to be of who vouches for the daemon, and the address one that its certificate names
    ");
    assert_snapshot!(case.said(&mut case.with("known", &case.misnamed, &INSPECT)), @r#"
    exit: 2
    --- stdout
    --- stderr
    error: failed to read the image `one:latest` at `tcp://127.0.0.2:[port]`
      cause: it does not prove to be this daemon
      cause: the certificate of the server is not trusted: certificate not valid for name "127.0.0.2"; certificate is only valid for IpAddress(127.0.0.1), DnsName("localhost") or DnsName("registry.test")
    hint: `ca.pem` in the folder of `DOCKER_CERT_PATH`, or that of the Docker context, has to be of who vouches for the daemon, and the address one that its certificate names
    "#);
    assert_snapshot!(case.said(&mut case.with("missing", host, &INSPECT)), @"
    exit: 2
    --- stdout
    --- stderr
    error: failed to find the Docker daemon
      cause: file `[workspace]/missing/ca.pem` not found
    hint: `DOCKER_CERT_PATH` names the folder with `ca.pem`, and with `cert.pem` and `key.pem` if the daemon wants to know who asks
    ");
    // One side speaks TLS, and the other does not.
    assert_snapshot!(case.said(&mut case.images.command(host, &INSPECT)), @"
    exit: 2
    --- stdout
    --- stderr
    error: failed to read the image `one:latest` at `tcp://127.0.0.1:[port]`
      cause: there is no TLS on both sides
      cause: Client sent an HTTP request to an HTTPS server.
    hint: `DOCKER_TLS_VERIFY=1` and `DOCKER_CERT_PATH` make a secure connection, by the certificates in that folder; without the first it is plain HTTP
    ");
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = plain.local_addr().unwrap().to_string();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let mut hello = [0; 16];
        stream.read_exact(&mut hello).unwrap();
        stream
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    let said = case.said(&mut case.with("known", &format!("tcp://{at}"), &INSPECT));
    assert_snapshot!(said.replace(&at, "[plain]"), @"
    exit: 2
    --- stdout
    --- stderr
    error: failed to read the image `one:latest` at `tcp://[plain]`
      cause: there is no TLS on both sides
      cause: received corrupt message of type InvalidContentType
    hint: `DOCKER_TLS_VERIFY=1` and `DOCKER_CERT_PATH` make a secure connection, by the certificates in that folder; without the first it is plain HTTP
    ");
    server.join().unwrap();
    // An image that is to be loaded is refused in the same way.
    let load = ["copy", "oci:src:one", "docker-daemon:one"];
    assert_snapshot!(case.said(&mut case.with("stranger", host, &load)), @"
    exit: 2
    --- stdout
    --- stderr
    error: failed to reach the Docker daemon at `tcp://127.0.0.1:[port]`
      cause: the daemon lets in only whom it knows by certificate
      cause: received fatal alert: BadCertificate
    hint: put `cert.pem` and `key.pem` into the folder of `DOCKER_CERT_PATH`, or into the Docker context: of an authority that the daemon knows
    ");
}
