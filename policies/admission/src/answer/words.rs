//! What is said: first what and why, then what to do, then how to see the same on a desk.

use super::{Context, Decision};
use crate::images::Image;
use crate::name::shown;

/// Bytes of a message. A terminal is to show it, and etcd may have to keep it in an event.
pub(crate) const MAX_MESSAGE: usize = 8 << 10;
/// Images that a message explains.
const MAX_EXPLAINED: usize = 8;
/// Characters of a warning, and of all: beyond, API servers cut and drop.
const MAX_WARNING: usize = 256;
const MAX_WARNINGS: usize = 16;
/// What follows from a finding, at most, in one line.
const MAX_REASONS: usize = 8;

/// What was found out about an image, and why, on one line.
pub(super) fn what(image: &Image, decision: &Decision, context: &Context<'_>) -> String {
    let named = named(image);
    if let Err(error) = &image.name {
        let cause = std::error::Error::source(error).map_or(String::new(), |it| format!(": {it}"));
        return one_line(&format!("{named} is not allowed: {error}{cause}"));
    }
    let text = match decision {
        Decision::Accepted { policies, .. } => {
            format!("{named} is accepted by {}", list(policies))
        }
        Decision::Rejected { reasons, .. } => {
            let mut said = format!("{named} is rejected");
            let mut policy = None;
            for (at, it) in reasons.iter().take(MAX_REASONS).enumerate() {
                if policy == Some(&it.policy) {
                    said = format!("{said}; {}", it.message);
                } else {
                    let comma = if at == 0 { "" } else { "," };
                    said = format!("{said}{comma} by policy `{}`: {}", it.policy, it.message);
                    policy = Some(&it.policy);
                }
            }
            match reasons.len().saturating_sub(MAX_REASONS) {
                0 => said,
                more => format!("{said}; and {more} more"),
            }
        }
        Decision::Undecided { why } => format!("could not decide about {named}: {why}"),
        Decision::NoPolicy => match context.namespace {
            Some(namespace) => {
                format!("{named} is not allowed: no policy is for it in namespace `{namespace}`")
            }
            None => format!("{named} is not allowed: no policy is for it"),
        },
    };
    one_line(&text)
}

/// The same with what to do, and with how to see it again.
pub(super) fn explained(image: &Image, decision: &Decision, context: &Context<'_>) -> String {
    let mut text = what(image, decision, context);
    let Ok(name) = &image.name else {
        text.push_str("\n  to mend it: name the image as `registry.example/repository:tag` or with `@sha256:…`");
        return text;
    };
    let mut target = name.to_string();
    match decision {
        Decision::Accepted { .. } => return text,
        Decision::Rejected { digest, reasons } => {
            if let Some(digest) = digest {
                target = name.at(digest.clone()).to_string();
            }
            let mut solutions: Vec<_> = reasons
                .iter()
                .filter_map(|it| it.solution.as_deref())
                .map(one_line)
                .collect();
            solutions.sort();
            solutions.dedup();
            solutions.truncate(MAX_REASONS);
            if solutions.is_empty() {
                solutions.push(
                    "use an image that the policy accepts, or attach to this one what it lacks"
                        .to_owned(),
                );
            }
            for solution in solutions {
                text.push_str("\n  to mend it: ");
                text.push_str(&solution);
            }
        }
        Decision::Undecided { .. } => {
            text.push_str("\n  to mend it: try again; nothing is known against the image");
        }
        Decision::NoPolicy => {
            text.push_str("\n  to mend it: add a policy whose `images` match it");
        }
    }
    text.push_str("\n  to see the same: sealpack policy check ");
    text.push_str(&shown(&target));
    text.push_str(" --policy ");
    text.push_str(context.policies);
    text
}

/// All of them as one message.
pub(super) fn message(explained: &[String]) -> String {
    let mut all: Vec<_> = explained.iter().take(MAX_EXPLAINED).cloned().collect();
    let more = explained.len().saturating_sub(MAX_EXPLAINED);
    if more > 0 {
        all.push(format!("and {more} more images"));
    }
    cut(&all.join("\n"), MAX_MESSAGE)
}

/// As many as API servers carry, each as long.
pub(super) fn warnings(all: &[String]) -> Vec<String> {
    all.iter()
        .take(MAX_WARNINGS)
        .map(|it| cut(&one_line(it), MAX_WARNING))
        .collect()
}

/// One word of the audit log.
pub(super) fn audit(image: &Image, decision: &Decision, word: &str) -> String {
    let digest = match decision {
        Decision::Accepted { digest, .. } => Some(digest),
        Decision::Rejected { digest, .. } => digest.as_ref(),
        _ => None,
    };
    match (&image.name, digest) {
        (Ok(name), Some(digest)) => format!("{}={word}", name.at(digest.clone())),
        (Ok(name), None) => format!("{name}={word}"),
        (Err(_), _) => format!("{}={word}", shown(&image.text).replace(' ', "_")),
    }
}

/// ``image `x` (container `web`)``.
fn named(image: &Image) -> String {
    const MAX_PLACES: usize = 3;
    let mut owners: Vec<_> = image
        .positions
        .iter()
        .take(MAX_PLACES)
        .map(|it| it.owner.clone())
        .collect();
    let more = image.positions.len().saturating_sub(MAX_PLACES);
    if more > 0 {
        owners.push(format!("{more} more"));
    }
    format!("image `{}` ({})", shown(&image.text), owners.join(", "))
}

fn list(policies: &[String]) -> String {
    policies.join(", ")
}

/// What strangers wrote may be in it.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// At most `limit` bytes, and then it says so.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut kept = String::with_capacity(limit);
    for c in text.chars() {
        if kept.len() + c.len_utf8() + '…'.len_utf8() > limit {
            break;
        }
        kept.push(c);
    }
    kept.push('…');
    kept
}
