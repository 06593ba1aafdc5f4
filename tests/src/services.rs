//! A real private Sigstore, run for a test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::{Asked, Reply, Scripted, Server, free_port, peer};

/// When all that is known of these services begins.
const START: &str = "2020-01-01T00:00:00Z";

/// A real private Sigstore on loopback: Fulcio with a log of certificates (`TesseraCT`), Rekor on tiles,
/// a timestamp authority, and an issuer that gives anybody an identity token. Ends when this value does.
#[derive(Debug)]
pub struct Sigstore {
    folder: PathBuf,
    issuer: Arc<Issuer>,
    _oidc: Scripted,
    fulcio: Server,
    rekor: Server,
    timestamps: Server,
    _certificates: Server,
    /// Dropped last: one on a machine, as its timestamp authority takes a fixed port for its metrics.
    _turn: File,
}

impl Sigstore {
    /// The issuer of tokens, as its `iss` claim says.
    pub fn issuer(&self) -> &str {
        &self.issuer.url
    }

    /// A token that names this mail address, and lives for so many seconds; below zero, it has expired.
    ///
    /// # Panics
    /// If `openssl` makes none.
    pub fn token(&self, email: &str, seconds: i64) -> String {
        self.issuer.token(email, seconds)
    }

    /// Whom to trust: a file.
    pub fn trusted_root(&self) -> PathBuf {
        self.folder.join("trusted_root.json")
    }

    /// Which services there are: a file.
    pub fn signing_config(&self) -> PathBuf {
        self.folder.join("signing_config.json")
    }

    /// The address of Fulcio.
    pub fn fulcio(&self) -> String {
        format!("http://{}", self.fulcio.host())
    }

    /// The address of Rekor.
    pub fn rekor(&self) -> String {
        format!("http://{}", self.rekor.host())
    }

    /// The address at which timestamps are asked for.
    pub fn timestamps(&self) -> String {
        format!("http://{}/api/v1/timestamp", self.timestamps.host())
    }

    /// How many entries the log has.
    ///
    /// # Panics
    /// If it does not say.
    pub fn log_size(&self) -> u64 {
        let path = self.folder.join("log/checkpoint");
        let text = fs_err::read_to_string(path).expect("the log has a checkpoint");
        let size = text.lines().nth(1).and_then(|it| it.parse().ok());
        size.unwrap_or_else(|| panic!("no checkpoint: {text}"))
    }

