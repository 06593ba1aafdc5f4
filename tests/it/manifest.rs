//! `sealpack manifest`: indexes of images from anywhere, in pack's words.

use insta::assert_snapshot;
use oci::LayoutStore;
use serde_json::Value;
use testkit::registry::{Switches, TestRegistry};
use testkit::{
    Output, Podman, Project, Workspace, binary, docker_registry, olareg, peer, repository,
};

use crate::borrowing::push_image;
use crate::build::json;

/// A project with images for two machine types, in a layout each, both signed.
async fn two() -> Project {
    let project = Project::typical();
    for architecture in ["amd64", "arm64"] {
        let store = LayoutStore::create(project.join(architecture)).unwrap();
        push_image(&store, architecture, &[]).await;
        let image = format!("oci:{architecture}:v1");
        project
            .run(&["sign", &image, "--key", "test.key"])
            .expect(0);
    }
    project
}

fn inspect(project: &Project, list: &str) -> Value {
    let shown = project.run(&["manifest", "inspect", list, "--output", "json"]);
    json(&shown.expect(0))
}

#[tokio::test]
async fn its_words_are_packs() {
    let project = two().await;
    let registry = TestRegistry::start(Switches::default());
    let list = format!("{}/team/app:v1", registry.host());
    let list = list.as_str();
    let mut said = String::new();
    for line in [
        "create LIST oci:amd64:v1",
        "create LIST oci:amd64:v1",
        "add LIST oci:arm64:v1",
        "add LIST oci:arm64:v1",
        "annotate LIST oci:arm64:v1 --variant v8 --annotations a=b,c=d",
        "annotate LIST oci:none:v1 --os linux",
        "annotate LIST oci:arm64:v1 --os /",
        "add LIST LIST",
        "push LIST",
        "rm LIST oci:arm64:v1",
        "rm LIST oci:arm64:v1",
        "remove LIST",
        "remove LIST",
        "inspect oci:amd64:v1",
    ] {
        let line = format!("manifest {}", line.replace("LIST", list));
        let output = project.run(&line.split(' ').collect::<Vec<_>>());
        let text = project
            .transcript(&output)
            .replace(&registry.host(), "[registry]");
        said += &text;
        said += "\n";
    }
    assert_snapshot!(said, @r#"
    exit: 0
    --- stdout
    Successfully created manifest list '[registry]/team/app:v1'
    --- stderr
    exit: 2
    --- stdout
    --- stderr
    error: manifest list '[registry]/team/app:v1' already exists in local storage
    hint: remove it first: `sealpack manifest remove`
    exit: 0
    --- stdout
    Successfully added image 'oci:arm64:v1' to index
    --- stderr
    exit: 2
    --- stdout
    --- stderr
    error: `oci:arm64:v1` is in the manifest list '[registry]/team/app:v1' already
    exit: 0
    --- stdout
    Successfully annotated image 'oci:arm64:v1' in index '[registry]/team/app:v1'
    --- stderr
    exit: 2
    --- stdout
    --- stderr
    error: folder `none` not found
    exit: 2
    --- stdout
    --- stderr
    error: `//arm64/v8` is not a platform: write OS/ARCHITECTURE[/VARIANT], such as `linux/arm64`
    exit: 2
    --- stdout
    --- stderr
    error: the index `[registry]/team/app:v1` cannot hold itself
    exit: 0
    --- stdout
    Successfully pushed manifest list '[registry]/team/app:v1' to registry
    --- stderr
    exit: 0
    --- stdout
    Successfully removed image(s) from index: '[registry]/team/app:v1'
    --- stderr
    exit: 2
    --- stdout
    --- stderr
    error: `oci:arm64:v1` is not in the manifest list '[registry]/team/app:v1'
    hint: `sealpack manifest inspect` shows what is
    exit: 0
    --- stdout
    Successfully deleted manifest list(s) from local storage
    --- stderr
    exit: 2
    --- stdout
    --- stderr
    error: the manifest list '[registry]/team/app:v1' is not in `[workspace]/home/.pack/manifests`
    hint: create it first: `sealpack manifest create`
    exit: 2
    --- stdout
    --- stderr
    error: `oci:amd64@sha256:[digest]` is an image, not an index
    "#);
    let index = inspect(&project, list);
    assert_eq!(
        index["mediaType"],
        "application/vnd.oci.image.index.v1+json"
    );
    let arm64 = &index["manifests"][1];
    assert_eq!(arm64["platform"]["variant"], "v8");
    assert_eq!(arm64["annotations"]["c"], "d");
}

#[tokio::test]
async fn a_list_that_makes_no_sense_is_not_pushed() {
    let project = two().await;
    let run = |arguments: &[&str]| project.run(&[&["manifest"], arguments].concat());
    let say = |output: Output, part: &str| {
        let output = output.expect(2);
        assert!(output.stderr.contains(part), "{part}\n{}", output.stderr);
    };
    let list = "registry.example/app";
    run(&["create", list, "oci:amd64:v1", "oci:arm64:v1"]).expect(0);
    run(&["annotate", list, "oci:arm64:v1", "--arch", "amd64"]).expect(0);
    say(run(&["push", list, "oci:out:v1"]), "both for linux/amd64");
    run(&["rm", list, "oci:arm64:v1", "oci:amd64:v1"]).expect(0);
    say(run(&["push", list, "oci:out:v1"]), "holds no image");
    say(run(&["push", "registry.example/none"]), "the manifest list");
    assert!(!project.join("out").exists());
    for name in ["..", "oci:x:y", "UPPER", "a@sha256:0", "../x"] {
        say(
            run(&["create", name, "oci:amd64:v1"]),
            "is not a name for a manifest list",
        );
    }
    // Two names that share a folder are told apart.
    run(&["create", "registry.example/a_b", "oci:amd64:v1"]).expect(0);
    say(run(&["inspect", "registry.example/a/b"]), "a_b");
    // What is no list is neither read nor removed as one.
    let lists = project.join("home/.pack/manifests");
    fs_err::create_dir_all(lists.join("precious")).unwrap();
    fs_err::write(lists.join("precious/file"), "x").unwrap();
    say(run(&["remove", "precious"]), "the manifest list");
    say(
        run(&["create", "precious", "oci:amd64:v1"]),
        "is not a manifest list",
    );
    assert!(lists.join("precious/file").exists());
}

#[tokio::test]
async fn an_index_goes_out_with_its_images_and_their_proof() {
    let project = two().await;
    let folder = project.workspace().path().to_owned();
    let podman = Podman::new(&project.join("podman"));
    for registry in [docker_registry(&folder), olareg(&folder)]
        .into_iter()
        .flatten()
    {
        let list = format!("{}/team/app:v1", registry.host());
        let run = |arguments: &[&str]| project.run(arguments).expect(0);
        run(&["manifest", "create", &list, "oci:amd64:v1", "oci:arm64:v1"]);
        let pushed = [
            "manifest", "push", &list, "--purge", "--key", "test.key", "--output", "json",
        ];
        let pushed = json(&run(&pushed));
        let digest = pushed["digest"].as_str().unwrap();
        let entries = pushed["manifests"].as_array().unwrap();
        let images = entries.iter().map(|it| it["digest"].as_str().unwrap());
        for digest in images.chain([digest]) {
            let image = format!("{}/team/app@{digest}", registry.host());
            run(&["verify", &image, "--key", "test.pub"]);
            let Some(cosign) = peer("cosign") else {
                continue;
            };
            let mut cosign = project.workspace().command(cosign);
            cosign
                .args(["verify", "--key", "test.pub", "--insecure-ignore-tlog"])
                .args(["--allow-http-registry", &image]);
            Output::of(&mut cosign).expect(0);
        }
        // Copied whole, by digest.
        let copy = format!("oci:copy-{}:v1", registry.host().replace(':', "-"));
        run(&["copy", &list, &copy, "--referrers"]);
        run(&["verify", &copy, "--key", "test.pub"]);
        assert_eq!(inspect(&project, &copy)["digest"], digest);
        for (architecture, entry) in ["amd64", "arm64"].into_iter().zip(entries) {
            let platform = format!("linux/{architecture}");
            let wanted = entry["digest"].as_str().unwrap();
            if let Some(crane) = peer("crane") {
                let mut crane = project.workspace().command(crane);
                crane.args(["digest", "--insecure", "--platform", &platform, &list]);
                assert_eq!(Output::of(&mut crane).expect(0).stdout.trim(), wanted);
            }
            if let Some(podman) = &podman {
                podman
                    .run(&["pull", "--tls-verify=false", "--arch", architecture, &list])
                    .expect(0);
                let show = ["image", "inspect", "--format", "{{.Architecture}}", &list];
                assert_eq!(podman.run(&show).expect(0).stdout.trim(), architecture);
            }
            if let Some(skopeo) = peer("skopeo") {
                let mut skopeo = project.workspace().command(skopeo);
                skopeo
                    .args([
                        "--override-arch",
                        architecture,
                        "inspect",
                        "--tls-verify=false",
                    ])
                    .args(["--format", "{{.Architecture}}"])
                    .arg(format!("docker://{list}"));
                assert_eq!(
                    Output::of(&mut skopeo).expect(0).stdout.trim(),
                    architecture
                );
            }
        }
    }
}

#[tokio::test]
async fn a_list_of_dockers_form_and_an_index_of_an_index() {
    let project = two().await;
    let run = |arguments: &[&str]| project.run(arguments).expect(0);
    run(&[
        "manifest",
        "create",
        "app",
        "oci:amd64:v1",
        "oci:arm64:v1",
        "--format",
        "docker",
    ]);
    run(&["manifest", "push", "app", "oci:out:docker"]);
    run(&["manifest", "push", "app", "oci:out:oci", "--format", "oci"]);
    let docker = inspect(&project, "oci:out:docker");
    assert_eq!(
        docker["mediaType"],
        "application/vnd.docker.distribution.manifest.list.v2+json"
    );
    run(&["manifest", "create", "again", "oci:out:oci"]);
    let again = inspect(&project, "again");
    assert_eq!(again["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(again["digest"], inspect(&project, "oci:out:oci")["digest"]);
}

#[test]
fn the_example_puts_two_machine_types_together() {
    let workspace = Workspace::new();
    let ours = binary("sealpack");
    let ours = ours.parent().unwrap().display();
    let mut example = workspace.command(repository().join("examples/platforms/run"));
    let said = Output::of(example.env("PATH", format!("{ours}:/usr/bin:/bin"))).expect(0);
    assert_eq!(said.stdout.matches("verified oci:").count(), 3, "{said:#?}");
    assert!(said.stdout.contains(r#""variant": "v8""#), "{said:#?}");
}

#[tokio::test]
async fn a_list_may_be_published_at_once() {
    let project = two().await;
    let registry = TestRegistry::start(Switches::default());
    let list = format!("{}/team/app:v1", registry.host());
    let images = ["oci:amd64:v1", "oci:arm64:v1"];
    let create = [&["manifest", "create", &list][..], &images].concat();
    let published = [&create[..], &["--publish", "--key", "test.key"]].concat();
    project.run(&published).expect(0);
    for image in [
        list.as_str(),
        &format!("{list}@{}", digest_of(&project, "oci:amd64:v1")),
    ] {
        project
            .run(&["verify", image, "--key", "test.pub"])
            .expect(0);
    }
    // Nothing was kept on this machine, where it is not signed either.
    project.run(&["manifest", "push", &list]).expect(2);
    let signed = [&create[..], &["--key", "test.key"]].concat();
    let said = project.run(&signed).expect(2).stderr;
    assert!(
        said.contains("a list on this machine is not signed"),
        "{said}"
    );
}

fn digest_of(project: &Project, image: &str) -> String {
    let inspected = project.run(&["inspect", image, "--output", "json"]);
    json(&inspected.expect(0))["digest"]
        .as_str()
        .unwrap()
        .to_owned()
}
