//! From a review to the images that have to be judged.

use serde_json::Value;

use crate::images::{self, Image, ImagesError};
use crate::kinds::{Kinds, USUAL};
use crate::review::{Operation, Review};

/// What has to be judged before an object is admitted.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "who answers has to handle both")]
pub enum Question {
    /// Nothing: it is admitted.
    Nothing(Nothing),
    /// These images.
    Images {
        /// Each once, with its places.
        images: Vec<Image>,
        /// Whether it only makes pods, which will be asked about again.
        workload: bool,
    },
}

/// Why nothing has to be judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "each is said in its own words")]
pub enum Nothing {
    /// Something is taken away, or talked to.
    Operation,
    /// Only its status, its scale or the like is written.
    SubResource,
    /// It is being deleted, and what still holds it is taken off.
    Deleted,
    /// No image is changed.
    Unchanged,
    /// It has no images.
    NoImages,
    /// Nobody said where objects of this kind have images.
    UnknownKind,
    /// It is not changed, and judged when it is validated.
    LeftToValidation,
    /// It only makes pods, and they are judged.
    LeftToPods,
}

impl Nothing {
    /// One word, for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operation => "operation",
            Self::SubResource => "subresource",
            Self::Deleted => "deleted",
            Self::Unchanged => "unchanged",
            Self::NoImages => "no-images",
            Self::UnknownKind => "unknown-kind",
            Self::LeftToValidation => "left-to-validation",
            Self::LeftToPods => "left-to-pods",
        }
    }
}

/// Finds out what has to be judged.
pub fn question(review: &Review, kinds: &Kinds) -> Result<Question, ImagesError> {
    if !matches!(review.operation, Operation::Create | Operation::Update) {
        return Ok(Question::Nothing(Nothing::Operation));
    }
    let sub_resource = review.sub_resource.as_deref().unwrap_or("");
    // Others, like `ephemeralcontainers` and `resize`, carry the object with its images.
    if matches!(sub_resource, "status" | "scale") {
        return Ok(Question::Nothing(Nothing::SubResource));
    }
    let update = review.operation == Operation::Update;
    // On creation it says nothing: the API server takes it out.
    if update && is_deleted(&review.object) && is_deleted(&review.old_object) {
        return Ok(Question::Nothing(Nothing::Deleted));
    }
    let usual = [USUAL.to_owned()];
    let pointers = match kinds.pointers(&review.kind.group, &review.kind.kind) {
        Some(pointers) => pointers,
        None if review.object.pointer(USUAL).is_some() => &usual,
        None if !sub_resource.is_empty() => return Ok(Question::Nothing(Nothing::SubResource)),
        None => return Ok(Question::Nothing(Nothing::UnknownKind)),
    };
    let old = update.then_some(&review.old_object);
    let images = images::changed(&review.object, old, pointers)?;
    if images.is_empty() {
        let why = if update {
            Nothing::Unchanged
        } else {
            Nothing::NoImages
        };
        return Ok(Question::Nothing(why));
    }
    Ok(Question::Images {
        images,
        workload: !(review.kind.group.is_empty() && review.kind.kind == "Pod"),
    })
}

fn is_deleted(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|it| !it.is_null())
}
