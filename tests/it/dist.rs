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

#[test]
fn what_cannot_be_packed_is_not_signed() {
    let workspace = Workspace::new();
    let mut command = Command::new(repository().join("cli/dist"));
    command.arg("--binaries");
    command.arg(binary("sealpack").parent().unwrap());
    command.arg("--output").arg(workspace.join("dist"));
    command.arg("--base").arg(workspace.join("missing"));
    assert_ne!(Output::of(&mut command).code, 0);
    assert!(!workspace.join("dist/proof").exists());
}

#[test]
fn what_is_larger_than_its_limit_is_not_packed() {
    let workspace = Workspace::new();
    let output = workspace.join("dist");
    let mut command = Command::new(repository().join("cli/dist"));
    command.arg("--binaries");
    command.arg(binary("sealpack").parent().unwrap());
    command.arg("--output").arg(&output);
    let refused = Output::of(command.args(["--limit", "1000000"])).expect(1);
    let says = " more than its limit of 1000000\n";
    assert!(refused.stderr.ends_with(says), "{refused:?}");
    assert_eq!(fs_err::read_dir(&output).unwrap().count(), 0);
}

/// Whether the list that was verified has the digest of `SHA256SUMS` in `folder`, as docs/install.md
/// looks for it.
fn is_listed(release: &Path, verified: &str, folder: &Path) -> bool {
    let first = verified.lines().next().unwrap();
    let (_, digest) = first.split_once("@sha256:").unwrap();
    let manifest = release.join("proof/blobs/sha256").join(digest);
    let sums = oci::Digest::of(&fs_err::read(folder.join("SHA256SUMS")).unwrap());
    let manifest = fs_err::read_to_string(manifest).unwrap();
    manifest.contains(sums.hex())
}

/// A release of sealpack itself, of programs that are there.
#[test]
fn a_release_of_sealpack_is_whole_and_proven() {
    let workspace = Workspace::new();
    let binaries = binary("sealpack").parent().unwrap().to_owned();
    let release = |name: &str, arguments: &[&str]| {
        let output = workspace.join(name);
        let mut command = Command::new(repository().join("cli/dist"));
        command.arg("--binaries").arg(&binaries);
        command.arg("--output").arg(&output).args(arguments);
        Output::of(&mut command).expect(0);
        output
    };
    let output = release("dist", &[]);
    let version = env!("CARGO_PKG_VERSION");
    let architecture = Platform::host().architecture;
    let name = format!("sealpack-{version}-linux-{architecture}");
    let deb = format!("sealpack_{version}_{architecture}.deb");
    let files = [
        format!("{name}.tar.gz"),
        deb.clone(),
        format!("{name}.oci.tar"),
        format!("sealpack-{version}.cdx.json"),
        format!("sealpack-{version}.spdx.json"),
        "SHA256SUMS".to_owned(),
    ];
    let again = release("again", &[]);
    for file in &files {
        let same =
            fs_err::read(output.join(file)).unwrap() == fs_err::read(again.join(file)).unwrap();
        assert!(same, "{file} has other bytes");
    }
    let mut check = Command::new("sha256sum");
    check.args(["--check", "SHA256SUMS"]).current_dir(&output);
    Output::of(&mut check).expect(0);

    // Who has the key alone can tell.
    let verify = |image: &str, key: &Path| {
        let verify = [
            "verify",
            image,
            "--claim",
            "signature",
            "--claim",
            "provenance",
        ];
        Output::of(workspace.sealpack(verify).arg("--key").arg(key))
    };
    let key = output.join("sealpack.pub");
    for tag in [version.to_owned(), format!("{version}-files")] {
        let image = format!("oci:{}:{tag}", output.join("proof").display());
        verify(&image, &key).expect(0);
        verify(&image, &again.join("sealpack.pub")).expect(1);
    }

    let image = format!("oci:{}:{version}-files", output.join("proof").display());
    let verified = verify(&image, &key).expect(0).stdout;
    let listed = |folder: &Path| is_listed(&output, &verified, folder);
    assert!(listed(&output));
    let sums = fs_err::read_to_string(output.join("SHA256SUMS")).unwrap();
    workspace.write("other/SHA256SUMS", sums.replace("tar.gz", "tar.xz"));
    assert!(!listed(&workspace.join("other")));

    let unpacked = workspace.join("unpacked");
    fs_err::create_dir(&unpacked).unwrap();
    let mut unpack = Command::new("tar");
    unpack.arg("-xzf").arg(output.join(&files[0])).arg("-C");
    Output::of(unpack.arg(&unpacked)).expect(0);
    let program = unpacked.join(&name).join("sealpack");
    let said = Output::of(Command::new(&program).arg("--version").env_clear()).expect(0);
    assert_eq!(said.stdout, format!("sealpack {version}\n"));
    assert!(
        unpacked
            .join(&name)
            .join("share/man/man1/sealpack-build.1")
            .is_file()
    );
    // The program says what it is made of.
    let generate = ["sbom", "generate"];
    let found = Output::of(workspace.sealpack(generate).arg(&program)).expect(0);
    assert!(
        found.stdout.contains("pkg:cargo/rustls@"),
        "{}",
        found.stdout
    );

    if let Some(dpkg) = testkit::peer("dpkg-deb") {
        let mut show = Command::new(&dpkg);
        let shown = Output::of(show.arg("--info").arg(output.join(&deb))).expect(0);
        assert!(
            shown.stdout.contains(&format!("Version: {version}")),
            "{shown:?}"
        );
        let root = workspace.join("installed");
        let mut install = Command::new(&dpkg);
        install.arg("--extract").arg(output.join(&deb)).arg(&root);
        Output::of(&mut install).expect(0);
        let installed = fs_err::read(root.join("usr/bin/sealpack")).unwrap();
        assert!(installed == fs_err::read(&program).unwrap());
        assert!(
            root.join("usr/share/man/man1/sealpack-build.1.gz")
                .is_file()
        );
    }
}

