//! Mirrors: who is asked for what, in which order, as whom, and what they cannot do.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use oci::auth::{Credential, Credentials};
use oci::store::{Mirrors, RegistryClient, RegistryOptions, Retries};
use oci::{Descriptor, Digest, Limits, Selector, Store, StoreError};
use testkit::registry::{Fault, FaultKind, Login, Switches, TestRegistry};
use testkit::{Output, Workspace, free_port};

use crate::layout::push_image;

fn options() -> RegistryOptions {
    RegistryOptions {
        retries: Retries {
            count: 2,
            first: Duration::from_millis(1),
            longest: Duration::from_millis(10),
        },
        ..RegistryOptions::default()
    }
}

/// A `registries.conf` for `origin`, with these mirrors and what else they say.
fn conf(origin: &str, mirrors: &[(&str, &str)]) -> String {
    let mut text = format!("[[registry]]\nlocation = '{origin}'\n");
    for (location, more) in mirrors {
        let head = "[[registry.mirror]]\nlocation";
        writeln!(text, "{head} = '{location}'\n{more}").unwrap();
    }
    text
}

fn mirrored(text: &str, origin: &str, options: RegistryOptions) -> Arc<dyn Store> {
    let options = RegistryOptions {
        mirrors: Mirrors::default()
            .with_conf(Path::new("registries.conf"), text)
            .unwrap(),
        ..options
    };
    let repository = format!("{origin}/team/app").parse().unwrap();
    Arc::new(RegistryClient::new(options).mirrored(&repository).unwrap())
}

/// Puts an image, under `v1`, and proof of it there; all with what is special to this place.
async fn fill(registry: &TestRegistry, repository: &str, layer: &[u8]) -> Descriptor {
    let name = format!("{}/{repository}", registry.host()).parse().unwrap();
    let store = RegistryClient::new(options()).repository(&name);
    let image = push_image(&store, layer, None).await;
    store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
    registry.take_requests();
    image
}

fn layer(bytes: &[u8]) -> Descriptor {
    Descriptor::of(oci::MediaType::LAYER_TAR, bytes)
}

fn v1() -> Selector {
    Selector::Tag("v1".parse().unwrap())
}

async fn read(store: &dyn Store, target: &Descriptor) -> Result<bytes::Bytes, StoreError> {
    oci::store::read(store, target, u64::MAX).await
}

fn started() -> TestRegistry {
    TestRegistry::start(Switches::default())
}

#[tokio::test]
async fn mirrors_are_asked_in_order_and_the_origin_last() {
    let (empty, full, origin) = (started(), started(), started());
    let image = fill(&full, "cache/team/app", b"app").await;
    let text = conf(
        &origin.host(),
        &[
            (&format!("{}/x", empty.host()), ""),
            (&format!("{}/cache", full.host()), ""),
        ],
    );
    let store = mirrored(&text, &origin.host(), options());
    assert_eq!(store.resolve(&v1()).await.unwrap(), image);
    read(&*store, &image).await.unwrap();
    assert_eq!(read(&*store, &layer(b"app")).await.unwrap(), "app");
    let blob = format!("/v2/cache/team/app/blobs/{}", Digest::of(b"app"));
    assert_eq!(
        full.take_requests(),
        [
            "GET /v2/cache/team/app/manifests/v1".to_owned(),
            format!("GET {blob}"),
        ]
    );
    assert_eq!(empty.take_requests().len(), 3);
    assert_eq!(origin.take_requests(), [""; 0]);

    // Writing is for the origin alone, and does not take a mirror's word for what is there.
    assert_eq!(push_image(&*store, b"app", None).await, image);
    store.tag(&image, &"v2".parse().unwrap()).await.unwrap();
    assert!(origin.tagged("team/app", "v2").is_some());
    assert!(empty.take_requests().is_empty() && full.take_requests().is_empty());
    // What no mirror has, the origin may.
    let other = push_image(&*store, b"other", None).await;
    assert_eq!(read(&*store, &layer(b"other")).await.unwrap(), "other");
    store.delete(&other).await.unwrap();
    assert!(read(&*store, &other).await.unwrap_err().is_not_found());
    for (bytes, is_there) in [(&b"app"[..], true), (b"other", true), (b"none", false)] {
        assert_eq!(store.contains(&layer(bytes)).await.unwrap(), is_there);
    }
    let place = store.repository().unwrap().to_string();
    assert_eq!(place, format!("{}/team/app", origin.host()));
}

