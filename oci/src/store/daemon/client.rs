//! Requests to Docker's API, and their answers.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::connection::{Body, Connection};
use super::problem::DaemonProblem;
use super::{DaemonAddress, DaemonOptions};
use crate::StoreError;

/// The newest version of the API that we know (Docker 28). A daemon that is older is spoken to in its
/// own.
const API: (u32, u32) = (1, 48);
/// Bytes that are read of a refusal.
const MAX_REFUSAL_BYTES: u64 = 64 << 10;

/// A client of one daemon. Connects when it is first needed.
#[derive(Debug)]
pub(super) struct Client {
    address: DaemonAddress,
    pub(super) options: DaemonOptions,
    /// Connections on which nothing is under way: a new one by `ssh` takes long.
    idle: Mutex<Vec<Connection>>,
    version: OnceCell<Version>,
}

/// What the daemon says of itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Version {
    #[serde(rename = "ApiVersion")]
    api: String,
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    pub(super) arch: String,
    #[serde(default)]
    components: Option<Vec<Component>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    #[serde(default)]
    name: String,
}

impl Version {
    /// Major and minor number of the API that both sides know.
    pub(super) fn api(&self) -> (u32, u32) {
        let parsed = self.api.split_once('.');
        let parsed =
            parsed.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        parsed.map_or(API, |theirs| API.min(theirs))
    }

    /// Whether it is no Docker, but Podman, which speaks the same API.
    pub(super) fn is_podman(&self) -> bool {
        let mut components = self.components.iter().flatten();
        components.any(|it| it.name == "Podman Engine")
    }
}

impl Client {
    pub(super) fn new(address: DaemonAddress, options: DaemonOptions) -> Self {
        Self {
            address,
            options,
            idle: Mutex::default(),
            version: OnceCell::new(),
        }
    }

    /// How the daemon is called in errors.
    pub(super) fn place(&self) -> String {
        self.address.to_string()
    }

    /// What the daemon says of itself. Asked for once.
    pub(super) async fn version(&self) -> Result<&Version, DaemonProblem> {
        let ask = || async {
            let request = Self::request(Method::GET, "/version", empty())?;
            let answer = self.send(request, self.options.silence_timeout).await?;
            parse(&answer.document(self).await?)
        };
        self.version.get_or_try_init(ask).await
    }

    /// A document of the API; none, if the daemon says that there is none.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<Option<T>, DaemonProblem> {
        let silence = self.options.silence_timeout;
        let answer = self.ask(Method::GET, path, empty(), silence).await?;
        if answer.status == StatusCode::NOT_FOUND {
            answer.refusal(self).await;
            return Ok(None);
        }
        parse(&answer.document(self).await?).map(Some)
    }

    /// Asks for something, at a path below the version of the API. `patience` is how long the
    /// daemon may be silent.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Body,
        patience: Duration,
    ) -> Result<Answer, DaemonProblem> {
        let (major, minor) = self.version().await?.api();
        let path = format!("/v{major}.{minor}{path}");
        self.send(Self::request(method, &path, body)?, patience)
            .await
    }

    fn request(method: Method, path: &str, body: Body) -> Result<Request<Body>, DaemonProblem> {
        Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "docker")
            .header(USER_AGENT, concat!("sealpack/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/x-tar")
            .body(body)
            .map_err(DaemonProblem::broken)
    }

    async fn send(
        &self,
        request: Request<Body>,
        patience: Duration,
    ) -> Result<Answer, DaemonProblem> {
        let mut connection = match self.idle_connection().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let sent = timeout(patience, connection.sender.send_request(request)).await;
        let Ok(sent) = sent else {
            return Err(DaemonProblem::Silent(patience));
        };
        let error = match sent {
            Ok(response) => {
                return Ok(Answer {
                    status: response.status(),
                    body: response.into_body(),
                    patience,
                    connection,
                });
            }
            Err(error) => error,
        };
        match connection.ssh {
            Some(ssh) => Err(match ssh.words().await {
                words if words.is_empty() => DaemonProblem::broken(error),
                words => DaemonProblem::Ssh { words },
            }),
            None => Err(DaemonProblem::broken(error)),
        }
    }

    /// Opens connections for later.
    pub(super) async fn connect_ahead(&self, count: usize) -> Result<(), DaemonProblem> {
        for _ in 0..count {
            let connection = self.connect().await?;
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(connection);
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Connection, DaemonProblem> {
        let limit = self.options.connect_timeout;
        match timeout(limit, Connection::open(&self.address)).await {
            Ok(opened) => opened,
            Err(_) => Err(DaemonProblem::Silent(limit)),
        }
    }

    async fn idle_connection(&self) -> Option<Connection> {
        loop {
            let idle = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            let mut connection = idle?;
            if connection.sender.ready().await.is_ok() {
                return Some(connection);
            }
        }
    }

    /// `problem`, that came of an attempt to do `action`.
    pub(super) fn error(&self, action: impl Into<String>, problem: DaemonProblem) -> StoreError {
        let (place, action) = (self.place(), action.into());
        match problem {
            DaemonProblem::Said { status, .. } if status < 500 => StoreError::Refused {
                place,
                action,
                source: problem.into(),
            },
            problem => StoreError::Unavailable {
                place,
                action,
                source: problem.into(),
            },
        }
    }
}

/// What a daemon answers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    body: Incoming,
    patience: Duration,
    connection: Connection,
}

impl Answer {
    /// The next bytes; none at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, DaemonProblem> {
        loop {
            let frame = timeout(self.patience, self.body.frame()).await;
            match frame {
                Err(_) => return Err(DaemonProblem::Silent(self.patience)),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(DaemonProblem::broken(error)),
                Ok(Some(Ok(frame))) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }

    /// All of it, if the daemon said yes.
    pub(super) async fn document(self, client: &Client) -> Result<Bytes, DaemonProblem> {
        if self.status.is_success() {
            let limit = client.options.limits.metadata_bytes;
            return self.read(client, limit).await;
        }
        Err(self.refusal(client).await)
    }

    /// What the daemon says about why not.
    pub(super) async fn refusal(self, client: &Client) -> DaemonProblem {
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        let status = self.status.as_u16();
        let message = match self.read(client, MAX_REFUSAL_BYTES).await {
            Err(problem) => return problem,
            Ok(text) => match serde_json::from_slice::<Refusal>(&text) {
                Ok(refusal) => refusal.message,
                Err(_) => String::from_utf8_lossy(&text).into_owned(),
            },
        };
        DaemonProblem::said(status, &message)
    }

    async fn read(mut self, client: &Client, limit: u64) -> Result<Bytes, DaemonProblem> {
        let mut text = Vec::new();
        while let Some(bytes) = self.next().await? {
            if (text.len() + bytes.len()) as u64 > limit {
                return Err(DaemonProblem::TooLong { limit });
            }
            text.extend_from_slice(&bytes);
        }
        self.release(client);
        Ok(text.into())
    }

    /// All of it has been read: the next request may use the connection.
    pub(super) fn release(self, client: &Client) {
        let mut idle = client.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(self.connection);
    }
}

/// No body.
pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, DaemonProblem> {
    serde_json::from_slice(text).map_err(DaemonProblem::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_api_is_spoken() {
        for (theirs, spoken) in [
            ("1.24", (1, 24)),
            ("1.48", API),
            ("1.99", API),
            ("2.0", API),
            ("new", API),
        ] {
            let version: Version =
                serde_json::from_value(serde_json::json!({ "ApiVersion": theirs })).unwrap();
            assert_eq!(version.api(), spoken, "{theirs}");
        }
    }
}
