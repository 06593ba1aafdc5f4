//! The text of a `policy.toml`.

use std::ops::Range;

use attest::{Claim, IdentityPattern, TextPattern};
use intoto::PredicateType;
use serde::Deserialize;
use serde_json::{Map, Value};
use toml::Spanned;

use super::WhenUndecided;
use super::pattern::{ImagePattern, ImagePatternError};

/// A policy as it is written, with the lines of what can still turn out to be wrong.
#[derive(Debug)]
pub(super) struct PolicyFile {
    pub(super) images: Vec<ImagePattern>,
    pub(super) namespaces: Vec<ImagePattern>,
    pub(super) when_undecided: WhenUndecided,
    pub(super) accepts: Vec<Entry<AcceptEntry>>,
    pub(super) required: Vec<Entry<PredicateType>>,
    pub(super) rule_sets: Vec<Entry<String>>,
    pub(super) rule_files: Vec<Entry<String>>,
    pub(super) parameters: Map<String, Value>,
}

#[derive(Debug)]
pub(super) struct Entry<T> {
    pub(super) line: Option<usize>,
    pub(super) value: T,
}

#[derive(Debug)]
pub(super) struct AcceptEntry {
    pub(super) claims: Vec<PredicateType>,
    pub(super) signer: Signer,
}

#[derive(Debug)]
pub(super) enum Signer {
    Given,
    /// Path of a public key, from the policy's folder.
    Key(String),
    Identity(IdentityPattern),
}

/// What is wrong, and where.
#[derive(Debug)]
pub(super) struct FileError {
    pub(super) line: Option<usize>,
    pub(super) problem: String,
}

