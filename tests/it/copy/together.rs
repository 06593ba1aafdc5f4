//! Several at once.

use std::process::Stdio;
use std::time::Duration;

use oci::{LayoutStore, Selector, Store as _};
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{Project, Workspace};

use super::{contents, graph, tag};
use crate::layout::push_image;

#[tokio::test]
async fn copies_into_one_layout_lose_nothing() {
    let workspace = Workspace::new();
    let mut expected = Vec::new();
    for number in 0..4_u8 {
        let source = LayoutStore::create(workspace.join(format!("source-{number}"))).unwrap();
        let root = graph(&source).await;
        // Attached to the same index by each, so that all write the same list.
        push_image(&source, &[number], Some(&root)).await;
        let other = push_image(&source, &[b'o', number], None).await;
        source.tag(&root, &tag("shared")).await.unwrap();
        source.tag(&other, &tag("other")).await.unwrap();
        expected.push((root, other));
    }
    let copies: Vec<_> = (0..4)
        .flat_map(|number| {
            [
                (
                    format!("oci:source-{number}:shared"),
                    "oci:to:shared".to_owned(),
                ),
                (
                    format!("oci:source-{number}:other"),
                    format!("oci:to:other-{number}"),
                ),
            ]
        })
        .map(|(from, to)| {
            let mut command = workspace.sealpack(["copy", "--referrers", &from, &to]);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for copy in copies {
        let output = copy.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let store = LayoutStore::open(workspace.join("to")).unwrap();
    let shared = store.resolve(&Selector::Tag(tag("shared"))).await.unwrap();
    assert_eq!(shared, expected[0].0);
    // As in any one of the sources, and the proof by the other three with its layers.
    let one = LayoutStore::open(workspace.join("source-0")).unwrap();
    let one = contents(&one, &shared).await.len();
    assert_eq!(contents(&store, &shared).await.len(), one + 3 * 2);
    for (number, (_, other)) in expected.iter().enumerate() {
        let selector = Selector::Tag(tag(&format!("other-{number}")));
        assert_eq!(store.resolve(&selector).await.unwrap(), *other);
        contents(&store, other).await;
    }
}

#[test]
fn builds_into_one_layout_lose_nothing() {
    let folder = Workspace::new();
    let projects = [Project::typical(), Project::typical()];
    let layout = |tag: &str| format!("oci:{}:{tag}", folder.join("out").display());
    let builds: Vec<_> = projects
        .iter()
        .zip(["a", "b"])
        .map(|(project, tag)| {
            let arguments = [
                "--key",
                "test.key",
                "--policy",
                "policy",
                "--output",
                &layout(tag),
            ];
            let mut command = project.build_command(arguments);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().unwrap()
        })
        .collect();
    for build in builds {
        let output = build.wait_with_output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    for (project, tag) in projects.iter().zip(["a", "b"]) {
        let check = [
            "policy",
            "check",
            &layout(tag),
            "--policy",
            "policy",
            "--key",
            "test.pub",
        ];
        project.run(&check).expect(0);
    }
}

/// What a policy has judged must arrive as a whole, or get no tag.
#[test]
fn a_build_whose_proof_was_changed_before_it_was_published_gets_no_tag() {
    let slow = FaultKind::Slow(Duration::from_secs(2));
    let registry = TestRegistry::start(Switches {
        faults: vec![Fault::first(1, "HEAD /v2/team/app/blobs/", slow)],
        ..Switches::default()
    });
    let project = Project::typical();
    let image = format!("{}/team/app:v1", registry.host());
    let arguments = [
        "--key",
        "test.key",
        "--policy",
        "policy",
        "--staging",
        "staged",
        "--tag",
        &image,
    ];
    let mut command = project.build_command(arguments);
    let build = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let is_published = (0..10_000).any(|_| {
        std::thread::sleep(Duration::from_millis(5));
        registry
            .requests()
            .iter()
            .any(|it| it.starts_with("HEAD") && it.contains("/blobs/"))
    });
    assert!(is_published, "nothing was published within 50 s");
    damage_a_bundle(&project);
    let output = build.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(
        stderr.contains("was changed since it was staged"),
        "{stderr}"
    );
    assert!(registry.tagged("team/app", "v1").is_none());
}

/// Changes one byte of what a referrer in the staged layout refers to.
fn damage_a_bundle(project: &Project) {
    let blobs = project.join("staged/blobs/sha256");
    let read = |digest: &str| {
        let path = blobs.join(digest.strip_prefix("sha256:").unwrap());
        (path.clone(), fs_err::read(path).unwrap())
    };
    let index = fs_err::read(project.join("staged/index.json")).unwrap();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap();
    let mut entries = index["manifests"].as_array().unwrap().iter();
    let referrer = entries.find(|it| it.get("artifactType").is_some()).unwrap();
    let (_, manifest) = read(referrer["digest"].as_str().unwrap());
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let (path, mut bundle) = read(manifest["layers"][0]["digest"].as_str().unwrap());
    bundle[10] ^= 1;
    fs_err::write(path, bundle).unwrap();
}
