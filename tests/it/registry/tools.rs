//! What we write is read by oras, skopeo, crane and cosign, and what they write by us: at a registry
//! of the CNCF, over TLS by a private authority, with a login; and at one with the referrers API.

use std::path::Path;
use std::process::Command;

use testkit::{
    Certificates, Gate, Output, Server, TokenServer, Workspace, distribution, olareg_with, peer,
};

use crate::layout::push_image;

/// A registry, and how all of them are told to trust it.
struct Place {
    server: Server,
    ca: Option<std::path::PathBuf>,
    /// Whether crane, cosign and oras may be asked: they ask no token server that lies in a private
    /// network, if it is not the registry itself.
    takes_all_clients: bool,
}

impl Place {
    fn image(&self, tag: &str) -> String {
        format!("{}/team/app:{tag}", self.server.host())
    }

    /// Runs `command` with trust in this registry.
    fn run(&self, command: &mut Command) -> Output {
        if let Some(ca) = &self.ca {
            command.env("SSL_CERT_FILE", ca);
        }
        Output::of(command)
    }

    /// Runs a peer, if it is there; one that fails fails the test.
    fn peer(&self, workspace: &Workspace, name: &str, arguments: &[&str]) -> Option<Output> {
        if !self.takes_all_clients && matches!(name, "crane" | "cosign" | "oras") {
            return None;
        }
        let mut command = workspace.command(peer(name)?);
        command.args(arguments);
        // Plain HTTP is asked for by a flag that each spells its own way.
        if self.ca.is_none() {
            command.args(match name {
                "oras" => &["--plain-http"][..],
                "skopeo" if arguments[0] == "copy" => {
                    &["--src-tls-verify=false", "--dest-tls-verify=false"]
                }
                "skopeo" => &["--tls-verify=false"],
                "cosign" => &["--allow-http-registry"],
                _ => &[],
            });
        }
        Some(self.run(&mut command).expect(0))
    }

    fn sealpack(&self, workspace: &Workspace, arguments: &[&str]) -> Output {
        self.run(&mut workspace.sealpack(arguments)).expect(0)
    }
}

/// An image with proof, and proof of the proof, in the layout `app`; its digest.
fn layout(folder: &Path) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = oci::LayoutStore::create(folder.join("app")).unwrap();
    runtime.block_on(async {
        use oci::Store as _;
        let image = push_image(&store, b"app", None).await;
        let proof = push_image(&store, b"proof", Some(&image)).await;
        push_image(&store, b"nested", Some(&proof)).await;
        store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
        image.digest.to_string()
    })
}

/// All that is done at each place.
fn both_ways(workspace: &Workspace, place: &Place) {
    let digest = layout(workspace.path());
    let (v1, theirs) = (place.image("v1"), place.image("theirs"));
    place.sealpack(workspace, &["copy", "oci:app:v1", &v1, "--referrers"]);

    // Ours, read by them.
    if let Some(output) = place.peer(workspace, "crane", &["digest", &v1]) {
        assert_eq!(output.stdout.trim(), digest);
    }
    let source = format!("docker://{v1}");
    place.peer(workspace, "skopeo", &["copy", &source, "oci:by-skopeo:v1"]);
    let discover = ["discover", &v1, "--format", "json", "--depth", "1"];
    if let Some(output) = place.peer(workspace, "oras", &discover) {
        assert_eq!(output.stdout.matches("application/x-proof").count(), 1);
    }

    // Theirs, read by us.
    if place
        .peer(
            workspace,
            "skopeo",
            &["copy", "oci:app:v1", &format!("docker://{theirs}")],
        )
        .is_some()
    {
        let tree = place.sealpack(workspace, &["tree", &theirs]);
        assert!(
            tree.stdout.contains(digest.get(..19).unwrap()),
            "{}",
            tree.stdout
        );
    }
    workspace.write("note.txt", "a note");
    let attach = [
        "attach",
        &v1,
        "--artifact-type",
        "application/x.note",
        "note.txt:text/plain",
    ];
    if place.peer(workspace, "oras", &attach).is_some() {
        let tree = place.sealpack(workspace, &["tree", &v1]);
        assert!(
            tree.stdout.contains("application/x.note"),
            "{}",
            tree.stdout
        );
        let copy = [
            "copy",
            &v1,
            "oci:back:v1",
            "--referrers",
            "--output",
            "json",
        ];
        let copied = place.sealpack(workspace, &copy);
        let report: serde_json::Value = serde_json::from_str(&copied.stdout).unwrap();
        assert_eq!(
            (&report["referrers"], &report["leftBehind"]),
            (&3.into(), &0.into())
        );
    }
    signatures(workspace, place, &v1, &digest);
}

fn signatures(workspace: &Workspace, place: &Place, image: &str, digest: &str) {
    let (name, _) = image.rsplit_once(':').unwrap();
    let pinned = format!("{name}@{digest}");
    place.sealpack(
        workspace,
        &["key", "generate", "--output-key-prefix", "ours"],
    );
    place.sealpack(
        workspace,
        &["key", "generate", "--output-key-prefix", "theirs"],
    );
    place.sealpack(workspace, &["sign", &pinned, "--key", "ours.key"]);
    let verify = [
        "verify",
        "--key",
        "ours.pub",
        "--insecure-ignore-tlog",
        &pinned,
    ];
    if place.peer(workspace, "cosign", &verify).is_none() {
        return;
    }
    let sign = [
        "sign",
        "--key",
        "theirs.key",
        "--use-signing-config=false",
        "--tlog-upload=false",
        "--yes",
        &pinned,
    ];
    place.peer(workspace, "cosign", &sign);
    place.sealpack(workspace, &["verify", &pinned, "--key", "theirs.pub"]);
}

fn log_in(workspace: &Workspace, place: &Place) {
    let password = workspace.write("password", "hunter2\n");
    let host = place.server.host();
    let mut command = workspace.sealpack(["login", host, "--username", "me", "--password-stdin"]);
    command.stdin(fs_err::File::open(password).unwrap().into_parts().0);
    place.run(&mut command).expect(0);
}

#[test]
fn distribution_with_a_password() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let Some(server) = distribution(workspace.path(), &certificates, Gate::Htpasswd) else {
        return;
    };
    let ca = Some(certificates.ca());
    let place = Place {
        server,
        ca,
        takes_all_clients: true,
    };
    log_in(&workspace, &place);
    both_ways(&workspace, &place);
}

#[test]
fn distribution_with_tokens() {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let tokens = TokenServer::start(&certificates);
    let gate = Gate::Tokens(&tokens);
    let Some(server) = distribution(workspace.path(), &certificates, gate) else {
        return;
    };
    let ca = Some(certificates.ca());
    let place = Place {
        server,
        ca,
        takes_all_clients: false,
    };
    log_in(&workspace, &place);
    both_ways(&workspace, &place);
}

#[test]
fn olareg_with_and_without_the_referrers_api() {
    for more in [&[][..], &["--api-referrer=false"]] {
        let workspace = Workspace::new();
        let Some(server) = olareg_with(workspace.path(), more) else {
            return;
        };
        let place = Place {
            server,
            ca: None,
            takes_all_clients: true,
        };
        both_ways(&workspace, &place);
    }
}
