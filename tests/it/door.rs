//! What people type who come from other tools, and what programs ask: short flags, several images,
//! keys in variables, results that nobody can take.

use std::process::Command;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde_json::{Value, json};
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{Output, Project, Reply, Scripted, Workspace, binary};

fn json_of(output: &Output) -> Value {
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("no JSON: {output:?}"))
}

/// A project whose image `oci:out:v1` has been built and signed.
fn built() -> Project {
    let project = Project::typical();
    project.build("oci:out:v1").expect(0);
    project
}

/// The same, without any proof, as `oci:bare:v1`.
fn bare(project: &Project) {
    let copy = ["copy", "oci:out:v1", "oci:bare:v1", "--no-referrers"];
    let output = project.run(&copy).expect(0);
    assert!(output.stderr.contains("not copied"), "{}", output.stderr);
}

#[test]
fn a_result_that_cannot_be_written_is_no_success() {
    let workspace = Workspace::new();
    let shell = |script: &str| {
        let mut command = workspace.command("bash");
        Output::of(command.args(["-c", script]).arg(binary("sealpack")))
    };
    let full = shell("\"$0\" version > /dev/full");
    assert_eq!(full.code, 2, "{full:?}");
    assert!(
        full.stderr.contains("failed to write the result"),
        "{full:?}"
    );
    for asked in ["--help", "--version", "help copy", "copy --help"] {
        let full = shell(&format!("\"$0\" {asked} > /dev/full"));
        assert_eq!(full.code, 2, "{full:?}");
        assert!(
            full.stderr.contains("failed to write the result"),
            "{full:?}"
        );
    }
    let gone = shell("mkdir gone && cd gone && rmdir ../gone && \"$0\" version");
    assert_eq!(gone.code, 2);
    let says = "error: the working folder was removed: ";
    assert!(gone.stderr.starts_with(says), "{gone:?}");
    // Who has read enough closes the pipe.
    let closed = shell("set -o pipefail; \"$0\" completion bash | true");
    assert_eq!((closed.code, closed.stderr.as_str()), (0, ""));
}

#[test]
fn a_cache_that_nobody_named_stops_no_build() {
    let project = Project::typical();
    let build = |home: &str, cache: &[&str]| {
        let mut command = project.sealpack(["build", "app", "--builder", "builder.toml"]);
        command.args(["--unsigned", "--tag", "oci:out:v1"]);
        Output::of(command.args(cache).env("HOME", project.join(home)))
    };
    // A home in which nothing can be made, whoever tries; and a cache that somebody else spoiled.
    project.write("file", "");
    let of_app = "spoiled/.cache/sealpack/build";
    build("spoiled", &[]).expect(0);
    let folder = fs_err::read_dir(project.join(of_app)).unwrap().next();
    let committed = folder.unwrap().unwrap().path().join("committed");
    fs_err::remove_dir_all(&committed).unwrap();
    fs_err::write(&committed, "").unwrap();
    for home in ["file", "spoiled"] {
        let said = build(home, &[]).expect(0).stderr;
        assert!(
            said.contains("warning  nothing is kept for later builds: "),
            "{said}"
        );
        assert!(
            said.contains("hint  `--cache DIR` names another folder"),
            "{said}"
        );
        assert!(said.contains("skipped: there is no cache"), "{said}");
    }
    // One that was named has to be one.
    let said = build("file", &["--cache", "file/cache"]).expect(2).stderr;
    assert!(said.contains("file/cache"), "{said}");
}

