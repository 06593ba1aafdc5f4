//! The recipes for CI run, as their CI runs them: the same files are read, jobs have nothing of each other
//! but what the recipe hands on, and the registry wants a login in each.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testkit::registry::{Login, Switches, TestRegistry};
use testkit::{Output, Project, Workspace, binary, repository, skipped};

/// A project as the recipes expect it, and a registry that lets nobody in without a password.
struct World {
    project: Project,
    registry: TestRegistry,
    /// What has nothing but our programs, and a `sudo` that does nothing.
    programs: PathBuf,
}

impl World {
    fn new() -> Self {
        let project = Project::typical();
        for (from, to) in [("test.pub", "release.pub"), ("test.key", "release.key")] {
            let key = fs_err::read(project.join(from)).unwrap();
            project.write(to, key);
        }
        let release = project.join("release/sealpack-0.1.0-linux-amd64");
        fs_err::create_dir_all(&release).unwrap();
        let programs = project.join("programs");
        fs_err::create_dir_all(&programs).unwrap();
        for folder in [&release, &programs] {
            std::os::unix::fs::symlink(binary("sealpack"), folder.join("sealpack")).unwrap();
        }
        let registry = TestRegistry::start(Switches {
            login: Login::Basic {
                username: "robot",
                password: "secret",
            },
            ..Switches::default()
        });
        Self {
            project,
            registry,
            programs,
        }
    }

    /// What a job begins with: the sources, and a home of its own.
    fn checkout(&self) -> Workspace {
        let job = Workspace::new();
        let mut copy = job.command("cp");
        copy.arg("-R");
        for name in ["app", "builder.toml", "buildpacks", "policy", "release.pub"] {
            copy.arg(self.project.join(name));
        }
        Output::of(copy.arg(job.path())).expect(0);
        job
    }

    fn key(&self) -> String {
        fs_err::read_to_string(self.project.join("release.key")).unwrap()
    }

    fn image(&self) -> String {
        format!("{}/app:v1", self.registry.host())
    }
}

/// The paths that each system has.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

fn recipe(name: &str) -> String {
    fs_err::read_to_string(repository().join("docs/ci").join(name)).unwrap()
}

fn yaml(text: &str) -> Value {
    yaml_serde::from_str(text).unwrap()
}

fn texts(value: &Value) -> Vec<(String, String)> {
    let pairs = value.as_object().into_iter().flatten();
    pairs
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect()
}

/// Puts what `known` says in place of all that stands between `open` and `close`.
fn expanded(text: &str, (open, close): (&str, &str), known: &dyn Fn(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open) {
        let (name, behind) = after.split_once(close).unwrap();
        out.push_str(before);
        out.push_str(&known(name.trim()));
        rest = behind;
    }
    out + rest
}

