//! What shells offer behind the beginning of an image's name.

use std::time::{Duration, Instant};

use oci::Store as _;
use oci::store::{RegistryClient, RegistryOptions};
use testkit::registry::{Fault, FaultKind, Login, Switches, TestRegistry};
use testkit::{Output, Workspace, binary, peer};

use crate::layout::push_image;
use crate::odd;

/// A registry whose repository `my/app` has these tags.
async fn registry_with(tags: &[&str]) -> TestRegistry {
    let registry = TestRegistry::start(Switches::default());
    let name = format!("{}/my/app", registry.host());
    let client = RegistryClient::new(RegistryOptions::default());
    let store = client.repository(&name.parse().unwrap());
    for tag in tags {
        let image = push_image(&store, tag.as_bytes(), None).await;
        store.tag(&image, &tag.parse().unwrap()).await.unwrap();
    }
    registry
}

/// What the program answers the scripts of shells: `line` ends with the word that is asked for.
fn offered(workspace: &Workspace, line: &str) -> Vec<String> {
    let word = line.rsplit(' ').next().unwrap();
    let words = ["__complete", word].into_iter().chain(line.split(' '));
    let output = Output::of(&mut workspace.sealpack(words)).expect(0);
    assert_eq!(output.stderr, "", "{line}");
    output.stdout.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn tags_are_those_of_the_place() {
    let registry = registry_with(&["v1", "v2", "w1"]).await;
    let workspace = Workspace::new();
    let image = format!("{}/my/app", registry.host());
    for to in [
        "oci:out:v1",
        "oci:out:localhost/app:v1",
        "oci-archive:a.tar:v1",
    ] {
        let copy = ["copy", &format!("{image}:v1"), to];
        Output::of(&mut workspace.sealpack(copy)).expect(0);
    }
    // Docker's archives name images that Docker could run.
    let case = odd::image(&registry, &mut odd::Chance(1));
    registry.put_manifest("app", Some("v1"), case.media_type.as_str(), case.text);
    let from = format!("{}/app:v1", registry.host());
    let copy = ["copy", &from, "docker-archive:d.tar:app:v1"];
    Output::of(&mut workspace.sealpack(copy)).expect(0);
    let offered = |line: &str| offered(&workspace, line);
    let line = format!("sealpack verify {image}:");
    let all = ["v1", "v2", "w1"].map(|it| format!("{image}:{it}"));
    assert_eq!(offered(&line), all);
    assert_eq!(offered(&format!("{line}v")), all[..2]);
    for (word, found) in [
        ("oci:o", "oci:out:"),
        ("oci:out:v", "oci:out:v1"),
        ("oci:out:local", "oci:out:localhost/app:v1"),
        ("oci-archive:a.tar:", "oci-archive:a.tar:v1"),
        ("oci-archive:a", "oci-archive:a.tar"),
        ("docker-archive:d.tar:app:", "docker-archive:d.tar:app:v1"),
    ] {
        assert_eq!(
            offered(&format!("sealpack verify {word}")),
            [found],
            "{word}"
        );
    }
    // What may be something else is not looked for.
    let before = registry.requests().len();
    assert!(offered(&format!("sealpack verify {}", registry.host())).is_empty());
    assert!(offered(&format!("sealpack build --env A={image}:")).is_empty());
    assert_eq!(registry.requests().len(), before);
}

#[tokio::test]
async fn what_cannot_be_listed_is_silence_and_soon() {
    let registry = registry_with(&["v1"]).await;
    let workspace = Workspace::new();
    let line = format!("sealpack verify {}/my/app:", registry.host());
    for missing in [
        "sealpack verify 127.0.0.1:1/app:",
        "sealpack verify oci:nowhere:",
        "sealpack verify oci-archive:nowhere:",
    ] {
        assert!(offered(&workspace, missing).is_empty(), "{missing}");
    }
    registry.set(|it| {
        it.login = Login::Basic {
            username: "me",
            password: "secret",
        }
    });
    assert!(offered(&workspace, &line).is_empty());
    registry.set(|it| {
        it.login = Switches::default().login;
        it.faults = vec![Fault::first(
            9,
            "/tags/list",
            FaultKind::Slow(Duration::from_secs(30)),
        )];
    });
    #[expect(
        clippy::disallowed_methods,
        reason = "how long it takes is what is asked"
    )]
    let begun = Instant::now();
    assert!(offered(&workspace, &line).is_empty());
    let elapsed = begun.elapsed();
    assert!(elapsed < Duration::from_secs(20), "{elapsed:?}");
}

/// Without a slash a name is one of Docker Hub's, or of what the settings say stands for that.
#[tokio::test]
async fn names_without_a_slash_are_completed_where_an_image_is_asked_for() {
    let registry = registry_with(&["v1", "v2"]).await;
    let workspace = Workspace::new();
    let conf = format!(
        "[[registry]]\nprefix = 'docker.io/library'\nlocation = '{}/my'\ninsecure = true\n",
        registry.host()
    );
    workspace.write("r.conf", conf);
    workspace.write("trusted.toml", "registries-conf = 'r.conf'\n");
    let offered = |line: &str| offered(&workspace, line);
    for line in [
        "sealpack verify --registries-conf r.conf app:",
        "sealpack copy --registries-conf r.conf app:v1 app:",
        "sealpack build . --registries-conf r.conf --tag app:",
        "sealpack build . --registries-conf r.conf --builder app:",
    ] {
        assert_eq!(offered(line), ["app:v1", "app:v2"], "{line}");
    }
    let mut command = workspace.sealpack(["__complete", "app:v1", "sealpack", "verify", "app:v1"]);
    command.env("SEALPACK_CONFIG", "trusted.toml");
    assert_eq!(Output::of(&mut command).expect(0).stdout, "app:v1\n");
    // With the flag before it, as bash and zsh hand it over.
    let mut command = workspace.sealpack(["__complete", "app:v2", "sealpack", "build"]);
    command.args(["--registries-conf=r.conf", "--tag=app:v2"]);
    assert_eq!(Output::of(&mut command).expect(0).stdout, "app:v2\n");
    // What is no image, or was not to be reached, is not asked for.
    let before = registry.requests().len();
    for line in [
        "sealpack build . --registries-conf r.conf --volume app:",
        "sealpack build . --registries-conf r.conf --env app:",
        "sealpack app:",
        "sealpack verify --offline --registries-conf r.conf app:",
    ] {
        assert!(offered(line).is_empty(), "{line}");
    }
    assert_eq!(registry.requests().len(), before);
}