#[test]
fn a_destination_that_takes_nothing_is_said_before_anything_is_built() {
    let project = Project::typical();
    project.write("file", "");
    project.build("oci:own:v1").expect(0);
    for name in ["folder", "all"] {
        fs_err::create_dir_all(project.join(name)).unwrap();
        for file in ["oci-layout", "index.json"] {
            fs_err::copy(
                project.join(format!("own/{file}")),
                project.join(format!("{name}/{file}")),
            )
            .unwrap();
        }
    }
    fs_err::create_dir(project.join("folder/blobs")).unwrap();
    for (target, link) in [
        ("own/blobs/sha256", "folder/blobs/sha256"),
        ("own/blobs", "all/blobs"),
    ] {
        fs_err::os::unix::fs::symlink(project.join(target), project.join(link)).unwrap();
    }
    for (destination, says) in [
        ("oci:app:v1", "it is no layout, and not empty"),
        ("oci:folder:v1", "`blobs/sha256` is a link"),
        ("oci:all:v1", "`sealpack copy oci:all:TAG oci:DIR:TAG`"),
        (
            "oci:file/out:v1",
            "`oci:file/out:v1` cannot be written: `file`",
        ),
        ("oci-archive:file/out.tar:v1", "cannot be written: `file`"),
        ("127.0.0.1:9/app:v1", "127.0.0.1:9"),
    ] {
        let arguments = ["--no-cache", "--unsigned", "--tag", destination];
        let mut command = project.sealpack(["build", "app", "--builder", "builder.toml"]);
        let said = Output::of(command.args(arguments)).expect(2).stderr;
        assert!(said.contains(says), "{destination}: {said}");
        assert!(!said.contains("detect"), "{destination}: {said}");
        assert!(!said.contains("is kept in"), "{destination}: {said}");
    }
    // What is only not there yet is made.
    project.build("oci:new/folder/out:v1").expect(0);
}

#[test]
fn a_program_that_asked_for_json_gets_the_error_as_json() {
    let project = Project::typical();
    let output = project.run(&["verify", "oci:none:v1", "--key", "test.pub", "-o", "json"]);
    assert_eq!(output.code, 2);
    let document = json_of(&output);
    let error = document["error"].as_str().unwrap();
    assert!(error.contains("folder `none` not found"), "{document}");
    assert!(output.stderr.contains(error), "{output:?}");
    // A document that says no is not followed by another.
    project.build("oci:out:v1").expect(0);
    bare(&project);
    let output = project.run(&["verify", "oci:bare:v1", "--key", "test.pub", "-o", "json"]);
    assert_eq!(
        (output.code, &json_of(&output)["accepted"]),
        (1, &json!(false))
    );
}

#[test]
fn proof_is_copied_unless_it_is_said_otherwise() {
    let project = built();
    let copied = project.run(&["cp", "oci:out:v1", "oci:copied:v1", "-o", "json"]);
    assert_eq!(json_of(&copied.expect(0))["leftBehind"], 0);
    project
        .run(&["verify", "oci:copied:v1", "--key", "test.pub"])
        .expect(0);
    bare(&project);
    project
        .run(&["verify", "oci:bare:v1", "--key", "test.pub"])
        .expect(1);
    // What was typed so far.
    project
        .run(&["copy", "-r", "oci:out:v1", "oci:again:v1"])
        .expect(0);
}

#[test]
fn several_images_are_verified_by_several_keys_and_what_was_signed_with_them() {
    let project = built();
    bare(&project);
    let sign = [
        "sign",
        "oci:bare:v1",
        "--key",
        "test.key",
        "-y",
        "-a",
        "build=42",
    ];
    project.run(&sign).expect(0);
    project
        .run(&["key", "generate", "--output-key-prefix", "other"])
        .expect(0);
    let keys = ["--key", "other.pub", "--key", "test.pub"];
    let verify = |rest: &[&str]| project.run(&[&["verify"], rest, &keys].concat());
    let shown = verify(&["oci:bare:v1", "-a", "build=42"]).expect(0).stdout;
    assert!(shown.contains("build=42"), "{shown}");
    let refused = verify(&["oci:bare:v1", "-a", "build=43"]).expect(1);
    assert!(refused.stderr.contains("annotations"), "{refused:?}");
    // Only signatures have some: a question that asks for none of these is no question.
    let others = ["oci:bare:v1", "-a", "build=42", "--claim", "provenance"];
    let refused = verify(&others).expect(2);
    assert!(refused.stderr.contains("--claim signature"), "{refused:?}");
    verify(&["oci:out:v1", "oci:bare:v1"]).expect(0);
    for (images, code) in [
        (["oci:out:v1", "oci:bare:v2"], 2),
        (["oci:none:v1", "oci:bare:v1"], 2),
    ] {
        let output = verify(&[images[0], images[1], "-o", "json"]).expect(code);
        let accepted: Vec<_> = json_of(&output).as_array().unwrap().clone();
        let accepted: Vec<_> = accepted.iter().map(|it| it["accepted"] == true).collect();
        assert_eq!(accepted.iter().filter(|it| **it).count(), 1, "{output:?}");
    }
    let none = ["oci:out:v1", "oci:bare:v1", "-a", "build=42"];
    assert!(verify(&none).expect(1).stderr.contains("1 of 2 images"));
}

