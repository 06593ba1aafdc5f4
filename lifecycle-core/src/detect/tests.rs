use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::*;
use crate::api::PlatformApi;
use crate::exec::Host;
use crate::files::analyzed::TargetMetadata;

/// A builder in a temporary folder.
struct Builder {
    dir: tempfile::TempDir,
    host: Host,
}

impl Builder {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        fs::create_dir(dir.path().join("app")).expect("a folder");
        let this = Self {
            dir,
            host: Host::default(),
        };
        this.file("os-release", "ID=golden\nVERSION_ID=1\n");
        this
    }

    fn file(&self, path: impl AsRef<Path>, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("our file");
    }

    fn buildpack(&self, id: &str, more: &str, detect: &str) {
        let text = format!("api = \"0.12\"\n{more}\n[buildpack]\nid = \"{id}\"\n");
        self.file(format!("buildpacks/{id}/1/buildpack.toml"), &text);
        let script = format!("#!/bin/sh\n{detect}\n");
        self.file(format!("buildpacks/{id}/1/bin/detect"), &script);
    }

    fn detect(&self, order: &str) -> (Result<Detected, DetectError>, String) {
        self.detect_with(order, System::default())
    }

    fn detect_with(&self, order: &str, system: System) -> (Result<Detected, DetectError>, String) {
        let root = self.dir.path();
        let modules = ModuleContext {
            platform_api: PlatformApi::V0_15,
            app_dir: root.join("app"),
            buildpacks_dir: root.join("buildpacks"),
            extensions_dir: root.join("extensions"),
            platform_dir: root.join("platform"),
            build_config_dir: root.join("build-config"),
            target: TargetMetadata::default(),
            os_release: root.join("os-release"),
            exec_env: "production".to_owned(),
            env: BTreeMap::from([("PATH".into(), "/bin:/usr/bin".into())]),
            temp_dir: root.to_owned(),
            telemetry: None,
            run: &self.host,
        };
        let context = DetectContext {
            modules: &modules,
            order: order_of(order),
            system,
        };
        let lines = Lines::default();
        let result = verify(&context, &lines).and_then(|()| detect(&context, &lines));
        let lines = lines.0.into_inner().expect("no other thread");
        let lines = lines.iter().map(|(_, line)| String::from_utf8_lossy(line));
        let lines = lines.map(|line| line.trim_end_matches('\n').to_owned());
        let mut text = String::new();
        for line in lines {
            text.push_str(&line);
            text.push('\n');
        }
        (result, text)
    }
}

/// `a b? | c` are two groups, the first with an optional member.
fn order_of(text: &str) -> Order {
    let groups = text.split('|').map(|group| {
        let members = group.split_whitespace().map(|id| GroupElement {
            optional: id.ends_with('?'),
            ..GroupElement::new(id.trim_end_matches('?'), "1")
        });
        crate::files::order::OrderGroup::new(members.collect())
    });
    Order {
        order: groups.collect(),
        ..Order::default()
    }
}

fn ids(result: Result<Detected, DetectError>) -> Vec<String> {
    let group = result.expect("a group passes").group.group;
    group.into_iter().map(|it| it.id).collect()
}

#[test]
fn the_first_group_that_passes_is_taken_and_nobody_runs_twice() {
    let builder = Builder::new();
    builder.buildpack("a", "", "echo run >> count");
    builder.buildpack("f", "", "exit 100");
    let (result, _) = builder.detect("a f | a f? | a");
    assert_eq!(ids(result), ["a"]);
    let count = fs::read_to_string(builder.dir.path().join("app/count")).unwrap();
    assert_eq!(count, "run\n");
}

#[test]
fn composites_stand_for_their_order() {
    let builder = Builder::new();
    builder.buildpack("f", "", "exit 100");
    builder.buildpack("p", "", "");
    builder.buildpack("q", "", "");
    let group = |id: &str| format!("[[order]]\n[[order.group]]\nid = \"{id}\"\nversion = \"1\"\n");
    builder.buildpack("both", &[group("f"), group("p")].concat(), "exit 1");
    builder.buildpack("outer", &group("both"), "exit 1");
    builder.buildpack("none", &group("f"), "exit 1");
    assert_eq!(ids(builder.detect("outer q").0), ["p", "q"]);
    assert_eq!(ids(builder.detect("none? q").0), ["q"]);
    let (result, _) = builder.detect("none q");
    assert_eq!(result.expect_err("none fails").exit_code(), 20);
}

