//! What is claimed about a staged image, signed and attached to it.

use std::time::SystemTime;

use lifecycle_core::provenance::{Ingredients, Invocation, Named};
use oci::{Digest, Image};
use platform::run::{Built, Staging};
use sbom::{Limits, Merged, Scope, Sources, Subject, collect};
use time::OffsetDateTime;

use super::settings::Settings;
use super::starts;
use super::targets::Target;
use crate::claims::{self, Attached, Claims};
use crate::contents;
use crate::error::{CommandError, Context as _};
use crate::ui::{Ui, counted};

/// What was claimed of a staged image.
#[derive(Debug)]
pub(crate) struct Attachments {
    /// What was attached; nothing, if nobody signs.
    pub(crate) attached: Vec<Attached>,
    /// The same, for who makes an index of several images.
    pub(crate) claims: Claims,
}

/// Attaches SBOMs, provenance and a signature to the staged image. Nothing, without a key.
pub(crate) async fn attach(
    (settings, target): (&Settings, &Target),
    staging: &Staging,
    built: &Built,
    started: SystemTime,
    ui: &Ui,
) -> Result<Attachments, CommandError> {
    ui.begin("sbom", "looking into the layers");
    let store = staging.store();
    let limits = oci::Limits::default();
    let image = Image::read(store, &built.report.image, &target.platform, &limits)
        .await
        .map_err(CommandError::undecided)?;
    let merged = sboms(settings, staging, built, &image).await?;
    ui.done(
        "sbom",
        format_args!(
            "CycloneDX: {}, SPDX: {}",
            counted(merged.cyclonedx.len(), "component"),
            counted(merged.spdx.packages().count(), "package")
        ),
    );
    let cache = settings.cache.as_deref();
    for lack in starts::lacking(store, &image, staging.root(), cache).await? {
        ui.warn(lack);
        ui.hint("give it a run image that has one (`--run-image`), or build a static program");
    }
    let provenance =
        ingredients((settings, target), staging, built, &merged, started)?.provenance();
    let claims = Claims {
        provenance,
        sbom: merged,
    };
    let Some(signer) = &settings.signer else {
        ui.warn("the image is not signed, and nothing is attached to it (`--unsigned`)");
        return Ok(Attachments {
            attached: Vec::new(),
            claims,
        });
    };
    ui.begin("attest", "signing");
    let image = &built.report.image;
    let attached = claims.attach(staging.store(), image, signer, ui).await?;
    let names: Vec<_> = attached.iter().map(|it| it.predicate_type.name()).collect();
    ui.done("attest", names.join(", "));
    Ok(Attachments { attached, claims })
}

/// Merges what the buildpacks say is in the image with what is found in it.
async fn sboms(
    settings: &Settings,
    staging: &Staging,
    built: &Built,
    image: &Image,
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
    let mut found = contents::look_again(store, image, settings.cache.as_deref()).await?;
    contents::is_our_launcher(&mut found, &built.launcher, env!("CARGO_PKG_VERSION"));
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
    (settings, target): (&Settings, &Target),
    staging: &Staging,
    built: &Built,
    merged: &Merged,
    started: SystemTime,
) -> Result<Ingredients, CommandError> {
    let mut programs: Vec<_> = settings
        .programs
        .running
        .digests()?
        .into_iter()
        .chain([("launcher", built.launcher.clone())])
        .map(|(name, digest)| named(name, digest))
        .collect();
    if let Some(interpreter) = &target.interpreter {
        let file = interpreter.file();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let bytes = fs_err::read(file).map_err(CommandError::undecided)?;
        programs.push(named(&name, Digest::of(&bytes)));
    }
    let report =
        fs_err::read(staging.layers().join("report.toml")).map_err(CommandError::undecided)?;
    Ok(Ingredients {
        invocation: Invocation {
            builder_id: settings.builder_id.clone(),
            id: claims::invocation_id()?,
            programs,
            started_on: claims::timestamp(started)?,
            finished_on: claims::now()?,
            byproducts: [("report.toml", Digest::of(&report))]
                .into_iter()
                .chain(claims::byproducts(merged))
                .map(|(name, digest)| named(name, digest))
                .collect(),
        },
        source: built.source.clone(),
        project: settings.project.as_ref().map(|it| Named {
            name: platform::project::FILE.to_owned(),
            uri: Some(settings.project_name.clone()),
            digest: it.digest.clone(),
        }),
        builder: Named {
            name: "builder".to_owned(),
            uri: Some(settings.builder_name.clone()),
            digest: settings.builders.of(&target.platform).digest.clone(),
        },
        buildpacks: built.buildpacks.clone(),
        extensions: built.extensions.clone(),
        run_image: built.run_image.clone(),
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
        volumes: settings.volume_names.clone(),
        isolation: serde_json::to_value(&built.isolation).map_err(CommandError::undecided)?,
        cache: settings.keeps(),
    })
}

fn named(name: &str, digest: Digest) -> Named {
    Named {
        name: name.to_owned(),
        uri: None,
        digest,
    }
}
