//! Health as a signed claim.

use testkit::{GitRepository, Output, Project};

use super::{DAY, START, tag};

#[test]
fn health_is_signed_attached_and_judged() {
    let project = Project::typical();
    let workspace = project.workspace();
    let Some(repository) = GitRepository::new(workspace, "source") else {
        return;
    };
    repository.write("LICENSE", "x");
    repository.commit("A <a@one.example>", START, &[]);
    repository.commit("B <b@two.example>", START + DAY, &[]);
    tag(&repository, "v1.0.0", START + DAY);
    project.build_with("oci:out:v1", &[]).expect(0);
    let health =
        Output::of(&mut project.sealpack(["health", "source", "--output", "json"])).expect(0);
    project.write("health.json", health.stdout);
    let attest = [
        "attest",
        "oci:out:v1",
        "--type",
        "health",
        "--predicate",
        "health.json",
        "--key",
        "test.key",
    ];
    project.run(&attest).expect(0);

    let verify = [
        "verify",
        "oci:out:v1",
        "--key",
        "test.pub",
        "--claim",
        "health",
    ];
    let output = project.run(&verify).expect(0);
    assert!(output.stdout.contains("health"), "{output:?}");

    let policy = |parameters: &str| {
        let text = format!(
            "[[accept]]\nclaims = [\"health\"]\nsigner = \"given\"\n[rules]\nuse = [\"health\"]\n[parameters]\n{parameters}"
        );
        project.write("health.toml", text);
        let check = [
            "policy",
            "check",
            "oci:out:v1",
            "--policy",
            "health.toml",
            "--key",
            "test.pub",
        ];
        project.run(&check)
    };
    policy("health-absence-factor = 1\nhealth-files = [\"license\"]\n").expect(0);
    let output =
        policy("health-absence-factor = 2\nhealth-files = [\"securityPolicy\"]\n").expect(1);
    for finding in [
        "health: 1 people made half of the last year's contributions, fewer than 2",
        "health: the source has no file of the kind `securityPolicy`",
    ] {
        assert!(output.stderr.contains(finding), "{}", output.stderr);
    }
    // The commit is of 2024: too old by the clock of whoever judges.
    let output = policy("health-last-commit-days = 30\n").expect(1);
    assert!(
        output
            .stderr
            .contains("the last commit is older than 30 days"),
        "{}",
        output.stderr
    );
    policy("health-last-commit-days = 100000\n").expect(0);
    // Nobody says that the image was built from that commit.
    let output = policy("health-of-source = true\n").expect(1);
    assert!(
        output.stderr.contains("is not about the commit"),
        "{}",
        output.stderr
    );
}