    /// Starts all of it, with its files in `folder`. Says loudly what is missing, if something is.
    ///
    /// # Panics
    /// If all is there, and something does not start.
    #[expect(
        clippy::too_many_lines,
        reason = "eight programs, each with its flags, one after the other"
    )]
    pub fn start(folder: &Path) -> Option<Self> {
        let [openssl, cosign, fulcio, ct, rekor, tsa] = [
            "openssl",
            "cosign",
            "fulcio",
            "tesseract-posix",
            "rekor-server-posix",
            "timestamp-server",
        ]
        .map(peer);
        let (openssl, cosign) = (openssl?, cosign?);
        let turn = std::env::temp_dir().join("sealpack-test-sigstore.lock");
        let turn = File::create(turn).expect("temporary files can be made");
        turn.lock().expect("a file can be locked");
        let (fulcio, ct, rekor, tsa) = (fulcio?, ct?, rekor?, tsa?);
        fs_err::create_dir_all(folder).expect("the folder is writable");
        let run = |command: &mut Command| {
            let output = command.current_dir(folder).stdin(Stdio::null()).output();
            let output = output.expect("the program runs");
            assert!(output.status.success(), "{command:?}: {output:?}");
        };
        let key = |name: &str, kind: &[&str]| {
            let (private, public) = (format!("{name}.pem"), format!("{name}.pub"));
            run(Command::new(&openssl)
                .arg("genpkey")
                .args(kind)
                .args(["-out", &private]));
            run(Command::new(&openssl).args(["pkey", "-in", &private, "-pubout", "-out", &public]));
        };
        // Its log reads keys in the older form alone.
        run(Command::new(&openssl).args([
            "ecparam",
            "-name",
            "prime256v1",
            "-genkey",
            "-noout",
            "-out",
            "ct.pem",
        ]));
        run(Command::new(&openssl).args(["pkey", "-in", "ct.pem", "-pubout", "-out", "ct.pub"]));
        key("rekor", &["-algorithm", "ed25519"]);
        key(
            "oidc",
            &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
        );
        let (oidc, issuer) = Issuer::start(folder, &openssl);

        let ports: [u16; 8] = std::array::from_fn(|_| free_port());
        let [
            fulcio_port,
            fulcio_grpc,
            fulcio_metrics,
            ct_port,
            rekor_port,
            rekor_grpc,
            rekor_metrics,
            tsa_port,
        ] = ports;
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        let text = |it: u16| it.to_string();
        let config = format!(
            "oidc-issuers:\n  {0}:\n    issuer-url: {0}\n    client-id: sigstore\n    type: email\n    contact: test@example.test\n    description: test\n",
            issuer.url
        );
        fs_err::write(folder.join("fulcio.yaml"), config).expect("the folder is writable");
        let fulcio = Server::start(
            Command::new(fulcio)
                .current_dir(folder)
                .args([
                    "serve",
                    "--ca",
                    "ephemeralca",
                    "--config-path",
                    "fulcio.yaml",
                ])
                .args([
                    "--ct-log-url",
                    &at(ct_port),
                    "--ct-log-public-key-path",
                    "ct.pub",
                ])
                .args(["--host", "127.0.0.1", "--port", &text(fulcio_port)])
                .args([
                    "--grpc-host",
                    "127.0.0.1",
                    "--grpc-port",
                    &text(fulcio_grpc),
                ])
                .args(["--metrics-port", &text(fulcio_metrics)])
                .arg("--legacy-unix-domain-socket")
                .arg(folder.join("fulcio.sock")),
            fulcio_port,
            "/api/v2/trustBundle",
        );
        let rekor = Server::start(
            Command::new(rekor)
                .current_dir(folder)
                .args([
                    "serve",
                    "--http-address",
                    "127.0.0.1",
                    "--http-port",
                    &text(rekor_port),
                ])
                .args([
                    "--grpc-address",
                    "127.0.0.1",
                    "--grpc-port",
                    &text(rekor_grpc),
                ])
                .args([
                    "--http-metrics-port",
                    &text(rekor_metrics),
                    "--hostname",
                    "127.0.0.1",
                ])
                .args(["--signer-filepath", "rekor.pem", "--storage-dir"])
                .arg(folder.join("log"))
                .args(["--checkpoint-interval", "1s", "--batch-max-age", "100ms"]),
            rekor_port,
            "/healthz",
        );
        let timestamps = Server::start(
            Command::new(tsa)
                .current_dir(folder)
                .args(["serve", "--host", "127.0.0.1", "--port", &text(tsa_port)])
                .args(["--timestamp-signer", "memory", "--disable-ntp-monitoring"]),
            tsa_port,
            "/api/v1/timestamp/certchain",
        );
        let bundle = fetch(fulcio.host(), "/api/v2/trustBundle");
        let bundle: Value = serde_json::from_slice(&bundle).expect("Fulcio says who it is");
        let root = bundle
            .pointer("/chains/0/certificates")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect::<String>();
        fs_err::write(folder.join("fulcio.crt"), root).expect("the folder is writable");
        let chain = fetch(timestamps.host(), "/api/v1/timestamp/certchain");
        fs_err::write(folder.join("tsa.crt"), chain).expect("the folder is writable");
        // The log of certificates wants the authority's root, which that makes as it starts.
        let certificates = Server::start(
            Command::new(ct)
                .current_dir(folder)
                .args(["--http_endpoint", &format!("127.0.0.1:{ct_port}")])
                .args(["--origin", "ct.example.test", "--private_key", "ct.pem"])
                .args([
                    "--roots_pem_file",
                    "fulcio.crt",
                    "--checkpoint_interval",
                    "1s",
                ])
                .arg("--storage_dir")
                .arg(folder.join("ct")),
            ct_port,
            "/ct/v1/get-roots",
        );
        let (ca, log, seen) = (
            at(fulcio_port),
            at(rekor_port),
            format!("{}/api/v1/timestamp", at(tsa_port)),
        );
        run(Command::new(&cosign)
            .args(["trusted-root", "create", "--fulcio"])
            .arg(format!("url={ca},certificate-chain=fulcio.crt"))
            .arg("--rekor")
            .arg(format!(
                "url={log},public-key=rekor.pub,start-time={START},origin=127.0.0.1"
            ))
            .arg("--ctfe")
            .arg(format!(
                "url={},public-key=ct.pub,start-time={START}",
                at(ct_port)
            ))
            .arg("--tsa")
            .arg(format!("url={seen},certificate-chain=tsa.crt"))
            .args(["--out", "trusted_root.json"]));
        let service = |url: &str, version: u8| {
            format!("url={url},api-version={version},start-time={START},operator=test")
        };
        run(Command::new(&cosign)
            .args(["signing-config", "create"])
            .args(["--fulcio", &service(&ca, 1), "--rekor", &service(&log, 2)])
            .args([
                "--rekor-config",
                "ANY",
                "--oidc-provider",
                &service(&issuer.url, 1),
            ])
            .args(["--tsa", &service(&seen, 1), "--tsa-config", "ANY"])
            .args(["--out", "signing_config.json"]));
        Some(Self {
            folder: folder.to_owned(),
            issuer,
            _oidc: oidc,
            fulcio,
            rekor,
            timestamps,
            _certificates: certificates,
            _turn: turn,
        })
    }
}