#[tokio::test]
async fn what_a_mirror_gets_wrong_is_never_handed_out() {
    // Larger than what waits in memory.
    let large = vec![7; 3 << 20];
    for lie in [
        |it: &mut Switches| it.wrong_content = true,
        |it: &mut Switches| it.excess = Some(1),
        |it: &mut Switches| it.endless = true,
    ] {
        let (mirror, origin) = (started(), started());
        for (registry, name) in [(&mirror, "cache/team/app"), (&origin, "team/app")] {
            fill(registry, name, &large).await;
        }
        mirror.set(lie);
        let cache = format!("{}/cache", mirror.host());
        let text = conf(&origin.host(), &[(&cache, "")]);
        let store = mirrored(&text, &origin.host(), options());
        assert_eq!(read(&*store, &layer(&large)).await.unwrap(), large);
        assert!(!mirror.take_requests().is_empty());
        // It has lost our trust.
        assert_eq!(read(&*store, &layer(&large)).await.unwrap(), large);
        assert_eq!(mirror.take_requests(), [""; 0]);
        assert_eq!(origin.take_requests().len(), 2);
    }
    let (mirror, origin) = (started(), started());
    let image = fill(&origin, "team/app", b"app").await;
    fill(&mirror, "cache/team/app", b"app").await;
    mirror.set(|it| it.wrong_content = true);
    let cache = format!("{}/cache", mirror.host());
    let text = conf(&origin.host(), &[(&cache, "")]);
    let store = mirrored(&text, &origin.host(), options());
    read(&*store, &image).await.unwrap();
    assert!(mirror.take_requests().len() == 1 && origin.take_requests().len() == 1);
}

#[tokio::test]
async fn each_place_gets_its_own_credentials_only() {
    const ORIGIN: Login = Login::Basic {
        username: "me",
        password: "hunter2",
    };
    const MIRROR: Login = Login::Basic {
        username: "reader",
        password: "secret",
    };
    let (stranger, mirror, origin) = (started(), started(), started());
    fill(&mirror, "cache/team/app", b"app").await;
    fill(&origin, "team/app", b"app").await;
    stranger.set(|it| it.login = MIRROR);
    mirror.set(|it| it.login = MIRROR);
    origin.set(|it| it.login = ORIGIN);
    let text = conf(
        &origin.host(),
        &[
            (&stranger.host(), ""),
            (&format!("{}/cache", mirror.host()), ""),
        ],
    );
    let credentials = Credentials::default()
        .with(&origin.host(), Credential::basic("me", "hunter2"))
        .with(
            &format!("{}/cache", mirror.host()),
            Credential::basic("reader", "secret"),
        );
    let options = RegistryOptions {
        credentials,
        ..options()
    };
    let store = mirrored(&text, &origin.host(), options);
    let image = store.resolve(&v1()).await.unwrap();
    read(&*store, &image).await.unwrap();
    store.referrers(&image.digest).await.unwrap();
    // Of `reader:secret`, and of `me:hunter2`.
    let sent =
        |it: &TestRegistry| -> Vec<String> { it.authorizations().into_iter().flatten().collect() };
    assert!(sent(&stranger).is_empty() && !stranger.requests().is_empty());
    assert!(!sent(&mirror).is_empty() && !sent(&origin).is_empty());
    assert!(
        sent(&mirror)
            .iter()
            .all(|it| it == "Basic cmVhZGVyOnNlY3JldA==")
    );
    assert!(
        sent(&origin)
            .iter()
            .all(|it| it == "Basic bWU6aHVudGVyMg==")
    );
}

