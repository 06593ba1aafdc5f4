//! What is in an image: what is found in its layers, with who brought it there.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Cursor, Read as _};
use std::iter;
use std::path::Path;

use oci::view::{FileContent, FileInfo, Missed, Pick, View, ViewLimits, view_image, view_layers};
use oci::{Descriptor, DiffId, Digest, Image, Store};
use sbom::component::{
    Completeness, Component, Evidence, Gap, Hash, Inventory, Kind, Link, LinkKind, Node,
    RelationKind,
};
use sbom::find::{Finders, find};
use sbom::purl::Purl;
use sbom::{Document, Format, Limits, Subject};
use serde_json::Value;

use crate::error::{CommandError, Context as _};

/// Where the launcher is in an image by the lifecycle.
const LAUNCHER: &str = "cnb/lifecycle/launcher";

/// Looks into all layers of `image`: nothing is unpacked, each is read once.
pub(crate) async fn look(store: &dyn Store, image: &Image) -> Result<Inventory, CommandError> {
    let (view, _) = view_image(store, image, Finders::default(), ViewLimits::default())
        .await
        .context(|| "failed to look into the image".to_owned())?;
    let mut inventory = find(&view);
    Labels::of(image).attribute(&mut inventory);
    Ok(inventory)
}

/// The same, for who builds again and again: what was found in a layer is kept in the folder
/// `cache`, by its diff ID, so that a layer that lies elsewhere is fetched to look into it only once.
///
/// Layers of the run image are seen as one; each of the others by itself, for no layer by the
/// lifecycle replaces what another one holds.
pub(crate) async fn look_again(
    store: &dyn Store,
    image: &Image,
    cache: Option<&Path>,
) -> Result<Inventory, CommandError> {
    let labels = Labels::of(image);
    let layers: Vec<(&Descriptor, &DiffId)> = image.layers().collect();
    let (base, others) = layers
        .split_at_checked(labels.base.len())
        .unwrap_or((&[], layers.as_slice()));
    let mut inventory = Inventory::default();
    for layers in iter::once(base).chain(others.chunks(1)) {
        inventory.extend(look_at(store, layers, cache).await?);
    }
    labels.attribute(&mut inventory);
    Ok(inventory)
}

/// The same of an image that no lifecycle made: its layers are seen as one. Nothing is kept: it is
/// looked at when it is new.
pub(crate) async fn look_whole(
    store: &dyn Store,
    image: &Image,
) -> Result<Inventory, CommandError> {
    let layers: Vec<(&Descriptor, &DiffId)> = image.layers().collect();
    look_at(store, &layers, None).await
}

/// What is in the run image of `image` alone, `base`, whose layers `store` has; what was found in it is
/// kept in `cache`, as for [`look_again`].
pub(crate) async fn look_into_base(
    store: &dyn Store,
    base: &Image,
    image: &Image,
    cache: Option<&Path>,
) -> Result<Inventory, CommandError> {
    let layers: Vec<(&Descriptor, &DiffId)> = base.layers().collect();
    let mut inventory = look_at(store, &layers, cache).await?;
    attribute_base(image, &mut inventory);
    Ok(inventory)
}

/// How many of the layers of `image` are its run image's.
pub(crate) fn base_layers(image: &Image) -> usize {
    Labels::of(image).base.len()
}

/// Says of each component which run image brought it, and names that.
pub(crate) fn attribute_base(image: &Image, inventory: &mut Inventory) {
    let labels = Labels {
        launcher: None,
        ..Labels::of(image)
    };
    labels.attribute(inventory);
}

/// Looks into layers, as one, unless that was done before.
async fn look_at(
    store: &dyn Store,
    layers: &[(&Descriptor, &DiffId)],
    cache: Option<&Path>,
) -> Result<Inventory, CommandError> {
    if layers.is_empty() {
        return Ok(Inventory::default());
    }
    let mut name = format!("{}\n", env!("CARGO_PKG_VERSION"));
    for (_, diff_id) in layers {
        name.push_str(diff_id.0.as_str());
        name.push('\n');
    }
    let name = Digest::of(name.as_bytes());
    let path = cache.map(|it| it.join("found").join(format!("{}.json", name.hex())));
    if let Some(found) = path.as_deref().and_then(remembered) {
        return Ok(found);
    }
    let (view, _) = view_layers(store, layers, Finders::default(), ViewLimits::default())
        .await
        .context(|| "failed to look into the image".to_owned())?;
    let found = find(&view);
    if let Some(path) = &path {
        // Who cannot remember looks again.
        remember(path, &found).unwrap_or_default();
    }
    Ok(found)
}