#[test]
fn a_composite_that_contains_itself_is_an_error() {
    let builder = Builder::new();
    let group = |id: &str| format!("[[order]]\n[[order.group]]\nid = \"{id}\"\nversion = \"1\"\n");
    builder.buildpack("x", &group("y"), "");
    builder.buildpack("y", &group("x"), "");
    let (result, _) = builder.detect("x");
    assert!(matches!(result, Err(DetectError::Cycle { .. })));
}

#[test]
fn an_optional_member_is_left_out_only_once_all_its_alternatives_are_tried() {
    let builder = Builder::new();
    let plan = "[[provides]]\nname = \"none\"\n[[requires]]\nname = \"tool\"\n[[or]]\n\
        [[or.provides]]\nname = \"e\"\n[[or.requires]]\nname = \"e\"\n";
    builder.buildpack("a", "", &format!("cat > $2 <<'X'\n{plan}X"));
    builder.buildpack("b", "", "");
    let (result, log) = builder.detect("a? b");
    assert_eq!(ids(result), ["a", "b"]);
    assert!(log.contains("fail: a@1 requires tool"), "{log}");
    // With no other alternative it is left out.
    let single = plan.split("[[or]]").next().unwrap();
    builder.buildpack("a", "", &format!("cat > $2 <<'X'\n{single}X"));
    assert_eq!(ids(builder.detect("a? b").0), ["b"]);
}

#[test]
fn failing_and_erring_differ() {
    let builder = Builder::new();
    builder.buildpack("f", "", "exit 100");
    builder.buildpack("e", "", "echo why; exit 7");
    let (result, log) = builder.detect("f | e");
    assert_eq!(result.expect_err("both fail").exit_code(), 21);
    let lines = "======== Output: e@1 ========\nwhy\n======== Results ========\nerr:  e@1 (7)\n\
";
    assert!(log.ends_with(lines), "{log}");
    let (result, _) = builder.detect("nope");
    assert_eq!(result.expect_err("there is none").exit_code(), 1);
}

#[test]
fn an_unknown_api_is_found_wherever_it_is() {
    let builder = Builder::new();
    builder.buildpack("a", "", "");
    builder.file("buildpacks/u/1/buildpack.toml", "api = \"0.99\"\n");
    let (result, _) = builder.detect("a | u");
    assert_eq!(result.expect_err("u is unknown").exit_code(), 12);
}

#[test]
fn the_plan_is_the_same_each_time() {
    let builder = Builder::new();
    let provides = "[[provides]]\nname = \"z\"\n[[provides]]\nname = \"b\"\n";
    let requires = "[[requires]]\nname = \"b\"\n[[requires]]\nname = \"z\"\n\
        [requires.metadata]\nday = 2020-02-03\n[[requires]]\nname = \"b\"\n";
    builder.buildpack("a", "", &format!("cat > $2 <<'T'\n{provides}T"));
    builder.buildpack("r", "", &format!("cat > $2 <<'T'\n{requires}T"));
    let plan = builder.detect("a r").0.expect("it fits").plan;
    let names: Vec<_> = plan.entries.iter().map(|it| &it.requires[0].name).collect();
    assert_eq!(names, ["z", "b"]);
    assert_eq!(plan.entries[1].requires.len(), 2);
    assert!(plan.entries[0].requires[0].metadata.is_some());
}

