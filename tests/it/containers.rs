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
            let is_warned = said.contains("isolat");
            assert_eq!(is_warned, kinds < 6, "{flags:?} as {user}: {said}");
        }
    }
}