/// The image of a release builds, as root and as a user, in a container that nobody opened up.
#[test]
fn the_image_of_a_release_builds_in_a_container() {
    let Some(busybox) = testkit::peer("busybox") else {
        return;
    };
    let project = testkit::Project::typical();
    let Some(podman) = testkit::Podman::new(&project.join("podman")) else {
        return;
    };
    // A root file system with a shell, for buildpacks that are scripts.
    for folder in ["base/bin", "base/tmp", "base/etc"] {
        fs_err::create_dir_all(project.join(folder)).unwrap();
    }
    fs_err::copy(busybox, project.join("base/bin/busybox")).unwrap();
    for name in ["sh", "cat", "mkdir", "echo", "printf", "env"] {
        let link = project.join("base/bin").join(name);
        fs_err::os::unix::fs::symlink("busybox", link).unwrap();
    }
    project.write("base/etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    let open = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        let open = std::fs::Permissions::from_mode(0o1777);
        fs_err::set_permissions(path, open).unwrap();
    };
    open(&project.join("base/tmp"));
    let output = project.join("release");
    let mut command = Command::new(repository().join("cli/dist"));
    command
        .arg("--binaries")
        .arg(binary("sealpack").parent().unwrap());
    command.arg("--output").arg(&output);
    Output::of(command.arg("--base").arg(project.join("base"))).expect(0);
    let version = env!("CARGO_PKG_VERSION");
    let architecture = Platform::host().architecture;
    let archive = format!("sealpack-{version}-linux-{architecture}.oci.tar");
    let archive = output.join(archive).display().to_string();
    let loaded = podman.run(&["load", "-q", "-i", &archive]).expect(0);
    let image = loaded.stdout.trim().rsplit(' ').next().unwrap().to_owned();
    let folder = project.workspace().path().display().to_string();
    open(Path::new(&folder));
    let mut digests = std::collections::BTreeSet::new();
    for user in ["0", "1002"] {
        let (volume, to) = (format!("{folder}:/work"), format!("oci:out-{user}:v1"));
        let run = [
            "run", "--rm", "--net", "none", "--user", user, "-v", &volume, "-w", "/work",
        ];
        let build = [
            "-e",
            "HOME=/tmp",
            &image,
            "build",
            "app",
            "--builder",
            "builder.toml",
            "--unsigned",
            "--no-cache",
            "-o",
            "json",
            "--tag",
            &to,
        ];
        let output = podman.run(&[&run[..], &build].concat());
        if output.code >= 125 {
            testkit::skipped(&format!("podman starts no container: {}", output.stderr));
            return;
        }
        let report = crate::build::json(&output.expect(0));
        digests.insert(report["digest"].as_str().unwrap().to_owned());
    }
    assert_eq!(digests.len(), 1, "{digests:?}");
}
