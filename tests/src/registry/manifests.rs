//! Its manifests and tags.

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderName, IF_MATCH, LINK, LOCATION};
use hyper::{Method, StatusCode};
use oci::Digest;
use serde_json::{Value, json};

use super::server::{Answer, Asked, Body, answer, error, json_answer};
use super::storage::{Repository, Stored};
use super::{State, Switches};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// `/v2/NAME/manifests/REFERENCE`
pub(super) fn manifest(state: &State, asked: &Asked, name: &str, reference: &str) -> Answer {
    match asked.method {
        Method::GET | Method::HEAD => read(state, asked, name, reference),
        Method::PUT => write(state, asked, name, reference),
        Method::DELETE => {
            let mut storage = state.storage();
            let repository = storage.repository(name);
            if repository.tags.remove(reference).is_some() {
                return answer(StatusCode::ACCEPTED);
            }
            match repository.manifests.remove(reference) {
                Some(_) => {
                    repository.tags.retain(|_, digest| digest != reference);
                    answer(StatusCode::ACCEPTED)
                }
                None => unknown(),
            }
        }
        _ => error(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "no such method",
        ),
    }
}

fn read(state: &State, asked: &Asked, name: &str, reference: &str) -> Answer {
    let switches = state.switches().clone();
    if asked.method == Method::HEAD && switches.no_head {
        return answer(StatusCode::METHOD_NOT_ALLOWED);
    }
    let mut storage = state.storage();
    let repository = storage.repository(name);
    let found = repository.find(reference);
    let Some((digest, stored)) = found.filter(|(it, _)| !repository.hidden.contains(it)) else {
        return unknown();
    };
    drop(storage);
    let mut headers = vec![(CONTENT_TYPE, stored.media_type)];
    if !switches.no_digest_header {
        headers.push((DIGEST, digest.clone()));
    }
    if switches.conditional {
        headers.push((ETAG, format!("\"{digest}\"")));
    }
    let body = if asked.method == Method::HEAD {
        Body::Length(stored.content.len())
    } else {
        Body::Whole(falsify(&switches, stored.content))
    };
    Answer {
        status: StatusCode::OK,
        headers,
        body,
    }
}

/// The content, or, as the switches want it, something else of the same size.
pub(super) fn falsify(switches: &Switches, content: Bytes) -> Bytes {
    if !switches.wrong_content {
        return content;
    }
    let mut bytes = content.to_vec();
    if let Some(first) = bytes.first_mut() {
        *first ^= 1;
    }
    bytes.into()
}

fn write(state: &State, asked: &Asked, name: &str, reference: &str) -> Answer {
    let media_type = asked
        .headers
        .get(CONTENT_TYPE)
        .and_then(|it| it.to_str().ok())
        .unwrap_or("")
        .to_owned();
    let Ok(document) = serde_json::from_slice::<Value>(&asked.body) else {
        return error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", "no JSON");
    };
    let digest = Digest::of(&asked.body);
    let tag = (!reference.contains(':')).then_some(reference);
    if tag.is_none() && reference != digest.as_str() {
        return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "another digest");
    }
    let mut switches = state.switches();
    let mut storage = state.storage();
    let repository = storage.repository(name);
    let present = tag.and_then(|it| repository.tags.get(it)).cloned();
    if switches.conditional
        && let Some(expected) = asked.headers.get(IF_MATCH)
        && expected.to_str().ok() != present.map(|it| format!("\"{it}\"")).as_deref()
    {
        return answer(StatusCode::PRECONDITION_FAILED);
    }
    if let Some(missing) = missing(repository, &document) {
        return error(StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN", &missing);
    }
    repository.put(tag, &digest, &media_type, asked.body.clone());
    if tag.is_some_and(|it| it.starts_with("sha256-")) && switches.lost_races > 0 {
        switches.lost_races -= 1;
        let other = json!({"mediaType": INDEX, "digest": Digest::of(&[0; 9]), "size": 9});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [other]});
        let index = Bytes::from(index.to_string());
        repository.put(tag, &Digest::of(&index), INDEX, index);
    }
    let mut headers = vec![
        (LOCATION, format!("/v2/{name}/manifests/{digest}")),
        (DIGEST, digest.to_string()),
    ];
    if !switches.no_referrers_api
        && let Some(subject) = document.pointer("/subject/digest").and_then(Value::as_str)
    {
        let other = Digest::of(subject.as_bytes()).to_string();
        let named = if switches.wrong_subject {
            other
        } else {
            subject.to_owned()
        };
        headers.push((SUBJECT, named));
        if switches.lost_referrers > 0 {
            switches.lost_referrers -= 1;
            repository.unlisted.insert(digest.to_string());
        } else {
            repository.unlisted.remove(digest.as_str());
        }
        if switches.lost_manifests > 0 {
            switches.lost_manifests -= 1;
            repository.hidden.insert(digest.to_string());
        } else {
            repository.hidden.remove(digest.as_str());
        }
    }
    Answer {
        status: StatusCode::CREATED,
        headers,
        body: Body::Whole(Bytes::new()),
    }
}

