//! Makes a builder image: layers on a base image, in pack's order.
//!
//! | layer | holds |
//! |---|---|
//! | 1 | the folders `/workspace` and `/layers` of the builder's user, `/cnb` and `/platform` of root |
//! | 2 | the lifecycle |
//! | 3 | buildpacks that share a layer, one layer a group |
//! | 4 | the other buildpacks, one layer each, by id and version; before them, what takes older ones away |
//! | 5 | the same for extensions |
//! | 6–9 | `order.toml`; `system.toml`, if there is one; `stack.toml`; `run.toml` |
//! | 10 | variables that all buildpacks see, if there are any |
//! | 11 | nothing: the place of variables of a single build |

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use lifecycle_core::buildpack::Kind;
use lifecycle_core::provenance::Named;
use oci::layer::Layer;
use oci::{DiffId, Image, ImageConfig, MediaType, Store};
use serde::Serialize;

use super::files::{OrderToml, RunToml, StackToml, SystemToml};
use super::lifecycle::LifecycleFiles;
use super::same::unify;
use super::spool::spool;
use super::tar::{self, FillError, Parents};
use super::{Made, MakeError, Stack, history, named, own_labels, set_labels, write_aside};
use crate::builder::descriptor::Members;
use crate::builder::image::ids;
use crate::builder::labels::{
    self, BUILDER, BuilderMetadata, CreatedBy, LifecycleMetadata, MAX_MODULES, MIXINS, ModuleLayer,
    ModuleLayers, NamedInfo, ORDER, ORDER_EXTENSIONS, RunImageMetadata, STACK, SYSTEM,
    StackMetadata, layers_label, text,
};
use crate::builder::{Builder, BuilderToml, Content, Module, ModuleName, Package, Target};

/// What a builder is made of.
#[derive(Debug)]
#[expect(
    clippy::exhaustive_structs,
    reason = "whoever makes a builder has to say all of it"
)]
pub struct BuilderRecipe<'a> {
    /// Its description.
    pub toml: &'a BuilderToml,
    /// What it stands on.
    pub base: Image,
    /// Where that lies.
    pub base_store: Arc<dyn Store>,
    /// The buildpacks that the description names, in its order.
    pub buildpacks: Vec<Package>,
    /// The extensions that it names, in its order.
    pub extensions: Vec<Package>,
    /// Its lifecycle.
    pub lifecycle: LifecycleFiles,
    /// More labels.
    pub labels: BTreeMap<String, String>,
    /// Buildpacks that share a layer: a list for each.
    pub flatten: Vec<Vec<ModuleName>>,
    /// Who makes it.
    pub created_by: CreatedBy,
}

/// Makes a builder; its layers are written to `scratch`.
pub async fn make(mut recipe: BuilderRecipe<'_>, scratch: &Path) -> Result<Made, MakeError> {
    let mut spooled = BTreeMap::new();
    for module in recipe
        .buildpacks
        .iter()
        .chain(&recipe.extensions)
        .flat_map(Package::modules)
    {
        if let Content::Layer(layer) = &module.content {
            let plain = spool(layer, scratch).await?;
            spooled.insert(layer.diff_id.clone(), plain);
        }
    }
    for packages in [&mut recipe.buildpacks, &mut recipe.extensions] {
        unify(packages.iter_mut().flat_map(Package::modules_mut), &spooled)?;
    }
    let base_store = Arc::clone(&recipe.base_store);
    let made = assemble(recipe, &spooled, scratch)?;
    // What was made is read as others will.
    let builder = Builder::of_image("the builder", made.image.clone(), base_store);
    builder.map_err(|source| MakeError::ReadBack(Box::new(source)))?;
    Ok(made)
}

