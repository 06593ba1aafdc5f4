//! One image, put on another run image in the staging area, and what is claimed of it.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use attest::Verified;
use intoto::{PredicateType, Provenance};
use lifecycle_core::api::PlatformApi;
use lifecycle_core::files::analyzed::RunImageMetadata;
use lifecycle_core::images::{Images, Place, PlaceError};
use lifecycle_core::provenance::{Invocation, Named};
use lifecycle_core::rebase::provenance::{Before, Ingredients};
use lifecycle_core::rebase::{self, RebaseContext, RebaseError, Rebased};
use lifecycle_core::{Level, Log};
use oci::{Descriptor, Digest, Found, Image, Limits, MemoryStore, Platform, Selector, Tag};
use platform::run::Borrowing;
use sbom::component::{Completeness, Gap, Inventory};
use sbom::{Document, Format, Sources, Subject};
use time::OffsetDateTime;

use super::base::{Base, Bases};
use super::settings::Settings;
use crate::claims::{self, Claims};
use crate::contents;
use crate::error::{CommandError, Context as _, Message};
use crate::images::Lookup;
use crate::ui::Ui;

/// The newest there is, as pack speaks it.
const API: PlatformApi = PlatformApi::V0_15;
/// What the phase calls the image that it makes.
const IMAGE: &str = "sealpack.invalid/staged";
/// Where what is carried over is from, in SBOMs.
const BEFORE: &str = "image before";

/// Where new images are made: their layers stay where they are.
#[derive(Clone, Debug)]
pub(super) struct Workbench {
    pub(super) store: Arc<Borrowing>,
}

impl Workbench {
    pub(super) fn new() -> Self {
        Self {
            store: Arc::new(Borrowing::new(Arc::new(MemoryStore::new()))),
        }
    }
}

/// An image that was rebased.
#[derive(Clone, Debug)]
pub(super) struct Done {
    /// The new image.
    pub(super) image: Descriptor,
    /// Which image it was.
    pub(super) before: Digest,
    /// What it runs on.
    pub(super) platform: Platform,
    /// The layers of the image before: all are where the image before is.
    pub(super) layers: BTreeSet<Digest>,
    /// How many it had.
    pub(super) layers_before: usize,
    /// How many of them are the app's own.
    pub(super) kept: usize,
    pub(super) run_image: String,
    /// The run image before, as the image said; may be empty.
    pub(super) replaced: String,
    /// What the SBOM of the kept layers is from.
    pub(super) from: SbomFrom,
    pub(super) claims: Claims,
}

/// What is known of the layers that are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SbomFrom {
    /// An SBOM that was attached to the image before, and is proven.
    Attached,
    /// What buildpacks wrote into the image.
    Buildpacks,
}

impl SbomFrom {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Attached => "attached",
            Self::Buildpacks => "buildpacks",
        }
    }
}

/// Rebases `app`, one image, found as `found` or in the index of that name.
pub(super) async fn run(
    app: &Image,
    found: &Found,
    staging: &Workbench,
    bases: &mut Bases,
    settings: &Settings,
    images: &Lookup<'_>,
    ui: &Ui,
) -> Result<Done, CommandError> {
    let started_on = claims::now()?;
    let failed = || format!("failed to rebase `{}`", found.reference);
    let said = rebase::run_image(API, app).context(failed)?;
    if app
        .label(lifecycle_core::labels::LIFECYCLE_METADATA)
        .is_none()
    {
        return Err(CommandError::undecided(Message(format!(
            "could not find label `{}` on `{}`: no lifecycle made it",
            lifecycle_core::labels::LIFECYCLE_METADATA,
            found.reference
        ))));
    }
    let platform = app.config().platform();
    let base = bases.choose(&said, &platform, settings, images, ui).await?;
    if base.image.descriptor().digest == app.descriptor().digest {
        return Err(Message("an image cannot be its own run image".to_owned()).into());
    }
    ui.begin("rebase", found.reference.to_string());
    let proven = proven(app, found, settings).await?;
    let rebased = compose(app, found, &base, staging, settings, ui).await?;
    let image = Image::read(
        &*staging.store,
        &rebased.image,
        &platform,
        &Limits::default(),
    )
    .await
    .context(failed)?;
    let (sbom, from) = sbom(
        app, found, &image, &base, &rebased, &proven, staging, settings,
    )
    .await?;
    let provenance = Ingredients {
        invocation: Invocation {
            builder_id: settings.builder_id.clone(),
            id: claims::invocation_id()?,
            programs: vec![program()?],
            started_on,
            finished_on: claims::now()?,
            byproducts: claims::byproducts(&sbom)
                .into_iter()
                .map(|(name, digest)| Named {
                    name: name.to_owned(),
                    uri: None,
                    digest,
                })
                .collect(),
        },
        image: Named {
            name: found.reference.to_string(),
            uri: None,
            digest: app.descriptor().digest.clone(),
        },
        replaced: replaced(&said),
        run_image: Named {
            name: base.name.clone(),
            uri: None,
            digest: base.image.descriptor().digest.clone(),
        },
        force: settings.force,
        platform_api: API,
        before: before(&proven),
    }
    .provenance();
    Ok(Done {
        image: rebased.image.clone(),
        before: app.descriptor().digest.clone(),
        platform,
        layers: app.layers().map(|(it, _)| it.digest.clone()).collect(),
        layers_before: app.layers().count(),
        kept: app.layers().count() - rebased.replaced_layers.len(),
        run_image: rebased.run_image.clone(),
        replaced: rebased.replaced.clone(),
        from,
        claims: Claims { provenance, sbom },
    })
}

