//! Requests for manifests and tags.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use net::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH, LINK};
use net::{Method, StatusCode};
use serde::Deserialize;

use super::super::check;
use super::link;
use super::problem::{RegistryContent, RegistryRequest};
use super::token::Access;
use super::transport::{Body, Document, Endpoint, Target};
use crate::{Descriptor, Digest, Hasher, Manifest, MediaType, Selector, StoreError, Tag};

/// All that we read as a manifest.
pub(super) const ACCEPTED: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json",
);

/// Tags that are asked for at once.
const PAGE: u32 = 1000;

impl Endpoint {
    /// What `selector` names, and its content. It is read whole: the length that is said in an answer to
    /// `HEAD` is a hint, which some registries and proxies have wrong, and would stay for good in the
    /// subject of a signature.
    pub(super) async fn resolve(
        &self,
        selector: &Selector,
    ) -> Result<(Descriptor, Bytes), StoreError> {
        let action = format!("resolve `{selector}`");
        let (descriptor, document) = self.read_manifest(selector, &action).await?;
        Ok((descriptor, document.bytes))
    }

    /// Refuses a name that only a layout can have: it would be another path of the registry's.
    pub(super) fn check(&self, selector: &Selector) -> Result<(), StoreError> {
        match selector {
            Selector::Tag(tag) if !tag.is_plain() => Err(StoreError::Tag {
                tag: tag.to_string(),
                place: self.place(),
            }),
            _ => Ok(()),
        }
    }

    /// Reads a manifest whole. By digest, it is checked; by tag, its digest is what it hashes to.
    pub(super) async fn read_manifest(
        &self,
        selector: &Selector,
        action: &str,
    ) -> Result<(Descriptor, Document), StoreError> {
        let (digest, document) = self.read_any(selector, action).await?;
        let media_type = media_type(&document.headers)
            .filter(MediaType::is_manifest)
            .or_else(|| Manifest::media_type_of(&document.bytes).filter(MediaType::is_manifest))
            .ok_or_else(|| {
                if is_web_page(&document) {
                    self.web_page("a manifest")
                } else if is_schema_1(&document) {
                    self.malformed(format!(
                        "`{selector}` is a Docker schema 1 manifest, which is not supported"
                    ))
                } else {
                    self.malformed(format!("`{selector}` is not a manifest"))
                }
            })?;
        let descriptor = Descriptor::new(media_type, digest, document.bytes.len() as u64);
        Ok((descriptor, document))
    }

    /// The same, whatever it is.
    pub(super) async fn read_any(
        &self,
        selector: &Selector,
        action: &str,
    ) -> Result<(Digest, Document), StoreError> {
        self.check(selector)?;
        let request = self
            .request(Method::GET, path_of(selector), Access::Pull, action)
            .header(ACCEPT, ACCEPTED);
        let limit = self.shared.options.limits.manifest_bytes;
        let document = self.document(request, limit).await?;
        if !document.status.is_success() {
            return Err(self.refusal_of(&document, action, &selector.to_string()));
        }
        let digest = match selector {
            Selector::Tag(_) => Digest::of(&document.bytes),
            Selector::Digest(digest) => {
                let checked = verify(digest, &document.bytes);
                checked.map_err(|error| self.other_manifest(&document, error))?;
                digest.clone()
            }
        };
        Ok((digest, document))
    }

    /// Reads and checks the manifest that `target` describes.
    pub(super) async fn fetch_manifest(&self, target: &Descriptor) -> Result<Bytes, StoreError> {
        let limit = self.shared.options.limits.manifest_bytes;
        if target.size > limit {
            return Err(StoreError::TooLarge {
                digest: target.digest.clone(),
                limit,
            });
        }
        let selector = Selector::Digest(target.digest.clone());
        let action = format!("read manifest {}", target.digest);
        let request = self
            .request(Method::GET, path_of(&selector), Access::Pull, &action)
            .header(ACCEPT, ACCEPTED);
        let document = self.document(request, limit).await?;
        if !document.status.is_success() {
            let what = selector.to_string();
            return Err(self.refusal_of(&document, &action, &what));
        }
        let checked = check(target, &document.bytes);
        checked.map_err(|error| self.other_manifest(&document, error))?;
        Ok(document.bytes)
    }

