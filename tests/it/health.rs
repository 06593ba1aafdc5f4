//! The health of a repository: the figures are those that git's own commands give, the same each
//! time, and whatever is hostile in a repository is refused or shown harmlessly.

mod claim;
mod figures;
mod hostile;

use serde_json::Value;
use testkit::{GitRepository, Output, Workspace};

const DAY: i64 = 86_400;
/// 2024-01-01.
const START: i64 = 1_704_067_200;

/// A project of three years: people of organisations, without one, with two addresses, a program; merges;
/// releases; all files.
fn project(workspace: &Workspace) -> Option<GitRepository<'_>> {
    let repository = GitRepository::new(workspace, "project")?;
    repository.write("LICENSE", "Apache-2.0\n");
    repository.write("README.md", "x\n");
    repository.write(
        ".mailmap",
        "Ada Example <ada@one.example> <ada@old.example>\n",
    );
    repository.commit("Ada <ada@old.example>", START, &[]);
    repository.write(".github/SECURITY.md", "x\n");
    repository.write("docs/CONTRIBUTING.md", "x\n");
    for day in 1..4 {
        repository.commit("Ada Example <ada@one.example>", START + day * DAY, &[]);
    }
    tag(&repository, "v1.0.0", START + 4 * DAY);
    repository.commit("Bob <bob@gmail.com>", START + 100 * DAY, &[]);
    repository.git(&["checkout", "--quiet", "-b", "side"]);
    repository.commit("Cy <cy@us.two.example>", START + 500 * DAY, &[]);
    repository.git(&["checkout", "--quiet", "main"]);
    let merge = ["merge", "--quiet", "--no-ff", "-m", "x", "side"];
    repository.at("Bob <bob@gmail.com>", START + 501 * DAY, &merge, &[]);
    tag(&repository, "v1.1.0-rc1", START + 502 * DAY);
    tag(&repository, "v1.1.0", START + 510 * DAY);
    repository.git(&["tag", "latest"]);
    for day in 0..2 {
        let bot = "dependabot[bot] <49699333+dependabot[bot]@users.noreply.github.com>";
        repository.commit(bot, START + (600 + day) * DAY, &[]);
    }
    repository.commit("Bob <BOB@gmail.com>", START + 700 * DAY, &[]);
    repository.commit("Dee <dee@two.example>", START + 710 * DAY, &[]);
    repository.commit(
        "Eve <1+eve@users.noreply.github.com>",
        START + 720 * DAY,
        &[],
    );
    Some(repository)
}

fn tag(repository: &GitRepository<'_>, name: &str, time: i64) {
    let tag = ["tag", "--annotate", "-m", name, name];
    repository.at("Ada Example <ada@one.example>", time, &tag, &[]);
}

/// What `sealpack health` prints as JSON.
fn measured(workspace: &Workspace, arguments: &[&str]) -> Value {
    let common = ["health", "--output", "json"];
    let output = Output::of(workspace.sealpack(common).args(arguments)).expect(0);
    serde_json::from_str(&output.stdout).unwrap()
}

fn says(workspace: &Workspace, arguments: &[&str]) -> String {
    let output = Output::of(workspace.sealpack(["health"]).args(arguments));
    let folder = workspace.path().display().to_string();
    output.transcript(&[(&folder, "[workspace]")])
}
