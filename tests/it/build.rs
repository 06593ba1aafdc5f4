//! `sealpack build`: what comes out, and what of it is used again.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use testkit::{FakeBuildpack, Output, Project, Workspace, free_port, peer, repository, skipped};

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_str(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}", output.transcript(&[])))
}

fn strings(value: &Value) -> Vec<String> {
    let list = value.as_array().unwrap().iter();
    list.map(|it| it.as_str().unwrap().to_owned()).collect()
}

/// The JSON of a build that must succeed.
fn build(project: &Project, destination: &str, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--output", "json"]].concat();
    json(&project.build_with(destination, &arguments).expect(0))
}

/// The statement that a build attached; `claim` is its short name.
fn statement(project: &Project, image: &str, claim: &str) -> Value {
    let verified = project
        .run(&[
            "verify", image, "--key", "test.pub", "--claim", claim, "--output", "json",
        ])
        .expect(0);
    json(&verified)["claims"][0]["statements"][0]["statement"].clone()
}

/// A child process that does not outlive the test.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

fn ask(port: u16) -> Option<String> {
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(50));
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else {
            continue;
        };
        stream
            .write_all(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        return Some(answer);
    }
    None
}

/// Whether this user may change the root of a process; says so if not.
pub(crate) fn may_chroot() -> bool {
    let is_root = fs_err::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .any(|line| line.starts_with("Uid:\t0\t0"));
    if !is_root {
        skipped("in part: only root may change the root of a process");
    }
    is_root
}

#[test]
fn the_example_is_built_proven_and_answers() {
    let workspace = Workspace::new();
    let Some(rustc) = peer("rustc") else { return };
    let toolchain = Output::of(workspace.command(rustc).args(["--print", "sysroot"]));
    if toolchain.code != 0 {
        skipped(&format!("rustc does not work here: {}", toolchain.stderr));
        return;
    }
    // The compiler itself: what rustup puts on `PATH` wants the user's home.
    let path = format!("{}/bin:/usr/bin:/bin", toolchain.stdout.trim());
    let example = |path: &str| repository().join("examples").join(path);
    let image = "oci:out/hello:v1";
    let built = Output::of(
        workspace
            .sealpack(["build", "--output", image, "--output", "json"])
            .args(["--new-key", "demo", "--cache", "cache"])
            .arg(example("hello"))
            .arg("--builder")
            .arg(example("builder.toml"))
            .arg("--policy")
            .arg(example("policy"))
            .env("PATH", path),
    )
    .expect(0);
    let built = json(&built);
    assert_eq!(built["published"], true);
    assert_eq!(built["verdict"]["accepted"], true, "{built:#}");
    assert_eq!(
        strings(&built["buildpacks"]),
        ["example/rust@0.1.0", "example/web@0.1.0"]
    );

    let run = |arguments: &[&str]| Output::of(&mut workspace.sealpack(arguments)).expect(0);
    let tree = run(&["tree", image]).stdout;
    for claim in ["provenance", "cyclonedx", "spdx", "signature", "vsa"] {
        assert!(tree.contains(&format!("─ {claim} ")), "{claim} in\n{tree}");
        run(&["verify", image, "--key", "demo.pub", "--claim", claim]);
    }
    let facts = json(&run(&["inspect", image, "--output", "json"]));
    assert_eq!(facts["digest"], built["digest"]);
    assert_eq!(facts["entrypoint"][0], "/cnb/process/web");
    assert_eq!(
        facts["labels"]["org.opencontainers.image.title"], "hello",
        "{facts:#}"
    );
    assert_eq!(facts["referrers"], 5);

    run(&["unpack", image, "root"]);
    if !may_chroot() {
        return;
    }
    let port = free_port();
    let app = Command::new("chroot")
        .arg(workspace.join("root"))
        .arg("/cnb/process/web")
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .env("CNB_PLATFORM_API", "0.15")
        .env("CNB_LAYERS_DIR", "/layers")
        .env("CNB_APP_DIR", "/workspace")
        .env("PORT", port.to_string())
        .stdout(Stdio::null())
        .spawn();
    let _app = Killed(app.unwrap());
    let greeting = fs_err::read_to_string(example("hello/greeting")).unwrap();
    let answer = ask(port).expect("the app answers");
    assert!(answer.contains(greeting.trim()), "{answer}");
}

