//! Against Debian's Podman, whose service speaks Docker's API; skipped, loudly, where it does not
//! work.

use oci::LayoutStore;
use oci::layer::Compression;
use testkit::Podman;

use super::images::{Images, report};

#[tokio::test]
async fn podman_runs_what_we_load_and_gives_it_back() {
    let Some(images) = Images::make().await else {
        return;
    };
    let Some(podman) = Podman::serve(&images.workspace.join("podman")) else {
        return;
    };
    let host = podman.host();
    let copy = |from: &str, to: &str| images.copy(&host, from, to);
    // It takes images only whole; what it has, it is not sent again.
    let base = images.layer("bin/busybox", b"", Compression::None);
    let zstd = images.layer("hello", b"zstd", Compression::Zstd { level: 3 });
    images.push("zstd", &[&base, &zstd]).await;
    for (tag, name) in [
        ("base", "base"),
        ("one", "one"),
        ("two", "registry.example/team/two:v1"),
        ("zstd", "zstd"),
    ] {
        let image = images.image(&images.store, tag).await;
        let layers: u64 = image.manifest().layers.iter().map(|it| it.size).sum();
        for is_new in [true, false] {
            let to = format!("docker-daemon:{name}");
            let said = copy(&format!("oci:src:{tag}"), &to);
            assert_eq!(said["imageId"], image.id().as_str());
            let sent = said["newBytes"].as_u64().unwrap();
            assert_eq!((sent > layers, sent > 0), (is_new, is_new), "{said:#}");
        }
    }
    for (name, says) in [("one", "one"), ("registry.example/team/two:v1", "two")] {
        let output = podman.run(&["run", "--rm", name]);
        assert_eq!(output.expect(0).stdout, says);
    }

    // A name moves, whatever Podman takes it for: what was only named there is `docker.io/…`, and
    // what is loaded `localhost/…`.
    let moved = [
        ("one", "one"),
        ("two", "one"),
        ("base", "moved"),
        ("zstd", "moved"),
    ];
    for (tag, name) in moved {
        copy(&format!("oci:src:{tag}"), &format!("docker-daemon:{name}"));
        let image = images.image(&images.store, tag).await;
        let inspect = [
            "inspect",
            &format!("docker-daemon:{name}"),
            "--output",
            "json",
        ];
        let shown = report(images.sealpack(&host, &inspect));
        assert_eq!(shown["imageId"], image.id().as_str());
    }
    let output = podman.run(&["run", "--rm", "one"]);
    assert_eq!(output.expect(0).stdout, "two");

    // Back: the same config and the same layers, under a manifest made anew.
    let back = LayoutStore::create(images.workspace.join("back")).unwrap();
    let image = images.image(&images.store, "two").await;
    let by_id = format!("docker-daemon:whatever@{}", image.id());
    for (source, tag) in [
        ("docker-daemon:registry.example/team/two:v1", "by-name"),
        (&by_id, "by-id"),
    ] {
        copy(source, &format!("oci:back:{tag}"));
        let came = images.image(&back, tag).await;
        assert_eq!(came.config_bytes(), image.config_bytes());
        for (layer, diff_id) in came.layers() {
            let folder = tempfile::tempdir_in(images.workspace.path()).unwrap();
            let rules = oci::ExtractOptions::default();
            let read = oci::extract_layer(&back, layer, folder.path(), &rules).await;
            assert_eq!(read.unwrap().diff_id, *diff_id);
        }
    }
    let output = images.sealpack(&host, &["unpack", "docker-daemon:zstd", "root"]);
    output.expect(0);
    let hello = fs_err::read(images.workspace.join("root/hello")).unwrap();
    assert_eq!(hello, b"zstd");
    let output = images.sealpack(&host, &["inspect", "docker-daemon:missing"]);
    insta::assert_snapshot!(output.transcript(&[]), @"
    exit: 2
    --- stdout
    --- stderr
    error: tag `latest` not found in `docker-daemon:missing`
    ");
}

#[tokio::test]
async fn podman_tells_what_tags_a_name_has() {
    use oci::Store as _;

    let Some(images) = Images::make().await else {
        return;
    };
    let Some(podman) = Podman::serve(&images.workspace.join("podman")) else {
        return;
    };
    let host = podman.host();
    // The first is loaded, the second only named.
    for (name, tag) in [
        ("app", "v1"),
        ("app", "v2"),
        ("r.example/app", "v1"),
        ("application", "v3"),
    ] {
        images.copy(&host, "oci:src:one", &format!("docker-daemon:{name}:{tag}"));
    }
    let daemon = super::daemon_at(&host, super::quick());
    for (name, tags) in [
        ("app", &["v1", "v2"][..]),
        ("r.example/app", &["v1"]),
        ("localhost/other", &[]),
    ] {
        let found = daemon.store(&name.parse().unwrap()).tags().await.unwrap();
        let found: Vec<_> = found.iter().map(oci::Tag::as_str).collect();
        assert_eq!(found, tags, "{name}");
    }
}
