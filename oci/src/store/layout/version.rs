//! The file `oci-layout`.
//!
//! <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md#oci-layout-file>

use serde::Deserialize;

const VERSION: &str = "1.0.0";

/// What it has in it.
pub(in crate::store) const TEXT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    image_layout_version: String,
}

/// Says what is wrong with `text`, if anything is.
pub(in crate::store) fn check(text: &[u8]) -> Result<(), String> {
    let version: Version = serde_json::from_slice(text)
        .map_err(|error| format!("`oci-layout` cannot be read: {error}"))?;
    if version.image_layout_version == VERSION {
        Ok(())
    } else {
        Err(format!(
            "`oci-layout` says version `{}`, and only `{VERSION}` is known",
            version.image_layout_version
        ))
    }
}