/// What was found before; nothing, if that cannot be read.
fn remembered(path: &Path) -> Option<Inventory> {
    /// Bytes of what is in one layer.
    const LARGEST: u64 = 256 << 20;
    let file = fs_err::File::open(path).ok()?;
    serde_json::from_reader(BufReader::new(file.take(LARGEST))).ok()
}

fn remember(path: &Path, found: &Inventory) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut file, found)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|it| it.error)?;
    Ok(())
}

/// What a build knows of the launcher, which no finder can.
pub(crate) fn is_our_launcher(inventory: &mut Inventory, digest: &Digest, version: &str) {
    let mut components = inventory.components.iter_mut();
    if let Some(launcher) = components.find(|it| is_launcher(it)) {
        "sealpack-launcher".clone_into(&mut launcher.name);
        launcher.version = Some(version.to_owned());
        launcher.purl = Some(Purl::new(
            "generic",
            None,
            "sealpack-launcher",
            Some(version),
            &[],
        ));
        launcher.hashes = vec![Hash::of(digest)];
    }
}

fn is_launcher(component: &Component) -> bool {
    let mut evidence = component.evidence.iter();
    component.kind == Kind::Application && evidence.any(|it| it.path.as_deref() == Some(LAUNCHER))
}

/// SBOMs that the image's own SBOM layer holds. What cannot be understood is a gap in `inventory`.
pub(crate) async fn documents(
    store: &dyn Store,
    image: &Image,
    inventory: &mut Inventory,
) -> Result<Vec<Document>, CommandError> {
    /// Bytes of a layer of SBOMs, as stored.
    const LARGEST: u64 = 256 << 20;
    let Some(wanted) = Labels::of(image).sbom else {
        return Ok(Vec::new());
    };
    let Some((layer, _)) = image.layers().find(|(_, diff_id)| diff_id.0 == wanted) else {
        return Ok(Vec::new());
    };
    let failed = || "failed to read the SBOMs in the image".to_owned();
    let bytes = oci::store::read(store, layer, LARGEST)
        .await
        .context(failed)?;
    let mut view = View::new(ViewLimits::default());
    view.add_layer(Cursor::new(bytes), &mut Documents)
        .context(failed)?;
    let limits = Limits::default();
    let mut documents = Vec::new();
    for file in view.files() {
        let (Some(format), Some((_, path))) =
            (format_of(file.path), file.path.split_once("sbom/launch/"))
        else {
            continue;
        };
        let origin = format!("launch/{path}");
        let place = origin.rsplit_once('/').map_or("launch", |(place, _)| place);
        match Document::parse(format, file.kept, origin.as_str(), &limits) {
            Ok(document) => documents.push(document.at(place)),
            Err(error) => {
                inventory.completeness = Completeness::Incomplete;
                inventory.gaps.push(Gap {
                    path: file.path.to_owned(),
                    reason: format!("malformed SBOM: {error}"),
                });
            }
        }
    }
    Ok(documents)
}

fn format_of(path: &str) -> Option<Format> {
    Format::of_file_name(path.rsplit('/').next().unwrap_or_default())
}

/// Picks SBOMs.
struct Documents;

impl Pick for Documents {
    type Kept = Vec<u8>;

    fn wants(&mut self, file: &FileInfo<'_>) -> bool {
        file.path.contains("sbom/launch/") && format_of(file.path).is_some()
    }

    fn keep(&mut self, _: &FileInfo<'_>, content: &mut FileContent<'_>) -> Option<Vec<u8>> {
        content.all(Limits::default().document_bytes).ok().flatten()
    }

    fn miss(&mut self, _: &FileInfo<'_>, _: Missed) -> Option<Vec<u8>> {
        None
    }
}

/// What the lifecycle that made an image wrote down of where its layers are from.
#[derive(Debug, Default)]
struct Labels {
    /// Who made a layer; not in it are those of the run image.
    owners: BTreeMap<Digest, String>,
    /// Layers of the run image.
    base: Vec<Digest>,
    /// The run image: its name and digest.
    run_image: Option<Subject>,
    sbom: Option<Digest>,
    launcher: Option<Digest>,
    launcher_version: String,
    launcher_repository: String,
}

