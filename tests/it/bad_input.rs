//! What goes wrong while a build runs: nothing is left behind, nothing grows without end, nothing is
//! half published.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::{FakeBuildpack, Output, Project};

use crate::build::{Killed, wait_for};
use crate::publish::{nothing_is_left, the_image_is_kept};

fn interrupt(child: &Child) {
    let kill = format!("kill -INT {}", child.id());
    Output::of(Command::new("sh").args(["-c", &kill])).expect(0);
}

/// Whether a process runs in whose command line `text` stands.
fn runs(text: &str) -> bool {
    fs_err::read_dir("/proc").unwrap().flatten().any(|it| {
        fs_err::read(it.path().join("cmdline"))
            .is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is interrupted must end promptly"
)]
fn ends_within(child: &mut Child, time: Duration) -> i32 {
    let start = Instant::now();
    while start.elapsed() < time {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it still runs after {time:?}");
}

#[test]
fn an_interrupted_build_leaves_nothing_behind() {
    // A number that no other test sleeps for names the process.
    let seconds = format!("9{}", std::process::id());
    let hang = format!("touch /workspace/began\nsleep {seconds} & sleep {seconds}");
    for hanging in [
        FakeBuildpack::new("test/hanging").build(&hang),
        FakeBuildpack::new("test/hanging").build(format!("trap '' INT TERM HUP\n{hang}")),
    ] {
        let project = Project::new(&[hanging]);
        let mut child = Killed(
            project
                .build_command(["--key", "test.key", "--tag", "oci:out:v1"])
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        );
        assert!(wait_for(project.workspace().path(), "began"));
        interrupt(&child.0);
        assert_eq!(ends_within(&mut child.0, Duration::from_secs(5)), 130);
        nothing_is_left(&project);
        assert!(!project.join("out").exists());
        // The kernel kills what is in the sandbox; that may take it a moment.
        std::thread::sleep(Duration::from_millis(200));
        assert!(!runs(&seconds));
    }
}

#[test]
fn a_build_that_waits_for_a_cache_can_be_interrupted() {
    let project = Project::new(&[FakeBuildpack::new("test/slow")
        .build("test ! -f slow || { touch /workspace/began; sleep 60; }")]);
    project.write("app/slow", "");
    let start = |output: &str| {
        let child = project
            .build_command(["--key", "test.key", "-v", "--output", output])
            .stderr(
                fs_err::File::create(project.join("said"))
                    .unwrap()
                    .into_parts()
                    .0,
            )
            .spawn();
        Killed(child.unwrap())
    };
    let mut first = start("oci:one:v1");
    assert!(wait_for(project.workspace().path(), "began"));
    let mut second = start("oci:two:v1");
    for _ in 0..200 {
        let said = fs_err::read_to_string(project.join("said")).unwrap();
        if said.contains("Waiting for another build") {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    interrupt(&second.0);
    assert_eq!(ends_within(&mut second.0, Duration::from_secs(7)), 130);
    interrupt(&first.0);
    assert_eq!(ends_within(&mut first.0, Duration::from_secs(7)), 130);
    nothing_is_left(&project);
}

/// The most memory that a process and all below it needed, each by itself, in kB; until it ends.
fn peak(child: &mut Child) -> u64 {
    let mut peaks = BTreeMap::new();
    let field = |status: &str, name: &str| {
        let line = status.lines().find_map(|it| it.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    while child.try_wait().unwrap().is_none() {
        let mut ours = vec![u64::from(child.id())];
        let mut all: Vec<_> = fs_err::read_dir("/proc")
            .unwrap()
            .flatten()
            .filter_map(|it| {
                let pid = it.file_name().to_str()?.parse::<u64>().ok()?;
                let status = fs_err::read_to_string(it.path().join("status")).ok()?;
                Some((
                    pid,
                    field(&status, "PPid:")?,
                    field(&status, "VmHWM:").unwrap_or(0),
                ))
            })
            .collect();
        all.sort_unstable();
        for (pid, parent, peak) in all {
            if ours.contains(&parent) || ours.contains(&pid) {
                ours.push(pid);
                peaks.insert(pid, peak);
            }
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    peaks.into_values().max().unwrap_or(0)
}

#[test]
fn a_huge_log_is_not_held_in_memory() {
    const LOG: &str = "yes 'a line of a log that has no end' | head -c 200000000";
    for (verbosity, buildpack) in [
        ("-q", FakeBuildpack::new("test/loud").build(LOG)),
        ("-v", FakeBuildpack::new("test/loud").build(LOG)),
        ("-q", FakeBuildpack::new("test/loud").detect(LOG)),
        (
            "-q",
            FakeBuildpack::new("test/loud").build("head -c 200000000 /dev/zero; exit 1"),
        ),
    ] {
        let project = Project::new(std::slice::from_ref(&buildpack));
        let said = project.join("said");
        let mut child = Killed(
            project
                .build_command(["--key", "test.key", verbosity, "--tag", "oci:out:v1"])
                .stderr(fs_err::File::create(&said).unwrap().into_parts().0)
                .spawn()
                .unwrap(),
        );
        let peak = peak(&mut child.0);
        assert!(peak > 1000, "nothing was measured");
        assert!(peak < 100_000, "{peak} kB with {verbosity} {buildpack:?}");
        if verbosity == "-q" {
            assert!(fs_err::metadata(said).unwrap().len() < 100_000);
        }
    }
}

/// A file system that is full soon; gone at the end of the test.
struct Tiny(PathBuf);

impl Tiny {
    fn mount(project: &Project, size: &str) -> Option<Self> {
        let path = project.join("tiny");
        fs_err::create_dir(&path).unwrap();
        let mounted = Output::of(
            Command::new("mount")
                .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
                .arg(&path),
        );
        if mounted.code != 0 {
            eprintln!(
                "SKIPPED: only root can mount a small disk: {}",
                mounted.stderr
            );
            return None;
        }
        Some(Self(path))
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        Output::of(Command::new("umount").arg("--lazy").arg(&self.0));
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_is_half_there() {
    let project = Project::typical();
    let Some(tiny) = Tiny::mount(&project, "300k") else {
        return;
    };
    let full = |output: Output| {
        let output = output.expect(2);
        assert!(
            output.stderr.contains("No space left on device"),
            "{}",
            output.stderr
        );
        nothing_is_left(&project);
    };
    // Where the image goes:
    let output = project.build("oci:tiny/out:v1").expect(2);
    assert!(output.stderr.contains("No space left on device"));
    the_image_is_kept(&project, &output.stderr);
    let index = fs_err::read_to_string(tiny.0.join("out/index.json")).unwrap_or_default();
    assert!(!index.contains("\"v1\""), "{index}");
    project.run(&["tree", "oci:tiny/out:v1"]).expect(2);
    fs_err::remove_dir_all(tiny.0.join("out")).unwrap();
    // Where it is staged:
    full(project.build_with("oci:out:v1", &["--staging", "tiny/staged"]));
    assert!(!project.join("out").exists());
    fs_err::remove_dir_all(tiny.0.join("staged")).unwrap();
    // Where temporary files are:
    let arguments = ["--key", "test.key", "--tag", "oci:out:v1"];
    let mut command = project.build_command(arguments);
    let output = Output::of(command.env("TMPDIR", &tiny.0));
    assert!(output.stderr.contains("hint: set `TMPDIR`"), "{output:?}");
    full(output);
    assert_eq!(fs_err::read_dir(&tiny.0).unwrap().count(), 0);
    // The cache alone costs time, not the image.
    let project_cache = [
        "build",
        "app",
        "--builder",
        "builder.toml",
        "--cache",
        "tiny/cache",
    ];
    project.write("app/layer", vec![b'x'; 600_000]);
    let mut command = project.sealpack(project_cache);
    let built = Output::of(command.args(arguments)).expect(0);
    assert!(
        built.stderr.contains("Failed to cache layer"),
        "{}",
        built.stderr
    );
}
