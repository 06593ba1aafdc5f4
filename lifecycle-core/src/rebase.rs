//! The rebaser: puts an image on another run image without building it again.

mod open;
pub mod provenance;

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use oci::{
    Descriptor, DiffId, Digest, History, Image, ImageConfig, ImageError, ImageManifest, Limits,
    MediaType, Reference, Tag,
};
use serde::Serialize;

pub use self::open::{App, Base, open_app, open_base};
use crate::analyze::{AnalyzeError, target};
use crate::api::{PlatformApi, Unsupported};
use crate::export::normal;
use crate::files::analyzed::{RunImageMetadata, StackMetadata, TargetMetadata};
use crate::files::report::{ImageReport, ReportFile};
use crate::files::run::RunImages;
use crate::images::{Images, Kind, NoBase, OpenError, PlaceError, Uneven, parse_name};
use crate::labels::{self, LabelError};
use crate::save::{Origin, Save, SaveError};
use crate::{Level, Log};

/// The time of all that has none.
const CREATED: &str = "1980-01-01T00:00:01Z";

/// What the rebaser needs.
#[derive(Clone, Copy, Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "who rebases has to say all of it"
)]
pub struct RebaseContext<'a> {
    /// What the platform speaks.
    pub api: PlatformApi,
    /// Where images are.
    pub images: &'a dyn Images,
    /// The image that is rebased.
    pub app: &'a str,
    /// What the new image is to be called; the first is its name in the log.
    pub names: &'a [String],
    /// The new run image, if not the one that the image names.
    pub run_image: Option<&'a str>,
    /// Whether to do it though it may not work.
    pub force: bool,
    /// Whether another tag of a run image that the image names is that run image, too. For upstream it
    /// is another one, which wants force; and force leaves out the check of what runs on it.
    pub any_tag: bool,
    /// How many layers are pushed at once.
    pub workers: NonZeroUsize,
    /// How much is read of images.
    pub limits: &'a Limits,
}

/// What the rebaser made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rebased {
    /// The image, by its manifest.
    pub image: Descriptor,
    /// The names that it was given.
    pub names: Vec<String>,
    /// What it is known by where it lies.
    pub kind: Kind,
    /// The image ID, if it went to a daemon.
    pub daemon_id: Option<Digest>,
    /// The new run image, for good.
    pub run_image: String,
    /// What the labels of the image say of it.
    pub run_image_metadata: RunImageMetadata,
    /// What the image says of the run image that it was on: its reference; may be empty.
    pub replaced: String,
    /// The layers of that run image, lowest first.
    pub replaced_layers: Vec<DiffId>,
}

impl Rebased {
    /// What `report.toml` says of it.
    pub fn file(&self) -> ReportFile {
        ReportFile {
            image: ImageReport::new(&self.names, &self.image, self.kind, self.daemon_id.as_ref()),
            ..ReportFile::default()
        }
    }
}

/// Puts the image on the run image, and pushes it.
///
/// # Errors
///
/// When it does not work there, or cannot be pushed.
pub async fn rebase(
    context: &RebaseContext<'_>,
    app: App,
    base: Base,
    log: &dyn Log,
) -> Result<Rebased, RebaseError> {
    let App {
        place: app_place,
        image: app,
        ..
    } = app;
    let Base {
        place: base_place,
        image: base,
        name,
    } = base;
    check(context, &app, &base, log)?;

    let label = app.label(labels::LIFECYCLE_METADATA).unwrap_or_default();
    let reference = base_place.identifier(&base.descriptor().digest);
    let mut above = 0;
    let mut replaced = String::new();
    let mut run_image_metadata = RunImageMetadata::default();
    let metadata = labels::rebase_lifecycle_metadata(label, |run_image, stack| {
        if !app.manifest().layers.is_empty() {
            Uneven::check(&app).map_err(RebaseError::AppLayers)?;
        }
        let ids: Vec<_> = app.layers().map(|(_, id)| id.to_string()).collect();
        let top = top_of_run_image(&ids, &run_image.top_layer, &labels::own_layers(label));
        above = top.ok_or(RebaseError::NoBaseLayer)? + 1;
        check_history(&base, "new base")?;
        check_history(&app, "original")?;
        run_image.top_layer = top_layer(&base);
        replaced = std::mem::replace(&mut run_image.reference, reference.clone());
        rename(context, &name, run_image, stack, log)?;
        run_image_metadata = run_image.clone();
        if let Some(stack) = stack.as_ref().filter(|_| run_image.images.is_empty()) {
            run_image_metadata.images = stack.run_image.clone();
        }
        Ok::<(), RebaseError>(())
    })?;
    let image = compose(context, &app, &base, above, metadata)?;
    let below = base.layers();
    let below = below.map(|(layer, _)| (layer.clone(), Origin::Place(&base_place)));
    let kept = app.layers().skip(above);
    let kept = kept.map(|(layer, _)| (layer.clone(), Origin::Place(&app_place)));
    let save = Save {
        images: context.images,
        names: context.names,
        image: &image,
        layers: below.chain(kept).collect(),
        workers: context.workers,
        ahead: None,
    };
    let saved = save.save(log).await?;
    Ok(Rebased {
        image: image.descriptor().clone(),
        names: saved.names,
        kind: context.images.kind(),
        daemon_id: saved.image_id,
        run_image: reference,
        run_image_metadata,
        replaced,
        replaced_layers: app.layers().take(above).map(|(_, id)| id.clone()).collect(),
    })
}

