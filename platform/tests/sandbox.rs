//! Tests of the sandbox. This program enters it by running itself, and runs all tests once more as
//! an ordinary user if it is run by root.

#![expect(
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "tests, with a harness of their own"
)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use lifecycle_core::exec::{Cancel, Capped, Command, Exit, Output, Run as _, RunError};
use platform::sandbox::{
    Config, ImageRoot, Isolation, LayerFolder, Mount, Network, Root, RootFiles, Sandbox,
    SandboxError, User, UserMap, enter,
};
use tempfile::TempDir;

const NOBODY: u32 = 65_534;
/// How long a program sleeps that is held in the sandbox, by which it is found.
const HELD: &str = "54321";

fn main() -> ExitCode {
    let mut args = std::env::args();
    match args.nth(1).as_deref() {
        Some("enter") => return enter(),
        Some("hold") => {
            Fixture::new().sh(&format!("setsid sleep {HELD}"));
        }
        // What the usual harness is asked by tools.
        Some("--list") => return ExitCode::SUCCESS,
        _ => {}
    }
    let fixture = Fixture::new();
    if !fixture.is_complete() {
        eprintln!("SKIPPED: this machine refuses isolation");
        return ExitCode::SUCCESS;
    }
    let tests: [(&str, Test); 17] = [
        ("it runs as nobody special", it_runs_as_nobody_special),
        (
            "mounts are where they shall be",
            mounts_are_where_they_shall_be,
        ),
        ("the machine is read-only", the_machine_is_read_only),
        (
            "the toolchain of the user works",
            the_toolchain_of_the_user_works,
        ),
        ("what is hidden is not seen", what_is_hidden_is_not_seen),
        ("it has processes of its own", it_has_processes_of_its_own),
        ("there is no network", there_is_no_network),
        (
            "there is the network of the host",
            there_is_the_network_of_the_host,
        ),
        (
            "sockets of services are hidden",
            sockets_of_services_are_hidden,
        ),
        ("ends are told", ends_are_told),
        ("orphans are reaped and die", orphans_are_reaped_and_die),
        ("cancelling ends all", cancelling_ends_all),
        ("without its parent it dies", without_its_parent_it_dies),
        ("refusal is told", refusal_is_told),
        (
            "a copy may be all that is missing",
            a_copy_may_be_all_that_is_missing,
        ),
        (
            "without a kind of namespace the others are used",
            without_a_kind_of_namespace_the_others_are_used,
        ),
        (
            "without any namespace there are the folders",
            without_any_namespace_there_are_the_folders,
        ),
    ];
    for (name, test) in tests {
        test(&fixture);
        println!("test {name} (as {}) ... ok", fixture.uid);
    }
    let folders: Vec<PathBuf> = [fixture.cnb.path(), fixture.layers.path()]
        .map(Path::to_owned)
        .into();
    drop(fixture);
    assert!(folders.iter().all(|folder| !folder.exists()));
    if rustix::process::geteuid().is_root() {
        as_ordinary_user();
    }
    ExitCode::SUCCESS
}

fn as_ordinary_user() {
    let folder = TempDir::new().unwrap();
    let public = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), public.clone()).unwrap();
    let program = folder.path().join("sandbox");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(&program, public).unwrap();
    let status = std::process::Command::new(&program)
        .uid(NOBODY)
        .gid(NOBODY)
        .current_dir("/")
        .status()
        .unwrap();
    assert!(status.success(), "as an ordinary user: {status}");
}

type Test = fn(&Fixture);

