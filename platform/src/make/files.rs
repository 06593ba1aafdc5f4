//! The files of a builder in TOML, as pack writes them: keys in its order, nothing that is empty.

use lifecycle_core::files::group::GroupElement;
use lifecycle_core::files::order::Order;
use lifecycle_core::files::system::SystemBuildpacks;
use serde::Serialize;

use crate::builder::descriptor::{Member, Members, to_members};
use crate::builder::labels::RunImageMetadata;

/// `order.toml`.
#[derive(Serialize)]
pub(super) struct OrderToml {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    order: Vec<Members>,
    #[serde(rename = "order-extensions", skip_serializing_if = "Vec::is_empty")]
    order_extensions: Vec<Members>,
}

/// `system.toml`.
#[derive(Serialize)]
pub(super) struct SystemToml {
    system: SystemTables,
}

#[derive(Serialize)]
struct SystemTables {
    #[serde(skip_serializing_if = "Option::is_none")]
    pre: Option<SystemTable>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post: Option<SystemTable>,
}

#[derive(Serialize)]
struct SystemTable {
    buildpacks: Vec<Member>,
}

/// `stack.toml`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct StackToml<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    run_image: Option<RunImageToml<'a>>,
}

/// `run.toml`.
#[derive(Serialize)]
pub(super) struct RunToml<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<RunImageToml<'a>>,
}

#[derive(Serialize)]
struct RunImageToml<'a> {
    image: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirrors: &'a Option<Vec<String>>,
}

impl OrderToml {
    pub(super) fn of(order: &Order) -> Self {
        let mut order_extensions = to_members(&order.order_extensions);
        for member in order_extensions.iter_mut().flat_map(|it| &mut it.group) {
            // An extension is optional in any case.
            member.optional = false;
        }
        Self {
            order: to_members(&order.order),
            order_extensions,
        }
    }
}

impl SystemToml {
    pub(super) fn of(system: &SystemBuildpacks) -> Self {
        let table = |group: &[GroupElement]| {
            (!group.is_empty()).then(|| SystemTable {
                buildpacks: group.iter().map(Into::into).collect(),
            })
        };
        Self {
            system: SystemTables {
                pre: table(&system.pre.buildpacks),
                post: table(&system.post.buildpacks),
            },
        }
    }
}

impl<'a> StackToml<'a> {
    pub(super) fn of(image: Option<&'a RunImageMetadata>) -> Self {
        Self {
            run_image: image.map(RunImageToml::of),
        }
    }
}

impl<'a> RunToml<'a> {
    pub(super) fn of(images: &'a [RunImageMetadata]) -> Self {
        Self {
            images: images.iter().map(RunImageToml::of).collect(),
        }
    }
}

impl<'a> RunImageToml<'a> {
    fn of(image: &'a RunImageMetadata) -> Self {
        Self {
            image: &image.image,
            mirrors: &image.mirrors,
        }
    }
}
