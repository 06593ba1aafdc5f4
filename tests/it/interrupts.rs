//! Signals: whatever a command does, it ends at once, says so, and leaves nothing half made.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::registry::{Fault, FaultKind, Switches, TestRegistry};
use testkit::{LayerFiles, Output, Terminal, Workspace, write_image};

use crate::build::Killed;

/// Signals, and the codes by which shells know who was ended by them.
const SIGNALS: [(&str, i32, &str); 3] = [
    ("INT", 130, "interrupted"),
    ("TERM", 143, "interrupted by SIGTERM"),
    ("HUP", 129, "interrupted by SIGHUP"),
];

/// A registry with an image of two layers. It never lists what is attached, nor gives the second layer.
async fn registry(workspace: &Workspace) -> TestRegistry {
    let layer = |name: &str| {
        LayerFiles::new()
            .folder(name)
            .file(&format!("{name}/a"), "a")
    };
    let folder = workspace.join("made");
    let made = write_image(&folder, &[layer("one"), layer("two")]).await;
    let blob = folder.join("blobs/sha256").join(made.digest.hex());
    let manifest: Value = serde_json::from_slice(&fs_err::read(blob).unwrap()).unwrap();
    let second = manifest["layers"][1]["digest"].as_str().unwrap();
    let second: &'static str = format!("GET /v2/app/blobs/{second}").leak();
    let registry = TestRegistry::start(Switches::default());
    let to = format!("{}/app:v1", registry.host());
    let copy = ["copy", "oci:made:latest", &to, "--no-referrers"];
    Output::of(&mut workspace.sealpack(copy)).expect(0);
    registry.take_requests();
    registry.set(|it| {
        let silent = ["/referrers/", second].map(|on| Fault {
            on,
            after: 0,
            times: usize::MAX,
            kind: FaultKind::Slow(Duration::from_mins(1)),
        });
        it.faults = silent.into();
    });
    registry
}

fn start(command: &mut Command) -> Killed {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Killed(piped.spawn().unwrap())
}

fn send(signal: &str, child: &Child) {
    let kill = format!("kill -{signal} {}", child.id());
    Output::of(Command::new("sh").args(["-c", &kill])).expect(0);
}

#[expect(
    clippy::disallowed_methods,
    reason = "what is interrupted must end promptly"
)]
fn ends(mut child: Killed) -> Output {
    use std::io::Read as _;

    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.0.try_wait().unwrap() {
            break status;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "it still runs");
        std::thread::sleep(Duration::from_millis(10));
    };
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let out = child.0.stdout.take().unwrap().read_to_string(&mut stdout);
    let err = child.0.stderr.take().unwrap().read_to_string(&mut stderr);
    out.and(err).unwrap();
    Output {
        code: status.code().unwrap_or(-1),
        stdout,
        stderr,
    }
}

fn wait_until(is_so: impl Fn() -> bool) {
    for _ in 0..1500 {
        if is_so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it never came to be");
}

/// Whether somebody asks what is attached.
fn is_asked(registry: &TestRegistry) -> bool {
    let requests = registry.take_requests();
    requests.iter().any(|it| it.contains("/referrers/"))
}

fn is_empty(folder: &Path) -> bool {
    fs_err::read_dir(folder).is_ok_and(|mut it| it.next().is_none())
}

#[tokio::test]
async fn half_a_root_does_not_stay() {
    let workspace = Workspace::new();
    let registry = registry(&workspace).await;
    let image = format!("{}/app:v1", registry.host());
    fs_err::create_dir(workspace.join("there")).unwrap();
    for (signal, code, error) in SIGNALS {
        for folder in ["new", "there"] {
            let mut unpack = workspace.sealpack(["unpack", &image, folder, "-o", "json"]);
            let child = start(&mut unpack);
            let root = workspace.join(folder);
            wait_until(|| root.join("one/a").exists());
            send(signal, &child.0);
            let output = ends(child);
            assert_eq!(output.code, code, "{output:?}");
            assert_eq!(output.stderr, format!("error: {error}\n"));
            let document: Value = serde_json::from_str(&output.stdout).unwrap();
            assert_eq!(document["error"], error);
            // As it was before: the next try finds nothing in its way.
            assert_eq!(root.exists(), folder == "there");
            assert!(!root.exists() || is_empty(&root));
        }
    }
}

#[tokio::test]
async fn whatever_is_waited_for_is_given_up() {
    let workspace = Workspace::new();
    let registry = registry(&workspace).await;
    let image = format!("{}/app:v1", registry.host());
    for (signal, code, error) in SIGNALS {
        let child = start(&mut workspace.sealpack(["tree", &image]));
        wait_until(|| is_asked(&registry));
        send(signal, &child.0);
        let output = ends(child);
        assert_eq!(output.code, code, "{output:?}");
        assert_eq!(output.stderr, format!("error: {error}\n"));
        assert_eq!(output.stdout, "");
    }
}

#[test]
fn who_reads_what_never_comes_can_be_interrupted() {
    let workspace = Workspace::new();
    let login = [
        "login",
        "127.0.0.1:9",
        "--username",
        "me",
        "--password-stdin",
    ];
    let mut child = start(workspace.sealpack(login).stdin(Stdio::piped()));
    // Held open: nothing comes, and no end.
    let open = child.0.stdin.take();
    std::thread::sleep(Duration::from_millis(500));
    send("TERM", &child.0);
    let output = ends(child);
    drop(open);
    assert_eq!(output.code, 143, "{output:?}");
    assert_eq!(output.stderr, "error: interrupted by SIGTERM\n");
}

#[test]
fn the_line_of_a_prompt_is_ended() {
    const CTRL_C: &str = "\x03";
    const CTRL_D: &str = "\x04";
    let workspace = Workspace::new();
    let login = || workspace.sealpack(["login", "127.0.0.1:9"]);
    for (key, code, says) in [
        (CTRL_C, 130, "\nerror: interrupted\n"),
        (CTRL_D, 2, "\nerror: nobody typed a name\n"),
    ] {
        let Some(mut terminal) = Terminal::start(login().env("NO_COLOR", "1")) else {
            return;
        };
        terminal.wait_for("Username: ");
        terminal.press(key);
        let (found, screen) = terminal.finish();
        assert_eq!(found, code, "{screen}");
        assert!(screen.ends_with(says), "{screen:?}");
    }
}

#[tokio::test]
async fn who_is_to_outlive_its_terminal_does() {
    let workspace = Workspace::new();
    let registry = registry(&workspace).await;
    let image = format!("{}/app:v1", registry.host());
    let sealpack = workspace.sealpack(["tree", &image]);
    let mut shell = workspace.command("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    shell.arg(sealpack.get_program()).args(sealpack.get_args());
    let mut child = start(&mut shell);
    wait_until(|| is_asked(&registry));
    send("HUP", &child.0);
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.0.try_wait().unwrap().is_none());
    send("TERM", &child.0);
    assert_eq!(ends(child).code, 143);
}
