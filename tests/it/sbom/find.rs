//! What is found in images: the same packages as syft finds, and no harm where they were made to do
//! harm.

mod gaps;
mod hostile;
mod made;
mod syft;

use oci::view::{View, ViewLimits, view_image};
use oci::{Image, LayoutStore, Limits, Platform};
use sbom::component::{Component, Inventory, Node, RelationKind};
use sbom::find::{Finders, Found, find};
use testkit::{LayerFiles, Workspace, write_image};

/// What is found in an image of these layers, read from a layout.
async fn found_in(layers: &[LayerFiles]) -> Inventory {
    let workspace = Workspace::new();
    let folder = workspace.join("layout");
    write_image(&folder, layers).await;
    found_at(&folder).await
}

async fn found_at(layout: &std::path::Path) -> Inventory {
    use oci::Store as _;

    let store = LayoutStore::open(layout).unwrap();
    let target = store.only().await.unwrap();
    let limits = Limits::default();
    let platform = Platform {
        architecture: "amd64".into(),
        os: "linux".into(),
        ..Platform::host()
    };
    let image = Image::read(&store, &target, &platform, &limits);
    let image = image.await.unwrap();
    let viewed = view_image(&store, &image, Finders::default(), ViewLimits::default());
    let (view, _) = viewed.await.unwrap();
    find(&view)
}

/// What is found in layers that are in memory.
fn found(layers: &[LayerFiles]) -> Inventory {
    find(&viewed(layers))
}

fn viewed(layers: &[LayerFiles]) -> View<Found> {
    let mut view = View::new(ViewLimits::default());
    for layer in layers {
        view.add_layer(&layer.tar()[..], &mut Finders::default())
            .unwrap();
    }
    view
}

fn purls(inventory: &Inventory) -> Vec<&str> {
    let purls = inventory.components.iter();
    let mut purls: Vec<&str> = purls
        .filter_map(|it| Some(it.purl.as_ref()?.as_str()))
        .collect();
    purls.sort_unstable();
    purls
}

fn named<'a>(inventory: &'a Inventory, name: &str) -> &'a Component {
    let mut all = inventory.components.iter().filter(|it| it.name == name);
    let found = all.next().unwrap_or_else(|| panic!("there is no `{name}`"));
    assert!(all.next().is_none(), "there are two `{name}`");
    found
}

/// `a > b` for each relation of this kind.
fn related(inventory: &Inventory, kind: RelationKind) -> Vec<String> {
    let name = |node| match node {
        Node::Component(index) => inventory.components[index].name.as_str(),
        _ => "",
    };
    let relations = inventory.relations.iter().filter(|it| it.kind == kind);
    let mut all: Vec<String> = relations
        .map(|it| format!("{} > {}", name(it.from), name(it.to)))
        .collect();
    all.sort();
    all
}

fn gaps(inventory: &Inventory) -> Vec<String> {
    let gaps = inventory.gaps.iter();
    gaps.map(|it| format!("{}: {}", it.path, it.reason))
        .collect()
}

const STATUS: &str = "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\nDepends: b (>= 1) | c, virtual\nMaintainer: A <a@example.org>\n\nPackage: b\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2\n\nPackage: d\nStatus: install ok installed\nArchitecture: all\nVersion: 1:3\nProvides: virtual (= 1)\n\n";

#[tokio::test]
async fn a_package_is_from_the_layer_that_brought_it() {
    let lower = "Package: a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\nPackage: gone\nStatus: install ok installed\nVersion: 1\n\nPackage: b\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n";
    let copyright = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: Expat\n";
    let inventory = found_in(&[
        LayerFiles::new()
            .file("var/lib/dpkg/status", lower)
            .file("usr/share/doc/a-common/copyright", copyright)
            .symlink("usr/share/doc/a", "a-common")
            .symlink("etc/os-release", "../usr/lib/os-release")
            .file(
                "usr/lib/os-release",
                "ID=debian\nVERSION_ID=12\nNAME=Debian\n",
            ),
        LayerFiles::new().file("var/lib/dpkg/status", STATUS),
        LayerFiles::new().file("var/lib/dpkg/status", STATUS),
    ])
    .await;
    assert_eq!(
        purls(&inventory),
        [
            "pkg:deb/debian/a@1?arch=amd64&distro=debian-12",
            "pkg:deb/debian/b@2?arch=amd64&distro=debian-12",
            "pkg:deb/debian/d@1%3A3?arch=all&distro=debian-12",
        ]
    );
    let layer = |name| named(&inventory, name).evidence[0].layer.clone().unwrap();
    assert_eq!(layer("b"), layer("d"));
    assert_ne!(layer("a"), layer("b"));
    assert_eq!(layer("a"), layer("debian"));
    let a = named(&inventory, "a");
    assert_eq!(a.supplier.as_ref().unwrap().name, "A");
    assert_eq!(a.evidence[0].path.as_deref(), Some("var/lib/dpkg/status"));
    assert_eq!(
        a.licenses.declared,
        [sbom::component::License::Expression("MIT".to_owned())]
    );
    assert_eq!(
        related(&inventory, RelationKind::DependsOn),
        ["a > b", "a > d"]
    );
    assert_eq!(gaps(&inventory), [""; 0]);
}

