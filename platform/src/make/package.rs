//! Makes a package: an image that holds a buildpack with all that it stands for, or an extension, each
//! in a layer of its own, or all in one.
//!
//! Layers stand in the order of ids and versions. Pack writes them in any order, another one each time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use lifecycle_core::buildpack::Kind;
use lifecycle_core::provenance::Named;
use oci::layer::Layer;
use oci::{DiffId, Image, ImageConfig, ImageManifest, MediaType, Platform};

use super::builder::fill;
use super::same::unify;
use super::spool::spool;
use super::tar::Parents;
use super::{Made, MakeError, Stack, history, named, own_labels, set_labels};
use crate::builder::descriptor::Stack as CnbStack;
use crate::builder::labels::{
    ModuleLayer, ModuleLayers, NamedInfo, PACKAGE, PackageMetadata, layers_label, text,
};
use crate::builder::{Content, Module, ModuleName, Package, Target};

/// What a package is made of.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever makes a package has to say all of it"
)]
pub struct PackageRecipe {
    /// The buildpack or extension.
    pub main: Module,
    /// What it stands for, and whatever that brings along.
    pub dependencies: Vec<Package>,
    /// What it is for.
    pub target: Target,
    /// More labels.
    pub labels: BTreeMap<String, String>,
    /// Whether all are in one layer; but for these.
    pub flatten: Option<BTreeSet<ModuleName>>,
}

/// What is meant must not be in a package already.
fn check_main(main: &Module) -> Result<(), MakeError> {
    if matches!(main.content, Content::Layer(_)) {
        let problem = "is in a package already: name its folder, or an archive of that";
        return unfit(format!("`{}` {problem}", main.name()));
    }
    Ok(())
}

impl PackageRecipe {
    /// What it is made of: the one that is meant, and then the others.
    fn made_of(&self) -> Vec<Named> {
        let parts = self.dependencies.iter().flat_map(Package::modules);
        named(std::iter::once(&self.main).chain(parts))
    }
}

/// Makes a package; its layers are written to `scratch`.
pub async fn make(mut recipe: PackageRecipe, scratch: &Path) -> Result<Made, MakeError> {
    check_main(&recipe.main)?;
    let mut spooled: BTreeMap<DiffId, Layer> = BTreeMap::new();
    for module in recipe.dependencies.iter().flat_map(Package::modules) {
        if let Content::Layer(layer) = &module.content
            && !spooled.contains_key(&layer.diff_id)
        {
            let plain = spool(layer, scratch).await?;
            spooled.insert(layer.diff_id.clone(), plain);
        }
    }
    let made_of = recipe.made_of();
    let all = recipe.dependencies.iter_mut();
    unify(all.flat_map(Package::modules_mut), &spooled)?;
    let (modules, listed) = collected(&recipe.main, recipe.dependencies)?;
    check(&recipe.main, &modules)?;
    let mut excluded = recipe.flatten.iter().flatten();
    if let Some(name) = excluded.find(|it| !modules.contains_key(*it)) {
        let problem = "is to have a layer of its own, and is not in the package";
        return unfit(format!("`{name}` {problem}"));
    }
    let mut stack = Stack::new(scratch, MediaType::LAYER_GZIP);
    let mut layers = ModuleLayers::new();
    let note = |layers: &mut ModuleLayers, module: &Module, diff_id: &DiffId| {
        let versions = layers.entry(module.id.to_string()).or_default();
        versions.insert(module.version.to_string(), ModuleLayer::of(module, diff_id));
    };
    let flat: Vec<&Module> = match &recipe.flatten {
        // The one that is meant comes last, as pack has it.
        Some(excluded) if modules.len() > 1 => {
            let names = listed.iter().skip(1).chain(listed.first());
            names
                .filter(|it| !excluded.contains(it))
                .filter_map(|it| modules.get(it))
                .collect()
        }
        _ => Vec::new(),
    };
    if !flat.is_empty() {
        let mut parents = Parents::new();
        let diff_id = stack.add(|tar| {
            flat.iter()
                .try_for_each(|module| fill(tar, module, &spooled, &mut parents))
        })?;
        for module in &flat {
            note(&mut layers, module, &diff_id);
        }
    }
    let mut whole: BTreeMap<DiffId, DiffId> = BTreeMap::new();
    for module in modules.values() {
        if flat.iter().any(|it| it.name() == module.name()) {
            continue;
        }
        let diff_id = match &module.content {
            // A layer of a package stays as it is, also one of several modules.
            Content::Layer(layer) => match (whole.get(&layer.diff_id), spooled.get(&layer.diff_id))
            {
                (Some(there), _) => there.clone(),
                (None, Some(plain)) => {
                    let diff_id = stack.add_plain(plain)?;
                    whole.insert(layer.diff_id.clone(), diff_id.clone());
                    diff_id
                }
                (None, None) => return unfit(format!("`{}` is nowhere", module.name())),
            },
            _ => stack.add(|tar| fill(tar, module, &spooled, &mut Parents::new()))?,
        };
        note(&mut layers, module, &diff_id);
    }

    let mut config = config(&recipe.target, stack.diff_ids);
    own_labels(&mut config, &recipe.labels)?;
    let metadata = PackageMetadata {
        named: NamedInfo::from(&recipe.main),
        stacks: match recipe.main.kind {
            Kind::Buildpack => Some(stacks(&recipe.main, modules.values())?),
            Kind::Extension => None,
        },
    };
    let label = layers_label(recipe.main.kind);
    set_labels(
        &mut config,
        [(PACKAGE, text(&metadata)), (label, text(&layers))],
    )?;
    let like = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        config: oci::Descriptor::of(MediaType::IMAGE_CONFIG, b"{}"),
        layers: Vec::new(),
        annotations: BTreeMap::new(),
        subject: None,
        artifact_type: None,
    };
    Ok(Made {
        image: Image::new(&like, config, stack.descriptors)?,
        layers: stack.layers,
        made_of,
        base: None,
        notes: Vec::new(),
    })
}

