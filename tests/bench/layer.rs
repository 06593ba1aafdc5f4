//! How long layers take, next to Go's own packages (`layer.go`): whole processes, in turn, in one
//! run. Both must make the same bytes.
//!
//! - `gzip`: a file compressed as Go does at level 1, on one core.
//! - `layer`: a folder to tar, diff ID, gzip and digest, on all cores.
//!
//! The inputs are what a machine with Go has: its sources, its programs; and small files and noise.
//!
//! `cargo bench -p sealpack-tests --bench layer`

#![expect(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints what it found, and stops when it cannot"
)]

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use go::gzip;
use oci::layer::{self, Compression, Sink};
use oci::tar::{Entry, EntryKind, TarError, Writer};
use testkit::{Measured, Workspace, peer, repository};

/// The processor that is used where one is.
const CORE: &str = "0";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Ours is a process too.
    if let [run, what, from, to] = &arguments[..]
        && run == "--run"
    {
        match what.as_str() {
            "gzip" => compress(Path::new(from), Path::new(to)),
            _ => build(Path::new(from), Path::new(to)),
        }
        return;
    }
    let (Some(go), Some(taskset)) = (peer("go"), peer("taskset")) else {
        return;
    };
    // `cargo test --all-targets` runs benchmarks too, to see that they start.
    let (rounds, most) = if arguments.iter().any(|it| it == "--bench") {
        (7, 96_000_000)
    } else {
        (1, 300_000)
    };
    let workspace = Workspace::in_memory();
    let theirs = build_theirs(&go, &workspace);
    make_inputs(&go, &workspace, most);
    println!("Go / sealpack, medians of {rounds}");
    for input in ["source", "programs", "small-files", "noise"] {
        let folder = workspace.join(input);
        let tar = workspace.join("input.tar");
        let fill = |tar: &mut Writer<Sink>| add(tar, &folder, Path::new("/layer"));
        let size = layer::write(&tar, Compression::None, fill)
            .unwrap()
            .uncompressed_size;
        println!("{input}, {:.1} MB", megabytes(size));
        let one_core = ["-c", CORE].map(OsString::from);
        let contest = Contest {
            workspace: &workspace,
            theirs: &theirs,
            rounds,
            size,
        };
        contest.run("gzip", &tar, Some((&taskset, &one_core)));
        contest.run("layer", &folder, None);
    }
}

/// Ours and theirs, doing the same.
struct Contest<'a> {
    workspace: &'a Workspace,
    theirs: &'a Path,
    rounds: usize,
    size: u64,
}

