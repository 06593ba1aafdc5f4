//! What a phase says of a registry that did not do what it was asked: in the words of upstream's
//! libraries, since platforms and their tests match them.
//!
//! `oci` says what happened to people; here the same facts are said as go-containerregistry says
//! them, and around them what imgutil says.

use std::collections::BTreeMap;
use std::error::Error;

use oci::store::{RegistryContent, RegistryRefusal, RegistryRequest};
use oci::{ImageError, ManifestError, StoreError};
use serde_json::Value;

use crate::analyze::AnalyzeError;
use crate::cache::CacheError;
use crate::export::ExportError;
use crate::extract::ExtractError;
use crate::images::{OpenError, PlaceError, registry};
use crate::rebase::RebaseError;
use crate::restore::RestoreError;

mod connection;

use connection::of_silence;

/// An error with its causes, one after the other; what a registry did in upstream's words.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let error = within(error);
        if let Some(said) = said(error) {
            parts.push(said);
            break;
        }
        parts.push(error.to_string());
        next = error.source();
    }
    parts.join(": ")
}

/// What `error` only hands on.
fn within<'e>(error: &'e (dyn Error + 'static)) -> &'e (dyn Error + 'static) {
    let inner: Option<&'e (dyn Error + 'static)> =
        if let Some(ImageError::Store(it)) = error.downcast_ref() {
            Some(it)
        } else if let Some(PlaceError::Store(it)) = error.downcast_ref() {
            Some(it)
        } else if let Some(ExtractError::Store(it)) = error.downcast_ref() {
            Some(it)
        } else if let Some(AnalyzeError::Place(it)) = error.downcast_ref() {
            Some(it)
        } else if let Some(it) = error.downcast_ref::<CacheError>() {
            match it {
                CacheError::Extract(it) => Some(it),
                CacheError::Open(it) => Some(it),
                CacheError::Place(it) => Some(it),
                CacheError::Store(it) => Some(it),
                _ => None,
            }
        } else if let Some(it) = error.downcast_ref::<ExportError>() {
            match it {
                ExportError::PreviousImage(it) | ExportError::RunImage(it) => Some(it),
                ExportError::Place(it) => Some(it),
                _ => None,
            }
        } else if let Some(it) = error.downcast_ref::<RestoreError>() {
            match it {
                RestoreError::Place(it) => Some(it),
                RestoreError::RunImageUnread(it) => Some(it),
                _ => None,
            }
        } else if let Some(it) = error.downcast_ref::<RebaseError>() {
            match it {
                RebaseError::Place(it) | RebaseError::RunImageUnread(it) => Some(it),
                RebaseError::RunImage(it) => Some(it),
                _ => None,
            }
        } else {
            None
        };
    inner.map_or(error, within)
}

/// What upstream says instead of `error` and its causes, if it is about a registry.
fn said(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(CacheError::Save { name, cause }) = error.downcast_ref() {
        return Some(format!(
            "committing cache: saving image '{name}': failed to write image to the following tags: [{name}: {}]",
            chain(cause)
        ));
    }
    if let Some(OpenError {
        name,
        source,
        strict,
    }) = error.downcast_ref()
    {
        let source = match &**source {
            ImageError::Store(source) => source,
            ImageError::Manifest {
                source: ManifestError::Malformed(problem),
                media_type,
                ..
            } if *strict => {
                // An index is read where the image is looked for, all else later.
                let place = media_type
                    .is_index()
                    .then(|| format!("connect to repo store \"{name}\": "));
                return Some(place.unwrap_or_default() + &problem.to_string());
            }
            ImageError::Config { source, .. } if *strict => return Some(source.to_string()),
            ImageError::Refused { problem } => return Some(problem.clone()),
            _ => return None,
        };
        let words = of_store(source)?;
        // The config is fetched by who first wants to know something of the image.
        return Some(if request(source)?.url.contains("/blobs/") {
            words
        } else {
            format!("connect to repo store \"{name}\": {words}")
        });
    }
    if let Some(AnalyzeError::WriteAccess {
        source: PlaceError::Store(source),
        name,
    }) = error.downcast_ref()
    {
        return of_push_check(name, source).map(|words| format!("{error}: {words}"));
    }
    of_store(error.downcast_ref()?)
}