#[test]
fn plans_that_do_not_fit_make_optional_members_leave_and_others_fail() {
    let builder = Builder::new();
    builder.buildpack("a", "", "printf '[[requires]]\\nname = \"x\"\\n' > $2");
    builder.buildpack(
        "b",
        "",
        "printf '[[provides]]\\nname = \"y\"\\n[[or]]\\n' > $2",
    );
    let (result, log) = builder.detect("a? b");
    assert_eq!(ids(result), ["b"]);
    assert!(log.contains("skip: a@1 requires x\nfail: b@1 provides unused y\n"));
    assert!(log.contains("Resolving plan... (try #2)\n"));
    assert_eq!(builder.detect("a b").0.expect_err("unmet").exit_code(), 20);
}

#[test]
fn alternatives_are_not_tried_for_ever() {
    let builder = Builder::new();
    let or = "[[requires]]\\nname = \"x\"\\n[[or]]\\n[[or.requires]]\\nname = \"x\"\\n";
    let ids: Vec<_> = (0..20).map(|at| format!("b{at}")).collect();
    for id in &ids {
        builder.buildpack(id, "", &format!("printf '{or}' > $2"));
    }
    let (result, _) = builder.detect(&ids.join(" "));
    assert!(matches!(
        result,
        Err(DetectError::TooManyAlternatives { .. })
    ));
}

#[test]
fn a_target_that_does_not_fit_is_an_error_of_the_buildpack() {
    let builder = Builder::new();
    builder.buildpack("w", "[[targets]]\nos = \"windows\"\n", "");
    let (result, log) = builder.detect("w");
    assert_eq!(result.expect_err("it is linux").exit_code(), 21);
    assert!(log.contains(
        r#""distro":{"name":"golden","version":"1"}}, buildpack: [{"os":"windows","arch":""}]"#
    ));
}

#[test]
fn programs_see_little_of_our_environment() {
    let builder = Builder::new();
    builder.buildpack(
        "e",
        "",
        "env | sort | grep -v -e ^PWD -e ^SHLVL -e ^_ -e PATH -e DIR; exit 1",
    );
    builder.file("platform/env/USER_VAR", "u");
    let (_, log) = builder.detect("e");
    let vars = "CNB_EXEC_ENV=production\nCNB_TARGET_ARCH=amd64\nCNB_TARGET_DISTRO_NAME=golden\n\
        CNB_TARGET_DISTRO_VERSION=1\nCNB_TARGET_OS=linux\nUSER_VAR=u\n";
    assert!(log.contains(vars), "{log}");
}

#[test]
fn an_order_may_name_execution_environments() {
    let builder = Builder::new();
    let one = "[[order]]\n[[order.group]]\nid = \"p\"\nversion = \"1\"\nexec-env = [\"test\"]\n\
        [[order.group]]\nid = \"q\"\nversion = \"1\"\nexec-env = [\"*\"]\n\
        [[order.group]]\nid = \"r\"\nversion = \"1\"\n[[order.group.exec-env]]\nname = \"production\"\n";
    for id in ["p", "q", "r"] {
        builder.buildpack(id, "", "");
    }
    builder.buildpack("both", one, "");
    let (result, lines) = builder.detect("both");
    let group = result.unwrap().group;
    let found: Vec<_> = group.group.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(found, ["q", "r"]);
    assert!(lines.contains("Skipping p@1 due to execution environment mismatch"));
    // Later phases have no use for it.
    assert!(!toml::to_string(&group).unwrap().contains("exec-env"));
    // A group of which nobody is left does not pass.
    builder.buildpack(
        "none",
        one.split("[[order.group]]\nid = \"q\"").next().unwrap(),
        "",
    );
    assert_eq!(ids(builder.detect("none | q").0), ["q"]);
}

#[test]
fn system_buildpacks_may_be_optional() {
    let builder = Builder::new();
    builder.buildpack("a", "", "");
    builder.buildpack("f", "", "exit 100");
    let detect = |optional: bool| {
        let before = GroupElement {
            optional,
            ..GroupElement::new("f", "1")
        };
        let mut system = System::default();
        system.system.pre.buildpacks.push(before.clone());
        system.system.post.buildpacks.push(before);
        builder.detect_with("a", system)
    };
    assert_eq!(ids(detect(true).0), ["a"]);
    assert_eq!(detect(false).0.expect_err("one fails").exit_code(), 20);
}