/// What `app` says of its run image, and where that may be had; empty where it says nothing.
pub fn run_image(api: PlatformApi, app: &Image) -> Result<RunImageMetadata, RebaseError> {
    let label = app.label(labels::LIFECYCLE_METADATA).unwrap_or_default();
    let read = labels::parse_lifecycle_metadata(label).map_err(RebaseError::Label)?;
    let mut said = read.run_image;
    if !api.has_targets() || said.images.image.is_empty() {
        said.images = read.stack.unwrap_or_default().run_image;
    }
    Ok(said)
}

/// Whether images of this Platform API tell of targets. Also of one that we do not speak, as it is only
/// compared.
fn has_targets(api: &str) -> Result<bool, Unsupported> {
    let parsed = api.parse::<PlatformApi>();
    let numbers = || {
        let (major, minor) = api.split_once('.').unwrap_or((api, "0"));
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    match (parsed, numbers()) {
        (Ok(api), _) => Ok(api.has_targets()),
        (Err(_), Some(numbers)) => Ok(numbers >= (0, 12)),
        (Err(error), None) => Err(error),
    }
}

/// Whether the image works on `base`: by the rules of the platform that built it.
fn check(
    context: &RebaseContext<'_>,
    app: &Image,
    base: &Image,
    log: &dyn Log,
) -> Result<(), RebaseError> {
    let built_by = app.config().config.env("CNB_PLATFORM_API");
    let has_targets = match built_by.filter(|it| !it.is_empty()) {
        Some(text) => has_targets(text).map_err(RebaseError::AppApi)?,
        None => false,
    };
    if !has_targets {
        return check_stack(app, base);
    }
    let overridden = |problem: RebaseError| {
        if context.force {
            log.line(Level::Warn, &problem.without_advice());
            Ok(())
        } else {
            Err(problem)
        }
    };
    if app.label(labels::REBASABLE) == Some("false") {
        overridden(RebaseError::NotRebasable)?;
    }
    let (new, old) = (target(base), target(app));
    if !fits(&new, &old) {
        overridden(RebaseError::OtherTarget {
            new: target_json(&new),
            old: target_json(&old),
        })?;
    }
    Ok(())
}

/// An error if an image tells how more layers were made than it has.
fn check_history(image: &Image, what: &'static str) -> Result<(), RebaseError> {
    let layers = image.manifest().layers.len();
    let told = image.config().history.iter().filter(|it| !it.empty_layer);
    if told.count() > layers {
        return Err(RebaseError::History { what, layers });
    }
    Ok(())
}

/// Before Platform API 0.12: of the same stack, with all mixins that the image has.
fn check_stack(app: &Image, base: &Image) -> Result<(), RebaseError> {
    let stack = |image: &Image| image.label(labels::STACK_ID).unwrap_or_default().to_owned();
    let (new, old) = (stack(base), stack(app));
    if old.is_empty() {
        return Err(RebaseError::NoStack { what: "app image" });
    }
    if new.is_empty() {
        return Err(RebaseError::NoStack {
            what: "new base image",
        });
    }
    if new != old {
        return Err(RebaseError::OtherStack { new, old });
    }
    let of =
        |image: &Image, what| mixins(image).map_err(|source| RebaseError::Mixins { what, source });
    let (needs, has) = (of(app, "app image")?, of(base, "run image")?);
    let missing: Vec<_> = needs.difference(&has).cloned().collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(RebaseError::MissingMixins { missing })
    }
}

/// The mixins of an image, without the stage that each is for.
fn mixins(image: &Image) -> Result<BTreeSet<String>, LabelError> {
    let label = image.label(labels::STACK_MIXINS).unwrap_or_default();
    let mixins = labels::parse_mixins(label)?;
    let bare = |it: String| it.rsplit(':').next().map(str::to_owned).unwrap_or_default();
    Ok(mixins.into_iter().map(bare).collect())
}