struct Fixture {
    uid: u32,
    cnb: TempDir,
    layers: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let cnb = TempDir::new().unwrap();
        std::fs::write(cnb.path().join("order.toml"), "order").unwrap();
        Self {
            uid: rustix::process::geteuid().as_raw(),
            cnb,
            layers: TempDir::new().unwrap(),
        }
    }

    fn config(&self) -> Config {
        let mount = |source: &TempDir, target: &str, writable| Mount {
            source: source.path().to_owned(),
            target: target.into(),
            writable,
        };
        Config {
            enter: vec![std::env::current_exe().unwrap().into(), "enter".into()],
            mounts: vec![
                mount(&self.layers, "/layers", true),
                mount(&self.cnb, "/cnb", false),
            ],
            needs_mounts: false,
            root: Root::Machine,
            hidden: Vec::new(),
            interpreter: None,
            network: Network::None,
            isolation: Isolation::Auto,
            cancel: Cancel::default(),
        }
    }

    fn sandbox(&self) -> Sandbox {
        Sandbox::new(self.config()).unwrap()
    }

    fn is_complete(&self) -> bool {
        let sandbox = self.sandbox();
        let complete = sandbox.report().is_complete(Network::None);
        if !complete {
            eprintln!("{}", sandbox.report());
        }
        complete
    }

    fn sh(&self, script: &str) -> (Exit, String) {
        run(&self.sandbox(), script)
    }
}

fn script(script: &str) -> Command {
    Command {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        env: BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]),
        dir: "/".into(),
    }
}

fn run(sandbox: &Sandbox, text: &str) -> (Exit, String) {
    let output = Capped::default();
    let exit = sandbox.run(&script(text), &output).unwrap();
    (exit, String::from_utf8(output.into_bytes()).unwrap())
}

fn it_runs_as_nobody_special(fixture: &Fixture) {
    let expected = if fixture.uid == 0 { 1000 } else { fixture.uid };
    let (_, output) = fixture.sh("id -u; id -g; grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs)' /proc/self/status | cut -f2; env; hostname");
    let mut lines = output.lines();
    assert_eq!(lines.next(), Some(expected.to_string().as_str()));
    assert_eq!(lines.next(), Some(expected.to_string().as_str()));
    for _ in 0..5 {
        assert_eq!(lines.next(), Some("0000000000000000"));
    }
    assert_eq!(lines.next(), Some("1"));
    let rest: Vec<&str> = lines.filter(|line| !line.starts_with("_=")).collect();
    assert_eq!(
        rest,
        ["PATH=/usr/bin:/bin", "PWD=/", "sealpack"],
        "{output}"
    );
}

fn mounts_are_where_they_shall_be(fixture: &Fixture) {
    let (exit, output) = fixture.sh("cat /cnb/order.toml && echo written > /layers/file");
    assert_eq!((exit, output.as_str()), (Exit::Code(0), "order"));
    let file = fixture.layers.path().join("file");
    assert_eq!(std::fs::read_to_string(file).unwrap(), "written\n");
    let (_, output) = fixture
        .sh("ls -A /tmp /dev/shm /run; touch /tmp/x /dev/shm/x && ls /tmp; ls /dev | tr '\\n' ' '");
    assert_eq!(
        output,
        "/dev/shm:\n\n/run:\n\n/tmp:\nx\nfd full null random shm stderr stdin stdout urandom zero "
    );
    assert_eq!(
        fixture.sandbox().path(Path::new("/layers/x")),
        Path::new("/layers/x")
    );
}

fn the_machine_is_read_only(fixture: &Fixture) {
    let home = if fixture.uid == 0 {
        "/root"
    } else {
        "/var/tmp"
    };
    let (_, output) = fixture.sh(&format!(
        "for f in / /etc /usr /usr/bin /cnb /dev /proc/sys/kernel /sys {home} $(awk '$2 !~ /^.(proc|dev|tmp|layers)/ {{print $2}}' /proc/self/mounts); do \
         if touch $f/sealpack-was-here 2>/dev/null || (test -w $f && test -f $f && : >> $f) 2>/dev/null; then echo written: $f; fi; done; \
         mount -o remount,rw / 2>/dev/null && echo remounted; \
         unshare -Urm sh -c 'mount -o remount,bind,rw /usr' 2>/dev/null && echo remounted in another; \
         ls {home} >/dev/null && echo readable"
    ));
    assert_eq!(output, "readable\n");
}

