//! As much of Docker's API as is about images.
//!
//! <https://docs.docker.com/reference/api/engine/version/v1.48/>

use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde::Deserialize;

use super::client::{Answer, Client, empty};
use super::connection::Body;
use super::described::{Description, Told};
use super::escape;
use super::problem::DaemonProblem;
use crate::{DiffId, Digest, ImageConfig, Repository, Tag};

/// An image, as the daemon sees it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspected {
    /// Of the config; of the manifest, in a containerd store.
    pub(super) id: Digest,
    #[serde(default, rename = "RootFS")]
    root_fs: RootFs,
    /// In a containerd store: what of the image is there. None before Docker 28.
    manifests: Option<Vec<Held>>,
}

#[derive(Debug, Deserialize)]
struct Held {
    #[serde(rename = "ID")]
    id: Digest,
    /// Whether all content is.
    #[serde(default, rename = "Available")]
    available: bool,
}

impl Inspected {
    /// The diff IDs of its layers, lowest first.
    pub(super) fn layers(&self) -> &[DiffId] {
        self.root_fs.layers.as_deref().unwrap_or_default()
    }

    /// Whether it is the image `id`, and nothing of it is missing as far as the daemon tells.
    pub(super) fn is_whole(&self, id: &Digest) -> bool {
        let is_held = |them: &Vec<Held>| them.iter().any(|it| it.id == *id && it.available);
        self.id == *id && self.manifests.as_ref().is_none_or(is_held)
    }
}

#[derive(Debug, Default, Deserialize)]
struct RootFs {
    #[serde(rename = "Layers")]
    layers: Option<Vec<DiffId>>,
}

/// An image, in a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) id: String,
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    #[serde(default)]
    driver_status: Option<Vec<Vec<String>>>,
}

impl Client {
    /// Whether images are kept by containerd, which has other image IDs, and takes images only whole.
    pub(super) async fn is_containerd(&self) -> Result<bool, DaemonProblem> {
        let info: Option<Info> = self.get("/info").await?;
        let status = info.and_then(|it| it.driver_status).unwrap_or_default();
        Ok(status
            .iter()
            .any(|it| *it == ["driver-type", "io.containerd.snapshotter.v1"]))
    }

    /// The image by a name or an ID.
    pub(super) async fn inspect(&self, image: &str) -> Result<Option<Inspected>, DaemonProblem> {
        let path = format!("/images/{}/json?manifests=1", escape::in_path(image));
        self.get(&path).await
    }

    /// The ID of the image by a name or an ID, and its config as far as it is told.
    pub(super) async fn describe(
        &self,
        image: &str,
    ) -> Result<Option<(Digest, ImageConfig)>, DaemonProblem> {
        #[derive(Deserialize)]
        struct Named {
            #[serde(rename = "Id")]
            id: Digest,
            #[serde(flatten)]
            description: Description,
        }
        let path = format!("/images/{}/json", escape::in_path(image));
        let Some(Named { id, description }) = self.get(&path).await? else {
            return Ok(None);
        };
        // By its ID, so that both are about one image.
        let path = format!("/images/{id}/history");
        let told: Option<Vec<Told>> = self.get(&path).await?;
        Ok(told.map(|told| (id, description.config(told))))
    }

    /// All images, or those with a name in `repository`.
    pub(super) async fn images(
        &self,
        repository: Option<&Repository>,
    ) -> Result<Vec<Listed>, DaemonProblem> {
        let filters = repository.map(|it| {
            let filter = serde_json::json!({"reference": [it.short()]}).to_string();
            format!("?filters={}", escape::in_query(&filter))
        });
        let path = format!("/images/json{}", filters.unwrap_or_default());
        Ok(self.get(&path).await?.unwrap_or_default())
    }