/// An issuer of identity tokens.
#[derive(Debug)]
struct Issuer {
    url: String,
    key: PathBuf,
    openssl: PathBuf,
}

impl Issuer {
    fn start(folder: &Path, openssl: &Path) -> (Scripted, Arc<Self>) {
        let key = folder.join("oidc.pem");
        let modulus = Command::new(openssl)
            .args(["rsa", "-noout", "-modulus", "-in"])
            .arg(&key)
            .output()
            .expect("openssl runs");
        let modulus = String::from_utf8_lossy(&modulus.stdout).into_owned();
        let modulus = modulus.trim().trim_start_matches("Modulus=").to_owned();
        let modulus: Vec<u8> = modulus
            .as_bytes()
            .chunks(2)
            .filter_map(|it| u8::from_str_radix(std::str::from_utf8(it).ok()?, 16).ok())
            .collect();
        let modulus = URL_SAFE_NO_PAD.encode(modulus);
        let server = Scripted::start(move |asked: &Asked| {
            let issuer = asked.headers.get("host").cloned().unwrap_or_default();
            let issuer = format!("http://{issuer}");
            let answer = match asked.line.as_str() {
                "GET /.well-known/openid-configuration" => json!({
                    "issuer": issuer,
                    "jwks_uri": format!("{issuer}/keys"),
                    "authorization_endpoint": format!("{issuer}/auth"),
                    "token_endpoint": format!("{issuer}/token"),
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["RS256"],
                }),
                "GET /keys" => json!({"keys": [
                    {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "n": modulus, "e": "AQAB"},
                ]}),
                _ => return Reply::new(404).body(""),
            };
            let reply = Reply::new(200).header("Content-Type: application/json");
            reply.body(answer.to_string())
        });
        let issuer = Self {
            url: format!("http://{}", server.host()),
            key,
            openssl: openssl.to_owned(),
        };
        (server, Arc::new(issuer))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "Fulcio goes by this machine's clock"
    )]
    fn token(&self, email: &str, seconds: i64) -> String {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or_default();
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = part(json!({"alg": "RS256", "typ": "JWT", "kid": "1"}));
        let body = part(json!({
            "iss": self.url,
            "sub": email,
            "aud": "sigstore",
            "iat": now.min(now + seconds),
            "exp": now + seconds,
            "email": email,
            "email_verified": true,
        }));
        let signed = format!("{head}.{body}");
        let mut openssl = Command::new(&self.openssl)
            .args(["dgst", "-sha256", "-sign"])
            .arg(&self.key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("openssl runs");
        let mut input = openssl.stdin.take().expect("it is piped");
        input.write_all(signed.as_bytes()).expect("openssl reads");
        drop(input);
        let output = openssl.wait_with_output().expect("openssl ends");
        assert!(output.status.success(), "openssl signs");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(output.stdout))
    }
}

/// The body of an answer to `GET`.
fn fetch(host: &str, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(host).expect("the server listens");
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it answers");
    let end = answer.windows(4).position(|it| it == b"\r\n\r\n");
    let end = end.unwrap_or_else(|| panic!("no answer from {host}{path}"));
    answer.split_off(end + 4)
}