#[test]
fn a_database_may_be_in_many_files() {
    let package = |name: &str, depends: &str| {
        format!("Package: {name}\nVersion: 1\nArchitecture: amd64\nDepends: {depends}\n")
    };
    let inventory = found(&[
        LayerFiles::new()
            .file("etc/os-release", "ID=debian\nVERSION_ID=12\n")
            .file("var/lib/dpkg/status.d/base", package("base-files", ""))
            .file(
                "var/lib/dpkg/status.d/other-name",
                package("libssl3", "libc6"),
            )
            .file("var/lib/dpkg/status.d/libssl3.md5sums", "0  usr/bin/tool\n")
            .program("usr/bin/tool", made::elf(&[])),
        LayerFiles::new().file("var/lib/dpkg/status.d/libc6", package("libc6", "libgcc-s1")),
    ]);
    assert_eq!(purls(&inventory).len(), 3);
    assert_eq!(
        related(&inventory, RelationKind::DependsOn),
        ["libssl3 > libc6"]
    );
    assert_eq!(gaps(&inventory), [""; 0]);
}

#[test]
fn what_node_requires_is_what_node_finds() {
    let package = |name: &str, version: &str, depends: &str| {
        format!(r#"{{"name":"{name}","version":"{version}","dependencies":{{{depends}}}}}"#)
    };
    let lock = r#"{"packages":{"node_modules/a":{"version":"1.0.0","resolved":"https://r.example/a.tgz","integrity":"sha512-AAEC"}}}"#;
    let inventory = found(&[LayerFiles::new()
        .file(
            "app/package.json",
            package("app", "0.1.0", r#""a":"1","@s/c":"1""#),
        )
        .file("app/node_modules/.package-lock.json", lock)
        .file(
            "app/node_modules/a/package.json",
            package("a", "1.0.0", r#""b":"2""#),
        )
        .file(
            "app/node_modules/a/lib/package.json",
            r#"{"type":"module"}"#,
        )
        .file("app/node_modules/b/package.json", package("b", "1.0.0", ""))
        .file(
            "app/node_modules/a/node_modules/b/package.json",
            package("b", "2.0.0", ""),
        )
        .file(
            "app/node_modules/.store/c@1/node_modules/@s/c/package.json",
            package("@s/c", "1.0.0", r#""b":"1""#),
        )
        .symlink("app/node_modules/@s/c", "../.store/c@1/node_modules/@s/c")]);
    assert_eq!(
        purls(&inventory),
        [
            "pkg:npm/%40s/c@1.0.0",
            "pkg:npm/a@1.0.0",
            "pkg:npm/app@0.1.0",
            "pkg:npm/b@1.0.0",
            "pkg:npm/b@2.0.0",
        ]
    );
    assert_eq!(
        related(&inventory, RelationKind::DependsOn),
        ["a > b", "app > a", "app > c", "c > b"]
    );
    let a = named(&inventory, "a");
    assert_eq!(a.hashes[0].value, "000102");
    let of_a = inventory
        .relations
        .iter()
        .find_map(|it| match (it.from, it.to) {
            (Node::Component(from), Node::Component(to))
                if inventory.components[from].name == "a" =>
            {
                inventory.components[to].version.clone()
            }
            _ => None,
        });
    assert_eq!(of_a.as_deref(), Some("2.0.0"));
}

#[test]
fn what_a_package_owns_is_that_package() {
    let status = "Package: python3-requests\nStatus: install ok installed\nVersion: 2.28\nArchitecture: all\n\n";
    let metadata = "Name: requests\nVersion: 2.28\nRequires-Dist: idna\n";
    let inventory = found(&[LayerFiles::new()
        .file("var/lib/dpkg/status", status)
        .file(
            "var/lib/dpkg/info/python3-requests.list",
            "/.\n/usr/lib/python3/dist-packages/requests-2.28.egg-info/PKG-INFO\n/bin/tool\n",
        )
        .file(
            "usr/lib/python3/dist-packages/requests-2.28.egg-info/PKG-INFO",
            metadata,
        )
        .file(
            "usr/lib/python3/dist-packages/idna-3.dist-info/METADATA",
            "Name: idna\nVersion: 3\n",
        )
        .program("usr/bin/tool", made::elf(&[]))
        .program("usr/bin/stray", made::elf(&[]))]);
    assert_eq!(
        purls(&inventory),
        ["pkg:deb/python3-requests@2.28?arch=all", "pkg:pypi/idna@3"]
    );
    assert_eq!(
        gaps(&inventory),
        ["usr/bin/stray: executable that no package owns"]
    );
}

#[test]
fn one_module_of_many_programs_is_one() {
    let go = made::go_program("mod\texample.org/app\tv1.0.0\ndep\texample.org/b\tv2.0.0\th1:x=\n");
    let rust = r#"{"packages":[{"name":"app","version":"0.1.0","source":"local","root":true,"dependencies":[1,2]},{"name":"libc","version":"0.2.1","source":"crates.io"},{"name":"cc","version":"1.0.0","source":"crates.io","kind":"build"}]}"#;
    let inventory = found(&[LayerFiles::new()
        .program("app/one", go.clone())
        .hard_link("app/two", "app/one")
        .program("app/three", go)
        .program(
            "app/rust",
            made::elf(&[(".dep-v0", &made::deflated(rust.as_bytes()))]),
        )]);
    assert_eq!(
        purls(&inventory),
        [
            "pkg:cargo/app@0.1.0",
            "pkg:cargo/cc@1.0.0",
            "pkg:cargo/libc@0.2.1",
            "pkg:golang/example.org/app@v1.0.0",
            "pkg:golang/example.org/b@v2.0.0",
            "pkg:golang/stdlib@1.22.3",
        ]
    );
    let module = named(&inventory, "example.org/b");
    let paths: Vec<_> = module
        .evidence
        .iter()
        .filter_map(|it| it.path.as_deref())
        .collect();
    assert_eq!(paths, ["app/one", "app/three", "app/two"]);
    assert_eq!(
        related(&inventory, RelationKind::NeedsToBuild),
        ["app > cc"]
    );
    assert_eq!(gaps(&inventory), [""; 0]);
}

/// Before 1.18, Go wrote pointers to what it says, into what has no sections here.
#[test]
fn programs_of_each_age_are_read() {
    let folder = testkit::repository().join("tests/fixtures/packages/programs");
    for (file, version) in [("go-1.16", "1.16.5"), ("go-1.22", "1.22.3")] {
        let program = fs_err::read(folder.join(file)).unwrap();
        let inventory = found(&[LayerFiles::new().program("app/program", program)]);
        let stdlib = format!("pkg:golang/stdlib@{version}");
        assert_eq!(
            purls(&inventory),
            [
                "pkg:golang/./c@v0.0.0",
                "pkg:golang/example.org/app@v1.2.3",
                &stdlib
            ]
        );
        assert_eq!(gaps(&inventory), [""; 0]);
    }
}

#[test]
fn archives_in_archives_are_looked_into() {
    let pom = |group: &str, artifact: &str, version: &str| {
        format!("# made\ngroupId={group}\nartifactId={artifact}\nversion={version}\n")
    };
    let manifest = "Manifest-Version: 1.0\nImplementation-Version: 9\n\n";
    let inner = made::zip(&[
        ("META-INF/MANIFEST.MF", manifest.as_bytes()),
        (
            "META-INF/maven/org.acme/inner/pom.properties",
            pom("org.acme", "inner", "2.0").as_bytes(),
        ),
        (
            "META-INF/maven/org.acme/shaded/pom.properties",
            pom("org.acme", "shaded", "3.0").as_bytes(),
        ),
    ]);
    let other = made::zip(&[("META-INF/MANIFEST.MF", manifest.as_bytes())]);
    let outer = made::zip(&[
        (
            "META-INF/MANIFEST.MF",
            b"Manifest-Version: 1.0\nMain-Class: org.acme.Main\n",
        ),
        ("BOOT-INF/lib/inner-2.0.jar", &inner),
        ("BOOT-INF/lib/other-1.5.jar", &other),
    ]);
    let inventory = found(&[LayerFiles::new().file("app/outer-1.0.jar", outer)]);
    assert_eq!(
        purls(&inventory),
        [
            "pkg:maven/org.acme.Main/outer@1.0",
            "pkg:maven/org.acme/inner@2.0",
            "pkg:maven/org.acme/shaded@3.0",
            "pkg:maven/other/other@1.5",
        ]
    );
    assert_eq!(
        related(&inventory, RelationKind::Contains),
        ["inner > shaded", "outer > inner", "outer > other"]
    );
    assert_eq!(
        named(&inventory, "inner").evidence[0].path.as_deref(),
        Some("app/outer-1.0.jar:BOOT-INF/lib/inner-2.0.jar")
    );
}
