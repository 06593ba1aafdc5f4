//! What is claimed of an image before it goes anywhere: how it came to be, what is in it, and who
//! stands for it; signed, and attached where it is staged.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use attest::Bundle;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use intoto::{PredicateType, PredicateTypeError, Provenance, Statement, Timestamp};
use lifecycle_core::provenance;
use oci::{Descriptor, Digest, Platform, Reference, Store};
use policies::{Judge, Verdict};
use sbom::{Document, Format, Merged, Sources, Subject};
use serde::Serialize;
use time::OffsetDateTime;

use crate::environment;
use crate::error::{CommandError, Context as _, Message};
use crate::signing::Signer;
use crate::ui::Ui;

/// 1980-01-01T00:00:01Z: the time that the CNB specification gives to all it makes, and ours to what is to
/// be the same whenever it is made.
pub(crate) const CREATED: i64 = 315_532_801;

/// A claim that was attached.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attached {
    /// What is claimed.
    pub(crate) predicate_type: PredicateType,
    /// The manifest that refers to the image.
    pub(crate) manifest: String,
    /// The bundle in it.
    pub(crate) bundle: String,
}

/// What is claimed of one image, or of an index.
#[derive(Clone, Debug)]
pub(crate) struct Claims {
    pub(crate) provenance: Provenance,
    pub(crate) sbom: Merged,
}

impl Claims {
    /// Signs all of it, and attaches it to `image`. The signature comes last: who signs the image
    /// stands for all of it.
    pub(crate) async fn attach(
        &self,
        store: &dyn Store,
        image: &Descriptor,
        signer: &Signer,
        ui: &Ui,
    ) -> Result<Vec<Attached>, CommandError> {
        let by = (signer, image, ui);
        let Self { provenance, sbom } = self;
        let bundles = [
            sign(&Statement::about(image, provenance.clone()), by).await?,
            sign(&Statement::about(image, sbom.cyclonedx.clone()), by).await?,
            sign(&Statement::about(image, sbom.spdx.clone()), by).await?,
        ];
        let mut attached = Vec::new();
        for (predicate_type, bundle) in bundles {
            attached.push(attach_one(store, image, predicate_type, &bundle).await?);
        }
        attached.push(attach_signature(store, image, signer, ui).await?);
        Ok(attached)
    }
}

/// An image of an index, and what is claimed of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    pub(crate) platform: &'a Platform,
    pub(crate) image: &'a Descriptor,
    pub(crate) claims: &'a Claims,
}

impl Claims {
    /// What is claimed of the index `root`, called `name`: it is made of its images, and holds what they
    /// hold.
    pub(crate) fn of_index(
        root: &Descriptor,
        name: String,
        members: &[Member<'_>],
        created: Option<OffsetDateTime>,
    ) -> Result<Self, CommandError> {
        let limits = sbom::Limits::default();
        let documents = members.iter().map(|it| {
            let bytes = it.claims.sbom.cyclonedx.to_bytes();
            Document::parse(Format::CycloneDx, &bytes, it.platform.to_string(), &limits)
                .context(|| "the SBOM of an image cannot be read again".to_owned())
        });
        let documents = documents.collect::<Result<Vec<_>, _>>()?;
        let subject = Subject {
            name,
            digest: root.digest.clone(),
        };
        let sbom = Sources {
            about: Some(subject.component()),
            created,
            documents: documents.iter().collect(),
            found: Vec::new(),
        }
        .merge();
        let members: Vec<_> = members
            .iter()
            .map(|it| provenance::Member {
                platform: it.platform.to_string(),
                image: it.image.digest.clone(),
                provenance: it.claims.provenance.clone(),
            })
            .collect();
        let byproducts =
            byproducts(&sbom)
                .into_iter()
                .map(|(name, digest)| intoto::ResourceDescriptor {
                    name: name.to_owned(),
                    ..intoto::ResourceDescriptor::of(&digest)
                });
        let provenance =
            provenance::of_index(&members, &invocation_id()?, &now()?, byproducts.collect())
                .ok_or_else(|| Message("an index without images has no provenance".to_owned()))?;
        Ok(Self { provenance, sbom })
    }
}

/// The kind of claim that a user means.
pub(crate) fn kind(text: &str) -> Result<PredicateType, CommandError> {
    text.parse().map_err(|_reason: PredicateTypeError| {
        CommandError::undecided(Message(format!("unknown claim `{text}`"))).hint(format!(
            "known: {}, or the URI of a predicate type",
            PredicateType::short_names().collect::<Vec<_>>().join(", ")
        ))
    })
}

/// Takes any text for a kind of claim; a shell completes the short names.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suggested;

impl TypedValueParser for Suggested {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(
            PredicateType::short_names().map(PossibleValue::new),
        ))
    }
}

