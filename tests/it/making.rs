//! Builders and packages that are made: as pack makes them, signed, and refused where they would be
//! malformed.

mod built;
mod faults;
mod pack;
mod proof;

use std::os::unix::fs::{PermissionsExt as _, symlink};

use bytes::Bytes;
use oci::{
    Descriptor, Image, LayoutStore, Limits, MediaType, Platform, Selector, Store as _, Upload,
};
use serde_json::{Value, json};
use testkit::{LayerFiles, Output, Workspace, binary, repository};

/// What `builder.toml` and the like name by `BASE` is where the base image lies.
const BUILDER: &str = r#"
description = "A builder & more"

[[buildpacks]]
id = "example/one"
version = "1.2.3"
uri = "one"
[[buildpacks]]
uri = "two"
[[buildpacks]]
uri = "two-newer"
[[buildpacks]]
uri = "all"
[[extensions]]
id = "example/ext"
version = "0.9.0"
uri = "ext"

[[order]]
[[order.group]]
id = "example/all"
version = "1.0.0"
[[order.group]]
id = "example/two"
version = "0.0.2"
optional = true
[[order]]
[[order.group]]
id = "example/one"
[[order-extensions]]
[[order-extensions.group]]
id = "example/ext"
version = "0.9.0"

[system.pre]
buildpacks = [{ id = "example/two", version = "0.0.2", optional = true }]

[build]
image = "BASE"
[[build.env]]
name = "GREETING"
value = "hello"
[[build.env]]
name = "PATHS"
value = "/a"
suffix = "append"
delim = ":"

[[run.images]]
image = "registry.example/run:1"
mirrors = ["mirror.example/run:1"]

[lifecycle]
uri = "lifecycle.tar"

[[targets]]
os = "linux"
arch = "amd64"
"#;

const PACKAGE: &str = "[buildpack]\nuri = \"all\"\n[[dependencies]]\nuri = \"one\"\n[[dependencies]]\nuri = \"two\"\n";

/// A workspace with buildpacks, an extension, descriptions, a lifecycle, a key, and a base image in
/// the layout `base`.
async fn workspace() -> Workspace {
    let workspace = Workspace::new();
    let module = |folder: &str, kind: &str, text: &str, programs: &[&str]| {
        let file = format!("{folder}/{kind}.toml");
        workspace.write(file, format!("api = \"0.10\"\n\n[{kind}]\n{text}"));
        for name in programs {
            let path = workspace.write(format!("{folder}/bin/{name}"), "#!/bin/sh\n");
            let mode = std::fs::Permissions::from_mode(0o755);
            fs_err::set_permissions(path, mode).unwrap();
        }
    };
    let both = ["build", "detect"];
    module(
        "one",
        "buildpack",
        "id = \"example/one\"\nversion = \"1.2.3\"\nname = \"One & <two>\"\ndescription = \"First\"\n\
         homepage = \"https://example.org\"\nkeywords = [\"a\", \"b\"]\n\
         [[buildpack.licenses]]\ntype = \"MIT\"\nuri = \"https://example.org/licence\"\n\
         [[targets]]\nos = \"linux\"\n",
        &both,
    );
    let long = format!("one/{}/{}.txt", "d".repeat(60), "e".repeat(60));
    for path in ["one/lib/data.txt", "one/lib/ünïcode", &long] {
        workspace.write(path, path);
    }
    symlink("data.txt", workspace.join("one/lib/link")).unwrap();
    fs_err::hard_link(
        workspace.join("one/lib/data.txt"),
        workspace.join("one/lib/hard"),
    )
    .unwrap();
    let tool = workspace.write("one/tool", "x");
    fs_err::set_permissions(tool, std::fs::Permissions::from_mode(0o700)).unwrap();
    module(
        "two",
        "buildpack",
        "id = \"example/two\"\nversion = \"0.0.1\"\n[[stacks]]\nid = \"*\"\n",
        &both,
    );
    module(
        "two-newer",
        "buildpack",
        "id = \"example/two\"\nversion = \"0.0.2\"\nclear-env = true\n\
         sbom-formats = [\"application/vnd.cyclonedx+json\"]\n\
         [[targets]]\nos = \"linux\"\narch = \"amd64\"\n[[targets.distros]]\nname = \"ubuntu\"\nversion = \"24.04\"\n\
         [metadata]\nx = 1\n",
        &both,
    );
    module(
        "all",
        "buildpack",
        "id = \"example/all\"\nversion = \"1.0.0\"\n[[order]]\n[[order.group]]\nid = \"example/one\"\nversion = \"1.2.3\"\n\
         [[order.group]]\nid = \"example/two\"\nversion = \"0.0.1\"\noptional = true\n",
        &[],
    );
    module(
        "ext",
        "extension",
        "id = \"example/ext\"\nversion = \"0.9.0\"\nname = \"Ext\"\nhomepage = \"https://example.org/ext\"\n",
        &["detect", "generate"],
    );
    workspace.write("builder.toml", BUILDER.replace("BASE", "oci:base:1"));
    workspace.write("package.toml", PACKAGE);
    workspace.write("ext.toml", "[extension]\nuri = \"ext\"\n");
    workspace.write("lifecycle.tar", lifecycle().tar());
    for (from, to) in [("p256-pkcs8.pem", "test.key"), ("p256.pub.pem", "test.pub")] {
        let key = repository().join("tests/fixtures/keys").join(from);
        workspace.write(to, fs_err::read(key).unwrap());
    }
    base(&workspace, json!(["CNB_USER_ID=1001", "CNB_GROUP_ID=1002"])).await;
    workspace
}

