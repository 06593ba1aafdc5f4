//! Registries that refuse: what a build may not do is said before anything is built.

use testkit::registry::{Fault, FaultKind, Login, Switches, TestRegistry};
use testkit::{Output, Project};

/// Builds for `image` with this credential for the registry at `host`.
fn build(project: &Project, image: &str, host: &str, credential: Option<&str>) -> Output {
    let all = ["--key", "test.key", "--policy", "policy", "--tag", image];
    let mut command = project.build_command(all);
    if let Some(credential) = credential {
        let auth = format!(r#"{{"{host}":"Basic {credential}"}}"#);
        command.env("CNB_REGISTRY_AUTH", auth);
    }
    Output::of(&mut command)
}

/// That nothing was built, and that it is said who has to log in where.
fn ended_at_once(output: &Output, host: &str) {
    assert_eq!(output.code, 2, "{output:?}");
    for phase in ["analyze", "detect", "build  ", "export"] {
        assert!(!output.stderr.contains(phase), "{phase}: {output:?}");
    }
    let hint = format!("sealpack login {host}");
    assert!(output.stderr.contains(&hint), "{output:?}");
}

#[test]
fn a_credential_that_is_wrong_ends_the_build_at_once() {
    let project = Project::typical();
    let logins = [
        Login::Basic {
            username: "me",
            password: "hunter2",
        },
        Login::token("me", "hunter2"),
    ];
    // Of `me:wrong`, and none.
    for credential in [Some("bWU6d3Jvbmc="), None] {
        for login in logins.clone() {
            let registry = TestRegistry::start(Switches {
                login,
                ..Switches::default()
            });
            let host = registry.host();
            let image = format!("{host}/team/app:v1");
            let output = build(&project, &image, &host, credential);
            ended_at_once(&output, &host);
            assert!(output.stderr.contains("nothing was built"), "{output:?}");
        }
    }
}

#[test]
fn a_right_that_is_missing_ends_the_build_at_once() {
    let project = Project::typical();
    for status in [401, 403] {
        let registry = TestRegistry::start(Switches {
            faults: vec![Fault::first(
                usize::MAX,
                "POST /v2/team/app/blobs/uploads/",
                FaultKind::Status(status, None),
            )],
            ..Switches::default()
        });
        let host = registry.host();
        let output = build(&project, &format!("{host}/team/app:v1"), &host, None);
        ended_at_once(&output, &host);
        assert!(
            output.stderr.contains("refused access: cannot write"),
            "{output:?}"
        );
    }
}

/// Many registries say so of what is not there yet, and some names may only write.
#[test]
fn who_may_only_write_may_build() {
    let project = Project::typical();
    for status in [401, 403] {
        let refuse = |on| Fault::first(usize::MAX, on, FaultKind::Status(status, None));
        let registry = TestRegistry::start(Switches {
            faults: vec![
                refuse("HEAD /v2/team/app/manifests/v1"),
                refuse("GET /v2/team/app/manifests/v1"),
            ],
            ..Switches::default()
        });
        let host = registry.host();
        let output = build(&project, &format!("{host}/team/app:v1"), &host, None).expect(0);
        assert!(output.stderr.contains("may not be read"), "{output:?}");
        assert_eq!(registry.open_uploads(), 0);
    }
}

#[test]
fn what_the_build_begins_with_has_to_be_readable() {
    let project = Project::typical();
    for status in [401, 403] {
        let registry = TestRegistry::start(Switches {
            faults: vec![Fault::first(
                usize::MAX,
                "/manifests/",
                FaultKind::Status(status, None),
            )],
            ..Switches::default()
        });
        let host = registry.host();
        let image = format!("{host}/team/base:v1");
        for flag in ["--run-image", "--previous-image"] {
            let output = project.build_with("oci:out:v1", &[flag, &image]);
            ended_at_once(&output, &host);
            assert!(output.stderr.contains(&host), "{output:?}");
            assert!(!project.join("out/index.json").exists());
        }
    }
}

/// Some registries make no repository that is pushed to, and a proxy takes nothing from anybody.
#[test]
fn a_repository_that_takes_nothing_ends_the_build_at_once() {
    let project = Project::typical();
    for (status, hint) in [
        (404, "make the repository, or the project"),
        (405, "name a registry that takes images"),
    ] {
        let registry = TestRegistry::start(Switches {
            faults: vec![Fault::first(
                usize::MAX,
                "POST /v2/team/app/blobs/uploads/",
                FaultKind::Status(status, None),
            )],
            ..Switches::default()
        });
        let host = registry.host();
        let output = build(&project, &format!("{host}/team/app:v1"), &host, None).expect(2);
        for phase in ["analyze", "detect", "build  ", "export"] {
            assert!(!output.stderr.contains(phase), "{phase}: {output:?}");
        }
        for says in [&host, hint, "nothing was built"] {
            assert!(output.stderr.contains(says), "{says}: {output:?}");
        }
    }
}

/// It may be down for a moment, or not understand: then publishing says what is wrong.
#[test]
fn what_is_no_refusal_is_none() {
    let project = Project::typical();
    let registry = TestRegistry::start(Switches {
        faults: vec![Fault::first(
            1,
            "POST /v2/team/app/blobs/uploads/",
            FaultKind::Status(400, None),
        )],
        ..Switches::default()
    });
    let host = registry.host();
    build(&project, &format!("{host}/team/app:v1"), &host, None).expect(0);
}
