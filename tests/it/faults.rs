//! What goes wrong in the middle: full disks, registries and processes that die, files that change while
//! they are read, caches and images that are damaged. Each time: a clear error or a whole image, never
//! half of one, no tag that moved to one, and the next build succeeds.
//!
//! The phases run as in a pod (`pod`). Not here: `publish` has registries that fail under
//! `sealpack build`, `cases` damaged caches and images of bug reports, `lasting` what is on the disk when.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use testkit::registry::{Fault, FaultKind, Switches};
use testkit::{Output, Reply, Scripted, peer, skipped};

use crate::pod::Pod;

const API: &str = "0.15";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A pod with an image, whose app changed since.
async fn pod_with_an_image() -> Option<(Pod, Vec<u8>)> {
    let pod = Pod::new().await?;
    pod.renew(true);
    pod.build(API, None);
    let before = tagged(&pod);
    change(&pod);
    Some((pod, before))
}

/// What a new pod has, that is to build another app.
fn change(pod: &Pod) {
    pod.renew(false);
    pod.workspace.write("workspace/app", "another app");
}

/// Only 401 and 403 say that an image may not be read; what else is wrong is said where it is used.
#[tokio::test(flavor = "multi_thread")]
async fn an_odd_answer_is_not_a_refusal_to_read() {
    let Some(pod) = Pod::new().await else { return };
    pod.renew(true);
    let phases = pod.phases(None);
    let (_, arguments) = phases.iter().find(|it| it.0 == "analyzer").unwrap();
    for (status, is_refusal) in [(403, true), (401, true), (405, false), (418, false)] {
        let fault = Fault::first(
            usize::MAX,
            "/run/manifests/",
            FaultKind::Status(status, None),
        );
        pod.registry.set(|it| it.faults = vec![fault]);
        let ended = Output::of(&mut pod.command(API, "analyzer", arguments));
        assert_ne!(ended.code, 0);
        let said = ended.stdout.contains("validating registry read access");
        assert_eq!(said, is_refusal, "{status}: {ended:?}");
    }
}

/// A registry that hangs up is told of as Go tells it: by whether its answer had begun.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_an_end_of_file() {
    let Some(pod) = Pod::new().await else { return };
    pod.renew(true);
    let phases = pod.phases(None);
    let (_, arguments) = phases.iter().find(|it| it.0 == "analyzer").unwrap();
    let silent = Scripted::start(|_| Reply::none());
    let begins = Scripted::start(|_| {
        let type_of = format!("Content-Type: {MANIFEST}");
        let cut = Reply::new(200)
            .header(type_of)
            .header("Content-Length: 100");
        cut.unsized_body("{")
    });
    for (server, expected) in [
        (&silent, "/v2/run/manifests/latest\": EOF\n"),
        (&begins, ": unexpected EOF\n"),
    ] {
        let run_image = format!("{}/run", server.host());
        let mut arguments = arguments.clone();
        for it in &mut arguments {
            *it = it.replace(&pod.image("run"), &run_image);
        }
        let ended = Output::of(&mut pod.command(API, "analyzer", &arguments));
        assert_ne!(ended.code, 0);
        assert!(ended.stdout.contains(expected), "{expected}: {ended:?}");
    }
}

/// Before an image is written under a name, the name is asked for; one that cannot be is not given. That
/// a registry forbids to ask says nothing: some say so where there is nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_asked_for_is_not_given() {
    let Some((pod, before)) = pod_with_an_image().await else {
        return;
    };
    let arguments = until(&pod, "exporter");
    let asked = "HEAD /v2/app/manifests/v1";
    let export = |status| {
        let fault = Fault::first(usize::MAX, asked, FaultKind::Status(status, None));
        pod.registry.set(|it| it.faults = vec![fault]);
        let ended = Output::of(&mut pod.command(API, "exporter", &arguments));
        pod.registry.set(|it| it.faults.clear());
        ended
    };
    let refused = export(418);
    assert_eq!(refused.code, 62, "{refused:?}");
    let said = "failed to write image to the following tags";
    assert!(refused.stdout.contains(said), "{refused:?}");
    assert_eq!(tagged(&pod), before);
    let forbidden = export(403);
    assert_eq!(forbidden.code, 0, "{forbidden:?}");
    assert_ne!(tagged(&pod), before);
}