impl PolicyFile {
    pub(super) fn parse(text: &str) -> Result<Self, FileError> {
        let error_at = |span: Option<Range<usize>>, problem: String| FileError {
            line: span.map(|it| line(text, it.start)),
            problem,
        };
        let raw: Raw = toml::from_str(text)
            .map_err(|error| error_at(error.span(), error.message().to_owned()))?;
        let claim = |it: &Spanned<String>| {
            let claim = match it.as_ref().as_str() {
                "signature" => Ok(PredicateType::COSIGN_SIGN),
                "provenance" => Ok(PredicateType::SLSA_PROVENANCE_V1),
                other => other.parse(),
            };
            claim.map_err(|error: intoto::PredicateTypeError| {
                let known: Vec<_> = PredicateType::short_names().collect();
                let problem = format!(
                    "unknown claim `{}`: known are {}, and URIs of predicate types",
                    error.text,
                    known.join(", ")
                );
                error_at(Some(it.span()), problem)
            })
        };
        let mut accepts = Vec::new();
        for entry in &raw.accept {
            let RawAccept { claims, signer } = entry.as_ref();
            if claims.is_empty() {
                let problem = "`claims` is empty".to_owned();
                return Err(error_at(Some(entry.span()), problem));
            }
            accepts.push(Entry {
                line: Some(line(text, signer.span().start)),
                value: AcceptEntry {
                    claims: claims.iter().map(claim).collect::<Result<_, _>>()?,
                    signer: read_signer(signer.as_ref())
                        .map_err(|problem| error_at(Some(signer.span()), problem))?,
                },
            });
        }
        let mut required = Vec::new();
        for entry in &raw.require {
            required.push(Entry {
                line: Some(line(text, entry.claim.span().start)),
                value: claim(&entry.claim)?,
            });
        }
        let entries = |list: Vec<Spanned<String>>| {
            list.into_iter()
                .map(|it| Entry {
                    line: Some(line(text, it.span().start)),
                    value: it.into_inner(),
                })
                .collect()
        };
        let patterns = |list: &[Spanned<String>]| {
            list.iter()
                .map(|it| {
                    it.as_ref().parse().map_err(|error: ImagePatternError| {
                        error_at(Some(it.span()), error.to_string())
                    })
                })
                .collect::<Result<Vec<ImagePattern>, _>>()
        };
        Ok(Self {
            images: patterns(&raw.images)?,
            namespaces: patterns(&raw.namespaces)?,
            when_undecided: match raw.undecided {
                RawUndecided::Deny => WhenUndecided::Deny,
                RawUndecided::Warn => WhenUndecided::Warn,
            },
            accepts,
            required,
            rule_sets: entries(raw.rules.r#use),
            rule_files: entries(raw.rules.files),
            parameters: raw.parameters,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    images: Vec<Spanned<String>>,
    #[serde(default)]
    namespaces: Vec<Spanned<String>>,
    #[serde(default)]
    undecided: RawUndecided,
    #[serde(default)]
    accept: Vec<Spanned<RawAccept>>,
    #[serde(default)]
    require: Vec<RawRequire>,
    #[serde(default)]
    rules: RawRules,
    #[serde(default)]
    parameters: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawUndecided {
    #[default]
    Deny,
    Warn,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAccept {
    claims: Vec<Spanned<String>>,
    signer: Spanned<toml::Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRequire {
    claim: Spanned<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRules {
    #[serde(default)]
    r#use: Vec<Spanned<String>>,
    #[serde(default)]
    files: Vec<Spanned<String>>,
}

fn read_signer(signer: &toml::Value) -> Result<Signer, String> {
    match signer {
        toml::Value::String(word) if word == "given" => return Ok(Signer::Given),
        toml::Value::Table(table) if table.len() == 1 => {
            if let Some(toml::Value::String(path)) = table.get("key") {
                return Ok(Signer::Key(path.clone()));
            }
        }
        _ => {}
    }
    if let toml::Value::Table(table) = signer
        && table.keys().any(|it| it.starts_with("identity"))
    {
        return read_identity(table).map(Signer::Identity);
    }
    Err("`signer` is neither `\"given\"` nor `{ key = \"…\" }` nor \
         `{ identity = \"…\", issuer = \"…\" }`"
        .to_owned())
}

fn read_identity(table: &toml::Table) -> Result<IdentityPattern, String> {
    let known = [
        "identity",
        "identity-regexp",
        "issuer",
        "issuer-regexp",
        "claims",
    ];
    if let Some(other) = table.keys().find(|it| !known.contains(&it.as_str())) {
        return Err(format!("`{other}` says nothing of a signer's identity"));
    }
    let mut identity =
        IdentityPattern::new(read_text(table, "identity")?, read_text(table, "issuer")?);
    let no_claims = toml::Table::new();
    let claims = match table.get("claims") {
        None => &no_claims,
        Some(toml::Value::Table(claims)) => claims,
        Some(_) => return Err("`claims` of a signer is not a table".to_owned()),
    };
    for name in claims.keys() {
        let name = name.strip_suffix("-regexp").unwrap_or(name);
        let claim = Claim::ALL
            .iter()
            .find(|it| it.name() == name)
            .ok_or_else(|| format!("certificates have no claim `{name}`"))?;
        identity = identity.claiming(*claim, read_text(claims, name)?);
    }
    Ok(identity)
}

/// The text `name`, or the pattern `name-regexp`: exactly one of them.
fn read_text(table: &toml::Table, name: &str) -> Result<TextPattern, String> {
    let pattern = format!("{name}-regexp");
    let text = match (table.get(name), table.get(&pattern)) {
        (Some(toml::Value::String(text)), None) => TextPattern::exact(text),
        (None, Some(toml::Value::String(text))) => TextPattern::anchored(text),
        _ => {
            return Err(format!(
                "a signer has either `{name}` or `{pattern}`, a text"
            ));
        }
    };
    text.map_err(|error| {
        let cause = std::error::Error::source(&error).map_or(String::new(), |it| format!(": {it}"));
        format!("{error}{cause}")
    })
}

/// The line of the byte at `offset`, from 1.
fn line(text: &str, offset: usize) -> usize {
    let before = text.as_bytes().iter().take(offset);
    before.filter(|it| **it == b'\n').count() + 1
}
