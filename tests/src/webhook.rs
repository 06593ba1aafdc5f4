//! A running `sealpack serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hyper::Method;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::https::{Https, Response};
use crate::{Certificates, Workspace, free_port};

/// A running `sealpack serve`. Ends when it is dropped.
#[derive(Debug)]
pub struct Webhook {
    child: Child,
    address: SocketAddr,
    health: SocketAddr,
    authority: PathBuf,
    log: PathBuf,
}

impl Webhook {
    /// Starts it with these arguments beside those for addresses and certificate (`server`, from the
    /// folder `tls` of the workspace), and waits until it is ready.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(workspace: &Workspace, certificates: &Certificates, arguments: &[&str]) -> Self {
        let command = Self::command(workspace, arguments);
        Self::run(workspace, certificates, command)
    }

    fn command(workspace: &Workspace, arguments: &[&str]) -> (Command, SocketAddr, SocketAddr) {
        let [address, health] =
            [free_port(), free_port()].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let mut command = workspace.sealpack(["serve"]);
        command
            .args([
                "--tls-cert",
                "tls/server.pem",
                "--tls-key",
                "tls/server.key",
            ])
            .args(["--listen", &address.to_string()])
            .args(["--health-listen", &health.to_string()])
            .args(arguments);
        (command, address, health)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a server that does not come up must fail the test"
    )]
    fn run(
        workspace: &Workspace,
        certificates: &Certificates,
        (mut command, address, health): (Command, SocketAddr, SocketAddr),
    ) -> Self {
        let log = workspace.join(format!("serve-{}.log", address.port()));
        let written = fs_err::File::create(&log).expect("a log");
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(written.into_parts().0)
            .spawn()
            .expect("sealpack starts");
        let mut webhook = Self {
            child,
            address,
            health,
            authority: certificates.ca(),
            log,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while webhook.health("/readyz").is_none() {
            assert!(
                webhook.ended().is_none() && Instant::now() < deadline,
                "sealpack serve does not answer: {}",
                fs_err::read_to_string(&webhook.log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        webhook
    }

    /// Where it is asked.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A new connection.
    ///
    /// # Panics
    /// If there is none to be had.
    pub async fn connect(&self) -> Https {
        let connected = Https::connect(self.address, &self.authority, true).await;
        connected.unwrap_or_else(|error| panic!("{error}\n{}", self.log_text()))
    }

    /// Asks it about an object that is to be made, on a new connection.
    ///
    /// # Panics
    /// If it does not answer with a review.
    pub async fn ask(&self, path: &str, object: &Value) -> Value {
        let review = review("CREATE", object, &Value::Null);
        let mut connection = self.connect().await;
        let response = connection
            .send(
                Method::POST,
                path,
                &[("content-type", "application/json")],
                review.to_string(),
            )
            .await
            .unwrap_or_else(|error| panic!("{error}\n{}", self.log_text()));
        answer(&response)
    }

    /// What is said without TLS, if anything is: the status and the text.
    pub fn health(&self, path: &str) -> Option<(u16, String)> {
        use std::io::{Read as _, Write as _};

        let mut stream = std::net::TcpStream::connect(self.health).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let status = text.split(' ').nth(1)?.parse().ok()?;
        let (_, body) = text.split_once("\r\n\r\n")?;
        Some((status, body.to_owned()))
    }

    /// A figure of `/metrics`: the name, with its labels.
    pub fn figure(&self, name: &str) -> Option<f64> {
        let (_, text) = self.health("/metrics")?;
        text.lines()
            .find_map(|it| it.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// All lines of the log with this message.
    pub fn logged(&self, message: &str) -> Vec<Value> {
        self.log_text()
            .lines()
            .filter_map(|it| serde_json::from_str::<Value>(it).ok())
            .filter(|it| it.get("message").and_then(Value::as_str) == Some(message))
            .collect()
    }

    /// Waits until something holds of it; says so if it never does.
    ///
    /// # Panics
    /// After ten seconds.
    #[expect(
        clippy::disallowed_methods,
        reason = "what does not come must fail the test"
    )]
    pub fn wait_for(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !holds(self) {
            assert!(Instant::now() < deadline, "{what}\n{}", self.log_text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// If it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// The exit code, if it has ended.
    ///
    /// # Panics
    /// If it is not our child.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.try_wait().expect("it is our child")?;
        Some(status.code().unwrap_or(-1))
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// If it is not our child.
    pub fn wait(&mut self) -> i32 {
        self.child
            .wait()
            .expect("it is our child")
            .code()
            .unwrap_or(-1)
    }

    fn log_text(&self) -> String {
        fs_err::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

/// The review that an API server would send: in namespace `shop`, by `alice`.
pub fn review(operation: &str, object: &Value, old: &Value) -> Value {
    let known = if object.is_null() { old } else { object };
    let api = known
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or("v1");
    let (group, version) = api.split_once('/').unwrap_or(("", api));
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0f6a9d5e-1",
            "kind": {"group": group, "version": version, "kind": known.get("kind")},
            "namespace": "shop",
            "name": known.pointer("/metadata/name"),
            "operation": operation,
            "userInfo": {"username": "alice"},
            "object": object,
            "oldObject": old,
            "dryRun": false,
        },
    })
}

/// What a review is answered by.
///
/// # Panics
/// If it is not.
pub fn answer(response: &Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    let mut review = response.json();
    assert_eq!(review.pointer("/kind"), Some(&json!("AdmissionReview")));
    assert_eq!(review.pointer("/response/uid"), Some(&json!("0f6a9d5e-1")));
    review
        .get_mut("response")
        .map(Value::take)
        .unwrap_or_default()
}