/// What is proven of the image before.
async fn proven(
    app: &Image,
    found: &Found,
    settings: &Settings,
) -> Result<Vec<Verified>, CommandError> {
    let accepted = settings.judges.accepted(&found.reference)?;
    if accepted.is_empty() {
        return Ok(Vec::new());
    }
    let proof = gate::prove(
        &*found.store,
        app.descriptor(),
        &accepted,
        settings.judges.trust(),
        &Limits::default(),
    )
    .await?;
    Ok(proof.verified)
}

/// How the image before came to be.
fn before(proven: &[Verified]) -> Option<Before> {
    let provenances = proven.iter().filter_map(|it| {
        let provenance: Provenance = it.statement().predicate_as().ok()?;
        Some(Before {
            provenance,
            bundle: it.bundle().clone(),
            signer: it.signer().to_string(),
        })
    });
    // One that we understand can be taken over.
    provenances.max_by_key(|it| Before::is_known(&it.provenance))
}

/// The run image before, if the label says which it was.
fn replaced(said: &RunImageMetadata) -> Option<Named> {
    let (_, digest) = said.reference.split_once('@')?;
    Some(Named {
        name: said.reference.clone(),
        uri: None,
        digest: digest.parse().ok()?,
    })
}

/// This program.
fn program() -> Result<Named, CommandError> {
    let mut file = fs_err::File::open("/proc/self/exe").map_err(CommandError::undecided)?;
    let mut hasher = oci::Hasher::default();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = std::io::Read::read(&mut file, &mut buffer).map_err(CommandError::undecided)?;
        if read == 0 {
            break;
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
    }
    Ok(Named {
        name: "sealpack".to_owned(),
        uri: None,
        digest: hasher.finish(),
    })
}

/// Makes the new image in the staging area.
async fn compose(
    app: &Image,
    found: &Found,
    base: &Base,
    staging: &Workbench,
    settings: &Settings,
    ui: &Ui,
) -> Result<Rebased, CommandError> {
    staging.store.borrow(app, &found.store).await?;
    staging.store.borrow(&base.image, &base.store).await?;
    let places = Places {
        app: app.descriptor().digest.clone(),
        base,
        staging,
    };
    let names = [IMAGE.to_owned()];
    let context = RebaseContext {
        api: API,
        images: &places,
        app: APP,
        names: &names,
        run_image: Some(&base.name),
        force: settings.force,
        any_tag: true,
        workers: NonZeroUsize::MIN,
        limits: &Limits::default(),
    };
    let log = Lines { ui };
    let rebasing = async {
        let app = rebase::open_app(&context, async |_| true).await?;
        let base = rebase::open_base(&context, &app, &log).await?;
        rebase::rebase(&context, app, base, &log).await
    };
    let rebased = Box::pin(rebasing).await;
    let failed = || format!("failed to rebase `{}` on `{}`", found.reference, base.name);
    let hint = rebased.as_ref().err().and_then(|error| match error {
        RebaseError::NotRebasable
        | RebaseError::OtherRunImage { .. }
        | RebaseError::OtherTarget { .. } => Some("`--force` does it all the same"),
        _ => None,
    });
    rebased
        .context(failed)
        .map_err(|error| hint.into_iter().fold(error, CommandError::hint))
}

