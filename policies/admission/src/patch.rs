//! A JSON patch (RFC 6902) that writes the digest that was judged beside a tag.

use serde::Serialize;

/// One operation.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
#[expect(clippy::exhaustive_enums, reason = "there is no need for the others")]
pub enum Operation {
    /// The patch holds only if this is there.
    Test {
        /// Where.
        path: String,
        /// What.
        value: String,
    },
    /// This is written in place of what is there.
    Replace {
        /// Where.
        path: String,
        /// What.
        value: String,
    },
}

/// Replaces the text at `pointer`, if it is still `from`.
pub(crate) fn replace(pointer: &str, from: &str, to: String) -> [Operation; 2] {
    [
        Operation::Test {
            path: pointer.to_owned(),
            value: from.to_owned(),
        },
        Operation::Replace {
            path: pointer.to_owned(),
            value: to,
        },
    ]
}
