//! Its blobs and uploads.

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, LOCATION, RANGE,
};
use hyper::{Method, StatusCode};
use oci::Digest;

use super::State;
use super::manifests::falsify;
use super::server::{Answer, Asked, Body, answer, error};

/// `/v2/NAME/blobs/DIGEST`
pub(super) fn blob(state: &State, asked: &Asked, name: &str, digest: &str) -> Answer {
    let switches = state.switches().clone();
    if let (Some(server), &Method::GET) = (&switches.elsewhere, &asked.method) {
        let mut answer = answer(StatusCode::TEMPORARY_REDIRECT);
        answer
            .headers
            .push((LOCATION, format!("{server}/elsewhere/blobs/{digest}")));
        return answer;
    }
    let found = state.storage().repository(name).blobs.get(digest).cloned();
    match (&asked.method, found) {
        (&Method::GET | &Method::HEAD, Some(content)) => send(state, asked, content),
        (&Method::DELETE, Some(_)) => {
            state.storage().repository(name).blobs.remove(digest);
            answer(StatusCode::ACCEPTED)
        }
        _ => error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "no such blob"),
    }
}

fn send(state: &State, asked: &Asked, content: Bytes) -> Answer {
    let switches = state.switches().clone();
    let mut headers = vec![(CONTENT_TYPE, "application/octet-stream".to_owned())];
    if asked.method == Method::HEAD {
        return Answer {
            status: StatusCode::OK,
            headers,
            body: Body::Length(content.len()),
        };
    }
    let content = falsify(&switches, content);
    if switches.endless || switches.excess.is_some() {
        return Answer {
            status: StatusCode::OK,
            headers,
            body: Body::Longer(content, switches.excess),
        };
    }
    let start = asked
        .headers
        .get(RANGE)
        .filter(|_| !switches.no_ranges)
        .and_then(|it| it.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-'))
        .and_then(|it| it.parse::<usize>().ok());
    let (status, body) = match start {
        None => (StatusCode::OK, content),
        Some(start) if start >= content.len() => {
            return error(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "BLOB_UNKNOWN",
                "it is shorter",
            );
        }
        Some(start) => {
            let range = format!("bytes {start}-{}/{}", content.len() - 1, content.len());
            headers.push((CONTENT_RANGE, range));
            (StatusCode::PARTIAL_CONTENT, content.slice(start..))
        }
    };
    headers.push((ACCEPT_RANGES, "bytes".to_owned()));
    headers.push((CONTENT_LENGTH, body.len().to_string()));
    Answer {
        status,
        headers,
        body: Body::Whole(body),
    }
}

/// `/v2/NAME/blobs/uploads/[ID]`
pub(super) fn upload(state: &State, asked: &Asked, name: &str, id: &str) -> Answer {
    if id.is_empty() {
        return begin(state, asked, name);
    }
    let mut storage = state.storage();
    let Some(received) = storage.uploads.get_mut(id) else {
        return error(
            StatusCode::NOT_FOUND,
            "BLOB_UPLOAD_UNKNOWN",
            "no such upload",
        );
    };
    match asked.method {
        Method::GET => at(StatusCode::NO_CONTENT, asked, name, id, received.len()),
        Method::DELETE => {
            storage.uploads.remove(id);
            answer(StatusCode::NO_CONTENT)
        }
        Method::PATCH | Method::PUT => {
            let start = asked
                .headers
                .get(CONTENT_RANGE)
                .and_then(|it| it.to_str().ok()?.split_once('-')?.0.parse::<usize>().ok());
            let part = asked.method == Method::PATCH && !received.is_empty();
            if start.map_or(part, |it| it != received.len()) {
                return error(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    "BLOB_UPLOAD_INVALID",
                    "not where it broke off",
                );
            }
            if asked.method == Method::PUT && asked.broken {
                return answer(StatusCode::BAD_REQUEST);
            }
            received.extend_from_slice(&asked.body);
            let len = received.len();
            if asked.method == Method::PATCH {
                return at(StatusCode::ACCEPTED, asked, name, id, len);
            }
            let content = received.clone().freeze();
            storage.uploads.remove(id);
            end(&mut storage, asked, name, content)
        }
        _ => error(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "no such method",
        ),
    }
}

fn begin(state: &State, asked: &Asked, name: &str) -> Answer {
    let switches = state.switches().clone();
    let mut storage = state.storage();
    if let (Some(digest), Some(from)) = (asked.query.get("mount"), asked.query.get("from"))
        && !switches.decline_mounts
        && let Some(content) = storage.repository(from).blobs.get(digest).cloned()
    {
        let blobs = &mut storage.repository(name).blobs;
        blobs.insert(digest.clone(), content);
        return created(name, digest);
    }
    let id = storage.begin_upload();
    let mut answer = at(StatusCode::ACCEPTED, asked, name, &id, 0);
    if let Some(server) = &switches.elsewhere {
        let location = format!("{server}/elsewhere/uploads/{name}/{id}");
        answer.headers = vec![(LOCATION, location)];
    }
    answer
}

fn end(storage: &mut super::storage::Storage, asked: &Asked, name: &str, content: Bytes) -> Answer {
    let digest = Digest::of(&content).to_string();
    if asked.query.get("digest") != Some(&digest) {
        return error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "another digest");
    }
    storage
        .repository(name)
        .blobs
        .insert(digest.clone(), content);
    created(name, &digest)
}

fn created(name: &str, digest: &str) -> Answer {
    let mut answer = answer(StatusCode::CREATED);
    answer
        .headers
        .push((LOCATION, format!("/v2/{name}/blobs/{digest}")));
    answer
}

/// How far an upload is. Its address changes with each answer, and keeps to the last one.
fn at(status: StatusCode, asked: &Asked, name: &str, id: &str, len: usize) -> Answer {
    let mut answer = answer(status);
    let place = if asked.path.starts_with("/elsewhere/") {
        format!("/elsewhere/uploads/{name}/{id}?state={len}")
    } else {
        format!("/v2/{name}/blobs/uploads/{id}?state={len}")
    };
    answer.headers.push((LOCATION, place));
    answer
        .headers
        .push((RANGE, format!("0-{}", len.saturating_sub(1))));
    let id_header = HeaderName::from_static("docker-upload-uuid");
    answer.headers.push((id_header, id.to_owned()));
    answer
}

/// `/elsewhere/blobs/DIGEST` and `/elsewhere/uploads/NAME/ID`: what other servers point at. Open to
/// all.
pub(super) fn elsewhere(state: &State, asked: &Asked, rest: &str) -> Answer {
    if let Some(digest) = rest.strip_prefix("blobs/") {
        return match state.storage().any_blob(digest) {
            Some(content) => send(state, asked, content),
            None => error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "no such blob"),
        };
    }
    match rest
        .strip_prefix("uploads/")
        .and_then(|it| it.rsplit_once('/'))
    {
        Some((name, id)) => {
            state.storage().uploads.entry(id.to_owned()).or_default();
            upload(state, asked, name, id)
        }
        None => error(StatusCode::NOT_FOUND, "UNSUPPORTED", "no such address"),
    }
}
