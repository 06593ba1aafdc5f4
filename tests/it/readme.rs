//! The commands that README and docs show are there, with the flags that they show.

use testkit::{Output, Workspace, repository};

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