impl Labels {
    /// None of it, if no lifecycle made the image.
    fn of(image: &Image) -> Self {
        let mut labels = Self::default();
        let config = image.config();
        let label = |name: &str| -> Option<Value> {
            serde_json::from_str(config.config.labels.get(name)?).ok()
        };
        let Some(layers) = label("io.buildpacks.lifecycle.metadata") else {
            return labels;
        };
        let sha = |it: &Value| -> Option<Digest> { it.get("sha")?.as_str()?.parse().ok() };
        labels.sbom = layers.get("sbom").and_then(sha);
        labels.launcher = layers.get("launcher").and_then(sha);
        for (field, owner) in [
            ("app", "app"),
            ("launcher", "lifecycle"),
            ("config", "lifecycle"),
            ("process-types", "lifecycle"),
        ] {
            let found = layers.get(field);
            let many = found.and_then(Value::as_array).into_iter().flatten();
            for digest in found.into_iter().chain(many).filter_map(sha) {
                labels.owners.insert(digest, owner.to_owned());
            }
        }
        let buildpacks = layers.get("buildpacks").and_then(Value::as_array);
        for buildpack in buildpacks.into_iter().flatten() {
            let id = buildpack
                .get("key")
                .and_then(Value::as_str)
                .unwrap_or_default();
            let of_it = buildpack.get("layers").and_then(Value::as_object);
            for digest in of_it.into_iter().flat_map(|it| it.values()).filter_map(sha) {
                labels.owners.insert(digest, format!("buildpack {id}"));
            }
        }
        if let Some(run_image) = layers.get("runImage") {
            let top = run_image.get("topLayer").and_then(Value::as_str);
            let ids: Vec<String> = image.layers().map(|(_, id)| id.to_string()).collect();
            let own = labels.owners.keys().chain(&labels.sbom);
            let own = own.map(ToString::to_string).collect();
            let top = lifecycle_core::rebase::top_of_run_image(&ids, top.unwrap_or_default(), &own);
            let base = top.map_or(0, |it| it + 1);
            labels.base = image
                .layers()
                .take(base)
                .map(|(_, id)| id.0.clone())
                .collect();
            let reference = run_image.get("reference").and_then(Value::as_str);
            labels.run_image =
                reference
                    .and_then(|it| it.split_once('@'))
                    .and_then(|(name, digest)| {
                        Some(Subject {
                            name: name.to_owned(),
                            digest: digest.parse().ok()?,
                        })
                    });
        }
        if let Some(build) = label("io.buildpacks.build.metadata") {
            let text = |pointer: &str| {
                let text = build.pointer(pointer).and_then(Value::as_str);
                text.unwrap_or_default().to_owned()
            };
            labels.launcher_version = text("/launcher/version");
            labels.launcher_repository = text("/launcher/source/git/repository");
        }
        labels
    }

    /// Says of each component who brought it, and adds what no finder finds: the run image and the
    /// launcher.
    fn attribute(self, inventory: &mut Inventory) {
        for component in &mut inventory.components {
            for found in &mut component.evidence {
                let layer = found.layer.as_ref().map(|it| &it.0);
                let owner = layer.and_then(|it| self.owners.get(it));
                if let Some(id) = owner.and_then(|it| it.strip_prefix("buildpack ")) {
                    found.buildpack = Some(id.replace('/', "_"));
                }
            }
            let first = component.evidence.iter().find_map(|it| it.layer.as_ref());
            let from = first.and_then(|it| {
                if self.base.contains(&it.0) {
                    return Some("run image".to_owned());
                }
                self.owners.get(&it.0).cloned()
            });
            if let Some(from) = from {
                component.properties.insert("from".to_owned(), from);
            }
        }
        if let Some(run_image) = self.run_image {
            let base = inventory.add(run_image.component());
            inventory.relate(Node::Subject, RelationKind::BuiltFrom, base);
        }
        if let Some(digest) = self.launcher {
            let mut launcher = Component::new(Kind::Application, "launcher");
            launcher.version = Some(self.launcher_version).filter(|it| !it.is_empty());
            let repository = self.launcher_repository.trim_end_matches(".git");
            let repository = repository.trim_start_matches("https://");
            if let Some(path) = repository.strip_prefix("github.com/")
                && let Some((owner, name)) = path.split_once('/')
            {
                let version = launcher.version.as_deref();
                launcher.purl = Some(Purl::new("github", Some(owner), name, version, &[]));
                launcher.urls.push(Link {
                    kind: LinkKind::Sources,
                    url: format!("https://{repository}"),
                });
            }
            launcher.evidence = vec![Evidence {
                layer: Some(DiffId(digest)),
                ..Evidence::found("lifecycle", LAUNCHER)
            }];
            let from = "lifecycle".to_owned();
            launcher.properties.insert("from".to_owned(), from);
            inventory.add(launcher);
            inventory.gaps.retain(|it| it.path != LAUNCHER);
            if inventory.gaps.is_empty() {
                inventory.completeness = Completeness::Unknown;
            }
        }
    }
}
