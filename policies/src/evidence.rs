//! All that is proven about one image.

use attest::{Accept, SignedBy, SignerPattern, TextPattern, Verified};
use intoto::Timestamp;
use oci::Descriptor;
use serde_json::{Map, Value, json};

/// All that is proven about one image. What is not proven cannot get in:
///
/// ```
/// # fn some(image: &oci::Descriptor, verified: Vec<attest::Verified>) {
/// let evidence = policies::Evidence::about(image, verified);
/// # }
/// ```
/// ```compile_fail
/// # fn some(image: &oci::Descriptor, attached: Vec<attest::Attached>) {
/// let evidence = policies::Evidence::about(image, attached);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Evidence {
    image: Descriptor,
    statements: Vec<Verified>,
    now: Option<Timestamp>,
}

impl Evidence {
    /// Gathers what is proven about `image`. Proof about another image is none.
    pub fn about(image: &Descriptor, statements: impl IntoIterator<Item = Verified>) -> Self {
        let image = image.bare();
        let mut statements: Vec<Verified> = statements
            .into_iter()
            .filter(|it| it.artifact().bare() == image)
            .collect();
        statements.sort_by(|a, b| a.bundle().cmp(b.bundle()));
        statements.dedup_by(|a, b| a.bundle() == b.bundle());
        Self {
            image,
            statements,
            now: None,
        }
    }

    /// The same evidence, judged at `now`. Without a time, rules that ask for it cannot decide.
    pub fn at(self, now: Timestamp) -> Self {
        Self {
            now: Some(now),
            ..self
        }
    }

    /// The image.
    pub fn image(&self) -> &Descriptor {
        &self.image
    }

    /// When it is judged.
    pub fn now(&self) -> Option<&Timestamp> {
        self.now.as_ref()
    }

    /// The statements that one of `accepts` covers, in the order of their bundles' digests.
    pub fn accepted<'a>(&'a self, accepts: &'a [Accept]) -> impl Iterator<Item = &'a Verified> {
        self.statements.iter().filter(|it| {
            accepts
                .iter()
                .any(|accept| accept.covers(it.predicate_type(), it.signer()))
        })
    }
}

/// A statement as the rules see it.
pub(crate) fn statement(verified: &Verified) -> Value {
    json!({
        "predicateType": verified.predicate_type(),
        "predicate": verified.statement().predicate(),
        "subjects": verified.statement().subjects(),
        "signer": signer(verified.signer()),
        "digest": verified.bundle(),
    })
}

/// Who signed, as the rules see it.
fn signer(signer: &SignedBy) -> Value {
    match signer {
        SignedBy::Key(key) => json!({ "kind": "key", "fingerprint": key.fingerprint() }),
        SignedBy::Identity(identity) => {
            let subjects: Vec<_> = identity
                .subjects()
                .iter()
                .map(|it| json!({ "kind": it.kind(), "name": it.as_str() }))
                .collect();
            let claims: Map<String, Value> = identity
                .claims()
                .iter()
                .map(|(claim, value)| (claim.name().to_owned(), value.as_str().into()))
                .collect();
            json!({
                "kind": "identity",
                "issuer": identity.issuer(),
                "subject": identity.subject(),
                "subjects": subjects,
                "claims": claims,
            })
        }
    }
}

/// Whom a policy believes about what, as the rules see it: of what is exact its text, of what is a
/// pattern the pattern.
pub(crate) fn accept(accept: &Accept) -> Value {
    let text = |it: &TextPattern| {
        let kind = if it.is_exact() { "exact" } else { "pattern" };
        json!({ kind: it.as_str() })
    };
    let predicate_type = &accept.predicate_type;
    match &accept.signer {
        SignerPattern::Key(key) => json!({
            "kind": "key",
            "predicateType": predicate_type,
            "fingerprint": key.fingerprint(),
        }),
        SignerPattern::Identity(identity) => {
            let claims: Map<String, Value> = identity
                .claims()
                .iter()
                .map(|(claim, it)| (claim.name().to_owned(), text(it)))
                .collect();
            json!({
                "kind": "identity",
                "predicateType": predicate_type,
                "issuer": text(identity.issuer()),
                "subject": text(identity.subject()),
                "claims": claims,
            })
        }
    }
}
