//! The commands that README and docs show are there, with the flags that they show.

use testkit::registry::{Login, Switches, TestRegistry};
use testkit::{Output, Project, Workspace, binary, repository, skipped};

/// The commands of a document: lines that begin with `sealpack`, in blocks of a shell.
fn commands(text: &str) -> Vec<String> {
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
fn the_commands_of_the_readme_do_what_they_say() {
    let project = Project::typical();
    let policy = fs_err::read(project.join("policy/policy.toml")).unwrap();
    project.write("policy.toml", policy);
    let registry = TestRegistry::start(Switches::default());
    let text = fs_err::read_to_string(repository().join("README.md")).unwrap();
    let consoles = blocks(&text, "console");
    assert!(run_console(&project, &consoles[0], &registry) >= 6);
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

/// The commands of a recipe: items of lists below `script:`, or after `run:`.
fn recipe(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let commands = lines.filter_map(|line| {
        let item = line.strip_prefix("- ")?;
        let command = item.strip_prefix("run: ").unwrap_or(item);
        let known = ["sealpack ", "printenv "];
        known
            .iter()
            .any(|it| command.starts_with(it))
            .then(|| command.to_owned())
    });
    commands.collect()
}

#[test]
fn the_recipe_for_gitlab_runs() {
    let project = Project::typical();
    let public = fs_err::read(project.join("test.pub")).unwrap();
    project.write("release.pub", public);
    let registry = TestRegistry::start(Switches {
        login: Login::Basic {
            username: "robot",
            password: "secret",
        },
        ..Switches::default()
    });
    let text = fs_err::read_to_string(repository().join("docs/ci/gitlab.yml")).unwrap();
    let commands = recipe(&text);
    assert!(commands.len() >= 5, "{commands:?}");
    let folder = binary("sealpack").parent().unwrap().display().to_string();
    for command in commands {
        let mut shell = project.workspace().command("bash");
        let path = format!("{folder}:/usr/local/bin:/usr/bin:/bin");
        shell.args(["-euc", &command]).env("PATH", path);
        shell.env(
            "COSIGN_PRIVATE_KEY",
            fs_err::read_to_string(project.join("test.key")).unwrap(),
        );
        shell.env("IMAGE", format!("{}/app:v1", registry.host()));
        shell.env("CI_REGISTRY", registry.host());
        shell.env("CI_REGISTRY_USER", "robot");
        shell.env("CI_REGISTRY_PASSWORD", "secret");
        let output = Output::of(&mut shell);
        assert_eq!(output.code, 0, "`{command}`: {output:?}");
    }
    // What is kept for the next job is where the commands put it.
    let lists = text
        .lines()
        .filter_map(|it| it.trim().strip_prefix("paths: ["));
    for path in lists.flat_map(|it| it.trim_end_matches(']').split(", ")) {
        assert!(project.join(path).exists(), "{path}");
    }
}

#[test]
fn recipes_name_what_is_there() {
    let workspace = Workspace::new();
    for name in ["github", "gitlab"] {
        let path = repository().join(format!("docs/ci/{name}.yml"));
        let commands = recipe(&fs_err::read_to_string(path).unwrap());
        for command in commands
            .iter()
            .filter_map(|it| it.strip_prefix("sealpack "))
        {
            let words: Vec<_> = command.split_whitespace().collect();
            let count = if ["policy", "key"].contains(&words[0]) {
                2
            } else {
                1
            };
            let help = Output::of(workspace.sealpack(&words[..count]).arg("--help")).expect(0);
            for flag in words.iter().filter(|it| it.starts_with("--")) {
                assert!(
                    help.stdout.contains(flag),
                    "{name}: `{command}` has no {flag}"
                );
            }
        }
    }
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
    assert!(short.contains("All flags: --help"), "{short}");
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
