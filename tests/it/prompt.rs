//! Passwords that are typed at a terminal: asked for, not shown, and nothing left behind.

use std::process::{Command, Stdio};

use insta::assert_snapshot;
use oci::Store as _;
use testkit::registry::{Login, Switches, TestRegistry};
use testkit::{Output, Terminal, Workspace};

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_Z: &str = "\x1a";
const BACKSPACE: &str = "\x7f";

fn key_generate(workspace: &Workspace) -> Command {
    let mut command = workspace.sealpack(["key", "generate", "--output-key-prefix", "made"]);
    // Which answers for who sits there.
    command.env_remove("COSIGN_PASSWORD").env("NO_COLOR", "1");
    command
}

/// What lies in the workspace, beside its empty home.
fn left(workspace: &Workspace) -> Vec<String> {
    let entries = fs_err::read_dir(workspace.path()).unwrap();
    let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|it| it != "home").collect();
    names.sort();
    names
}

/// For a snapshot: without the space at the end of a prompt.
fn shown(code: i32, screen: &str) -> String {
    format!("exit: {code}\n{}", screen.replace(": \n", ":\n"))
}

#[test]
fn a_login_asks_for_name_and_password() {
    let registry = TestRegistry::start(Switches {
        login: Login::Basic {
            username: "me",
            password: "hunter2",
        },
        ..Switches::default()
    });
    let host = registry.host();
    let workspace = Workspace::new();
    let config = workspace.join("home/.docker/config.json");
    for (password, code, says) in [
        ("hunter3\n", 1, "wrong username or password"),
        ("hunter3\x7f2\n", 0, "logged in to"),
    ] {
        let Some(mut terminal) = Terminal::start(&workspace.sealpack(["login", &host])) else {
            return;
        };
        terminal.wait_for("Username: ");
        terminal.press("me\n");
        terminal.wait_for("Password: ");
        assert!(!terminal.is_echoing());
        terminal.press(password);
        let (found, screen) = terminal.end(says);
        assert_eq!(found, code, "{screen}");
        assert!(screen.contains("Username: me\nPassword: \n"), "{screen}");
        // Nothing draws over a prompt.
        assert!(!screen.contains('░'), "{screen}");
        assert!(!screen.contains("hunter"), "{screen}");
        assert!(terminal.is_as_before());
        assert_eq!(config.exists(), code == 0);
    }
    assert!(fs_err::read_to_string(config).unwrap().contains(&host));
}

#[test]
fn a_new_key_wants_its_password_twice() {
    let workspace = Workspace::new();
    let Some(mut terminal) = Terminal::start(&key_generate(&workspace)) else {
        return;
    };
    terminal.wait_for("Password for the new key: ");
    assert!(!terminal.is_echoing());
    terminal.press("secret\n");
    terminal.wait_for("Repeat password: ");
    assert!(!terminal.is_echoing());
    terminal.press("secrets\n");
    let (code, screen) = terminal.end("do not match");
    assert_snapshot!(shown(code, &screen), @"
    exit: 2
    Password for the new key:
    Repeat password:
    error: the passwords do not match
    ");
    assert!(terminal.is_as_before());
    assert_eq!(left(&workspace), [] as [&str; 0]);

    let mut terminal = Terminal::start(&key_generate(&workspace)).unwrap();
    terminal.wait_for("new key: ");
    terminal.press("sécret\n");
    terminal.wait_for("Repeat password: ");
    terminal.press(&format!("séé{BACKSPACE}cret\n"));
    let (code, screen) = terminal.end("(public)");
    assert_snapshot!(shown(code, &screen), @"
    exit: 0
    Password for the new key:
    Repeat password:
    made.key (private, encrypted) and made.pub (public)
    ");
    assert_eq!(left(&workspace), ["made.key", "made.pub"]);

    // It opens the key.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let store = oci::LayoutStore::create(workspace.join("app")).unwrap();
        let image = crate::layout::push_image(&store, b"app", None).await;
        store.tag(&image, &"v1".parse().unwrap()).await.unwrap();
    });
    let again = "Wrong password. Password of made.key: ";
    let third = format!("{again}\n{again}");
    let prompts = ["Password of made.key: ", again, &third];
    for (passwords, code, says) in [
        (&["sécret\n"][..], 0, "attached"),
        (&["secret\n", "sécret\n"], 0, "attached"),
        (&["secret\n"; 3], 2, "type the password"),
    ] {
        let mut sign = workspace.sealpack(["sign", "oci:app:v1", "--key", "made.key"]);
        let mut terminal = Terminal::start(sign.env_remove("COSIGN_PASSWORD")).unwrap();
        for (prompt, password) in prompts.iter().zip(passwords) {
            terminal.wait_for(prompt);
            terminal.press(password);
        }
        let (found, screen) = terminal.end(says);
        assert_eq!(found, code, "{screen}");
        assert!(terminal.is_as_before());
    }
}

