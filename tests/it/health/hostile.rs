//! Repositories that mean ill.

use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;
use testkit::{GitRepository, Output, Workspace};

use super::{DAY, START, measured, project, says};

#[test]
fn what_is_no_whole_history_is_refused() {
    let workspace = Workspace::new();
    let Some(repository) = project(&workspace) else {
        return;
    };
    let url = format!("file://{}", repository.folder().display());
    let clone = ["clone", "--quiet", "--depth", "1", &url, "../shallow"];
    repository.git(&clone);
    fs_err::create_dir(workspace.join("empty")).unwrap();
    let names = [
        says(&workspace, &["shallow"]),
        says(&workspace, &["empty"]),
        says(&workspace, &["project", "--revision", "no-such-branch"]),
        says(&workspace, &["project", "--revision", "HEAD:README.md"]),
        says(&workspace, &["project", "--as-of", "yesterday"]),
        says(&workspace, &["https://h.example/x.git", "--offline"]),
        says(&workspace, &["http://me:secret@h.example/x.git"]),
        says(&workspace, &["ext::sh -c id"]),
    ];
    assert_snapshot!(names.join("\n"), @r#"
exit: 2
--- stdout
--- stderr
error: the history in `[workspace]/shallow` is cut off: it is a shallow clone
hint: bring the rest: `git fetch --unshallow --tags`

exit: 2
--- stdout
--- stderr
error: `[workspace]/empty` is not a readable git repository
  cause: "[workspace]/empty" does not appear to be a git repository
  cause: Missing HEAD at ".git/HEAD"

exit: 2
--- stdout
--- stderr
error: `no-such-branch` is not a commit of this repository

exit: 2
--- stdout
--- stderr
error: `HEAD:README.md` is not a commit of this repository

exit: 2
--- stdout
--- stderr
error: `yesterday` is neither a date nor an RFC 3339 time
  cause: the 'year' component could not be parsed

exit: 2
--- stdout
--- stderr
error: the repository is elsewhere, and `--offline` opens no connection

exit: 2
--- stdout
--- stderr
error: `http://h.example/x.git` is not a folder, `file://`, `https://` or `ssh://`

exit: 2
--- stdout
--- stderr
error: `ext::sh -c id` is not a folder, `file://`, `https://` or `ssh://`
"#);
}

#[test]
fn a_repository_elsewhere_is_cloned_by_git() {
    let workspace = Workspace::new();
    if testkit::peer("git").is_none() {
        return;
    }
    // Nobody listens there.
    let output = says(&workspace, &["https://me:secret@127.0.0.1:9/x.git"]);
    assert!(output.starts_with("exit: 2\n"), "{output}");
    assert!(
        output.contains("`https://127.0.0.1:9/x.git` could not be cloned: "),
        "{output}"
    );
    assert!(!output.contains("secret"), "{output}");

    let mut without = workspace.sealpack(["health", "https://127.0.0.1:9/x.git"]);
    without.env("PATH", "/nowhere");
    let output = Output::of(&mut without).expect(2);
    assert_snapshot!(output.transcript(&[]), @r"
exit: 2
--- stdout
--- stderr
error: `https://127.0.0.1:9/x.git` is elsewhere, and the program `git`, which would bring it, is missing
");
}

#[test]
fn names_are_shown_and_never_done() {
    let workspace = Workspace::new();
    let Some(repository) = GitRepository::new(&workspace, "hostile") else {
        return;
    };
    repository.write("LICENSE-<img src=x onerror=alert(1)>\u{202e}", "x");
    repository.commit("A <a@one.example>", START, &[]);
    let tree = repository.git(&["rev-parse", "HEAD^{tree}"]);
    let text = format!(
        "tree {tree}author \u{1b}[2J\u{202e}N <x\u{7}@<evil.example> {START} +0000\ncommitter C <c@x> {START} +0000\n\nx\n"
    );
    let commit = repository.object("commit", text.as_bytes());
    repository.git(&["update-ref", "refs/heads/main", &commit]);
    let output = says(&workspace, &["hostile", "--people", "9"]);
    assert!(output.contains("\\u{1b}[2J\\u{202e}N"), "{output}");
    assert!(output.contains("onerror=alert(1)>\\u{202e}"), "{output}");
    let page = ["health", "hostile", "--people", "9", "--html", "-"];
    let html = Output::of(&mut workspace.sealpack(page)).expect(0).stdout;
    assert!(html.contains("LICENSE-&lt;img src=x onerror=alert(1)&gt;\\u{202e}"));
    for it in [output, html] {
        assert!(!it.contains(['\u{1b}', '\u{202e}', '\u{7}']));
        assert!(!it.contains("<img") || it.starts_with("exit"), "{it}");
    }
}

#[test]
fn odd_commits_are_read_as_far_as_they_go() {
    let workspace = Workspace::new();
    let Some(repository) = GitRepository::new(&workspace, "odd") else {
        return;
    };
    repository.commit("A <a@one.example>", START, &[]);
    let first = repository.git(&["rev-parse", "HEAD"]);
    let tree = repository.git(&["rev-parse", "HEAD^{tree}"]);
    let text = format!(
        "tree {tree}parent {first}author nobody\ncommitter <> 99999999999999999999999 +9999\n\n"
    );
    let commit = repository.object("commit", text.as_bytes());
    repository.git(&["update-ref", "refs/heads/main", &commit]);
    let health = measured(&workspace, &["odd"]);
    assert_eq!(health["asOf"], "1970-01-01T00:00:00Z");
    assert_eq!(health["contributors"]["total"], 2);
    assert_eq!(health["commits"]["postdated"], 1);
}

#[test]
fn a_commit_is_only_what_its_name_says() {
    let workspace = Workspace::new();
    let Some(repository) = project(&workspace) else {
        return;
    };
    let before = measured(&workspace, &["project"]);
    let head = repository.git(&["rev-parse", "HEAD"]);
    let first = repository.git(&["rev-list", "--max-parents=0", "HEAD"]);
    let (head, first) = (head.trim(), first.trim());

    // A replacement is not followed.
    repository.git(&["replace", head, first]);
    assert_eq!(measured(&workspace, &["project"]), before);
    repository.git(&["replace", "--delete", head]);

    // Another commit's content below its name is found out.
    let object = |id: &str| {
        let (folder, file) = id.split_at(2);
        repository
            .folder()
            .join(".git/objects")
            .join(folder)
            .join(file)
    };
    let content = fs_err::read(object(first)).unwrap();
    let writable = std::fs::Permissions::from_mode(0o644);
    fs_err::set_permissions(object(head), writable).unwrap();
    fs_err::write(object(head), content).unwrap();
    let output = says(&workspace, &["project", "--revision", "main"]);
    let malformed = format!("commit `{head}` is malformed");
    assert!(output.contains(&malformed), "{output}");
}

#[test]
fn a_commit_that_is_too_large_is_refused() {
    let workspace = Workspace::new();
    let Some(repository) = GitRepository::new(&workspace, "large") else {
        return;
    };
    let message = workspace.write("message", "x".repeat(5 << 20));
    let file = ["-F", message.to_str().unwrap()];
    let commit = ["commit", "--quiet", "--allow-empty"];
    repository.at("A <a@one.example>", START + DAY, &commit, &file);
    let output = says(&workspace, &["large"]);
    assert!(output.contains("is larger than 4194304 bytes"), "{output}");
}

#[test]
fn an_export_that_is_none_is_named() {
    let workspace = Workspace::new();
    let Some(_project) = project(&workspace) else {
        return;
    };
    workspace.write("forge.json", "[]");
    assert_snapshot!(says(&workspace, &["project", "--forge", "forge.json"]), @r"
exit: 2
--- stdout
--- stderr
error: failed to use `forge.json`
  cause: the forge's export is malformed
  cause: invalid type: sequence, expected an object at line 1 column 0
");
}
