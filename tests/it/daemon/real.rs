//! Against Debian's Docker, skipped, loudly, where it is not installed.

use oci::LayoutStore;
use serde_json::Value;
use testkit::Dockerd;

use super::images::Images;

async fn start() -> Option<(Images, Dockerd)> {
    let images = Images::make().await?;
    let folder = images.workspace.join("docker");
    fs_err::create_dir(&folder).unwrap();
    let docker = Dockerd::start(&folder, &[])?;
    Some((images, docker))
}

#[tokio::test]
async fn docker_runs_what_we_load_and_gives_it_back() {
    let Some((images, docker)) = start().await else {
        return;
    };
    let host = docker.host();
    let copy = |from: &str, to: &str| images.copy(&host, from, to);
    let sealpack = |arguments: &[&str]| images.sealpack(&host, arguments);
    // Into the daemon: the second and third image bring their own layer only.
    let mut sizes = Vec::new();
    for tag in ["base", "one", "two", "two"] {
        let report = copy(&format!("oci:src:{tag}"), &format!("docker-daemon:{tag}"));
        let image = images.image(&images.store, tag).await;
        assert_eq!(report["imageId"], image.id().as_str());
        sizes.push(report["newBytes"].as_u64().unwrap());
    }
    assert!(
        sizes[0] > 500_000 && sizes[1] < 2_000 && sizes[2] < 5_000,
        "{sizes:?}"
    );
    assert_eq!(sizes[3], 0);
    for tag in ["one", "two"] {
        let run = ["run", "--rm", "--network=host", tag];
        if let Some(output) = docker.docker(&run) {
            assert_eq!(
                (output.code, output.stdout.as_str()),
                (0, tag),
                "{output:?}"
            );
        }
    }

    // Back: the same config and the same layers, under a manifest made anew.
    let back = LayoutStore::create(images.workspace.join("back")).unwrap();
    let image = images.image(&images.store, "two").await;
    let by_id = format!("docker-daemon:whatever@{}", image.id());
    for (source, tag) in [("docker-daemon:two", "by-name"), (&by_id, "by-id")] {
        copy(source, &format!("oci:back:{tag}"));
        let came = images.image(&back, tag).await;
        assert_eq!(came.config_bytes(), image.config_bytes());
        for (layer, diff_id) in came.layers() {
            let file = tempfile::tempdir_in(images.workspace.path()).unwrap();
            let rules = oci::ExtractOptions::default();
            let read = oci::extract_layer(&back, layer, file.path(), &rules).await;
            assert_eq!(read.unwrap().diff_id, *diff_id);
        }
    }
    let output = sealpack(&["unpack", "docker-daemon:one", "root"]);
    assert_eq!(output.code, 0, "{output:?}");
    let hello = fs_err::read(images.workspace.join("root/hello")).unwrap();
    assert_eq!(hello, b"one");
    let output = sealpack(&["inspect", "docker-daemon:one", "--output", "json"]);
    let shown: Value = serde_json::from_str(&output.stdout).unwrap();
    let one = images.image(&images.store, "one").await;
    assert_eq!(shown["imageId"], one.id().as_str());

    let output = sealpack(&["inspect", "docker-daemon:missing"]);
    assert_eq!(output.code, 2);
    insta::assert_snapshot!(output.stderr, @"error: tag `latest` not found in `docker-daemon:missing`");
    // Nothing of it is left.
    let left = fs_err::read_dir(images.workspace.path()).unwrap();
    let left = left.map(|it| it.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = left.filter(|it| it.starts_with("sealpack-")).collect();
    assert_eq!(left, [] as [&str; 0]);
}
