//! What the API server sends.
//!
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#request>

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

/// The outermost of a review: enough to answer it, whatever is wrong with the rest.
#[derive(Debug)]
#[non_exhaustive]
pub struct Envelope<'a> {
    /// Names the request, and has to stand in the answer.
    pub uid: String,
    request: &'a RawValue,
}

/// What is to be admitted.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Review {
    /// What kind of object it is.
    pub kind: Kind,
    /// The part of it that is asked about: `status`, `scale`, `ephemeralcontainers`, …
    #[serde(default)]
    pub sub_resource: Option<String>,
    /// Its namespace, if its kind has one.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Its name, if it has one yet.
    #[serde(default)]
    pub name: Option<String>,
    /// What is done with it.
    pub operation: Operation,
    /// By whom.
    #[serde(default)]
    pub user_info: UserInfo,
    /// As it is to be; null where it is deleted.
    #[serde(default)]
    pub object: Value,
    /// As it was; null where it is created.
    #[serde(default)]
    pub old_object: Value,
}

/// The kind of an object.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Kind {
    /// The API group; empty for the core's.
    #[serde(default)]
    pub group: String,
    /// Its version.
    #[serde(default)]
    pub version: String,
    /// The kind.
    pub kind: String,
}

/// Who asks.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct UserInfo {
    /// The name.
    #[serde(default)]
    pub username: String,
}

/// What is done with an object.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
#[expect(clippy::exhaustive_enums, reason = "Kubernetes knows these four")]
pub enum Operation {
    /// It is made.
    Create,
    /// It is changed.
    Update,
    /// It is taken away.
    Delete,
    /// It is talked to: `exec`, `proxy`, …
    Connect,
}

impl Operation {
    /// As Kubernetes writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

impl<'a> Envelope<'a> {
    /// Reads it, and nothing of what is in it.
    pub fn read(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Outer<'a> {
            #[serde(default)]
            api_version: String,
            #[serde(default)]
            kind: String,
            #[serde(borrow)]
            request: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Inner {
            uid: String,
        }
        const MAX_UID: usize = 256;
        let outer: Outer<'a> = serde_json::from_slice(bytes).map_err(EnvelopeError::Json)?;
        if outer.kind != "AdmissionReview" || outer.api_version != "admission.k8s.io/v1" {
            return Err(EnvelopeError::Kind {
                kind: crate::name::shown(&outer.kind),
                version: crate::name::shown(&outer.api_version),
            });
        }
        let request = outer.request.ok_or(EnvelopeError::NoRequest)?;
        let inner: Inner = serde_json::from_str(request.get()).map_err(EnvelopeError::Json)?;
        if inner.uid.is_empty() || inner.uid.len() > MAX_UID {
            return Err(EnvelopeError::Uid);
        }
        Ok(Self {
            uid: inner.uid,
            request,
        })
    }

    /// Reads the rest.
    pub fn review(&self) -> Result<Review, ReviewError> {
        Review::parse(self.request.get())
    }
}

impl Review {
    fn parse(request: &str) -> Result<Self, ReviewError> {
        let review: Self = serde_json::from_str(request).map_err(ReviewError::Json)?;
        let missing = match review.operation {
            Operation::Create | Operation::Update if !review.object.is_object() => "object",
            Operation::Update if !review.old_object.is_object() => "oldObject",
            _ => return Ok(review),
        };
        Err(ReviewError::Missing {
            what: missing,
            operation: review.operation,
        })
    }

    /// The kind as people write it: `apps/Deployment`, `Pod`.
    pub fn kind_name(&self) -> String {
        match self.kind.group.as_str() {
            "" => self.kind.kind.clone(),
            group => format!("{group}/{}", self.kind.kind),
        }
    }
}

/// Why a request cannot even be answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// It is not JSON, or not of this form.
    #[error("the review is malformed")]
    Json(#[source] serde_json::Error),
    /// It is another kind of thing, or of a version that is not spoken.
    #[error("`{kind}` of `{version}` is not an AdmissionReview of admission.k8s.io/v1")]
    Kind {
        /// What it calls itself.
        kind: String,
        /// In which version.
        version: String,
    },
    /// There is nothing in it.
    #[error("the review has no request")]
    NoRequest,
    /// It cannot be told which request it is.
    #[error("the request has no uid, or one that is too long")]
    Uid,
}

/// Why a request is denied without a look at its images.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewError {
    /// It is not of the form that API servers send.
    #[error("the request is malformed")]
    Json(#[source] serde_json::Error),
    /// A part that has to be there is not.
    #[error("the request has no {what}, which {} has to have", operation.as_str())]
    Missing {
        /// Which part.
        what: &'static str,
        /// For what.
        operation: Operation,
    },
}