/// What is said of a check for write access where no token was to be had.
fn of_push_check(name: &str, error: &StoreError) -> Option<String> {
    let words = of_store(error)?;
    let request = request(error)?;
    let status = error.answer().map(|it| it.status);
    (!is_of_registry(&request.url)).then(|| push_check(name, status, &words))
}

/// Upstream looks first whether it may read, with a token for that alone.
fn push_check(name: &str, status: Option<u16>, words: &str) -> String {
    if let (Some(registry), true) = (
        registry(name),
        status.is_some_and(|it| !matches!(it, 401 | 403)),
    ) {
        return format!("creating push check transport for {registry} failed: {words}");
    }
    words.replace("%3Apush%2Cpull", "%3Apull")
}

/// Whether `url` is part of a registry's API, not of a token server's or wherever a redirect leads.
pub(super) fn is_of_registry(url: &str) -> bool {
    let path = url.split_once("://").map_or(url, |(_, rest)| rest);
    path.split_once('/')
        .is_some_and(|(_, path)| path.starts_with("v2/"))
}

/// The request that `error` is about.
pub(crate) fn request(error: &StoreError) -> Option<&RegistryRequest> {
    if let StoreError::NoToken { answer, .. } = error {
        return answer.request.as_ref();
    }
    let answer = error.answer().and_then(|it| it.request.as_ref());
    let silence = || error.silence().map(|it| &it.request);
    let content = || came(error).map(|it| &it.request);
    answer.or_else(silence).or_else(content)
}

fn came(error: &StoreError) -> Option<&RegistryContent> {
    match error {
        StoreError::DigestMismatch { came, .. } | StoreError::SizeMismatch { came, .. } => {
            came.as_deref()
        }
        _ => None,
    }
}

/// What go-containerregistry says of `error`, if a registry had part in it.
pub(crate) fn of_store(error: &StoreError) -> Option<String> {
    if let StoreError::NoToken { answer, .. } = error {
        return Some(of_token(&answer.body));
    }
    if let Some(answer) = error.answer() {
        return of_answer(answer);
    }
    if let Some(silence) = error.silence() {
        return Some(of_silence(silence));
    }
    let came = came(error)?;
    let RegistryRequest { method, url, .. } = &came.request;
    match error {
        StoreError::DigestMismatch {
            expected,
            presented,
            ..
        } => Some(match url.split_once("/manifests/") {
            Some((repository, _)) => format!(
                "manifest digest: \"{presented}\" does not match requested digest: \"{expected}\" for \"{}@{expected}\"",
                name_of(repository)
            ),
            None => format!(
                "error verifying {} checksum after reading {} bytes; got \"{presented}\", want \"{expected}\"",
                expected.algorithm().name(),
                came.size
            ),
        }),
        StoreError::SizeMismatch { expected, .. } if came.announced => Some(format!(
            "{method} {url}: Content-Length header {} does not match expected size {expected}",
            came.size
        )),
        StoreError::SizeMismatch { expected, .. } => Some(format!(
            "error verifying size; got {}, want {expected}",
            came.size
        )),
        _ => None,
    }
}

/// The name of the repository that lies at `url`: `http://localhost:5000/v2/app` is
/// `localhost:5000/app`.
fn name_of(url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    rest.replacen("/v2/", "/", 1)
}

/// Whether imgutil takes `answer` to say that an image is missing: the registry has to say so in the
/// JSON that the specification has for errors.
pub(crate) fn is_absence(answer: &RegistryRefusal) -> bool {
    matches!(answer.status, 401 | 404) && !diagnostics(&answer.body).is_empty()
}

fn of_answer(answer: &RegistryRefusal) -> Option<String> {
    let RegistryRequest { method, url, .. } = answer.request.as_ref()?;
    let text = transport_error(method, answer.status, &answer.body);
    Some(format!("{method} {url}: {text}"))
}