    /// The bytes of the image by a name or an ID, as `docker save` has them; none, if there is no
    /// such image.
    pub(super) async fn save(&self, image: &str) -> Result<Option<Answer>, DaemonProblem> {
        let path = format!("/images/{}/get", escape::in_path(image));
        let patience = self.options.work_timeout;
        let answer = self.ask(Method::GET, &path, empty(), patience).await?;
        match answer.status {
            StatusCode::OK => Ok(Some(answer)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(answer.refusal(self).await),
        }
    }

    /// Makes images of the archive that `body` is, and says how it went.
    pub(super) async fn load(&self, body: Body) -> Result<(), DaemonProblem> {
        let patience = self.options.work_timeout;
        // Progress is asked for as a sign of life.
        let path = "/images/load?quiet=0";
        let mut answer = self.ask(Method::POST, path, body, patience).await?;
        if !answer.status.is_success() {
            return Err(answer.refusal(self).await);
        }
        let mut lines = Lines::default();
        while let Some(bytes) = answer.next().await? {
            lines.add(&bytes)?;
        }
        answer.release(self);
        lines.end()
    }

    /// Names the image that has this ID.
    pub(super) async fn tag(
        &self,
        id: &Digest,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<(), DaemonProblem> {
        let repo = escape::in_query(&repository.short());
        let path = format!("/images/{id}/tag?repo={repo}&tag={tag}");
        let silence = self.options.silence_timeout;
        let answer = self.ask(Method::POST, &path, empty(), silence).await?;
        answer.document(self).await.map(drop)
    }
}

/// Bytes of one line of the answer to a load.
const MAX_LINE: usize = 1 << 20;
/// Bytes of all of it: a line for each half a megabyte that is unpacked, and more.
const MAX_LINES: u64 = 1 << 30;

/// What a daemon tells while it loads: one JSON object after the other. It has said 200 by then, so
/// that it failed stands in one of them.
#[derive(Debug, Default)]
struct Lines {
    rest: Vec<u8>,
    read: u64,
}

#[derive(Deserialize)]
struct Line {
    error: Option<String>,
    stream: Option<String>,
}

impl Lines {
    fn add(&mut self, bytes: &Bytes) -> Result<(), DaemonProblem> {
        self.read += bytes.len() as u64;
        if self.read > MAX_LINES {
            return Err(DaemonProblem::TooLong { limit: MAX_LINES });
        }
        for part in bytes.split_inclusive(|it| *it == b'\n') {
            self.rest.extend_from_slice(part);
            if part.ends_with(b"\n") {
                Self::read(&self.rest)?;
                self.rest.clear();
            } else if self.rest.len() > MAX_LINE {
                let limit = MAX_LINE as u64;
                return Err(DaemonProblem::TooLong { limit });
            }
        }
        Ok(())
    }

    fn end(self) -> Result<(), DaemonProblem> {
        Self::read(&self.rest)
    }

    fn read(line: &[u8]) -> Result<(), DaemonProblem> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Ok(());
        }
        let line: Line = serde_json::from_slice(line).map_err(DaemonProblem::Malformed)?;
        if let Some(error) = line.error {
            return Err(DaemonProblem::said(200, &error));
        }
        match line.stream {
            // With containerd it has the image by then, but cannot run it.
            Some(text) if text.starts_with("Error unpacking image") => {
                Err(DaemonProblem::said(200, &text))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(parts: &[&[u8]]) -> Result<(), DaemonProblem> {
        let mut lines = Lines::default();
        for part in parts {
            lines.add(&Bytes::copy_from_slice(part))?;
        }
        lines.end()
    }

    #[test]
    fn a_failure_is_found_wherever_it_stands() {
        told(&[b"{\"stream\":\"Loaded\"}\r\n", b"\n{\"status\"", b":\"x\"}"]).unwrap();
        for parts in [
            &[b"{\"stream\":\"x\"}\n{\"error\":\"no\"}\n".as_slice()][..],
            &[b"{\"err", b"or\":\"no\"}"],
            &[b"{\"stream\":\"Error unpacking image app:v1: no\"}\n"],
        ] {
            assert!(matches!(told(parts), Err(DaemonProblem::Said { .. })));
        }
        let none = told(&[b"no json\n"]);
        assert!(matches!(none, Err(DaemonProblem::Malformed(_))));
    }

    #[test]
    fn what_a_daemon_tells_has_an_end() {
        let long = vec![b' '; MAX_LINE / 2];
        told(&[&long, &long, b"\n", &long, &long]).unwrap();
        let endless = told(&[&long, &long, b" "]);
        assert!(matches!(endless, Err(DaemonProblem::TooLong { .. })));
        let mut lines = Lines {
            read: MAX_LINES - 1,
            ..Lines::default()
        };
        lines.add(&Bytes::from_static(b"\n")).unwrap();
        let endless = lines.add(&Bytes::from_static(b"\n"));
        assert!(matches!(endless, Err(DaemonProblem::TooLong { .. })));
    }

    #[test]
    fn an_image_is_whole_if_all_of_this_one_is_there() {
        let (id, other) = (Digest::of(b"this"), Digest::of(b"other"));
        let inspected =
            |text: serde_json::Value| -> Inspected { serde_json::from_value(text).unwrap() };
        let held = |held: &Digest, available: bool| {
            inspected(serde_json::json!({
                "Id": id, "Manifests": [{ "ID": held, "Available": available }],
            }))
        };
        assert!(inspected(serde_json::json!({ "Id": id })).is_whole(&id));
        assert!(!inspected(serde_json::json!({ "Id": other })).is_whole(&id));
        assert!(held(&id, true).is_whole(&id));
        assert!(!held(&id, false).is_whole(&id));
        assert!(!held(&other, true).is_whole(&id));
    }
}
