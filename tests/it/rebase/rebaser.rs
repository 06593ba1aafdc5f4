//! The lifecycle's rebaser: what it writes, and how it moves layers.

use super::*;

/// The rebaser has no layers: it tells where the platform says that some are, else in the file that the
/// platform names for all, else nowhere.
#[tokio::test]
async fn the_rebaser_writes_what_it_did_where_the_platform_says() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";
    let world = World::new().await;
    let (app, run) = (world.image("app:v1"), world.image("run:latest"));
    let program = world.project.join("rebaser");
    std::os::unix::fs::symlink(binary("lifecycle"), &program).unwrap();
    fs_err::create_dir(world.project.join("layers")).unwrap();
    let layers = world.project.join("layers").display().to_string();
    let below = world.project.join("layers/tracing/lifecycle/rebase.jsonl");
    let alone = world.project.join("alone.jsonl");
    let rebase = |variables: &[(&str, &str)], flags: &[&str]| {
        let mut rebaser = world.project.workspace().command(&program);
        rebaser
            .env("CNB_PLATFORM_API", "0.15")
            .env("CNB_OTEL_TRACEPARENT", format!("00-{TRACE}-{PARENT}-01"))
            .envs(variables.iter().copied())
            .args(["-run-image", &run, "-previous-image", &app])
            .args(["-report", "report.toml"])
            .args(flags)
            .arg(world.image("app:rebaser"));
        let said = Output::of(&mut rebaser).expect(0);
        assert!(!format!("{}{}", said.stdout, said.stderr).contains("trace"));
    };
    // Not asked for, or nowhere to tell it.
    rebase(&[("CNB_LAYERS_DIR", &layers)], &[]);
    rebase(&[], &["-telemetry"]);
    rebase(&[("CNB_TELEMETRY", "true")], &[]);
    assert!(!world.project.join("layers/tracing").exists() && !Path::new("/layers").exists());
    let file = alone.display().to_string();
    rebase(&[("CNB_OTEL_LOG_PATH", &file)], &[]);
    rebase(&[("CNB_LAYERS_DIR", &layers)], &["-telemetry"]);
    for path in [&alone, &below] {
        let text = fs_err::read_to_string(path).unwrap();
        let spans = decode(&text);
        hangs_together(&spans, Some(PARENT));
        for name in ["rebase", "save-image"] {
            let of_name = spans.iter().filter(|it| it.name == name).count();
            assert_eq!(of_name, 1, "{spans:#?}");
        }
        assert_eq!(spans[0].trace, TRACE);
        assert!(!text.contains(&world.registry.host()), "{text}");
    }
    rebase(
        &[("CNB_LAYERS_DIR", &layers), ("CNB_OTEL_LOG_PATH", &file)],
        &[],
    );
    let lines = |path| fs_err::read_to_string(path).unwrap().lines().count();
    assert_eq!(lines(&below), 2 * lines(&alone));
}

/// Upstream's rebaser is recorded in `tests/golden`; ours does what it does.
#[tokio::test]
async fn it_is_the_image_that_the_rebaser_makes() {
    let world = World::new().await;
    let (app, run) = (world.image("app:v1"), world.image("run:latest"));
    let rebaser = world.project.join("rebaser");
    std::os::unix::fs::symlink(binary("lifecycle"), &rebaser).unwrap();
    let theirs = world.image("app:rebaser");
    let mut rebaser = world.project.workspace().command(&rebaser);
    rebaser
        .env("CNB_PLATFORM_API", "0.15")
        .args(["-run-image", &run, "-previous-image", &app])
        .args(["-report", "report.toml", &theirs]);
    Output::of(&mut rebaser).expect(0);
    let ours = world.image("app:ours");
    let rebase = ["rebase", &app, "--run-image", &run, "--tag", &ours];
    world
        .run(&[&rebase[..], &["--key", "test.key"]].concat())
        .expect(0);
    assert_eq!(world.digest(&ours), world.digest(&theirs));
}

/// Asking for a layer costs little; moving one keeps a processor busy.
#[tokio::test]
async fn the_rebaser_moves_as_many_layers_at_once_as_there_are_processors() {
    let Some(taskset) = peer("taskset") else {
        return;
    };
    let world = World::new().await;
    let elsewhere = TestRegistry::start(Switches::default());
    let layers: Vec<_> = (0..5)
        .map(|it| LayerFiles::new().file(&format!("file-{it}"), it.to_string()))
        .collect();
    write_image(&world.project.join("many"), &layers).await;
    // Past the protocol: what matters is how many it is asked for at once by whom.
    let read = |path: &str| fs_err::read(world.project.join(path)).unwrap();
    let index: Value = serde_json::from_slice(&read("many/index.json")).unwrap();
    let entry = &index["manifests"][0];
    let manifest = hex(entry["digest"].as_str().unwrap());
    for blob in fs_err::read_dir(world.project.join("many/blobs/sha256")).unwrap() {
        let content = fs_err::read(blob.unwrap().path()).unwrap();
        elsewhere.put_blob("run", content);
    }
    let content = read(&format!("many/blobs/sha256/{manifest}"));
    let media_type = entry["mediaType"].as_str().unwrap();
    elsewhere.put_manifest("run", Some("latest"), media_type, content);
    let run = format!("{}/run", elsewhere.host());
    let program = world.project.join("rebaser");
    std::os::unix::fs::symlink(binary("lifecycle"), &program).unwrap();
    // Each is on its way for long.
    let slow = Fault::first(
        usize::MAX,
        "GET /v2/run/blobs/",
        FaultKind::Slow(Duration::from_millis(200)),
    );
    elsewhere.set(|it| it.faults = vec![slow]);
    let status = fs_err::read_to_string("/proc/self/status").unwrap();
    let allowed = status
        .lines()
        .find_map(|it| it.strip_prefix("Cpus_allowed_list:"));
    let one: String = allowed
        .unwrap()
        .trim()
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    let mut rebaser = world.project.workspace().command(taskset);
    rebaser
        .args(["-c", &one])
        .arg(program)
        .env("CNB_PLATFORM_API", "0.15")
        .args([
            "-force",
            "-run-image",
            &run,
            "-previous-image",
            &world.image("app:v1"),
        ])
        .args(["-report", "report.toml", &world.image("app:moved")]);
    Output::of(&mut rebaser).expect(0);
    let requests = elsewhere.take_requests();
    let moved = requests
        .iter()
        .filter(|it| it.starts_with("GET /v2/run/blobs/"))
        .count();
    assert_eq!(moved, 1 + layers.len(), "{requests:#?}");
    assert_eq!(elsewhere.most_at_once(), 1);
}