/// What an image manifest refers to that is not there.
fn missing(repository: &Repository, document: &Value) -> Option<String> {
    let layers = document
        .get("layers")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    layers
        .chain(document.get("config"))
        .filter_map(|it| it.get("digest")?.as_str())
        .find(|it| !repository.blobs.contains_key(*it))
        .map(str::to_owned)
}

/// `/v2/NAME/tags/list`
pub(super) fn tags(state: &State, asked: &Asked, name: &str) -> Answer {
    let switches = state.switches().clone();
    let mut storage = state.storage();
    let repository = storage.repository(name);
    if repository.manifests.is_empty() {
        return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "no such repository");
    }
    let all: Vec<Value> = repository.tags.keys().map(|it| json!(it)).collect();
    let (page, link) = page_of(&switches, asked, all);
    let mut answer = json_answer(StatusCode::OK, &json!({ "name": name, "tags": page }));
    answer.headers.extend(link);
    answer
}

/// `/v2/NAME/referrers/DIGEST`
pub(super) fn referrers(state: &State, asked: &Asked, name: &str, subject: &str) -> Answer {
    let switches = state.switches().clone();
    if switches.no_referrers_api {
        return error(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such address");
    }
    if subject.parse::<Digest>().is_err() {
        return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "no digest");
    }
    let filter = asked
        .query
        .get("artifactType")
        .filter(|_| !switches.ignore_filter);
    let mut storage = state.storage();
    let repository = storage.repository(name);
    let all: Vec<Value> = repository
        .attached(subject)
        .filter(|(digest, _)| !repository.unlisted.contains(*digest))
        .filter_map(|(digest, stored)| listed(&switches, digest, stored))
        .filter(|it| {
            filter
                .is_none_or(|filter| it.get("artifactType").and_then(Value::as_str) == Some(filter))
        })
        .collect();
    let (page, link) = page_of(&switches, asked, all);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": page});
    let (media_type, content) = match switches.referrers_media_type {
        Some(media_type) => (media_type, Bytes::from_static(b"<p>Welcome!")),
        None => (INDEX, Bytes::from(index.to_string())),
    };
    let mut headers = vec![
        (CONTENT_TYPE, media_type.to_owned()),
        (CONTENT_LENGTH, content.len().to_string()),
    ];
    if filter.is_some() {
        let applied = HeaderName::from_static("oci-filters-applied");
        headers.push((applied, "artifactType".to_owned()));
    }
    headers.extend(link);
    Answer {
        status: StatusCode::OK,
        headers,
        body: Body::Whole(content),
    }
}

fn listed(switches: &Switches, digest: &str, stored: &Stored) -> Option<Value> {
    let document: Value = serde_json::from_slice(&stored.content).ok()?;
    let own = document
        .get("artifactType")
        .or_else(|| document.pointer("/config/mediaType"));
    let artifact_type = switches
        .wrong_artifact_type
        .map(Value::from)
        .or(own.cloned());
    let mut entry = json!({
        "mediaType": stored.media_type,
        "digest": digest,
        "size": stored.content.len(),
    });
    if let Some(fields) = entry.as_object_mut() {
        fields.extend(artifact_type.map(|it| ("artifactType".to_owned(), it)));
        let annotations = document.get("annotations").cloned();
        fields.extend(annotations.map(|it| ("annotations".to_owned(), it)));
    }
    Some(entry)
}

/// One page of a listing, and the link to the next one.
fn page_of(
    switches: &Switches,
    asked: &Asked,
    all: Vec<Value>,
) -> (Vec<Value>, Option<(HeaderName, String)>) {
    let number = |name: &str| asked.query.get(name).and_then(|it| it.parse().ok());
    let start = number("start").unwrap_or(0_usize);
    let asked_for = number("n").unwrap_or(usize::MAX);
    let size = switches.page_size.unwrap_or(usize::MAX).min(asked_for);
    let rest = all.len().saturating_sub(start);
    let page = all.into_iter().skip(start).take(size).collect();
    let next = if switches.endless_pages {
        start + 1
    } else if rest > size {
        start + size
    } else {
        return (page, None);
    };
    let server = switches.next_page_at.as_deref().unwrap_or("");
    let link = format!("<{server}{}?start={next}>; rel=\"next\"", asked.path);
    (page, Some((LINK, link)))
}

fn unknown() -> Answer {
    error(
        StatusCode::NOT_FOUND,
        "MANIFEST_UNKNOWN",
        "no such manifest",
    )
}