/// Whether what runs on `old` runs on `new`.
fn fits(new: &TargetMetadata, old: &TargetMetadata) -> bool {
    let either_empty = old.arch_variant.is_empty() || new.arch_variant.is_empty();
    new.os == old.os
        && new.arch == old.arch
        && (either_empty || new.arch_variant == old.arch_variant)
        && new.distro.as_ref().is_none_or(|new| {
            let same = |new: &str, old: &str| new.is_empty() || new == old;
            (old.distro.as_ref())
                .is_some_and(|old| same(&new.name, &old.name) && same(&new.version, &old.version))
        })
}

fn target_json(target: &TargetMetadata) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "kebab-case")]
    struct Target<'a> {
        #[serde(skip_serializing_if = "str::is_empty")]
        id: &'a str,
        os: &'a str,
        arch: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        arch_variant: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        distro: Option<Distro<'a>>,
    }
    #[derive(Serialize)]
    struct Distro<'a> {
        name: &'a str,
        version: &'a str,
    }
    let target = Target {
        id: &target.id,
        os: &target.os,
        arch: &target.arch,
        arch_variant: &target.arch_variant,
        distro: target.distro.as_ref().map(|it| Distro {
            name: &it.name,
            version: &it.version,
        }),
    };
    go::json::to_string(&target).unwrap_or_default()
}

/// Where the old run image ends among the layers of an image: at the layer that the label names. A run
/// image can have that layer several times; then it ends at the one above which all layers are the
/// app's own.
pub fn top_of_run_image(ids: &[String], top: &str, own: &BTreeSet<String>) -> Option<usize> {
    let ends = || ids.iter().enumerate().filter(|(_, id)| *id == top);
    let is_own = |above: usize| ids.iter().skip(above).all(|it| own.contains(it));
    ends()
        .find(|(at, _)| is_own(at + 1))
        .or_else(|| ends().next())
        .map(|(at, _)| at)
}

/// The diff ID of the last layer.
fn top_layer(image: &Image) -> String {
    let top = image.config().rootfs.diff_ids.last();
    top.map_or_else(String::new, ToString::to_string)
}

/// From Platform API 0.12 on: the image may go to a run image that it names, whatever its digest; to
/// another one only by force, and then it names that one.
fn rename(
    context: &RebaseContext<'_>,
    name: &str,
    run_image: &mut RunImageMetadata,
    stack: &mut Option<StackMetadata>,
    log: &dyn Log,
) -> Result<(), RebaseError> {
    let named = |images: &RunImages| images.all().any(|it| normal(it) == normal(name));
    let of_stack = |it: &StackMetadata| named(&it.run_image);
    if !context.api.has_targets()
        || named(&run_image.images)
        || stack.as_ref().is_some_and(of_stack)
    {
        return Ok(());
    }
    if let Some(same) = same_repository(context, name, run_image, stack.as_ref()) {
        // A digest alone says nothing of tags: then those that the image names stay.
        let tag = match (same.tag, same.digest) {
            (Some(tag), _) => tag,
            (None, None) => Tag::latest(),
            (None, Some(_)) => return Ok(()),
        };
        retag(&mut run_image.images, &tag);
        if let Some(stack) = stack {
            retag(&mut stack.run_image, &tag);
        }
        return Ok(());
    }
    let known = match stack {
        _ if !run_image.images.image.is_empty() => labels::run_image_json(run_image),
        Some(stack) if !stack.run_image.image.is_empty() => labels::images_json(&stack.run_image),
        _ => "not found".to_owned(),
    };
    let problem = RebaseError::OtherRunImage {
        name: name.to_owned(),
        known,
    };
    if !context.force {
        return Err(problem);
    }
    log.line(Level::Warn, &problem.without_advice());
    run_image.images = RunImages {
        image: name.to_owned(),
        mirrors: Vec::new(),
    };
    *stack = Some(StackMetadata {
        run_image: run_image.images.clone(),
    });
    Ok(())
}

/// `name`, if it is a repository that the image names with another tag, and any tag will do.
fn same_repository(
    context: &RebaseContext<'_>,
    name: &str,
    run_image: &RunImageMetadata,
    stack: Option<&StackMetadata>,
) -> Option<Reference> {
    let parsed = parse_name(name).ok().filter(|_| context.any_tag)?;
    let is_same = |it: &str| parse_name(it).is_ok_and(|it| it.location == parsed.location);
    let known = run_image.images.all();
    let mut known = known.chain(stack.into_iter().flat_map(|it| it.run_image.all()));
    let found = known.any(is_same);
    found.then_some(parsed)
}

