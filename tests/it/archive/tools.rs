//! Archives between us and podman, Docker, skopeo and crane, and in every command.

use super::*;

/// Skopeo, podman and our own program: what one writes the other reads.
#[tokio::test]
async fn real_tools_read_what_we_write_and_write_what_we_read() {
    let Some(skopeo) = peer("skopeo") else {
        return;
    };
    let workspace = Workspace::new();
    let layout = LayoutStore::create(workspace.join("layout")).unwrap();
    let image = push_runnable(&layout).await;
    layout.tag(&image, &tag("v1")).await.unwrap();
    let sealpack = |arguments: &[&str]| {
        let output = Output::of(&mut workspace.sealpack(arguments));
        assert_eq!(output.code, 0, "{arguments:?}: {}", output.stderr);
        output
    };
    let skopeo = |arguments: &[&str]| {
        let mut command = workspace.command(&skopeo);
        let output = Output::of(command.arg("--insecure-policy").args(arguments));
        assert_eq!(output.code, 0, "{arguments:?}: {}", output.stderr);
        output
    };
    for (ours, theirs) in [
        (
            "docker-archive:ours.tar:app:v1",
            "docker-archive:theirs.tar:app:v1",
        ),
        (
            "oci-archive:ours-oci.tar:v1",
            "oci-archive:theirs-oci.tar:v1",
        ),
    ] {
        sealpack(&["copy", "oci:layout:v1", ours]);
        let raw = skopeo(&["inspect", "--raw", ours]).stdout;
        assert!(raw.contains("\"layers\""), "{raw}");
        if ours.starts_with("oci-archive") {
            assert_eq!(Digest::of(raw.trim_end().as_bytes()), image.digest);
        }
        // It compresses what is not compressed, so this is another image.
        skopeo(&["copy", ours, "oci:skopeo-read:v1"]);
        skopeo(&["copy", "oci:layout:v1", theirs]);
        sealpack(&["copy", theirs, "oci:we-read:v1"]);
        sealpack(&["unpack", theirs, &format!("root-{}", theirs.len())]);
    }
    // The same image, whatever tool reads it.
    let one = sealpack(&["inspect", "docker-archive:theirs.tar", "--output", "json"]);
    let two = sealpack(&["inspect", "docker-archive:ours.tar", "--output", "json"]);
    let id = |output: &Output| serde_json::from_str::<Value>(&output.stdout).unwrap()["id"].clone();
    assert_eq!(id(&one), id(&two));

    let Some(podman) = peer("podman") else {
        return;
    };
    let podman = |arguments: &[&str]| {
        let mut command = workspace.command(&podman);
        command.args([
            "--storage-driver",
            "vfs",
            "--root",
            "storage",
            "--runroot",
            "run",
        ]);
        Output::of(command.args(arguments))
    };
    let loaded = podman(&["load", "-i", "ours.tar"]);
    if loaded.code != 0 {
        return skipped(&format!("podman does not run here: {}", loaded.stderr));
    }
    assert!(loaded.stdout.contains("library/app:v1"), "{loaded:?}");
    for format in ["docker-archive", "oci-archive"] {
        let path = format!("podman-{format}.tar");
        podman(&["save", "--format", format, "-o", &path, "app:v1"]).expect(0);
        let three = sealpack(&["inspect", &format!("{format}:{path}"), "--output", "json"]);
        assert_eq!(id(&one), id(&three));
    }
}

/// One reference syntax for all, in every command.
#[test]
fn every_command_takes_archives() {
    let project = Project::typical();
    let docker = "docker-archive:app.tar:registry.example/team/app:v1";
    let built = project
        .build_with(docker, &["--tag", "oci-archive:oci.tar:v1"])
        .expect(0);
    assert!(built.stderr.contains(docker), "{}", built.stderr);
    for image in [docker, "docker-archive:app.tar", "oci-archive:oci.tar"] {
        let verify = ["verify", image, "--key", "test.pub"];
        let claims = ["--claim", "provenance", "--claim", "vsa"];
        project.run(&[&verify[..], &claims].concat()).expect(0);
        let policy = ["policy", "check", image, "--policy", "policy"];
        project
            .run(&[&policy[..], &["--key", "test.pub"]].concat())
            .expect(0);
        project.run(&["sign", image, "--key", "test.key"]).expect(0);
        assert!(
            project
                .run(&["tree", image])
                .expect(0)
                .stdout
                .contains("provenance")
        );
    }
    project.build(docker).expect(0);
    let copied = project
        .run(&["copy", docker, "oci-archive:copy.tar:v1", "--referrers"])
        .expect(0);
    assert!(copied.stdout.contains("referrers"), "{}", copied.stdout);
    project
        .run(&["verify", "oci-archive:copy.tar:v1", "--key", "test.pub"])
        .expect(0);
    project
        .run(&["unpack", "oci-archive:copy.tar", "root"])
        .expect(0);
    let missing = project
        .run(&["inspect", "docker-archive:app.tar:other"])
        .expect(2);
    assert!(
        missing.stderr.contains("not found in"),
        "{}",
        missing.stderr
    );
    let missing = project.run(&["inspect", "oci-archive:no.tar"]).expect(2);
    assert!(
        missing.stderr.contains("file `no.tar` not found"),
        "{}",
        missing.stderr
    );
}
