//! `POST /v1/verify`: the same verdict for whoever asks over HTTP, without an object of Kubernetes.

use std::time::Duration;

use admission::{Decision, Image, MAX_IMAGES};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::log::chain;
use crate::review::{Reviewer, said};

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    images: Vec<String>,
    #[serde(default)]
    namespace: Option<String>,
}

/// The verdicts; an error says what is wrong with the question.
pub(crate) async fn verify(
    reviewer: &Reviewer,
    body: &[u8],
    limit: Duration,
) -> Result<Value, String> {
    let asked: Asked = serde_json::from_slice(body).map_err(|error| chain(&error))?;
    if asked.images.len() > MAX_IMAGES {
        return Err(format!("more than {MAX_IMAGES} images"));
    }
    let images = asked.images.into_iter().map(Image::named).collect();
    let judged = reviewer
        .judge_all(images, asked.namespace.as_deref(), limit)
        .await;
    let accepted = judged
        .iter()
        .all(|(image, it)| image.name.is_ok() && matches!(it, Decision::Accepted { .. }));
    let images: Vec<_> = judged.iter().map(said).collect();
    Ok(json!({"accepted": accepted, "images": images}))
}