#[expect(
    clippy::disallowed_methods,
    reason = "which toolchain there is, only the environment knows"
)]
fn the_toolchain_of_the_user_works(fixture: &Fixture) {
    let works = std::process::Command::new("rustc")
        .arg("--version")
        .output();
    if !works.is_ok_and(|output| output.status.success()) {
        eprintln!(
            "SKIPPED: there is no `rustc` here that user {} may run",
            fixture.uid
        );
        return;
    }
    let mut command = script(
        "cd /layers && echo 'fn main() { println!(\"made inside\") }' > made.rs && rustc made.rs && ./made",
    );
    for name in [
        "HOME",
        "PATH",
        "CARGO_HOME",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
    ] {
        command
            .env
            .extend(std::env::var_os(name).map(|value| (name.into(), value)));
    }
    let output = Capped::default();
    let exit = fixture.sandbox().run(&command, &output).unwrap();
    let output = String::from_utf8(output.into_bytes()).unwrap();
    assert_eq!((exit, output.as_str()), (Exit::Code(0), "made inside\n"));
}

fn what_is_hidden_is_not_seen(fixture: &Fixture) {
    // Not below `/tmp`, of which a build has its own.
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    std::fs::write(folder.path().join("key"), "secret").unwrap();
    std::fs::create_dir(folder.path().join("keys")).unwrap();
    std::fs::write(folder.path().join("keys/key"), "secret").unwrap();
    std::os::unix::fs::symlink("key", folder.path().join("link")).unwrap();
    let read = format!("cd {} && cat key keys/key link", folder.path().display());
    let seen = |hidden: &[&str]| {
        let mut config = fixture.config();
        config.hidden = hidden.iter().map(|it| folder.path().join(it)).collect();
        run(&Sandbox::new(config).unwrap(), &read).1
    };
    assert_eq!(seen(&[]).matches("secret").count(), 3);
    let output = seen(&["link", "keys", "absent"]);
    assert!(!output.contains("secret"), "{output}");
    assert!(
        output.contains("No such file") && output.contains("denied"),
        "{output}"
    );
}

fn it_has_processes_of_its_own(fixture: &Fixture) {
    let (_, output) =
        fixture.sh("echo $$; ls /proc | grep -c '^[0-9]'; kill -9 1 2>&1; echo alive");
    let lines: Vec<&str> = output.lines().collect();
    let pid: u32 = lines[0].parse().unwrap();
    let count: u32 = lines[1].parse().unwrap();
    assert!(pid < 10 && count < 10, "{output}");
    assert_eq!(lines[lines.len() - 1], "alive");
}

fn there_is_no_network(fixture: &Fixture) {
    let (_, output) = fixture.sh("cat /proc/net/dev | tail -n +3 | cut -d: -f1; cat /sys/class/net/lo/flags 2>/dev/null; ip -o link 2>/dev/null | grep -c 'lo:.*[<,]UP'");
    assert_eq!(output.lines().next().map(str::trim), Some("lo"), "{output}");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connect = format!("bash -c ': < /dev/tcp/127.0.0.1/{port}' 2>&1");
    let (exit, output) = fixture.sh(&connect);
    // Refused, not unreachable: the loopback is up, and nobody listens.
    assert_eq!(exit, Exit::Code(1));
    assert!(output.contains("Connection refused"), "{output}");
}

fn there_is_the_network_of_the_host(fixture: &Fixture) {
    let mut config = fixture.config();
    config.network = Network::Host;
    let sandbox = Sandbox::new(config).unwrap();
    assert!(sandbox.report().is_complete(Network::Host));
    assert!(!sandbox.report().is_complete(Network::None));
    assert_eq!(sandbox.report().network, "host");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (exit, output) = run(
        &sandbox,
        &format!("bash -c ': < /dev/tcp/127.0.0.1/{port}'"),
    );
    assert_eq!((exit, output.as_str()), (Exit::Code(0), ""));
}

fn sockets_of_services_are_hidden(fixture: &Fixture) {
    let (_, output) = fixture.sh("find /run /var/run -type s 2>/dev/null");
    assert_eq!(output, "");
}