/// An archive as a lifecycle is released in: here with programs that do nothing.
fn lifecycle() -> LayerFiles {
    let names = [
        "analyzer", "builder", "creator", "detector", "exporter", "launcher", "restorer",
    ];
    let toml = "[api]\nplatform = \"0.7\"\nbuildpack = \"0.7\"\n[apis]\n[apis.buildpack]\ndeprecated = []\n\
        supported = [\"0.9\", \"0.10\"]\n[apis.platform]\ndeprecated = [\"0.7\"]\nsupported = [\"0.12\", \"0.13\"]\n\
        [lifecycle]\nversion = \"0.21.0\"\n";
    let files = LayerFiles::new()
        .file("lifecycle.toml", toml)
        .folder("lifecycle");
    names
        .iter()
        .fold(files, |files, name| {
            files.program(&format!("lifecycle/{name}"), *name)
        })
        .file("lifecycle/launcher.sbom.cdx.json", "{}")
}

/// Writes the base image `oci:base:1`, with these variables.
async fn base(workspace: &Workspace, env: Value) {
    let store = LayoutStore::create(workspace.join("base")).unwrap();
    let tar = Bytes::from(
        LayerFiles::new()
            .file("etc/os-release", "ID=ubuntu\n")
            .tar(),
    );
    let layer = Descriptor::of(MediaType::LAYER_TAR, &tar);
    let config = json!({
        "architecture": "amd64", "os": "linux",
        "config": { "Env": env, "Labels": {
            "io.buildpacks.base.distro.name": "ubuntu", "io.buildpacks.base.distro.version": "24.04",
            "io.buildpacks.stack.id": "example.stack",
        } },
        "rootfs": { "type": "layers", "diff_ids": [layer.digest] },
    });
    let config_bytes = Bytes::from(config.to_string());
    let config = Descriptor::of(MediaType::IMAGE_CONFIG, &config_bytes);
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MediaType::IMAGE_MANIFEST,
        "config": config, "layers": [layer],
    });
    let manifest = Bytes::from(manifest.to_string());
    let image = Descriptor::of(MediaType::IMAGE_MANIFEST, &manifest);
    store.push_blob(&layer, Upload::Bytes(tar)).await.unwrap();
    let upload = Upload::Bytes(config_bytes);
    store.push_blob(&config, upload).await.unwrap();
    store.push_manifest(&image, manifest).await.unwrap();
    store.tag(&image, &"1".parse().unwrap()).await.unwrap();
}

/// The image `tag` of the layout `folder`.
async fn image(workspace: &Workspace, folder: &str, tag: &str) -> (LayoutStore, Image) {
    let store = LayoutStore::open(workspace.join(folder)).unwrap();
    let target = store.resolve(&Selector::Tag(tag.parse().unwrap())).await;
    let (platform, limits) = (Platform::host(), Limits::default());
    let image = Image::read(&store, &target.unwrap(), &platform, &limits).await;
    let image = image.unwrap();
    (store, image)
}

