//! How long the phases of the lifecycle take that move bytes, and a start by the launcher, next to
//! upstream's programs: whole processes, in turn, in one run, with a registry on loopback. Beside the
//! restorers, GNU tar extracts the same layers.
//!
//! What is exported are ten layers of 65,000 files and 1 GB together, half of which compresses. The
//! folders lie in memory (`/dev/shm`) or on disk; the registry's always on disk.
//!
//! `cargo bench -p sealpack-tests --bench lifecycle [-- memory|disk] [write]`; with `write` the tables
//! replace those of `docs/benchmarks.md`.

#![expect(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark measures time, prints what it found, and stops when it cannot"
)]

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use testkit::{
    LayerFiles, Measured, Output, Server, Workspace, binary, docker_registry, peer, repository,
    write_image_with,
};

const API: &str = "0.13";
const LAYERS: usize = 10;
/// The programs, in the order of the results.
const NAMES: [&str; 2] = ["sealpack", "upstream"];

/// How much of it there is.
#[derive(Clone, Copy)]
struct Size {
    files: usize,
    /// Of one file, in bytes.
    file: usize,
    rounds: usize,
    starts: usize,
}

impl Size {
    const FULL: Self = Self {
        files: 65_000,
        file: 16_000,
        rounds: 3,
        starts: 100,
    };
    /// To see that it runs.
    const SMALL: Self = Self {
        files: 50,
        file: 500,
        rounds: 1,
        starts: 2,
    };
}

/// What both programs took for the same work.
struct Row {
    what: &'static str,
    took: [Vec<Duration>; 2],
    peak: [u64; 2],
}

/// What the restored layers took another program.
#[derive(Default)]
struct Extracted {
    took: Vec<Duration>,
    peak: u64,
}

/// What is restored, of the rows.
const RESTORE: &str = "restore from a cache folder";

/// One implementation, and what it made so far.
struct Side {
    /// With links named for the phases.
    programs: PathBuf,
    /// Its own layers: a phase changes them.
    layers: PathBuf,
    cache: PathBuf,
}

struct Scene {
    workspace: Workspace,
    registry: Server,
    size: Size,
    sides: [Side; 2],
    app: PathBuf,
    launcher: PathBuf,
}

fn main() {
    // `cargo test --all-targets` runs benchmarks too, to see that they start.
    let words: Vec<String> = std::env::args().skip(1).collect();
    let has = |word: &str| words.iter().any(|it| it == word);
    let size = if has("--bench") {
        Size::FULL
    } else {
        Size::SMALL
    };
    let all = !has("memory") && !has("disk");
    let mut text = String::new();
    for (place, said, chosen) in [
        ("memory", "in memory", all || has("memory")),
        ("disk", "on disk", all || has("disk")),
    ] {
        if !chosen || size.rounds == 1 && place == "disk" {
            continue;
        }
        let workspace = if place == "memory" {
            Workspace::in_memory()
        } else {
            Workspace::new()
        };
        let disk = Workspace::new();
        let Some(scene) = Scene::set(workspace, &disk, size) else {
            return;
        };
        let (rows, extracted) = scene.measure();
        let table = table(said, &rows, &extracted);
        println!("{table}");
        text.push_str(&table);
        if place == "memory" || !all {
            let starts = scene.starts();
            println!("{starts}");
            text.push_str(&starts);
        }
    }
    if has("write") {
        let path = repository().join("docs/benchmarks.md");
        let old = fs::read_to_string(&path).unwrap();
        let (head, _) = old.split_once(MARK).unwrap();
        fs::write(&path, format!("{head}{MARK}\n{text}")).unwrap();
    }
}

/// Where the tables begin in `docs/benchmarks.md`.
const MARK: &str = "<!-- written by the benchmark -->\n";

