//! `sealpack build` into real daemons: what it loads, runs; and its proof is kept elsewhere.

use testkit::{Dockerd, Output, Podman, Project};

use crate::build::json;
use crate::publish::runnable;

/// Builds for the daemon at `host`, judged by the policy.
fn build(project: &Project, host: &str, arguments: &[&str]) -> Output {
    let common = ["--key", "test.key", "--policy", "policy"];
    let mut command = project.build_command(common);
    command.env("DOCKER_HOST", host).args(arguments);
    Output::of(&mut command)
}

/// `--output`, to the daemon.
const TO_DAEMON: [&str; 2] = ["--tag", "docker-daemon:hello:v1"];

#[test]
fn docker_runs_what_was_built_for_it() {
    let Some(project) = runnable() else { return };
    let folder = project.join("docker");
    fs_err::create_dir(&folder).unwrap();
    let Some(docker) = Dockerd::start(&folder, &[]) else {
        return;
    };
    let host = docker.host();
    let built = build(&project, &host, &TO_DAEMON).expect(0);
    let published = built
        .stderr
        .lines()
        .skip_while(|it| !it.contains("publish"));
    let published: Vec<_> = published.collect();
    let published = Output {
        code: 0,
        stdout: String::new(),
        stderr: published.join("\n"),
    };
    insta::assert_snapshot!(project.transcript(&published), @"
    exit: 0
    --- stdout
    --- stderr
      publish  docker-daemon:hello:v1 as sha256:[digest] ([size] written)
      warning  a Docker daemon cannot keep what is attached to an image: signatures, SBOMs, provenance: `docker-daemon:hello:v1` is without its proof; add `--tag HOST/REPO:TAG` or `--tag oci:DIR:TAG` to keep it
    ");
    let run = || docker.docker(&["run", "--rm", "--network=host", "hello:v1"]);
    if let Some(output) = run() {
        assert_eq!(output.expect(0).stdout, "hello, world\n");
    }

    // With a second destination the proof is kept, of the same image; the daemon has it by then.
    let both = [&TO_DAEMON[..], &["--tag", "oci:out:v1", "--output", "json"]].concat();
    let report = json(&build(&project, &host, &both).expect(0));
    assert_eq!(report["image"], "docker-daemon:hello:v1");
    for claim in ["signature", "provenance", "cyclonedx", "spdx"] {
        let verify = [
            "verify",
            "oci:out:v1",
            "--key",
            "test.pub",
            "--claim",
            claim,
        ];
        project.run(&verify).expect(0);
    }
    let inspect = |image: &str| {
        let mut command = project.sealpack(["inspect", image, "--output", "json"]);
        json(&Output::of(command.env("DOCKER_HOST", &host)).expect(0))["imageId"].clone()
    };
    assert_eq!(inspect("docker-daemon:hello:v1"), inspect("oci:out:v1"));

    // Another app: only what has changed is sent, and it is the new one that runs.
    project.write(
        "app/app",
        "#!/workspace/busybox sh\necho \"goodbye, $GREETING\"\n",
    );
    build(&project, &host, &TO_DAEMON).expect(0);
    if let Some(output) = run() {
        assert_eq!(output.expect(0).stdout, "goodbye, world\n");
    }

    // A daemon that is not there is noticed before anything is built.
    drop(docker);
    let gone = build(&project, &host, &TO_DAEMON).expect(2);
    insta::assert_snapshot!(gone.transcript(&[(&host, "[host]")]), @"
    exit: 2
    --- stdout
    --- stderr
    error: failed to reach the Docker daemon at `[host]`
      cause: no Docker daemon listens there
      cause: No such file or directory (os error 2)
    hint: is Docker running? `DOCKER_HOST` or a Docker context names another daemon
    ");
}

#[test]
fn podman_runs_what_was_built_for_it() {
    let Some(project) = runnable() else { return };
    let Some(podman) = Podman::serve(&project.join("podman")) else {
        return;
    };
    build(&project, &podman.host(), &TO_DAEMON).expect(0);
    let output = podman.run(&["run", "--rm", "hello:v1"]);
    assert_eq!(output.expect(0).stdout, "hello, world\n");
}
