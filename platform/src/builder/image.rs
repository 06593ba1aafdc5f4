//! Builder images: what their labels and config say. No layer is read here: what the lifecycle runs is
//! decided by the files in them, and what took part is held against the labels afterwards.
//!
//! Builders by pack of all ages are read, and those by kpack, which have neither run images but the
//! one of `stack`, nor targets, extensions and system buildpacks.
//!
//! | checked | why |
//! |---|---|
//! | there is a label with metadata, and it names a run image | what an app runs on is its maker's choice |
//! | the version of the lifecycle, and what it speaks, are there | we have to speak one of these |
//! | `CNB_USER_ID` and `CNB_GROUP_ID` are numbers | buildpacks run as these |
//! | each layer that a module lies in is one of the image | the label decides what is believed to run |
//! | each member of an order is a module that is there | |

use std::sync::Arc;

use lifecycle_core::api::PlatformApi;
use lifecycle_core::buildpack::Kind;
use lifecycle_core::files::order::{Order, OrderGroup};
use lifecycle_core::files::run::{Run, RunImages};
use lifecycle_core::files::system::System;
use oci::{DiffId, Image, Store};

use super::descriptor::{Member, Members, from_members};
use super::labels::{
    self, BUILDER, BuilderMetadata, CreatedBy, LIFECYCLE_APIS, LabelError, LabelProblem, MIXINS,
    ModuleLayers, ORDER, ORDER_EXTENSIONS, RunImageMetadata, STACK, SYSTEM, SystemLabel,
    layers_label,
};
use super::lifecycle::{Apis, Lifecycle, reconcile};
use super::module::{Content, Module, Origin};
use super::target::Target;
use super::{Builder, BuilderSource};

/// A builder image, and what it says of how builds run in it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BuilderImage {
    /// As who named it wrote it.
    pub name: String,
    /// The image.
    pub image: Image,
    /// Where its layers lie.
    pub store: Arc<dyn Store>,
    /// The user that buildpacks run as: `CNB_USER_ID`.
    pub uid: u32,
    /// The group that buildpacks run as: `CNB_GROUP_ID`.
    pub gid: u32,
    /// The id of its stack, in old ones.
    pub stack_id: Option<String>,
    /// The mixins of its stack, in old ones.
    pub mixins: Vec<String>,
    /// Who made it.
    pub created_by: CreatedBy,
}

impl BuilderImage {
    /// What it is: platform and distribution.
    pub fn target(&self) -> Target {
        Target::of_image(&self.image)
    }

    /// The newest Platform API that its lifecycle speaks and we do, too.
    pub fn platform_api(&self, apis: &Apis) -> Option<PlatformApi> {
        apis.platform.all().filter_map(|it| it.parse().ok()).max()
    }
}

impl Builder {
    /// Reads what the labels and the config of `image` say, which lies in `store`; `name` is how it
    /// was named.
    pub fn of_image(
        name: impl Into<String>,
        image: Image,
        store: Arc<dyn Store>,
    ) -> Result<Self, BuilderImageError> {
        let all = &image.config().config.labels;
        let metadata: BuilderMetadata =
            labels::read(all, BUILDER)?.ok_or(BuilderImageError::NoLabel { label: BUILDER })?;
        let (uid, gid) = ids(&image)?;
        let lifecycle = lifecycle(&image, &metadata)?;
        let buildpacks = modules(Kind::Buildpack, &image)?;
        let extensions = modules(Kind::Extension, &image)?;
        let order = groups(ORDER, &image)?;
        let order_extensions = groups(ORDER_EXTENSIONS, &image)?;
        let order = Order {
            order: resolved(ORDER, order.unwrap_or_default(), &buildpacks)?,
            order_extensions: resolved(
                ORDER_EXTENSIONS,
                order_extensions.unwrap_or_default(),
                &extensions,
            )?,
        };
        let system = system(&image, &buildpacks)?;
        let run = run(&metadata).ok_or(BuilderImageError::NoRunImage)?;
        let some = |name| image.label(name).filter(|it| !it.is_empty());
        let stack_id = some(STACK).map(str::to_owned);
        let mixins: Option<Vec<String>> = labels::read(all, MIXINS)?;
        let target = Target::of_image(&image);
        Ok(Self {
            digest: image.descriptor().digest.clone(),
            description: metadata.description,
            buildpacks,
            extensions,
            order,
            build_image: None,
            build_env: Vec::new(),
            run,
            lifecycle,
            targets: vec![target],
            system,
            is_added_to: false,
            source: BuilderSource::Image(Box::new(BuilderImage {
                name: name.into(),
                store,
                uid,
                gid,
                stack_id,
                mixins: mixins.unwrap_or_default(),
                created_by: metadata.created_by,
                image,
            })),
        })
    }
}

