//! A real Kubernetes API server, run for a test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::{Value, json};

use crate::https::{Https, Response};
use crate::{Certificates, free_port, peer};

/// A real Kubernetes API server on loopback: etcd and kube-apiserver (`tests/kube/build` makes them), no
/// nodes, no containers, no root. Both end when this is dropped.
#[derive(Debug)]
pub struct Kube {
    // The first to end is the one that needs the other.
    api: Process,
    #[expect(dead_code, reason = "ends when this is dropped")]
    etcd: Process,
    address: SocketAddr,
    certificates: Certificates,
    folder: PathBuf,
}

const TOKEN: &str = "a-token-of-the-tests-alone";

#[derive(Debug)]
struct Process(Child);

impl Process {
    fn start(program: &Path, arguments: &[String], log: &Path) -> Self {
        let file = |path: &Path| fs_err::File::create(path).expect("a log").into_parts().0;
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file(log))
            .spawn()
            .expect("the program starts");
        Self(child)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

impl Kube {
    /// Starts it in `folder`, where `certificates` lie. Says loudly where something is missing.
    ///
    /// # Panics
    /// If it does not come up within a minute.
    #[expect(
        clippy::disallowed_methods,
        reason = "a server that does not come up must fail the test"
    )]
    pub async fn start(folder: &Path, certificates: &Certificates) -> Option<Self> {
        let (etcd, api) = (peer("etcd")?, peer("kube-apiserver")?);
        let [clients, peers, port] = [free_port(), free_port(), free_port()];
        let at = |port: u16| format!("http://127.0.0.1:{port}");
        let path = |name: &str| folder.join(name).display().to_string();
        let etcd_arguments = [
            "--data-dir".to_owned(),
            path("etcd"),
            "--unsafe-no-fsync".to_owned(),
            format!("--listen-client-urls={}", at(clients)),
            format!("--advertise-client-urls={}", at(clients)),
            format!("--listen-peer-urls={}", at(peers)),
        ];
        fs_err::write(
            folder.join("tokens.csv"),
            format!("{TOKEN},admin,admin,\"system:masters\"\n"),
        )
        .expect("a file");
        let file = |it: PathBuf| it.display().to_string();
        let api_arguments = [
            format!("--etcd-servers={}", at(clients)),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            // Nobody uses it, but without one it looks for a default route.
            "--advertise-address=192.0.2.1".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            format!(
                "--tls-cert-file={}",
                file(certificates.certificate("server"))
            ),
            format!(
                "--tls-private-key-file={}",
                file(certificates.key("server"))
            ),
            format!("--client-ca-file={}", file(certificates.ca())),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!(
                "--service-account-key-file={}",
                file(certificates.key("tokens"))
            ),
            format!(
                "--service-account-signing-key-file={}",
                file(certificates.key("tokens"))
            ),
            format!("--token-auth-file={}", path("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
            // Without controllers nobody makes the account that pods would have to have.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
        ];
        let log = folder.join("kube-apiserver.log");
        let mut kube = Self {
            etcd: Process::start(&etcd, &etcd_arguments, &folder.join("etcd.log")),
            api: Process::start(&api, &api_arguments, &log),
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            certificates: certificates.clone(),
            folder: folder.to_owned(),
        };
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let ended = kube.api.0.try_wait().expect("it is our child").is_some();
            assert!(
                !ended && Instant::now() < deadline,
                "kube-apiserver does not come up: {}",
                fs_err::read_to_string(&log).unwrap_or_default()
            );
            if let Ok(mut connection) = kube.connect().await
                && let Ok(response) = send(&mut connection, Method::GET, "/readyz", None).await
                && response.status == 200
            {
                return Some(kube);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn connect(&self) -> Result<Https, String> {
        Https::connect(self.address, &self.certificates.ca(), true).await
    }

    /// Asks the API server for something; a body is JSON. The status, and what came.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn request(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut connection = self.connect().await.expect("it runs");
        let response = send(&mut connection, method, path, body)
            .await
            .expect("it answers");
        (response.status, response.json())
    }

    /// A connection that stays, for measuring.
    ///
    /// # Panics
    /// If there is none to be had.
    pub async fn client(&self) -> KubeClient {
        KubeClient(self.connect().await.expect("it runs"))
    }

    /// Registers a webhook at `url` for pods and what makes them: `validating` or `mutating`.
    ///
    /// # Panics
    /// If the API server refuses it.
    pub async fn register(&self, kind: &str, name: &str, url: &str, seconds: u32) {
        let ca = fs_err::read(self.certificates.ca()).expect("a certificate");
        let rule = |group: &str, resources: &[&str]| {
            json!({
                "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": resources,
            })
        };
        let (resource, kind) = match kind {
            "mutating" => (
                "mutatingwebhookconfigurations",
                "MutatingWebhookConfiguration",
            ),
            _ => (
                "validatingwebhookconfigurations",
                "ValidatingWebhookConfiguration",
            ),
        };
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": name},
            "webhooks": [{
                "name": format!("{name}.sealpack.example"),
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "timeoutSeconds": seconds,
                "clientConfig": {"url": url, "caBundle": STANDARD.encode(ca)},
                "rules": [
                    rule("", &["pods", "pods/ephemeralcontainers", "replicationcontrollers", "podtemplates"]),
                    rule("apps", &["deployments", "replicasets", "statefulsets", "daemonsets"]),
                    rule("batch", &["jobs", "cronjobs"]),
                ],
            }],
        });
        let path = format!("/apis/admissionregistration.k8s.io/v1/{resource}");
        let (status, answer) = self
            .request(Method::POST, &path, Some(&configuration))
            .await;
        assert_eq!(status, 201, "{answer}");
    }

    /// A file by which kubectl reaches it.
    ///
    /// # Panics
    /// If the disk is full.
    pub fn kubeconfig(&self) -> PathBuf {
        let path = self.folder.join("kubeconfig");
        let ca = fs_err::read(self.certificates.ca()).expect("a certificate");
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {
                "server": format!("https://{}", self.address),
                "certificate-authority-data": STANDARD.encode(ca),
            }}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        });
        fs_err::write(&path, config.to_string()).expect("a file");
        path
    }
}

/// A connection to the API server.
#[derive(Debug)]
pub struct KubeClient(Https);

impl KubeClient {
    /// As [`Kube::request`].
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> (u16, Value) {
        let response = send(&mut self.0, method, path, body)
            .await
            .expect("it answers");
        (response.status, response.json())
    }
}

async fn send(
    connection: &mut Https,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Response, String> {
    let authorization = format!("Bearer {TOKEN}");
    let kind = match method {
        Method::PATCH => "application/strategic-merge-patch+json",
        _ => "application/json",
    };
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", kind),
    ];
    let body = body.map(Value::to_string).unwrap_or_default();
    connection.send(method, path, &headers, body).await
}
