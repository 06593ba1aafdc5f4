//! What terminals of 60 and of 120 columns show: prompts, a spinner, a bar.

use std::process::Command;

use insta::assert_snapshot;
use testkit::registry::{Login, Switches, TestRegistry};
use testkit::{FakeBuildpack, Project, Screen, Terminal, Workspace};

use crate::progress::slow_registry;

const WIDTHS: [u16; 2] = [60, 120];

/// Starts it at a terminal that can go back and clear lines.
fn start(command: &mut Command, columns: u16) -> Option<Terminal> {
    Terminal::start_wide(command.env("TERM", "xterm").env("NO_COLOR", "1"), columns)
}

/// What is on the screen, with `_` for what differs from run to run: the wheel of a spinner, and
/// how many bytes have come in a second.
fn shown(terminal: &Terminal) -> String {
    let text = Screen::of(&terminal.screen()).text();
    let lines = text.lines().map(|line| {
        let line = line.replace(is_wheel, "_");
        match line.split_once(" MB/s") {
            Some((before, after)) => {
                let before = before.trim_end_matches(|it: char| it.is_ascii_digit() || it == '.');
                format!("{before}_ MB/s{after}")
            }
            None => line,
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn is_wheel(character: char) -> bool {
    ('\u{2800}'..='\u{28ff}').contains(&character)
}

/// No spinner or bar was ever longer than the terminal is wide: it would go on in the next row.
fn fits(terminal: &Terminal, columns: u16) {
    let screen = terminal.screen();
    let drawn = screen.split(['\r', '\n']).map(|it| Screen::of(it).text());
    for text in drawn.filter(|it| it.contains(is_wheel)) {
        assert!(text.chars().count() <= columns.into(), "{columns}: {text}");
    }
}

#[test]
fn a_login_has_its_prompts_below_each_other() {
    let registry = TestRegistry::start(Switches {
        login: Login::Basic {
            username: "me",
            password: "hunter2",
        },
        ..Switches::default()
    });
    let workspace = Workspace::new();
    let home = workspace.join("home").display().to_string();
    let mut screens = Vec::new();
    for columns in WIDTHS {
        let mut login = workspace.sealpack(["login", &registry.host()]);
        let Some(mut terminal) = start(&mut login, columns) else {
            return;
        };
        terminal.wait_for("Username: ");
        terminal.press("me\n");
        terminal.wait_for("Password: ");
        terminal.press("hunter2\n");
        assert_eq!(terminal.end("logged in to").0, 0);
        fits(&terminal, columns);
        let text = shown(&terminal).replace(&registry.host(), "REGISTRY");
        screens.push(text.replace(&home, "HOME"));
    }
    assert_snapshot!(screens[0], @"
    Username: me
    Password:
      warning  credentials are stored unencrypted in `HOME/.docker/config.json`; configure a credential helper
    logged in to REGISTRY as me
    ");
    assert_eq!(screens[0], screens[1]);
}

#[tokio::test]
async fn a_bar_is_in_one_row() {
    let (mut bars, mut ends) = (Vec::new(), Vec::new());
    for columns in WIDTHS {
        let (_registry, image) = slow_registry().await;
        let workspace = Workspace::new();
        let mut copy = workspace.sealpack(["copy", &image, "oci:out:v1"]);
        let Some(mut terminal) = start(&mut copy, columns) else {
            return;
        };
        terminal.wait_to_show("3.00 MB of 5.00 MB");
        bars.push(shown(&terminal));
        assert_eq!(terminal.end("copied").0, 0);
        fits(&terminal, columns);
        ends.push(shown(&terminal));
    }
    assert_snapshot!(bars[0], @"_      copy  ━━━━━━━━━╸       3.00 MB of 5.00 MB, _ MB/s");
    assert_snapshot!(bars[1], @"_      copy  ━━━━━━━━━━━━━━╸          3.00 MB of 5.00 MB, _ MB/s");
    // Of the bar nothing is left.
    assert_snapshot!(ends[0], @"copied oci:out@sha256:d10536be241b7b219f14c3aebfb8689bafa66324ed8e1607a8466cb9703d7046 (5.0 MB transferred, 0 B already present, 0 referrers)");
    assert_eq!(ends[0], ends[1]);
}

#[test]
fn a_spinner_has_the_last_line_of_output_beside_it() {
    let said = "echo one; echo 'fetching a rather long name of a library from a rather long name of a place'; sleep 60";
    let mut screens = Vec::new();
    for columns in WIDTHS {
        let project = Project::new(&[FakeBuildpack::new("test/slow").build(said)]);
        let flags = "--tag oci:out:v1 --unsigned --builder builder.toml";
        let mut build = project.sealpack(["build", "app"].into_iter().chain(flags.split(' ')));
        let Some(mut terminal) = start(&mut build, columns) else {
            return;
        };
        terminal.wait_to_show("fetching a rather");
        fits(&terminal, columns);
        screens.push(shown(&terminal));
        terminal.press("\x03");
        assert_eq!(terminal.end("interrupted").0, 130);
        // The spinner's row is cleared, and nothing stands in it but that.
        let end = shown(&terminal);
        assert!(!end.contains("fetching"), "{end}");
    }
    assert_snapshot!(screens[0], @"
      analyze  no previous image; run image: static
       detect  test/slow 1.0.0
      restore  the cache is empty
    _     build  test/slow: fetching a rather long name of a lib
    ");
    assert_snapshot!(screens[1], @"
      analyze  no previous image; run image: static
       detect  test/slow 1.0.0
      restore  the cache is empty
    _     build  test/slow: fetching a rather long name of a library from a rather long name of a place
    ");
}
