//! The commands that README and docs show are there, with the flags that they show.

use testkit::registry::{Switches, TestRegistry};
use testkit::{Output, Project, Workspace, binary, repository, skipped};

/// The commands of a document: lines that begin with `sealpack`, in blocks of a shell.
pub(crate) fn commands(text: &str) -> Vec<String> {
    let mut shell = false;
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            shell = !shell && ["sh", "console", "bash"].contains(&language);
            continue;
        }
        if !shell {
            continue;
        }
        let line = line.trim_start().trim_start_matches("$ ");
        // A comment says what it is for.
        let line = line.split(" #").next().unwrap_or_default();
        let begins = line.starts_with("sealpack ");
        if goes_on && let Some(last) = commands.last_mut() {
            last.push(' ');
            last.push_str(line.trim_end_matches('\\'));
        } else if begins {
            commands.push(line.trim_end_matches('\\').to_owned());
        }
        goes_on = (goes_on || begins) && line.ends_with('\\');
    }
    commands
}

#[test]
fn what_documents_show_is_there() {
    let workspace = Workspace::new();
    let help = |words: &[&str]| {
        let output = Output::of(workspace.sealpack(words).arg("--help"));
        (output.code == 0).then_some(output.stdout)
    };
    let docs = fs_err::read_dir(repository().join("docs")).unwrap();
    let mut files: Vec<_> = docs.map(|it| it.unwrap().path()).collect();
    files.retain(|it| it.extension().is_some_and(|it| it == "md"));
    files.push(repository().join("README.md"));
    let mut seen = 0;
    for file in files {
        for command in commands(&fs_err::read_to_string(&file).unwrap()) {
            let words: Vec<_> = command.split_whitespace().skip(1).collect();
            let flags = words.iter().filter(|it| it.starts_with("--"));
            let flags: Vec<_> = flags.map(|it| it.split('=').next().unwrap()).collect();
            let usage = |words: &[&str]| {
                help(words).filter(|it| it.contains(&format!("sealpack {}", words.join(" "))))
            };
            let nested = words.get(..2).and_then(usage);
            let text = nested
                .or_else(|| words.get(..1).and_then(help))
                .unwrap_or_else(|| panic!("{}: `{command}` is not there", file.display()));
            for flag in flags {
                assert!(
                    text.contains(flag),
                    "{}: `{command}` has no {flag}",
                    file.display()
                );
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "only {seen} commands were found");
}

/// The lines of a document's blocks of one language, block by block.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut rest = text;
    let fence = format!("```{language}\n");
    while let Some((_, after)) = rest.split_once(&fence) {
        let (block, behind) = after.split_once("```").unwrap();
        blocks.push(block.to_owned());
        rest = behind;
    }
    blocks
}

/// Runs what a console shows, in the folder of a project; `registry.example` is a registry of ours. What
/// cannot be typed as it stands (`…`), is another program's, or needs the world, is left out; how many
/// were run.
fn run_console(project: &Project, console: &str, registry: &TestRegistry) -> usize {
    let mut run = 0;
    for line in console.lines() {
        let line = line
            .split("  #")
            .next()
            .unwrap()
            .split(" # ")
            .next()
            .unwrap()
            .trim();
        let Some(command) = line.strip_prefix("$ sealpack ") else {
            continue;
        };
        let needs_more = ["…", "public", "accounts.example", "serve", "git.example"];
        if needs_more.iter().any(|it| command.contains(it)) {
            continue;
        }
        let command = command.replace("registry.example", &registry.host());
        let mut shell = project.workspace().command("bash");
        let script = format!("\"$0\" {command}");
        shell.args(["-ec", &script]).arg(binary("sealpack"));
        let output = Output::of(shell.env("COSIGN_PASSWORD", "secret"));
        assert_eq!(output.code, 0, "`{command}`: {output:?}");
        run += 1;
    }
    run
}

#[test]
fn the_first_steps_of_the_documents_can_be_gone() {
    if !std::path::Path::new("/bin/busybox").exists() {
        skipped("the first steps need /bin/busybox");
        return;
    }
    let project = Project::typical();
    let registry = TestRegistry::start(Switches::default());
    let text = fs_err::read_to_string(repository().join("docs/start.md")).unwrap();
    let script = &blocks(&text, "sh")[0];
    let mut shell = project.workspace().command("bash");
    Output::of(shell.args(["-euc", script])).expect(0);
    let consoles = blocks(&text, "console");
    assert_eq!(run_console(&project, &consoles[0], &registry), 5);
}

/// `-h` is for who has forgotten the name of a flag: it fits on a screen, and says where the rest is.
#[test]
fn short_help_is_short() {
    let workspace = Workspace::new();
    let help = |words: &[&str]| Output::of(&mut workspace.sealpack(words)).expect(0).stdout;
    for command in [
        "sign", "attest", "verify", "tree", "copy", "inspect", "login",
    ] {
        let short = help(&[command, "-h"]);
        let lines = short.lines().count();
        assert!(lines <= 70, "{command}: {lines} lines\n{short}");
        assert!(short.contains("sealpack help registries"), "{short}");
        assert!(!short.contains("--registry-ca"), "{short}");
        let long = help(&[command, "--help"]);
        assert!(long.contains("--registry-ca"), "{long}");
        assert!(!long.contains("sealpack help registries"), "{long}");
    }
    let short = help(&["build", "-h"]);
    assert!(short.lines().count() <= 52, "{short}");
    assert!(short.contains("All flags and examples: --help"), "{short}");
    assert!(!short.contains("--creation-time"), "{short}");
    // What all commands have stands by itself.
    let long = help(&["build", "--help"]);
    let (own, general) = long.split_once("\nGeneral:\n").unwrap();
    for flag in ["--quiet", "--verbose", "--color", "--timeout"] {
        assert!(
            !own.contains(flag) && general.contains(flag),
            "{flag}\n{long}"
        );
    }
    assert!(own.contains("--creation-time"), "{long}");
    let page = help(&["help", "registries"]);
    assert!(page.contains("--registry-ca <FILE>"), "{page}");
    let page = help(&["help", "sigstore"]);
    assert!(page.contains("--fulcio-url <URL>"), "{page}");
    // They are pages, and no commands.
    assert!(!help(&["--help"]).contains("registries  "));
    Output::of(&mut workspace.sealpack(["registries", "--offline"])).expect(2);
}

#[test]
fn shells_complete_kinds_of_claims() {
    let workspace = Workspace::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = Output::of(&mut workspace.sealpack(["completion", shell])).expect(0);
        assert!(script.stdout.contains("cyclonedx"), "{shell}");
    }
    // What is not among them is taken, too.
    let verify = ["verify", "oci:nowhere:v1", "--key", "k", "--claim"];
    let output = Output::of(workspace.sealpack(verify).arg("https://x.example/y")).expect(2);
    assert!(!output.stderr.contains("invalid value"), "{output:?}");
}