impl Contest<'_> {
    fn run(&self, what: &str, input: &Path, below: Option<(&Path, &[OsString])>) {
        let ours = std::env::current_exe().unwrap();
        let mut results = [Vec::new(), Vec::new()];
        let outputs = ["ours", "theirs"].map(|it| self.workspace.join(it));
        for _ in 0..self.rounds {
            for (index, program) in [ours.as_path(), self.theirs].into_iter().enumerate() {
                let mut words: Vec<OsString> = vec![program.into()];
                if index == 0 {
                    words.push("--run".into());
                }
                words.extend([what.into(), input.into(), outputs[index].clone().into()]);
                if let Some((wrapper, arguments)) = below {
                    words.splice(0..0, arguments.iter().cloned());
                    words.insert(0, wrapper.into());
                }
                let measure = env!("CARGO_BIN_EXE_measure");
                let program = PathBuf::from(words.remove(0));
                results[index].push(Measured::of(self.workspace, measure, &program, words));
            }
            let [ours, theirs] = outputs.each_ref().map(|it| fs_err::read(it).unwrap());
            assert!(ours == theirs, "{what}: the bytes differ");
            if what == "layer" {
                let told = |output: &PathBuf| fs_err::read_to_string(output.with_extension("txt"));
                assert_eq!(told(&outputs[0]).unwrap(), told(&outputs[1]).unwrap());
            }
        }
        let seconds: fn(&Measured) -> f64 = |it| it.took.as_secs_f64();
        let busy: fn(&Measured) -> f64 = |it| it.busy.as_secs_f64();
        let ratio = |of: fn(&Measured) -> f64| {
            let pairs = results[0].iter().zip(&results[1]);
            median(pairs.map(|(ours, theirs)| of(theirs) / of(ours)))
        };
        let speed = |all: &[Measured]| megabytes(self.size) / median(all.iter().map(seconds));
        println!(
            "  {what:5}: time {:.2}, processor {:.2}; {:.0} and {:.0} MB/s, peak {} and {} MiB",
            ratio(seconds),
            ratio(busy),
            speed(&results[1]),
            speed(&results[0]),
            results[1].iter().map(|it| it.peak >> 20).max().unwrap(),
            results[0].iter().map(|it| it.peak >> 20).max().unwrap(),
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Compresses a file.
fn compress(from: &Path, to: &Path) {
    let mut input = fs_err::File::open(from).unwrap();
    let mut output = fs_err::File::create(to).unwrap();
    let mut writer = gzip::GoGzipWriter::new(&mut output);
    let mut buffer = vec![0; 256 << 10];
    loop {
        match input.read(&mut buffer).unwrap() {
            0 => break,
            count => writer.write_all(&buffer[..count]).unwrap(),
        }
    }
    writer.finish().unwrap();
}

/// Makes the layer of a folder, and says beside it what it is.
fn build(folder: &Path, to: &Path) {
    let fill = |tar: &mut Writer<Sink>| add(tar, folder, Path::new("/layer"));
    let layer = layer::write(to, Compression::GoGzip, fill).unwrap();
    let text = format!("{} {}\n", layer.diff_id, layer.descriptor.digest);
    fs_err::write(to.with_extension("txt"), text).unwrap();
}

/// Adds a file, or a folder and all that is in it.
fn add(tar: &mut Writer<Sink>, path: &Path, name: &Path) -> Result<(), TarError> {
    let metadata = fs_err::symlink_metadata(path).unwrap();
    let entry = |kind| Entry {
        path: name.to_owned(),
        kind,
        mode: metadata.permissions().mode() & 0o7777,
        uid: 1000,
        gid: 1000,
        mtime: 315_532_801,
    };
    if !metadata.is_dir() {
        let size = metadata.len();
        let file = fs_err::File::open(path).unwrap();
        return tar.write(&entry(EntryKind::File { size }), file);
    }
    tar.write(&entry(EntryKind::Directory), io::empty())?;
    let mut names: Vec<OsString> = fs_err::read_dir(path)
        .unwrap()
        .map(|it| it.unwrap().file_name())
        .collect();
    names.sort();
    for below in names {
        add(tar, &path.join(&below), &name.join(&below))?;
    }
    Ok(())
}

fn build_theirs(go: &Path, workspace: &Workspace) -> PathBuf {
    let program = workspace.join("go-layer");
    let status = Command::new(go)
        .args(["build", "-o"])
        .arg(&program)
        .arg(repository().join("tests/bench/layer.go"))
        .status()
        .unwrap();
    assert!(status.success());
    program
}

/// Makes a folder of each kind, of at most so many bytes.
fn make_inputs(go: &Path, workspace: &Workspace, most: usize) {
    let output = Command::new(go).args(["env", "GOROOT"]).output().unwrap();
    let root = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end());
    let mut source = Vec::new();
    copy(
        &root.join("src/cmd"),
        &workspace.join("source"),
        most,
        &mut source,
    );

    let mut left = most;
    for program in [root.join("bin/go"), std::env::current_exe().unwrap()] {
        let mut content = fs_err::read(&program).unwrap();
        content.truncate(left);
        left -= content.len();
        let name = Path::new("programs").join(program.file_name().unwrap());
        workspace.write(name, content);
    }

    let mut noise = Noise(1);
    let mut rest = source.as_slice();
    for index in 0..10_000 {
        let size = noise.next().unwrap() % 2000;
        let Some((content, after)) = rest.split_at_checked(usize::try_from(size).unwrap()) else {
            break;
        };
        workspace.write(format!("small-files/{}/{index}", index / 100), content);
        rest = after;
    }
    let content: Vec<u8> = noise.take(most / 8).flat_map(u64::to_le_bytes).collect();
    workspace.write("noise/noise", content);
}

/// Copies the files of a folder, in the order of their names, until there are enough bytes. Adds
/// them to `all` too.
fn copy(from: &Path, to: &Path, most: usize, all: &mut Vec<u8>) {
    fs_err::create_dir_all(to).unwrap();
    let mut entries: Vec<_> = fs_err::read_dir(from)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    entries.sort_by_key(fs_err::DirEntry::file_name);
    for entry in entries {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target, most, all);
        } else {
            let mut content = fs_err::read(entry.path()).unwrap();
            content.truncate(most - all.len());
            if content.is_empty() {
                continue;
            }
            fs_err::write(&target, &content).unwrap();
            all.extend(content);
        }
    }
}

/// Numbers that do not repeat: Marsaglia's xorshift.
struct Noise(u64);

impl Iterator for Noise {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Some(self.0)
    }
}