    /// What is wrong with `document`, which is not the manifest that was asked for.
    fn other_manifest(&self, document: &Document, error: StoreError) -> StoreError {
        if is_web_page(document) {
            return self.web_page("a manifest");
        }
        let size = document.bytes.len() as u64;
        RegistryContent::new(document.request.clone(), size, false).came_so(error)
    }

    /// Whether the registry has the manifest or blob that `target` describes: a blob of another length is not
    /// that one.
    pub(super) async fn contains(
        &self,
        target: &Descriptor,
        access: Access,
    ) -> Result<bool, StoreError> {
        Ok(match self.look(target, access).await? {
            Found::Same => true,
            // Who sends it finds out which length is right.
            Found::Other(_) | Found::Nothing => false,
        })
    }

    /// What the registry has in the place of the manifest or blob that `target` describes.
    pub(super) async fn look(
        &self,
        target: &Descriptor,
        access: Access,
    ) -> Result<Found, StoreError> {
        let kind = if target.media_type.is_manifest() {
            "manifests"
        } else {
            "blobs"
        };
        let action = format!("look for {}", target.digest);
        let mut request = self
            .request(
                Method::HEAD,
                format!("{kind}/{}", target.digest),
                access,
                &action,
            )
            .header(ACCEPT, ACCEPTED);
        if kind == "blobs" {
            request.headers.remove(ACCEPT);
        }
        let response = self.send(&mut request).await?;
        match response.status() {
            status if status.is_success() => {
                let other = other_length(response.headers(), target.size);
                let other = other.filter(|_| kind == "blobs").map(|size| {
                    let asked = RegistryRequest::new(&request.method, response.url());
                    RegistryContent::new(asked, size, true)
                });
                Ok(other.map_or(Found::Same, Found::Other))
            }
            StatusCode::NOT_FOUND => Ok(Found::Nothing),
            _ => Err(self
                .refusal(&request, response, target.digest.as_str())
                .await),
        }
    }

    /// Whether there is what `selector` names, by a request for its head alone. One that does not say
    /// which manifest it is the head of is not enough: then that has to be read.
    pub(super) async fn has(&self, selector: &Selector) -> Result<bool, StoreError> {
        self.check(selector)?;
        let action = format!("look for `{selector}`");
        let mut request = self
            .request(Method::HEAD, path_of(selector), Access::Pull, &action)
            .header(ACCEPT, ACCEPTED);
        let response = self.send(&mut request).await?;
        if response.status().is_success() {
            let headers = response.headers();
            if text(headers, "docker-content-digest").is_none() || media_type(headers).is_none() {
                self.read_manifest(selector, &action).await?;
            }
            return Ok(true);
        }
        let what = selector.to_string();
        match self.refusal(&request, response, &what).await {
            error if error.is_not_found() => Ok(false),
            error => Err(error),
        }
    }

    /// Writes a manifest under a tag or its digest; the answer, which is success, or that the
    /// condition among the headers, if there is one, does not hold.
    pub(super) async fn put_manifest(
        &self,
        selector: &Selector,
        media_type: &MediaType,
        content: Bytes,
        extra: HeaderMap,
    ) -> Result<Document, StoreError> {
        self.check(selector)?;
        let action = format!("write manifest `{selector}`");
        let content_type = HeaderValue::from_str(media_type.as_str())
            .map_err(|error| self.unavailable(&action, error))?;
        let mut request = self
            .request(Method::PUT, path_of(selector), Access::Push, &action)
            .body(Body::Bytes(content));
        let has_condition = extra.contains_key(IF_MATCH);
        request.headers = extra;
        request.headers.insert(CONTENT_TYPE, content_type);
        let limit = self.shared.options.limits.manifest_bytes;
        let document = self.document(request, limit).await?;
        // Without a condition of ours, it is what some say of a tag that must not move.
        let lost_race = has_condition && document.status == StatusCode::PRECONDITION_FAILED;
        if document.status.is_success() || lost_race {
            return Ok(document);
        }
        // What is missing is the repository, or what the manifest refers to: there, too, the
        // registry's own words say more than "not found".
        if document.status == StatusCode::NOT_FOUND {
            return Err(StoreError::Refused {
                place: self.place(),
                action,
                source: self.words_of(&document).into(),
            });
        }
        Err(self.refusal_of(&document, &action, &selector.to_string()))
    }