/// What is known without looking anywhere: the project's images, and how places begin.
#[test]
fn names_of_the_settings_are_offered() {
    let workspace = Workspace::new();
    workspace.write(
        "sealpack.toml",
        "tags = ['r.example/me/app:v1', 'oci:out:v1', 'odd']\n",
    );
    let offered = |line: &str| offered(&workspace, line);
    for (word, found) in [
        ("r", &["r.example/me/app:v1"][..]),
        ("r.example/me/app:", &["r.example/me/app:v1"]),
        ("oci", &["oci-archive:", "oci:", "oci:out:v1"]),
        ("o", &["oci-archive:", "oci:", "oci:out:v1", "odd"]),
        ("oci:ou", &["oci:out:v1"]),
        ("docker-d", &["docker-daemon:"]),
        ("x", &[]),
    ] {
        let line = format!("sealpack verify --offline {word}");
        assert_eq!(offered(&line), found, "{word}");
    }
    // Who may mean a file or a command is offered those.
    for line in [
        "sealpack sbom o",
        "sealpack build . --builder o",
        "sealpack o",
        "o",
    ] {
        assert!(offered(line).is_empty(), "{line}");
    }
}

/// The flags that were typed hold.
#[tokio::test]
async fn it_is_asked_with_the_flags_that_were_typed() {
    let registry = registry_with(&["v1"]).await;
    registry.set(|it| {
        it.login = Login::Basic {
            username: "robot",
            password: "secret",
        }
    });
    let workspace = Workspace::new();
    let auth = serde_json::json!({ "auths": { registry.host(): { "auth": "cm9ib3Q6c2VjcmV0" } } });
    workspace.write("auth.json", auth.to_string());
    let image = format!("{}/my/app:", registry.host());
    let line = format!("sealpack verify --authfile auth.json {image}");
    assert_eq!(offered(&workspace, &line), [format!("{image}v1")]);
}

/// `--offline` holds whatever stands before the command: zsh hands over all of the line.
#[tokio::test]
async fn offline_holds_whatever_stands_before() {
    let registry = registry_with(&["v1"]).await;
    let proxy = testkit::Proxy::start(&registry.host());
    let workspace = Workspace::new();
    let asked = |line: &str| {
        let word = line.rsplit(' ').next().unwrap();
        let words = ["__complete", word].into_iter().chain(line.split(' '));
        let mut command = workspace.sealpack(words);
        command.env("HTTP_PROXY", format!("http://{}", proxy.host()));
        Output::of(&mut command).expect(0).stdout
    };
    let image = "--insecure-registry registry.test:5000 registry.test:5000/my/app:";
    for before in ["", "true && ", "A=b "] {
        let line = format!("{before}sealpack verify --offline {image}");
        assert_eq!(asked(&line), "", "{line}");
    }
    assert!(proxy.requests().is_empty());
    let online = asked(&format!("sealpack verify {image}"));
    assert_eq!(online, "registry.test:5000/my/app:v1\n");
}

/// Names of files come from strangers, and bash takes what it is offered as if it had been typed.
#[test]
fn bash_is_offered_nothing_that_it_would_run() {
    let workspace = Workspace::new();
    workspace.write("a;touch b/oci-layout", "{}");
    let script = r#"
        source <("$0" completion bash)
        COMP_LINE=$1 COMP_POINT=${#1} COMP_CWORD=3
        _sealpack_images "$0" a :
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = workspace.command("bash");
    bash.args(["-c", script])
        .arg(binary("sealpack"))
        .arg("sealpack ls oci:a");
    assert_eq!(Output::of(&mut bash).expect(0).stdout, "a\\;touch\\ b:\n");
}

/// The script of bash, as bash runs it: it ends words at colons.
#[tokio::test]
async fn bash_puts_the_words_together() {
    let registry = registry_with(&["v1", "v2"]).await;
    let workspace = Workspace::new();
    let line = format!("sealpack verify --key=k {}/my/app:v", registry.host());
    let script = r#"
        source <("$0" completion bash)
        COMP_LINE=$1 COMP_POINT=${#1} COMP_CWORD=9
        _sealpack_images "$0" "${1##*:}" ":"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut bash = workspace.command("bash");
    let output = Output::of(bash.args(["-c", script]).arg(binary("sealpack")).arg(&line));
    assert_eq!(output.expect(0).stdout, "v1\nv2\n");
}

/// Scripts are well formed, as far as these shells are there.
#[test]
fn scripts_are_read_by_their_shells() {
    let workspace = Workspace::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = Output::of(&mut workspace.sealpack(["completion", shell])).expect(0);
        assert!(script.stdout.contains("__complete"), "{shell}");
        let path = workspace.write(format!("script.{shell}"), &script.stdout);
        if let Some(program) = peer(shell) {
            Output::of(workspace.command(program).arg("-n").arg(path)).expect(0);
        }
    }
}