/// The SBOM of the new image: of the layers that are kept what is known of them, of the run image what
/// is found in it.
#[expect(clippy::too_many_arguments, reason = "it is made of as many things")]
async fn sbom(
    app: &Image,
    found: &Found,
    image: &Image,
    base: &Base,
    rebased: &Rebased,
    proven: &[Verified],
    staging: &Workbench,
    settings: &Settings,
) -> Result<(sbom::Merged, SbomFrom), CommandError> {
    let mut inventory = if settings.base_packages {
        let (store, cache) = (&*staging.store, settings.cache.as_deref());
        contents::look_into_base(store, &base.image, image, cache).await?
    } else {
        let mut inventory = Inventory {
            completeness: Completeness::Incomplete,
            gaps: vec![Gap {
                path: "/".to_owned(),
                reason: "the run image was not looked into".to_owned(),
            }],
            ..Inventory::default()
        };
        contents::attribute_base(image, &mut inventory);
        inventory
    };
    let below: BTreeSet<_> = rebased.replaced_layers.iter().cloned().collect();
    let old_base = rebased.replaced.split_once('@');
    let old_base: Option<Digest> = old_base.and_then(|(_, digest)| digest.parse().ok());
    let carried = proven
        .iter()
        .filter(|it| *it.predicate_type() == PredicateType::CYCLONEDX)
        .find_map(|it| {
            let bytes = serde_json::to_vec(it.statement().predicate()).ok()?;
            let limits = sbom::Limits::default();
            let document = Document::parse(Format::CycloneDx, &bytes, BEFORE, &limits).ok()?;
            document.above(&below, old_base.as_ref())
        });
    let (documents, from) = if let Some(carried) = carried {
        inventory.extend(carried.rest);
        (vec![carried.document], SbomFrom::Attached)
    } else {
        let read = contents::documents(&*found.store, app, &mut inventory).await?;
        inventory.completeness = Completeness::Incomplete;
        inventory.gaps.push(Gap {
            path: "layers".to_owned(),
            reason: "only what buildpacks say of it is known".to_owned(),
        });
        (read, SbomFrom::Buildpacks)
    };
    let subject = Subject {
        name: settings.image_name(),
        digest: rebased.image.digest.clone(),
    };
    let sources = Sources {
        about: Some(subject.component()),
        created: created(),
        documents: documents.iter().collect(),
        found: vec![&inventory],
    };
    Ok((sources.merge(), from))
}

/// The time in a rebased image.
pub(super) fn created() -> Option<OffsetDateTime> {
    OffsetDateTime::from_unix_timestamp(claims::CREATED).ok()
}

/// What the phase calls the image that is rebased.
const APP: &str = "sealpack.invalid/app";

/// What the phase finds by name: the image, its new run image, and the staging area.
#[derive(Debug)]
struct Places<'a> {
    app: Digest,
    base: &'a Base,
    staging: &'a Workbench,
}

#[async_trait]
impl Images for Places<'_> {
    fn shown(&self, name: &str) -> Result<String, PlaceError> {
        Ok(name.to_owned())
    }

    async fn open(&self, name: &str) -> Result<Option<Place>, PlaceError> {
        let (repository, digest) = if name == APP {
            (APP, &self.app)
        } else {
            let base = self.base;
            (base.repository.as_str(), &base.image.descriptor().digest)
        };
        // Both were borrowed.
        Ok(Some(Place {
            store: self.staging.store.clone(),
            name: name.to_owned(),
            repository: repository.to_owned(),
            selector: Selector::Digest(digest.clone()),
            image_id: None,
            strict: false,
        }))
    }

    async fn create(&self, name: &str) -> Result<Place, PlaceError> {
        Ok(Place {
            store: self.staging.store.clone(),
            name: name.to_owned(),
            repository: name.to_owned(),
            selector: Selector::Tag(Tag::latest()),
            image_id: None,
            strict: false,
        })
    }

    async fn check_read(&self, _name: &str) -> Result<(), PlaceError> {
        Ok(())
    }

    async fn check_write(&self, _name: &str) -> Result<(), PlaceError> {
        Ok(())
    }
}

/// Shows what the phase says.
#[derive(Debug)]
struct Lines<'a> {
    ui: &'a Ui,
}

impl Log for Lines<'_> {
    fn line(&self, level: Level, text: &str) {
        match level {
            Level::Debug if self.ui.verbosity() < 2 => {}
            Level::Warn => self.ui.warn(text),
            _ => self.ui.aside(text),
        }
    }

    fn output(&self, bytes: &[u8]) {
        self.ui.aside(String::from_utf8_lossy(bytes));
    }
}
