//! Names of images in a layout that have colons and slashes: read and written in one place.

use testkit::{Output, Project};

/// `podman save` gives such names. What is written by one is found by it, and makes no folder beside.
#[test]
fn what_is_written_by_a_long_name_is_in_the_layout_that_is_there() {
    let project = Project::typical();
    project.build("oci:out:v1").expect(0);
    let run = |arguments: &[&str]| project.run(arguments).expect(0);
    for name in ["oci:out:localhost/app:v2", "oci:out:1.0.0+git1"] {
        run(&["copy", "oci:out:v1", name]);
        run(&["verify", name, "--key", "test.pub"]);
    }
    project.build("oci:out:localhost/app:v3").expect(0);
    run(&["tree", "oci:out:localhost/app:v3"]);
    let tags: Output = run(&["ls", "oci:out"]);
    assert_eq!(
        tags.stdout,
        "1.0.0+git1\nlocalhost/app:v2\nlocalhost/app:v3\nv1\n"
    );
    assert!(!project.join("out:localhost").exists());
    // Where there is neither, the name is that of a folder, for both.
    run(&["copy", "oci:out:v1", "oci:new:localhost/app:v1"]);
    assert!(project.join("new:localhost/app/index.json").is_file());
    run(&["verify", "oci:new:localhost/app:v1", "--key", "test.pub"]);
}

/// A name in a layout may have colons and slashes, and a mirror keeps the names that images have.
#[test]
fn a_mirror_keeps_long_names() {
    let project = Project::typical();
    project.build("oci:src:v1").expect(0);
    let run = |arguments: &[&str]| project.run(arguments).expect(0);
    for name in ["localhost/a:v1", "localhost/b:v1"] {
        run(&["copy", "oci:src:v1", &format!("oci:src:{name}")]);
    }
    project.write(
        "m.toml",
        "[[accept]]\nclaims = [\"signature\"]\nsigner = \"given\"\n[[require]]\nclaim = \"signature\"\n",
    );
    let policy = ["--policy", "m.toml", "--key", "test.pub"];
    run(&[&["mirror", "oci:src", "oci:out"][..], &policy].concat());
    run(&[
        &["mirror", "oci:src:localhost/a:v1", "oci:one"][..],
        &policy,
    ]
    .concat());
    assert_eq!(
        run(&["ls", "oci:out"]).stdout,
        "localhost/a:v1\nlocalhost/b:v1\nv1\n"
    );
    assert_eq!(run(&["ls", "oci:one"]).stdout, "localhost/a:v1\n");
}