/// Where a registry does not take a layer over from another repository, it is sent.
#[tokio::test(flavor = "multi_thread")]
async fn a_layer_that_may_not_be_taken_over_is_sent() {
    for status in [403, 405] {
        let Some(pod) = Pod::new().await else { return };
        pod.renew(true);
        let fault = Fault::first(usize::MAX, "?mount=", FaultKind::Status(status, None));
        pod.registry.set(|it| it.faults = vec![fault]);
        pod.build(API, None);
        let requests = pod.registry.requests();
        assert!(
            requests.iter().any(|it| it.contains("?mount=")),
            "{requests:#?}"
        );
        tagged(&pod);
    }
}

/// An old cache image that may not be deleted stays, and no build fails for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_cache_image_that_may_not_be_deleted_stays() {
    // The last that deletes it.
    const OLD: &str = "0.12";
    let Some(pod) = Pod::new().await else { return };
    let cache = format!("-cache-image={}", pod.image("cache"));
    let build = || {
        let mut said = String::new();
        for (phase, mut arguments) in pod.phases(None) {
            for argument in &mut arguments {
                if argument.starts_with("-cache-dir=") {
                    argument.clone_from(&cache);
                }
            }
            let ended = Output::of(&mut pod.command(OLD, phase, &arguments)).expect(0);
            said.push_str(&ended.stdout);
        }
        said
    };
    pod.renew(true);
    build();
    let before = pod.registry.tagged("cache", "latest").unwrap();
    let script = "buildpacks/test_pod/1.0.0/bin/build";
    let text = fs_err::read_to_string(pod.workspace.join(script)).unwrap();
    pod.workspace
        .write(script, text.replace("echo dep >", "echo another >"));
    pod.renew(false);
    let fault = Fault::first(usize::MAX, "DELETE", FaultKind::Status(405, None));
    pod.registry.set(|it| it.faults = vec![fault]);
    let said = build();
    assert!(said.contains("Unable to delete cache image: "), "{said}");
    assert_ne!(pod.registry.tagged("cache", "latest").unwrap(), before);
    assert_eq!(pod.registry.manifests("cache"), 2);
}

/// The manifest that the tag names, of an image that is whole.
fn tagged(pod: &Pod) -> Vec<u8> {
    let (image, to) = (pod.image("app:v1"), "oci:whole:app");
    Output::of(&mut pod.workspace.sealpack(["copy", &image, to])).expect(0);
    pod.registry.tagged("app", "v1").unwrap().to_vec()
}

/// Runs all that comes before this phase, and returns its arguments.
fn until(pod: &Pod, last: &str) -> Vec<String> {
    for (phase, arguments) in pod.phases(None) {
        if phase == last {
            return arguments;
        }
        Output::of(&mut pod.command(API, phase, &arguments)).expect(0);
    }
    panic!("{last} is not a phase");
}

/// A build in which nothing goes wrong any more makes another image.
fn succeeds(pod: &Pod, before: &[u8]) {
    change(pod);
    pod.build(API, None);
    assert_ne!(tagged(pod), before);
}

