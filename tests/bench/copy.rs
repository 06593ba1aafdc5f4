//! How long `sealpack copy --referrers` takes, next to `oras cp -r`, `regctl image copy --referrers`
//! and `skopeo copy`: whole processes, in turn, in one run, between registries on loopback and
//! layouts. What counts is the ratio to the best of those that lose nothing: some registries lose
//! referrers that come at the same time, and not all tools look after what became of theirs.
//!
//! All lies in memory (`/dev/shm`) where there is such a place: it is not the disk that is measured.
//! Ours waits until a layout is on the disk, and the others (but skopeo) do not.
//!
//! `cargo bench -p sealpack-tests --bench copy [-- layers|referrers|huge|many]`; `huge` is one layer
//! of 2 GB, for the memory that it takes, `many` are thousands of referrers, for what they take ours
//! alone; both are only run when they are named.

#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints what it found, and stops when it cannot"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use oci::store::{LayoutStore, RegistryClient, RegistryOptions};
use oci::{
    CopyOptions, Descriptor, ImageManifest, Limits, MediaType, Selector, Store, Upload, copy_graph,
    walk,
};
use testkit::{Measured, Server, Workspace, binary, copy_many, docker_registry, olareg, peer};

const TAG: &str = "bench";
const OURS: &str = "sealpack";

/// What is copied.
#[derive(Clone, Copy)]
struct Image {
    name: &'static str,
    rounds: usize,
    layers: usize,
    layer_size: usize,
    referrers: usize,
    registry: fn(&Path) -> Option<Server>,
}

struct Tool {
    name: &'static str,
    program: PathBuf,
    /// Whether it takes referrers along.
    is_whole: bool,
    arguments: fn(&Place, &Place) -> Vec<String>,
}

enum Place {
    /// `HOST/REPO:TAG`.
    Registry(String),
    Layout(PathBuf),
}

impl Place {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Registry(_) => "registry",
            Self::Layout(_) => "layout",
        }
    }
}

fn main() {
    // `cargo test --all-targets` runs benchmarks too, to see that they start.
    let is_full = std::env::args().any(|it| it == "--bench");
    let size = |full| if is_full { full } else { 100_000 };
    let images = [
        Image {
            name: "layers",
            rounds: if is_full { 7 } else { 1 },
            layers: 10,
            layer_size: size(100_000_000),
            referrers: 0,
            registry: docker_registry,
        },
        Image {
            name: "referrers",
            rounds: if is_full { 7 } else { 1 },
            layers: 1,
            layer_size: 1000,
            referrers: if is_full { 100 } else { 3 },
            registry: olareg,
        },
        Image {
            name: "huge",
            rounds: 1,
            layers: 1,
            layer_size: size(2_000_000_000),
            referrers: 0,
            registry: docker_registry,
        },
    ];
    let names: Vec<String> = std::env::args().skip(1).collect();
    if names.iter().any(|it| it == "many") {
        return many();
    }
    let chosen = |image: &&Image| {
        let mut named = names.iter().filter(|it| !it.starts_with('-')).peekable();
        named.peek().is_none() && image.name != "huge" || named.any(|it| it == image.name)
    };
    for image in images.iter().filter(chosen) {
        compare(*image);
    }
}

fn compare(image: Image) {
    let workspace = Workspace::in_memory();
    let Some(source) = (image.registry)(workspace.path()) else {
        return;
    };
    let remote = Place::Registry(format!("{}/source:{TAG}", source.host()));
    let local = Place::Layout(workspace.join("source"));
    let manifests = block_on(push(image, &remote));
    block_on(copy(&remote, &local));
    println!(
        "{}: {} layers of {} bytes, {} referrers",
        image.name, image.layers, image.layer_size, image.referrers
    );
    let tools: Vec<Tool> = tools()
        .into_iter()
        .filter(|it| it.is_whole || image.referrers == 0)
        .collect();
    for (from, into) in [
        (&remote, "registry"),
        (&remote, "layout"),
        (&local, "registry"),
    ] {
        let mut runs: BTreeMap<&str, Vec<Run>> = BTreeMap::new();
        let mut losses: BTreeMap<&str, usize> = BTreeMap::new();
        for _ in 0..image.rounds {
            for tool in &tools {
                let folder = workspace.join("destination");
                fs_err::create_dir(&folder).unwrap();
                let server = (image.registry)(&folder).filter(|_| into == "registry");
                let place = match &server {
                    Some(server) => Place::Registry(format!("{}/copied:{TAG}", server.host())),
                    None => Place::Layout(folder.join("layout")),
                };
                let arguments = (tool.arguments)(from, &place);
                let measure = env!("CARGO_BIN_EXE_measure");
                let registries = [Some(&source), server.as_ref()];
                let busy = || {
                    registries
                        .into_iter()
                        .flatten()
                        .filter_map(Server::busy)
                        .sum()
                };
                let before: Duration = busy();
                let measured = Measured::of(&workspace, measure, &tool.program, arguments);
                let theirs = busy().saturating_sub(before);
                let lost = manifests - block_on(count(&place));
                let most = losses.entry(tool.name).or_default();
                *most = lost.max(*most);
                assert!(tool.name != OURS || lost == 0, "{lost} were lost");
                let run = Run { measured, theirs };
                runs.entry(tool.name).or_default().push(run);
                drop(server);
                fs_err::remove_dir_all(&folder).unwrap();
            }
        }
        print(&format!("{} -> {into}", from.kind()), &runs, &losses);
    }
}

