//! What is claimed about an image that was made: what is in it, and what it was made of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use lifecycle_core::buildpack::Kind;
use lifecycle_core::provenance::{Invocation, Named};
use oci::{Descriptor, DiffId, LayoutStore, Location, Platform, Reference, Store};
use platform::builder::{Builder, Content, Module, Package};
use platform::make::Made;
use platform::make::provenance::Ingredients;
use sbom::component::{
    Component, Evidence, Hash, Inventory, Kind as ComponentKind, License, Link, LinkKind, Node,
    RelationKind,
};
use sbom::{Merged, Sources, Subject};
use time::OffsetDateTime;

use super::shown;
use crate::building::OwnPrograms;
use crate::claims::{self, Claims};
use crate::contents;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _};

/// What is made, and what the user asked for.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) kind: MadeKind,
    /// The file that says what it is made of, as the user named it.
    pub(crate) description: Option<Named>,
    pub(crate) labels: BTreeMap<String, String>,
    /// Which modules share a layer, as the user said it.
    pub(crate) flatten: Vec<String>,
    /// What apps run on, of a builder.
    pub(crate) run_images: Vec<String>,
    pub(crate) started: SystemTime,
}

/// What sort of thing is made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum MadeKind {
    Builder,
    Package(Kind),
}

impl MadeKind {
    fn word(self) -> &'static str {
        match self {
            Self::Builder => "builder",
            Self::Package(Kind::Buildpack) => "buildpack",
            Self::Package(Kind::Extension) => "extension",
        }
    }
}

/// This program, by its digest.
pub(super) fn programs(environment: &Environment) -> Result<Vec<Named>, CommandError> {
    let own = OwnPrograms::find(None, environment)?;
    let own = own.running.digests()?.into_iter();
    let own = own.filter(|(name, _)| *name == "sealpack");
    Ok(own.map(|(name, digest)| named(name, digest)).collect())
}

/// Where what was made is staged, and where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Staged<'a> {
    pub(super) store: &'a Arc<LayoutStore>,
    pub(super) destination: &'a Reference,
    pub(super) builder_id: &'a str,
    pub(super) environment: &'a Environment,
}

impl Staged<'_> {
    /// What it is called, wherever it goes: its repository, or what sort of thing it is.
    pub(super) fn name(&self, about: &About) -> String {
        match &self.destination.location {
            Location::Registry(repository) => repository.to_string(),
            _ => about.kind.word().to_owned(),
        }
    }

    /// What is claimed of one image.
    pub(super) async fn claims(
        &self,
        about: &About,
        (platform, made): &(Platform, Made),
        image: &Descriptor,
        programs: &[Named],
    ) -> Result<Claims, CommandError> {
        let sbom = self.sbom(about, made, image).await?;
        let byproducts = claims::byproducts(&sbom).into_iter();
        let provenance = Ingredients {
            invocation: Invocation {
                builder_id: self.builder_id.to_owned(),
                id: claims::invocation_id()?,
                programs: programs.to_vec(),
                started_on: claims::timestamp(about.started)?,
                finished_on: claims::now()?,
                byproducts: byproducts.map(|(name, it)| named(name, it)).collect(),
            },
            kind: about.kind.word(),
            description: about.description.as_ref(),
            target: shown(platform),
            labels: &about.labels,
            flatten: &about.flatten,
            run_images: &about.run_images,
            made_of: &made.made_of,
        }
        .provenance();
        Ok(Claims { provenance, sbom })
    }

    /// Packages in its layers, and all buildpacks and extensions.
    async fn sbom(
        &self,
        about: &About,
        made: &Made,
        image: &Descriptor,
    ) -> Result<Merged, CommandError> {
        let store: Arc<dyn Store> = Arc::<LayoutStore>::clone(self.store);
        let mut found = contents::look_whole(&*store, &made.image).await?;
        let failed = || "failed to read what was made".to_owned();
        let name = self.name(about);
        match about.kind {
            MadeKind::Builder => {
                let builder = Builder::of_image(name.clone(), made.image.clone(), store);
                let builder = builder.context(failed)?;
                let kinds = [Kind::Buildpack, Kind::Extension];
                for module in kinds.iter().flat_map(|kind| builder.modules(*kind)) {
                    found.add(component(module));
                }
                add_lifecycle(&mut found, builder.lifecycle.version.clone(), made);
            }
            MadeKind::Package(kind) => {
                let package = Package::in_image(kind, &store, &made.image, &name);
                for module in package.context(failed)?.modules() {
                    found.add(component(module));
                }
            }
        }
        let mut bases = made.made_of.iter().filter(|it| it.name == "base");
        if let Some(base) = bases.next() {
            let subject = Subject {
                name: base.uri.clone().unwrap_or_default(),
                digest: base.digest.clone(),
            };
            let base = found.add(subject.component());
            found.relate(Node::Subject, RelationKind::BuiltFrom, base);
        }
        let subject = Subject {
            name,
            digest: image.digest.clone(),
        };
        let sources = Sources {
            about: Some(subject.component()),
            created: OffsetDateTime::from_unix_timestamp(claims::CREATED).ok(),
            documents: Vec::new(),
            found: vec![&found],
        };
        Ok(sources.merge())
    }
}

fn named(name: &str, digest: oci::Digest) -> Named {
    Named {
        name: name.to_owned(),
        uri: None,
        digest,
    }
}

/// A buildpack or extension, as a part of what was made.
fn component(module: &Module) -> Component {
    let folder = match module.kind {
        Kind::Buildpack => "buildpacks",
        Kind::Extension => "extensions",
    };
    let id = module.id.escaped();
    let path = format!("cnb/{folder}/{id}/{}", module.version);
    let layer = match &module.content {
        Content::Layer(layer) => layer.diff_id.clone(),
        _ => DiffId(module.origin.digest.clone()),
    };
    let info = &module.info;
    let mut component = Component::new(ComponentKind::Application, module.id.to_string());
    component.version = Some(module.version.to_string());
    component.description = Some(info.description.clone()).filter(|it| !it.is_empty());
    let licences = info.licenses.iter().filter(|it| !it.r#type.is_empty());
    component.licenses.declared = licences.map(|it| License::of(&it.r#type)).collect();
    if !info.homepage.is_empty() {
        component.urls.push(Link {
            kind: LinkKind::Website,
            url: info.homepage.clone(),
        });
    }
    component.evidence = vec![Evidence {
        layer: Some(layer),
        ..Evidence::found("lifecycle", path)
    }];
    component
}

/// The lifecycle of a builder, whose programs no finder knows.
fn add_lifecycle(found: &mut Inventory, version: Option<String>, made: &Made) {
    let mut lifecycle = Component::new(ComponentKind::Application, "lifecycle");
    lifecycle.version = version;
    lifecycle.evidence = vec![Evidence::found("lifecycle", "cnb/lifecycle")];
    let parts = made.made_of.iter().filter(|it| it.name == "lifecycle");
    lifecycle.hashes = parts.map(|it| Hash::of(&it.digest)).collect();
    found.add(lifecycle);
}
