//! Builds in containers, as jobs of CI systems run them: as root and as a user, with namespaces and
//! without. A container has the root of this machine, and a layer of its own over it.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use testkit::{Podman, Project, binary, skipped};

/// What keeps builds apart in a container: flags of Podman, and whether all of it has to be there.
const CONTAINERS: [(&[&str], bool); 4] = [
    (&[], false),
    (&["--security-opt", "seccomp=unconfined"], false),
    (
        &[
            "--security-opt",
            "seccomp=unconfined",
            "--security-opt",
            "unmask=ALL",
        ],
        false,
    ),
    (&["--privileged"], true),
];

/// What Docker's default profile refuses, as far as builds need it.
const NO_NAMESPACES: &str = r#"{
  "defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [
    {"names": ["mount", "pivot_root", "setns", "umount2", "unshare"],
     "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
  ]
}"#;

#[test]
fn without_namespaces_a_build_has_the_same_image_each_time() {
    let project = Project::typical();
    let Some(podman) = Podman::new(&project.join("podman")) else {
        return;
    };
    let folder = project.workspace().path().display().to_string();
    let programs = binary("sealpack").parent().unwrap().display().to_string();
    let open = std::fs::Permissions::from_mode(0o777);
    fs_err::set_permissions(&folder, open).unwrap();
    let profile = project.write("profile.json", NO_NAMESPACES);
    let profile = format!("seccomp={}", profile.display());
    // A home that is the root's, as an unknown user of Docker has it.
    let build = |user: &str, name: &str, flags: &[&str]| -> Option<(Value, String)> {
        let script = format!(
            "export HOME=/ TMPDIR=/tmp; {programs}/sealpack build app --builder builder.toml --unsigned --tag oci:{name}:v1 -o json"
        );
        let own = [
            "run",
            "--rm",
            "--net",
            "none",
            "--user",
            user,
            "-w",
            &folder,
            "-v",
            &format!("{folder}:{folder}"),
            "-v",
            &format!("{programs}:{programs}:ro"),
        ];
        let rest = ["--rootfs", "/:O", "sh", "-c", &script];
        let output = podman.run(&[&own[..], flags, &rest].concat());
        if output.code >= 125 {
            let why = output.stderr;
            skipped(&format!("podman starts no such container: {why}"));
            return None;
        }
        assert_eq!(output.code, 0, "{flags:?} as {user}: {output:?}");
        let report = serde_json::from_str(&output.stdout).unwrap();
        Some((report, output.stderr))
    };
    let refused = ["--security-opt", profile.as_str()];
    let Some((isolated, _)) = build("0", "isolated", &["--privileged"]) else {
        return;
    };
    for (user, says) in [("0", None), ("1002", Some("only root can make them"))] {
        let name = format!("out-{user}");
        let Some((first, said)) = build(user, &name, &refused) else {
            return;
        };
        assert_eq!(first["isolation"]["namespaces"], serde_json::json!([]));
        assert!(said.contains("without isolation"), "{said}");
        let is_elsewhere = said.contains("app and layers lie in `/tmp/sealpack-build-");
        assert_eq!(is_elsewhere, says.is_some(), "{said}");
        assert!(said.contains(says.unwrap_or_default()), "{said}");
        let again = build(user, &name, &refused).unwrap().0;
        assert_eq!(first["digest"], again["digest"], "as {user}");
        // As root it is that of a build for which everything could be mounted.
        if says.is_none() {
            assert_eq!(first["digest"], isolated["digest"]);
        }
    }
}

#[test]
fn a_build_runs_in_a_container_as_whoever_is_there() {
    let project = Project::typical();
    let Some(podman) = Podman::new(&project.join("podman")) else {
        return;
    };
    let folder = project.workspace().path().display().to_string();
    let programs = binary("sealpack").parent().unwrap().display().to_string();
    let open = std::fs::Permissions::from_mode(0o777);
    fs_err::set_permissions(&folder, open).unwrap();
    for (at, (flags, is_complete)) in CONTAINERS.into_iter().enumerate() {
        for user in ["0", "1002"] {
            let name = format!("{at}-{user}");
            let script = format!(
                "export HOME=/tmp/home; mkdir -p $HOME; {programs}/sealpack build app --builder builder.toml --unsigned --cache cache-{name} --tag oci:out-{name}:v1 -o json"
            );
            let own = [
                "run",
                "--rm",
                "--net",
                "none",
                "--user",
                user,
                "-v",
                &format!("{folder}:{folder}"),
                "-v",
                &format!("{programs}:{programs}:ro"),
                "-w",
                &folder,
            ];
            let rest = ["--rootfs", "/:O", "sh", "-c", &script];
            let output = podman.run(&[&own[..], flags, &rest].concat());
            if output.code >= 125 {
                skipped(&format!(
                    "podman starts no such container: {}",
                    output.stderr
                ));
                return;
            }
            let said = &output.stderr;
            assert_eq!(output.code, 0, "{flags:?} as {user}: {output:?}");
            let report: Value = serde_json::from_str(&output.stdout).unwrap();
            let isolation = &report["isolation"];
            let kinds = isolation["namespaces"].as_array().unwrap().len();
            // What is missing is said, with the one reason.
            let is_whole = kinds == 6 && isolation["ownProcesses"] == true;
            assert!(is_whole || !is_complete, "{flags:?} as {user}: {isolation}");
            let is_warned = said.contains("warning  ") && said.contains("isolat");
            assert_eq!(is_warned, !is_whole, "{flags:?} as {user}: {said}");
        }
    }
}