/// What it takes to copy more and more referrers, from and to registries in this process.
fn many() {
    for referrers in [2_500, 5_000, 10_000] {
        for leg in copy_many(env!("CARGO_BIN_EXE_measure"), referrers) {
            println!(
                "{referrers:6} referrers, {:30}: {:7.3} s, processor {:7.3} s, peak {:4.0} MiB, {} requests",
                leg.name,
                leg.measured.took.as_secs_f64(),
                leg.measured.busy.as_secs_f64(),
                leg.measured.peak as f64 / f64::from(1 << 20),
                leg.requests,
            );
        }
    }
}

/// What one run took.
struct Run {
    measured: Measured,
    /// How long the registries kept a processor busy meanwhile. On few cores, this bounds them all.
    theirs: Duration,
}

/// Who lost something in any round is not compared with.
fn print(way: &str, runs: &BTreeMap<&str, Vec<Run>>, losses: &BTreeMap<&str, usize>) {
    let seconds: fn(&Run) -> f64 = |it| it.measured.took.as_secs_f64();
    let processor: fn(&Run) -> f64 = |it| it.measured.busy.as_secs_f64();
    for (name, all) in runs {
        println!(
            "  {way}: {name:8} {:7.3} s, processor {:7.3} s, the registries' {:7.3} s, peak {:4.0} MiB{}",
            median(all, seconds),
            median(all, processor),
            median(all, |it| it.theirs.as_secs_f64()),
            median(all, |it| it.measured.peak as f64 / f64::from(1 << 20)),
            match losses[name] {
                0 => String::new(),
                lost => format!(", lost {lost} manifests"),
            }
        );
    }
    let ratio = |of: fn(&Run) -> f64| {
        let others = runs.iter();
        let others = others.filter(|(name, _)| **name != OURS && losses[*name] == 0);
        let best = others
            .map(|(_, all)| median(all, of))
            .min_by(f64::total_cmp);
        best.map(|best| best / median(&runs[OURS], of))
    };
    if let (Some(time), Some(busy)) = (ratio(seconds), ratio(processor)) {
        println!("  the best of the others / sealpack: time {time:.2}, processor {busy:.2}");
    }
}