fn assemble(
    recipe: BuilderRecipe<'_>,
    spooled: &BTreeMap<DiffId, Layer>,
    scratch: &Path,
) -> Result<Made, MakeError> {
    let owner = ids(&recipe.base).map_err(MakeError::Base)?;
    let base_labels = recipe.base.config().config.labels.clone();
    let mut metadata: BuilderMetadata = labels::read(&base_labels, BUILDER)?.unwrap_or_default();
    let mut config = recipe.base.config().clone();
    own_labels(&mut config, &recipe.labels)?;
    let stack_id = recipe.toml.stack_id().unwrap_or_default();
    check_stack(&recipe, stack_id)?;

    // In the order in which pack lists them: what the base has, then each package.
    for (kind, packages) in [
        (Kind::Buildpack, &recipe.buildpacks),
        (Kind::Extension, &recipe.extensions),
    ] {
        let list = match kind {
            Kind::Buildpack => &mut metadata.buildpacks,
            Kind::Extension => &mut metadata.extensions,
        };
        for module in packages.iter().flat_map(Package::modules) {
            list.get_or_insert_default().push(NamedInfo::from(module));
        }
    }
    check_modules(&recipe, &metadata)?;
    let base = Named {
        name: "base".to_owned(),
        uri: recipe.toml.build_image().map(str::to_owned),
        digest: recipe.base.descriptor().digest.clone(),
    };
    let packages = recipe.buildpacks.iter().chain(&recipe.extensions);
    let modules = named(packages.flat_map(Package::modules));
    let builder = recipe
        .toml
        .builder(recipe.buildpacks, recipe.extensions)
        .map_err(|source| MakeError::Unusable(Box::new(source)))?;

    let mut stack = Stack::new(scratch, MediaType::DOCKER_LAYER_GZIP);
    stack.add(|tar| folders(tar, owner))?;
    stack.add(|tar| recipe.lifecycle.fill(tar))?;
    for kind in [Kind::Buildpack, Kind::Extension] {
        let label = layers_label(kind);
        let mut layers: ModuleLayers = labels::read(&base_labels, label)?.unwrap_or_default();
        let mut adding = Adding {
            spooled,
            scratch,
            stack: &mut stack,
            layers: &mut layers,
        };
        adding.modules(builder.modules(kind), &recipe.flatten)?;
        set_labels(&mut config, [(label, text(&layers))])?;
    }

    add_order(&mut stack, &mut config, recipe.toml, &builder)?;
    let images: Vec<RunImageMetadata> = builder.run.images.iter().map(run_image).collect();
    if !stack_id.is_empty() {
        metadata.stack = StackMetadata {
            run_image: images.first().cloned().unwrap_or_default(),
        };
    }
    let in_stack = if metadata.stack.run_image.image.is_empty() {
        images.first()
    } else {
        Some(&metadata.stack.run_image)
    };
    add_toml(&mut stack, "/cnb/stack.toml", &StackToml::of(in_stack))?;
    add_toml(&mut stack, "/cnb/run.toml", &RunToml::of(&images))?;
    let variables = variables(&builder)?;
    if !variables.is_empty() {
        stack.add(|tar| {
            for (name, value) in &variables {
                let path = format!("/cnb/build-config/env/{name}");
                tar::file(tar, &path, value.as_bytes())?;
            }
            Ok::<_, FillError>(())
        })?;
    }
    stack.add(|_| Ok::<_, FillError>(()))?;

    metadata.description.clone_from(&builder.description);
    metadata.lifecycle = LifecycleMetadata {
        version: Some(recipe.lifecycle.version.clone()),
        api: recipe.lifecycle.api.clone(),
        apis: recipe.lifecycle.apis.clone(),
    };
    metadata.created_by = recipe.created_by;
    metadata.images = Some(images);
    let mixins: Option<Vec<String>> = labels::read(&base_labels, MIXINS)?;
    set_labels(
        &mut config,
        [(BUILDER, text(&metadata)), (MIXINS, text(&mixins))],
    )?;
    "/layers".clone_into(&mut config.config.working_dir);
    config.rootfs.diff_ids.extend(stack.diff_ids);
    history(&mut config);
    let mut all = recipe.base.manifest().layers.clone();
    all.extend(stack.descriptors);
    Ok(Made {
        image: Image::new(recipe.base.manifest(), config, all)?,
        layers: stack.layers,
        made_of: std::iter::once(base)
            .chain(recipe.lifecycle.made_of)
            .chain(modules)
            .collect(),
        base: Some(recipe.base_store),
        notes: Vec::new(),
    })
}

/// The files and labels that say in which order modules are tried.
fn add_order(
    stack: &mut Stack<'_>,
    config: &mut ImageConfig,
    toml: &BuilderToml,
    builder: &Builder,
) -> Result<(), MakeError> {
    let order = OrderToml::of(&builder.order);
    add_toml(stack, "/cnb/order.toml", &order)?;
    let orders = [
        (Kind::Buildpack, ORDER),
        (Kind::Extension, ORDER_EXTENSIONS),
    ];
    for (kind, label) in orders {
        let groups: Option<Vec<Members>> = toml.groups_for_label(kind);
        set_labels(config, [(label, text(&groups))])?;
    }
    if let Some(label) = toml.system_for_label() {
        let system = SystemToml::of(&builder.system.system);
        add_toml(stack, "/cnb/system.toml", &system)?;
        set_labels(config, [(SYSTEM, text(&label))])?;
    }
    Ok(())
}