#[test]
fn a_prompt_that_is_interrupted_leaves_nothing() {
    let workspace = Workspace::new();
    for (first, keys) in [
        ("", CTRL_C),
        ("", "secret\x03"),
        ("secret\n", CTRL_C),
        ("secret\n", "secret\x03"),
    ] {
        let Some(mut terminal) = Terminal::start(&key_generate(&workspace)) else {
            return;
        };
        terminal.wait_for("new key: ");
        if !first.is_empty() {
            terminal.press(first);
            terminal.wait_for("Repeat password: ");
        }
        terminal.press(keys);
        let (code, screen) = terminal.end("error: interrupted\n");
        assert_eq!(code, 130, "{screen}");
        assert!(screen.ends_with(": \nerror: interrupted\n"), "{screen:?}");
        assert!(terminal.is_as_before());
        assert!(!terminal.screen().contains("secret"));
        assert_eq!(left(&workspace), [] as [&str; 0]);
    }

    let mut terminal = Terminal::start(&key_generate(&workspace)).unwrap();
    terminal.wait_for("new key: ");
    terminal.press(CTRL_D);
    let (code, screen) = terminal.end("error");
    assert_snapshot!(shown(code, &screen), @"
    exit: 2
    Password for the new key:
    error: failed to read the password
      cause: unexpected end of file
    hint: set COSIGN_PASSWORD; it may be empty
    ");
    assert!(terminal.is_as_before());
    assert_eq!(left(&workspace), [] as [&str; 0]);

    // Who has stopped it may go on: it asks again.
    let mut terminal = Terminal::start(&key_generate(&workspace)).unwrap();
    terminal.wait_for("new key: ");
    terminal.press(&format!("x{CTRL_Z}"));
    terminal.wait_for("new key: \nPassword for the new key: ");
    terminal.press("secret\n");
    terminal.wait_for("Repeat password: ");
    terminal.press("secret\n");
    assert_eq!(terminal.end("(public)").0, 0);
}

#[test]
fn without_a_terminal_it_is_said_how_else() {
    let workspace = Workspace::new();
    let output = Output::of(key_generate(&workspace).stdin(Stdio::null()));
    assert_snapshot!(output.transcript(&[]), @"
    exit: 2
    --- stdout
    --- stderr
    error: there is no terminal to ask for the new key's password
    hint: set COSIGN_PASSWORD; it may be empty
    ");
    let output = Output::of(
        workspace
            .sealpack(["login", "127.0.0.1:9"])
            .stdin(Stdio::null()),
    );
    assert_snapshot!(output.transcript(&[]), @"
    exit: 2
    --- stdout
    --- stderr
    error: there is no terminal to ask for a password
    hint: send it to standard input, and say `--username NAME --password-stdin`
    ");
    assert_eq!(left(&workspace), [] as [&str; 0]);
}
