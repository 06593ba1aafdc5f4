//! What commands of extensions made, from one `sealpack build` to the next; and their spans.

use std::path::PathBuf;
use std::process::Command;

use super::extensions::{ARGUMENTS, extension, fixture, may_extend};
use super::{Fixture, built};
use crate::tracing::{decode, hangs_together};

/// The same with the user's cache.
fn keeping(command: &Command) -> Command {
    let mut new = Command::new(command.get_program());
    new.env_clear();
    new.current_dir(command.get_current_dir().unwrap());
    new.args(command.get_args().filter(|it| *it != "--no-cache"));
    for (name, value) in command.get_envs() {
        new.env(name, value.unwrap_or_default());
    }
    new
}

/// Writes an extension of both images; what it has its commands in the run image told is in the app's `word`.
fn write(fixture: &Fixture) {
    let dockerfile = "ARG base_image\nFROM ${base_image}\nUSER root\nARG word\n\
        RUN rm -rf /home && mkdir /home && echo \"$word\" > /home/made && echo ran\n\
        COPY hello.txt /copied\n\
        RUN [ -e /home/made ] && busybox ln /home/made /usr/again && echo ran\n\
        ARG user_id\nUSER ${user_id}\n";
    extension(
        fixture,
        &[
            ("run.Dockerfile", dockerfile),
            ("build.Dockerfile", dockerfile),
        ],
    );
    let generate = fixture.folder.join("ext/bin/generate");
    let text = fs_err::read_to_string(&generate).unwrap()
        + "printf '[[run.args]]\\nname = \"word\"\\nvalue = \"%s\"\\n' \"$(cat word)\" > \"$CNB_OUTPUT_DIR/extend-config.toml\"\n";
    fs_err::write(generate, text).unwrap();
}

/// How often something was printed that only a command prints.
fn runs(seen: &str) -> usize {
    seen.lines().filter(|it| it.trim() == "ran").count()
}

fn cached(seen: &str) -> usize {
    seen.matches("Using cached layer for cmd").count()
}

#[tokio::test]
async fn what_commands_made_is_used_again_as_long_as_it_is_good() {
    let Some(fixture) = fixture().await else {
        return;
    };
    let build = |output: &str, more: &[&str]| {
        let mut command = keeping(&fixture.command(output));
        let (report, seen) = built(command.args(ARGUMENTS).args(more))?;
        Some((report, (runs(&seen), cached(&seen)), seen))
    };
    write(&fixture);
    fixture.workspace.write("app/word", "one");
    let Some((report, counts, seen)) = build("first", &[]) else {
        return;
    };
    if !may_extend(&report) {
        return;
    }
    assert_eq!(counts, (4, 0), "{seen}");
    let (again, counts, seen) = build("second", &[]).unwrap();
    assert_eq!(counts, (0, 4), "{seen}");
    assert_eq!(again["digest"], report["digest"]);

    // A command that is told something else is run, and what comes after it; in the other image none is.
    fixture.workspace.write("app/word", "two");
    let (changed, counts, seen) = build("changed", &[]).unwrap();
    assert_eq!(counts, (2, 2), "{seen}");
    assert_ne!(changed["digest"], report["digest"]);
    // So is what comes after another file that was copied, in both.
    fixture.workspace.write("app/hello.txt", "other");
    let (_, counts, seen) = build("copied", &[]).unwrap();
    assert_eq!(counts, (2, 2), "{seen}");

    // What is damaged is made anew, and said.
    for file in kept(&fixture) {
        if file.extension().is_none() {
            fs_err::write(file, "damaged").unwrap();
        }
    }
    let (mended, counts, seen) = build("damaged", &[]).unwrap();
    assert_eq!(counts, (4, 0), "{seen}");
    assert_eq!(
        seen.matches("The cached layer is made anew").count(),
        4,
        "{seen}"
    );
    let (again, counts, seen) = build("mended", &[]).unwrap();
    assert_eq!(counts, (0, 4), "{seen}");
    assert_eq!(again["digest"], mended["digest"]);

    // What is not wanted is not used.
    for (more, expected) in [(&["--clear-cache"], (4, 0)), (&["--no-cache"], (4, 0))] {
        let (_, counts, seen) = build("anew", more).unwrap();
        assert_eq!(counts, expected, "{more:?} {seen}");
    }
    // Not even while another build of the app uses it; then what is made replaces it.
    let folder = kept(&fixture).swap_remove(0);
    let folder = folder.ancestors().find(|it| it.ends_with("extensions"));
    let other = std::fs::File::open(folder.unwrap()).unwrap();
    other.lock_shared().unwrap();
    let (_, counts, seen) = build("beside", &["--clear-cache"]).unwrap();
    assert_eq!(counts, (4, 0), "{seen}");
    drop(other);
    let (_, counts, seen) = build("after", &[]).unwrap();
    assert_eq!(counts, (0, 4), "{seen}");
    // Another extension uses nothing that this one may have left.
    let generate = fixture.folder.join("ext/bin/generate");
    let text = fs_err::read_to_string(&generate).unwrap();
    fs_err::write(generate, text + "# another\n").unwrap();
    let (_, counts, seen) = build("other", &[]).unwrap();
    assert_eq!(counts, (4, 0), "{seen}");
}

/// All files of layers that are kept.
fn kept(fixture: &Fixture) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![fixture.folder.join(".cache/sealpack/build")];
    while let Some(folder) = folders.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.iter().any(|it| it == "extensions") {
                files.push(path);
            }
        }
    }
    files
}

#[tokio::test]
async fn what_extends_images_is_in_the_trace() {
    let Some(fixture) = fixture().await else {
        return;
    };
    write(&fixture);
    fixture.workspace.write("app/word", "one");
    let mut command = fixture.command("out");
    let command = command.args(ARGUMENTS).args(["--trace", "trace.jsonl"]);
    let Some((report, _)) = built(command) else {
        return;
    };
    if !may_extend(&report) {
        return;
    }
    let text = fs_err::read_to_string(fixture.folder.join("trace.jsonl")).unwrap();
    let spans = decode(&text);
    hangs_together(&spans, None);
    let applied = spans.iter().filter(|it| it.name == "extension-apply");
    assert_eq!(applied.count(), 2, "{text}");
    let commands = spans.iter().filter(|it| it.name == "extension-run");
    let reused: Vec<_> = commands.map(|it| it.attributes["reused"].clone()).collect();
    assert_eq!(reused, vec![false; 4], "{text}");
}
