//! Services that refuse, break, are slow or answer garbage: a clear error, exit code 2, nothing attached,
//! nothing logged twice, no secret said.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use testkit::{Asked, Output, Reply, Scripted, Workspace};

use super::image;

/// What a service answers to one kind of request, if not what it should.
type Answer = Arc<dyn Fn() -> Reply + Send + Sync>;

/// All services on one port.
struct Services {
    server: Scripted,
}

/// Which of them is wrong, and how.
#[derive(Clone, Default)]
struct Faults {
    certificate: Option<Answer>,
    timestamp: Option<Answer>,
    log: Option<Answer>,
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "each fault of `Faults` may be absent"
)]
fn fault(reply: impl Fn() -> Reply + Send + Sync + 'static) -> Option<Answer> {
    Some(Arc::new(reply))
}

impl Services {
    fn start(faults: Faults) -> Self {
        let server = Scripted::start(move |asked: &Asked| {
            let path = asked.line.split(' ').nth(1).unwrap_or_default();
            let or = |fault: &Option<Answer>, good: fn() -> Reply| match fault {
                Some(answer) => answer(),
                None => good(),
            };
            match path {
                "/api/v2/signingCert" => or(&faults.certificate, certificate),
                "/timestamp" => or(&faults.timestamp, timestamp),
                "/api/v1/log/entries" | "/api/v2/log/entries" => {
                    or(&faults.log, || Reply::new(500).body("no log here"))
                }
                _ => Reply::new(404).body(""),
            }
        });
        Self { server }
    }

    fn asked(&self, path: &str) -> usize {
        let lines = self.server.lines();
        lines.iter().filter(|it| it.contains(path)).count()
    }

    /// Signs the image of a new workspace, which has to fail, and shows what was said.
    #[track_caller]
    fn refuse(&self, version: &str) -> String {
        let workspace = Workspace::new();
        let image = image(&workspace);
        let output = self.sign(&workspace, &image, version, &token(3600));
        let output = output.expect(2);
        let tree = Output::of(&mut workspace.sealpack(["tree", &image])).expect(0);
        assert!(!tree.stdout.contains("bundle"), "{}", tree.stdout);
        output.transcript(&[(self.server.host().as_str(), "[services]")])
    }

    fn sign(&self, workspace: &Workspace, image: &str, version: &str, token: &str) -> Output {
        let base = format!("http://{}", self.server.host());
        let trusted = workspace.write("trusted_root.json", TRUSTED_ROOT);
        let mut command = workspace.sealpack(["sign", image]);
        command
            .args(["--identity-token", token, "--fulcio-url", &base])
            .args(["--rekor-url", &base, "--rekor-version", version])
            .args(["--timestamp-server-url", &format!("{base}/timestamp")])
            .args(["--service-timeout", "2", "--trusted-root"])
            .arg(trusted);
        Output::of(&mut command)
    }
}

/// Trusts nobody.
const TRUSTED_ROOT: &str =
    r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;

/// A token that no issuer has signed.
fn token(seconds: i64) -> String {
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    let claims = json!({
        "iss": "https://issuer.test",
        "sub": "dev",
        "exp": now + seconds,
    });
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("e30.{claims}.aHVudGVyMg")
}

/// Not a certificate of anybody's; nothing looks into it before the end.
fn certificate() -> Reply {
    let pem = format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode([0x30, 0x00])
    );
    let answer = json!({"signedCertificateEmbeddedSct": {"chain": {"certificates": [pem]}}});
    Reply::new(200).body(answer.to_string())
}

fn timestamp() -> Reply {
    Reply::new(201).body([0x30, 5, 0x30, 3, 2, 1, 0])
}