    /// What answers is not a registry, or something stands before it: a login page, say.
    fn web_page(&self, wanted: &str) -> StoreError {
        StoreError::NoRegistry {
            place: self.place(),
            wanted: wanted.to_owned(),
        }
    }

    /// All tags, page by page.
    pub(super) async fn tags(&self) -> Result<Vec<Tag>, StoreError> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<Option<String>>>,
        }
        let limits = self.shared.options.limits;
        let action = "list tags";
        let mut tags = BTreeSet::new();
        let mut request = self.request(
            Method::GET,
            format!("tags/list?n={PAGE}"),
            Access::Pull,
            action,
        );
        for _ in 0..limits.pages {
            let document = self.document(request, limits.manifest_bytes).await?;
            if !document.status.is_success() {
                return Err(self.refusal_of(&document, action, self.repository.path()));
            }
            let text = String::from_utf8_lossy(&document.bytes);
            let page: Page = serde_json::from_str(&text).map_err(|error| {
                if is_web_page(&document) {
                    self.web_page("a list of tags")
                } else {
                    self.malformed(format!("malformed list of tags: {error}"))
                }
            })?;
            // What is no tag cannot be asked for either.
            tags.extend(
                page.tags
                    .into_iter()
                    .flatten()
                    .filter_map(|it| it?.parse().ok()),
            );
            if tags.len() > limits.manifests {
                return Err(self.too_many("tags", limits.manifests));
            }
            request = self.request(Method::GET, "", Access::Pull, action);
            match self.next_page(&document)? {
                Some(next) => request.target = next,
                None => return Ok(tags.into_iter().collect()),
            }
        }
        Err(self.too_many("pages of tags", limits.pages))
    }

    /// Removes a manifest; whether it was there.
    pub(super) async fn delete_manifest(&self, digest: &Digest) -> Result<bool, StoreError> {
        let action = format!("delete {digest}");
        let mut request = self.request(
            Method::DELETE,
            format!("manifests/{digest}"),
            Access::Delete,
            &action,
        );
        let response = self.send(&mut request).await?;
        match response.status() {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            status => {
                let error = self.refusal(&request, response, digest.as_str()).await;
                if status != StatusCode::METHOD_NOT_ALLOWED {
                    return Err(error);
                }
                Err(StoreError::Unsupported {
                    place: self.place(),
                    action: "delete manifests: it is set up not to",
                    answer: error.answer().cloned().map(Box::new),
                })
            }
        }
    }

    pub(super) fn next_page(&self, document: &Document) -> Result<Option<Target>, StoreError> {
        let headers = document.headers.get_all(LINK).iter();
        let next = link::next_page(&document.url, headers.map(HeaderValue::as_bytes))
            .map_err(|problem| self.malformed(problem))?;
        Ok(next.map(Target::Url))
    }

    pub(super) fn too_many(&self, what: &'static str, limit: usize) -> StoreError {
        StoreError::TooMany {
            place: self.place(),
            what,
            limit,
        }
    }
}

/// The last manifests that were pushed: a tag is pushed with the manifest that it names, which is
/// not read back for that.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<(Digest, Bytes)>>);

impl Recent {
    const COUNT: usize = 8;

    pub(super) fn keep(&self, digest: &Digest, content: Bytes) {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent.retain(|(it, _)| it != digest);
        recent.push_back((digest.clone(), content));
        if recent.len() > Self::COUNT {
            recent.pop_front();
        }
    }