fn folders(tar: &mut tar::Tar, owner: (u32, u32)) -> Result<(), FillError> {
    for path in ["/workspace", "/layers"] {
        tar::folder(tar, path, owner)?;
    }
    for path in [
        "/cnb",
        "/cnb/buildpacks",
        "/cnb/extensions",
        "/platform",
        "/platform/env",
        "/cnb/build-config",
        "/cnb/build-config/env",
    ] {
        tar::folder(tar, path, (0, 0))?;
    }
    Ok(())
}

/// Adds the layers of modules.
struct Adding<'a, 's> {
    spooled: &'a BTreeMap<DiffId, Layer>,
    scratch: &'a Path,
    stack: &'a mut Stack<'s>,
    layers: &'a mut ModuleLayers,
}

impl Adding<'_, '_> {
    fn modules(
        &mut self,
        modules: &[Module],
        flatten: &[Vec<ModuleName>],
    ) -> Result<(), MakeError> {
        let mut groups: Vec<Vec<&Module>> = vec![Vec::new(); flatten.len()];
        let mut single: Vec<&Module> = Vec::new();
        for module in modules {
            let name = module.name();
            let at = flatten.iter().position(|it| it.contains(&name));
            match at.and_then(|at| groups.get_mut(at)) {
                Some(group) => group.push(module),
                None => single.push(module),
            }
        }
        // By the least name in each, as pack's sorting of names has it.
        let key = |it: &Vec<&Module>| it.iter().map(|it| it.name().to_string()).min();
        groups.retain(|it| !it.is_empty());
        groups.sort_by_key(key);
        for group in groups {
            let mut parents = Parents::new();
            let spooled = self.spooled;
            let diff_id = self.stack.add(|tar| {
                group
                    .iter()
                    .try_for_each(|module| fill(tar, module, spooled, &mut parents))
            })?;
            for module in group {
                self.note(module, &diff_id);
            }
        }
        let mut written = Vec::new();
        for (at, module) in single.iter().enumerate() {
            let target = self.scratch.join(format!("{}-{at}", module.kind));
            let spooled = self.spooled;
            let layer = write_aside(&target, |tar| {
                fill(tar, module, spooled, &mut Parents::new())
            })?;
            let there = self
                .layers
                .get(module.id.as_str())
                .and_then(|it| it.get(module.version.as_str()));
            match there {
                Some(there) if there.layer_diff_id == layer.diff_id.0.as_str() => continue,
                Some(_) => {
                    let place = module.place();
                    self.stack.add(|tar| tar::whiteout(tar, &place))?;
                }
                None => {}
            }
            written.push((module.name().to_string(), *module, layer));
        }
        written.sort_by(|one, other| one.0.cmp(&other.0));
        for (_, module, layer) in written {
            let diff_id = self.stack.put(layer);
            self.note(module, &diff_id);
        }
        Ok(())
    }

    fn note(&mut self, module: &Module, diff_id: &DiffId) {
        self.layers
            .entry(module.id.to_string())
            .or_default()
            .insert(module.version.to_string(), ModuleLayer::of(module, diff_id));
    }
}

/// Writes the files of `module`, wherever they are.
pub(super) fn fill(
    tar: &mut tar::Tar,
    module: &Module,
    spooled: &BTreeMap<DiffId, Layer>,
    parents: &mut Parents,
) -> Result<(), FillError> {
    match &module.content {
        Content::Layer(layer) => match spooled.get(&layer.diff_id) {
            Some(plain) => tar::from_layer(tar, &plain.file, &module.place(), parents),
            None => Err(FillError::Elsewhere {
                module: module.name().to_string(),
            }),
        },
        _ => tar::module(tar, module, parents),
    }
}

/// Whether the base is of the stack that the description names.
fn check_stack(recipe: &BuilderRecipe<'_>, stack_id: &str) -> Result<(), MakeError> {
    let own = recipe.base.label(STACK).unwrap_or_default();
    if stack_id.is_empty() || stack_id == own {
        return Ok(());
    }
    Err(MakeError::Unfit {
        problem: format!(
            "the builder is to be of the stack `{stack_id}`, but its base image is of `{own}`"
        ),
    })
}

