//! Builds in containers, as jobs of CI systems run them: as root and as a user, with namespaces and
//! without. A container has the root of this machine, and a layer of its own over it.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::slice;

use serde_json::{Value, json};
use testkit::{FakeBuildpack, Output, Podman, Project, binary, peer, skipped};

const SECCOMP: [&str; 2] = ["--security-opt", "seccomp=unconfined"];
const UNMASK: [&str; 2] = ["--security-opt", "unmask=ALL"];
const ADMIN: [&str; 2] = ["--cap-add", "SYS_ADMIN"];

/// What Docker's default profile refuses, as far as builds need it.
const NO_NAMESPACES: &str = r#"{
  "defaultAction": "SCMP_ACT_ALLOW",
  "syscalls": [
    {"names": ["mount", "pivot_root", "setns", "umount2", "unshare"],
     "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
  ]
}"#;

/// A project that containers can build in.
struct Jobs {
    /// Before the project, in whose folder it keeps what it has to clear away.
    podman: Podman,
    project: Project,
    folder: String,
    programs: String,
}

impl Jobs {
    fn new() -> Option<Self> {
        let project = Project::typical();
        let podman = Podman::new(&project.join("podman"))?;
        let folder = project.workspace().path().display().to_string();
        let programs = binary("sealpack").parent().unwrap().display().to_string();
        let open = std::fs::Permissions::from_mode(0o777);
        fs_err::set_permissions(&folder, open).unwrap();
        Some(Self {
            podman,
            project,
            folder,
            programs,
        })
    }

    /// Runs `sealpack build app` with `arguments` in a container with these flags, where the shell
    /// does `first` before. None, loudly, if there is no such container.
    fn build(&self, user: &str, flags: &[&str], first: &str, arguments: &str) -> Option<Output> {
        let Self {
            folder, programs, ..
        } = self;
        let script = format!(
            "{first} {programs}/sealpack build app --builder builder.toml --unsigned -o json {arguments}"
        );
        let of_folder = format!("{folder}:{folder}");
        let of_programs = format!("{programs}:{programs}:ro");
        let own = ["run", "--rm", "--net", "none", "--user", user];
        let places = ["-w", folder, "-v", &of_folder, "-v", &of_programs];
        let rest = ["--rootfs", "/:O", "sh", "-c", &script];
        let output = self.podman.run(&[&own, flags, &places, &rest].concat());
        if output.code >= 125 {
            let why = output.stderr;
            skipped(&format!("podman starts no such container: {why}"));
            return None;
        }
        Some(output)
    }
}

/// What a build says that succeeded.
fn report(output: &Output) -> Value {
    assert_eq!(output.code, 0, "{output:?}");
    serde_json::from_str(&output.stdout).unwrap()
}

/// Whether nothing of what keeps builds apart is missing.
fn is_whole(report: &Value) -> bool {
    let isolation = &report["isolation"];
    isolation["namespaces"].as_array().unwrap().len() == 6 && isolation["ownProcesses"] == true
}