/// Gives all of `images` this tag: a mirror that has one has the other.
fn retag(images: &mut RunImages, tag: &Tag) {
    let image = std::iter::once(&mut images.image);
    for name in image.chain(&mut images.mirrors) {
        if let Ok(mut reference) = parse_name(name) {
            reference.tag = Some(tag.clone());
            reference.digest = None;
            *name = reference.to_string();
        }
    }
}

/// The image with the layers of `base` below its own. As upstream makes it: in Docker's family, with
/// nothing told of how its layers were made.
fn compose(
    context: &RebaseContext<'_>,
    app: &Image,
    base: &Image,
    above: usize,
    metadata: String,
) -> Result<Image, RebaseError> {
    let layers = |image: &Image, skip| -> Vec<_> {
        let layers = image.layers().skip(skip);
        layers
            .map(|(layer, id)| (layer.clone(), id.clone()))
            .collect()
    };
    let (descriptors, diff_ids): (Vec<_>, Vec<_>) = layers(base, 0)
        .into_iter()
        .chain(layers(app, above))
        .unzip();
    let created = Some(CREATED.to_owned());
    let history = History {
        created: created.clone(),
        ..History::default()
    };
    let old = app.config().clone();
    let mut config = ImageConfig {
        architecture: base.config().architecture.clone(),
        created,
        history: vec![history; descriptors.len()],
        os: base.config().os.clone(),
        os_version: base.config().os_version.clone(),
        config: old.config,
        ..ImageConfig::default()
    };
    config.rootfs.diff_ids = diff_ids;
    let own = &mut config.config.labels;
    own.insert(labels::LIFECYCLE_METADATA.to_owned(), metadata);
    let synced = |label: &str| {
        label.starts_with("io.buildpacks.stack.")
            || context.api.has_targets() && label.starts_with("io.buildpacks.base.")
    };
    own.retain(|label, _| !synced(label));
    let new = base.config().config.labels.iter();
    own.extend(
        new.filter(|(label, _)| synced(label))
            .map(|(label, value)| (label.clone(), value.clone())),
    );
    let like = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::DOCKER_MANIFEST),
        config: Descriptor::of(MediaType::DOCKER_CONFIG, b""),
        layers: Vec::new(),
        annotations: std::collections::BTreeMap::new(),
        subject: None,
        artifact_type: None,
    };
    Image::new(&like, config, descriptors).map_err(RebaseError::Compose)
}

/// What ends an error that force overrides.
const ADVICE: &str = "; please provide -force to override";

/// Why there is no other image. The texts are upstream's where it has one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebaseError {
    /// The image was built by a platform that we do not know.
    #[error("failed to get app image platform API")]
    AppApi(#[source] Unsupported),
    /// What the image says of its run image cannot be read.
    #[error(transparent)]
    AppLabel(LabelError),
    /// It cannot be said which layer of the image is which.
    #[error("rebase app image")]
    AppLayers(#[source] Uneven),
    /// The image cannot be asked for.
    #[error("failed to access image to rebase")]
    AppUnread(#[source] PlaceError),
    /// The new image could not be put together.
    #[error("rebase app image")]
    Compose(#[source] ImageError),
    /// An image tells how more layers were made than it has.
    #[error(
        "rebase app image: failed to process {what} image: malformed image: config history references at least {} non-empty layer(s), but only {layers} layer(s) are present",
        layers + 1
    )]
    History {
        /// Which image.
        what: &'static str,
        /// How many it has.
        layers: usize,
    },
    /// The image cannot be read.
    #[error("failed to access image to rebase")]
    Image(#[source] OpenError),
    /// A label cannot be read.
    #[error("get image metadata")]
    Label(#[from] LabelError),
    /// Mirrors of the run image cannot be asked for.
    #[error(transparent)]
    Mirrors(AnalyzeError),
    /// The new run image lacks what the old one had.
    #[error("missing required mixin(s): {}", missing.join(", "))]
    MissingMixins {
        /// What.
        missing: Vec<String>,
    },
    /// What an image says of its mixins cannot be read.
    #[error("get {what} mixins")]
    Mixins {
        /// Of which image.
        what: &'static str,
        /// Why.
        source: LabelError,
    },
    /// There is no image to rebase.
    #[error("failed to access image to rebase")]
    NoApp,
    /// The image does not have the layer that it says its run image ends with.
    #[error("rebase app image: could not find base layer in image")]
    NoBaseLayer,
    /// There is no such run image.
    #[error("run image '{name}' was not found")]
    NoRunImage {
        /// Which.
        name: String,
    },
    /// The image names no run image.
    #[error(
        "failed to parse arguments: -run-image is required when there is no run image metadata available"
    )]
    NoRunImageMetadata,
    /// An image does not say of which stack it is.
    #[error("stack not defined on {what}")]
    NoStack {
        /// Which image.
        what: &'static str,
    },
    /// The image says that it works on its own run image only.
    #[error("app image is not marked as rebasable{ADVICE}")]
    NotRebasable,
    /// The image does not name this run image.
    #[error(
        "rebase app image: new base image '{name}' not found in existing run image metadata: {known}{ADVICE}"
    )]
    OtherRunImage {
        /// Which.
        name: String,
        /// What it names.
        known: String,
    },
    /// The new run image is of another stack.
    #[error("incompatible stack: '{new}' is not compatible with '{old}'")]
    OtherStack {
        /// Of the new run image.
        new: String,
        /// Of the image.
        old: String,
    },
    /// Something else runs on the new run image.
    #[error(
        "unable to satisfy target os/arch constraints; new run image: {new}, old run image: {old}{ADVICE}"
    )]
    OtherTarget {
        /// What runs on the new one.
        new: String,
        /// What runs on the old one.
        old: String,
    },
    /// A name is no place for an image.
    #[error(transparent)]
    Place(PlaceError),
    /// The new run image cannot be read.
    #[error(transparent)]
    RunImage(OpenError),
    /// Nothing can be put on the new run image.
    #[error(transparent)]
    RunImageLayers(NoBase),
    /// The image could not be pushed.
    #[error(transparent)]
    Save(#[from] SaveError),
    /// The run image cannot be asked for.
    #[error(transparent)]
    RunImageUnread(PlaceError),
}

