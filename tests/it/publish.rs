//! `sealpack build` to registries, and what others make of it there.

mod again;
mod refused;

use std::process::Command;

use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{Output, Podman, Project, Server, docker_registry, olareg, peer};

use crate::build::json;

/// Real registries that are on this machine: without and with the referrers API.
fn registries(project: &Project) -> Vec<Server> {
    let folder = project.workspace().path();
    [docker_registry(folder), olareg(folder)]
        .into_iter()
        .flatten()
        .collect()
}

fn command(project: &Project, name: &str) -> Option<Command> {
    Some(project.workspace().command(peer(name)?))
}

#[test]
fn cosign_and_skopeo_take_what_was_published() {
    let project = Project::typical();
    for registry in registries(&project) {
        let image = format!("{}/team/app:v1", registry.host());
        let built = project.build_with(&image, &["--output", "json"]).expect(0);
        let digest = json(&built)["digest"].as_str().unwrap().to_owned();
        let by_digest = format!("{}/team/app@{digest}", registry.host());
        assert_eq!(json(&built)["image"].as_str().unwrap(), by_digest);

        for arguments in [
            &["verify"][..],
            &["verify-attestation", "--type", "slsaprovenance1"],
            &["verify-attestation", "--type", "cyclonedx"],
            &["verify-attestation", "--type", "spdxjson"],
        ] {
            let Some(mut cosign) = command(&project, "cosign") else {
                break;
            };
            cosign
                .args(arguments)
                .args(["--key", "test.pub", "--insecure-ignore-tlog"])
                .args(["--allow-http-registry", &by_digest]);
            Output::of(&mut cosign).expect(0);
        }
        if let Some(mut skopeo) = command(&project, "skopeo") {
            let layout = format!("oci:skopeo-{}:v1", registry.host().replace(':', "-"));
            skopeo
                .args(["--insecure-policy", "copy", "--src-tls-verify=false"])
                .arg(format!("docker://{image}"))
                .arg(&layout);
            Output::of(&mut skopeo).expect(0);
            let copied = project
                .run(&["inspect", &layout, "--output", "json"])
                .expect(0);
            assert_eq!(json(&copied)["digest"].as_str().unwrap(), digest);
        }
    }
}

#[test]
fn our_own_commands_read_it_back() {
    let project = Project::typical();
    for registry in registries(&project) {
        let image = format!("{}/team/app:v1", registry.host());
        project.build(&image).expect(0);
        let run = |arguments: &[&str]| project.run(arguments).expect(0);
        for claim in ["signature", "provenance", "cyclonedx", "spdx", "vsa"] {
            run(&["verify", &image, "--key", "test.pub", "--claim", claim]);
        }
        let check = |image: &str| {
            run(&[
                "policy", "check", image, "--policy", "policy", "--key", "test.pub",
            ])
        };
        check(&image);
        assert_eq!(run(&["tree", &image]).stdout.lines().count(), 6);
        let facts = json(&run(&["inspect", &image, "--output", "json"]));
        assert_eq!(facts["referrers"], 5, "{facts:#}");

        // All of it moves on to another repository, and to a layout.
        let elsewhere = format!("{}/team/promoted:v1", registry.host());
        run(&["copy", &image, &elsewhere, "--referrers"]);
        check(&elsewhere);
        let layout = format!("oci:copied-{}:v1", registry.host().replace(':', "-"));
        run(&["copy", &elsewhere, &layout, "--referrers"]);
        check(&layout);

        // Nothing has changed: what is there is not sent again.
        let again = project.build_with(&image, &["--output", "json"]).expect(0);
        assert_eq!(json(&again)["layers"]["new"], 0);
    }
}

/// A project whose image can be run: it says `hello, world`. None, loudly, without a static busybox.
pub(crate) fn runnable() -> Option<Project> {
    let project = Project::typical();
    let busybox = peer("busybox")?;
    if !Output::of(Command::new("file").arg("-L").arg(&busybox))
        .stdout
        .contains("static")
    {
        eprintln!("SKIPPED: busybox is not a static program");
        return None;
    }
    fs_err::copy(busybox, project.join("app/busybox")).unwrap();
    project.write(
        "app/app",
        "#!/workspace/busybox sh\necho \"hello, $GREETING\"\n",
    );
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(project.join("app/app"), mode).unwrap();
    Some(project)
}

#[test]
fn podman_runs_it() {
    let Some(project) = runnable() else { return };
    let Some(podman) = Podman::new(&project.join("podman")) else {
        return;
    };
    // Of the path it makes the name of an image: in that no letter may be a capital.
    project.build("oci:podman/out:v1").expect(0);
    let output = podman.run(&["run", "--rm", "--quiet", "oci:out:v1"]);
    if output.code != 0 && !output.stderr.contains("/cnb/") {
        eprintln!("SKIPPED: podman does not work here: {}", output.stderr);
        return;
    }
    assert_eq!(output.expect(0).stdout, "hello, world\n");
}

