//! What a policy says that can never come to anything: a parameter that no rule reads, a pattern that matches
//! nothing, a number of signers that there are not. Said when the policy is read, since a typing error there
//! would let through what it was to stop, or stop everything.

use std::collections::BTreeMap;

use attest::{Accept, SignerPattern};
use globset::GlobBuilder;
use intoto::PredicateType;
use serde_json::{Map, Value};

use super::ImagePattern;

pub(super) mod values;

/// Read by no rule: what a verification summary says where the rules `slsa` hold.
const BUILDER_LEVELS: &str = "builder-levels";

/// What is wrong with parameters, for rules with these texts.
pub(super) fn of_parameters(
    parameters: &Map<String, Value>,
    rules: &BTreeMap<String, String>,
    accepts: &[Accept],
) -> Result<(), String> {
    for (name, value) in parameters {
        let is_read = if name == BUILDER_LEVELS {
            rules
                .values()
                .any(|it| it.contains("package sealpack.slsa"))
        } else {
            rules.values().any(|it| reads(it, name))
        };
        if !is_read {
            return Err(match similar(name, rules) {
                Some(other) => {
                    format!("no rule reads the parameter `{name}`; did you mean `{other}`?")
                }
                None => format!("no rule of the policy reads the parameter `{name}`"),
            });
        }
        // What a name means to rules of one's own is for them to say.
        let mut shipped = rules.values().filter(|it| is_shipped(it));
        if name != BUILDER_LEVELS && !shipped.any(|it| reads(it, name)) {
            continue;
        }
        values::of(name, value, parameters)?;
        match name.as_str() {
            "sbom-types" => of_types(value)?,
            "denied-purls" => texts(name, value, of_purl)?,
            "denied-licenses" => texts(name, value, of_license)?,
            "signature-threshold" => of_threshold(value, accepts)?,
            _ => {}
        }
    }
    Ok(())
}

/// What is wrong with patterns of images.
pub(super) fn of_images(images: &[ImagePattern]) -> Result<(), String> {
    for it in images {
        let text = it.as_str();
        // The name of a repository has its registry in front, and no part of it is empty.
        let is_name = text.contains('/') || text.contains('*');
        if !is_name || text.starts_with('/') || text.ends_with('/') || text.contains("//") {
            return Err(format!(
                "the pattern `{text}` matches no image: write `REGISTRY/REPOSITORY`, with `*` or `**` for what may differ"
            ));
        }
    }
    Ok(())
}

/// What is wrong with patterns of namespaces.
pub(super) fn of_namespaces(namespaces: &[ImagePattern]) -> Result<(), String> {
    let is_allowed = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || "-*".contains(it);
    for it in namespaces {
        let text = it.as_str();
        if !text.chars().all(is_allowed) || text.starts_with('-') || text.ends_with('-') {
            return Err(format!(
                "the pattern `{text}` matches no namespace: these have lower-case letters, digits and `-`"
            ));
        }
    }
    Ok(())
}

/// Whether a rule reads the parameter `name`, or takes names from elsewhere, so that nobody can say.
fn reads(rule: &str, name: &str) -> bool {
    const INPUT: &str = "input.parameters";
    // Of the shipped rules it is known which names they take.
    let is_shipped = is_shipped(rule);
    if is_shipped && !values::names().any(|it| it == name) {
        return false;
    }
    // There are many ways to take a field; what is nowhere in a rule is not taken by its name.
    let mut words = rule.match_indices(name);
    let is_said = words.any(|(at, _)| {
        let before = rule.get(..at).and_then(|it| it.chars().next_back());
        let quote = before.filter(|it| matches!(it, '"' | '`'));
        rule.get(at..).is_some_and(|it| {
            // A text is the whole name or another one: `health-age` is not `"health-age-days"`.
            let behind = it.strip_prefix(name);
            is_word(it, name) && quote.is_none_or(|it| behind.is_some_and(|b| b.starts_with(it)))
        })
    });
    let is_open = |behind: &str| {
        let behind = behind.trim_start();
        let inner = behind.trim_start_matches([',', '[', ' ', '\t', '\n']);
        let is_literal = inner.starts_with(['"', '`']);
        match behind.chars().next() {
            Some('.') => behind.strip_prefix('.').is_some_and(|it| is_word(it, name)),
            Some(',' | '[') => !is_literal,
            _ => true,
        }
    };
    let mut uses = rule.match_indices(INPUT);
    is_said
        || (!is_shipped && uses.any(|(at, _)| rule.get(at + INPUT.len()..).is_some_and(is_open)))
}

fn is_shipped(rule: &str) -> bool {
    crate::shipped::SHIPPED.iter().any(|it| it.text == rule)
}

