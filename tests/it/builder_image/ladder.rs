//! Machines that allow less: layers that cannot be stacked, and no namespaces.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use testkit::{Output, peer, skipped};

use super::{Fixture, NOBODY, extensions, is_root, looking};
use crate::build::json;

/// What the scripts say when the machine is as they want it: what fails later is our own failure.
const READY: &str = "the machine is made";

/// Makes a root who may have no further namespaces: whoever is root of a user namespace may forbid them
/// there. Who is who has to be said from outside.
const NO_NAMESPACES: &str = r#"
mkfifo go
unshare --user sh -c 'read x < go; exec sh -c "$0" sh "$@"' '
set -e
echo 0 > /proc/sys/user/max_user_namespaces
echo 0 > /proc/sys/user/max_mnt_namespaces
echo the machine is made >&2
exec "$@"' "$@" &
pid=$!
while [ "$(readlink /proc/$pid/ns/user)" = "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
for it in uid gid; do echo "0 0 100000" > /proc/$pid/${it}_map; done
echo go > go
rm go
wait $pid
"#;

/// A file system that is stacked twice already cannot be stacked once more.
const STACKED: &str = r#"
mkdir -p s roots
mount -t tmpfs x s
mkdir -p s/l s/au s/aw s/a s/bu s/bw
mount -t overlay a -o lowerdir=s/l,upperdir=s/au,workdir=s/aw s/a
mount -t overlay b -o lowerdir=s/a,upperdir=s/bu,workdir=s/bw roots
echo the machine is made >&2
exec "$@"
"#;

/// Runs `command` by this script, which has mounts of its own.
fn by(script: &str, command: &Command) -> Command {
    let mut outer = Command::new("unshare");
    outer
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["--mount", "sh", "-euc", script, "sh"])
        .args(["env", "-i"]);
    for (name, value) in command.get_envs() {
        let mut pair = name.to_owned();
        pair.push("=");
        pair.push(value.unwrap_or_default());
        outer.arg(pair);
    }
    outer
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(command.get_current_dir().unwrap());
    outer
}

/// A build whose folders are in `tmp`.
fn command(fixture: &Fixture, output: &str) -> Command {
    let temporary = fixture.folder.join("tmp");
    fs_err::create_dir_all(&temporary).unwrap();
    let mut command = fixture.command(output);
    command.env("TMPDIR", temporary);
    command
}

fn can_unshare() -> bool {
    let can = is_root() && peer("unshare").is_some();
    if !can {
        skipped("a machine that allows less is made by root, with unshare");
    }
    can
}

#[tokio::test]
async fn without_namespaces_root_builds_in_a_copy() {
    let (true, Some(fixture)) = (can_unshare(), Fixture::new(&looking()).await) else {
        return;
    };
    let plain = Output::of(&mut fixture.command("plain")).expect(0);
    let output = Output::of(&mut by(NO_NAMESPACES, &command(&fixture, "out")));
    if !output.stderr.contains(READY) {
        skipped(&output.stderr);
        return;
    }
    let output = output.expect(0);
    let report = json(&output);
    assert_eq!(
        report["isolation"]["namespaces"].as_array().unwrap().len(),
        0
    );
    assert_eq!(report["isolation"]["root"], "image");
    assert_eq!(report["digest"], json(&plain)["digest"]);
    let said = &output.stderr;
    for line in [
        "buildpacks run without isolation in a copy of the builder",
        "I am 1001:1000 at /home/cnb in /workspace",
        "there is /cnb/order.toml",
        "there is /platform/env/GIVEN",
        "wrote to its own",
    ] {
        assert!(said.contains(line), "{line} in {said}");
    }
    for line in ["leaked a variable", "leaked root's", "wrote to /usr"] {
        assert!(!said.contains(line), "{line} in {said}");
    }
    assert_nothing_left(&fixture.folder);
    let mut command = command(&fixture, "refused");
    command.args(["--isolation", "required"]);
    let output = Output::of(&mut by(NO_NAMESPACES, &command)).expect(2);
    let expected = "cannot isolate the build as required";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
}