/// All modules by name, and their names in the order in which they came; those that came twice must be
/// the same.
fn collected(
    main: &Module,
    dependencies: Vec<Package>,
) -> Result<(BTreeMap<ModuleName, Module>, Vec<ModuleName>), MakeError> {
    let mut modules: BTreeMap<ModuleName, Module> = BTreeMap::new();
    let own = std::iter::once(main.clone());
    let others = dependencies.into_iter().flat_map(Package::into_modules);
    let mut listed = Vec::new();
    for module in own.chain(others) {
        if module.kind != main.kind {
            return unfit(format!("`{}` is of another kind", module.name()));
        }
        match modules.get(&module.name()) {
            None => {
                listed.push(module.name());
                modules.insert(module.name(), module);
            }
            Some(other) if other.is_same(&module) => {}
            Some(_) => {
                let name = module.name();
                return unfit(format!("`{name}` is there twice, with different content"));
            }
        }
    }
    Ok((modules, listed))
}

fn unfit<T>(problem: String) -> Result<T, MakeError> {
    Err(MakeError::Unfit { problem })
}

fn config(target: &Target, diff_ids: Vec<DiffId>) -> ImageConfig {
    let mut config = ImageConfig {
        architecture: target.arch.clone(),
        os: target.os.clone(),
        variant: target.variant.clone(),
        ..ImageConfig::default()
    };
    if let Some(distro) = target.distros.first() {
        config.os_version.clone_from(&distro.version);
    }
    config.rootfs.diff_ids = diff_ids;
    history(&mut config);
    config
}

/// Whether all that is stood for is there, and all that is there is stood for.
fn check(main: &Module, modules: &BTreeMap<ModuleName, Module>) -> Result<(), MakeError> {
    let mut used = BTreeSet::new();
    for module in modules.values() {
        for member in module.order.iter().flat_map(|it| &it.group) {
            let found = ModuleName::try_from(member).ok();
            match found.filter(|it| modules.contains_key(it)) {
                Some(name) => used.insert(name),
                None => {
                    return unfit(format!(
                        "`{}` stands for `{member}`, which is not among the dependencies",
                        module.name()
                    ));
                }
            };
        }
    }
    let unused = modules
        .keys()
        .find(|it| **it != main.name() && !used.contains(it));
    if let Some(unused) = unused {
        return unfit(format!(
            "`{unused}` is a dependency, but nothing in the package stands for it"
        ));
    }
    crate::builder::add::check_cycles(modules.values())
        .or_else(|module| unfit(format!("`{module}` stands for itself")))
}

/// The stacks that all of them run on: `*` for those that do not say.
fn stacks<'a>(
    main: &Module,
    modules: impl Iterator<Item = &'a Module>,
) -> Result<Vec<CnbStack>, MakeError> {
    let any = || CnbStack {
        id: "*".to_owned(),
        mixins: Vec::new(),
    };
    let of = |module: &Module| match (module.stacks.is_empty(), module.is_composite()) {
        (true, false) => vec![any()],
        _ => module.stacks.clone(),
    };
    let mut common = of(main);
    for module in modules.filter(|it| it.name() != main.name()) {
        let own = of(module);
        if common.is_empty() {
            common = own;
        } else if !own.is_empty() {
            common = merged(&common, &own);
            if common.is_empty() {
                return unfit(format!(
                    "`{}` and `{}` do not share a stack",
                    main.name(),
                    module.name()
                ));
            }
        }
    }
    Ok(common)
}

/// What both lists have, `*` being all; with the mixins of both.
fn merged(one: &[CnbStack], other: &[CnbStack]) -> Vec<CnbStack> {
    let mut common: BTreeMap<&str, BTreeSet<&String>> = BTreeMap::new();
    for first in one {
        for second in other {
            let id = match (first.id.as_str(), second.id.as_str()) {
                (id, "*") | ("*", id) => id,
                (id, other) if id == other => id,
                _ => continue,
            };
            let mixins = first.mixins.iter().chain(&second.mixins);
            common.entry(id).or_default().extend(mixins);
        }
    }
    let stack = |(id, mixins): (&str, BTreeSet<&String>)| CnbStack {
        id: id.to_owned(),
        mixins: mixins.into_iter().cloned().collect(),
    };
    common.into_iter().map(stack).collect()
}

/// The platform that a package for `target` is listed for in an index.
pub fn platform(target: &Target) -> Platform {
    let os_version = target.distros.first().map(|it| it.version.clone());
    Platform {
        os_version: os_version.filter(|it| !it.is_empty()),
        ..target.platform()
    }
}