/// What is wrong with the kinds of SBOMs that are asked for. None would be asked for by an empty list.
fn of_types(value: &Value) -> Result<(), String> {
    let is_kind = |it: &Value| matches!(it.as_str(), Some("cyclonedx" | "spdx"));
    match value.as_array() {
        Some(list) if !list.is_empty() && list.iter().all(is_kind) => Ok(()),
        _ => Err(format!(
            "`sbom-types` is not a list of `cyclonedx`, `spdx` or both: {value}"
        )),
    }
}

/// Whether `text` begins with this word.
fn is_word(text: &str, word: &str) -> bool {
    text.strip_prefix(word).is_some_and(|it| {
        let next = it.chars().next();
        next.is_none_or(|it| !it.is_alphanumeric() && it != '_')
    })
}

/// A parameter of the shipped rules that are used which differs in case, `_` or one letter at its end.
fn similar(name: &str, rules: &BTreeMap<String, String>) -> Option<&'static str> {
    let plain = |it: &str| {
        let it = it
            .to_ascii_lowercase()
            .replace('_', "-")
            .replace("licence", "license");
        it.trim_end_matches('s').to_owned()
    };
    let mut known = values::names().filter(|it| rules.values().any(|rule| reads(rule, it)));
    known.find(|it| plain(it) == plain(name))
}

/// A list of texts, each of which has to make sense.
fn texts(
    name: &str,
    value: &Value,
    problem: impl Fn(&str) -> Option<String>,
) -> Result<(), String> {
    let list = value.as_array();
    let list = list.ok_or_else(|| format!("`{name}` is not a list of texts"))?;
    for it in list {
        let text = it.as_str();
        let text = text.ok_or_else(|| format!("`{name}` is not a list of texts: it has {it}"))?;
        if let Some(problem) = problem(text) {
            return Err(format!("`{text}` in `{name}` matches nothing: {problem}"));
        }
    }
    Ok(())
}

fn of_purl(text: &str) -> Option<String> {
    const SCHEME: &str = "pkg:";
    let text = text.trim().to_lowercase();
    // As the rules match: one pattern for all of it, in lower case, in which `/` is like any other character.
    let glob = text.replace('/', "\0");
    if let Err(error) = GlobBuilder::new(&glob).literal_separator(true).build() {
        return Some(error.kind().to_string());
    }
    if text.split('[').skip(1).any(|it| {
        let class = it.split(']').next();
        class.is_some_and(|it| it.contains('%'))
    }) {
        return Some("between brackets characters stand as they are, not encoded".to_owned());
    }
    let end = text.find(['*', '?', '[', '{']).unwrap_or(text.len());
    let (fixed, _) = text.split_at_checked(end)?;
    let is_whole = end == text.len();
    let fits = fixed.starts_with(SCHEME) || (!is_whole && SCHEME.starts_with(fixed));
    (!fits).then(|| "a purl begins with `pkg:`, and so does its pattern".to_owned())
}

fn of_license(text: &str) -> Option<String> {
    let text = text.trim();
    if text.is_empty() {
        return Some("it is empty".to_owned());
    }
    if text.contains(['*', '?']) {
        return Some("licences are named one by one, without patterns".to_owned());
    }
    if text.contains(char::is_whitespace) || text.contains(['(', ')']) {
        return Some(
            "an identifier has neither blanks nor brackets; expressions are taken apart".to_owned(),
        );
    }
    // What stands around a word of a sentence is taken away from it.
    if text.starts_with(['.', ':', '!']) || text.ends_with(['.', ':', '!']) {
        return Some("no identifier begins or ends with `.`, `:` or `!`".to_owned());
    }
    // Texts are taken apart there, so no licence is ever called so.
    let is_apart = |it: char| {
        "/,;|&[]{}<>\"'`“”‘’«»\u{2010}\u{2011}\u{2012}\u{2013}\u{2014}\u{2015}\u{2212}".contains(it)
    };
    text.contains(is_apart)
        .then(|| "name the identifier, one each: `AGPL-3.0-only`".to_owned())
}

/// A number of signers that can be met. A pattern of identities may stand for any number.
fn of_threshold(value: &Value, accepts: &[Accept]) -> Result<(), String> {
    let number = value.as_u64().filter(|it| *it > 0).ok_or_else(|| {
        format!("`signature-threshold` is not a number of signers, 1 or more: {value}")
    })?;
    let mut signers: Vec<&SignerPattern> = accepts
        .iter()
        .filter(|it| it.predicate_type == PredicateType::COSIGN_SIGN)
        .map(|it| &it.signer)
        .collect();
    signers.sort();
    signers.dedup();
    let is_counted = signers.iter().all(|it| matches!(it, SignerPattern::Key(_)));
    let count = u64::try_from(signers.len()).unwrap_or(u64::MAX);
    if is_counted && number > count {
        return Err(format!(
            "`signature-threshold` asks for {number} signers, and only {count} {} accepted for signatures",
            if count == 1 { "is" } else { "are" }
        ));
    }
    Ok(())
}