/// The user and group that buildpacks run as.
pub(crate) fn ids(image: &Image) -> Result<(u32, u32), BuilderImageError> {
    let id = |variable: &'static str| {
        let value = image.config().config.env(variable).unwrap_or_default();
        if value.is_empty() {
            return Err(BuilderImageError::NoId { variable });
        }
        let bad = |_| BuilderImageError::Id {
            variable,
            value: value.to_owned(),
        };
        value.parse::<u32>().map_err(bad)
    };
    Ok((id("CNB_USER_ID")?, id("CNB_GROUP_ID")?))
}

/// What the lifecycle is and speaks.
fn lifecycle(image: &Image, metadata: &BuilderMetadata) -> Result<Lifecycle, BuilderImageError> {
    let version = metadata.lifecycle.version.clone();
    let version = version
        .filter(|it| !it.is_empty())
        .ok_or(BuilderImageError::NoLifecycle { what: "version" })?;
    let (mut api, mut apis) = (
        metadata.lifecycle.api.clone(),
        metadata.lifecycle.apis.clone(),
    );
    reconcile(&mut api, &mut apis);
    if apis == Apis::default()
        && let Some(label) = labels::read(&image.config().config.labels, LIFECYCLE_APIS)?
    {
        apis = label;
    }
    if apis.buildpack.supported.is_empty() {
        return Err(BuilderImageError::NoLifecycle {
            what: "Buildpack APIs",
        });
    }
    if apis.platform.supported.is_empty() {
        return Err(BuilderImageError::NoLifecycle {
            what: "Platform APIs",
        });
    }
    let ours = |it: &str| it.parse::<PlatformApi>().is_ok();
    if !apis.platform.all().any(ours) {
        return Err(BuilderImageError::NoCommonApi {
            spoken: apis.platform.all().collect::<Vec<_>>().join(", "),
            lowest: PlatformApi::SUPPORTED.first().map_or("", |it| it.as_str()),
            highest: PlatformApi::SUPPORTED.last().map_or("", |it| it.as_str()),
        });
    }
    Ok(Lifecycle {
        uri: None,
        version: Some(version),
        apis,
    })
}

/// All modules that the label of their kind lists.
fn modules(kind: Kind, image: &Image) -> Result<Vec<Module>, LabelError> {
    let label = layers_label(kind);
    let layers: Option<ModuleLayers> = labels::read(&image.config().config.labels, label)?;
    let layers = layers.unwrap_or_default();
    let mut modules = Vec::new();
    for (name, layer) in labels::listed(&layers).map_err(|it| it.of(label))? {
        let digest = layer.layer_diff_id.parse().map(DiffId);
        let known = digest
            .ok()
            .filter(|it| image.config().rootfs.diff_ids.contains(it));
        let diff_id = known.ok_or_else(|| {
            LabelProblem::NoLayer {
                module: name.to_string(),
                layer: layer.layer_diff_id.clone(),
            }
            .of(label)
        })?;
        modules.push(Module::new(
            kind,
            layer.descriptor(name).map_err(|it| it.of(label))?,
            Origin {
                uri: "urn:cnb:builder".to_owned(),
                digest: diff_id.0,
            },
            Content::Builder,
        ));
    }
    Ok(modules)
}