impl Scene {
    fn set(workspace: Workspace, disk: &Workspace, size: Size) -> Option<Self> {
        let (lifecycle, launcher) = (peer("upstream-lifecycle")?, peer("upstream-launcher")?);
        let registry = docker_registry(disk.path())?;
        let sides = [binary("lifecycle"), lifecycle].map(|program| {
            let name = if program == binary("lifecycle") {
                "ours"
            } else {
                "theirs"
            };
            let at = |it: &str| workspace.join(format!("{name}/{it}"));
            let side = Side {
                programs: at("bin"),
                layers: at("layers"),
                cache: at("cache"),
            };
            for folder in [&side.programs, &side.layers, &side.cache] {
                fs::create_dir_all(folder).unwrap();
            }
            for phase in ["analyzer", "restorer", "exporter", "rebaser"] {
                symlink(&program, side.programs.join(phase)).unwrap();
            }
            side
        });
        workspace.write("app/hello", "an app");
        for kind in ["cdx", "spdx", "syft"] {
            workspace.write(format!("sboms/launcher.sbom.{kind}.json"), "{}");
        }
        let scene = Self {
            app: workspace.join("app"),
            workspace,
            registry,
            size,
            sides,
            launcher,
        };
        for side in &scene.sides {
            scene.fill(side);
        }
        for name in ["run", "newer"] {
            scene.push_run_image(name);
        }
        Some(scene)
    }