/// Runs a phase with a disk of so many kilobytes at `folder`.
fn on_a_small_disk(pod: &Pod, phase: &str, arguments: &[String], folder: &str) -> Output {
    let inner = pod.command(API, phase, arguments);
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=64k,mode=1777 tmpfs \"$0\" && exec \"$@\"";
    command
        .args(["--mount", "sh", "-c", script])
        .arg(pod.workspace.join(folder))
        .arg(inner.get_program())
        .args(inner.get_args());
    pod.surround(&mut command, API);
    Output::of(&mut command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_moves_no_tag() {
    if peer("unshare").is_none() {
        return;
    }
    let Some((pod, before)) = pod_with_an_image().await else {
        return;
    };
    let arguments = until(&pod, "exporter");
    // More than fits, also when it is compressed.
    pod.workspace.write("workspace/large", noise(1 << 20));
    let ended = on_a_small_disk(&pod, "exporter", &arguments, "tmp");
    if ended.stderr.contains("mount") {
        skipped("who mounts has to be root of this machine");
        return;
    }
    assert_eq!(ended.code, 62, "{}", ended.transcript(&[]));
    let said = "o space left on device";
    assert!(ended.stdout.contains(said), "{}", ended.stdout);
    assert_eq!(tagged(&pod), before);

    // The image is made; what cannot be kept for the next build is said.
    on_a_small_disk(&pod, "exporter", &arguments, "cache").expect(0);
    tagged(&pod);
    succeeds(&pod, &before);

    // Files of phases lie here.
    change(&pod);
    let arguments = until(&pod, "detector");
    let full = "head -c 200000 /dev/zero > \"$0/fill\"; exec \"$@\"";
    let inner = pod.command(API, "detector", &arguments);
    let mut command = Command::new("unshare");
    let mount = format!("mount -t tmpfs -o size=64k,mode=1777 tmpfs \"$0\" && {full}");
    command
        .args(["--mount", "sh", "-c", &mount])
        .arg(pod.workspace.join("layers"))
        .arg(inner.get_program())
        .args(inner.get_args());
    pod.surround(&mut command, API);
    let ended = Output::of(&mut command);
    assert_eq!(ended.code, 1, "{}", ended.transcript(&[]));
    assert!(ended.stdout.contains(said), "{}", ended.stdout);
    succeeds(&pod, &before);
}

/// Bytes that do not get smaller.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_dies_in_the_middle_of_an_export_gets_no_tag() {
    let Some((pod, before)) = pod_with_an_image().await else {
        return;
    };
    let arguments = until(&pod, "exporter");
    let dead = |on, after, kind| Fault {
        on,
        after,
        times: usize::MAX,
        kind,
    };
    for fault in [
        // After so many requests about the image nobody answers any more.
        dead("/v2/app/", 3, FaultKind::Drop(0)),
        dead("PUT /v2/app/blobs/", 0, FaultKind::Drop(100)),
        dead("PUT /v2/app/manifests/", 0, FaultKind::Status(507, None)),
        dead("PUT /v2/app/manifests/v1", 0, FaultKind::Status(403, None)),
    ] {
        let what = format!("{fault:?}");
        pod.registry.set(|it| it.faults = vec![fault]);
        let ended = Output::of(&mut pod.command(API, "exporter", &arguments));
        pod.registry.set(|it| it.faults = Vec::new());
        assert_eq!(ended.code, 62, "{what}: {}", ended.transcript(&[]));
        assert!(
            ended.stdout.contains("ERROR: failed to"),
            "{what}: {}",
            ended.stdout
        );
        assert_eq!(tagged(&pod), before, "{what}");
    }
    succeeds(&pod, &before);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_grow_or_vanish_while_they_are_read_make_no_half_image() {
    let Some((pod, before)) = pod_with_an_image().await else {
        return;
    };
    let arguments = until(&pod, "exporter");
    let folder = pod.workspace.join("workspace");
    for name in ["grows", "shrinks"] {
        pod.workspace
            .write(format!("workspace/{name}"), noise(4 << 20));
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stops = Stops(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                disturb(&folder);
            }
        });
        for _ in 0..5 {
            let ended = Output::of(&mut pod.command(API, "exporter", &arguments));
            assert!([0, 62].contains(&ended.code), "{}", ended.transcript(&[]));
            // Whichever it names, it is whole.
            tagged(&pod);
        }
    });
    succeeds(&pod, &before);
}