/// What was written to a registry.
fn writes(registry: &TestRegistry) -> Vec<String> {
    let all = registry.take_requests().into_iter();
    all.filter(|it| it.starts_with("PUT") || it.starts_with("POST") || it.starts_with("PATCH"))
        .collect()
}

#[test]
fn the_tag_is_written_when_all_proof_is_there() {
    for no_referrers_api in [false, true] {
        let registry = TestRegistry::start(Switches {
            no_referrers_api,
            ..Switches::default()
        });
        let project = Project::typical();
        project
            .build(&format!("{}/team/app:v1", registry.host()))
            .expect(0);
        let writes = writes(&registry);
        let tag = writes
            .iter()
            .position(|it| it.ends_with("/manifests/v1"))
            .unwrap();
        // Image, provenance, both SBOMs, signature; the verdict is about what is published.
        let manifests = writes[..tag]
            .iter()
            .filter(|it| it.contains("/manifests/sha256:"));
        assert_eq!(manifests.count(), 5, "{writes:#?}");
        assert_eq!(
            writes
                .iter()
                .filter(|it| it.ends_with("/manifests/v1"))
                .count(),
            1
        );
    }
}

#[test]
fn nothing_is_written_when_the_policy_rejects() {
    let registry = TestRegistry::start(Switches::default());
    let project = Project::typical();
    let policy = project.join("policy/policy.toml");
    let strict = fs_err::read_to_string(&policy)
        .unwrap()
        .replace("allow-dirty-source = true", "")
        .replace("https://sealpack.example", "https://someone-else.example");
    fs_err::write(&policy, strict).unwrap();
    let output = project
        .build(&format!("{}/team/app:v1", registry.host()))
        .expect(1);
    // Whether one may write was asked, and that is all.
    let written = writes(&registry);
    assert_eq!(written, ["POST /v2/team/app/blobs/uploads/"]);
    assert_eq!(registry.open_uploads(), 0);
    let kept = output
        .stderr
        .lines()
        .find_map(|line| line.split_once("kept in `oci:")?.1.strip_suffix('`'))
        .unwrap_or_else(|| panic!("{}", output.stderr));
    let tree = project.run(&["tree", &format!("oci:{kept}")]);
    assert!(
        tree.code == 0 || tree.stderr.contains("by digest"),
        "{}",
        tree.stderr
    );
}

#[test]
fn a_registry_that_fails_in_the_middle_gets_no_tag() {
    for (on, after) in [("PUT", 2), ("/manifests/sha256:", 3), ("/manifests/v1", 1)] {
        for status in [401, 403, 500] {
            let fault = Fault {
                after,
                ..Fault::first(1000, on, FaultKind::Status(status, None))
            };
            let registry = TestRegistry::start(Switches {
                faults: vec![fault],
                ..Switches::default()
            });
            let project = Project::typical();
            let output = project
                .build(&format!("{}/team/app:v1", registry.host()))
                .expect(2);
            assert!(registry.tagged("team/app", "v1").is_none());
            assert!(
                output.stderr.contains(&registry.host()),
                "{}",
                output.stderr
            );
            the_image_is_kept(&project, &output.stderr);
        }
    }
}

/// Asserts that the staged image is there, whole, and named; and nothing else of the build.
pub(crate) fn the_image_is_kept(project: &Project, stderr: &str) {
    let (_, rest) = stderr.split_once("kept in `").unwrap();
    let (layout, _) = rest.split_once('`').unwrap();
    let image = format!("{layout}:latest");
    project
        .run(&[
            "policy", "check", &image, "--policy", "policy", "--key", "test.pub",
        ])
        .expect(0);
    fs_err::remove_dir_all(layout.strip_prefix("oci:").unwrap()).unwrap();
    nothing_is_left(project);
}

/// Asserts that no folder of a build is there any more.
pub(crate) fn nothing_is_left(project: &Project) {
    let left: Vec<_> = fs_err::read_dir(project.workspace().path())
        .unwrap()
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("sealpack-") || name.starts_with(".tmp"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn one_build_goes_to_several_destinations() {
    let registry = TestRegistry::start(Switches::default());
    let project = Project::typical();
    let image = format!("{}/team/app:v1", registry.host());
    project
        .build_with("oci:out:v1", &["--output", &image])
        .expect(0);
    for image in ["oci:out:v1", &image] {
        project
            .run(&[
                "policy", "check", image, "--policy", "policy", "--key", "test.pub",
            ])
            .expect(0);
        project
            .run(&["verify", image, "--key", "test.pub", "--claim", "vsa"])
            .expect(0);
    }
}
