//! `sealpack rebase`: the whole line, in order.
//!
//! 1. [`settings`]: all that can be wrong with the arguments, before anything is done.
//! 2. Judge the image that is rebased.
//! 3. [`base`]: the new run image, judged; [`image`]: the new image, staged, its layers where they are;
//!    of an index, each of its images.
//! 4. Sign what is claimed of the new images, and judge what a stranger would find.
//! 5. [`publish`]: move them to their destinations, the tag last, and attach the verdict.

mod args;
mod base;
mod image;
mod publish;
mod settings;

use std::collections::BTreeMap;

use oci::{Descriptor, Found, Image, Index, Limits, Manifest, Platform, Reference, Store as _};
use policies::Verdict;
use serde::Serialize;

pub(crate) use self::args::Rebase;
use self::base::Bases;
use self::image::{Done, Workbench};
use self::settings::Settings;
use crate::claims::{Attached, Claims, Member};
use crate::commands::policy;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::images::Lookup;
use crate::ui::{Tone, Ui};

/// What `sealpack rebase --output json` prints. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    image: String,
    /// The image that was rebased.
    before: String,
    digest: String,
    media_type: String,
    size: u64,
    /// Where it went.
    tags: Vec<String>,
    images: Vec<OneReport>,
    attached: Vec<Attached>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct OneReport {
    platform: String,
    digest: String,
    before: String,
    run_image: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    run_image_before: String,
    layers: Layers,
    /// Where the SBOM of the kept layers is from: `attached` or `buildpacks`.
    sbom: &'static str,
}

#[derive(Debug, Serialize)]
struct Layers {
    kept: usize,
    replaced: usize,
}

/// What was made: an image, or an index with its images before it.
struct Made {
    root: Descriptor,
    images: Vec<Done>,
    attached: Vec<Attached>,
}

pub(crate) async fn run(
    args: Rebase,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let (format, access) = (args.printed.output, args.access.clone());
    let mut settings = Settings::resolve(args, environment).await?;
    let images = Lookup::new(&access, environment, ui);
    for destination in &mut settings.destinations {
        *destination = images.settled(destination);
    }
    let found = find(&settings, &images).await?;
    let source = &settings.source;
    settings.judges.image(found.clone(), source).await?;
    let staging = Workbench::new();
    let made = make(&found, &staging, &settings, &images, ui).await?;
    let verdicts = judge(&made, &staging, &settings).await?;
    let published =
        publish::run(&made, &verdicts, &found, &staging, &settings, &images, ui).await?;

    let image = |done: &Done| OneReport {
        platform: done.platform.to_string(),
        digest: done.image.digest.to_string(),
        before: done.before.to_string(),
        run_image: done.run_image.clone(),
        run_image_before: done.replaced.clone(),
        layers: Layers {
            kept: done.kept,
            replaced: done.layers_replaced(),
        },
        sbom: done.from.name(),
    };
    let mut attached = made.attached;
    attached.extend(published.attached);
    let report = Report {
        image: published.image,
        before: found.reference.to_string(),
        digest: made.root.digest.to_string(),
        media_type: made.root.media_type.to_string(),
        size: made.root.size,
        tags: settings
            .destinations
            .iter()
            .map(ToString::to_string)
            .collect(),
        images: made.images.iter().map(image).collect(),
        attached,
        verdict: verdicts.into_iter().next(),
    };
    if let Some(path) = &settings.report {
        publish::write_report(path, &made.root, &settings.destinations)?;
    }
    ui.result(format, &report, |ui, report| match &report.verdict {
        Some(verdict) => policy::print(ui, &report.image, verdict),
        None => ui.line(format_args!(
            "{} {}",
            ui.paint(Tone::Good, "rebased"),
            report.image
        )),
    })
}

/// Finds the image: not in a mirror, if it goes to its own repository.
async fn find(settings: &Settings, images: &Lookup<'_>) -> Result<Found, CommandError> {
    let mut destinations = settings.destinations.iter();
    let moves = destinations.any(|it| it.location == settings.source.location);
    if moves {
        images.find_to_change(&settings.source).await
    } else {
        images.find_provable(&settings.source).await
    }
}

