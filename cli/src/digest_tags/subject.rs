//! Which image it is about what cosign 1 and 2 attached by a tag. The tag is no answer: anybody may give the
//! name to what proves another image, and who deletes by the tag would delete that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::store::read;
use oci::{Descriptor, Digest, Limits, Store, StoreError};
use serde::Deserialize;

use super::layers;

/// What a tag names, asked about one image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    /// It is about the image, as far as it says what it is about: an SBOM does not.
    Image,
    /// Some of it is about another image.
    Other,
    /// It is not what cosign attaches.
    Nothing,
}

/// Whether what is at `target` is about `image`, all of it.
pub(crate) async fn of(
    store: &dyn Store,
    target: &Descriptor,
    image: &Digest,
) -> Result<Subject, StoreError> {
    let Some(layers) = layers(store, target).await else {
        return Ok(Subject::Nothing);
    };
    for layer in layers {
        let parse = match layer.media_type.as_str() {
            "application/vnd.dev.cosign.simplesigning.v1+json" => of_signature,
            "application/vnd.dsse.envelope.v1+json" => of_envelope,
            _ => continue,
        };
        let bytes = match read(store, &layer.bare(), Limits::default().metadata_bytes).await {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(Subject::Nothing),
            Err(error) => return Err(error),
        };
        match parse(&bytes) {
            None => return Ok(Subject::Nothing),
            Some(named) if !named.contains(&image.to_string()) => return Ok(Subject::Other),
            Some(_) => {}
        }
    }
    Ok(Subject::Image)
}

/// The image that a signature is of.
fn of_signature(bytes: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Payload {
        critical: Critical,
    }

    #[derive(Deserialize)]
    struct Critical {
        image: Image,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Image {
        docker_manifest_digest: String,
    }

    let payload: Payload = serde_json::from_slice(bytes).ok()?;
    Some(vec![payload.critical.image.docker_manifest_digest])
}

/// The images that an attestation is about: of any version of in-toto's statements.
fn of_envelope(bytes: &[u8]) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Envelope {
        payload: String,
    }

    #[derive(Deserialize)]
    struct Statement {
        subject: Vec<Artifact>,
    }

    #[derive(Deserialize)]
    struct Artifact {
        digest: std::collections::BTreeMap<String, String>,
    }

    let envelope: Envelope = serde_json::from_slice(bytes).ok()?;
    let payload = STANDARD.decode(envelope.payload).ok()?;
    let statement: Statement = serde_json::from_slice(&payload).ok()?;
    let digests = statement.subject.iter().flat_map(|it| &it.digest);
    Some(digests.map(|(name, hex)| format!("{name}:{hex}")).collect())
}