    /// What buildpacks would have left.
    fn fill(&self, side: &Side) {
        let group = "[[group]]\nid = \"bench/bp\"\nversion = \"1.0.0\"\napi = \"0.11\"\n";
        let at = |path: &str| side.layers.join(path);
        fs::create_dir_all(at("config")).unwrap();
        fs::write(at("group.toml"), group).unwrap();
        let metadata = "[[buildpacks]]\nid = \"bench/bp\"\nversion = \"1.0.0\"\napi = \"0.11\"\n\
                        [[processes]]\ntype = \"web\"\ncommand = [\"/bin/true\"]\n\
                        buildpack-id = \"bench/bp\"\n";
        fs::write(at("config/metadata.toml"), metadata).unwrap();
        let mut noise = Noise(1);
        for layer in 0..LAYERS {
            let folder = at(&format!("bench_bp/layer-{layer}"));
            let types = "[types]\nlaunch = true\ncache = true\n";
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.with_extension("toml"), types).unwrap();
            for file in 0..self.size.files / LAYERS {
                let below = folder.join(format!("folder-{}", file / 100));
                if file % 100 == 0 {
                    fs::create_dir(&below).unwrap();
                }
                fs::write(
                    below.join(format!("file-{file}")),
                    noise.file(self.size.file),
                )
                .unwrap();
            }
        }
    }

    fn push_run_image(&self, name: &str) {
        let layout = self.workspace.join(name);
        let files = LayerFiles::new().folder("etc").file("etc/name", name);
        let config = |_: &[oci::DiffId]| json!({});
        let files = [files];
        let written = write_image_with(&layout, &files, config);
        tokio::runtime::Runtime::new().unwrap().block_on(written);
        let (source, target) = (format!("oci:{}:latest", layout.display()), self.image(name));
        Output::of(&mut self.workspace.sealpack(["copy", &source, &target])).expect(0);
    }

    fn image(&self, name: &str) -> String {
        format!("{}/{name}:latest", self.registry.host())
    }

    /// Runs a phase of one side.
    fn run(&self, side: &Side, phase: &str, arguments: &[&str]) -> Measured {
        let layers = side.layers.display().to_string();
        let program = side.programs.join(phase).display().to_string();
        let mut words = vec![
            "-i",
            "PATH=/usr/bin:/bin",
            "CNB_USER_ID=0",
            "CNB_GROUP_ID=0",
        ];
        let (api, home) = (
            format!("CNB_PLATFORM_API={API}"),
            format!("HOME={}", self.workspace.path().display()),
        );
        let temporary = format!("TMPDIR={}", self.workspace.path().display());
        words.extend([&*api, &*home, &*temporary, &*program]);
        if phase != "rebaser" {
            words.extend(["-layers", &layers]);
        }
        words.extend(arguments);
        let measure = env!("CARGO_BIN_EXE_measure");
        Measured::of(&self.workspace, measure, Path::new("/usr/bin/env"), words)
    }

    fn analyze(&self, side: &Side, image: &str) -> Measured {
        let run = self.image("run");
        self.run(side, "analyzer", &["-run-image", &run, image])
    }

    fn export(&self, side: &Side, image: &str, has_cache: bool) -> Measured {
        let (app, launcher) = (
            self.app.display().to_string(),
            self.launcher.display().to_string(),
        );
        let (cache, sboms) = (
            side.cache.display().to_string(),
            self.workspace.join("sboms").display().to_string(),
        );
        let mut words = vec![
            "-app",
            &app,
            "-launcher",
            &launcher,
            "-launcher-sbom",
            &sboms,
        ];
        if has_cache {
            words.extend(["-cache-dir", &cache]);
        }
        words.push(image);
        self.run(side, "exporter", &words)
    }

    /// Restores all layers from the cache into an empty folder.
    fn restore(&self, side: &Side) -> Measured {
        let kept = side.layers.with_extension("kept");
        fs::rename(&side.layers, &kept).unwrap();
        fs::create_dir(&side.layers).unwrap();
        for name in ["group.toml", "analyzed.toml"] {
            fs::copy(kept.join(name), side.layers.join(name)).unwrap();
        }
        let cache = side.cache.display().to_string();
        let measured = self.run(side, "restorer", &["-cache-dir", &cache]);
        let restored = side.layers.join("bench_bp/layer-0/folder-0/file-0");
        assert!(restored.is_file(), "nothing was restored");
        fs::remove_dir_all(&side.layers).unwrap();
        fs::rename(&kept, &side.layers).unwrap();
        measured
    }

    /// Extracts all layers of the cache into an empty folder, one after the other, by `tar -x`.
    fn extract(&self) -> Measured {
        let cache = self.sides[0].cache.join("committed").display().to_string();
        let target = self.workspace.join("extracted");
        fs::create_dir(&target).unwrap();
        let shown = target.display().to_string();
        let script =
            "for it in \"$0\"/*.tar; do tar -xf \"$it\" -C \"$1\" 2>/dev/null || exit 1; done";
        let measure = env!("CARGO_BIN_EXE_measure");
        let words = ["-c", script, &cache, &shown];
        let measured = Measured::of(&self.workspace, measure, Path::new("/bin/sh"), words);
        // Names in layers are absolute.
        let layer = self.sides[0]
            .layers
            .join("bench_bp/layer-0/folder-0/file-0");
        let layer = target.join(layer.strip_prefix("/").unwrap());
        assert!(layer.is_file(), "nothing was extracted");
        fs::remove_dir_all(&target).unwrap();
        measured
    }

    fn measure(&self) -> (Vec<Row>, Extracted) {
        const WHAT: [&str; 7] = [
            "analyze, an image with ten layers",
            "export, all layers new",
            "export, nothing changed",
            "export, all layers new, with a cache folder",
            "export, nothing changed, with a cache folder",
            RESTORE,
            "rebase",
        ];
        let mut rows = WHAT.map(|what| Row {
            what,
            took: [Vec::new(), Vec::new()],
            peak: [0; 2],
        });
        let mut extracted = Extracted::default();
        for round in 0..self.size.rounds {
            for (index, side) in self.sides.iter().enumerate() {
                let name = |kind: &str| self.image(&format!("{}-{kind}-{round}", NAMES[index]));
                let (plain, cached) = (name("plain"), name("cached"));
                self.analyze(side, &plain);
                let new = self.export(side, &plain, false);
                let analyzed = self.analyze(side, &plain);
                let same = self.export(side, &plain, false);
                self.analyze(side, &cached);
                fs::remove_dir_all(&side.cache).unwrap();
                fs::create_dir(&side.cache).unwrap();
                let new_cached = self.export(side, &cached, true);
                self.analyze(side, &cached);
                let same_cached = self.export(side, &cached, true);
                let restored = self.restore(side);
                let newer = self.image("newer");
                let rebased = self.run(side, "rebaser", &["-force", "-run-image", &newer, &plain]);
                let all = [
                    analyzed,
                    new,
                    same,
                    new_cached,
                    same_cached,
                    restored,
                    rebased,
                ];
                for (row, measured) in rows.iter_mut().zip(all) {
                    row.took[index].push(measured.took);
                    row.peak[index] = row.peak[index].max(measured.peak);
                }
            }
            let measured = self.extract();
            extracted.took.push(measured.took);
            extracted.peak = extracted.peak.max(measured.peak);
        }
        (rows.into(), extracted)
    }

    /// How long a command takes by each launcher, and alone.
    fn starts(&self) -> String {
        let launchers = [binary("launcher"), self.launcher.clone()];
        let layers = &self.sides[0].layers;
        let started = |program: &Path, arguments: &[&str]| {
            let mut command = Command::new(program);
            command
                .args(arguments)
                .env("CNB_PLATFORM_API", API)
                .env("CNB_LAYERS_DIR", layers)
                .env("CNB_APP_DIR", &self.app)
                .stdout(Stdio::null());
            let start = Instant::now();
            assert!(command.status().unwrap().success(), "{command:?}");
            start.elapsed()
        };
        // By the shell there are two more programs to start, for the launcher of either.
        let ways: [(&str, &[&str]); 2] = [
            ("directly", &["--", "/bin/true"]),
            ("by the shell", &["/bin/true"]),
        ];
        let mut text = String::from("| start of `/bin/true` | ms |\n|---|---|\n");
        for (way, arguments) in ways {
            let mut took = [Vec::new(), Vec::new(), Vec::new()];
            for _ in 0..self.size.starts {
                for (index, launcher) in launchers.iter().enumerate() {
                    took[index].push(started(launcher, arguments));
                }
                took[2].push(started(Path::new("/bin/true"), &[]));
            }
            let [ours, theirs, alone] = took.map(|it| median(&it));
            for (what, time) in [
                ("alone", alone),
                ("by our launcher", ours),
                ("by upstream's launcher", theirs),
            ] {
                let time = time.as_secs_f64() * 1000.0;
                writeln!(text, "| {way}, {what} | {time:.2} |").unwrap();
            }
        }
        text.push('\n');
        text
    }
}

