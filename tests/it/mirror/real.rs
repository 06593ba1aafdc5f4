//! Thirty images between real registries, and into layouts.

use oci::LayoutStore;
use testkit::{Server, docker_registry, olareg, plain_distribution};

use super::*;

/// A registry of somebody else, or ours where there is none.
enum Registry {
    Real(Server),
    Ours(TestRegistry),
}

impl Registry {
    fn of(server: Option<Server>, no_referrers_api: bool) -> Self {
        server.map_or_else(
            || {
                Self::Ours(TestRegistry::start(Switches {
                    no_referrers_api,
                    ..Switches::default()
                }))
            },
            Self::Real,
        )
    }

    fn host(&self) -> String {
        match self {
            Self::Real(server) => server.host().to_owned(),
            Self::Ours(registry) => registry.host(),
        }
    }
}

/// Mirrors thirty images, one of them signed by a stranger, there and on into layouts.
async fn thirty(from: Registry, to: Registry) {
    let site = Site::new();
    let (from_host, to_host) = (from.host(), to.host());
    let mut fleet = fleet(&from_host, &site.key).await;
    // One that only a stranger signed, in the place of a good one.
    let store = repository(&from_host, "team/app3");
    let bad = push(&store, &["base of all", "bad"], None).await;
    sign(&store, &bad, &PrivateKey::generate().unwrap()).await;
    tag(&store, &bad, "v1.1").await;
    let all = contents(&store, &bad).await;
    fleet.insert(("team/app3".to_owned(), "v1.1".to_owned()), (bad, all));

    site.policy(
        "policies/team",
        &format!("images = [\"{from_host}/team/*\"]"),
    );
    let sources: Vec<_> = (0..10)
        .map(|it| format!("{from_host}/team/app{it}:v*"))
        .collect();
    let run = |destination: &str, words: &[&str], code: i32| {
        let mut all: Vec<&str> = sources.iter().map(String::as_str).collect();
        all.extend([destination, "--policy", "policies", "--keep-going"]);
        all.extend(words);
        site.report(&all, code)
    };
    let registry = format!("{to_host}/");
    let refused = format!("{from_host}/team/app3:v1.1");

    let planned = run(&registry, &["--dry-run"], 1);
    assert_eq!(planned["counts"]["planned"], 29);
    assert_eq!(status(&planned, &refused), "refused");
    assert_eq!(
        tagged(&repository(&to_host, "team/app0"), "v1.0").await,
        None
    );

    let report = run(&registry, &["--html", "report.html"], 1);
    assert_eq!(report["counts"]["mirrored"], 29);
    assert_eq!(status(&report, &refused), "refused");
    let except = Some(("team/app3", "v1.1"));
    is_mirrored(&fleet, except, |name| repository(&to_host, name)).await;
    // Cosign's old tags came along.
    let (root, _) = &fleet[&("team/app1".to_owned(), "v2.0".to_owned())];
    let old = format!("sha256-{}.sig", root.digest.hex());
    assert!(
        tagged(&repository(&to_host, "team/app1"), &old)
            .await
            .is_some()
    );
    let page = fs_err::read_to_string(site.workspace.join("report.html")).unwrap();
    assert!(page.contains("no signature by an accepted signer") && page.contains(&refused));

    let again = run(&registry, &[], 1);
    assert_eq!(
        (&again["counts"]["there"], &again["counts"]["refused"]),
        (&29.into(), &1.into())
    );

    let report = run("oci:usb/", &[], 1);
    assert_eq!(report["counts"]["mirrored"], 29);
    let usb = site.workspace.join("usb").join(&from_host);
    is_mirrored(&fleet, except, |name| {
        LayoutStore::open(usb.join(name)).unwrap()
    })
    .await;
    assert_eq!(run("oci:usb/", &[], 1)["counts"]["there"], 29);
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_registry_without_referrers_to_one_with_them() {
    let workspace = Workspace::new();
    let from = Registry::of(docker_registry(workspace.path()), true);
    let to = Registry::of(olareg(workspace.path()), false);
    thirty(from, to).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_registry_with_referrers_to_one_without_them() {
    let workspace = Workspace::new();
    let from = Registry::of(olareg(workspace.path()), false);
    let to = Registry::of(plain_distribution(workspace.path()), true);
    thirty(from, to).await;
}
