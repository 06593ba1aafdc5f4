//! A real Docker daemon, run for a test.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Output, peer, skipped};

/// A real Docker daemon, with nothing of its own on the machine but what lies in one folder. It is
/// asked to end when this value is dropped, so that it takes its containerd along.
#[derive(Debug)]
pub struct Dockerd {
    child: Child,
    folder: PathBuf,
}

impl Dockerd {
    /// Starts Debian's `dockerd` in `folder`; needs root. More `arguments` go to the daemon; one that names a
    /// storage driver takes the place of `vfs`, which works on every file system.
    ///
    /// # Panics
    /// If it is there but does not start.
    #[expect(
        clippy::disallowed_methods,
        reason = "a daemon that does not come up must fail the test"
    )]
    pub fn start(folder: &Path, arguments: &[String]) -> Option<Self> {
        let program = peer("dockerd")?;
        if !nix::unistd::geteuid().is_root() {
            skipped("dockerd wants root");
            return None;
        }
        let log = fs_err::File::create(folder.join("log")).expect("the folder is writable");
        let log = Stdio::from(log.into_file());
        let path = |name: &str| folder.join(name).display().to_string();
        let mut drivers = arguments.iter();
        let names_driver = drivers.any(|it| it.starts_with("--storage-driver="));
        let driver = (!names_driver).then_some("--storage-driver=vfs");
        let child = Command::new(program)
            .args(driver)
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args(["--data-root", &path("data"), "--exec-root", &path("exec")])
            .args(["--pidfile", &path("pid")])
            .args(["--host", &format!("unix://{}", path("sock"))])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("dockerd starts");
        let dockerd = Self {
            child,
            folder: folder.to_owned(),
        };
        let deadline = Instant::now() + Duration::from_mins(1);
        // The socket is there before the daemon answers; that it answers is waited for by clients.
        while UnixStream::connect(folder.join("sock")).is_err() {
            let log = || fs_err::read_to_string(folder.join("log")).unwrap_or_default();
            assert!(
                Instant::now() < deadline,
                "dockerd does not answer: {}",
                log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(dockerd)
    }

    /// Its address, as `DOCKER_HOST` has it.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.join("sock").display())
    }

    /// Runs Docker's own program; none, if it is not there.
    pub fn docker(&self, arguments: &[&str]) -> Option<Output> {
        let mut command = Command::new(peer("docker")?);
        let folder = self.folder.join("config");
        command
            .arg("--config")
            .arg(folder)
            .arg("--host")
            .arg(self.host());
        Some(Output::of(command.args(arguments)))
    }
}

impl Drop for Dockerd {
    #[expect(
        clippy::disallowed_methods,
        reason = "a daemon that does not end is not waited for without end"
    )]
    fn drop(&mut self) {
        let id = i32::try_from(self.child.id()).map(nix::unistd::Pid::from_raw);
        if let Ok(id) = id {
            nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).unwrap_or_default();
        }
        let deadline = Instant::now() + Duration::from_secs(15);
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        // It may have ended by itself.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
        // It leaves this mounted if a container had the host's network; then the folder would stay.
        nix::mount::umount(&self.folder.join("exec/netns/default")).unwrap_or_default();
    }
}
