//! Where the new image goes, and which image is rebased.

use super::*;

#[tokio::test]
async fn an_image_goes_where_it_is_told_and_stays_where_it_was() {
    let world = World::new().await;
    let app = world.image("app:v1");
    let old = world.digest(&app);
    let report = world.project.join("report.toml");
    let tags = [
        "--tag",
        &world.image("app:v2"),
        "--tag",
        "oci:out:v2",
        "--tag",
        "oci-archive:out.tar:v2",
    ];
    let all = [
        "rebase",
        &app,
        "--key",
        "test.key",
        "--report",
        "report.toml",
    ];
    world.run(&[&all[..], &tags].concat()).expect(0);
    assert_eq!(world.digest(&app), old);
    let new = world.digest(&world.image("app:v2"));
    assert_ne!(new, old);
    for image in ["oci:out:v2", "oci-archive:out.tar:v2"] {
        assert_eq!(world.digest(image), new);
        for claim in ["signature", "provenance", "cyclonedx", "spdx"] {
            world
                .run(&["verify", image, "--key", "test.pub", "--claim", claim])
                .expect(0);
        }
    }
    let report = fs_err::read_to_string(report).unwrap();
    assert!(report.contains(&format!("digest = \"{new}\"")), "{report}");
    // Out of a layout, and on a run image in one.
    let on = ["--run-image", "oci:run-1", "--tag", "oci:back:v1"];
    let all = ["rebase", "oci:out:v2", "--key", "test.key", "--offline"];
    world.run(&[&all[..], &on].concat()).expect(0);
    assert_eq!(
        world.layers("oci:back:v1"),
        world.layers(&world.image(&format!("app@{old}")))
    );
}

#[tokio::test]
async fn another_image_than_the_one_that_is_written_may_be_rebased() {
    let world = World::new().await;
    let (app, to) = (world.image("app:v1"), world.image("app:next"));
    let old = world.digest(&app);
    let from = ["--previous-image", &app, "--key", "test.key"];
    world.run(&[&["rebase", &to][..], &from].concat()).expect(0);
    assert_eq!(world.digest(&app), old);
    let new = world.digest(&to);
    assert_ne!(new, old);
    // The same as if it had been rebased under its own name.
    world.run(&["rebase", &app, "--key", "test.key"]).expect(0);
    assert_eq!(world.digest(&app), new);
    world
        .run(&["verify", &to, "--key", "test.pub", "--claim", "provenance"])
        .expect(0);
}
