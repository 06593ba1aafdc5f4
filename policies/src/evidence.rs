use attest::{Accept, SignerIdentity, Verified};
use intoto::Timestamp;
use oci::Descriptor;
use serde_json::{Value, json};

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
            accepts.iter().any(|accept| {
                accept.predicate_type == *it.predicate_type() && accept.signer == *it.signer()
            })
        })
    }
}

/// A statement as the rules see it.
pub(crate) fn statement(verified: &Verified) -> Value {
    let SignerIdentity::Key(key) = verified.signer() else {
        return Value::Null;
    };
    json!({
        "predicateType": verified.predicate_type(),
        "predicate": verified.statement().predicate(),
        "subjects": verified.statement().subjects(),
        "signer": { "kind": "key", "fingerprint": key.fingerprint() },
        "digest": verified.bundle(),
    })
}