#[tokio::test]
async fn a_mirror_serves_tags_or_digests_as_it_is_said() {
    let (mirror, origin) = (started(), started());
    let cached = fill(&mirror, "cache/team/app", b"old").await;
    let image = fill(&origin, "team/app", b"new").await;
    let cache = format!("{}/cache", mirror.host());
    let with = |more| conf(&origin.host(), &[(&cache, more)]);
    let host = origin.host();

    let text = with("pull-from-mirror = 'digest-only'");
    let store = mirrored(&text, &host, options());
    assert_eq!(store.resolve(&v1()).await.unwrap(), image);
    assert_eq!(mirror.take_requests(), [""; 0]);
    read(&*store, &cached).await.unwrap();
    assert_eq!(mirror.take_requests().len(), 1);

    let text = with("pull-from-mirror = 'tag-only'");
    let store = mirrored(&text, &host, options());
    assert!(read(&*store, &cached).await.unwrap_err().is_not_found());
    assert_eq!(mirror.take_requests(), [""; 0]);
    // What it says a tag means, it has to deliver.
    assert_eq!(store.resolve(&v1()).await.unwrap(), cached);
    read(&*store, &cached).await.unwrap();
    assert_eq!(mirror.take_requests().len(), 1);
}

#[tokio::test]
async fn no_mirror_hides_what_is_attached() {
    let (mirror, second, origin) = (started(), started(), started());
    let image = fill(&mirror, "cache/team/app", b"app").await;
    fill(&second, "team/app", b"app").await;
    fill(&origin, "team/app", b"app").await;
    let text = conf(
        &origin.host(),
        &[
            (&format!("{}/cache", mirror.host()), ""),
            (&second.host(), ""),
        ],
    );
    let store = mirrored(&text, &origin.host(), options());
    let proof = push_image(&*store, b"proof", Some(&image)).await;
    let digests =
        |found: Vec<Descriptor>| -> Vec<_> { found.into_iter().map(|it| it.digest).collect() };
    // The mirrors have none, which counts for nothing.
    let found = store.referrers(&image.digest).await.unwrap();
    assert_eq!(digests(found), [proof.digest]);
    assert!(mirror.take_requests().is_empty());
    read(&*store, &layer(b"proof")).await.unwrap();

    // Where the origin cannot be asked, all of the mirrors are.
    let at_second = format!("{}/team/app", second.host()).parse().unwrap();
    let client = RegistryClient::new(options());
    let there = push_image(&client.repository(&at_second), b"there", Some(&image)).await;
    let nobody = format!("127.0.0.1:{}", free_port());
    let text = text.replace(&origin.host(), &nobody);
    let store = mirrored(&text, &nobody, options());
    let found = store.referrers(&image.digest).await.unwrap();
    let there = [there.digest];
    assert_eq!(digests(found), there);
    assert_eq!(store.tags().await.unwrap().len(), 1);
    // One that says no to us, has not said that there is none.
    let text = conf(
        &origin.host(),
        &[
            (&format!("{}/cache", mirror.host()), ""),
            (&second.host(), ""),
        ],
    );
    let denied = Fault::first(usize::MAX, "/referrers/", FaultKind::Status(403, None));
    origin.set(|it| it.faults = vec![denied]);
    let store = mirrored(&text, &origin.host(), options());
    let found = store.referrers(&image.digest).await.unwrap();
    assert_eq!(digests(found), there);
    // One that has too many has given an answer.
    origin.set(|it| it.faults = Vec::new());
    let few = RegistryOptions {
        limits: Limits {
            referrers: 0,
            ..Limits::default()
        },
        ..options()
    };
    let store = mirrored(&text, &origin.host(), few);
    assert!(matches!(
        store.referrers(&image.digest).await,
        Err(StoreError::TooMany { .. })
    ));
    // A no of the origin is an answer.
    let name = format!("{}/team/none", origin.host());
    let text = conf(&name, &[(&second.host(), "")]);
    let options = RegistryOptions {
        mirrors: Mirrors::default()
            .with_conf(Path::new("registries.conf"), &text)
            .unwrap(),
        ..options()
    };
    let client = RegistryClient::new(options);
    let store = client.mirrored(&name.parse().unwrap());
    // The mirror's name for it is no repository.
    assert!(store.is_err());
}

