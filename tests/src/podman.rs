//! A Podman of its own for a test.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Output, peer, skipped};

/// What Podman needs on a machine without systemd and without bridges.
const SETTINGS: &str = r#"
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"#;

/// A Podman that keeps all that it has in one folder.
#[derive(Debug)]
pub struct Podman {
    program: PathBuf,
    folder: PathBuf,
    service: Option<Child>,
}

impl Podman {
    /// Debian's `podman`, with images and containers in `folder`; needs root.
    ///
    /// # Panics
    /// If the folder cannot be written to.
    pub fn new(folder: &Path) -> Option<Self> {
        let program = peer("podman")?;
        peer("runc")?;
        if !nix::unistd::geteuid().is_root() {
            skipped("podman with a store of its own wants root");
            return None;
        }
        fs_err::create_dir_all(folder).expect("the folder can be made");
        fs_err::write(folder.join("containers.conf"), SETTINGS).expect("the folder is writable");
        Some(Self {
            program,
            folder: folder.to_owned(),
            service: None,
        })
    }

    /// The same, with a service at a socket that speaks Docker's API. None, loudly, if it does not
    /// come up: not every machine lets it.
    ///
    /// # Panics
    /// If it cannot be started at all.
    #[expect(
        clippy::disallowed_methods,
        reason = "a service that does not come up is not waited for without end"
    )]
    pub fn serve(folder: &Path) -> Option<Self> {
        let mut podman = Self::new(folder)?;
        let log = fs_err::File::create(folder.join("log")).expect("the folder is writable");
        let service = podman
            .command(&["system", "service", "--time=0", &podman.host()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log.into_file()))
            .spawn()
            .expect("podman starts");
        podman.service = Some(service);
        let deadline = Instant::now() + Duration::from_mins(1);
        while UnixStream::connect(folder.join("sock")).is_err() {
            let has_ended = podman
                .service
                .as_mut()
                .is_some_and(|it| !matches!(it.try_wait(), Ok(None)));
            if has_ended || Instant::now() > deadline {
                let log = fs_err::read_to_string(folder.join("log")).unwrap_or_default();
                skipped(&format!("podman does not work here: {log}"));
                return None;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(podman)
    }

    /// Its address, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.join("sock").display())
    }

    /// Runs it in its folder, with these arguments.
    pub fn run(&self, arguments: &[&str]) -> Output {
        Output::of(&mut self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let path = |name: &str| self.folder.join(name);
        let mut command = Command::new(&self.program);
        command
            .current_dir(&self.folder)
            .env("CONTAINERS_CONF", path("containers.conf"))
            .env("TMPDIR", &self.folder)
            .args(["--storage-driver", "overlay", "--root"])
            .arg(path("root"))
            .arg("--runroot")
            .arg(path("run"))
            .arg("--tmpdir")
            .arg(path("tmp"))
            .args(arguments);
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        if let Some(service) = &mut self.service {
            // It may have ended by itself.
            service.kill().unwrap_or_default();
            service.wait().map(drop).unwrap_or_default();
        }
        // Mounts, and what is mounted there.
        self.run(&["system", "reset", "--force"]);
    }
}