/// What is said of a token server's answer without a token.
fn of_token(body: &str) -> String {
    if let Some(problem) = go::json::problem(body.as_bytes()) {
        return problem;
    }
    let kind = |value: &Value| match value {
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) | Value::Null => "string",
    };
    // What we cannot read may hold one.
    let Ok(value) = serde_json::from_str::<Value>(body) else {
        return "no token in bearer response".to_owned();
    };
    // One that cannot stand in a header, or in another place, and is a secret nevertheless.
    if holds_token(&value) {
        return "no token in bearer response".to_owned();
    }
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in &fields {
                let name = name.to_ascii_lowercase();
                let is_text = matches!(value, Value::String(_) | Value::Null);
                if !is_text && ["token", "access_token", "refresh_token"].contains(&&*name) {
                    return format!(
                        "json: cannot unmarshal {} into Go struct field Token.{name} of type string",
                        kind(value)
                    );
                }
            }
        }
        other => {
            return format!(
                "json: cannot unmarshal {} into Go value of type transport.Token",
                kind(&other)
            );
        }
    }
    format!("no token in bearer response:\n{}", printable(body))
}

/// Whether something in `value` may be a token.
fn holds_token(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.iter().any(holds_token),
        Value::Object(fields) => fields.iter().any(|(name, it)| {
            let is_text = it.as_str().is_some_and(|it| !it.is_empty());
            is_text && name.to_ascii_lowercase().contains("token") || holds_token(it)
        }),
        _ => false,
    }
}

/// `transport.Error`, without the request.
fn transport_error(method: &str, status: u16, body: &str) -> String {
    let diagnostics = diagnostics(body);
    match &*diagnostics {
        [] => {
            let text = format!(
                "unexpected status code {status} {}",
                go::http::status_text(status)
            );
            if !body.is_empty() {
                format!("{text}: {}", printable(body))
            } else if method == "HEAD" {
                format!("{text} (HEAD responses have no body, use GET for details)")
            } else {
                text
            }
        }
        [one] => printable(one),
        several => printable(&format!("multiple errors returned: {}", several.join("; "))),
    }
}

/// The text as a terminal may have it: lines, but nothing that steers it.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(c) = letters.next() {
        let stays = match c {
            '\n' | '\t' => true,
            // By itself it goes back to where the line began.
            '\r' => letters.peek() == Some(&'\n'),
            c => !c.is_control(),
        };
        shown.push(if stays { c } else { ' ' });
    }
    shown
}

/// The errors that a body lists, each as `CODE: message[; detail]`.
fn diagnostics(body: &str) -> Vec<String> {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(body) else {
        return Vec::new();
    };
    // Names in other letters are the same to Go.
    let named = |object: &serde_json::Map<String, Value>, name: &str| {
        let mut found = object
            .iter()
            .filter(|(it, _)| it.eq_ignore_ascii_case(name));
        object
            .get(name)
            .or_else(|| found.next().map(|(_, it)| it))
            .cloned()
    };
    let Some(Value::Array(errors)) = named(&fields, "errors") else {
        return Vec::new();
    };
    let one = |error: &Value| {
        let empty = serde_json::Map::new();
        let fields = error.as_object().unwrap_or(&empty);
        let text = |name| match named(fields, name) {
            Some(Value::String(text)) => text,
            _ => String::new(),
        };
        let mut words = format!("{}: {}", text("code"), text("message"));
        if let Some(detail) = named(fields, "detail").filter(|it| !it.is_null()) {
            words.push_str("; ");
            words.push_str(&shown(&detail));
        }
        words
    };
    errors.iter().map(one).collect()
}

