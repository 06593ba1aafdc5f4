//! The same files, given to a real pack.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use oci::tar::Reader;
use oci::{Image, LayoutStore};
use testkit::registry::{Switches, TestRegistry};
use testkit::{Output, Workspace, peer};

use super::{BUILDER, MADE, facts, image, workspace};

fn pack(workspace: &Workspace, program: &Path, arguments: &[&str]) -> Command {
    let mut command = workspace.command(program);
    command.args(arguments).arg("--no-color");
    command
}

/// The description, with run images that pack can ask for: it ends where no server answers.
fn there(registry: &TestRegistry) -> String {
    let host = registry.host();
    let toml = BUILDER.replace("registry.example/", &format!("{host}/"));
    toml.replace("mirror.example/", &format!("{host}/mirror/"))
}

/// A registry that holds the base image, and the descriptions that name it there.
fn registry(workspace: &Workspace) -> TestRegistry {
    let registry = TestRegistry::start(Switches::default());
    let base = format!("{}/base:1", registry.host());
    Output::of(&mut workspace.sealpack(["copy", "oci:base:1", &base])).expect(0);
    workspace.write("builder.toml", there(&registry).replace("BASE", &base));
    registry
}

/// What the layer `at` holds, in any order.
async fn entries(store: &LayoutStore, image: &Image, at: usize) -> BTreeSet<(String, u32, String)> {
    let (descriptor, _) = image.layers().nth(at).unwrap();
    let bytes = oci::store::read(store, descriptor, 1 << 20).await.unwrap();
    let mut reader = Reader::new(&bytes[..], 100, 1000).unwrap();
    let mut all = BTreeSet::new();
    while let Some(seen) = reader.next_entry().unwrap() {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        all.insert((seen.entry.path.display().to_string(), seen.entry.mode, text));
    }
    all
}

#[tokio::test]
async fn a_real_pack_makes_the_same() {
    let Some(program) = peer("pack") else { return };
    let workspace = workspace().await;
    let registry = registry(&workspace);
    Output::of(&mut pack(
        &workspace,
        &program,
        &["config", "experimental", "true"],
    ))
    .expect(0);
    for (name, arguments) in MADE {
        let mut both = Vec::new();
        for maker in ["pack", "sealpack"] {
            let destination = format!("{}/{maker}/{name}:1", registry.host());
            let mut made = arguments.to_vec();
            made.push(&destination);
            let mut command = if maker == "pack" {
                made.push("--publish");
                pack(&workspace, &program, &made)
            } else {
                workspace.sealpack(made)
            };
            Output::of(&mut command).expect(0);
            let copy = ["copy", &destination, &format!("oci:{maker}:{name}")];
            Output::of(&mut workspace.sealpack(copy)).expect(0);
            both.push(image(&workspace, maker, name).await);
        }
        let [(their_store, theirs), (our_store, ours)] = &both[..] else {
            panic!("both are made");
        };
        let (mut their_facts, our_facts) = (facts(theirs), facts(ours));
        // Pack writes variables, and the layers of packages, in any order.
        if name.starts_with("builder") {
            let at = ours.layers().count() - 2;
            let theirs = entries(their_store, theirs, at).await;
            assert_eq!(theirs, entries(our_store, ours, at).await, "{name}");
            their_facts["diffIds"][at] = our_facts["diffIds"][at].clone();
            assert_eq!(their_facts, our_facts, "{name}");
        } else if name == "package" {
            let set = |image: &Image| {
                image
                    .layers()
                    .map(|it| it.1.clone())
                    .collect::<BTreeSet<_>>()
            };
            assert_eq!(set(theirs), set(ours), "{name}");
            assert_eq!(their_facts["labels"], our_facts["labels"], "{name}");
        } else {
            assert_eq!(their_facts, our_facts, "{name}");
            assert_eq!(theirs.descriptor(), ours.descriptor(), "{name}");
        }
    }
}

/// Each takes what the other made: packages into builders, files, and a builder as a base, whose
/// modules are then replaced.
#[tokio::test]
async fn pack_and_we_take_what_the_other_made() {
    let Some(program) = peer("pack") else { return };
    let workspace = workspace().await;
    let registry = registry(&workspace);
    Output::of(&mut pack(
        &workspace,
        &program,
        &["config", "experimental", "true"],
    ))
    .expect(0);
    let host = registry.host();
    let package = |maker: &str, arguments: &[&str]| {
        let mut command = if maker == "pack" {
            pack(&workspace, &program, arguments)
        } else {
            workspace.sealpack(arguments)
        };
        Output::of(&mut command).expect(0)
    };
    let publish = |maker: &str| {
        if maker == "pack" {
            &["--publish"][..]
        } else {
            &[]
        }
    };
    for (maker, other) in [("pack", "sealpack"), ("sealpack", "pack")] {
        let one = format!("{host}/{maker}/one:1");
        let arguments = ["buildpack", "package", &one, "--path", "one"];
        package(maker, &[&arguments, publish(maker)].concat());
        let file = format!("{maker}.cnb");
        let format = [
            "buildpack",
            "package",
            &file,
            "--config",
            "package.toml",
            "--format",
            "file",
        ];
        let signed = if maker == "pack" {
            &[][..]
        } else {
            &["--key", "test.key"]
        };
        package(maker, &[&format, signed].concat());
        package(other, &["buildpack", "inspect", &file]);
        let base = format!("{host}/{maker}/builder:1");
        let create = ["builder", "create", &base, "--config", "builder.toml"];
        package(maker, &[&create, publish(maker)].concat());

        let toml = there(&registry)
            .replace("BASE", &base)
            .replace("uri = \"one\"", &format!("uri = \"{one}\""))
            .replace("uri = \"all\"", &format!("uri = \"{file}\""));
        workspace.write("again.toml", toml);
        workspace.write("two-newer/changed", maker);
        let mut made = Vec::new();
        for maker in ["pack", "sealpack"] {
            let destination = format!("{host}/{maker}/again:1");
            let create = ["builder", "create", &destination, "--config", "again.toml"];
            package(maker, &[&create, publish(maker)].concat());
            let copy = ["copy", &destination, &format!("oci:again-{maker}:1")];
            Output::of(&mut workspace.sealpack(copy)).expect(0);
            let (_, image) = image(&workspace, &format!("again-{maker}"), "1").await;
            let mut facts = facts(&image);
            // The variables, of the builder and of its base.
            let at = image.layers().count() - 2;
            facts["diffIds"].as_array_mut().unwrap().remove(at);
            made.push(facts);
        }
        assert_eq!(made[0], made[1], "of {maker}");
    }
}
