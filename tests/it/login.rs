//! Credentials: checked, kept where other clients keep theirs, found there, and forgotten.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use insta::assert_snapshot;
use testkit::registry::{Login, Switches, TestRegistry};
use testkit::{Certificates, Gate, Output, TokenServer, Workspace, distribution, free_port, peer};

const BASIC: Login = Login::Basic {
    username: "me",
    password: "hunter2",
};

fn registry(login: Login) -> TestRegistry {
    TestRegistry::start(Switches {
        login,
        ..Switches::default()
    })
}

/// Runs `command` with this on standard input.
fn with_input(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that fails before it reads has no use for it.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).unwrap_or_default();
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn log_in(workspace: &Workspace, host: &str, password: &str, more: &[&str]) -> Output {
    let common = ["login", host, "--username", "me", "--password-stdin"];
    with_input(workspace.sealpack(common).args(more), password)
}

fn tags(workspace: &Workspace, host: &str) -> Output {
    Output::of(&mut workspace.sealpack(["tree", &format!("{host}/team/app:v1")]))
}

const CONFIG: &str = "home/.docker/config.json";

#[test]
fn a_login_is_checked_kept_used_and_forgotten() {
    let workspace = Workspace::new();
    let registry = registry(BASIC);
    let host = registry.host();
    registry.put_manifest(
        "team/app",
        Some("v1"),
        "application/vnd.oci.image.index.v1+json",
        r#"{"schemaVersion":2,"manifests":[]}"#,
    );
    let home = workspace.join("home").display().to_string();
    let names = [(host.as_str(), "[host]"), (home.as_str(), "[home]")];
    assert_snapshot!(tags(&workspace, &host).transcript(&names), @"
    exit: 2
    --- stdout
    --- stderr
    error: `[host]/team/app` refused access: cannot resolve `v1`
      cause: 401 Unauthorized: UNAUTHORIZED: authentication required, not
    hint: log in with `sealpack login [host]`, or ask for the right to this repository
    ");

    workspace.write(
        CONFIG,
        r#"{"auths":{"other.test":{"auth":"eDp5"}},"detachKeys":"ctrl-x","nested":{"b":1,"a":[2]}}"#,
    );
    let before = fs_err::read_to_string(workspace.join(CONFIG)).unwrap();
    let refused = log_in(&workspace, &host, "wrong-password\n", &[]);
    assert_snapshot!(refused.transcript(&names), @"
    exit: 1
    --- stdout
    --- stderr
    error: wrong username or password for `[host]`
      note: the registry says: 401 Unauthorized: UNAUTHORIZED: authentication required, not Basic …
    hint: many registries want an access token in place of the password
    ");
    assert_eq!(
        fs_err::read_to_string(workspace.join(CONFIG)).unwrap(),
        before
    );

    let accepted = log_in(&workspace, &host, "hunter2\r\n", &[]);
    assert_snapshot!(accepted.transcript(&names), @"
    exit: 0
    --- stdout
    logged in to [host] as me
    --- stderr
      warning  credentials are stored unencrypted in `[home]/.docker/config.json`; configure a credential helper
    ");
    let text = fs_err::read_to_string(workspace.join(CONFIG)).unwrap();
    let file: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(file["auths"][&host]["auth"], "bWU6aHVudGVyMg==");
    assert_eq!(file["auths"]["other.test"]["auth"], "eDp5");
    assert_eq!(file["detachKeys"], "ctrl-x");
    assert_eq!(file["nested"]["a"][0], 2);
    let mode = fs_err::metadata(workspace.join(CONFIG))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o600);
    tags(&workspace, &host).expect(0);

    let out = Output::of(&mut workspace.sealpack(["logout", &host, "--output", "json"]));
    assert_snapshot!(out.transcript(&names), @r#"
    exit: 0
    --- stdout
    {
      "registry": "[host]",
      "file": "[home]/.docker/config.json",
      "removed": true
    }
    --- stderr
    "#);
    tags(&workspace, &host).expect(2);
    let again = Output::of(&mut workspace.sealpack(["logout", &host]));
    assert_snapshot!(again.transcript(&names), @"
    exit: 0
    --- stdout
    not logged in to [host] (`[home]/.docker/config.json`)
    --- stderr
    ");
    let text = fs_err::read_to_string(workspace.join(CONFIG)).unwrap();
    assert!(
        text.contains("other.test") && text.contains("detachKeys"),
        "{text}"
    );
}

#[test]
fn logins_at_the_same_time_are_all_kept() {
    let workspace = Workspace::new();
    let registries: Vec<_> = (0..8).map(|_| registry(BASIC)).collect();
    let at_once = |work: &(dyn Fn(&str) + Sync)| {
        std::thread::scope(|scope| {
            for registry in &registries {
                scope.spawn(|| work(&registry.host()));
            }
        });
    };
    let logins = || {
        let text = fs_err::read_to_string(workspace.join(CONFIG)).unwrap();
        let file: serde_json::Value = serde_json::from_str(&text).unwrap();
        file["auths"].as_object().unwrap().len()
    };
    at_once(&|host| {
        log_in(&workspace, host, "hunter2", &[]).expect(0);
    });
    assert_eq!(logins(), registries.len());
    at_once(&|host| {
        Output::of(&mut workspace.sealpack(["logout", host])).expect(0);
    });
    assert_eq!(logins(), 0);
    let folder = workspace.join(CONFIG);
    let left = fs_err::read_dir(folder.parent().unwrap()).unwrap();
    assert_eq!(left.count(), 1);
}

#[test]
fn a_login_that_cannot_be_checked_is_not_kept_but_for_a_registry_that_does_not_ask() {
    let workspace = Workspace::new();
    let open = registry(Login::Open);
    let host = format!("127.0.0.1:{}", free_port());
    log_in(&workspace, &host, "hunter2", &[]).expect(2);
    assert!(!workspace.join(CONFIG).exists());

    let output = log_in(&workspace, &open.host(), "hunter2", &["--output", "json"]).expect(0);
    assert!(output.stderr.contains("not checked"), "{}", output.stderr);
    let report: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["checked"], false);
    assert_eq!(report["username"], "me");
    assert!(open.authorizations().iter().all(Option::is_none));
    assert!(!format!("{}{}", output.stdout, output.stderr).contains("hunter2"));
}

#[test]
fn what_makes_no_login_is_said_before_anything_is_sent() {
    let workspace = Workspace::new();
    let registry = registry(BASIC);
    let host = registry.host();
    for (password, more, says) in [
        ("", &[][..], "the password is empty"),
        ("\n", &[], "the password is empty"),
        ("a\nb\n", &[], "more than one line"),
        ("a\u{1b}[1mb\n", &[], "more than one line"),
        (&"x".repeat((64 << 10) + 1), &[], "longer than"),
        ("x", &["--authfile", "broken.json"], "broken.json"),
    ] {
        workspace.write("broken.json", "{");
        let output = log_in(&workspace, &host, password, more).expect(2);
        assert!(output.stderr.contains(says), "{}", output.stderr);
    }
    for (arguments, says) in [
        (&["login", &host, "--username", "me"][..], "no terminal"),
        (&["login", &host, "--password-stdin"], "--username"),
        (&["login", "a/b"], "HOST:PORT"),
        (
            &["login", &host, "--username", "a:b", "--password-stdin"],
            "`:`",
        ),
        (
            &["login", &host, "--username", "", "--password-stdin"],
            "not empty",
        ),
        (
            &["login", &host, "--username", "a\tb", "--password-stdin"],
            "control characters",
        ),
        (
            &[
                "login",
                "remote.test",
                "--username",
                "a",
                "--password-stdin",
                "--offline",
            ],
            "--offline",
        ),
    ] {
        let output = with_input(&mut workspace.sealpack(arguments), "x").expect(2);
        assert!(output.stderr.contains(says), "{}", output.stderr);
    }
    assert!(registry.requests().is_empty());
    // A password is no argument, where every program on the machine can read it.
    let login = ["login", &host, "--username", "me", "--password", "hunter2"];
    Output::of(&mut workspace.sealpack(login)).expect(2);
}

#[test]
fn token_servers_are_asked_with_name_or_identity_token() {
    let workspace = Workspace::new();
    let registry = registry(Login::token("me", "hunter2"));
    let host = registry.host();
    log_in(&workspace, &host, "hunter2\n", &[]).expect(0);
    // For nothing but this.
    let tokens: Vec<_> = registry.take_requests();
    assert_eq!(tokens, ["GET /v2/", "GET /token?service=test", "GET /v2/"]);
    log_in(&workspace, &host, "wrong-password\n", &[]).expect(1);

    let login = [
        "login",
        &host,
        "--identity-token-stdin",
        "--authfile",
        "mine.json",
    ];
    with_input(&mut workspace.sealpack(login), "hunter2\n").expect(0);
    let text = fs_err::read_to_string(workspace.join("mine.json")).unwrap();
    assert!(text.contains("identitytoken"), "{text}");
    registry.put_manifest(
        "team/app",
        Some("v1"),
        "application/vnd.oci.image.index.v1+json",
        r#"{"schemaVersion":2,"manifests":[]}"#,
    );
    registry.set(|it| {
        if let Login::Token { anonymous_pull, .. } = &mut it.login {
            *anonymous_pull = false;
        }
    });
    let image = format!("{host}/team/app:v1");
    let tree = ["tree", &image, "--authfile", "mine.json"];
    Output::of(&mut workspace.sealpack(tree)).expect(0);
    // Who names a file does not want to be a stranger.
    let tree = ["tree", &image, "--authfile", "none.json"];
    let output = Output::of(&mut workspace.sealpack(tree)).expect(2);
    assert!(output.stderr.contains("`none.json`"), "{output:?}");
    assert!(output.stderr.contains("not found"), "{output:?}");
}

/// A credential helper that keeps secrets in files.
const HELPER: &str = r#"#!/bin/sh
cd "$HOME" || exit 1
echo "$1" >> helper.log
case $1 in
store) cat > helper.kept ;;
get)
    read -r server
    grep -q "\"ServerURL\":\"$server\"" helper.kept 2>/dev/null || {
        echo "credentials not found in native keychain"
        exit 1
    }
    cat helper.kept ;;
erase) rm -f helper.kept ;;
esac
"#;

