//! How long `sealpack copy --referrers` takes, next to `oras cp -r`, `regctl image copy --referrers`
//! and `skopeo copy`: whole processes, in turn, in one run, from a registry on loopback into another
//! one and into a layout.
//!
//! All lies in memory (`/dev/shm`) where there is such a place: it is not the disk that is measured.
//! Ours waits until a layout is on the disk, and the others (but skopeo) do not.
//!
//! `cargo bench -p sealpack-tests --bench copy [-- layers|referrers]`

#![expect(
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints what it found, and stops when it cannot"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use oci::store::{LayoutStore, RegistryClient, RegistryOptions};
use oci::{Descriptor, ImageManifest, Limits, MediaType, Selector, Store, Upload, walk};
use testkit::{Measured, Server, Workspace, binary, docker_registry, olareg, peer};

const TAG: &str = "bench";

/// What is copied.
#[derive(Clone, Copy)]
struct Image {
    name: &'static str,
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
    arguments: fn(&str, &Place) -> Vec<String>,
}

enum Place {
    /// `HOST/REPO:TAG`.
    Registry(String),
    Layout(PathBuf),
}

fn main() {
    // `cargo test --all-targets` runs benchmarks too, to see that they start.
    let is_full = std::env::args().any(|it| it == "--bench");
    let (rounds, layer_size, referrers) = if is_full {
        (7, 100_000_000, 100)
    } else {
        (1, 100_000, 3)
    };
    let images = [
        Image {
            name: "layers",
            layers: 10,
            layer_size,
            referrers: 0,
            registry: docker_registry,
        },
        Image {
            name: "referrers",
            layers: 1,
            layer_size: 1000,
            referrers,
            registry: olareg,
        },
    ];
    let names: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |image: &&Image| {
        let mut named = names.iter().filter(|it| !it.starts_with('-')).peekable();
        named.peek().is_none() || named.any(|it| it == image.name)
    };
    for image in images.iter().filter(chosen) {
        compare(*image, rounds);
    }
}

fn compare(image: Image, rounds: usize) {
    let memory = Path::new("/dev/shm");
    let workspace = if memory.is_dir() {
        Workspace::below(memory)
    } else {
        Workspace::new()
    };
    let Some(source) = (image.registry)(workspace.path()) else {
        return;
    };
    let from = format!("{}/source:{TAG}", source.host());
    let manifests = block_on(push(image, &from));
    println!(
        "{}: {} layers of {} bytes, {} referrers",
        image.name, image.layers, image.layer_size, image.referrers
    );
    for into in ["registry", "layout"] {
        let tools: Vec<Tool> = tools()
            .into_iter()
            .filter(|it| it.is_whole || image.referrers == 0)
            .collect();
        let mut results: BTreeMap<&str, Vec<Measured>> = BTreeMap::new();
        for round in 0..rounds {
            for tool in &tools {
                let folder = workspace.join("destination");
                fs_err::create_dir(&folder).unwrap();
                let server = (image.registry)(&folder).filter(|_| into == "registry");
                let place = match &server {
                    Some(server) => Place::Registry(format!("{}/copied:{TAG}", server.host())),
                    None => Place::Layout(folder.join("layout")),
                };
                let arguments = (tool.arguments)(&from, &place);
                let measure = env!("CARGO_BIN_EXE_measure");
                let measured = Measured::of(&workspace, measure, &tool.program, arguments);
                if round == 0 {
                    assert_eq!(block_on(count(&place)), manifests, "{}", tool.name);
                }
                results.entry(tool.name).or_default().push(measured);
                drop(server);
                fs_err::remove_dir_all(&folder).unwrap();
            }
        }
        print(into, &results);
    }
}

