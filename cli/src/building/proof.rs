//! What is claimed about a staged image, signed and attached to it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use attest::Bundle;
use intoto::{PredicateType, Statement, Timestamp};
use lifecycle_core::provenance::{Ingredients, Named};
use oci::{Descriptor, Digest, Image, Platform, Store};
use platform::run::{Built, Staging};
use sbom::{Format, Limits, Merged, Scope, Sources, Subject, collect};
use serde::Serialize;
use time::OffsetDateTime;

use super::settings::Settings;
use crate::contents;
use crate::environment;
use crate::error::{CommandError, Context as _};
use crate::signing::Signer;
use crate::ui::Ui;

/// A claim that was attached.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Attached {
    predicate_type: PredicateType,
    manifest: String,
    bundle: String,
}

/// Attaches SBOMs, provenance and a signature to the staged image. Nothing, without a key.
pub(crate) async fn attach(
    settings: &Settings,
    staging: &Staging,
    built: &Built,
    started: SystemTime,
    ui: &Ui,
) -> Result<Vec<Attached>, CommandError> {
    ui.begin("sbom", "looking into the layers");
    let merged = sboms(settings, staging, built).await?;
    ui.done(
        "sbom",
        format_args!(
            "{} components (CycloneDX), {} packages (SPDX)",
            merged.cyclonedx.len(),
            merged.spdx.packages().count()
        ),
    );
    let Some(signer) = &settings.signer else {
        ui.warn("the image is not signed, and nothing is attached to it (`--unsigned`)");
        return Ok(Vec::new());
    };
    ui.begin("attest", "signing");
    let image = &built.report.image;
    let provenance = ingredients(settings, staging, built, &merged, started)?.provenance();
    let signature = attest::image_signature(std::slice::from_ref(image), &BTreeMap::new())
        .map_err(CommandError::undecided)?;
    let by = (signer, image, ui);
    let bundles = [
        sign(&Statement::about(image, provenance), by).await?,
        sign(&Statement::about(image, merged.cyclonedx), by).await?,
        sign(&Statement::about(image, merged.spdx), by).await?,
        // Last: who signs the image stands for all of it.
        sign(&signature, by).await?,
    ];
    let mut attached = Vec::new();
    for (predicate_type, bundle) in bundles {
        attached.push(attach_one(staging.store(), image, predicate_type, &bundle, None).await?);
    }
    let names: Vec<_> = attached
        .iter()
        .map(|it| it.predicate_type.short_name().unwrap_or_default())
        .collect();
    ui.done("attest", names.join(", "));
    Ok(attached)
}

/// Attaches one signed claim.
pub(crate) async fn attach_one(
    store: &dyn Store,
    image: &Descriptor,
    predicate_type: PredicateType,
    bundle: &Bundle,
    created: Option<&Timestamp>,
) -> Result<Attached, CommandError> {
    let referrer = attest::attach(store, image, bundle, created)
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

/// Merges what the buildpacks say is in the image with what is found in it.
async fn sboms(
    settings: &Settings,
    staging: &Staging,
    built: &Built,
) -> Result<Merged, CommandError> {
    let collected = collect(&staging.layers(), Scope::Launch, &Limits::default())
        .context(|| "failed to read what the buildpacks say is in the image".to_owned())?;
    let subject = Subject {
        name: settings.image_name(),
        digest: built.report.image.digest.clone(),
    };
    let created = OffsetDateTime::from_unix_timestamp(built.created)
        .context(|| "the image's time is out of range".to_owned())?;
    let store = staging.store();
    let limits = oci::Limits::default();
    let image = Image::read(store, &built.report.image, &Platform::host(), &limits)
        .await
        .map_err(CommandError::undecided)?;
    let mut found = contents::look_again(store, &image, settings.cache.as_deref()).await?;
    for (name, digest) in settings.programs.digests()? {
        if name == "launcher" {
            contents::is_our_launcher(&mut found, &digest, env!("CARGO_PKG_VERSION"));
        }
    }
    let sources = Sources {
        about: Some(subject.component()),
        created: Some(created),
        documents: collected.iter().map(|it| &it.document).collect(),
        found: vec![&found],
    };
    Ok(sources.merge())
}

/// All that went into the build.
fn ingredients(
    settings: &Settings,
    staging: &Staging,
    built: &Built,
    merged: &Merged,
    started: SystemTime,
) -> Result<Ingredients, CommandError> {
    let timestamp = |time: SystemTime| -> Result<Timestamp, CommandError> {
        OffsetDateTime::from(time)
            .try_into()
            .context(|| "the clock is wrong".to_owned())
    };
    let programs = settings
        .programs
        .digests()?
        .into_iter()
        .map(|(name, digest)| named(name, digest))
        .collect();
    let report =
        fs_err::read(staging.layers().join("report.toml")).map_err(CommandError::undecided)?;
    Ok(Ingredients {
        builder_id: settings.builder_id.clone(),
        invocation_id: invocation_id()?,
        source: built.source.clone(),
        builder: Named {
            name: "builder".to_owned(),
            uri: Some(settings.builder_name.clone()),
            digest: settings.builder.digest.clone(),
        },
        buildpacks: built.buildpacks.clone(),
        run_image: built.run_image.clone(),
        programs,
        lifecycle_version: built.lifecycle_version.clone(),
        platform_api: built.platform_api,
        env: settings
            .env
            .iter()
            .map(|(name, value)| {
                let is_literal = settings.literal.contains(name);
                let value = is_literal.then(|| value.to_string_lossy().into_owned());
                (name.clone(), value)
            })
            .collect(),
        process_type: settings.process_type.clone(),
        network: settings.network.name().to_owned(),
        isolation: serde_json::to_value(&built.isolation).map_err(CommandError::undecided)?,
        cache: settings.cache.is_some(),
        started_on: timestamp(started)?,
        finished_on: timestamp(environment::now())?,
        byproducts: vec![
            named("report.toml", Digest::of(&report)),
            named(
                Format::CycloneDx.file_suffix(),
                Digest::of(&merged.cyclonedx.to_bytes()),
            ),
            named(
                Format::Spdx.file_suffix(),
                Digest::of(&merged.spdx.to_bytes()),
            ),
        ],
    })
}

fn named(name: &str, digest: Digest) -> Named {
    Named {
        name: name.to_owned(),
        uri: None,
        digest,
    }
}

/// Tells this build from all others.
fn invocation_id() -> Result<String, CommandError> {
    let mut bytes = [0; 16];
    let mut random = fs_err::File::open("/dev/urandom").map_err(CommandError::undecided)?;
    std::io::Read::read_exact(&mut random, &mut bytes).map_err(CommandError::undecided)?;
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}