impl RebaseError {
    /// The exit code of the rebaser.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoRunImage { .. }
            | Self::RunImage(_)
            | Self::RunImageLayers(_)
            | Self::RunImageUnread(_) => 1,
            _ => 72,
        }
    }

    /// What failed, as it stands after `failed to` in the log.
    pub fn action(&self) -> &'static str {
        match self {
            Self::AppLabel(_)
            | Self::AppUnread(_)
            | Self::Image(_)
            | Self::Mirrors(_)
            | Self::NoApp
            | Self::NoRunImageMetadata => "set app image",
            Self::NoRunImage { .. }
            | Self::RunImage(_)
            | Self::RunImageLayers(_)
            | Self::RunImageUnread(_) => "access run image",
            _ => "rebase",
        }
    }

    fn without_advice(&self) -> String {
        let text = self.to_string();
        text.strip_suffix(ADVICE).unwrap_or(&text).to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_tag_is_given_to_mirrors_too() {
        let mut images = RunImages {
            image: "registry.example/run:1".to_owned(),
            mirrors: vec!["mirror.example/run:1".to_owned(), "not a name".to_owned()],
        };
        retag(&mut images, &"2".parse().unwrap());
        let all: Vec<_> = images.all().collect();
        assert_eq!(
            all,
            [
                "registry.example/run:2",
                "mirror.example/run:2",
                "not a name"
            ]
        );
    }

    #[test]
    fn a_run_image_ends_above_all_its_layers_also_where_two_are_the_same() {
        let top = |layers: &str, top: &str, own: &str| {
            let ids: Vec<String> = layers.split(' ').map(str::to_owned).collect();
            top_of_run_image(&ids, top, &own.split(' ').map(str::to_owned).collect())
        };
        assert_eq!(top("base top app", "top", "app"), Some(1));
        assert_eq!(top("base twice middle twice app", "twice", "app"), Some(3));
        // A layer of the app can be the same as one of the run image, too.
        assert_eq!(
            top("base twice twice config", "twice", "twice config"),
            Some(1)
        );
        // Somebody else has put a layer on top.
        assert_eq!(top("base top app more", "top", "app"), Some(1));
        assert_eq!(top("base app", "top", "app"), None);
    }

    #[test]
    fn a_run_image_that_does_not_say_its_distribution_is_taken() {
        let target = |distro: Option<&str>| TargetMetadata {
            os: "linux".to_owned(),
            arch: "amd64".to_owned(),
            distro: distro.map(|name| crate::files::analyzed::Distro {
                name: name.to_owned(),
                version: "1".to_owned(),
            }),
            ..TargetMetadata::default()
        };
        let (none, some, other) = (target(None), target(Some("a")), target(Some("b")));
        assert!(fits(&none, &some) && fits(&some, &some) && fits(&none, &none));
        assert!(!fits(&some, &none) && !fits(&other, &some));
    }
}