#[test]
fn the_same_source_gives_the_same_image_and_the_same_sboms() {
    let project = Project::typical();
    let first = build(&project, "oci:one:v1", &[]);
    let again = build(&project, "oci:two:v1", &["--no-cache"]);
    assert_eq!(first["digest"], again["digest"]);
    assert_eq!(first["imageId"], again["imageId"]);
    for claim in ["cyclonedx", "spdx"] {
        assert_eq!(
            statement(&project, "oci:one:v1", claim).to_string(),
            statement(&project, "oci:two:v1", claim).to_string(),
            "{claim}"
        );
    }

    // Also from another folder of the same name, and by another builder file of the same content.
    fs_err::create_dir_all(project.join("elsewhere")).unwrap();
    let moved = project.join("elsewhere/app");
    fs_err::rename(project.join("app"), &moved).unwrap();
    let output = Output::of(
        project
            .sealpack(["build", "elsewhere/app", "--builder", "builder.toml"])
            .args(["--key", "test.key", "--no-cache"])
            .args(["--tag", "oci:three:v1", "--output", "json"]),
    );
    let third = json(&output.expect(0));
    assert_eq!(first["digest"], third["digest"]);
    for claim in ["cyclonedx", "spdx"] {
        assert_eq!(
            statement(&project, "oci:one:v1", claim).to_string(),
            statement(&project, "oci:three:v1", claim).to_string(),
            "{claim}"
        );
    }
}

#[test]
fn what_did_not_change_is_reused_and_the_user_hears_of_it() {
    let project = Project::typical();
    let digests = || {
        let facts = json(
            &project
                .run(&["inspect", "oci:out:v1", "--output", "json"])
                .expect(0),
        );
        let layers = facts["layers"].as_array().unwrap().iter();
        layers
            .map(|it| it["digest"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let first = build(&project, "oci:out:v1", &[]);
    assert_eq!(first["layers"]["reused"], 0, "{first:#}");
    let before = digests();

    let again = build(&project, "oci:out:v1", &[]);
    assert_eq!(again["layers"]["new"], 0, "{again:#}");
    assert_eq!(first["digest"], again["digest"]);
    let said = project.build("oci:out:v1").expect(0).stderr;
    assert!(!said.contains(" 0 reused"), "{said}");
    assert!(said.contains(" reused)"), "{said}");

    project.write("app/hello.txt", "changed\n");
    let changed = build(&project, "oci:out:v1", &[]);
    assert_eq!(changed["layers"]["new"], 1, "{changed:#}");
    let after = digests();
    assert_eq!(before.len(), after.len());
    let different = before.iter().zip(&after).filter(|(a, b)| a != b).count();
    assert_eq!(different, 1, "{before:?}\n{after:?}");
}

#[test]
fn an_unsigned_image_has_nothing_attached() {
    let project = Project::typical();
    let output = Output::of(&mut project.build_command(["--unsigned", "--tag", "oci:out:v1"]));
    let output = output.expect(0);
    assert!(output.stderr.contains("not signed"), "{}", output.stderr);
    let tree = project.run(&["tree", "oci:out:v1"]).expect(0).stdout;
    assert_eq!(tree.lines().count(), 1, "{tree}");
    project
        .run(&["verify", "oci:out:v1", "--key", "test.pub"])
        .expect(1);
}

#[test]
fn buildpacks_are_isolated_as_far_as_the_provenance_says() {
    // What a buildpack sees becomes labels, which are easy to read back.
    let probe = FakeBuildpack::new("test/probe").build(
        r#"
devices=$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | sort | tr '\n' ' ')
if touch /etc/sealpack-probe 2>/dev/null; then root=writable; else root=read-only; fi
printf '[[labels]]\nkey = "devices"\nvalue = "%s"\n[[labels]]\nkey = "root"\nvalue = "%s"\n' \
    "$devices" "$root" > "$CNB_LAYERS_DIR/launch.toml"
"#,
    );
    let project = Project::new(&[probe]);
    let required = project.build_with("oci:required:v1", &["--isolation", "required"]);
    if required.code != 0 {
        required.clone().expect(2);
        assert!(
            required.stderr.contains("--isolation auto"),
            "{}",
            required.stderr
        );
        skipped("in part: this machine does not isolate builds in full");
        return;
    }
    let labels = |image: &str| {
        json(
            &project
                .run(&["inspect", image, "--output", "json"])
                .expect(0),
        )["labels"]
            .clone()
    };
    assert_eq!(labels("oci:required:v1")["devices"], "lo ");
    assert_eq!(labels("oci:required:v1")["root"], "read-only");
    let recorded = |image: &str| {
        statement(&project, image, "provenance")["predicate"]["buildDefinition"]
            ["internalParameters"]
            .clone()
    };
    let isolation = recorded("oci:required:v1")["isolation"].clone();
    assert_eq!(isolation["network"], "none", "{isolation:#}");
    assert_eq!(
        strings(&isolation["namespaces"]),
        ["user", "mount", "pid", "ipc", "uts", "network"]
    );

    build(&project, "oci:host:v1", &["--network", "host"]);
    let here: Vec<_> = fs_err::read_to_string("/proc/net/dev")
        .unwrap()
        .lines()
        .skip(2)
        .filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()))
        .collect();
    let seen = labels("oci:host:v1")["devices"].clone();
    let mut seen: Vec<_> = seen.as_str().unwrap().split_whitespace().collect();
    let mut here: Vec<_> = here.iter().map(String::as_str).collect();
    seen.sort_unstable();
    here.sort_unstable();
    assert_eq!(seen, here);
    assert_eq!(recorded("oci:host:v1")["isolation"]["network"], "host");
}

