//! How long a builder of 1.3 GB takes to be ready: the whole first `sealpack build` in it, next to
//! `buildah pull` and `podman pull`, which only put it into their stores; then the same build again, and
//! the time until its root is there. Whole processes, in turn, from one registry on loopback, each time
//! into new folders; what counts are the ratios.
//!
//! All lies in memory (`/dev/shm`) where there is such a place: it is not the disk that is measured.
//!
//! `cargo bench -p sealpack-tests --bench unpack [-- write]`; `write` writes the table of
//! `docs/benchmarks.md`.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints what it found, and stops when it cannot"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lifecycle_core::exec::Cancel;
use oci::store::{RegistryClient, RegistryOptions};
use oci::{Image, Limits, Platform, Selector, Store};
use platform::rootfs::RootStore;
use platform::sandbox::{
    Config, ImageRoot, Isolation, Network, Root, RootFiles, Sandbox, User, UserMap,
};
use testkit::{
    BuilderImage, LayerFiles, Measured, Output, Server, Workspace, binary, docker_registry, peer,
    repository,
};

/// Who builds in the builder.
const BUILDER: User = User {
    uid: 1001,
    gid: 1000,
};
/// What a container engine needs on a machine without systemd and bridges.
const SETTINGS: &str = "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n";
const INSECURE: &str = "unqualified-search-registries = []\n";

/// How large the builder is.
#[derive(Clone, Copy)]
struct Size {
    layers: usize,
    files: usize,
    bytes: usize,
    rounds: usize,
}