#[test]
fn keys_come_out_of_variables() {
    let project = built();
    bare(&project);
    let key = fs_err::read_to_string(project.join("test.key")).unwrap();
    let public = fs_err::read_to_string(project.join("test.pub")).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = project.sealpack(arguments);
        Output::of(command.env("PRIVATE", &key).env("PUBLIC", &public))
    };
    run(&["sign", "oci:bare:v1", "--key", "env://PRIVATE"]).expect(0);
    run(&["verify", "oci:bare:v1", "--key", "env://PUBLIC"]).expect(0);
    let shown = run(&["key", "public", "--key", "env://PRIVATE"]).expect(0);
    assert_eq!(shown.stdout.trim(), public.trim());
    for (name, says) in [
        ("env://NONE", "is not set"),
        ("awskms:///alias/x", "keys in key services cannot be used"),
    ] {
        let output = run(&["sign", "oci:bare:v1", "--key", name]).expect(2);
        assert!(output.stderr.contains(says), "{output:?}");
    }
}

#[test]
fn what_is_attested_are_the_bytes_that_were_given() {
    let project = built();
    let text = "{ \"n\": 12345678901234567890123,\n\t\"b\": 1.10, \"a\": \"\\u00e9\" }";
    project.write("claim.json", text);
    let attest = |rest: &[&str]| {
        let all = [
            "attest",
            "oci:out:v1",
            "--key",
            "test.key",
            "--type",
            "https://x.example/y",
        ];
        let output =
            project.run(&[&all[..], &["--predicate", "claim.json", "-o", "json"], rest].concat());
        json_of(&output.expect(0))
    };
    let first = attest(&[]);
    let (_, hex) = first["bundle"].as_str().unwrap().split_once(':').unwrap();
    let bundle = fs_err::read(project.join("out/blobs/sha256").join(hex)).unwrap();
    let bundle: Value = serde_json::from_slice(&bundle).unwrap();
    let payload = bundle["dsseEnvelope"]["payload"].as_str().unwrap();
    let payload = BASE64_STANDARD.decode(payload).unwrap();
    let payload = String::from_utf8(payload).unwrap();
    assert!(payload.contains(text), "{payload}");

    // In its place, and in that of nothing else.
    let count = || {
        let tree = json_of(&project.run(&["tree", "oci:out:v1", "-o", "json"]));
        tree["nodes"].as_array().unwrap().len()
    };
    let before = count();
    project.write("claim.json", "{}");
    let second = attest(&["--replace"]);
    assert_eq!(second["replaced"], json!([first["manifest"]]));
    assert_eq!(count(), before);
    project
        .run(&["verify", "oci:out:v1", "--key", "test.pub"])
        .expect(0);

    // What somebody vouched for stays, and that is said.
    let target = format!("oci:out@{}", second["manifest"].as_str().unwrap());
    project
        .run(&["sign", &target, "--key", "test.key"])
        .expect(0);
    project.write("claim.json", "{\"third\": 3}");
    let third = attest(&["--replace"]);
    assert_eq!(third["replaced"], Value::Null);
    assert!(count() > before);

    // Where nothing may be deleted, what was attached is said all the same.
    let registry = TestRegistry::start(Switches {
        faults: vec![Fault::first(9, "DELETE", FaultKind::Status(405, None))],
        ..Switches::default()
    });
    let image = format!("{}/app:v1", registry.host());
    project.run(&["copy", "oci:out:v1", &image]).expect(0);
    let mut again = vec![
        "attest",
        &image,
        "--key",
        "test.key",
        "--type",
        "https://x.example/y",
    ];
    again.extend(["--predicate", "claim.json", "-o", "json"]);
    project.run(&again).expect(0);
    // The same claim within the same second would be the same manifest.
    project.write("claim.json", "{\"another\": true}");
    again.push("--replace");
    let kept = project.run(&again).expect(2);
    assert!(kept.stdout.contains("\"manifest\""), "{kept:?}");
    assert!(
        kept.stderr.contains("the new claim is attached"),
        "{kept:?}"
    );

    // What is not the document that it is said to be.
    for (kind, field) in [
        ("cyclonedx", "bomFormat"),
        ("spdx", "spdxVersion"),
        ("provenance", "buildDefinition.buildType"),
        ("slsaprovenance", "builder.id"),
        ("vsa", "verifier.id"),
        ("vuln", "scanner"),
        ("openvex", "@context"),
    ] {
        let all = [
            "attest",
            "oci:out:v1",
            "--key",
            "test.key",
            "--predicate",
            "claim.json",
        ];
        let output = project
            .run(&[&all[..], &["--type", kind]].concat())
            .expect(2);
        let said = format!("`{field}` is missing");
        assert!(output.stderr.contains(&said), "{output:?}");
    }
    // What it is instead is said.
    project.write("claim.json", r#"{"spdxVersion": "SPDX-2.3"}"#);
    let attest = "attest oci:out:v1 --key test.key --type vuln --predicate claim.json";
    let arguments: Vec<&str> = attest.split(' ').collect();
    let output = project.run(&arguments).expect(2);
    assert!(
        output.stderr.contains("it looks like `--type spdx`"),
        "{output:?}"
    );
}

#[tokio::test]
async fn signatures_in_the_old_format_of_cosign_are_seen() {
    let project = built();
    bare(&project);
    let shown = json_of(
        &project
            .run(&["inspect", "oci:bare:v1", "-o", "json"])
            .expect(0),
    );
    let digest = shown["digest"].as_str().unwrap().replace(':', "-");
    let tag = format!("{digest}.sig");
    let named = format!("oci:bare:{tag}");
    project
        .run(&["copy", "oci:out:v1", &named, "--no-referrers"])
        .expect(0);
    // An image by that name is no signature that could not be read: what was "no" stays so.
    let verify = ["verify", "oci:bare:v1", "--key", "test.pub"];
    let verified = project.run(&verify).expect(1);
    assert!(verified.stderr.contains("no valid"), "{verified:?}");
    let tree = project.run(&["tree", "oci:bare:v1"]).expect(0);
    assert!(tree.stdout.contains(&format!("{digest}.sig")), "{tree:?}");
    let check = [
        "policy",
        "check",
        "oci:bare:v1",
        "--policy",
        "policy",
        "--key",
        "test.pub",
    ];
    project.run(&check).expect(1);
    // What cosign attached is one.
    crate::old_proof::attach(&project.join("bare"), &tag, 0).await;
    for command in [&verify[..], &check] {
        let said = project.run(command).expect(2);
        assert!(said.stderr.contains("cosign's old format"), "{said:?}");
    }
    // They are no tags of images.
    let listed = |rest: &[&str]| {
        let output = project.run(&[&["ls", "oci:bare", "-o", "json"], rest].concat());
        json_of(&output.expect(0))["tags"].as_array().unwrap().len()
    };
    assert_eq!((listed(&[]), listed(&["--all"])), (1, 2));
}

#[test]
fn offline_means_this_machine_wherever_a_registry_sends_us() {
    let workspace = Workspace::new();
    for (status, header) in [
        (
            401,
            "WWW-Authenticate: Bearer realm=\"https://elsewhere.example/token\"",
        ),
        (
            307,
            "Location: https://elsewhere.example/v2/app/manifests/v1",
        ),
    ] {
        let server = Scripted::start(move |_| Reply::new(status).header(header).body(""));
        let image = format!("{}/app:v1", server.host());
        let mut command = workspace.sealpack(["inspect", &image, "--offline"]);
        let auth = format!(r#"{{"{}":"Basic bWU6bWU="}}"#, server.host());
        let output = Output::of(command.env("CNB_REGISTRY_AUTH", auth)).expect(2);
        assert!(output.stderr.contains("elsewhere.example"), "{output:?}");
        assert!(output.stderr.contains("not on this machine"), "{output:?}");
    }
}

#[test]
fn the_machine_is_looked_at_without_changing_it() {
    let workspace = Workspace::new();
    let output = Output::of(&mut workspace.sealpack(["doctor", "-o", "json"])).expect(0);
    let document = json_of(&output);
    let findings = document["findings"].as_array().unwrap();
    for about in [
        "programs",
        "processes",
        "isolation",
        "users",
        "credentials",
        "mirrors",
        "temporary",
        "cache",
        "settings",
    ] {
        assert!(
            findings.iter().any(|it| it["about"] == about),
            "{about}: {document}"
        );
    }
    assert!(
        findings
            .iter()
            .any(|it| it["about"] == "programs" && it["state"] == "good")
    );
    Output::of(&mut workspace.sealpack(["doctor"])).expect(0);
    // What cannot be used, and why.
    workspace.write("file", "");
    let mut command = workspace.sealpack(["doctor", "-o", "json"]);
    command
        .env("TMPDIR", "/proc/self")
        .env("SEALPACK_KEY", "lost.key");
    command.env("XDG_CACHE_HOME", workspace.join("file/cache"));
    let document = json_of(&Output::of(&mut command).expect(0));
    for (about, state, says) in [
        ("temporary", "bad", "`/proc/self` cannot be used"),
        ("cache", "warning", "so nothing is kept for later builds"),
        ("keys", "bad", "key `lost.key` (SEALPACK_KEY) is of no use"),
    ] {
        let findings = document["findings"].as_array().unwrap();
        let finding = findings.iter().find(|it| it["about"] == about).unwrap();
        assert_eq!(finding["state"], state, "{finding}");
        assert!(
            finding["text"].as_str().unwrap().contains(says),
            "{finding}"
        );
    }
}

#[test]
fn versions_and_manual_pages_are_there() {
    let workspace = Workspace::new();
    let version = Output::of(&mut workspace.sealpack(["version", "-o", "json"])).expect(0);
    let apis = &json_of(&version)["platformApis"];
    assert!(apis.as_array().unwrap().contains(&json!("0.15")), "{apis}");
    Output::of(&mut workspace.sealpack(["man", "pages"])).expect(0);
    let page = fs_err::read_to_string(workspace.join("pages/sealpack-key-generate.1")).unwrap();
    assert!(page.contains("COSIGN_PASSWORD"), "{page}");
}

#[test]
fn a_command_that_takes_too_long_is_given_up() {
    let workspace = Workspace::new();
    let server = Scripted::start(|_| Reply::new(200).unsized_body("{").then_silence());
    let image = format!("{}/app:v1", server.host());
    let output = Output::of(&mut workspace.sealpack(["inspect", &image, "--timeout", "1s"]));
    assert_eq!(output.code, 2);
    assert!(output.stderr.contains("not done within"), "{output:?}");
    let bad = Output::of(&mut workspace.sealpack(["version", "--timeout", "soon"])).expect(2);
    assert!(bad.stderr.contains("90s"), "{bad:?}");
}

#[test]
fn colors_are_forced_and_forbidden_by_variables() {
    let workspace = Workspace::new();
    let colored = |variables: &[(&str, &str)]| {
        let mut command: Command = workspace.sealpack(["man", "pages"]);
        command.envs(variables.iter().copied());
        Output::of(&mut command).expect(0).stdout.contains('\x1b')
    };
    assert!(!colored(&[]));
    assert!(colored(&[("FORCE_COLOR", "1")]));
    assert!(colored(&[("CLICOLOR_FORCE", "1")]));
    assert!(!colored(&[("FORCE_COLOR", "0")]));
    assert!(!colored(&[("FORCE_COLOR", "1"), ("NO_COLOR", "1")]));
}

#[test]
fn what_is_set_elsewhere_stands_for_a_flag_and_flags_win() {
    let project = Project::typical();
    project.write(
        "sealpack.toml",
        "builder = \"builder.toml\"\nkey = \"test.key\"\ntags = [\"oci:out:file\"]\n",
    );
    let run = |arguments: &[&str], variables: &[(&str, &str)]| {
        let mut command = project.sealpack(arguments);
        Output::of(command.envs(variables.iter().copied()))
    };
    run(&["build", "app"], &[]).expect(0);
    run(&["verify", "oci:out:file", "--key", "test.pub"], &[]).expect(0);
    let built =
        json_of(&run(&["build", "app", "-t", "oci:out:typed", "-o", "json"], &[]).expect(0));
    assert_eq!(built["published"], true);
    run(&["build", "app", "--unsigned", "-t", "oci:out:bare"], &[]).expect(0);
    let listed = json_of(&run(&["ls", "oci:out", "-o", "json"], &[]).expect(0));
    assert_eq!(listed["tags"], json!(["bare", "file", "typed"]));
    // A variable goes before the file, and says so.
    let settings = |variables: &[(&str, &str)]| {
        let document = json_of(&run(&["config", "-o", "json"], variables).expect(0));
        document["settings"].as_array().unwrap().clone()
    };
    let by_variable = settings(&[("SEALPACK_KEY", "other.key")]);
    let key = by_variable.iter().find(|it| it["name"] == "key").unwrap();
    assert_eq!(
        (&key["value"], &key["from"]),
        (&json!("other.key"), &json!("SEALPACK_KEY"))
    );
    let refused = run(&["sign", "oci:out:bare"], &[("SEALPACK_KEY", "other.key")]).expect(2);
    assert!(refused.stderr.contains("other.key"), "{refused:?}");
    // A file that lies here signs nothing but builds.
    let unsigned = run(&["sign", "oci:out:bare"], &[]).expect(2);
    assert!(!unsigned.stderr.contains("test.key"), "{unsigned:?}");
    let named = [("SEALPACK_CONFIG", "sealpack.toml")];
    run(&["sign", "oci:out:bare"], &named).expect(0);

    // Whom to believe is nothing that a file says which nobody named.
    project.write("sealpack.toml", "public-keys = [\"test.pub\"]\n");
    let refused = run(&["build", "app", "-t", "oci:out:no"], &[]).expect(2);
    assert!(refused.stderr.contains("whom to trust"), "{refused:?}");
    let nobody = run(&["verify", "oci:out:bare"], &[]).expect(2);
    assert!(
        nobody
            .stderr
            .contains("`--key` or `--certificate-identity` is missing"),
        "{nobody:?}"
    );
    run(&["verify", "oci:out:bare"], &named).expect(0);
    // It is read whole or not at all: a part of it could lack the policy.
    let long = format!("{}policy = \"p\"\n", "#\n".repeat(600_000));
    project.write("sealpack.toml", long);
    let refused = run(&["config"], &[]).expect(2);
    assert!(refused.stderr.contains("larger than"), "{refused:?}");
    project.write("sealpack.toml", "bilder = 1\n");
    // A stranger's file is nothing to who verifies beside it.
    run(&["verify", "oci:out:bare", "--key", "test.pub"], &[]).expect(0);
    let malformed = run(&["config"], &[]).expect(2);
    assert!(malformed.stderr.contains("sealpack.toml"), "{malformed:?}");
}

#[test]
fn nothing_half_unpacked_stays() {
    let project = built();
    let shown = json_of(
        &project
            .run(&["inspect", "oci:out:v1", "-o", "json"])
            .expect(0),
    );
    let layers = shown["layers"].as_array().unwrap();
    let (_, hex) = layers.last().unwrap()["digest"]
        .as_str()
        .unwrap()
        .split_once(':')
        .unwrap();
    let blob = project.join("out/blobs/sha256").join(hex);
    let good = fs_err::read(&blob).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs_err::write(&blob, bad).unwrap();
    project.run(&["unpack", "oci:out:v1", "root"]).expect(2);
    assert!(!project.join("root").exists());
    // A folder that was there stays.
    fs_err::create_dir(project.join("root")).unwrap();
    project.run(&["unpack", "oci:out:v1", "root"]).expect(2);
    assert_eq!(fs_err::read_dir(project.join("root")).unwrap().count(), 0);
    fs_err::write(&blob, good).unwrap();
    project.run(&["unpack", "oci:out:v1", "root"]).expect(0);
}

#[test]
fn who_types_what_another_tool_has_is_told_what_it_is_here() {
    let workspace = Workspace::new();
    for (typed, hint) in [
        (
            &["generate-key-pair"][..],
            "hint: that is `sealpack key generate` here",
        ),
        (&["discover", "x"], "hint: that is `sealpack tree` here"),
        (
            &["copy", "a", "b", "--plain-http"],
            "hint: name the registry: `--insecure-registry HOST`",
        ),
        (
            &["build", "--path", "app"],
            "hint: the folder of the app is an argument",
        ),
    ] {
        let output = Output::of(&mut workspace.sealpack(typed)).expect(2);
        assert!(output.stderr.contains(hint), "{output:?}");
    }
    let none = Output::of(&mut workspace.sealpack(["nonsense"])).expect(2);
    assert!(!none.stderr.contains("hint:"), "{none:?}");
    Output::of(&mut workspace.sealpack(["--help"])).expect(0);
}