fn git(project: &Project, arguments: &[&str]) -> Option<String> {
    let output = Output::of(
        project
            .workspace()
            .command(peer("git")?)
            .current_dir(project.join("app"))
            .args(["-c", "user.name=Test", "-c", "user.email=test@example.test"])
            .args(arguments),
    );
    Some(output.expect(0).stdout)
}

fn dependency<'a>(provenance: &'a Value, part: &str) -> &'a Value {
    provenance["predicate"]["buildDefinition"]["resolvedDependencies"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| {
            [&it["name"], &it["uri"]]
                .iter()
                .any(|text| text.as_str().is_some_and(|it| it.contains(part)))
        })
        .unwrap_or_else(|| panic!("no {part} in {provenance:#}"))
}

#[test]
fn provenance_names_all_that_went_in() {
    let project = Project::typical();
    let arguments = ["--env", "LITERAL=seen", "--env", "PASSED"];
    let mut command = project.build_command(["--key", "test.key", "--tag", "oci:out:v1"]);
    command.args(arguments).env("PASSED", "kept-to-ourselves");
    Output::of(&mut command).expect(0);
    let provenance = statement(&project, "oci:out:v1", "provenance");
    let text = provenance.to_string();
    assert!(text.contains("seen"), "{provenance:#}");
    assert!(text.contains("PASSED"), "{provenance:#}");
    assert!(!text.contains("kept-to-ourselves"), "{provenance:#}");

    for part in ["builder", "test/typical", "static", "lifecycle", "launcher"] {
        let found = provenance["predicate"].to_string().contains(part);
        assert!(found, "{part} in {provenance:#}");
    }
    let buildpack = dependency(&provenance, "test/typical");
    assert_eq!(
        buildpack["digest"]["sha256"].as_str().unwrap().len(),
        64,
        "{buildpack}"
    );
    let run_details = &provenance["predicate"]["runDetails"];
    assert!(
        run_details["metadata"]["startedOn"].as_str().unwrap()
            <= run_details["metadata"]["finishedOn"].as_str().unwrap()
    );
    assert_eq!(run_details["byproducts"].as_array().unwrap().len(), 3);

    // A buildpack that changes has another digest.
    let before = buildpack["digest"].clone();
    let script = project.join("buildpacks/test/typical/bin/build");
    let mut changed = fs_err::read(&script).unwrap();
    changed.extend_from_slice(b"# changed\n");
    fs_err::write(&script, changed).unwrap();
    project.build("oci:other:v1").expect(0);
    let provenance = statement(&project, "oci:other:v1", "provenance");
    assert_ne!(dependency(&provenance, "test/typical")["digest"], before);
}