/// Ends a loop when it is dropped, by a panic, too.
struct Stops<'a>(&'a AtomicBool);

impl Drop for Stops<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Changes files in all ways, once.
fn disturb(folder: &Path) {
    use std::io::Write as _;

    let open = |name: &str| {
        fs_err::OpenOptions::new()
            .append(true)
            .create(true)
            .open(folder.join(name))
    };
    // Who is in the way of a removal is tried again.
    if let Ok(mut file) = open("grows") {
        file.write_all(&[1; 4096]).unwrap_or_default();
        // And begins anew, however slow the machine is.
        if file.metadata().is_ok_and(|it| it.len() > 16 << 20) {
            file.file().set_len(4 << 20).unwrap_or_default();
        }
    }
    if let Ok(file) = open("shrinks") {
        file.file().set_len(3 << 20).unwrap_or_default();
        file.file().set_len(4 << 20).unwrap_or_default();
    }
    for name in ["vanishes", "vanishes-too"] {
        fs_err::write(folder.join(name), name).unwrap_or_default();
    }
    for name in ["vanishes", "vanishes-too"] {
        fs_err::remove_file(folder.join(name)).unwrap_or_default();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_costs_time_and_nothing_else() {
    let Some((pod, before)) = pod_with_an_image().await else {
        return;
    };
    let committed = pod.workspace.join("cache/committed");
    let metadata = committed.join("io.buildpacks.lifecycle.cache.metadata");
    assert!(metadata.is_file());
    let layer = fs_err::read_dir(&committed)
        .unwrap()
        .map(|it| it.unwrap().path())
        .find(|it| it.extension().is_some_and(|it| it == "tar"))
        .unwrap();
    for (path, content) in [
        (&layer, noise(2000)),
        (&layer, Vec::new()),
        (&metadata, b"{\"buildpacks\": [{".to_vec()),
        (&metadata, noise(200)),
    ] {
        if path.is_file() {
            fs_err::write(path, content).unwrap();
        }
        change(&pod);
        pod.build(API, None);
        assert_ne!(tagged(&pod), before);
    }
    // What is there after all of it is good again.
    change(&pod);
    assert!(pod.build(API, None).contains("deps are there"));
}

/// Runs all phases with a cache in the registry; `meanwhile` while that is read. The exit code of the
/// restorer, and what the phases say. Ends with the first phase that fails.
fn build_with_cache_image(pod: &Pod, meanwhile: impl FnOnce(&mut Switches)) -> (i32, String) {
    let image = format!("-cache-image={}", pod.image("cache:v1"));
    let (mut code, mut said, mut meanwhile) = (0, String::new(), Some(meanwhile));
    for (phase, mut arguments) in pod.phases(None) {
        for it in &mut arguments {
            if it == "-cache-dir=cache" {
                it.clone_from(&image);
            }
        }
        if phase == "restorer"
            && let Some(change) = meanwhile.take()
        {
            pod.registry.set(change);
        }
        let output = Output::of(&mut pod.command(API, phase, &arguments));
        said.push_str(&output.stdout);
        if phase == "restorer" {
            pod.registry.set(|it| it.faults.clear());
            code = output.code;
        }
        if output.code != 0 {
            assert_eq!(phase, "restorer", "{said}");
            break;
        }
    }
    (code, said)
}

/// A cache that cannot be read is none, or the restorer says which image it is; nothing is made of half
/// of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_cache_image_costs_time_or_is_named() {
    let Some(pod) = Pod::new().await else { return };
    pod.renew(true);
    let build = |meanwhile: &dyn Fn(&mut Switches)| {
        let before = pod.registry.tagged("app", "v1");
        change(&pod);
        let (code, said) = build_with_cache_image(&pod, meanwhile);
        if code == 0 {
            tagged(&pod);
        } else {
            assert!(said.contains("cache"), "{said}");
            assert_eq!(pod.registry.tagged("app", "v1"), before);
        }
        said
    };
    build(&|_| {});
    assert!(build(&|_| {}).contains("deps are there"));
    let good = pod.registry.tagged("cache", "v1").unwrap();
    let broken = |kind| Fault::first(usize::MAX, "/cache/blobs/", kind);
    build(&|it| it.faults = vec![broken(FaultKind::Status(404, None))]);
    build(&|it| it.faults = vec![broken(FaultKind::Drop(10))]);
    let missing = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":2},"layers":[]}"#;
    for manifest in ["{}", "not JSON", missing] {
        pod.registry
            .put_manifest("cache", Some("v1"), MANIFEST, manifest);
        build(&|_| {});
    }
    pod.registry
        .put_manifest("cache", Some("v1"), MANIFEST, good);
    assert!(build(&|_| {}).contains("deps are there"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_previous_image_is_not_used() {
    let Some((pod, before)) = pod_with_an_image().await else {
        return;
    };
    for manifest in [
        "{}",
        "not JSON",
        r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":2},"layers":[]}"#,
    ] {
        let digest = pod
            .registry
            .put_manifest("app", Some("v1"), MANIFEST, manifest);
        change(&pod);
        let mut analyzed = pod.command(API, "analyzer", &pod.phases(None)[0].1);
        let analyzed = Output::of(&mut analyzed);
        // Either it is not taken for an image, or it is said what is wrong with it, and with which; of
        // what is not JSON upstream says only that.
        if analyzed.code != 0 {
            let said = [
                "app:v1",
                "/v2/app/",
                "previous image: invalid character",
                "previous image: missing field",
            ];
            assert!(
                said.iter().any(|it| analyzed.stdout.contains(it)),
                "{manifest}: {}",
                analyzed.stdout
            );
            assert_eq!(pod.registry.tagged("app", "v1").unwrap(), manifest);
            continue;
        }
        pod.build(API, None);
        assert_ne!(tagged(&pod), before, "{digest:?}");
    }
}

/// Runs a phase, and kills it after so long, with all that it started. Whether it was still there.
fn killed(mut command: Command, after: Duration) -> bool {
    command
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(after);
    let group = Pid::from_raw(i32::try_from(child.id()).unwrap());
    let was_there = child.try_wait().unwrap().is_none();
    if was_there {
        killpg(group, Signal::SIGKILL).unwrap();
        child.wait().unwrap();
    }
    was_there
}

#[tokio::test(flavor = "multi_thread")]
#[expect(
    clippy::disallowed_methods,
    reason = "where a phase is killed is a part of how long it takes"
)]
async fn a_phase_that_is_killed_anywhere_leaves_nothing_that_is_in_the_way() {
    const POINTS: u32 = 10;
    let Some((pod, before)) = pod_with_an_image().await else {
        return;
    };
    // So that there is a middle of it.
    let large = noise(8 << 20);
    let mut hits = 0;
    for (phase, _) in pod.phases(None) {
        change(&pod);
        pod.workspace.write("workspace/large", &large);
        let arguments = until(&pod, phase);
        let begun = Instant::now();
        Output::of(&mut pod.command(API, phase, &arguments)).expect(0);
        let takes = begun.elapsed();
        let whole = tagged(&pod);
        for point in 0..POINTS {
            change(&pod);
            pod.workspace.write("workspace/large", &large);
            pod.workspace
                .write("workspace/app", format!("{phase} {point}"));
            let arguments = until(&pod, phase);
            let command = pod.command(API, phase, &arguments);
            let was_there = killed(command, takes * point / POINTS);
            hits += u32::from(was_there);
            let now = tagged(&pod);
            assert!(now == whole || phase == "exporter", "{phase} moved the tag");
        }
        // A new pod has the cache as it was left.
        succeeds(&pod, &before);
    }
    assert!(hits > POINTS, "hardly a phase was killed: {hits}");
}
