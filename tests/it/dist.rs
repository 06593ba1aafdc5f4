//! A release of the lifecycle, as `cli/lifecycle/dist` makes it.

use std::path::Path;
use std::process::Command;

use lifecycle_core::api::{BuildpackApi, PlatformApi};
use oci::{ExtractOptions, Image, LayoutStore, Limits, Platform, Selector, Store as _};
use testkit::{Output, Workspace, binary, repository};

const PHASES: [&str; 8] = [
    "analyzer", "builder", "creator", "detector", "exporter", "extender", "rebaser", "restorer",
];

/// Whether `folder` has all that a lifecycle consists of.
fn check(folder: &Path) {
    for phase in PHASES {
        let link = fs_err::read_link(folder.join("lifecycle").join(phase)).unwrap();
        assert_eq!(link, Path::new("lifecycle"));
    }
    let toml = fs_err::read_to_string(folder.join("lifecycle.toml")).unwrap();
    let quoted = |it: &str| format!("{it:?}");
    let platform = PlatformApi::SUPPORTED.iter();
    let platform: Vec<_> = platform.map(|it| quoted(it.as_str())).collect();
    let buildpack = BuildpackApi::SUPPORTED.iter();
    let buildpack: Vec<_> = buildpack.map(|it| quoted(it.as_str())).collect();
    for supported in [platform, buildpack] {
        let line = format!("supported = [{}]", supported.join(", "));
        assert!(toml.contains(&line), "{line}: {toml}");
        assert!(toml.contains(&format!(" = {}\n", supported[0])), "{toml}");
    }
    assert!(toml.contains("version = \"1.2.3\""), "{toml}");
}

#[tokio::test]
async fn a_release_is_what_platforms_take() {
    let workspace = Workspace::new();
    let binaries = binary("lifecycle").parent().unwrap().to_owned();
    let release = |name: &str| {
        let output = workspace.join(name);
        let mut command = Command::new(repository().join("cli/lifecycle/dist"));
        command
            .args(["--version", "1.2.3", "--output"])
            .arg(&output);
        Output::of(command.arg("--binaries").arg(&binaries)).expect(0);
        output
    };
    let output = release("dist");
    let architecture = std::env::consts::ARCH.replace("x86_64", "x86-64");
    let architecture = architecture.replace("aarch64", "arm64");
    let name = format!("lifecycle-v1.2.3+linux.{architecture}.tgz");
    let archive = output.join(&name);
    let sum = fs_err::read_to_string(output.join(format!("{name}.sha256"))).unwrap();
    let content = fs_err::read(&archive).unwrap();
    let digest = oci::Digest::of(&content);
    assert_eq!(sum, format!("{}  {name}\n", digest.hex()));
    let again = release("again").join(&name);
    assert!(content == fs_err::read(again).unwrap(), "other bytes");

    let folder = workspace.join("unpacked");
    fs_err::create_dir(&folder).unwrap();
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(&archive).arg("-C").arg(&folder);
    Output::of(&mut unpack).expect(0);
    check(&folder);
    for program in ["lifecycle", "launcher"] {
        for (kind, of) in [
            ("cdx", "spdx"),
            ("spdx", "cyclonedx"),
            ("syft", "cyclonedx"),
        ] {
            let file = folder.join(format!("lifecycle/{program}.sbom.{kind}.json"));
            let file = file.display().to_string();
            let convert = ["sbom", "convert", &file, "--format", of];
            let converted = Output::of(&mut workspace.sealpack(convert)).expect(0);
            assert!(
                converted.stdout.contains("pkg:cargo/libc@"),
                "{kind}: {converted:?}"
            );
        }
    }

    let layout = LayoutStore::open(output.join("image")).unwrap();
    let tag = Selector::Tag("1.2.3".parse().unwrap());
    let found = layout.resolve(&tag).await.unwrap();
    let limits = Limits::default();
    let image = Image::read(&layout, &found, &Platform::host(), &limits).await;
    let image = image.unwrap();
    assert_eq!(
        image.label("io.buildpacks.lifecycle.version"),
        Some("1.2.3")
    );
    for label in [
        "io.buildpacks.lifecycle.apis",
        "io.buildpacks.builder.metadata",
    ] {
        let value: serde_json::Value = serde_json::from_str(image.label(label).unwrap()).unwrap();
        assert!(value.to_string().contains("\"0.7\""), "{value}");
    }
    let (last, _) = image.layers().last().unwrap();
    let root = workspace.join("root");
    fs_err::create_dir(&root).unwrap();
    let extracted = oci::extract_layer(&layout, last, &root, &ExtractOptions::default()).await;
    extracted.unwrap();
    check(&root.join("cnb"));
}