fn print(into: &str, results: &BTreeMap<&str, Vec<Measured>>) {
    let seconds: fn(&Measured) -> f64 = |it| it.took.as_secs_f64();
    let processor: fn(&Measured) -> f64 = |it| it.busy.as_secs_f64();
    for (name, all) in results {
        println!(
            "  registry -> {into}: {name:8} {:7.3} s, processor {:7.3} s, peak {:4.0} MiB",
            median(all, seconds),
            median(all, processor),
            median(all, |it| it.peak as f64 / f64::from(1 << 20))
        );
    }
    let ratio = |of: fn(&Measured) -> f64| {
        let others = results.iter().filter(|(name, _)| **name != "sealpack");
        let best = others
            .map(|(_, all)| median(all, of))
            .min_by(f64::total_cmp);
        best.map(|best| best / median(&results["sealpack"], of))
    };
    if let (Some(time), Some(busy)) = (ratio(seconds), ratio(processor)) {
        println!("  the best of the others / sealpack: time {time:.2}, processor {busy:.2}");
    }
}

fn median(all: &[Measured], of: fn(&Measured) -> f64) -> f64 {
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
        name: "sealpack",
        program: binary("sealpack"),
        is_whole: true,
        arguments: |from, to| {
            let to = match to {
                Place::Registry(to) => to.clone(),
                Place::Layout(path) => format!("oci:{}:{TAG}", path.display()),
            };
            words(&["copy", "--referrers", from, &to])
        },
    };
    let others = [
        peer("oras", true, |from, to| match to {
            Place::Registry(to) => words(&[
                "cp",
                "-r",
                "--no-tty",
                "--from-plain-http",
                "--to-plain-http",
                from,
                to,
            ]),
            Place::Layout(path) => words(&[
                "cp",
                "-r",
                "--no-tty",
                "--from-plain-http",
                "--to-oci-layout",
                from,
                &format!("{}:{TAG}", path.display()),
            ]),
        }),
        peer("regctl", true, |from, to| {
            let plain = |image: &str| {
                let host = image.split('/').next().unwrap_or_default();
                format!("reg={host},tls=disabled")
            };
            let mut arguments = words(&["--host", &plain(from)]);
            let to = match to {
                Place::Registry(to) => {
                    arguments.extend(words(&["--host", &plain(to)]));
                    to.clone()
                }
                Place::Layout(path) => format!("ocidir://{}:{TAG}", path.display()),
            };
            arguments.extend(words(&["image", "copy", "--referrers", from, &to]));
            arguments
        }),
        peer("skopeo", false, |from, to| {
            let to = match to {
                Place::Registry(to) => format!("docker://{to}"),
                Place::Layout(path) => format!("oci:{}:{TAG}", path.display()),
            };
            words(&[
                "--insecure-policy",
                "copy",
                "--src-tls-verify=false",
                "--dest-tls-verify=false",
                &format!("docker://{from}"),
                &to,
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

fn repository(image: &str) -> impl Store {
    let name = image.strip_suffix(&format!(":{TAG}")).unwrap();
    RegistryClient::new(RegistryOptions::default()).repository(&name.parse().unwrap())
}

/// How many manifests arrived.
async fn count(place: &Place) -> usize {
    let store: Box<dyn Store> = match place {
        Place::Registry(image) => Box::new(repository(image)),
        Place::Layout(path) => Box::new(LayoutStore::open(path).unwrap()),
    };
    let selector = Selector::Tag(TAG.parse().unwrap());
    let root = store.resolve(&selector).await.unwrap();
    let nodes = walk(&*store, &root, &Limits::default()).await.unwrap();
    assert!(nodes.iter().all(|it| it.problem.is_none()));
    nodes.len()
}

/// Makes the image, and returns how many manifests it has.
async fn push(image: Image, to: &str) -> usize {
    let store = repository(to);
    let mut noise = Noise(1);
    let mut layers = Vec::new();
    for _ in 0..image.layers {
        layers.push(push_blob(&store, noise.bytes(image.layer_size)).await);
    }
    let root = push_manifest(&store, layers, None).await;
    for _ in 0..image.referrers {
        let blob = push_blob(&store, noise.bytes(1000)).await;
        push_manifest(&store, vec![blob], Some(&root)).await;
    }
    let tag = TAG.parse().unwrap();
    store.tag(&root, &tag).await.unwrap();
    1 + image.referrers
}

async fn push_blob(store: &impl Store, content: Bytes) -> Descriptor {
    let target = Descriptor::of(MediaType::LAYER_TAR, &content);
    let upload = Upload::Bytes(content);
    store.push_blob(&target, upload).await.unwrap();
    target
}

async fn push_manifest(
    store: &impl Store,
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