    pub(super) fn find(&self, digest: &Digest) -> Option<Bytes> {
        let recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        recent
            .iter()
            .find(|(it, _)| it == digest)
            .map(|(_, content)| content.clone())
    }
}

/// Whether it is of Docker's first form of images, which had neither digests nor types.
fn is_schema_1(document: &Document) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Old {
        schema_version: u32,
        #[serde(rename = "fsLayers")]
        _layers: serde::de::IgnoredAny,
    }
    serde_json::from_slice::<Old>(&document.bytes).is_ok_and(|it| it.schema_version == 1)
}

/// Whether the answer is for people.
fn is_web_page(document: &Document) -> bool {
    text(&document.headers, "content-type").is_some_and(|it| it.starts_with("text/html"))
}

fn path_of(selector: &Selector) -> String {
    format!("manifests/{selector}")
}

fn verify(expected: &Digest, content: &[u8]) -> Result<(), StoreError> {
    let mut hasher = Hasher::new(expected.algorithm());
    hasher.update(content);
    let presented = hasher.finish();
    if presented == *expected {
        Ok(())
    } else {
        Err(StoreError::DigestMismatch {
            expected: expected.clone(),
            presented,
            came: None,
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What a registry has in the place of something that is described.
pub(super) enum Found {
    /// It, for all that the registry says.
    Same,
    /// A blob of another length, as the registry says.
    Other(RegistryContent),
    Nothing,
}

/// The length that the head of a blob says, if it is another one than `size`. Some say 0 of all; one that is
/// encoded on the way has another length there.
fn other_length(headers: &HeaderMap, size: u64) -> Option<u64> {
    let said = text(headers, "content-length").and_then(|it| it.parse().ok());
    let said = said.filter(|it| *it != 0 && *it != size);
    said.filter(|_| !headers.contains_key("content-encoding"))
}

/// The media type without its parameters.
pub(super) fn media_type(headers: &HeaderMap) -> Option<MediaType> {
    let text = text(headers, "content-type")?;
    let (media_type, _) = text.split_once(';').unwrap_or((text, ""));
    Some(media_type.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_manifests_are_kept() {
        let recent = Recent::default();
        let content = |at: usize| Bytes::from(at.to_string());
        for at in 0..20 {
            recent.keep(&Digest::of(&content(at)), content(at));
        }
        let kept = (0..20).filter(|at| recent.find(&Digest::of(&content(*at))).is_some());
        assert_eq!(kept.collect::<Vec<_>>(), (12..20).collect::<Vec<_>>());
        // One that is pushed again takes no other's place.
        for _ in 0..20 {
            recent.keep(&Digest::of(&content(19)), content(19));
        }
        assert!(recent.find(&Digest::of(&content(12))).is_some());
    }

    #[test]
    fn a_blob_of_another_length_is_another() {
        let is_other = |headers: &[(&'static str, &'static str)], size| {
            let headers = headers.iter().map(|(name, value)| {
                let name = net::header::HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            other_length(&headers.collect(), size).is_some()
        };
        assert!(is_other(&[("content-length", "10")], 9));
        assert!(is_other(&[("content-length", "10")], 0));
        assert!(!is_other(&[("content-length", "10")], 10));
        assert!(!is_other(&[("content-length", "0")], 10));
        assert!(!is_other(&[("content-length", "x")], 10));
        assert!(!is_other(
            &[("content-length", "9"), ("content-encoding", "gzip")],
            10
        ));
        assert!(!is_other(&[], 10));
    }

    #[test]
    fn a_media_type_may_have_parameters() {
        let mut headers = HeaderMap::new();
        assert_eq!(media_type(&headers), None);
        let text = "application/vnd.oci.image.index.v1+json ; charset=utf-8";
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(text));
        assert_eq!(media_type(&headers), Some(MediaType::IMAGE_INDEX));
    }
}
