//! `sealpack inspect`: what an image says of itself.

use std::collections::BTreeMap;

use clap::Args;
use lifecycle_core::inspect::{BuildFacts, Words};
use oci::{Image, Limits, Platform, Reference};
use serde::Serialize;

use crate::args::{Access, Printed};
use crate::digest_tags;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _};
use crate::images::Lookup;
use crate::typed;
use crate::ui::{Tone, Ui, size};

#[derive(Args, Debug)]
#[command(after_help = "Example:\n  sealpack inspect registry.example/app:v1 --output json")]
pub(crate) struct Inspect {
    /// The image.
    #[arg(value_parser = typed::image)]
    pub(crate) image: Reference,

    #[command(flatten)]
    pub(crate) access: Access,

    #[command(flatten)]
    pub(crate) printed: Printed,
}

/// What `sealpack inspect --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    image: String,
    digest: String,
    media_type: String,
    /// Digest of the config.
    image_id: String,
    platform: Platform,
    created: Option<String>,
    user: String,
    entrypoint: Vec<String>,
    /// What the lifecycle that built it wrote down; absent if none did.
    #[serde(skip_serializing_if = "Option::is_none")]
    build: Option<BuildFacts>,
    /// All labels but the lifecycle's own.
    labels: BTreeMap<String, String>,
    layers: Vec<Layer>,
    /// How many manifests refer to it.
    referrers: usize,
    /// Tags by which cosign 1 and 2 attached something to it. Nobody has checked it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    digest_tags: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Layer {
    digest: String,
    diff_id: String,
    media_type: String,
    size: u64,
}

pub(crate) async fn run(
    args: Inspect,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let images = Lookup::new(&args.access, environment, ui);
    ui.begin("inspect", args.image.to_string());
    let found = images.find(&args.image).await?;
    let image = Image::read(
        &*found.store,
        &found.descriptor,
        &Platform::host(),
        &Limits::default(),
    )
    .await
    .context(|| {
        format!(
            "`{}` is not an image that can be inspected",
            found.reference
        )
    })?;
    let referrers = found
        .store
        .referrers(&image.descriptor().digest)
        .await?
        .len();
    let mut tags = digest_tags::of(&found).await;
    let inner = &image.descriptor().digest;
    if *inner != found.descriptor.digest {
        tags.extend(digest_tags::of_image(&found, inner).await);
    }
    let config = image.config();
    let report = Report {
        image: found.reference.to_string(),
        digest: image.descriptor().digest.to_string(),
        media_type: image.descriptor().media_type.to_string(),
        image_id: image.id().to_string(),
        platform: config.platform(),
        created: config.created.clone(),
        user: config.config.user.clone(),
        entrypoint: config.config.entrypoint.clone(),
        build: BuildFacts::of(config).map_err(CommandError::undecided)?,
        labels: config
            .config
            .labels
            .iter()
            .filter(|(name, _)| {
                !name.starts_with("io.buildpacks.") || name.starts_with("io.buildpacks.base.")
            })
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
        layers: image
            .layers()
            .map(|(descriptor, diff_id)| Layer {
                digest: descriptor.digest.to_string(),
                diff_id: diff_id.to_string(),
                media_type: descriptor.media_type.to_string(),
                size: descriptor.size,
            })
            .collect(),
        referrers,
        digest_tags: tags,
    };
    ui.result(args.printed.output, &report, print)
}

fn print(ui: &Ui, report: &Report) {
    let field = |name: &str, value: &str| {
        if !value.is_empty() {
            ui.line(format_args!(
                "{} {value}",
                ui.paint(Tone::Label, format_args!("{name:<11}"))
            ));
        }
    };
    field("image", &report.image);
    field("id", &report.image_id);
    field(
        "platform",
        &format!("{}/{}", report.platform.os, report.platform.architecture),
    );
    field("created", report.created.as_deref().unwrap_or_default());
    field("user", &report.user);
    field("entrypoint", &report.entrypoint.join(" "));
    if let Some(build) = &report.build {
        field("run image", &build.run_image);
        field("lifecycle", &build.lifecycle);
        for module in build.buildpacks.iter().chain(&build.extensions) {
            field("buildpack", &format!("{} {}", module.id, module.version));
        }
        for process in &build.processes {
            let command = match &process.command {
                Words::One(word) => word.clone(),
                Words::Many(words) => words.join(" "),
            };
            let args = process.args.clone().unwrap_or_default().join(" ");
            let default = if process.default { " (default)" } else { "" };
            field(
                "process",
                format!("{}: {command} {args}{default}", process.r#type).trim(),
            );
        }
    }
    for (name, value) in &report.labels {
        field("label", &format!("{name}={value}"));
    }
    for layer in &report.layers {
        field("layer", &format!("{} {}", layer.digest, size(layer.size)));
    }
    field("referrers", &report.referrers.to_string());
    for tag in &report.digest_tags {
        let holds = digest_tags::holds(tag);
        field(
            "cosign tag",
            &format!("{tag} ({holds} in cosign's old format, not verified)"),
        );
    }
}
