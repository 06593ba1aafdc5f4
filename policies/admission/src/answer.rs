//! From verdicts to what the API server, and whoever asked it, is told.

mod words;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oci::Digest;
use serde_json::{Value, json};

use crate::images::Image;
use crate::name::{NameError, pinned};
use crate::patch::{self, Operation};
use crate::question::Nothing;

pub(crate) use words::MAX_MESSAGE;

/// What was found out about one image.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "who answers has to handle all")]
pub enum Decision {
    /// Every policy for it accepts it.
    Accepted {
        /// Which image was judged.
        digest: Digest,
        /// By which policies.
        policies: Vec<String>,
    },
    /// A policy for it rejects it.
    Rejected {
        /// Which image was judged.
        digest: Option<Digest>,
        /// Why, at least one.
        reasons: Vec<Reason>,
    },
    /// It is not known, and nothing is known against it.
    Undecided {
        /// Why not: what was waited for, and what was said.
        why: String,
    },
    /// No policy is for it.
    NoPolicy,
}

/// Why an image is rejected.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Reason {
    /// By which policy.
    pub policy: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub solution: Option<String>,
}

/// What follows from something.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "there are no more")]
pub enum Mode {
    /// It is admitted, and stands in the audit log.
    Allow,
    /// It is admitted, and the user is warned.
    Warn,
    /// It is not admitted.
    Deny,
}

/// What follows from what.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Modes {
    /// From a rejection.
    pub rejected: Mode,
    /// From not knowing.
    pub undecided: Mode,
    /// From there being no policy.
    pub no_policy: Mode,
    /// At most, where an object only makes pods.
    pub workloads: Mode,
}

impl Default for Modes {
    /// What is not proven is not admitted.
    fn default() -> Self {
        Self {
            rejected: Mode::Deny,
            undecided: Mode::Deny,
            no_policy: Mode::Deny,
            workloads: Mode::Deny,
        }
    }
}

/// What an answer depends on, beside the verdicts.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Context<'a> {
    /// What follows from what.
    pub modes: Modes,
    /// Whether the object only makes pods.
    pub workload: bool,
    /// The namespace, for words.
    pub namespace: Option<&'a str>,
    /// Whether tags are to become digests.
    pub pin: bool,
    /// Where whoever is told no finds the policies: for the command that says the same.
    pub policies: &'a str,
}

/// What the API server is told.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// One word for logs and metrics: `accepted`, `rejected`, `undecided`, `malformed`, …
    pub verdict: &'static str,
    /// Why it is not admitted, if it is not.
    pub denial: Option<Denial>,
    /// What the user is to see anyway.
    pub warnings: Vec<String>,
    /// What the audit log is to hold.
    pub audit: BTreeMap<&'static str, String>,
    /// What is to be changed.
    pub patch: Vec<Operation>,
}

/// A no.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Denial {
    /// The HTTP status that the user's request ends with.
    pub code: u16,
    /// Its name in Kubernetes.
    pub reason: &'static str,
    /// What and why, what to do, and how to see the same.
    pub message: String,
}

impl Denial {
    fn forbidden(message: String) -> Self {
        Self {
            code: 403,
            reason: "Forbidden",
            message,
        }
    }

    fn unavailable(message: String) -> Self {
        Self {
            code: 503,
            reason: "ServiceUnavailable",
            message,
        }
    }
}

impl Answer {
    /// Nothing had to be judged.
    pub fn nothing(why: Nothing) -> Self {
        let mut answer = Self::of(why.as_str());
        if why == Nothing::UnknownKind {
            answer.warnings.push(
                "images of this kind are not judged, only those of the pods that come of it: `--kind GROUP/KIND=/POINTER` says where it has a pod spec".to_owned(),
            );
        }
        answer
    }

    /// It could not be read, so it is not admitted.
    pub fn malformed(why: &str) -> Self {
        let message = words::cut(
            &format!("the request was not understood: {why}"),
            MAX_MESSAGE,
        );
        Self {
            denial: Some(Denial::forbidden(message)),
            ..Self::of("malformed")
        }
    }