fn ends_are_told(fixture: &Fixture) {
    assert_eq!(fixture.sh("exit 7").0, Exit::Code(7));
    assert_eq!(fixture.sh("exit 137").0, Exit::Code(137));
    assert_eq!(fixture.sh("kill -9 $$").0, Exit::Signal(9));
    let sandbox = fixture.sandbox();
    let mut command = script("");
    command.program = "/nowhere/build".into();
    let error = sandbox.run(&command, &Capped::default()).unwrap_err();
    assert!(matches!(error, RunError::Start { .. }), "{error}");
    command.dir = "/nowhere".into();
    let error = sandbox.run(&command, &Capped::default()).unwrap_err();
    assert!(matches!(error, RunError::Chdir { .. }), "{error}");
}

fn orphans_are_reaped_and_die(fixture: &Fixture) {
    // It returns although an orphan still holds the output open.
    let (exit, output) = fixture.sh("(true & true & sleep 0.2 &) ; (trap '' TERM; sleep 1000 &); sleep 0.1; ls /proc | grep -c '^[0-9]'");
    assert_eq!(exit, Exit::Code(0));
    assert!(output.trim().parse::<u32>().unwrap() < 9, "{output}");
}

fn cancelling_ends_all(fixture: &Fixture) {
    struct CancelAtOnce(Cancel);
    impl Output for CancelAtOnce {
        fn write(&self, _bytes: &[u8]) {
            self.0.cancel();
        }
    }

    let weaker = ["pid", "user mnt"].map(|kinds| forbidding(fixture, kinds));
    for config in weaker.into_iter().flatten().chain([fixture.config()]) {
        let cancel = config.cancel.clone();
        let sandbox = Sandbox::new(config).unwrap();
        let command = script(
            "setsid sleep 12345 & sleep 0.2; echo started; trap '' TERM INT HUP; sleep 12345",
        );
        let exit = sandbox.run(&command, &CancelAtOnce(cancel));
        assert!(matches!(exit, Err(RunError::Cancelled)));
        assert!(dies("12345"), "{}", sandbox.report());
    }
}

fn without_its_parent_it_dies(_fixture: &Fixture) {
    let folder = TempDir::new().unwrap();
    let mut parent = std::process::Command::new(std::env::current_exe().unwrap())
        .arg("hold")
        .env("TMPDIR", folder.path())
        .spawn()
        .unwrap();
    while !is_running(HELD) {
        thread::sleep(Duration::from_millis(10));
    }
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert!(dies(HELD));
}

fn refusal_is_told(fixture: &Fixture) {
    let mut config = fixture.config();
    // A program that cannot enter stands for a machine that lets nobody.
    config.enter = vec!["/bin/true".into()];
    let sandbox = Sandbox::new(config.clone()).unwrap();
    assert!(sandbox.report().namespaces.is_empty());
    assert!(
        sandbox
            .report()
            .to_string()
            .starts_with("buildpacks run without isolation: ")
    );
    assert_eq!(
        sandbox.path(Path::new("/layers/x")),
        fixture.layers.path().canonicalize().unwrap().join("x")
    );
    config.isolation = Isolation::Required;
    assert!(matches!(
        Sandbox::new(config.clone()),
        Err(SandboxError::Refused { .. })
    ));
    config.isolation = Isolation::Auto;
    config.needs_mounts = true;
    let error = Sandbox::new(config).unwrap_err();
    assert!(matches!(error, SandboxError::NoMounts), "{error}");
}

/// Layers that cannot be stacked are no reason to give up: a copy of them can have all isolation.
fn a_copy_may_be_all_that_is_missing(fixture: &Fixture) {
    let mut config = fixture.config();
    config.enter = vec!["/bin/true".into()];
    config.isolation = Isolation::Required;
    let folder = fixture.cnb.path().to_owned();
    let root = |files| {
        let user = User { uid: 1, gid: 1 };
        Root::Image(ImageRoot {
            files,
            map: UserMap::One(user),
            user,
            as_root: false,
            sides: false,
        })
    };
    let layer = LayerFolder {
        folder: folder.clone(),
        implied: Vec::new(),
    };
    config.root = root(RootFiles::Layers(vec![layer]));
    let error = Sandbox::new(config.clone()).unwrap_err();
    assert!(matches!(error, SandboxError::NoRoot { .. }), "{error}");
    config.root = root(RootFiles::Copy(folder));
    let error = Sandbox::new(config).unwrap_err();
    assert!(matches!(error, SandboxError::Refused { .. }), "{error}");
}

