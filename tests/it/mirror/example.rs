//! `examples/mirror` does what it says.

use oci::LayoutStore;
use testkit::{binary, repository as root};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_example_runs() {
    let site = Site::new();
    let layout = LayoutStore::create(site.workspace.join("images")).unwrap();
    for version in ["v1", "v2"] {
        let image = push(&layout, &[version], None).await;
        sign(&layout, &image, &site.key).await;
        tag(&layout, &image, version).await;
    }
    let run = || {
        let mut command = site.workspace.command(root().join("examples/mirror/run"));
        let ours = binary("sealpack");
        let path = command
            .get_envs()
            .find_map(|(name, value)| (name == "PATH").then_some(value?))
            .unwrap()
            .to_owned();
        let folders = ours.parent().map(std::path::Path::to_path_buf).into_iter();
        let path = std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap();
        command.env("PATH", path).env("OUT", ".");
        Output::of(command.args(["oci:images", "policy/release.pub"]))
    };
    let output = run().expect(0);
    for expected in [
        "planned   oci:images:v1",
        "mirrored  oci:images:v2",
        "there     oci:./carried:v1",
    ] {
        assert!(output.stdout.contains(expected), "{}", output.stdout);
    }
    assert!(site.workspace.join("mirror.html").is_file());
    // One that nobody signed is in the way of all.
    let image = push(&layout, &["unsigned"], None).await;
    tag(&layout, &image, "v3").await;
    let output = run().expect(1);
    assert!(
        output
            .stderr
            .contains("oci:images:v3: require: no signature"),
        "{}",
        output.stderr
    );
}
