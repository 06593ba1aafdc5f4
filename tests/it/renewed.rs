//! Credentials that are no longer good, and the helper that has others in their place.

use std::os::unix::fs::PermissionsExt as _;

use testkit::{Asked, Output, Reply, Scripted, Workspace};

/// Has `old` at first, and then what its first word says.
const HELPER: &str = r#"#!/bin/sh
read -r server
secret=old
[ -e "$HOME/asked" ] && secret=THEN
echo "$1" >> "$HOME/asked"
echo "{\"ServerURL\":\"$server\",\"Username\":\"me\",\"Secret\":\"$secret\"}"
"#;

/// `me:old` and `me:new`.
const OLD: &str = "Basic bWU6b2xk";
const NEW: &str = "Basic bWU6bmV3";

/// Some key: nothing is found to verify.
const KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt
6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==
-----END PUBLIC KEY-----
";

fn image() -> Reply {
    Reply::new(200)
        .header("Content-Type: application/vnd.oci.image.index.v1+json")
        .body(r#"{"schemaVersion":2,"manifests":[]}"#)
}

/// What comes of looking at an image where the helper has `then` after `old`, and how often it is asked.
fn look(
    then: &str,
    answer: impl Fn(&Asked, Option<&str>) -> Reply + Send + Sync + 'static,
) -> (Output, usize) {
    look_at(&["v1"], then, answer)
}

/// The same of images by these tags: `verify` looks at several.
fn look_at(
    tags: &[&str],
    then: &str,
    answer: impl Fn(&Asked, Option<&str>) -> Reply + Send + Sync + 'static,
) -> (Output, usize) {
    let server = Scripted::start(move |asked| {
        let sent = asked.headers.get("authorization").map(String::as_str);
        answer(asked, sent)
    });
    let workspace = Workspace::new();
    let helper = HELPER.replace("THEN", then);
    let helper = workspace.write("bin/docker-credential-test", helper);
    fs_err::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    workspace.write("home/.docker/config.json", r#"{"credsStore":"test"}"#);
    let path = format!("{}:/usr/bin:/bin", workspace.join("bin").display());
    let images = tags
        .iter()
        .map(|tag| format!("{}/team/app:{tag}", server.host()));
    let command = if tags.len() == 1 {
        &["tree"][..]
    } else {
        &["verify", "--key", "key.pub"]
    };
    workspace.write("key.pub", KEY);
    let mut look = workspace.sealpack(command);
    let output = Output::of(look.args(images).env("PATH", path));
    let asked = fs_err::read_to_string(workspace.join("home/asked")).unwrap_or_default();
    (output, asked.lines().count())
}

fn basic(refusal: u16) -> impl Fn(&Asked, Option<&str>) -> Reply {
    move |asked, sent| match sent {
        Some(NEW) if asked.line.contains("/manifests/v1") => image(),
        Some(NEW) => Reply::new(404).body(""),
        Some(OLD) => Reply::new(refusal).body(""),
        _ => {
            let challenge = "WWW-Authenticate: Basic realm=\"r\"";
            Reply::new(401).header(challenge).body("")
        }
    }
}

fn bearer(refusal: u16) -> impl Fn(&Asked, Option<&str>) -> Reply {
    move |asked, sent| match sent {
        Some(NEW) => Reply::new(200).body(r#"{"token":"good"}"#),
        Some(OLD) => Reply::new(refusal).body(""),
        Some("Bearer good") if asked.line.contains("/manifests/v1") => image(),
        Some("Bearer good") => Reply::new(404).body(""),
        _ => {
            let realm = format!("http://{}/token", asked.headers["host"]);
            let challenge = format!("WWW-Authenticate: Bearer realm=\"{realm}\",service=\"r\"");
            Reply::new(401).header(challenge).body("")
        }
    }
}

#[test]
fn a_password_that_is_refused_is_asked_for_again_once() {
    for refusal in [401, 403] {
        let (output, asked) = look("new", basic(refusal));
        assert_eq!((output.code, asked), (0, 2), "{refusal}: {output:?}");
        let (output, asked) = look("old", basic(refusal));
        assert_eq!((output.code, asked), (2, 2), "{refusal}: {output:?}");
        assert!(output.stderr.contains(&refusal.to_string()), "{output:?}");

        let (output, asked) = look("new", bearer(refusal));
        assert_eq!((output.code, asked), (0, 2), "{refusal}: {output:?}");
        let (output, asked) = look("old", bearer(refusal));
        assert_eq!((output.code, asked), (2, 2), "{refusal}: {output:?}");
    }
}

#[test]
fn a_password_that_is_all_there_is_is_not_sought_at_each_refusal() {
    let tags = ["v1", "v2", "v3"];
    let (output, asked) = look_at(&tags, "old", basic(403));
    assert_eq!((output.code, asked), (2, 2), "{output:?}");
    let (output, asked) = look_at(&tags, "old", bearer(403));
    assert_eq!((output.code, asked), (2, 2), "{output:?}");
}

#[test]
fn a_server_that_fails_says_nothing_of_the_password() {
    for answers in [false, true] {
        let (output, asked) = if answers {
            look("new", bearer(503))
        } else {
            look("new", basic(503))
        };
        assert_eq!((output.code, asked), (2, 1), "{output:?}");
    }
}