fn median(all: &[Run], of: fn(&Run) -> f64) -> f64 {
    let mut values: Vec<f64> = all.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn tools() -> Vec<Tool> {
    let peer = |name, is_whole, arguments| {
        Some(Tool {
            name,
            program: peer(name)?,
            is_whole,
            arguments,
        })
    };
    let ours = Tool {
        name: OURS,
        program: binary("sealpack"),
        is_whole: true,
        arguments: |from, to| {
            let name = |place: &Place| match place {
                Place::Registry(image) => image.clone(),
                Place::Layout(path) => format!("oci:{}:{TAG}", path.display()),
            };
            words(&["copy", "--referrers", &name(from), &name(to)])
        },
    };
    let others = [
        peer("oras", true, |from, to| {
            let name = |side: &str, place: &Place| match place {
                Place::Registry(image) => (format!("--{side}-plain-http"), image.clone()),
                Place::Layout(path) => (
                    format!("--{side}-oci-layout"),
                    format!("{}:{TAG}", path.display()),
                ),
            };
            let ((how_from, from), (how_to, to)) = (name("from", from), name("to", to));
            words(&["cp", "-r", "--no-tty", &how_from, &how_to, &from, &to])
        }),
        peer("regctl", true, |from, to| {
            let mut arguments = Vec::new();
            let [from, to] = [from, to].map(|place| match place {
                Place::Registry(image) => {
                    let host = image.split('/').next().unwrap_or_default();
                    arguments.extend(words(&["--host", &format!("reg={host},tls=disabled")]));
                    image.clone()
                }
                Place::Layout(path) => format!("ocidir://{}:{TAG}", path.display()),
            });
            arguments.extend(words(&["image", "copy", "--referrers", &from, &to]));
            arguments
        }),
        peer("skopeo", false, |from, to| {
            let name = |place: &Place| match place {
                Place::Registry(image) => format!("docker://{image}"),
                Place::Layout(path) => format!("oci:{}:{TAG}", path.display()),
            };
            words(&[
                "--insecure-policy",
                "copy",
                "--src-tls-verify=false",
                "--dest-tls-verify=false",
                &name(from),
                &name(to),
            ])
        }),
    ];
    std::iter::once(ours)
        .chain(others.into_iter().flatten())
        .collect()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|it| (*it).to_owned()).collect()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

fn repository(image: &str) -> impl Store + use<> {
    let name = image.strip_suffix(&format!(":{TAG}")).unwrap();
    RegistryClient::new(RegistryOptions::default()).repository(&name.parse().unwrap())
}

fn open(place: &Place) -> Box<dyn Store> {
    match place {
        Place::Registry(image) => Box::new(repository(image)),
        Place::Layout(path) => Box::new(LayoutStore::create(path).unwrap()),
    }
}

async fn copy(from: &Place, to: &Place) {
    let (from, to) = (open(from), open(to));
    let tag = TAG.parse().unwrap();
    let root = from.resolve(&Selector::Tag(TAG.parse().unwrap())).await;
    let root = root.unwrap();
    let options = CopyOptions {
        referrers: true,
        ..CopyOptions::default()
    };
    let copied = copy_graph(&*from, &*to, &root, &options, &()).await;
    copied.unwrap();
    to.tag(&root, &tag).await.unwrap();
}

/// How many manifests arrived.
async fn count(place: &Place) -> usize {
    let store = open(place);
    let selector = Selector::Tag(TAG.parse().unwrap());
    let root = store.resolve(&selector).await.unwrap();
    let nodes = walk(&*store, &root, &Limits::default()).await.unwrap();
    assert!(nodes.iter().all(|it| it.problem.is_none()));
    nodes.len()
}

/// Makes the image, and returns how many manifests it has.
async fn push(image: Image, to: &Place) -> usize {
    let store = open(to);
    let mut noise = Noise(1);
    let mut layers = Vec::new();
    for _ in 0..image.layers {
        layers.push(push_blob(&*store, noise.bytes(image.layer_size)).await);
    }
    let root = push_manifest(&*store, layers, None).await;
    for _ in 0..image.referrers {
        let blob = push_blob(&*store, noise.bytes(1000)).await;
        push_manifest(&*store, vec![blob], Some(&root)).await;
    }
    let tag = TAG.parse().unwrap();
    store.tag(&root, &tag).await.unwrap();
    1 + image.referrers
}

async fn push_blob(store: &dyn Store, content: Bytes) -> Descriptor {
    let target = Descriptor::of(MediaType::LAYER_TAR, &content);
    let upload = Upload::Bytes(content);
    store.push_blob(&target, upload).await.unwrap();
    target
}

async fn push_manifest(
    store: &dyn Store,
    layers: Vec<Descriptor>,
    subject: Option<&Descriptor>,
) -> Descriptor {
    let config =
        br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let config = Bytes::from_static(config);
    let target = Descriptor::of(MediaType::IMAGE_CONFIG, &config);
    let upload = Upload::Bytes(config);
    store.push_blob(&target, upload).await.unwrap();
    let manifest = ImageManifest {
        schema_version: 2,
        media_type: Some(MediaType::IMAGE_MANIFEST),
        config: target,
        layers,
        annotations: BTreeMap::new(),
        subject: subject.map(Descriptor::bare),
        artifact_type: subject.map(|_| "application/x-proof".into()),
    };
    let content = Bytes::from(serde_json::to_vec(&manifest).unwrap());
    let target = Descriptor::of(MediaType::IMAGE_MANIFEST, &content);
    store.push_manifest(&target, content).await.unwrap();
    target
}

/// Bytes that do not compress.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, count: usize) -> Bytes {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            // Marsaglia's xorshift.
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            bytes.extend_from_slice(&self.0.to_le_bytes());
        }
        bytes.truncate(count);
        bytes.into()
    }
}
