//! The examples of help can be copied.

use testkit::{Output, Workspace};

/// The help of `command` and of all commands below it.
fn helps(workspace: &Workspace, command: &[&str]) -> Vec<(String, String)> {
    let help = Output::of(workspace.sealpack(command).arg("--help")).expect(0);
    let help = help.stdout;
    let listed = help.split_once("\nCommands:\n").map(|(_, it)| it);
    let listed = listed.and_then(|it| it.split_once("\n\n"));
    let names = listed.map(|(it, _)| it.to_owned()).unwrap_or_default();
    let mut all = vec![(command.join(" "), help)];
    for line in names.lines().filter_map(|it| it.strip_prefix("  ")) {
        let name = line.split(' ').next().unwrap_or_default();
        if !name.is_empty() && name != "help" {
            all.extend(helps(workspace, &[command, &[name]].concat()));
        }
    }
    all
}

/// What a help shows as examples, line by line.
fn examples(help: &str) -> Vec<&str> {
    let headings = ["\nExample:\n", "\nExamples:\n"];
    let found = headings.iter().find_map(|it| help.split_once(it));
    let lines = found.map(|(_, it)| it).unwrap_or_default().lines();
    lines.take_while(|it| !it.is_empty()).collect()
}

#[test]
fn examples_of_help_can_be_copied() {
    let mut seen = 0;
    for (command, help) in helps(&Workspace::new(), &[]) {
        for line in examples(&help) {
            // What was broken goes on at the margin.
            assert!(line.starts_with("  "), "{command}: `{line}` in\n{help}");
            let line = line.trim();
            // And is about this command, or one that is used with it.
            seen += usize::from(line.contains("sealpack "));
        }
        let long = examples(&help).iter().any(|it| it.contains("sealpack "));
        let own = examples(&help)
            .iter()
            .any(|it| it.contains(&format!("sealpack {command}")));
        assert!(!long || own, "{command} shows examples of others:\n{help}");
        let workspace = Workspace::new();
        let words: Vec<_> = command.split_whitespace().collect();
        let short = Output::of(workspace.sealpack(words).arg("-h")).expect(0);
        assert_eq!(examples(&short.stdout), examples(&help), "{command}");
    }
    assert!(seen > 60, "{seen}");
}