#[test]
fn provenance_names_the_commit_and_what_was_changed_since() {
    let project = Project::typical();
    if git(&project, &["init", "--quiet"]).is_none() {
        return;
    }
    git(&project, &["add", "."]);
    git(&project, &["commit", "--quiet", "--message", "first"]);
    let commit = git(&project, &["rev-parse", "HEAD"]).unwrap();

    project.build("oci:out:clean").expect(0);
    let clean = statement(&project, "oci:out:clean", "provenance");
    assert!(clean.to_string().contains(commit.trim()), "{clean:#}");
    assert!(!clean.to_string().contains("\"dirty\":true"), "{clean:#}");

    project.write("app/hello.txt", "changed\n");
    project.build("oci:out:dirty").expect(0);
    let dirty = statement(&project, "oci:out:dirty", "provenance");
    assert!(dirty.to_string().contains(commit.trim()), "{dirty:#}");
    assert!(dirty.to_string().contains("\"dirty\":true"), "{dirty:#}");
}

#[test]
fn two_builds_on_one_cache_both_end_well() {
    let slow = FakeBuildpack::typical().build(
        r#"
mkdir -p "$CNB_LAYERS_DIR/kept"
sleep 0.3
echo content > "$CNB_LAYERS_DIR/kept/content"
printf '[types]\nlaunch = true\ncache = true\n' > "$CNB_LAYERS_DIR/kept.toml"
"#,
    );
    let project = Project::new(&[slow]);
    let start = |destination: &str| {
        project
            .build_command(["--key", "test.key", "--policy", "policy", "--output"])
            .arg(destination)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let both = [start("oci:one:v1"), start("oci:two:v1")];
    for child in both {
        let output = child.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let digest = |image: &str| {
        json(
            &project
                .run(&["inspect", image, "--output", "json"])
                .expect(0),
        )["digest"]
            .clone()
    };
    assert_eq!(digest("oci:one:v1"), digest("oci:two:v1"));
    let third = build(&project, "oci:two:v1", &[]);
    assert_eq!(third["layers"]["new"], 0, "{third:#}");
}

#[test]
fn a_killed_build_leaves_a_cache_and_a_destination_that_work() {
    let project =
        Project::new(&[FakeBuildpack::typical()
            .build("test ! -f slow || { touch /workspace/began; sleep 30; }")]);
    project.build("oci:out:v1").expect(0);
    project.write("app/slow", "");
    let mut child = project
        .build_command(["--key", "test.key", "--tag", "oci:out:v1"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    assert!(wait_for(project.workspace().path(), "began"));
    child.kill().unwrap();
    child.wait().unwrap();
    fs_err::remove_file(project.join("app/slow")).unwrap();
    project.build("oci:out:v1").expect(0);
    project
        .run(&["verify", "oci:out:v1", "--key", "test.pub"])
        .expect(0);
}

/// Waits until a build made a file of this name in its workspace.
pub(crate) fn wait_for(temporary: &Path, name: &str) -> bool {
    for _ in 0..200 {
        let found = fs_err::read_dir(temporary)
            .unwrap()
            .flatten()
            .any(|it| it.path().join("workspace").join(name).exists());
        if found {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}
