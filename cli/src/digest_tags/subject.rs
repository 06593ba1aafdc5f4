//! Reads which image a signature or attestation of cosign 1 and 2 is about. The tag that it was found by does
//! not say: anybody can give that name to the proof of another image, and whoever deletes what the tag names
//! would delete that proof.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::{Descriptor, Digest, Limits, Store, StoreError};
use serde::Deserialize;

use super::{content, layers};

/// What a tag names, asked about one image.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Subject {
    /// It is about the image.
    Image,
    /// It is about the image and about another one.
    Both,
    /// It does not say what it is about: an SBOM.
    Unsaid,
    /// It is about another image.
    Other,
    /// It is not what cosign attaches.
    Nothing,
}

impl Subject {
    /// Whether it may prove something of the image.
    pub(crate) fn may_be_proof(self) -> bool {
        matches!(self, Self::Image | Self::Both | Self::Unsaid)
    }
}

/// What an image or another artifact is named by: each of its digests.
type Names = Vec<String>;

/// What is at `target` is about, asked about `image`.
pub(crate) async fn of(
    store: &dyn Store,
    target: &Descriptor,
    image: &Digest,
) -> Result<Subject, StoreError> {
    let Some(layers) = layers(store, target).await? else {
        return Ok(Subject::Nothing);
    };
    let image = image.to_string();
    let (mut is_about_image, mut is_about_other) = (false, false);
    for layer in layers {
        let parse = match layer.media_type.as_str() {
            "application/vnd.dev.cosign.simplesigning.v1+json" => of_signature,
            "application/vnd.dsse.envelope.v1+json" => of_envelope,
            _ => continue,
        };
        let bytes = content(store, &layer.bare(), Limits::default().metadata_bytes).await?;
        let Some(subjects) = bytes.and_then(|it| parse(&it)) else {
            return Ok(Subject::Nothing);
        };
        let ours = subjects.iter().filter(|it| it.contains(&image)).count();
        is_about_image |= ours > 0;
        is_about_other |= ours < subjects.len() || subjects.is_empty();
        if is_about_image && is_about_other {
            break;
        }
    }
    Ok(match (is_about_image, is_about_other) {
        (true, false) => Subject::Image,
        (true, true) => Subject::Both,
        (false, true) => Subject::Other,
        (false, false) => Subject::Unsaid,
    })
}

/// The image that a signature is of.
fn of_signature(bytes: &[u8]) -> Option<Vec<Names>> {
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
    Some(vec![vec![payload.critical.image.docker_manifest_digest]])
}

/// What an attestation is about: of any version of in-toto's statements.
fn of_envelope(bytes: &[u8]) -> Option<Vec<Names>> {
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
    let names = |it: Artifact| {
        let digests = it.digest.iter();
        digests.map(|(name, hex)| format!("{name}:{hex}")).collect()
    };
    Some(statement.subject.into_iter().map(names).collect())
}