/// What a file of `NAME=value` lines says, as a runner reads it after each step.
fn assigned(file: &Path) -> BTreeMap<String, String> {
    let text = fs_err::read_to_string(file).unwrap();
    let pairs = text.lines().map(|it| it.split_once('=').unwrap());
    pairs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Runs a job of a workflow; what its steps put out, as `steps.ID.outputs.NAME`, and its summary.
fn run_job(
    world: &World,
    (name, job): (&str, &Value),
    workflow: &[(String, String)],
    known: &BTreeMap<String, String>,
) -> (BTreeMap<String, String>, String) {
    let mut known = known.clone();
    let workspace = world.checkout();
    fs_err::create_dir(workspace.join("temp")).unwrap();
    known.insert(
        "runner.temp".to_owned(),
        workspace.join("temp").display().to_string(),
    );
    let file = |name: &str| workspace.write(name, "");
    let (env, path) = (file("github.env"), file("github.path"));
    let (output, summary) = (file("github.output"), file("github.summary"));
    let sudo = workspace.write("bin/sudo", "#!/bin/sh\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs_err::set_permissions(sudo, mode).unwrap();
    for step in job["steps"].as_array().unwrap() {
        let look = |name: &str| {
            let found = known.get(name);
            found.unwrap_or_else(|| panic!("{name} in {step}")).clone()
        };
        let expand = |text: &str| expanded(text, ("${{", "}}"), &look);
        let Some(script) = step["run"].as_str() else {
            let action = step["uses"].as_str().unwrap();
            let is_known = ["actions/checkout@", "actions/cache@"];
            assert!(is_known.iter().any(|it| action.starts_with(it)), "{action}");
            // A cache is written where the build puts its layers, and that is not what is built.
            if let Some(path) = step["with"]["path"].as_str() {
                assert!(expand(path).ends_with("/temp/layers"), "{path}");
            }
            continue;
        };
        // The services that sign without a key are not there: a key stands for the identity. What this
        // machine refuses is not what the recipe is about.
        let script = script
            .replace("--signing-config public", "--key release.key")
            .replace(
                "--certificate-identity \"$IDENTITY\" --certificate-oidc-issuer \"$ISSUER\"",
                "--key release.pub",
            )
            .replace("--isolation required", "--isolation auto");
        let more = fs_err::read_to_string(&path).unwrap();
        let more = more.lines().rev().map(|it| format!("{it}:"));
        let path: String = more
            .chain([format!("{}/bin:{PATH}", workspace.path().display())])
            .collect();
        let mut shell = workspace.command("bash");
        shell.args(["-e", "-c", &script]).env("PATH", path);
        for (name, value) in workflow.iter().chain(&texts(&job["env"])) {
            shell.env(name, expand(value));
        }
        shell.envs(assigned(&env));
        shell.env("REGISTRY", world.registry.host());
        for (name, value) in texts(&step["env"]) {
            shell.env(name, expand(&value));
        }
        shell.env("RUNNER_TEMP", workspace.join("temp"));
        for (name, file) in [
            ("GITHUB_ENV", "github.env"),
            ("GITHUB_PATH", "github.path"),
            ("GITHUB_OUTPUT", "github.output"),
            ("GITHUB_STEP_SUMMARY", "github.summary"),
        ] {
            shell.env(name, workspace.join(file));
        }
        shell.env("GITHUB_ACTOR", "robot");
        shell.env("GITHUB_REPOSITORY", "Owner/App");
        shell.env("GITHUB_REF_NAME", "v1");
        if script.contains("release.key") {
            workspace.write("release.key", world.key());
        }
        let done = Output::of(&mut shell);
        assert_eq!(done.code, 0, "{name}: `{script}`: {}", done.transcript(&[]));
        if let Some(id) = step["id"].as_str() {
            let put = assigned(&output).into_iter();
            known.extend(put.map(|(name, value)| (format!("steps.{id}.outputs.{name}"), value)));
        }
    }
    let summary = fs_err::read_to_string(summary).unwrap();
    (known, summary)
}

#[test]
fn the_recipe_for_github_runs() {
    let world = World::new();
    // As `cli/dist` packs it: one folder.
    let mut pack = world.project.workspace().command("bash");
    pack.args([
        "-ec",
        "tar -czf sealpack.tar.gz -C release sealpack-0.1.0-linux-amd64 && sha256sum < sealpack.tar.gz",
    ]);
    let sum = Output::of(&mut pack).expect(0).stdout;
    let url = format!("file://{}", world.project.join("sealpack.tar.gz").display());
    let mut known: BTreeMap<String, String> = [
        ("vars.SEALPACK_URL", url.as_str()),
        ("vars.SEALPACK_SHA256", sum.split(' ').next().unwrap()),
        ("secrets.GITHUB_TOKEN", "secret"),
        ("github.run_id", "1"),
        (
            "github.workflow_ref",
            "Owner/App/.github/workflows/release.yml@refs/tags/v1",
        ),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let text = recipe("github.yml");
    // What stands for it is to be there.
    assert!(text.contains("--signing-config public") && text.contains("id-token: write"));
    let workflow = yaml(&text);
    let env = texts(&workflow["env"]);
    let (put, summary) = run_job(&world, ("build", &workflow["jobs"]["build"]), &env, &known);
    let image = put["steps.build.outputs.image"].clone();
    let digest = image.strip_prefix(&format!("{}/owner/app@sha256:", world.registry.host()));
    assert!(digest.is_some(), "{image}");
    assert!(
        summary.starts_with(&format!("### {image}\n\n```\n")),
        "{summary}"
    );
    assert!(summary.contains("cyclonedx"), "{summary}");
    let outputs = texts(&workflow["jobs"]["build"]["outputs"]);
    for (name, value) in outputs {
        let value = expanded(&value, ("${{", "}}"), &|it| put[it].clone());
        known.insert(format!("needs.build.outputs.{name}"), value);
    }
    let deploy = &workflow["jobs"]["deploy"];
    assert_eq!(deploy["needs"], "build");
    run_job(&world, ("deploy", deploy), &env, &known);
}

#[test]
fn the_recipe_for_gitlab_runs() {
    let world = World::new();
    let recipe = yaml(&recipe("gitlab.yml"));
    let mut handed_on = BTreeMap::new();
    for name in ["build", "deploy"] {
        let (job, workspace) = (&recipe[name], world.checkout());
        let scripts = [&recipe["default"]["before_script"], &job["script"]];
        let lines = scripts.iter().flat_map(|it| it.as_array().unwrap());
        let lines: Vec<_> = lines.map(|it| it.as_str().unwrap()).collect();
        // A runner joins them to one script.
        let mut shell = workspace.command("bash");
        shell.args(["-eo", "pipefail", "-c", &lines.join("\n")]);
        shell.env("PATH", format!("{}:{PATH}", world.programs.display()));
        shell.env("COSIGN_PRIVATE_KEY", world.key());
        shell.env("IMAGE", world.image());
        shell.env("CI_REGISTRY", world.registry.host());
        shell.env("CI_REGISTRY_USER", "robot");
        shell.env("CI_REGISTRY_PASSWORD", "secret");
        let done = Output::of(shell.envs(&handed_on));
        assert_eq!(done.code, 0, "{name}: {}", done.transcript(&[]));
        // What is kept for the next job is where the commands put it.
        let kept = [&job["cache"]["paths"], &job["artifacts"]["paths"]];
        for path in kept.iter().filter_map(|it| it.as_array()).flatten() {
            assert!(workspace.join(path.as_str().unwrap()).exists(), "{path}");
        }
        if let Some(file) = job["artifacts"]["reports"]["dotenv"].as_str() {
            handed_on.extend(assigned(&workspace.join(file)));
        }
    }
    let built = &handed_on["BUILT"];
    assert!(
        built.starts_with(&format!("{}/app@sha256:", world.registry.host())),
        "{built}"
    );
}

#[test]
fn the_tasks_for_tekton_run() {
    let world = World::new();
    let text = recipe("tekton.yml");
    let tasks: Vec<_> = text.split("\n---\n").map(yaml).collect();
    let (credentials, cache, results) = (Workspace::new(), Workspace::new(), Workspace::new());
    let login = [
        "login",
        &world.registry.host(),
        "--username",
        "robot",
        "--password-stdin",
    ];
    let mut shell = credentials.command("bash");
    let script = "printf secret | \"$0\" \"$@\" --authfile config.json";
    shell
        .args(["-ec", script])
        .arg(binary("sealpack"))
        .args(login);
    Output::of(&mut shell).expect(0);
    let mut image = world.image();
    for task in &tasks {
        let source = world.checkout();
        let spec = &task["spec"];
        for workspace in spec["workspaces"].as_array().unwrap() {
            let name = workspace["name"].as_str().unwrap();
            assert!(["source", "credentials", "cache"].contains(&name), "{name}");
        }
        let known = |name: &str| match name {
            "params.image" => image.clone(),
            "workspaces.source.path" => source.path().display().to_string(),
            "workspaces.credentials.path" => credentials.path().display().to_string(),
            "workspaces.cache.path" => cache.path().display().to_string(),
            "results.IMAGE_URL.path" => results.join("url").display().to_string(),
            "results.IMAGE_DIGEST.path" => results.join("digest").display().to_string(),
            other => panic!("{other}"),
        };
        for step in spec["steps"].as_array().unwrap() {
            let expand = |text: &str| expanded(text, ("$(", ")"), &known);
            assert_eq!(
                expand(step["workingDir"].as_str().unwrap()),
                known("workspaces.source.path")
            );
            let file = source.write("step", expand(step["script"].as_str().unwrap()));
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs_err::set_permissions(&file, mode).unwrap();
            let mut command = source.command(&file);
            command.env("PATH", format!("{}:{PATH}", world.programs.display()));
            for variable in step["env"].as_array().into_iter().flatten() {
                let name = variable["name"].as_str().unwrap();
                let secret = &variable["valueFrom"]["secretKeyRef"]["key"];
                let value = match (variable["value"].as_str(), secret.as_str()) {
                    (Some(value), _) => expand(value),
                    (_, Some("key")) => world.key(),
                    (_, secret) => {
                        assert_eq!(secret, Some("password"));
                        "secret".to_owned()
                    }
                };
                command.env(name, value);
            }
            let done = Output::of(&mut command);
            assert_eq!(done.code, 0, "{step}: {}", done.transcript(&[]));
        }
        let read = |name: &str| fs_err::read_to_string(results.join(name)).unwrap();
        let (url, digest) = (read("url"), read("digest"));
        assert_eq!(url, format!("{}/app@{digest}", world.registry.host()));
        image = url;
    }
    assert_eq!(tasks.len(), 2);
}

#[test]
fn the_makefile_builds_what_has_changed() {
    let world = World::new();
    let workspace = world.project.workspace();
    if !Path::new("/usr/bin/make").exists() {
        skipped("`make` is not there");
        return;
    }
    let login = [
        "login",
        &world.registry.host(),
        "--username",
        "robot",
        "--password-stdin",
    ];
    let mut shell = workspace.command("bash");
    let script = "printf secret | \"$0\" \"$@\"";
    shell
        .args(["-ec", script])
        .arg(binary("sealpack"))
        .args(login);
    Output::of(&mut shell).expect(0);
    let make = |target: &str| {
        let mut make = workspace.command("make");
        make.arg("-f").arg(repository().join("docs/ci/Makefile"));
        make.arg(format!("IMAGE={}", world.image())).arg(target);
        make.env("PATH", format!("{}:{PATH}", world.programs.display()));
        Output::of(&mut make).expect(0).stdout
    };
    assert!(make("image").contains("sealpack build"));
    let image = fs_err::read_to_string(world.project.join("image.txt")).unwrap();
    assert!(
        image.starts_with(&format!("{}/app@sha256:", world.registry.host())),
        "{image}"
    );
    let deployed = make("deploy");
    assert!(!deployed.contains("sealpack build"), "{deployed}");
    assert!(
        deployed.contains(&format!("here {} is deployed", image.trim())),
        "{deployed}"
    );
    world.project.write("app/hello.txt", "changed");
    assert!(make("deploy").contains("sealpack build"));
    let summary = fs_err::read_to_string(world.project.join("summary.md")).unwrap();
    assert!(
        summary.contains("```") && summary.contains("provenance"),
        "{summary}"
    );
}