/// Makes the new image or index in the staging area, with its proof.
async fn make(
    found: &Found,
    staging: &Workbench,
    settings: &Settings,
    images: &Lookup<'_>,
    ui: &Ui,
) -> Result<Made, CommandError> {
    let mut bases = Bases::default();
    let mut made = Vec::new();
    let (parent, members) = members(found, ui).await?;
    for member in &members {
        let platform = member.platform.clone().unwrap_or_else(Platform::host);
        let app = Image::read(&*found.store, member, &platform, &Limits::default())
            .await
            .context(|| {
                format!(
                    "failed to read `{}`",
                    found.reference.at(member.digest.clone())
                )
            })?;
        let done = image::run(&app, found, staging, &mut bases, settings, images, ui).await?;
        ui.done(
            "rebase",
            format_args!(
                "{} on {} ({} layers kept, {} left)",
                done.image.digest,
                done.run_image,
                done.kept,
                done.layers_replaced()
            ),
        );
        made.push(done);
    }
    let mut attached = Vec::new();
    if let Some(signer) = &settings.signer {
        for done in &made {
            ui.begin("attest", "signing");
            let claims = &done.claims;
            attached.extend(
                claims
                    .attach(&*staging.store, &done.image, signer, ui)
                    .await?,
            );
        }
    } else {
        ui.warn("the image is not signed, and nothing is attached to it (`--unsigned`)");
    }
    let root = match (parent, made.as_slice()) {
        (None, [one]) => one.image.clone(),
        (None, _) => return Err(Message("the image to rebase is missing".to_owned()).into()),
        (Some(parent), done) => {
            let root = index(&parent, &members, done, staging).await?;
            if let Some(signer) = &settings.signer {
                let members: Vec<_> = done
                    .iter()
                    .map(|it| Member {
                        platform: &it.platform,
                        image: &it.image,
                        claims: &it.claims,
                    })
                    .collect();
                let name = settings.image_name();
                let claims = Claims::of_index(&root, name, &members, image::created())?;
                attached.extend(claims.attach(&*staging.store, &root, signer, ui).await?);
            }
            root
        }
    };
    if !attached.is_empty() {
        let mut names: Vec<_> = attached
            .iter()
            .filter_map(|it| it.predicate_type.short_name())
            .collect();
        names.sort_unstable();
        names.dedup();
        ui.done("attest", names.join(", "));
    }
    Ok(Made {
        root,
        images: made,
        attached,
    })
}

/// The images that are rebased, and the index that they are in, if they are in one.
async fn members(found: &Found, ui: &Ui) -> Result<(Option<Index>, Vec<Descriptor>), CommandError> {
    if !found.descriptor.media_type.is_index() {
        return Ok((None, vec![found.descriptor.clone()]));
    }
    let limits = Limits::default();
    let bytes = oci::store::read(&*found.store, &found.descriptor, limits.manifest_bytes).await?;
    let parsed = Manifest::parse(&found.descriptor.media_type, &bytes, &limits);
    let index = match parsed.context(|| format!("failed to read `{}`", found.reference))? {
        Manifest::Index(index) => index,
        Manifest::Image(_) => {
            return Err(Message(format!("`{}` is not an index", found.reference)).into());
        }
    };
    let (images, others): (Vec<_>, Vec<_>) = index
        .manifests
        .iter()
        .cloned()
        .partition(|it| it.media_type.is_image_manifest() && !is_about_another(it));
    if images.is_empty() {
        return Err(Message(format!("the index `{}` holds no image", found.reference)).into());
    }
    if !others.is_empty() {
        ui.warn(format_args!(
            "{} of what the index lists are no images, are about those before, and are left out",
            others.len()
        ));
    }
    Ok((Some(index), images))
}

/// Whether an entry of an index is no image but about one, as `BuildKit` lists its attestations.
fn is_about_another(entry: &Descriptor) -> bool {
    let platform = entry.platform.as_ref();
    let unknown = platform.is_some_and(|it| it.os == "unknown" && it.architecture == "unknown");
    unknown
        || entry
            .annotations
            .contains_key("vnd.docker.reference.digest")
}

/// The index of the new images, each in the place of the one before.
async fn index(
    parent: &Index,
    members: &[Descriptor],
    made: &[Done],
    staging: &Workbench,
) -> Result<Descriptor, CommandError> {
    let entries = members.iter().zip(made).map(|(member, done)| Descriptor {
        platform: member
            .platform
            .clone()
            .or_else(|| Some(done.platform.clone())),
        annotations: member.annotations.clone(),
        ..done.image.bare()
    });
    let media_type = parent.media_type.clone();
    let index = Index::new(
        media_type.unwrap_or(oci::MediaType::IMAGE_INDEX),
        entries.collect(),
        parent.annotations.clone(),
    );
    let (root, bytes) = index.encode().map_err(CommandError::undecided)?;
    staging.store.push_manifest(&root, bytes).await?;
    Ok(root)
}

/// Judges what was made, each image by itself, for each destination. The verdicts are those on what is
/// tagged, by destination; none, if it is not judged.
async fn judge(
    made: &Made,
    staging: &Workbench,
    settings: &Settings,
) -> Result<Vec<Verdict>, CommandError> {
    let mut verdicts = Vec::new();
    let mut images: BTreeMap<_, _> = made
        .images
        .iter()
        .map(|it| (it.image.digest.clone(), it.image.clone()))
        .collect();
    images.remove(&made.root.digest);
    for destination in &settings.destinations {
        for image in images.values().chain([&made.root]) {
            let staged = staged(image, destination, staging);
            let verdict = settings.judges.image(staged, destination).await;
            let verdict = verdict.map_err(|it| it.note("nothing was published"))?;
            if image.digest == made.root.digest {
                verdicts.extend(verdict);
            }
        }
    }
    Ok(verdicts)
}

/// A new image, as a stranger would find it.
fn staged(image: &Descriptor, destination: &Reference, staging: &Workbench) -> Found {
    Found {
        reference: destination.at(image.digest.clone()),
        descriptor: image.clone(),
        store: staging.store.clone(),
    }
}

impl Done {
    /// How many layers of the image before are not in the new one.
    fn layers_replaced(&self) -> usize {
        self.layers_before - self.kept
    }
}
