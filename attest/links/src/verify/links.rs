//! From a layout's steps to one link for each: steps 3 to 5.

use std::collections::{BTreeMap, BTreeSet};

use attest::key::PublicKey;
use time::OffsetDateTime;

use super::{Finding, Ignored, Refused, State, StepProof, Undecided, WhyIgnored};
use crate::link::file_name;
use crate::{Key, KeyId, Layout, LayoutKey, Link, Signed, Step};

/// What a layout that holds says.
pub(super) struct Chain {
    /// From the first step's materials to the last step's products.
    pub(super) summary: Link,
    pub(super) expires: OffsetDateTime,
    pub(super) steps: Vec<StepProof>,
}

impl Chain {
    pub(super) fn of(
        layout: &Layout,
        links: &BTreeMap<String, Link>,
        steps: Vec<StepProof>,
    ) -> Self {
        let of = |step: Option<&Step>| step.and_then(|it| links.get(&it.name));
        let last = of(layout.steps.last()).cloned().unwrap_or_default();
        Self {
            summary: Link {
                materials: of(layout.steps.first())
                    .map(|it| it.materials.clone())
                    .unwrap_or_default(),
                environment: serde_json::Map::new(),
                ..last
            },
            expires: layout.expires,
            steps,
        }
    }
}

/// What the files of links say about a layout's steps.
#[derive(Default)]
pub(super) struct Evidence {
    pub(super) links: BTreeMap<String, Link>,
    pub(super) proofs: Vec<StepProof>,
    pub(super) findings: Vec<Finding>,
}

impl State<'_> {
    /// One link a step, who vouches for it, and what is wrong.
    pub(super) fn links(
        &mut self,
        layout: &Layout,
        folder: &str,
        depth: usize,
    ) -> Result<Evidence, Refused> {
        let mut out = Evidence::default();
        for step in &layout.steps {
            let evidence = self.evidence(layout, step, folder, depth)?;
            let threshold = usize::try_from(step.threshold).unwrap_or(usize::MAX);
            if evidence.len() < threshold {
                out.findings.push(Finding::Threshold {
                    step: step.name.clone(),
                    found: evidence.len(),
                    threshold: step.threshold,
                });
                continue;
            }
            let mut all = evidence.iter();
            let Some((first, link)) = all.next() else {
                continue;
            };
            // Step 5. Where one functionary is enough, the first that the step names is believed.
            let other = all
                .filter(|_| threshold > 1)
                .find(|(_, it)| it.materials != link.materials || it.products != link.products);
            if let Some((other, _)) = other {
                out.findings.push(Finding::Disagree {
                    step: step.name.clone(),
                    one: first.clone(),
                    other: other.clone(),
                });
            }
            out.proofs.push(StepProof {
                name: step.name.clone(),
                functionaries: evidence.iter().map(|(key, _)| key.clone()).collect(),
                materials: link.materials.len(),
                products: link.products.len(),
                expected_command: step.expected_command.is_empty()
                    || step.expected_command == link.command,
            });
            out.links.insert(step.name.clone(), link.clone());
        }
        Ok(out)
    }

    /// Step 3: the links of one step that count, one a functionary, in the step's order.
    fn evidence(
        &mut self,
        layout: &Layout,
        step: &Step,
        folder: &str,
        depth: usize,
    ) -> Result<Vec<(KeyId, Link)>, Refused> {
        let mut evidence = Vec::new();
        let mut unsupported = None;
        // A key under two names is one functionary.
        let mut counted: BTreeSet<&PublicKey> = BTreeSet::new();
        for id in &step.functionaries {
            let file = format!("{folder}{}", file_name(&step.name, id));
            let key = match layout.keys.get(id.as_str()) {
                // Who is allowed to and has no key cannot have signed.
                None => continue,
                Some(LayoutKey::Known(key)) if counted.contains(key.public()) => continue,
                Some(key) => key,
            };
            let bytes = self.question.files.read(&file);
            let bytes = bytes.map_err(|source| Undecided::Unreadable {
                file: file.clone(),
                source,
            })?;
            let Some(bytes) = bytes else {
                continue;
            };
            let key = match key {
                LayoutKey::Known(key) => key,
                LayoutKey::Unsupported(why) => {
                    unsupported.get_or_insert(Undecided::Key {
                        key: id.to_string(),
                        source: why.clone(),
                    });
                    continue;
                }
            };
            match self.link(&bytes, key, step, &file, depth)? {
                Ok(link) => {
                    counted.insert(key.public());
                    evidence.push((id.clone(), link));
                }
                Err(why) => self.ignored.push(Ignored { file, why }),
            }
        }
        // What we cannot check might be what is missing: that is no "no".
        let threshold = usize::try_from(step.threshold).unwrap_or(usize::MAX);
        match unsupported {
            Some(undecided) if evidence.len() < threshold => Err(undecided.into()),
            _ => Ok(evidence),
        }
    }

    /// One file: a link, or a layout that stands for one (step 4).
    fn link(
        &mut self,
        bytes: &[u8],
        key: &Key,
        step: &Step,
        file: &str,
        depth: usize,
    ) -> Result<Result<Link, WhyIgnored>, Refused> {
        let signed = match Signed::parse(bytes, &self.question.limits) {
            Ok(signed) => signed,
            Err(error) => return Ok(Err(malformed(&error))),
        };
        if !signed.is_signed_by(key) {
            return Ok(Err(WhyIgnored::NotSigned {
                key: key.id().clone(),
            }));
        }
        if signed.kind() == "layout" {
            let folder = format!("{}/", file.strip_suffix(".link").unwrap_or(file));
            let chain = self.layout(&signed, std::slice::from_ref(key), &folder, depth + 1);
            return match chain {
                Ok(chain) => Ok(Ok(Link {
                    name: step.name.clone(),
                    ..chain.summary
                })),
                Err(Refused::Rejected(findings)) => Ok(Err(WhyIgnored::Layout {
                    reason: findings
                        .iter()
                        .map(ToString::to_string)
                        .collect::<Vec<_>>()
                        .join("; "),
                })),
                Err(undecided) => Err(undecided),
            };
        }
        match Link::of(&signed) {
            // Else a functionary's link of one step could stand for another step of theirs.
            Ok(link) if link.name == step.name => Ok(Ok(link)),
            Ok(link) => Ok(Err(WhyIgnored::OtherStep { step: link.name })),
            Err(error) => Ok(Err(malformed(&error))),
        }
    }
}

fn malformed(error: &dyn std::error::Error) -> WhyIgnored {
    WhyIgnored::Malformed {
        reason: go::words::chain(error),
    }
}