/// What an image is, as far as both pack and we decide it. Labels are text, so that the order of their
/// keys counts.
fn facts(image: &Image) -> Value {
    let config = image.config();
    let mut labels = config.config.labels.clone();
    // Who made it is the one thing that has to differ.
    for value in labels.values_mut() {
        if let Some(at) = value.find(r#""createdBy":{"#) {
            let end = at + value.get(at..).unwrap().find('}').unwrap();
            value.replace_range(at..=end, r#""createdBy":{}"#);
        }
    }
    json!({
        "diffIds": config.rootfs.diff_ids,
        "labels": labels,
        "env": config.config.env,
        "workingDir": config.config.working_dir,
        "history": config.history.len(),
    })
}

/// The commands, and a name for what they make.
const MADE: [(&str, &[&str]); 5] = [
    (
        "builder",
        &["builder", "create", "--config", "builder.toml"],
    ),
    (
        "builder-flat",
        &[
            "builder",
            "create",
            "--config",
            "builder.toml",
            "--flatten",
            "example/one@1.2.3,example/two@0.0.1",
        ],
    ),
    (
        "package",
        &["buildpack", "package", "--config", "package.toml"],
    ),
    (
        "package-flat",
        &[
            "buildpack",
            "package",
            "--config",
            "package.toml",
            "--flatten",
        ],
    ),
    (
        "extension",
        &["extension", "package", "--config", "ext.toml"],
    ),
];

#[tokio::test]
async fn what_is_made_is_signed() {
    let workspace = workspace().await;
    for (name, arguments) in MADE {
        let destination = format!("oci:out:{name}");
        let made = [arguments, &["--key", "test.key", &destination]].concat();
        Output::of(&mut workspace.sealpack(made)).expect(0);
        let verify = ["verify", &destination, "--key", "test.pub"];
        Output::of(&mut workspace.sealpack(verify)).expect(0);
    }
}

/// The same bytes each time, in a registry or not: nothing of the machine or the clock is in it.
#[tokio::test]
async fn what_is_made_twice_is_the_same() {
    let workspace = workspace().await;
    let digest = |destination: &str| {
        let create = [
            "builder",
            "create",
            destination,
            "-c",
            "builder.toml",
            "--output",
            "json",
        ];
        let output = Output::of(&mut workspace.sealpack(create)).expect(0);
        let report: Value = serde_json::from_str(&output.stdout).unwrap();
        assert_eq!(report["images"][0]["platform"], "linux/amd64");
        report["digest"].as_str().unwrap().to_owned()
    };
    let first = digest("oci:out:1");
    for name in ["one/tool", "two/bin/build", "builder.toml"] {
        let file = fs_err::File::open(workspace.join(name)).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH)
            .unwrap();
    }
    assert_eq!(digest("oci:out:2"), first);
}

#[tokio::test]
async fn a_file_of_a_package_is_read_again() {
    let workspace = workspace().await;
    let package = [
        "buildpack",
        "package",
        "all.cnb",
        "--config",
        "package.toml",
        "--key",
        "test.key",
    ];
    for _ in 0..2 {
        // The second time it takes the place of the first.
        Output::of(&mut workspace.sealpack(package)).expect(0);
    }
    let inspect = ["buildpack", "inspect", "all.cnb", "--output", "json"];
    let output = Output::of(&mut workspace.sealpack(inspect)).expect(0);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["id"], "example/all");
    let modules: Vec<&str> = report["modules"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["id"].as_str().unwrap())
        .collect();
    assert_eq!(modules, ["example/all", "example/one", "example/two"]);
    let verify = ["verify", "oci-archive:all.cnb:latest", "--key", "test.pub"];
    Output::of(&mut workspace.sealpack(verify)).expect(0);

    let create = [
        "builder",
        "create",
        "oci:folders:1",
        "--config",
        "builder.toml",
    ];
    Output::of(&mut workspace.sealpack(create)).expect(0);
    let (_, folders) = image(&workspace, "folders", "1").await;

    // A builder that takes the file, and one of its buildpacks from a folder, too.
    let toml = BUILDER
        .replace("BASE", "oci:base:1")
        .replace("uri = \"all\"", "uri = \"all.cnb\"");
    workspace.write("builder.toml", toml);
    let create = ["builder", "create", "oci:out:1", "--config", "builder.toml"];
    Output::of(&mut workspace.sealpack(create)).expect(0);
    let (_, image) = image(&workspace, "out", "1").await;
    // The layers are the same as if all came from folders.
    assert_eq!(facts(&image)["diffIds"], facts(&folders)["diffIds"]);
}

