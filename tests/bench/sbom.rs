//! How long it takes to find what is in an image, next to syft: whole processes, in turn, in one run,
//! on images in layouts. What counts is processor time, of which both need the most, and the most
//! memory at once. Ours only finds; what a document costs is little beside it.
//!
//! The images are what a machine has: a Debian root by `debootstrap`, the programs in Go that are
//! peers in our tests, many small files of npm.
//!
//! `cargo bench -p sealpack-tests --bench sbom [-- debian|go|node|many]`; `many` is an image of a
//! million files, for the memory that ours takes, and only run when it is named.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints what it found, and stops when it cannot"
)]

use std::path::Path;
use std::process::Command;

use oci::view::{ViewLimits, view_image};
use oci::{Image, LayoutStore, Limits, Platform, Store as _};
use sbom::find::{Finders, find};
use testkit::{LayerFiles, Measured, Workspace, peer, write_image};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Ours is a process too.
    if let [run, layout] = &arguments[..]
        && run == "--run"
    {
        println!("{}", block_on(count(Path::new(layout))));
        return;
    }
    // `cargo test --all-targets` runs benchmarks too, to see that they start.
    let is_full = arguments.iter().any(|it| it == "--bench");
    let names: Vec<&String> = arguments.iter().filter(|it| !it.starts_with('-')).collect();
    let is_named = |name: &str| names.iter().any(|it| *it == name);
    let rounds = if is_full { 5 } else { 1 };
    let workspace = Workspace::in_memory();
    for (name, make) in [
        (
            "node",
            (|_| Some(node())) as fn(&Workspace) -> Option<LayerFiles>,
        ),
        ("go", |_| Some(go())),
        ("debian", debian),
        ("many", |_| Some(many())),
    ] {
        let is_wanted = match name {
            "many" => is_named(name),
            "node" => names.is_empty() || is_named(name),
            _ => is_full && (names.is_empty() || is_named(name)),
        };
        if is_wanted && let Some(files) = make(&workspace) {
            let folder = workspace.join(format!("layout-{name}"));
            block_on(write_image(&folder, &[files]));
            compare(
                &workspace,
                name,
                &folder,
                if name == "many" { 1 } else { rounds },
            );
        }
    }
}

fn compare(workspace: &Workspace, name: &str, layout: &Path, rounds: usize) {
    let measure = env!("CARGO_BIN_EXE_measure");
    let ours = std::env::current_exe().unwrap();
    let syft = if name == "many" { None } else { peer("syft") };
    let mut results = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let arguments = ["--run".to_owned(), layout.display().to_string()];
        results[0].push(Measured::of(workspace, measure, &ours, arguments));
        if let Some(syft) = &syft {
            let source = format!("oci-dir:{}", layout.display());
            let arguments = ["scan", "-q", &source, "-o", "syft-json=syft.json"];
            results[1].push(Measured::of(workspace, measure, syft, arguments));
        }
    }
    let [ours, theirs] = results.map(|all| {
        let of = |value: fn(&Measured) -> f64| median(all.iter().map(value));
        let mebibytes = |it: &Measured| f64::from(u32::try_from(it.peak >> 20).unwrap());
        (
            of(|it| it.busy.as_secs_f64()),
            of(|it| it.took.as_secs_f64()),
            of(mebibytes),
        )
    });
    println!(
        "{name}: processor {:.2} s, time {:.2} s, peak {:.0} MiB; syft {:.2} s, {:.2} s, {:.0} MiB; processor {:.1} times less",
        ours.0,
        ours.1,
        ours.2,
        theirs.0,
        theirs.1,
        theirs.2,
        theirs.0 / ours.0
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

async fn count(layout: &Path) -> usize {
    let store = LayoutStore::open(layout).unwrap();
    let target = store.only().await.unwrap();
    let platform = Platform {
        architecture: "amd64".into(),
        os: "linux".into(),
        ..Platform::host()
    };
    let limits = Limits::default();
    let image = Image::read(&store, &target, &platform, &limits);
    let image = image.await.unwrap();
    let viewed = view_image(&store, &image, Finders::default(), ViewLimits::default());
    let (view, _) = viewed.await.unwrap();
    find(&view).components.len()
}

fn debian(workspace: &Workspace) -> Option<LayerFiles> {
    let debootstrap = peer("debootstrap")?;
    let root = workspace.join("debian");
    let mut command = Command::new(debootstrap);
    command.args(["--variant=minbase", "bookworm"]).arg(&root);
    let made = command.output().is_ok_and(|it| it.status.success());
    if !made {
        println!("debian: `debootstrap` makes no root here");
        return None;
    }
    fs_err::remove_dir_all(root.join("dev")).unwrap();
    Some(LayerFiles::new().tree("", &root))
}

fn go() -> LayerFiles {
    let programs = ["crane", "oras", "olareg"].into_iter().filter_map(peer);
    programs.fold(LayerFiles::new(), |files, path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        files.tree(&format!("usr/bin/{name}"), &path)
    })
}

fn node() -> LayerFiles {
    let mut files = LayerFiles::new();
    for number in 0..1000 {
        let folder = format!("app/node_modules/package-{number}");
        let manifest = format!(
            r#"{{"name":"package-{number}","version":"1.0.{number}","license":"MIT","dependencies":{{"package-{}":"1"}}}}"#,
            number / 2
        );
        files = files.file(&format!("{folder}/package.json"), manifest);
        for file in 0..10 {
            let script = format!("module.exports = {number} + {file};\n").repeat(40);
            files = files.file(&format!("{folder}/lib/{file}.js"), script);
        }
    }
    files
}

fn many() -> LayerFiles {
    let mut files = LayerFiles::new();
    for number in 0..1_000_000 {
        files = files.file(&format!("srv/data/{}/{number}", number / 1000), "x");
    }
    files
}

fn block_on<T>(task: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(task)
}