#[tokio::test]
async fn a_mirror_that_is_down_is_passed_over_and_all_failures_are_named() {
    let (mirror, origin) = (started(), started());
    let image = fill(&origin, "team/app", b"app").await;
    let down = format!("127.0.0.1:{}", free_port());
    let text = conf(
        &origin.host(),
        &[(&down, ""), (&format!("{}/cache", mirror.host()), "")],
    );
    let store = mirrored(&text, &origin.host(), options());
    read(&*store, &image).await.unwrap();

    let nobody = format!("127.0.0.1:{}", free_port());
    let text = text.replace(&origin.host(), &nobody);
    let store = mirrored(&text, &nobody, options());
    let error = read(&*store, &image).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string().contains(&nobody), "{error}");
    assert!(cause.contains(&down), "{cause}");
    assert!(cause.contains(&mirror.host()), "{cause}");
    // Not found at the origin is not found.
    let text = conf(&origin.host(), &[(&down, "")]);
    let store = mirrored(&text, &origin.host(), options());
    let error = read(&*store, &layer(b"none")).await.unwrap_err();
    assert!(error.is_not_found(), "{error}");
    // Nor can anybody say what is attached, where nobody can be asked.
    let text = conf(&nobody, &[(&down, "")]);
    let store = mirrored(&text, &nobody, options());
    for error in [
        store.referrers(&image.digest).await.unwrap_err(),
        mirrored(&text, &nobody, options())
            .tags()
            .await
            .unwrap_err(),
    ] {
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(&down), "{cause}");
    }
}

#[tokio::test]
async fn what_waits_until_it_is_checked_waits_in_a_file_if_it_is_large() {
    let (mirror, origin) = (started(), started());
    let large = vec![7; 3 << 20];
    for content in [&large[..], b"small"] {
        fill(&mirror, "cache/team/app", content).await;
        fill(&origin, "team/app", content).await;
    }
    let cache = format!("{}/cache", mirror.host());
    let options = RegistryOptions {
        temporary: "/surely/not/there".into(),
        ..options()
    };
    let store = mirrored(
        &conf(&origin.host(), &[(&cache, "")]),
        &origin.host(),
        options,
    );
    for (content, from_origin) in [(b"small".to_vec(), 0), (large, 1)] {
        assert_eq!(read(&*store, &layer(&content)).await.unwrap(), content);
        assert_eq!(origin.take_requests().len(), from_origin);
    }
}

#[tokio::test]
async fn tags_are_listed_by_the_origin_and_else_by_all_mirrors() {
    let (first, second, origin) = (started(), started(), started());
    for (registry, name, tag) in [
        (&first, "cache/team/app", "v2"),
        (&second, "team/app", "v3"),
        (&origin, "team/app", "v4"),
    ] {
        let image = fill(registry, name, b"app").await;
        let name = format!("{}/{name}", registry.host()).parse().unwrap();
        let store = RegistryClient::new(options()).repository(&name);
        store.tag(&image, &tag.parse().unwrap()).await.unwrap();
        registry.take_requests();
    }
    let text = conf(
        &origin.host(),
        &[
            (&format!("{}/cache", first.host()), ""),
            (&second.host(), ""),
        ],
    );
    let listed = |tags: Vec<oci::Tag>| tags.iter().map(ToString::to_string).collect::<Vec<_>>();
    let store = mirrored(&text, &origin.host(), options());
    assert_eq!(listed(store.tags().await.unwrap()), ["v1", "v4"]);

    // What it says no to, and what it says too much of, is its answer.
    let client = |text: &str, limits| {
        let options = RegistryOptions {
            mirrors: Mirrors::default()
                .with_conf(Path::new("registries.conf"), text)
                .unwrap(),
            limits,
            ..options()
        };
        RegistryClient::new(options)
    };
    let none: oci::Repository = format!("{}/team/none", origin.host()).parse().unwrap();
    let there = text.replace(&origin.host(), &none.to_string());
    let there = there.replace("/cache", "/cache/team/app");
    let there = there.replace(&second.host(), &format!("{}/team/app", second.host()));
    let store = client(&there, Limits::default()).mirrored(&none).unwrap();
    assert!(store.tags().await.unwrap_err().is_not_found());
    let limits = Limits {
        manifests: 1,
        ..Limits::default()
    };
    let name = format!("{}/team/app", origin.host()).parse().unwrap();
    let store = client(&text, limits).mirrored(&name).unwrap();
    assert!(matches!(
        store.tags().await,
        Err(StoreError::TooMany { .. })
    ));
    assert!(first.take_requests().is_empty() && second.take_requests().is_empty());

    // Where it gives no answer, that is told.
    let nobody = format!("127.0.0.1:{}", free_port());
    let text = text.replace(&origin.host(), &nobody);
    let client = client(&text, Limits::default());
    let name: oci::Repository = format!("{nobody}/team/app").parse().unwrap();
    let store = client.mirrored(&name).unwrap();
    assert_eq!(listed(store.tags().await.unwrap()), ["v1", "v2", "v3"]);
    let notes = client.take_notes();
    assert!(notes[0].contains("listed by mirrors only"), "{notes:?}");
    assert_eq!(client.take_notes(), [""; 0]);
}