#[test]
fn a_credential_helper_keeps_gives_and_forgets() {
    let workspace = Workspace::new();
    let registry = registry(BASIC);
    let host = registry.host();
    registry.put_manifest(
        "team/app",
        Some("v1"),
        "application/vnd.oci.image.index.v1+json",
        r#"{"schemaVersion":2,"manifests":[]}"#,
    );
    let helper = workspace.write("bin/docker-credential-test", HELPER);
    fs_err::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", workspace.join("bin").display());
    // Another name for it must not win over what the helper keeps from now on.
    let before = format!(
        r#"{{"credsStore":"test","auths":{{"https://{host}/some/path":{{"auth":"b2xkOm9sZA=="}}}}}}"#
    );
    workspace.write(CONFIG, before);

    let login = ["login", &host, "--username", "me", "--password-stdin"];
    let output = with_input(workspace.sealpack(login).env("PATH", &path), "hunter2").expect(0);
    assert!(
        output.stdout.contains("docker-credential-test"),
        "{}",
        output.stdout
    );
    let text = fs_err::read_to_string(workspace.join(CONFIG)).unwrap();
    assert!(
        !text.contains("bWU6aHVudGVyMg==") && text.contains(&host),
        "{text}"
    );
    let kept = fs_err::read_to_string(workspace.join("home/helper.kept")).unwrap();
    assert!(kept.contains("hunter2"), "{kept}");

    let tree = ["tree", &format!("{host}/team/app:v1")];
    Output::of(workspace.sealpack(tree).env("PATH", &path)).expect(0);
    Output::of(workspace.sealpack(["logout", &host]).env("PATH", &path)).expect(0);
    assert!(!workspace.join("home/helper.kept").exists());
    Output::of(workspace.sealpack(tree).env("PATH", &path)).expect(2);
    let log = fs_err::read_to_string(workspace.join("home/helper.log")).unwrap();
    assert_eq!(log, "store\nget\nerase\nget\n");

    // One that has nothing to say gives nothing; one that is broken is not quoted.
    let scripts = [
        ("echo '{}'", "cannot resolve"),
        (
            "echo '{\"Username\":\"\",\"Secret\":\"\"}'",
            "cannot resolve",
        ),
        ("echo '\"hunter2\"'", "malformed"),
        ("echo hunter2", "malformed"),
        ("echo no; echo hunter2 >&2; exit 1", ": no"),
        (
            "echo credentials not found in native keychain; exit 1",
            "cannot resolve",
        ),
    ];
    for (script, says) in scripts {
        let script = format!("#!/bin/sh\nread -r server\n{script}\n");
        workspace.write("bin/docker-credential-test", script);
        let output = Output::of(workspace.sealpack(tree).env("PATH", &path)).expect(2);
        assert!(output.stderr.contains(says), "{}", output.stderr);
        assert!(!output.stderr.contains("hunter2"), "{}", output.stderr);
    }
    let mut sent = registry.authorizations().into_iter().flatten();
    // Of `me:hunter2`, and none of nobody.
    assert!(sent.all(|it| it == "Basic bWU6aHVudGVyMg=="));
    // What it does not have, it need not forget.
    let nothing = "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n";
    workspace.write("bin/docker-credential-test", nothing);
    let log_out = |registry: &str| {
        let mut command = workspace.sealpack(["logout", registry]);
        Output::of(command.env("PATH", &path))
    };
    let output = log_out(&host).expect(0);
    // Nobody but the helper knows whether it had one.
    assert!(!output.stdout.contains("no login"), "{}", output.stdout);
    let told = "#!/bin/sh\nread -r server\necho \"$server\" > \"$HOME/helper.told\"\n";
    workspace.write("bin/docker-credential-test", told);
    log_out("docker.io").expect(0);
    let told = fs_err::read_to_string(workspace.join("home/helper.told")).unwrap();
    assert_eq!(told, "https://index.docker.io/v1/\n");

    // One that fails keeps nothing, and nothing is written in its place.
    workspace.write(
        "bin/docker-credential-test",
        "#!/bin/sh\necho locked; exit 1\n",
    );
    workspace.write(CONFIG, r#"{"credsStore":"test"}"#);
    let output = with_input(workspace.sealpack(login).env("PATH", &path), "hunter2").expect(2);
    assert!(output.stderr.contains("locked"), "{}", output.stderr);
    let text = fs_err::read_to_string(workspace.join(CONFIG)).unwrap();
    assert_eq!(text, r#"{"credsStore":"test"}"#);
    let output = log_out(&host).expect(2);
    assert!(output.stderr.contains("locked"), "{}", output.stderr);
}

#[test]
fn a_helper_is_run_once_for_a_registry() {
    let workspace = Workspace::new();
    let registry = registry(BASIC);
    let host = registry.host();
    let index = "application/vnd.oci.image.index.v1+json";
    let content = r#"{"schemaVersion":2,"manifests":[]}"#;
    registry.put_manifest("team/app", Some("v1"), index, content);
    let helper = workspace.write("bin/docker-credential-test", HELPER);
    fs_err::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", workspace.join("bin").display());
    workspace.write(CONFIG, r#"{"credsStore":"test"}"#);
    let from = format!("{host}/team/app:v1");
    let copied = |to: &str| {
        let to = format!("{host}/{to}:v1");
        let mut copy = workspace.sealpack(["copy", &from, &to]);
        let output = Output::of(copy.env("PATH", &path));
        let log = fs_err::read_to_string(workspace.join("home/helper.log")).unwrap();
        fs_err::remove_file(workspace.join("home/helper.log")).unwrap();
        (output, log)
    };
    // Two repositories, and a store that has nothing.
    let (output, log) = copied("team/copy");
    output.expect(2);
    assert_eq!(log, "get\n");

    let login = ["login", &host, "--username", "me", "--password-stdin"];
    with_input(workspace.sealpack(login).env("PATH", &path), "hunter2").expect(0);
    fs_err::remove_file(workspace.join("home/helper.log")).unwrap();
    let (output, log) = copied("other/copy");
    output.expect(0);
    assert_eq!(log, "get\n");
}

/// The same file serves the others, both ways, with a registry that the CNCF wrote.
///
/// Not with `without`: crane and oras ask no token server that lies in a private network, if it is
/// not the registry itself.
fn with_others(gate: fn(&TokenServer) -> Gate<'_>, without: &[&str]) {
    let workspace = Workspace::new();
    let Some(certificates) = Certificates::make(workspace.path()) else {
        return;
    };
    let tokens = TokenServer::start(&certificates);
    let Some(server) = distribution(workspace.path(), &certificates, gate(&tokens)) else {
        return;
    };
    let host = server.host();
    // All of them read this variable, or the folder.
    let ca = fs_err::read(certificates.ca()).unwrap();
    workspace.write(
        format!("home/.config/containers/certs.d/{host}/ca.crt"),
        &ca,
    );
    let trusting = |command: &mut Command| {
        command.env("SSL_CERT_FILE", certificates.ca());
        Output::of(command)
    };
    let layout = format!("oci:{}:v1", workspace.join("app").display());
    {
        let store = oci::LayoutStore::create(workspace.join("app")).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            use oci::Store as _;
            let image = crate::layout::push_image(&store, b"app", None).await;
            store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
        });
    }
    let image = format!("{host}/team/app:v1");
    let push = |more: &[&str]| {
        let copy = ["copy", &layout, &image];
        trusting(workspace.sealpack(copy).args(more))
    };
    push(&[]).expect(2);
    // The folder is for the registry alone, and not for its token server.
    let ca_file = certificates.ca();
    let trust = ["--registry-ca", ca_file.to_str().unwrap()];
    log_in(&workspace, host, "wrong-password", &trust).expect(1);
    log_in(&workspace, host, "hunter2", &trust).expect(0);
    push(&[]).expect(0);
    let source = format!("docker://{image}");
    let reads: [(&str, &[&str]); 4] = [
        ("skopeo", &["inspect", "--raw", &source]),
        ("crane", &["manifest", &image]),
        ("oras", &["manifest", "fetch", &image]),
        ("regctl", &["tag", "ls", &format!("{host}/team/app")]),
    ];
    let reads = reads
        .into_iter()
        .filter(|(name, _)| !without.contains(name));
    for (name, arguments) in reads.clone() {
        if let Some(program) = peer(name) {
            trusting(workspace.command(program).args(arguments)).expect(0);
        }
    }
    Output::of(&mut workspace.sealpack(["logout", host])).expect(0);
    for (name, arguments) in reads {
        if let Some(program) = peer(name) {
            let output = trusting(workspace.command(program).args(arguments));
            assert_ne!(output.code, 0, "{name} is still logged in");
        }
    }

    let logins: [(&str, &[&str], &[&str]); 3] = [
        (
            "oras",
            &["login", host, "-u", "me", "--password-stdin"],
            &["logout", host],
        ),
        (
            "crane",
            &["auth", "login", host, "-u", "me", "--password-stdin"],
            &["auth", "logout", host],
        ),
        (
            "skopeo",
            &["login", host, "-u", "me", "--password-stdin"],
            &["logout", host],
        ),
    ];
    fs_err::create_dir(workspace.join("run")).unwrap();
    for (name, login, logout) in logins.into_iter().filter(|it| !without.contains(&it.0)) {
        let Some(program) = peer(name) else { continue };
        let other = |arguments: &[&str]| {
            let mut command = workspace.command(&program);
            command
                .args(arguments)
                .env("SSL_CERT_FILE", certificates.ca())
                .env("XDG_RUNTIME_DIR", workspace.join("run"));
            command
        };
        with_input(&mut other(login), "hunter2").expect(0);
        let copy = ["copy", &layout, &image];
        let as_other = |code| {
            let mut command = workspace.sealpack(copy);
            command.env("XDG_RUNTIME_DIR", workspace.join("run"));
            trusting(&mut command).expect(code)
        };
        as_other(0);
        with_input(&mut other(logout), "").expect(0);
        as_other(2);
    }
}

#[test]
fn a_login_with_a_password_serves_all_clients() {
    with_others(|_| Gate::Htpasswd, &[]);
}

#[test]
fn a_login_to_a_token_server_serves_all_clients() {
    with_others(|tokens| Gate::Tokens(tokens), &["crane", "oras"]);
}
