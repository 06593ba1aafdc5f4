//! Package URLs, next to those of syft: equal, but for what stands in a table with its reason.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;
use testkit::{LayerFiles, Output, Workspace, peer, repository, skipped, write_image};

use super::{found_at, made, purls};

/// What is in one list only, and why. `+` is ours, `-` is syft's.
type Differences = &'static [(&'static str, &'static str)];

fn fixture(path: &str) -> Vec<u8> {
    fs_err::read(repository().join("tests/fixtures/packages").join(path)).unwrap()
}

/// The URLs that syft writes for the image in the layout at `folder`; none if it is not there.
fn of_syft(workspace: &Workspace, folder: &Path) -> Option<BTreeSet<String>> {
    let syft = peer("syft")?;
    let source = format!("oci-dir:{}", folder.display());
    let mut command = workspace.command(syft);
    command.args(["scan", "-q", &source, "-o", "json"]);
    command.env("SYFT_CHECK_FOR_APP_UPDATE", "false");
    let output = Output::of(&mut command).expect(0);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let artifacts = document["artifacts"].as_array().unwrap().iter();
    let purls = artifacts.filter_map(|it| it["purl"].as_str());
    Some(
        purls
            .filter(|it| !it.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

async fn compare(layers: &[LayerFiles], count: usize, differences: Differences) {
    let workspace = Workspace::new();
    let folder = workspace.join("layout");
    write_image(&folder, layers).await;
    let inventory = found_at(&folder).await;
    let ours: BTreeSet<String> = purls(&inventory).into_iter().map(str::to_owned).collect();
    let Some(theirs) = of_syft(&workspace, &folder) else {
        // Without it, what we find is at least what it was when it was compared.
        assert_eq!(ours.len(), count, "{ours:#?}");
        return;
    };
    let only_ours = ours.difference(&theirs).map(|it| format!("+ {it}"));
    let only_theirs = theirs.difference(&ours).map(|it| format!("- {it}"));
    let found: BTreeSet<String> = only_ours.chain(only_theirs).collect();
    let expected: BTreeSet<String> = differences.iter().map(|(it, _)| (*it).to_owned()).collect();
    assert_eq!(found, expected);
    assert_eq!(ours.len(), count, "{ours:#?}");
}

fn debian() -> LayerFiles {
    let mut files = LayerFiles::new()
        .file("usr/lib/os-release", fixture("debian/os-release"))
        .symlink("etc/os-release", "../usr/lib/os-release")
        .file("var/lib/dpkg/status", fixture("debian/status"));
    for package in ["dpkg", "libacl1", "zlib1g"] {
        let path = format!("usr/share/doc/{package}/copyright");
        files = files.file(&path, fixture(&format!("debian/copyright-{package}")));
    }
    files
}

#[tokio::test]
async fn debian_is_the_same() {
    let differences: Differences = &[(
        "- pkg:deb/debian/linux-image-gone@6.1.0-1?arch=amd64&distro=debian-12",
        "it was removed, only its settings are left; `dpkg-query -W -f '${Status}'` says so",
    )];
    compare(&[debian()], 26, differences).await;
}

#[tokio::test]
async fn distroless_is_the_same() {
    let status = String::from_utf8(fixture("debian/status")).unwrap();
    // syft looks for names only in folders that have an entry of their own.
    let mut files = LayerFiles::new()
        .file("etc/os-release", fixture("debian/os-release"))
        .folder("var/lib/dpkg/status.d");
    for (number, stanza) in status.split("\n\n").take(6).enumerate() {
        let stanza: Vec<&str> = stanza
            .lines()
            .filter(|it| !it.starts_with("Status:"))
            .collect();
        // The name of such a file need not be the package's.
        files = files.file(
            &format!("var/lib/dpkg/status.d/p{number}"),
            stanza.join("\n") + "\n",
        );
    }
    compare(&[files], 6, &[]).await;
}

#[tokio::test]
async fn alpine_is_the_same() {
    let files = |database: &str| {
        LayerFiles::new()
            .file("etc/os-release", "NAME=\"Alpine Linux\"\nID=alpine\nVERSION_ID=3.20.3\nPRETTY_NAME=\"Alpine Linux v3.20\"\n")
            .file(database, fixture("alpine/installed"))
    };
    compare(&[files("lib/apk/db/installed")], 4, &[]).await;
    let merged = files("usr/lib/apk/db/installed").symlink("lib", "usr/lib");
    compare(&[merged], 4, &[]).await;
}

#[tokio::test]
async fn rpm_is_the_same_in_each_database() {
    for (file, folder) in [
        ("rpmdb.sqlite", "var/lib/rpm"),
        ("Packages.db", "usr/lib/sysimage/rpm"),
        ("Packages", "var/lib/rpm"),
    ] {
        let files = LayerFiles::new()
            .file(
                "etc/os-release",
                "NAME=\"Red Hat Enterprise Linux\"\nID=\"rhel\"\nVERSION_ID=\"9.3\"\n",
            )
            .file(&format!("{folder}/{file}"), fixture(&format!("rpm/{file}")));
        compare(&[files], 3, &[]).await;
    }
}

#[tokio::test]
async fn node_is_the_same() {
    let package = |name: &str, version: &str| {
        format!(r#"{{"name":"{name}","version":"{version}","license":"MIT"}}"#)
    };
    let files = LayerFiles::new()
        .file("app/package.json", package("app", "0.1.0"))
        .file(
            "app/node_modules/a/package.json",
            package("a", "1.0.0-rc.1+build"),
        )
        .file(
            "app/node_modules/a/esm/package.json",
            r#"{"type":"module"}"#,
        )
        .file(
            "app/node_modules/a/test/package.json",
            r#"{"name":"fixture"}"#,
        )
        .file(
            "app/node_modules/@s/C/package.json",
            package("@s/C", "1.0.0"),
        )
        .file(
            "app/node_modules/a/node_modules/b/package.json",
            package("b", "2.0.0"),
        );
    let differences: Differences = &[(
        "- pkg:npm/fixture",
        "it has no version, so it was not installed: npm does not install such a package",
    )];
    let differences: Differences = if is_old().await { &[] } else { differences };
    compare(&[files], 4, differences).await;
}

/// Whether syft is one from before it listed packages without a version.
async fn is_old() -> bool {
    let workspace = Workspace::new();
    let folder = workspace.join("layout");
    let files = LayerFiles::new().file("app/package.json", r#"{"name":"x"}"#);
    write_image(&folder, &[files]).await;
    of_syft(&workspace, &folder).is_some_and(|it| it.is_empty())
}

#[tokio::test]
async fn python_is_the_same() {
    let Some(python) = peer("python3") else {
        return;
    };
    let workspace = Workspace::new();
    let venv = workspace.join("venv");
    let mut command = workspace.command(python);
    command.args(["-m", "venv", "--copies"]).arg(&venv);
    let made = Output::of(&mut command);
    if made.code != 0 {
        return skipped("python3 makes no virtual environment here (`python3-venv`)");
    }
    let lib = fs_err::read_dir(venv.join("lib"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let site = lib.path().join("site-packages");
    let mut files = LayerFiles::new();
    let mut count = 1;
    for entry in fs_err::read_dir(&site).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".dist-info") {
            count += 1;
            files = files.tree(&format!("app/site-packages/{name}"), &path);
        }
    }
    let files = files.file(
        "app/site-packages/zope_interface-1.dist-info/METADATA",
        "Metadata-Version: 2.1\nName: Zope.Interface\nVersion: 1.0+local\n\nText\n",
    );
    // Until 1.19, syft wrote names as they are, not as they are compared.
    let old: Differences = &[
        (
            "+ pkg:pypi/zope-interface@1.0%2Blocal",
            "the name as PyPI compares it",
        ),
        (
            "- pkg:pypi/Zope.Interface@1.0%2Blocal",
            "the name as it is written",
        ),
    ];
    let differences = if is_old().await { old } else { &[] };
    compare(&[files], count, differences).await;
}

#[tokio::test]
async fn java_is_the_same() {
    let pom = |group: &str, artifact: &str, version: &str| {
        format!("groupId={group}\nartifactId={artifact}\nversion={version}\n")
    };
    let manifest = |more: &str| format!("Manifest-Version: 1.0\n{more}\n");
    let plain = manifest("");
    let inner = made::small_zip(&[
        ("META-INF/MANIFEST.MF", plain.as_bytes()),
        (
            "META-INF/maven/org.acme/inner/pom.properties",
            pom("org.acme", "inner", "2.0").as_bytes(),
        ),
        (
            "META-INF/maven/com.other/shaded/pom.properties",
            pom("com.other", "shaded", "3.0").as_bytes(),
        ),
    ]);
    let bundle = manifest(
        "Bundle-SymbolicName: org.bundle.thing;singleton:=true\nBundle-Version: 4.5\nBundle-License: MIT",
    );
    let bundle = made::zip(&[("META-INF/MANIFEST.MF", bundle.as_bytes())]);
    let named = made::zip(&[("META-INF/MANIFEST.MF", plain.as_bytes())]);
    let titled = manifest("Implementation-Title: Title\nImplementation-Version: 7");
    let titled = made::zip(&[("META-INF/MANIFEST.MF", titled.as_bytes())]);
    let outer = manifest("Main-Class: org.acme.Main\nSpecification-Version: 1");
    let outer = made::small_zip(&[
        ("META-INF/MANIFEST.MF", outer.as_bytes()),
        ("WEB-INF/lib/inner-2.0.jar", &inner),
        ("WEB-INF/lib/thing.jar", &bundle),
        ("WEB-INF/lib/named-lib-1.2.3-jre.jar", &named),
        ("WEB-INF/lib/under_score_4.5.jar", &named),
    ]);
    let files = LayerFiles::new()
        .file("app/outer.war", outer)
        .file("app/titled.jar", titled)
        .file("app/no-manifest-1.jar", made::zip(&[("x", b"")]));
    compare(&[files], 7, &[]).await;
}

#[tokio::test]
async fn ruby_and_php_are_the_same() {
    let gem = "Gem::Specification.new do |s|\n  s.name = \"rack\".freeze\n  s.version = \"3.0.8\"\n  s.licenses = [\"MIT\".freeze]\nend\n";
    let installed = r#"{"packages":[{"name":"psr/log","version":"3.0.0","license":["MIT"]},{"name":"monolog/monolog","version":"v3.5.0","require":{"psr/log":"^3"}}]}"#;
    let files = LayerFiles::new()
        .folder("usr/local/bundle/specifications")
        .file("usr/local/bundle/specifications/rack-3.0.8.gemspec", gem)
        .folder("app/vendor/composer")
        .file("app/vendor/composer/installed.json", installed);
    compare(&[files], 3, &[]).await;
}

#[tokio::test]
async fn rust_is_the_same() {
    let crates = r#"{"packages":[{"name":"app","version":"0.1.0","source":"local","root":true,"dependencies":[1,2]},{"name":"libc","version":"0.2.1","source":"crates.io"},{"name":"cc","version":"1.0.0+x","source":"crates.io","kind":"build"}]}"#;
    let program = made::elf(&[
        (".text", &[0; 32]),
        (".dep-v0", &made::deflated(crates.as_bytes())),
    ]);
    let differences: Differences = &[(
        "+ pkg:cargo/cc@1.0.0%2Bx",
        "it helped to build the program, and is marked so; syft leaves it out",
    )];
    compare(
        &[LayerFiles::new().program("usr/bin/app", program)],
        3,
        differences,
    )
    .await;
}

#[tokio::test]
async fn go_is_the_same() {
    let Some(go) = peer("go") else {
        return;
    };
    let workspace = Workspace::new();
    workspace.write("src/go.mod", "module example.org/Team/app/v2\n\ngo 1.20\n\nrequire example.org/team/dep/sub v1.2.3\n\nreplace example.org/team/dep/sub => ./dep\n");
    workspace.write("src/main.go", "package main\n\nimport \"example.org/team/dep/sub\"\n\nvar version = \"\"\n\nfunc main() { println(sub.Name, version) }\n");
    workspace.write(
        "src/dep/go.mod",
        "module example.org/team/dep/sub\n\ngo 1.20\n",
    );
    workspace.write("src/dep/dep.go", "package sub\n\nconst Name = \"dep\"\n");
    let mut files = LayerFiles::new();
    for (name, flags) in [
        ("plain", "-s -w"),
        ("flagged", "-X main.version=v2.3.4-rc1"),
    ] {
        let program = workspace.join(name);
        let mut command = workspace.command(&go);
        command
            .current_dir(workspace.join("src"))
            .env("GOFLAGS", "-mod=mod")
            .env("GOPROXY", "off")
            .env("GOTOOLCHAIN", "local")
            .env("CGO_ENABLED", "0")
            .args(["build", "-ldflags", flags, "-o"])
            .arg(&program)
            .arg(".");
        Output::of(&mut command).expect(0);
        files = files.tree(&format!("usr/bin/{name}"), &program);
    }
    // The module twice, once without a version; the one that stands in for another; the library.
    compare(&[files], 4, &[]).await;
}

/// A real program of many modules.
#[tokio::test]
async fn a_large_program_is_the_same() {
    let Some(crane) = peer("crane") else {
        return;
    };
    if peer("syft").is_none() {
        return;
    }
    let workspace = Workspace::new();
    let folder = workspace.join("layout");
    write_image(&folder, &[LayerFiles::new().tree("usr/bin/crane", &crane)]).await;
    let inventory = found_at(&folder).await;
    let ours: BTreeSet<String> = purls(&inventory).into_iter().map(str::to_owned).collect();
    assert_eq!(Some(ours), of_syft(&workspace, &folder));
}