#[test]
fn without_namespaces_a_build_has_the_same_image_each_time() {
    let Some(jobs) = Jobs::new() else {
        return;
    };
    let profile = jobs.project.write("profile.json", NO_NAMESPACES);
    let profile = format!("seccomp={}", profile.display());
    // A home that is the root's, as an unknown user of Docker has it.
    let build = |user: &str, name: &str, flags: &[&str]| {
        let output = jobs.build(
            user,
            flags,
            "export HOME=/ TMPDIR=/tmp;",
            &format!("--tag oci:{name}:v1"),
        )?;
        Some((report(&output), output.stderr))
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
        assert_eq!(first["isolation"]["namespaces"], json!([]));
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
    let Some(jobs) = Jobs::new() else {
        return;
    };
    // Flags of Podman, and whether all that keeps builds apart has to be there.
    for (at, (flags, has_all)) in [
        (vec![], false),
        (UNMASK.to_vec(), false),
        (SECCOMP.to_vec(), false),
        ([SECCOMP, UNMASK].concat(), true),
        ([ADMIN, UNMASK].concat(), true),
        (vec!["--privileged"], true),
    ]
    .into_iter()
    .enumerate()
    {
        for user in ["0", "1002"] {
            let name = format!("{at}-{user}");
            let home = "export HOME=/tmp/home; mkdir -p $HOME;";
            let arguments = format!("--cache cache-{name} --tag oci:out-{name}:v1");
            let Some(output) = jobs.build(user, &flags, home, &arguments) else {
                return;
            };
            let said = &output.stderr;
            let is_whole = is_whole(&report(&output));
            assert!(is_whole || !has_all, "{flags:?} as {user}: {said}");
            // What is missing is said, with the one reason.
            let is_warned = said.contains("warning  ") && said.contains("isolat");
            assert_eq!(is_warned, !is_whole, "{flags:?} as {user}: {said}");

            // Who wants all of it gets it, or hears what is missing.
            let required = format!("{arguments} --isolation required");
            let output = jobs.build(user, &flags, home, &required).unwrap();
            let said = &output.stderr;
            if is_whole {
                report(&output);
            } else {
                assert_eq!(output.code, 2, "{flags:?} as {user}: {said}");
                assert!(said.contains("`--isolation required`"), "{said}");
                let reason = said.split_once(": ").map(|(_, it)| it.trim());
                assert_ne!(reason.unwrap_or_default(), "", "{said}");
            }
        }
    }
}

#[test]
fn a_build_needs_nothing_of_the_environment() {
    let Some(jobs) = Jobs::new() else {
        return;
    };
    // As cron, su and sudo start it: no home, no folder for what runs, no terminal.
    for user in ["0", "1002"] {
        let bare = "exec env -i PATH=/usr/bin:/bin";
        let arguments = format!("--tag oci:out-{user}:v1");
        let Some(output) = jobs.build(user, &[], bare, &arguments) else {
            return;
        };
        report(&output);
        let said = &output.stderr;
        assert!(!said.contains("error"), "as {user}: {said}");
    }
}

/// As behind `nsenter` or `unshare --pid`: who called is in a process group that is outside of the process
/// namespace. In another root no user namespace may be made, and where that is no mount, no root either.
#[test]
fn root_builds_where_it_may_make_no_user_namespace() {
    let is_root = nix::unistd::geteuid().is_root();
    if !is_root || ["unshare", "chroot"].iter().any(|it| peer(it).is_none()) {
        return;
    }
    let one = "mount --rbind / \"$0\"";
    let parts = "for it in /*; do \
                   if [ -h \"$it\" ]; then cp -P \"$it\" \"$0$it\"; \
                   elif [ -d \"$it\" ]; then mkdir \"$0$it\" && mount --rbind \"$it\" \"$0$it\"; fi; \
                 done";
    let home = FakeBuildpack::new("test/home")
        .build("ls \"$HOME\" > \"$HOME/seen\" && [ \"$(id -u)\" = 1000 ]\n");
    let mut digests = Vec::new();
    for (root, says) in [(one, "user not"), (parts, "without isolation")] {
        let project = Project::new(slice::from_ref(&home));
        fs_err::create_dir(project.join("root")).unwrap();
        let build = project.build_command(["--tag", "oci:out:v1", "--key", "test.key"]);
        let script = format!(
            "set -e; {root}; mount -t proc proc \"$0/proc\"; folder=$1; shift; \
             exec chroot \"$0\" sh -c 'cd \"$0\" && exec \"$@\"' \"$folder\" \"$@\""
        );
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--pid", "--fork", "sh", "-c", &script])
            .arg(project.join("root"))
            .arg(build.get_current_dir().unwrap())
            .arg(build.get_program())
            .args(build.get_args());
        for (name, value) in build.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let output = Output::of(&mut command).expect(0);
        assert!(output.stderr.contains(says), "{says}: {}", output.stderr);
        digests.push(output.stdout);
    }
    assert_eq!(digests[0], digests[1]);
}