#[tokio::test]
async fn what_is_written_goes_to_the_name_and_not_to_where_it_is_read_from() {
    let (location, named) = (started(), started());
    let image = fill(&location, "moved/app", b"app").await;
    let text = format!(
        "[[registry]]\nprefix = '{}/team'\nlocation = '{}/moved'\n",
        named.host(),
        location.host()
    );
    let store = mirrored(&text, &named.host(), options());
    assert_eq!(store.resolve(&v1()).await.unwrap(), image);
    location.take_requests();
    let place = store.repository().unwrap().clone();
    assert_eq!(place.to_string(), format!("{}/team/app", named.host()));

    let pushed = push_image(&*store, b"new", None).await;
    store.tag(&pushed, &"v2".parse().unwrap()).await.unwrap();
    let (other, document) = {
        let document = bytes::Bytes::from_static(
            br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#,
        );
        let target = Descriptor::of(oci::MediaType::IMAGE_INDEX, &document);
        (target, document)
    };
    let all = vec![(other.clone(), document)];
    store.push_manifests(all).await.unwrap();
    let base = format!("{}/team/base", named.host()).parse().unwrap();
    named.put_blob("team/base", &b"base"[..]);
    assert!(store.mount(&layer(b"base"), &base).await.unwrap());
    assert_eq!(location.take_requests(), [""; 0]);
    // It reads what it removes, as all else, but removes it where it wrote it.
    store.delete(&other).await.unwrap();
    assert_eq!(named.manifests("team/app"), 1);
    assert_eq!(location.take_requests(), [""; 0]);
}

#[tokio::test]
async fn a_mirror_is_not_waited_for_as_long_as_the_origin() {
    let (mirror, origin) = (started(), started());
    let image = fill(&origin, "team/app", b"app").await;
    let fault = FaultKind::Status(503, None);
    for registry in [&mirror, &origin] {
        registry.set(|it| it.faults = vec![Fault::first(usize::MAX, "", fault.clone())]);
    }
    let cache = format!("{}/cache", mirror.host());
    let store = mirrored(
        &conf(&origin.host(), &[(&cache, "")]),
        &origin.host(),
        options(),
    );
    read(&*store, &image).await.unwrap_err();
    assert_eq!(mirror.take_requests().len(), 2);
    assert_eq!(origin.take_requests().len(), 3);
}

