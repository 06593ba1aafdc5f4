//! What is not rebased, and why: by the policy, or because it cannot be.

use super::*;

#[tokio::test]
async fn what_a_policy_does_not_accept_is_not_rebased() {
    let world = World::new().await;
    let (app, run) = (world.image("app:v1"), world.image("run:latest"));
    let rebase = |more: &[&str]| {
        let all = ["rebase", &app, "--key", "test.key"];
        world.run(&[&all[..], more].concat())
    };
    let writes = || {
        let all = world.registry.take_requests().into_iter();
        all.filter(|it| !it.starts_with("GET") && !it.starts_with("HEAD"))
            .collect::<Vec<_>>()
    };
    writes();
    // The run image is not signed.
    let judged = ["--policy", "policy", "--run-image-policy", "signed"];
    let output = rebase(&judged).expect(1);
    assert!(
        output.stderr.contains(&world.image("run@")),
        "{}",
        output.stderr
    );
    // Nor is an image that nobody proves.
    world.run(&["sign", &run, "--key", "test.key"]).expect(0);
    let bare = world.image("bare:v1");
    let build = ["build", "app", "--builder", "builder.toml", "--unsigned"];
    let build = [&build[..], &["--run-image", &run, "--tag", &bare]].concat();
    world.run(&build).expect(0);
    writes();
    let all = ["rebase", &bare, "--key", "test.key"];
    world.run(&[&all[..], &judged].concat()).expect(1);
    assert_eq!(writes(), [] as [&str; 0]);
    // Without a policy it is rebased, but its source is not made up.
    world.run(&all).expect(0);
    let provenance = world.claim(&bare, "provenance");
    let dependencies = provenance["buildDefinition"]["resolvedDependencies"].to_string();
    assert!(
        !dependencies.contains(r#""name":"source""#),
        "{dependencies}"
    );
    let check = [
        "policy", "check", &bare, "--policy", "policy", "--key", "test.pub",
    ];
    world.run(&check).expect(1);
}

#[tokio::test]
async fn what_cannot_be_rebased_says_why() {
    let world = World::new().await;
    let (app, run) = (world.image("app:v1"), world.image("run:latest"));
    let other = world.image("other:latest");
    world.run(&["copy", "oci:run-2", &other]).expect(0);
    let old = world.digest(&app);
    let rebase = |image: &str, more: &[&str]| {
        let all = ["rebase", image, "--key", "test.key"];
        world.run(&[&all[..], more].concat())
    };
    let say = |output: Output, part: &str| {
        let output = output.expect(2);
        assert!(output.stderr.contains(part), "{part}\n{}", output.stderr);
    };
    say(rebase(&app, &["--run-image", &other]), "`--force`");
    rebase(
        &app,
        &["--run-image", &other, "--force", "--tag", "oci:forced:v1"],
    )
    .expect(0);
    say(rebase(&run, &[]), "no lifecycle made it");
    say(
        rebase(&app, &["--run-image", &app]),
        "cannot be its own run image",
    );
    say(
        rebase(&world.image(&format!("app@{old}")), &[]),
        "names a digest",
    );
    say(rebase(&app, &["--run-image", &world.image("none")]), "none");
    say(
        rebase(&app, &["--tag", "docker-daemon:app:v1"]),
        "cannot keep",
    );
    // Another tag of the same run image is no other run image.
    let tagged = world.image("run:2");
    world.run(&["copy", "oci:run-2", &tagged]).expect(0);
    rebase(&app, &["--run-image", &tagged, "--tag", "oci:tagged:v1"]).expect(0);
    let output = rebase(&app, &["--no-base-packages", "--tag", "oci:bare:v1"]).expect(0);
    let sbom = components(&world.claim("oci:bare:v1", "cyclonedx"));
    assert!(
        !sbom.iter().any(|it| it.starts_with("libexample")),
        "{sbom:#?}\n{}",
        output.stderr
    );
    assert_eq!(world.digest(&app), old);
}