/// In a user namespace of one's own one may forbid namespaces.
fn forbidding(fixture: &Fixture, kinds: &str) -> Option<Config> {
    if !Path::new("/usr/bin/unshare").exists() {
        eprintln!("SKIPPED: there is no `unshare` here to forbid namespaces with");
        return None;
    }
    let mut config = fixture.config();
    let forbid = format!(
        "for k in {kinds}; do echo 0 > /proc/sys/user/max_${{k}}_namespaces || exit; done; exec \"$@\""
    );
    let wrapper = [
        "unshare",
        "--user",
        "--map-current-user",
        "--keep-caps",
        "/bin/sh",
        "-c",
        &forbid,
        "sh",
    ];
    config.enter.splice(0..0, wrapper.map(Into::into));
    Some(config)
}

fn without_a_kind_of_namespace_the_others_are_used(fixture: &Fixture) {
    let (Some(mut config), Some(without_pid)) =
        (forbidding(fixture, "net"), forbidding(fixture, "pid"))
    else {
        return;
    };
    let sandbox = Sandbox::new(config.clone()).unwrap();
    assert_eq!(
        sandbox.report().to_string(),
        "user, mount, pid, ipc and uts are isolated, network not: cannot make namespaces: \
         No space left on device (os error 28)"
    );
    assert_eq!(sandbox.report().network, "host");
    assert_eq!(run(&sandbox, "cat /cnb/order.toml").1, "order");
    config.isolation = Isolation::Required;
    assert!(matches!(
        Sandbox::new(config),
        Err(SandboxError::Refused { .. })
    ));

    let sandbox = Sandbox::new(without_pid).unwrap();
    // The network goes last.
    assert_eq!(sandbox.report().namespaces, ["user", "mount", "network"]);
    assert!(!sandbox.report().own_processes);
    let (exit, output) = run(&sandbox, "cat /cnb/order.toml; touch /etc/x; exit 9");
    assert_eq!(exit, Exit::Code(9));
    assert!(
        output.starts_with("order") && output.contains("Read-only"),
        "{output}"
    );
    let (exit, _) = run(&sandbox, "setsid sleep 54323 & sleep 0.2");
    assert_eq!(exit, Exit::Code(0));
    assert!(!is_running("54323"));
}

fn without_any_namespace_there_are_the_folders(fixture: &Fixture) {
    let Some(config) = forbidding(fixture, "user mnt") else {
        return;
    };
    let sandbox = Sandbox::new(config).unwrap();
    assert!(sandbox.report().namespaces.is_empty());
    let order = sandbox.path(Path::new("/cnb/order.toml"));
    let script = format!("cat {}; grep NoNewPrivs /proc/self/status", order.display());
    let (exit, output) = run(&sandbox, &script);
    assert_eq!(
        (exit, output.as_str()),
        (Exit::Code(0), "orderNoNewPrivs:\t1\n")
    );
    assert_eq!(run(&sandbox, "kill -15 $$").0, Exit::Signal(15));
    // What it leaves running would see and change what later phases do.
    let (exit, _) = run(
        &sandbox,
        "setsid sh -c 'setsid sleep 54322 & sleep 54322' >/dev/null 2>&1 & setsid sleep 54322 & sleep 0.2",
    );
    assert_eq!(exit, Exit::Code(0));
    assert!(!is_running("54322"));
    // Nobody else's mask is that of a build.
    let mask = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let (_, output) = run(&sandbox, "umask");
    rustix::process::umask(mask);
    assert_eq!(output, "0022\n");
    let mut command = self::script("");
    command.program = "/nowhere/build".into();
    let error = sandbox.run(&command, &Capped::default()).unwrap_err();
    assert!(matches!(error, RunError::Start { .. }), "{error}");
}

fn dies(argument: &str) -> bool {
    (0..500).any(|_| {
        thread::sleep(Duration::from_millis(10));
        !is_running(argument)
    })
}

fn is_running(argument: &str) -> bool {
    processes().any(|process| {
        let line = std::fs::read(process.join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0)
            .any(|it| it == argument.as_bytes())
    })
}

fn processes() -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
        })
}