#[tokio::test]
async fn layers_that_cannot_be_stacked_are_copied() {
    let (true, Some(fixture)) = (can_unshare(), Fixture::new(&looking()).await) else {
        return;
    };
    let plain = Output::of(&mut fixture.command("plain")).expect(0);
    let mut command = command(&fixture, "out");
    command.args(["--root-store", "roots/store"]);
    // A copy is isolated as all others are.
    command.args(["--isolation", "required"]);
    let output = Output::of(&mut by(STACKED, &command));
    if !output.stderr.contains(READY) {
        skipped(&output.stderr);
        return;
    }
    let output = output.expect(0);
    let expected = "the layers of the builder are copied for this build alone";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
    let report = json(&output);
    assert!(report["isolation"]["namespaces"].as_array().unwrap().len() >= 5);
    assert_eq!(report["digest"], json(&plain)["digest"]);
    super::assert_inside(
        &output.stderr.replace("leaked of an earlier phase", ""),
        "image",
    );
    assert_nothing_left(&fixture.folder);
}

#[tokio::test]
async fn a_run_image_that_cannot_be_stacked_is_extended_in_a_copy() {
    let (true, Some(fixture)) = (can_unshare(), extensions::fixture().await) else {
        return;
    };
    // What is stacked says itself what was changed, in a copy all files do: to the same end.
    let text = "ARG base_image\nFROM ${base_image}\nUSER root\n\
        RUN echo made > /etc/made; rm /etc/mark; mkdir /etc/mark; echo in > /etc/mark/in\n\
        RUN rm -rf /home; mkdir -p /home/new/below; busybox ln /etc/passwd /etc/again; busybox chown 7:8 /etc/passwd\n\
        RUN rm -rf /root /home/new/below; busybox ln -s /etc /root; rm -rf /etc/mark; mv /home/new /opt\n\
        RUN mkdir /home/cnb /a; touch /a/b; chmod 700 /tmp\n\
        RUN rm -rf /a; mkdir /a; touch /root/through\n\
        RUN true\nUSER cnb\n";
    extensions::extension(&fixture, &[("run.Dockerfile", text)]);
    let plain = Output::of(fixture.command("plain").args(extensions::ARGUMENTS));
    let mut command = command(&fixture, "out");
    command.args(extensions::ARGUMENTS);
    command.args(["--root-store", "roots/store"]);
    let output = Output::of(&mut by(STACKED, &command));
    if !output.stderr.contains(READY) {
        skipped(&output.stderr);
        return;
    }
    let digest = json(&output.expect(0))["digest"].clone();
    assert_eq!(digest, json(&plain.expect(0))["digest"]);
    assert_nothing_left(&fixture.folder);
}

/// Who has one user only, or no namespace of users, cannot change an image; that is said before anything is
/// built.
#[tokio::test]
async fn an_extension_that_cannot_be_carried_out_is_refused_before_the_build() {
    let (true, Some(fixture)) = (can_unshare(), extensions::fixture().await) else {
        return;
    };
    let text =
        "ARG base_image\nFROM ${base_image}\nUSER root\nRUN echo made > /etc/made\nUSER cnb\n";
    let files = ["run.Dockerfile", "build.Dockerfile"];
    for file in files {
        extensions::extension(&fixture, &[(file, text)]);
        let mut command = command(&fixture, "out");
        command.args(extensions::ARGUMENTS);
        let output = Output::of(&mut by(NO_NAMESPACES, &command));
        if !output.stderr.contains(READY) {
            skipped(&output.stderr);
            return;
        }
        let said = output.expect(2).stderr;
        let expected = "which this machine refuses";
        assert!(said.contains(expected), "{said}");
        assert!(!said.contains("greeting hello"), "{said}");
    }
    fs_err::remove_dir_all(fixture.folder.join(".cache")).unwrap();
    fs_err::set_permissions(&fixture.folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    fixture.give_to(NOBODY);
    for file in files {
        extensions::extension(&fixture, &[(file, text)]);
        let mut command = fixture.command("out");
        command.args(extensions::ARGUMENTS).uid(NOBODY).gid(NOBODY);
        let output = Output::of(&mut command);
        if output.code == 0 {
            skipped("`nobody` has several users here");
            return;
        }
        let said = output.expect(2).stderr;
        let expected = "its files belong to several users";
        assert!(said.contains(expected), "{said}");
        assert!(said.contains("/etc/subuid"), "{said}");
        assert!(!said.contains("greeting hello"), "{said}");
    }
}

/// Whether the folders of the build are gone.
fn assert_nothing_left(folder: &Path) {
    let left = fs_err::read_dir(folder.join("tmp")).unwrap();
    let left: Vec<_> = left.map(|it| it.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}