/// Whether each module speaks an API of the lifecycle, has all that it stands for, and fits the base.
fn check_modules(recipe: &BuilderRecipe<'_>, metadata: &BuilderMetadata) -> Result<(), MakeError> {
    let unfit = |problem| Err(MakeError::Unfit { problem });
    let listed = metadata.buildpacks.iter().flatten();
    let known: BTreeSet<(&str, &str)> = listed
        .map(|it| (it.id.as_str(), it.version.as_str()))
        .collect();
    if known.len() > MAX_MODULES {
        return unfit(format!("there are more than {MAX_MODULES} buildpacks"));
    }
    let modules = recipe.buildpacks.iter().chain(&recipe.extensions);
    let names: BTreeSet<ModuleName> = modules
        .flat_map(Package::modules)
        .map(Module::name)
        .collect();
    let mut flat = recipe.flatten.iter().flatten();
    if let Some(name) = flat.find(|it| !names.contains(it)) {
        let problem = "is to share a layer, and is not in the builder";
        return unfit(format!("`{name}` {problem}"));
    }
    let base = Target::of_image(&recipe.base);
    let stack_id = recipe.base.label(STACK).unwrap_or_default();
    let mixins: Option<Vec<String>> = labels::read(&recipe.base.config().config.labels, MIXINS)?;
    let mixins = mixins.unwrap_or_default();
    let packages = recipe.buildpacks.iter().chain(&recipe.extensions);
    for module in packages.flat_map(Package::modules) {
        let name = module.name();
        let lifecycle = &recipe.lifecycle;
        if !lifecycle.apis.buildpack.all().any(|it| it == module.api) {
            let spoken: Vec<_> = lifecycle.apis.buildpack.all().collect();
            return unfit(format!(
                "`{name}` speaks Buildpack API {}, and lifecycle {} does not: it speaks {}",
                module.api,
                lifecycle.version,
                spoken.join(", ")
            ));
        }
        if module.kind == Kind::Extension {
            continue;
        }
        for member in module.order.iter().flat_map(|it| &it.group) {
            if !known.contains(&(member.id.as_str(), member.version.as_str())) {
                return unfit(format!(
                    "`{name}` stands for `{member}`, which is not in the builder"
                ));
            }
        }
        if module.is_composite() {
            continue;
        }
        check_fit(module, &base, stack_id, &mixins)?;
    }
    Ok(())
}

/// Whether a module runs on a base.
fn check_fit(
    module: &Module,
    base: &Target,
    stack_id: &str,
    mixins: &[String],
) -> Result<(), MakeError> {
    let name = module.name();
    let unfit = |problem| Err(MakeError::Unfit { problem });
    if !module.stacks.is_empty() {
        let fitting = module
            .stacks
            .iter()
            .find(|it| it.id == stack_id || it.id == "*");
        let Some(stack) = fitting else {
            return unfit(format!("`{name}` does not run on the stack `{stack_id}`"));
        };
        let lack = stack
            .mixins
            .iter()
            .find(|it| !it.starts_with("run:") && !mixins.contains(it));
        if let Some(lack) = lack {
            return unfit(format!(
                "`{name}` needs the mixin `{lack}` of the base image"
            ));
        }
    }
    let fits = if module.targets.is_empty() {
        let has_program = match &module.content {
            Content::Folder(folder) | Content::PlatformFolder { folder, .. } => {
                folder.join("bin/build").exists()
            }
            _ => false,
        };
        !module.stacks.is_empty() || !has_program || (base.os == "linux" && base.arch == "amd64")
    } else {
        module.targets.iter().any(|it| it.fits(base))
    };
    if fits {
        return Ok(());
    }
    let all: Vec<_> = module.targets.iter().map(ToString::to_string).collect();
    let for_what = match all.as_slice() {
        [] => "linux/amd64, as all that do not say".to_owned(),
        _ => all.join(", "),
    };
    unfit(format!(
        "`{name}` is for {for_what}, and the base image is {base}"
    ))
}

/// Variables as files, by name.
fn variables(builder: &Builder) -> Result<BTreeMap<String, String>, MakeError> {
    let mut files = BTreeMap::new();
    for env in &builder.build_env {
        let always = env.exec_env.is_empty() || env.exec_env.iter().any(|it| it == "*");
        if !always {
            return Err(MakeError::Unfit {
                problem: format!(
                    "the variable `{}` is for some execution environments only, and a builder image cannot say that",
                    env.name
                ),
            });
        }
        let name = format!("{}{}", env.name, env.suffix.extension());
        files.insert(name, env.value.clone());
        if let Some(delim) = env.delim.as_ref().filter(|it| !it.is_empty()) {
            files.insert(format!("{}.delim", env.name), delim.clone());
        }
    }
    Ok(files)
}

fn run_image(images: &lifecycle_core::files::run::RunImages) -> RunImageMetadata {
    RunImageMetadata {
        image: images.image.clone(),
        mirrors: Some(images.mirrors.clone()).filter(|it| !it.is_empty()),
    }
}

fn add_toml<T: Serialize>(stack: &mut Stack<'_>, path: &str, value: &T) -> Result<(), MakeError> {
    let text = go::toml::to_string(value).map_err(MakeError::Toml)?;
    stack.add(|tar| tar::file(tar, path, text.as_bytes()))?;
    Ok(())
}
