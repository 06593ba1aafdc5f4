//! `docs/demo.svg` shows what the commands of the demo print, at a terminal. It is made by this test:
//!
//! ```sh
//! SEALPACK_WRITE_DEMO=1 cargo test -p sealpack-tests --test it picture
//! ```
//!
//! What is another thing each time is told apart and no more: digests are numbered as they come, times
//! and sizes are always the same, and what is attached stands in the order of its names.

use std::process::Command;

use testkit::{
    Line, Output, Screen, Style, Terminal, Workspace, peer, picture, repository, skipped,
};

/// What is typed.
const COMMANDS: [&str; 3] = [
    "sealpack build examples/hello --builder examples/builder.toml --new-key demo --policy examples/policy --tag oci:out/hello:v1",
    "sealpack tree oci:out/hello:v1",
    "sealpack verify oci:out/hello:v1 --key demo.pub --claim signature --claim provenance",
];

/// The first `length` characters of a digest that stands for the one that was seen as the `count`th.
fn made_up(count: usize, length: usize) -> String {
    let digest = oci::Digest::of(count.to_string().as_bytes());
    digest.hex().chars().take(length).collect()
}

/// Takes out of `text` what is another thing each time. `seen` has the digests that came so far; what is
/// the beginning of one stays that.
fn steady(text: &str, seen: &mut Vec<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("sha256:") {
        let (before, after) = rest.split_at(at + "sha256:".len());
        out.push_str(before);
        let end = after.find(|it: char| !it.is_ascii_hexdigit());
        let (digest, behind) = after.split_at(end.unwrap_or(after.len()));
        let known = seen
            .iter()
            .position(|it| it.starts_with(digest) || digest.starts_with(it.as_str()));
        let number = known.unwrap_or(seen.len());
        if known.is_none() {
            seen.push(digest.to_owned());
        }
        out.push_str(&made_up(number, digest.len()));
        rest = behind;
    }
    out.push_str(rest);
    measured(&out)
}

/// How long it took and how large it is depends on the machine and its compiler.
fn measured(text: &str) -> String {
    let is_number = |it: char| it.is_ascii_digit() || it == '.';
    let replaced = |text: &str, before: &str, after: &str, by: &str| {
        let Some((head, tail)) = text.split_once(after) else {
            return text.to_owned();
        };
        let start = head.trim_end_matches(is_number);
        if start.ends_with(before) && start.len() < head.len() {
            format!("{start}{by}{after}{tail}")
        } else {
            text.to_owned()
        }
    };
    let text = replaced(text, " in ", " s", "0.7");
    replaced(&text, "(", " MB written)", "1.7")
}

/// Lines of a tree in the order of what they name: they come in that of their digests.
fn in_order(lines: &mut [Line]) {
    let is_branch = |it: &Line| {
        let text: String = it.iter().map(|(_, it)| it.as_str()).collect();
        text.starts_with("├─ ") || text.starts_with("└─ ")
    };
    let Some(first) = lines.iter().position(is_branch) else {
        return;
    };
    let branches = lines[first..].iter().take_while(|it| is_branch(it)).count();
    let branches = &mut lines[first..first + branches];
    let key = |it: &Line| -> String { it.iter().flat_map(|(_, it)| it.chars()).skip(3).collect() };
    let connectors: Vec<String> = branches
        .iter()
        .map(|it| it[0].1.chars().take(3).collect())
        .collect();
    branches.sort_by_key(key);
    for (line, connector) in branches.iter_mut().zip(connectors) {
        let rest: String = line[0].1.chars().skip(3).collect();
        line[0].1 = format!("{connector}{rest}");
    }
}

/// What a terminal shows of the demo. None if there is none to be had.
fn demo(workspace: &Workspace) -> Option<Vec<Line>> {
    let mut rustc = workspace.command(peer("rustc")?);
    let toolchain = Output::of(rustc.args(["--print", "sysroot"]));
    if toolchain.code != 0 {
        skipped(&format!("rustc does not work here: {}", toolchain.stderr));
        return None;
    }
    // The compiler itself: what rustup puts on `PATH` wants the user's home.
    let path = format!("{}/bin:/usr/bin:/bin", toolchain.stdout.trim());
    let mut copy = workspace.command("cp");
    copy.arg("-r").arg(repository().join("examples")).arg(".");
    Output::of(&mut copy).expect(0);
    let mut seen = Vec::new();
    let mut shown: Vec<Line> = Vec::new();
    for typed in COMMANDS {
        let words = typed.split_whitespace().skip(1);
        let mut command: Command = workspace.sealpack(words);
        command.env("TERM", "xterm").env("PATH", &path);
        let (code, sent) = Terminal::start(&command)?.finish();
        assert_eq!(code, 0, "{sent}");
        let mut lines = Screen::of(&sent).lines();
        // A machine that cannot isolate says so; others do not.
        lines.retain(|it| it.first().is_none_or(|(_, it)| it.trim() != "warning"));
        in_order(&mut lines);
        if !shown.is_empty() {
            shown.push(Line::new());
        }
        shown.push(vec![(Style::Typed, format!("$ {typed}"))]);
        for line in lines {
            let steady = line
                .into_iter()
                .map(|(style, text)| (style, steady(&text, &mut seen)));
            shown.push(steady.collect());
        }
    }
    Some(shown)
}

#[test]
fn the_picture_of_the_demo_is_what_the_demo_shows() {
    let workspace = Workspace::new();
    let Some(shown) = demo(&workspace) else {
        return;
    };
    let made = picture(&shown, "sealpack builds, shows and verifies an image");
    let path = repository().join("docs/demo.svg");
    #[expect(
        clippy::disallowed_methods,
        reason = "who runs the test says whether it writes"
    )]
    let writes = std::env::var_os("SEALPACK_WRITE_DEMO").is_some();
    if writes {
        fs_err::write(&path, &made).unwrap();
    }
    let kept = fs_err::read_to_string(&path).unwrap();
    assert!(
        kept == made,
        "docs/demo.svg shows something else than the demo does; if it should, make it anew: \
         SEALPACK_WRITE_DEMO=1 cargo test -p sealpack-tests --test it picture\n{made}"
    );
}

#[test]
fn what_changes_from_run_to_run_is_told_apart() {
    let mut seen = Vec::new();
    let [one, two] = [100, 101].map(|it| made_up(it, 64));
    let first = steady(&format!("a@sha256:{one}, sha256:{two}"), &mut seen);
    let short = steady(&format!("key sha256:{}", made_up(101, 12)), &mut seen);
    let [one, two] = [0, 1].map(|it| made_up(it, 64));
    assert_eq!(first, format!("a@sha256:{one}, sha256:{two}"));
    assert_eq!(short, format!("key sha256:{}", made_up(1, 12)));
    assert_eq!(measured("x in 12.34 s"), "x in 0.7 s");
    assert_eq!(measured("o (23.4 MB written)"), "o (1.7 MB written)");
    assert_eq!(measured("seven in stores"), "seven in stores");
}