fn groups(label: &'static str, image: &Image) -> Result<Option<Vec<OrderGroup>>, LabelError> {
    let groups: Option<Vec<Members>> = labels::read(&image.config().config.labels, label)?;
    Ok(groups.map(|it| from_members(&it)))
}

/// The groups, each member with its version: without one, the only one that there is.
pub(crate) fn resolved(
    label: &'static str,
    groups: Vec<OrderGroup>,
    modules: &[Module],
) -> Result<Vec<OrderGroup>, LabelError> {
    let mut groups = groups;
    let all = groups.iter_mut().flat_map(|it| &mut it.group);
    for member in all {
        let mut found = modules
            .iter()
            .filter(|it| it.id == member.id)
            .filter(|it| member.version.is_empty() || it.version == member.version);
        match (found.next(), found.next()) {
            (Some(module), None) => member.version = module.version.to_string(),
            (None, _) => {
                let problem = LabelProblem::NoModule {
                    module: Member::from(&*member).to_string(),
                    other: layers_label(modules.first().map_or(Kind::Buildpack, |it| it.kind)),
                };
                return Err(problem.of(label));
            }
            (Some(_), Some(_)) => {
                return Err(LabelProblem::Missing {
                    module: Member::from(&*member).to_string(),
                    key: "version",
                }
                .of(label));
            }
        }
    }
    Ok(groups)
}

fn system(image: &Image, buildpacks: &[Module]) -> Result<System, LabelError> {
    let label: Option<SystemLabel> = labels::read(&image.config().config.labels, SYSTEM)?;
    let label = label.unwrap_or_default();
    let list = |members: &labels::SystemMembers| {
        let group = OrderGroup::new(members.buildpacks.iter().map(Into::into).collect());
        let mut groups = resolved(SYSTEM, vec![group], buildpacks)?;
        Ok(groups.pop().map(|it| it.group).unwrap_or_default())
    };
    let mut system = System::default();
    system.system.pre.buildpacks = list(&label.pre)?;
    system.system.post.buildpacks = list(&label.post)?;
    Ok(system)
}

/// The run images: those of today, or the one of the stack.
fn run(metadata: &BuilderMetadata) -> Option<Run> {
    let images = |it: &RunImageMetadata| RunImages {
        image: it.image.clone(),
        mirrors: it.mirrors.clone().unwrap_or_default(),
    };
    let listed = metadata.images.iter().flatten();
    let named = |it: &&RunImageMetadata| !it.image.is_empty();
    let mut run = Run {
        images: listed.filter(named).map(images).collect(),
    };
    if run.images.is_empty() {
        let old = Some(&metadata.stack.run_image).filter(named)?;
        run.images.push(images(old));
    }
    Some(run)
}

/// Why an image is no builder that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuilderImageError {
    /// A variable is no number.
    #[error(
        "the variable `{variable}` of the builder is `{value}`, which is not the number of a user"
    )]
    Id {
        /// Which.
        variable: &'static str,
        /// What it says.
        value: String,
    },
    /// A label says something that cannot be.
    #[error(transparent)]
    Label(#[from] LabelError),
    /// Its lifecycle is of another time.
    #[error(
        "the lifecycle of the builder speaks Platform API {spoken}, and none of {lowest} to {highest}"
    )]
    NoCommonApi {
        /// What it speaks.
        spoken: String,
        /// The lowest of ours.
        lowest: &'static str,
        /// The highest of ours.
        highest: &'static str,
    },
    /// A variable is missing.
    #[error("the builder has no variable `{variable}`: it does not say who runs buildpacks")]
    NoId {
        /// Which.
        variable: &'static str,
    },
    /// The image is no builder.
    #[error("the image has no label `{label}`: it is not a builder, or has to be made anew")]
    NoLabel {
        /// Which.
        label: &'static str,
    },
    /// It does not say what its lifecycle is.
    #[error("the builder does not say the {what} of its lifecycle")]
    NoLifecycle {
        /// What of it.
        what: &'static str,
    },
    /// It does not say what apps run on.
    #[error("the builder names no run image")]
    NoRunImage,
}

#[cfg(test)]
mod tests;