/// A value as Go's `%v` prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(it) => it.to_string(),
        Value::Number(it) => go::json::to_string(&it.as_f64()).unwrap_or_default(),
        Value::String(it) => it.clone(),
        Value::Array(list) => {
            let list: Vec<_> = list.iter().map(shown).collect();
            format!("[{}]", list.join(" "))
        }
        Value::Object(fields) => {
            let sorted: BTreeMap<_, _> = fields.iter().collect();
            let list: Vec<_> = sorted
                .into_iter()
                .map(|(name, it)| format!("{name}:{}", shown(it)))
                .collect();
            format!("map[{}]", list.join(" "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As go-containerregistry 0.21.9 said it.
    #[test]
    fn an_answer_is_told_as_upstream_tells_it() {
        let one = r#"{"errors":[{"code":"DENIED","message":"no"}]}"#;
        let several = r#"{"errors":[{"code":"UNAUTHORIZED"},{"code":"X","message":"y"}]}"#;
        let detail = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow","detail":{"b":[1,"x",null],"a":1.5}}]}"#;
        for (method, status, body, words) in [
            (
                "GET",
                500,
                "",
                "unexpected status code 500 Internal Server Error",
            ),
            (
                "GET",
                418,
                "<html>no</html>",
                "unexpected status code 418 I'm a teapot: <html>no</html>",
            ),
            ("GET", 599, "", "unexpected status code 599 "),
            (
                "GET",
                413,
                "",
                "unexpected status code 413 Request Entity Too Large",
            ),
            (
                "HEAD",
                403,
                "",
                "unexpected status code 403 Forbidden (HEAD responses have no body, use GET for details)",
            ),
            ("POST", 200, "{}", "unexpected status code 200 OK: {}"),
            ("GET", 404, "[]", "unexpected status code 404 Not Found: []"),
            (
                "GET",
                404,
                r#"{"errors":[]}"#,
                r#"unexpected status code 404 Not Found: {"errors":[]}"#,
            ),
            (
                "GET",
                404,
                "not json",
                "unexpected status code 404 Not Found: not json",
            ),
            ("GET", 502, one, "DENIED: no"),
            (
                "GET",
                401,
                r#"{"Errors":[{"CODE":"A","Message":"b"}]}"#,
                "A: b",
            ),
            (
                "GET",
                401,
                r#"{"errors":[{"code":1},2]}"#,
                "multiple errors returned: : ; : ",
            ),
            (
                "GET",
                401,
                several,
                "multiple errors returned: UNAUTHORIZED: ; X: y",
            ),
            (
                "GET",
                429,
                detail,
                "TOOMANYREQUESTS: slow; map[a:1.5 b:[1 x <nil>]]",
            ),
            // Where upstream lets a registry steer the terminal.
            (
                "GET",
                400,
                "a\u{1b}[2Jb\n",
                "unexpected status code 400 Bad Request: a [2Jb\n",
            ),
        ] {
            assert_eq!(
                transport_error(method, status, body),
                words,
                "{status} {body}"
            );
        }
    }

    #[test]
    fn what_a_token_server_says_is_told_as_upstream_tells_it() {
        for (body, words) in [
            ("", "unexpected end of JSON input"),
            (
                "<html>",
                "invalid character '<' looking for beginning of value",
            ),
            (
                "[]",
                "json: cannot unmarshal array into Go value of type transport.Token",
            ),
            (
                r#"{"token":1}"#,
                "json: cannot unmarshal number into Go struct field Token.token of type string",
            ),
            ("null", "no token in bearer response:\nnull"),
            (
                r#"{"token":"","a":1}"#,
                "no token in bearer response:\n{\"token\":\"\",\"a\":1}",
            ),
            // Where upstream sends what is no header.
            (r#"{"token":"se\ncret"}"#, "no token in bearer response"),
            (r#"[{"id_token":"secret"}]"#, "no token in bearer response"),
        ] {
            assert_eq!(of_token(body), words, "{body}");
        }
        let url = "GET http://r.test/token?scope=repository%3Aapp%3Apush%2Cpull&service=: no";
        assert_eq!(
            push_check("r.test/app", Some(404), url),
            format!("creating push check transport for r.test failed: {url}")
        );
        for status in [Some(401), Some(403), None] {
            assert_eq!(
                push_check("r.test/app", status, url),
                "GET http://r.test/token?scope=repository%3Aapp%3Apull&service=: no"
            );
        }
        assert!(is_of_registry("http://r.test/v2/app/blobs/uploads/"));
        assert!(!is_of_registry("http://r.test/token?x=/v2/"));
    }

    #[test]
    fn an_error_without_a_registry_is_told_with_its_causes() {
        let source = ImageError::Unwritable(serde::ser::Error::custom("odd"));
        let name = "app".to_owned();
        let error = PlaceError::Name {
            name: "X".to_owned(),
        };
        assert_eq!(chain(&error), "could not parse reference: X");
        let source = Box::new(source);
        let error = OpenError {
            name,
            strict: true,
            source,
        };
        let words = "failed to read image 'app': image cannot be encoded: odd";
        assert_eq!(chain(&error), words);
    }
}