/// Several platforms make an index, each image and the index signed.
#[tokio::test]
async fn several_targets_make_an_index() {
    let workspace = workspace().await;
    let package = [
        "buildpack",
        "package",
        "oci:out:1",
        "--path",
        "one",
        "--key",
        "test.key",
        "--target",
        "linux/amd64",
        "--target",
        "linux/arm64",
        "--output",
        "json",
    ];
    let output = Output::of(&mut workspace.sealpack(package)).expect(0);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["mediaType"], MediaType::IMAGE_INDEX.to_string());
    // Provenance, two SBOMs and a signature each.
    assert_eq!(report["attached"].as_array().unwrap().len(), 12);
    for image in report["images"].as_array().unwrap() {
        let image = format!("oci:out@{}", image["digest"].as_str().unwrap());
        let verify = ["verify", &image, "--key", "test.pub"];
        Output::of(&mut workspace.sealpack(verify)).expect(0);
    }
}

/// A target that names a distribution wants a base of that one.
#[tokio::test]
async fn a_base_has_the_distribution_that_a_target_names() {
    let workspace = workspace().await;
    let create = |target: &str| {
        let create = ["builder", "create", "oci:out:1", "-c", "builder.toml"];
        let mut command = workspace.sealpack(create);
        Output::of(command.args(["--target", target]))
    };
    let output = create("linux/amd64:ubuntu@22.04").expect(2);
    let expected = "is for linux/amd64:ubuntu@24.04, and linux/amd64:ubuntu@22.04 was asked for";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
    create("linux/amd64:ubuntu@24.04").expect(0);
}

/// Our own lifecycle, which lies beside `sealpack`, where `builder.toml` names none.
#[tokio::test]
async fn our_own_lifecycle_goes_into_a_builder() {
    let workspace = workspace().await;
    let toml = BUILDER
        .replace("BASE", "oci:base:1")
        .replace("uri = \"lifecycle.tar\"", "");
    workspace.write("builder.toml", toml);
    let create = ["builder", "create", "oci:out:1", "--config", "builder.toml"];
    Output::of(&mut workspace.sealpack(create)).expect(0);
    let inspect = ["builder", "inspect", "oci:out:1", "--output", "json"];
    let output = Output::of(&mut workspace.sealpack(inspect)).expect(0);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    // The version that ours stands in for: what it says of itself.
    let api = [("CNB_PLATFORM_API", "0.15")];
    let mut lifecycle = workspace.command(binary("lifecycle"));
    let said = Output::of(lifecycle.arg("-version").envs(api))
        .expect(0)
        .stdout;
    assert_eq!(report["lifecycle"]["version"], said.trim());
    assert_eq!(report["user"], "1001:1002");
    assert_eq!(
        report["createdBy"],
        format!("sealpack {}", env!("CARGO_PKG_VERSION"))
    );
    let unpack = ["unpack", "oci:out:1", "root"];
    Output::of(&mut workspace.sealpack(unpack)).expect(0);
    let detector = fs_err::read_link(workspace.join("root/cnb/lifecycle/detector")).unwrap();
    assert_eq!(detector.to_str(), Some("lifecycle"));
    assert!(workspace.join("root/cnb/lifecycle/launcher").is_file());
}

/// The example, as its script makes it.
#[tokio::test]
async fn the_example_is_made() {
    let workspace = workspace().await;
    let script = repository().join("examples/builder/make");
    let programs = binary("sealpack");
    let path = format!("{}:/usr/bin:/bin", programs.parent().unwrap().display());
    let base = format!("oci:{}:1", workspace.join("base").display());
    let mut make = workspace.command(script);
    make.env("PATH", path)
        .args([&base, "oci:out:1", "test.key"]);
    let output = Output::of(&mut make).expect(0);
    assert!(
        output.stdout.contains("example/all@0.1.0"),
        "{}",
        output.stdout
    );
    let verify = ["verify", "oci:out:1", "--key", "test.pub"];
    Output::of(&mut workspace.sealpack(verify)).expect(0);
}
