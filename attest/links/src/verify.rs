//! Does a layout say that this image is what its supply chain made?
//!
//! 1. The layout is signed, by each of the keys that were named.
//! 2. It has not expired.
//! 3. For each step there are as many links as it wants, by functionaries who are allowed to and
//!    are different keys.
//! 4. Where a functionary handed in a layout instead of a link, its steps are verified likewise.
//! 5. Where a step wants several links, they say the same.
//! 6. Each step's rules hold.
//! 7. Nothing is left that we do not do: inspections are commands, and are never run.
//! 8. One of the products of the last step is the image.

mod links;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use attest::key::PublicKey;
use oci::{Descriptor, Digest};
use time::OffsetDateTime;

use self::links::Chain;
use crate::pattern::{Budget, Exhausted};
use crate::rule::{self, Side};
use crate::{Key, KeyId, Layout, LayoutError, Limits, Link, Signed, SignedError, UnsupportedKey};

/// What is asked.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever asks says all of it")]
pub struct Question<'a> {
    /// The layout's file.
    pub layout: &'a [u8],
    /// Each of them must have signed it.
    pub layout_keys: &'a [PublicKey],
    /// Where links are.
    pub files: &'a dyn Files,
    /// What is to be the product.
    pub image: &'a Descriptor,
    /// What time it is.
    pub now: OffsetDateTime,
    /// What becomes of commands that a layout wants to be run.
    pub inspections: Inspections,
    /// How much is read.
    pub limits: Limits,
}

/// Files of links, by their names. A name may have folders in it, where layouts nest.
pub trait Files: std::fmt::Debug {
    /// The bytes; none if there is no such file.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError>;
}

/// A file is there and cannot be read.
pub type FileError = Box<dyn std::error::Error + Send + Sync>;

impl Files for BTreeMap<String, Vec<u8>> {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        Ok(self.get(name).cloned())
    }
}

/// A layout may want commands to be run on the product. They are never run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "they are left out or they are not")]
pub enum Inspections {
    /// A layout that has some is not decided.
    Undecided,
    /// They are left out, with their rules: whoever asks answers for them.
    Skip,
}

/// That the image is the product of the layout's steps. Only [`verify`] makes one.
#[derive(Clone, Debug)]
pub struct Verified {
    image: Digest,
    product: String,
    expires: OffsetDateTime,
    steps: Vec<StepProof>,
    skipped: Vec<String>,
    ignored: Vec<Ignored>,
}

impl Verified {
    /// The image.
    pub fn image(&self) -> &Digest {
        &self.image
    }

    /// The name of the product that it is.
    pub fn product(&self) -> &str {
        &self.product
    }

    /// Until when the layout holds.
    pub fn expires(&self) -> OffsetDateTime {
        self.expires
    }

    /// The steps of the layout, in its order.
    pub fn steps(&self) -> &[StepProof] {
        &self.steps
    }

    /// Inspections that were left out.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Links that prove nothing.
    pub fn ignored(&self) -> &[Ignored] {
        &self.ignored
    }
}

/// That a step was done.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct StepProof {
    /// Its name.
    pub name: String,
    /// Who did it.
    pub functionaries: Vec<KeyId>,
    /// How many artifacts went in.
    pub materials: usize,
    /// How many came out.
    pub products: usize,
    /// Whether what ran is what the layout expects. Weak: a functionary can call anything so.
    pub expected_command: bool,
}

/// A file that is no evidence, and why.
#[derive(Debug, Clone, Eq, PartialEq)]
#[non_exhaustive]
pub struct Ignored {
    /// The file.
    pub file: String,
    /// Why.
    pub why: WhyIgnored,
}

/// Why a file is no evidence.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever asks for a reason handles all"
)]
pub enum WhyIgnored {
    /// It cannot be parsed.
    #[error("{reason}")]
    Malformed {
        /// What is wrong, with its causes.
        reason: String,
    },
    /// By somebody else, or changed since.
    #[error("not signed by key {key}")]
    NotSigned {
        /// Who should have.
        key: KeyId,
    },
    /// A link of another step under this step's name.
    #[error("a link of step `{step}`")]
    OtherStep {
        /// Which.
        step: String,
    },
    /// The functionary's own layout does not hold.
    #[error("a layout that does not hold: {reason}")]
    Layout {
        /// Why.
        reason: String,
    },
}