fn main() {
    // `cargo test --all-targets` runs benchmarks too, to see that they start.
    let is_full = std::env::args().any(|it| it == "--bench");
    let size = if is_full {
        Size {
            layers: 4,
            files: 10_000,
            bytes: 32 << 10,
            rounds: 3,
        }
    } else {
        Size {
            layers: 2,
            files: 10,
            bytes: 1000,
            rounds: 1,
        }
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(table) = runtime.block_on(run(size)) else {
        return;
    };
    print!("{table}");
    if std::env::args().any(|it| it == "write") {
        write(&table);
    }
}

/// The rows of the table.
async fn run(size: Size) -> Option<String> {
    let workspace = Workspace::in_memory();
    let server = docker_registry(workspace.path())?;
    let builder = builder(size).write(&workspace.join("builder")).await?;
    let name = format!("{}/builder:1", server.host());
    let copy = ["copy", "oci:builder:latest", &name];
    Output::of(&mut workspace.sealpack(copy)).expect(0);
    fs_err::remove_dir_all(workspace.join("builder")).unwrap();
    workspace.write("app/hello.txt", "hello\n");
    workspace.write("containers.conf", SETTINGS);
    workspace.write("registries.conf", INSECURE);
    let peers: Vec<(&str, PathBuf)> = ["buildah", "podman"]
        .into_iter()
        .filter_map(|name| Some((name, peer(name)?)))
        .collect();
    let mut taken: Vec<(String, Vec<Measured>)> = Vec::new();
    let mut note =
        |name: &str, measured: Measured| match taken.iter_mut().find(|(it, _)| it == name) {
            Some((_, all)) => all.push(measured),
            None => taken.push((name.to_owned(), vec![measured])),
        };
    let mut roots = Vec::new();
    for _ in 0..size.rounds {
        for what in ["first build", "the same build again"] {
            note(what, build(&workspace, &name));
        }
        roots.push(root(&workspace, &server, &builder.digest).await?);
        fs_err::remove_dir_all(workspace.join("roots")).unwrap();
        for (name_of_peer, program) in &peers {
            note(name_of_peer, pull(&workspace, program, &name));
        }
    }
    Some(table(&taken, &mut roots))
}

/// A builder whose large layers hold files half of which compress.
fn builder(size: Size) -> BuilderImage {
    let mut builder = BuilderImage::new().build("touch built\n");
    let mut state = 88_172_645_463_325_252_u64;
    for layer in 0..size.layers {
        let mut files = LayerFiles::new()
            .folder("opt")
            .folder(&format!("opt/{layer}"));
        for file in 0..size.files {
            if file % 100 == 0 {
                files = files.folder(&format!("opt/{layer}/{}", file / 100));
            }
            let mut content = vec![b'a'; size.bytes];
            // By Marsaglia's xorshift, so that it is the same each time.
            for word in content.chunks_exact_mut(8).step_by(2) {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                word.copy_from_slice(&state.to_le_bytes());
            }
            files = files.file(&format!("opt/{layer}/{}/{file}", file / 100), content);
        }
        builder = builder.layer(files);
    }
    builder
}

/// The whole of `sealpack build`, but for signing.
fn build(workspace: &Workspace, builder: &str) -> Measured {
    let roots = workspace.join("roots");
    let roots = roots.to_str().unwrap();
    let out = workspace.join("out");
    let arguments = [
        "build",
        "app",
        "--builder",
        builder,
        "--unsigned",
        "--no-cache",
        "--root-store",
        roots,
        "--tag",
        "oci:out:1",
    ];
    let measured = Measured::of(workspace, MEASURE, &binary("sealpack"), arguments);
    fs_err::remove_dir_all(out).unwrap();
    measured
}

const MEASURE: &str = env!("CARGO_BIN_EXE_measure");

/// How long it takes until the root of a builder is there whose layers are: from its manifest in the
/// registry to a process in it that says so.
async fn root(workspace: &Workspace, server: &Server, digest: &oci::Digest) -> Option<Duration> {
    let enter = vec![binary("sealpack").into(), "__sandbox".into()];
    let cancel = Cancel::default();
    let (map, _) = UserMap::choose(BUILDER, &enter, &cancel).ok()?;
    let client = RegistryClient::new(RegistryOptions::default());
    let reference = format!("{}/builder:1", server.host());
    let reference: oci::Reference = reference.parse().unwrap();
    let oci::Location::Registry(repository) = reference.location else {
        return None;
    };
    let registry: Arc<dyn Store> = Arc::new(client.repository(&repository));
    let begun = Instant::now();
    let selector = Selector::Digest(digest.clone());
    let target = registry.resolve(&selector).await.unwrap();
    let (platform, limits) = (Platform::host(), Limits::default());
    let image = Image::read(&*registry, &target, &platform, &limits);
    let store = RootStore {
        folder: workspace.join("roots"),
        enter: enter.clone(),
        cancel: cancel.clone(),
    };
    let layers = store.unpack(&image.await.unwrap(), &registry, &map).await;
    let layers = layers.unwrap();
    assert_eq!(layers.unpacked, 0, "all of it was there");
    let sandbox = Sandbox::new(Config {
        enter,
        root: Root::Image(ImageRoot {
            files: RootFiles::Layers(layers.folders.clone()),
            map,
            user: BUILDER,
            as_root: false,
            sides: false,
        }),
        mounts: Vec::new(),
        needs_mounts: false,
        hidden: Vec::new(),
        interpreter: None,
        network: Network::None,
        isolation: Isolation::Required,
        cancel,
    });
    let took = begun.elapsed();
    match sandbox {
        Ok(_) => Some(took),
        Err(error) => {
            println!("SKIPPED: this machine has no such sandbox: {error}");
            None
        }
    }
}

/// What the engine `program` takes to put the image into a new store of its own.
fn pull(workspace: &Workspace, program: &Path, image: &str) -> Measured {
    let folder = workspace.join("engine");
    fs_err::create_dir(&folder).unwrap();
    let path = |name: &str| folder.join(name).display().to_string();
    let (root, run) = (path("root"), path("run"));
    let store = [
        "--storage-driver",
        "overlay",
        "--root",
        &root,
        "--runroot",
        &run,
    ];
    let settings = |name: &str| workspace.join(name).display().to_string();
    let containers = format!("CONTAINERS_CONF={}", settings("containers.conf"));
    let registries = format!("CONTAINERS_REGISTRIES_CONF={}", settings("registries.conf"));
    let program_name = program.display().to_string();
    let mut arguments = vec![containers.as_str(), &registries, &program_name];
    arguments.extend(store);
    arguments.extend(["pull", "--quiet", "--tls-verify=false", image]);
    let measured = Measured::of(workspace, MEASURE, Path::new("/usr/bin/env"), &arguments);
    // It leaves its store mounted on itself.
    for mounted in ["root/overlay", "root"] {
        nix::mount::umount(&folder.join(mounted)).unwrap_or_default();
    }
    fs_err::remove_dir_all(&folder).unwrap();
    measured
}

fn median(all: &mut [Duration]) -> Duration {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn table(taken: &[(String, Vec<Measured>)], roots: &mut [Duration]) -> String {
    let took = |all: &[Measured]| {
        let mut all: Vec<_> = all.iter().map(|it| it.took).collect();
        median(&mut all).as_secs_f64()
    };
    let first = taken.first().map_or(0.0, |(_, all)| took(all));
    let mut text = "| 1.3 GB in 40,000 files | s | of `buildah pull` | memory, MiB |\n\
                    |---|---|---|---|\n"
        .to_owned();
    let buildah = taken.iter().find(|(name, _)| name == "buildah");
    let buildah = buildah.map(|(_, all)| took(all));
    for (name, all) in taken {
        let what = match name.as_str() {
            "buildah" | "podman" => format!("`{name} pull`, into a new store"),
            _ => format!("`sealpack build`, {name}"),
        };
        let share = buildah.map_or("–".to_owned(), |it| format!("{:.2}", took(all) / it));
        let peak = all.iter().map(|it| it.peak).max().unwrap_or_default() >> 20;
        writeln!(text, "| {what} | {:.3} | {share} | {peak} |", took(all)).unwrap();
    }
    let root = median(roots).as_secs_f64();
    writeln!(
        text,
        "| the root alone, of layers that are there | {root:.3} | | |"
    )
    .unwrap();
    if let Some(buildah) = buildah {
        println!("first build: {:.2} of `buildah pull`", first / buildah);
    }
    text
}

/// Puts the table into the page.
fn write(table: &str) {
    const MARK: &str = "<!-- written by the benchmark of unpacking -->\n";
    let path = repository().join("docs/benchmarks.md");
    let page = fs_err::read_to_string(&path).unwrap();
    let (before, after) = page.split_once(MARK).unwrap();
    let end = after.find("\n\n").map_or(after.len(), |it| it + 1);
    let rest = after.get(end..).unwrap_or_default();
    fs_err::write(&path, format!("{before}{MARK}{table}{rest}")).unwrap();
}