fn table(place: &str, rows: &[Row], extracted: &Extracted) -> String {
    let mut text = format!(
        "| folders {place} | sealpack | upstream | times as fast | memory, MiB |\n\
         |---|---|---|---|---|\n"
    );
    for Row { what, took, peak } in rows {
        let [ours, theirs] = [&took[0], &took[1]].map(|it| median(it).as_secs_f64());
        let [our_peak, their_peak] = peak.map(|it| it >> 20);
        writeln!(
            text,
            "| {what} | {ours:.3} s | {theirs:.3} s | {:.1} | {our_peak}, {their_peak} |",
            theirs / ours
        )
        .unwrap();
    }
    let restored = rows.iter().find(|it| it.what == RESTORE).unwrap();
    let [ours, theirs] = [0, 1].map(|it| (&restored.took[it], restored.peak[it]));
    writeln!(
        text,
        "\n| the layers of the cache, folders {place} | s | memory, MiB |\n|---|---|---|"
    )
    .unwrap();
    for (what, (took, peak)) in [
        ("restore, sealpack", ours),
        ("restore, upstream", theirs),
        (
            "`tar -x`, one after the other",
            (&extracted.took, extracted.peak),
        ),
    ] {
        let took = median(took).as_secs_f64();
        writeln!(text, "| {what} | {took:.3} | {} |", peak >> 20).unwrap();
    }
    text.push('\n');
    text
}

fn median(values: &[Duration]) -> Duration {
    let mut sorted = values.to_vec();
    sorted.sort();
    sorted[sorted.len() / 2]
}

/// Bytes that look random and are always the same.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        // Marsaglia's xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// The content of a file: one half repeats itself, the other does not.
    fn file(&mut self, size: usize) -> Vec<u8> {
        let mut content = Vec::with_capacity(size + 16);
        while content.len() < size {
            content.extend(self.next().to_le_bytes());
            content.extend(b"the same");
        }
        content.truncate(size);
        content
    }
}