/// Why an image is not proven by a layout.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "a no is not a don't know")]
pub enum Refusal {
    /// It is not.
    #[error("the layout does not hold")]
    Rejected {
        /// All that is wrong.
        findings: Vec<Finding>,
        /// Links that prove nothing.
        ignored: Vec<Ignored>,
    },
    /// It cannot be said.
    #[error("the layout cannot be judged")]
    Undecided(#[source] Undecided),
}

/// What is wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "whoever shows findings shows all")]
pub enum Finding {
    /// No signature by that key.
    #[error("the layout is not signed by key {key}")]
    NotSigned {
        /// Which.
        key: KeyId,
    },
    /// Too late.
    #[error("the layout expired at {}", intoto::rfc3339(*expires))]
    Expired {
        /// When.
        expires: OffsetDateTime,
    },
    /// Not enough links.
    #[error("step `{step}` has {found} of {threshold} links by its functionaries")]
    Threshold {
        /// The step.
        step: String,
        /// How many count.
        found: usize,
        /// How many must.
        threshold: u32,
    },
    /// Links of one step that say different things.
    #[error("the links of step `{step}` by {one} and {other} name different artifacts")]
    Disagree {
        /// The step.
        step: String,
        /// One functionary.
        one: KeyId,
        /// Another.
        other: KeyId,
    },
    /// An artifact that must not be there.
    #[error("step `{step}`: `{rule}` for its {side}: {}", some(names))]
    Disallowed {
        /// The step.
        step: String,
        /// Of which side.
        side: Side,
        /// The rule.
        rule: String,
        /// What it matched.
        names: Vec<String>,
    },
    /// An artifact that must be there.
    #[error("step `{step}`: `{rule}` for its {side}: missing")]
    Missing {
        /// The step.
        step: String,
        /// Of which side.
        side: Side,
        /// The rule.
        rule: String,
    },
    /// All is well, but with something else.
    #[error("{image} is not among the products of the last step")]
    NotTheProduct {
        /// What was looked for.
        image: Digest,
    },
}

/// Why it cannot be said.
#[derive(Debug, thiserror::Error)]
#[expect(
    clippy::exhaustive_enums,
    reason = "whoever asks for a reason handles all"
)]
pub enum Undecided {
    /// Nobody was named who must have signed the layout.
    #[error("no key of the layout was named")]
    NoKeys,
    /// A key of a kind that we do not know.
    #[error("unsupported key {key}")]
    Key {
        /// Which.
        key: String,
        /// Why.
        source: UnsupportedKey,
    },
    /// The layout's file.
    #[error("malformed layout file")]
    Wrapper(#[source] SignedError),
    /// The layout.
    #[error("the layout cannot be used")]
    Layout(#[source] LayoutError),
    /// A link is there and cannot be read.
    #[error("failed to read `{file}`")]
    Unreadable {
        /// Which.
        file: String,
        /// Why.
        source: FileError,
    },
    /// Commands are to be run.
    #[error(
        "the layout wants commands to be run, which is not done: {}",
        some(names)
    )]
    Inspections {
        /// The inspections.
        names: Vec<String>,
    },
    /// Names and patterns take too long to compare.
    #[error("the layout's rules are too many for so many artifacts")]
    TooMuch,
    /// Layouts in layouts.
    #[error("layouts nest deeper than {limit}")]
    TooDeep {
        /// How deep they may.
        limit: usize,
    },
}

impl From<Exhausted> for Undecided {
    fn from(_: Exhausted) -> Self {
        Self::TooMuch
    }
}