    /// It was not decided at all, for a reason of ours.
    pub fn undecided(why: &str, mode: Mode) -> Self {
        let mut answer = Self::of("undecided");
        let message = words::cut(&format!("could not decide: {why}"), MAX_MESSAGE);
        match mode {
            Mode::Deny => answer.denial = Some(Denial::unavailable(message)),
            Mode::Warn => answer.warnings = words::warnings(&[message]),
            Mode::Allow => {}
        }
        answer
    }

    fn of(verdict: &'static str) -> Self {
        Self {
            verdict,
            denial: None,
            warnings: Vec::new(),
            audit: BTreeMap::from([("verdict", verdict.to_owned())]),
            patch: Vec::new(),
        }
    }

    /// The review that the API server expects.
    pub fn to_json(&self, uid: &str) -> Vec<u8> {
        let mut response = json!({
            "uid": uid,
            "allowed": self.denial.is_none(),
            "auditAnnotations": self.audit,
        });
        let mut add = |name: &str, value: Value| {
            if let Some(response) = response.as_object_mut() {
                response.insert(name.to_owned(), value);
            }
        };
        if let Some(denial) = &self.denial {
            add(
                "status",
                json!({
                    "status": "Failure",
                    "code": denial.code,
                    "reason": denial.reason,
                    "message": denial.message,
                }),
            );
        } else if !self.patch.is_empty() {
            let patch = serde_json::to_vec(&self.patch).unwrap_or_default();
            add("patchType", json!("JSONPatch"));
            add("patch", json!(STANDARD.encode(patch)));
        }
        if !self.warnings.is_empty() {
            add("warnings", json!(self.warnings));
        }
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": response,
        });
        review.to_string().into_bytes()
    }
}

/// The answer about an object with these images.
pub fn answer(judged: &[(Image, Decision)], context: &Context<'_>) -> Answer {
    let most = if context.workload {
        context.modes.workloads
    } else {
        Mode::Deny
    };
    let mut rejections = Vec::new();
    let mut doubts = Vec::new();
    let mut warnings = Vec::new();
    let mut audit = Vec::new();
    let mut verdict = "accepted";
    let mut worse = |it| {
        const ORDER: [&str; 4] = ["accepted", "no-policy", "undecided", "rejected"];
        let rank = |word| ORDER.iter().position(|it| *it == word);
        if rank(it) > rank(verdict) {
            verdict = it;
        }
    };
    let mut patch = Vec::new();
    for (image, decision) in judged {
        let (word, mode) = match (&image.name, decision) {
            // Whoever makes pods of it writes the name first, or they are denied.
            (Err(NameError::Placeholder { .. }), _) if context.workload => {
                ("undecided", Mode::Warn.min(context.modes.rejected))
            }
            (Err(_), _) | (Ok(_), Decision::Rejected { .. }) => {
                ("rejected", context.modes.rejected)
            }
            (Ok(_), Decision::Undecided { .. }) => ("undecided", context.modes.undecided),
            (Ok(_), Decision::NoPolicy) => ("no-policy", context.modes.no_policy),
            (Ok(name), Decision::Accepted { digest, .. }) => {
                if context.pin && name.digest.is_none() {
                    let to = pinned(&image.text, name, digest);
                    for position in &image.positions {
                        patch.extend(patch::replace(&position.pointer, &image.text, to.clone()));
                    }
                }
                ("accepted", Mode::Allow)
            }
        };
        worse(word);
        audit.push(words::audit(image, decision, word));
        match mode.min(most) {
            Mode::Allow => {}
            Mode::Warn => warnings.push(words::what(image, decision, context)),
            Mode::Deny => {
                let text = words::explained(image, decision, context);
                if word == "undecided" {
                    doubts.push(text);
                } else {
                    rejections.push(text);
                }
            }
        }
    }
    // What is known comes first: asking again will not change it.
    let known = rejections.is_empty();
    rejections.append(&mut doubts);
    let denial = (!rejections.is_empty()).then(|| {
        let message = words::message(&rejections);
        if known {
            Denial::unavailable(message)
        } else {
            Denial::forbidden(message)
        }
    });
    if denial.is_some() {
        patch.clear();
    }
    Answer {
        verdict,
        warnings: words::warnings(&warnings),
        audit: BTreeMap::from([
            ("verdict", verdict.to_owned()),
            ("images", words::cut(&audit.join(" "), MAX_MESSAGE)),
        ]),
        patch,
        denial,
    }
}

#[cfg(test)]
mod tests;