/// Annotations, as they are typed: `NAME=VALUE`.
pub(crate) fn annotations(given: &[String]) -> Result<BTreeMap<String, String>, CommandError> {
    let pairs = given.iter().map(|it| match it.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Message(format!("`{it}` is not of the form NAME=VALUE")).into()),
    });
    pairs.collect()
}

/// The files of `sbom`, as what came out of a run besides the image.
pub(crate) fn byproducts(sbom: &Merged) -> [(&'static str, Digest); 2] {
    [
        (
            Format::CycloneDx.file_suffix(),
            Digest::of(&sbom.cyclonedx.to_bytes()),
        ),
        (
            Format::Spdx.file_suffix(),
            Digest::of(&sbom.spdx.to_bytes()),
        ),
    ]
}

/// Signs that one stands for `image`, and attaches it.
pub(crate) async fn attach_signature(
    store: &dyn Store,
    image: &Descriptor,
    signer: &Signer,
    ui: &Ui,
) -> Result<Attached, CommandError> {
    let signature = attest::image_signature(std::slice::from_ref(image), &BTreeMap::new())
        .map_err(CommandError::undecided)?;
    let (predicate_type, bundle) = sign(&signature, (signer, image, ui)).await?;
    attach_one(store, image, predicate_type, &bundle).await
}

/// Attaches what a policy said of `image`, so that a later gate needs one check instead of all.
pub(crate) async fn attach_verdict(
    store: &dyn Store,
    image: &Descriptor,
    verdict: &Verdict,
    by: Verifier<'_>,
    ui: &Ui,
) -> Result<Attached, CommandError> {
    let now = now()?;
    let statement = verdict.summary(&Judge {
        verifier_id: by.id,
        resource_uri: &by.destination.to_string(),
        policy_uri: by.policy_name,
        at: &now,
    });
    let (predicate_type, bundle) = sign(&statement, (by.signer, image, ui)).await?;
    attach_one(store, image, predicate_type, &bundle).await
}

/// Who judged, by what, and where the image is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verifier<'a> {
    pub(crate) signer: &'a Signer,
    /// Who judged, by URI.
    pub(crate) id: &'a str,
    /// The policy, as the user named it.
    pub(crate) policy_name: &'a str,
    pub(crate) destination: &'a Reference,
}

async fn attach_one(
    store: &dyn Store,
    image: &Descriptor,
    predicate_type: PredicateType,
    bundle: &Bundle,
) -> Result<Attached, CommandError> {
    let referrer = attest::attach(store, image, bundle, None)
        .await
        .map_err(CommandError::undecided)?;
    Ok(Attached {
        predicate_type,
        manifest: referrer.manifest.digest.to_string(),
        bundle: referrer.bundle.digest.to_string(),
    })
}

async fn sign<P: Serialize>(
    statement: &Statement<P>,
    (signer, image, ui): (&Signer, &Descriptor, &Ui),
) -> Result<(PredicateType, Bundle), CommandError> {
    let bundle = signer.sign(statement, image, ui).await?;
    Ok((statement.predicate_type().clone(), bundle))
}

/// The time, as statements have it.
pub(crate) fn now() -> Result<Timestamp, CommandError> {
    timestamp(environment::now())
}

/// A time, as statements have it.
pub(crate) fn timestamp(time: std::time::SystemTime) -> Result<Timestamp, CommandError> {
    OffsetDateTime::from(time)
        .try_into()
        .context(|| "the clock is wrong".to_owned())
}

/// Tells one run from all others.
pub(crate) fn invocation_id() -> Result<String, CommandError> {
    let mut bytes = [0; 16];
    let mut random = fs_err::File::open("/dev/urandom").map_err(CommandError::undecided)?;
    std::io::Read::read_exact(&mut random, &mut bytes).map_err(CommandError::undecided)?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}