/// Judges.
pub fn verify(question: &Question<'_>) -> Result<Verified, Refusal> {
    let limits = &question.limits;
    let keys = question
        .layout_keys
        .iter()
        .map(|public| {
            Key::of(public.clone()).map_err(|source| Undecided::Key {
                key: public.to_string(),
                source,
            })
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(Refusal::Undecided)?;
    let signed = Signed::parse(question.layout, limits)
        .map_err(|error| Refusal::Undecided(Undecided::Wrapper(error)))?;
    let mut state = State {
        question,
        budget: Budget::new(limits.comparisons),
        ignored: Vec::new(),
        skipped: Vec::new(),
        inspections: Vec::new(),
    };
    let chain = match state.layout(&signed, &keys, "", 0) {
        Ok(chain) => chain,
        Err(Refused::Undecided(undecided)) => return Err(Refusal::Undecided(undecided)),
        Err(Refused::Rejected(findings)) => {
            return Err(Refusal::Rejected {
                findings,
                ignored: state.ignored,
            });
        }
    };
    // Step 7: what the steps say no to is no, whatever inspections would have said.
    if !state.inspections.is_empty() {
        return Err(Refusal::Undecided(Undecided::Inspections {
            names: state.inspections,
        }));
    }
    // Step 8: a layout of another product must not speak for this image.
    let image = &question.image.digest;
    let product = chain
        .summary
        .products
        .iter()
        .find(|(_, hashes)| hashes.has(image));
    match product {
        Some((product, _)) => Ok(Verified {
            image: image.clone(),
            product: product.clone(),
            expires: chain.expires,
            steps: chain.steps,
            skipped: state.skipped,
            ignored: state.ignored,
        }),
        None => Err(Refusal::Rejected {
            findings: vec![Finding::NotTheProduct {
                image: image.clone(),
            }],
            ignored: state.ignored,
        }),
    }
}

/// What one verification knows, across layouts that nest.
struct State<'a> {
    question: &'a Question<'a>,
    budget: Budget,
    ignored: Vec<Ignored>,
    skipped: Vec<String>,
    inspections: Vec<String>,
}

enum Refused {
    Rejected(Vec<Finding>),
    Undecided(Undecided),
}

impl From<Undecided> for Refused {
    fn from(undecided: Undecided) -> Self {
        Self::Undecided(undecided)
    }
}

impl State<'_> {
    /// Steps 1 to 7 for one layout, whose links lie in `folder`.
    fn layout(
        &mut self,
        signed: &Signed,
        keys: &[Key],
        folder: &str,
        depth: usize,
    ) -> Result<Chain, Refused> {
        let limits = &self.question.limits;
        if depth > limits.depth {
            let limit = limits.depth;
            return Err(Undecided::TooDeep { limit }.into());
        }
        // Step 1: nothing of it is believed before. One key that has not signed is enough to refuse.
        if keys.is_empty() {
            return Err(Undecided::NoKeys.into());
        }
        let unsigned: Vec<_> = keys
            .iter()
            .filter(|key| !signed.is_signed_by(key))
            .map(|key| Finding::NotSigned {
                key: key.id().clone(),
            })
            .collect();
        if !unsigned.is_empty() {
            return Err(Refused::Rejected(unsigned));
        }
        let layout = Layout::of(signed, limits).map_err(Undecided::Layout)?;
        // Step 2: a functionary whose key was lost is put out of a layout by a new one.
        if layout.expires <= self.question.now {
            return Err(Refused::Rejected(vec![Finding::Expired {
                expires: layout.expires,
            }]));
        }
        let names = layout.inspections.iter().map(|it| it.name.clone());
        match self.question.inspections {
            Inspections::Undecided => self.inspections.extend(names),
            Inspections::Skip => self.skipped.extend(names),
        }
        // Steps 3 to 5.
        let mut evidence = self.links(&layout, folder, depth)?;
        // Step 6. Where a link is missing, rules that match with it would say no for that alone.
        if evidence.findings.is_empty() {
            evidence.findings = self.rules(&layout, &evidence.links)?;
        }
        if !evidence.findings.is_empty() {
            return Err(Refused::Rejected(evidence.findings));
        }
        Ok(Chain::of(&layout, &evidence.links, evidence.proofs))
    }

    fn rules(
        &mut self,
        layout: &Layout,
        links: &BTreeMap<String, Link>,
    ) -> Result<Vec<Finding>, Undecided> {
        let mut findings = Vec::new();
        for step in &layout.steps {
            let Some(link) = links.get(&step.name) else {
                continue;
            };
            for (side, rules) in [
                (Side::Materials, &step.expected_materials),
                (Side::Products, &step.expected_products),
            ] {
                let Some(broken) = rule::apply(rules, side, link, links, &mut self.budget)? else {
                    continue;
                };
                let (step, rule, names) = (step.name.clone(), broken.rule, broken.names);
                findings.push(if names.is_empty() {
                    Finding::Missing { step, side, rule }
                } else {
                    Finding::Disallowed {
                        step,
                        side,
                        rule,
                        names,
                    }
                });
            }
        }
        Ok(findings)
    }
}

/// The first of many names.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<_> = names
        .iter()
        .take(SHOWN)
        .map(|it| format!("`{}`", it.escape_debug()))
        .collect();
    let more = names.len().saturating_sub(SHOWN);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{}{more}", shown.join(", "))
}