#[test]
fn a_token_that_has_expired_is_shown_to_nobody() {
    let services = Services::start(Faults::default());
    let workspace = Workspace::new();
    let image = image(&workspace);
    let output = services
        .sign(&workspace, &image, "2", &token(-600))
        .expect(2);
    insta::assert_snapshot!(output.stderr, @r"
error: the identity token cannot be used
  cause: the identity token has expired 10 minutes ago
hint: get a new one
");
    assert!(services.server.lines().is_empty());
    let broken = services.sign(&workspace, &image, "2", "hunter2").expect(2);
    insta::assert_snapshot!(broken.stderr, @r"
error: the identity token cannot be used
  cause: malformed identity token: not of three parts
hint: `--identity-token` takes a token (three parts with dots between) or a file with one
");
}

#[test]
fn an_authority_that_refuses_is_quoted_without_the_token() {
    let token = token(3600);
    let echo = token.clone();
    let services = Services::start(Faults {
        certificate: fault(move || Reply::new(403).body(format!("no: {echo}\n"))),
        ..Faults::default()
    });
    let workspace = Workspace::new();
    let image = image(&workspace);
    let output = services.sign(&workspace, &image, "2", &token).expect(2);
    assert!(!output.stderr.contains(&token));
    insta::assert_snapshot!(output.transcript(&[(services.server.host().as_str(), "[services]")]), @r"
exit: 2
--- stdout
--- stderr
error: `http://[services]` did not give a certificate
  cause: it says: 403 Forbidden: no: …
");
    assert_eq!(services.asked("signingCert"), 1);
    assert_eq!(services.asked("log"), 0);
}

#[test]
fn a_timestamp_that_is_garbage_is_noticed_before_anything_is_logged() {
    for garbage in [&b"<html>"[..], b"", &[0x30, 5, 0x30, 3, 2, 1, 2]] {
        let services = Services::start(Faults {
            timestamp: fault(move || Reply::new(200).body(garbage)),
            ..Faults::default()
        });
        let said = services.refuse("2");
        assert!(
            said.contains("malformed answer of `http://[services]`"),
            "{said}"
        );
        assert_eq!(services.asked("/log/"), 0);
    }
}

#[test]
fn a_log_that_breaks_after_it_was_asked_is_not_asked_again() {
    let services = Services::start(Faults {
        log: fault(Reply::none),
        ..Faults::default()
    });
    insta::assert_snapshot!(services.refuse("2"), @r"
exit: 2
--- stdout
--- stderr
error: failed to log the signature
  cause: `http://[services]` is unreachable: the connection broke off: connection closed before message completed
hint: `--service-timeout` says how long to wait
");
    assert_eq!(services.asked("/log/"), 1);
    let services = Services::start(Faults {
        log: fault(|| Reply::new(500).body("broken")),
        ..Faults::default()
    });
    insta::assert_snapshot!(services.refuse("2"), @r"
exit: 2
--- stdout
--- stderr
error: `http://[services]` did not log the signature
  cause: it says: 500 Internal Server Error: broken
");
    assert_eq!(services.asked("/log/"), 1);
}

#[test]
fn a_log_that_says_it_is_busy_is_asked_again() {
    let asked = AtomicUsize::new(0);
    let services = Services::start(Faults {
        log: fault(move || match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::new(503).header("Retry-After: 0").body("busy"),
            _ => Reply::new(400).body("no"),
        }),
        ..Faults::default()
    });
    let said = services.refuse("2");
    assert!(said.contains("400 Bad Request: no"), "{said}");
    assert_eq!(services.asked("/log/"), 2);
}

#[test]
fn a_log_that_is_silent_is_not_waited_for() {
    let services = Services::start(Faults {
        log: fault(|| Reply::new(201).header("Content-Length: 10").then_silence()),
        ..Faults::default()
    });
    insta::assert_snapshot!(services.refuse("2"), @r"
exit: 2
--- stdout
--- stderr
error: failed to log the signature
  cause: `http://[services]` is unreachable: the answer took too long
hint: `--service-timeout` says how long to wait
");
    assert_eq!(services.asked("/log/"), 1);
}

#[test]
fn what_a_log_has_already_is_not_logged_again() {
    let services = Services::start(Faults {
        log: fault(|| Reply::new(409).body("there")),
        ..Faults::default()
    });
    insta::assert_snapshot!(services.refuse("2"), @r"
exit: 2
--- stdout
--- stderr
error: `http://[services]` has logged this signature before, and gives no proof of it
hint: the same key has signed the same before: it need not be signed again
");
    // The older kind says where it is.
    let asked = AtomicUsize::new(0);
    let services = Services::start(Faults {
        log: fault(move || match asked.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::new(409)
                .header("Location: /api/v1/log/entries/24ab")
                .body("there"),
            _ => Reply::new(500).body("never"),
        }),
        ..Faults::default()
    });
    let said = services.refuse("1");
    assert!(said.contains("404 Not Found"), "{said}");
    let lines = services.server.lines();
    let last = lines.last().map(String::as_str);
    assert_eq!(last, Some("GET /api/v1/log/entries/24ab"));
}

#[test]
fn what_no_stranger_could_verify_is_not_attached() {
    // All services answer, and nothing that they say is true.
    let services = Services::start(Faults {
        log: fault(|| {
            let body = STANDARD.encode(r#"{"apiVersion":"0.0.2","kind":"hashedrekord","spec":{}}"#);
            let entry = json!({
                "logIndex": "0",
                "logId": {"keyId": "AA=="},
                "kindVersion": {"kind": "hashedrekord", "version": "0.0.2"},
                "inclusionProof": {
                    "logIndex": "0", "rootHash": "AA==", "treeSize": "1", "hashes": [],
                    "checkpoint": {"envelope": "x"},
                },
                "canonicalizedBody": body,
            });
            Reply::new(201).body(entry.to_string())
        }),
        ..Faults::default()
    });
    let said = services.refuse("2");
    assert!(said.contains("cannot be verified"), "{said}");
}

#[test]
fn a_token_is_asked_of_github_and_not_said() {
    let given = token(3600);
    let answer = json!({"value": given}).to_string();
    let github = Scripted::start(move |_: &Asked| Reply::new(200).body(answer.clone()));
    let services = Services::start(Faults {
        certificate: fault(|| Reply::new(403).body("no")),
        ..Faults::default()
    });
    let workspace = Workspace::new();
    let image = image(&workspace);
    let base = format!("http://{}", services.server.host());
    let trusted = workspace.write("trusted_root.json", TRUSTED_ROOT);
    let mut command = workspace.sealpack(["sign", &image, "--fulcio-url", &base]);
    command
        .arg("--trusted-root")
        .arg(trusted)
        .env(
            "ACTIONS_ID_TOKEN_REQUEST_URL",
            format!("http://{}/?x=y", github.host()),
        )
        .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "hunter2hunter2");
    let output = Output::of(&mut command).expect(2);
    assert!(
        output.stderr.contains("403 Forbidden: no"),
        "{}",
        output.stderr
    );
    assert!(!output.stderr.contains("hunter2"));
    let asked = github.asked();
    assert_eq!(asked[0].line, "GET /?x=y&audience=sigstore");
    assert_eq!(asked[0].headers["authorization"], "Bearer hunter2hunter2");
    // Nothing is to come compressed, whatever other crates switch on.
    assert!(!asked[0].headers.contains_key("accept-encoding"));
    let shown = &services.server.asked()[0].headers["authorization"];
    assert_eq!(*shown, format!("Bearer {given}"));
}