#[test]
fn commands_read_from_mirrors_and_write_to_the_origin() {
    let workspace = Workspace::new();
    let (mirror, origin) = (started(), started());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(fill(&mirror, "cache/team/app", b"app"));
    let (host, cache) = (origin.host(), format!("{}/cache", mirror.host()));
    let image = format!("{host}/team/app:v1");
    let named = ["--registries-conf", "registries.conf"];
    workspace.write("registries.conf", conf(&host, &[(&cache, "")]));
    let run = |arguments: &[&str]| Output::of(&mut workspace.sealpack(arguments));

    run(&["copy", &image, "oci:out:v1"]).expect(2);
    let output = run(&[
        &["copy", &image, "oci:out:v1", "--output", "json"][..],
        &named,
    ]
    .concat());
    // The name stays.
    let output = output.expect(0);
    assert!(
        output.stdout.contains(&format!("{host}/team/app@")),
        "{}",
        output.stdout
    );
    assert!(!output.stdout.contains(&cache), "{}", output.stdout);
    mirror.take_requests();
    origin.take_requests();
    run(&[&["copy", "oci:out:v1", &image][..], &named].concat()).expect(0);
    assert_eq!(mirror.take_requests(), [""; 0]);
    assert!(origin.tagged("team/app", "v1").is_some());
    // Not even asked.
    run(&[&["copy", &image, "oci:off:v1", "--offline"][..], &named].concat()).expect(0);
    assert_eq!(mirror.take_requests(), [""; 0]);

    let by_variable = |name: &str, value: &str| {
        let mut command = workspace.sealpack(["tree", &image]);
        let output = Output::of(command.env(name, value)).expect(0);
        assert!(
            !mirror.take_requests().is_empty(),
            "{name}: {}",
            output.stderr
        );
    };
    by_variable("CONTAINERS_REGISTRIES_CONF", "registries.conf");
    by_variable("CNB_REGISTRY_MIRRORS", &format!("{host}=http://{cache}"));
    workspace.write(
        "home/.config/containers/registries.conf",
        conf(&host, &[(&cache, "")]),
    );
    run(&["tree", &image]).expect(0);
    assert!(!mirror.take_requests().is_empty());

    // A mirror that is down is told to who wants to hear it.
    let down = format!("127.0.0.1:{}", free_port());
    workspace.write("registries.conf", conf(&host, &[(&down, "")]));
    let output = run(&[&["tree", &image, "-v"][..], &named].concat()).expect(0);
    assert!(output.stderr.contains(&down), "{}", output.stderr);

    workspace.write(
        "registries.conf",
        format!("[[registry]]\nlocation='{host}'\nblocked=true"),
    );
    for arguments in [["tree", &image].as_slice(), &["copy", "oci:out:v1", &image]] {
        let output = run(&[arguments, &named].concat()).expect(2);
        assert!(output.stderr.contains("blocked"), "{}", output.stderr);
    }
    workspace.write("registries.conf", "{");
    let output = run(&[&["tree", &image][..], &named].concat()).expect(2);
    assert!(
        output.stderr.contains("registries.conf"),
        "{}",
        output.stderr
    );
}

#[test]
fn two_entries_of_one_file_that_contradict_each_other_are_refused() {
    let entry = |fields: &str| format!("[[registry]]\n{fields}\n");
    let read = |entries: &[&str]| {
        let text: String = entries.iter().map(|it| entry(it)).collect();
        Mirrors::default().with_conf(Path::new("registries.conf"), &text)
    };
    let blocked = "location = \"r.example\"\nblocked = true";
    for (other, field) in [
        ("location = \"r.example\"", "blocked"),
        (
            "prefix = \"r.example/team\"\nlocation = \"r.example\"",
            "blocked",
        ),
        (
            "prefix = \"r.example\"\nlocation = \"elsewhere.example\"",
            "blocked",
        ),
        (
            "location = \"R.example\"\nblocked = true\ninsecure = true",
            "insecure",
        ),
    ] {
        for entries in [[blocked, other], [other, blocked]] {
            let error = read(&entries).unwrap_err().to_string();
            assert!(
                error.contains(field) && error.contains("r.example"),
                "{error}"
            );
        }
    }
    let both = read(&[
        blocked,
        "prefix = \"r.example/team\"\nlocation = \"x.example\"",
    ])
    .unwrap();
    assert!(both.is_blocked(&"r.example/app".parse().unwrap()));
    assert!(!both.is_blocked(&"r.example/team/app".parse().unwrap()));
    assert!(read(&[blocked, blocked]).is_ok());
}
