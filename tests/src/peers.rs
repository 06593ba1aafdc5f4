//! Programs that are not ours: found, or skipped loudly.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The path of a program that is not ours: from `SEALPACK_<NAME>`, else from `PATH`. Says loudly
/// when there is none: what needs it is then skipped.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests are told by the environment where the peers are"
)]
pub fn peer(name: &str) -> Option<PathBuf> {
    let variable = format!("SEALPACK_{}", name.to_uppercase().replace('-', "_"));
    let named = std::env::var_os(&variable).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = named
        .into_iter()
        .chain(std::env::split_paths(&path).map(|folder| folder.join(name)))
        .find(|it| it.is_file());
    if found.is_none() {
        loudly(format_args!(
            "SKIPPED, in part or whole: `{name}` is not on this machine (set {variable} or PATH)"
        ));
    }
    found
}

/// Says loudly that a test is skipped, and why.
pub fn skipped(why: &str) {
    loudly(format_args!("SKIPPED: {why}"));
}

/// Says it even in a test that passes, whose `eprintln!` nobody would see.
fn loudly(text: std::fmt::Arguments<'_>) {
    writeln!(std::io::stderr(), "{text}").unwrap_or_default();
}

/// A server on loopback that ends when this value does.
#[derive(Debug)]
pub struct Server {
    child: Child,
    host: String,
}

impl Server {
    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How long it has kept a processor busy, if the kernel says so: proc(5), `stat`, the fields
    /// `utime` and `stime`, in hundredths of a second.
    pub fn busy(&self) -> Option<Duration> {
        let path = format!("/proc/{}/stat", self.child.id());
        let text = fs_err::read_to_string(path).ok()?;
        // The name before may hold spaces.
        let (_, fields) = text.rsplit_once(')')?;
        let times = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = times.filter_map(|it| it.parse::<u64>().ok()).sum();
        Some(Duration::from_millis(ticks * 10))
    }

    /// Starts `command`, and waits until it answers `GET path` on `port`.
    ///
    /// # Panics
    /// If it does not start, or does not answer within 20 seconds.
    #[expect(
        clippy::disallowed_methods,
        reason = "a server that does not come up must fail the test"
    )]
    pub fn start(command: &mut Command, port: u16, path: &str) -> Self {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server starts");
        let server = Self {
            child,
            host: format!("127.0.0.1:{port}"),
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !answers(&server.host, path) {
            assert!(Instant::now() < deadline, "{command:?} does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

fn answers(host: &str, path: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(host) else {
        return false;
    };
    let mut request = String::new();
    write!(request, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n").unwrap_or_default();
    let mut answer = [0; 5];
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer == *b"HTTP/"
}

/// A port of loopback that nobody listens on.
///
/// # Panics
/// If there is none.
pub fn free_port() -> u16 {
    // One that is free again may be handed out twice, before either is used.
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
        let port = address.expect("loopback has a free port").port();
        let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
        if given.insert(port) {
            return port;
        }
    }
}

/// Debian's `docker-registry`: a registry **without** the referrers API, with storage below `folder`.
///
/// # Panics
/// If it is there but does not start.
pub fn docker_registry(folder: &Path) -> Option<Server> {
    distribution_at("docker-registry", folder)
}

/// The CNCF's `registry`, version 3 of the same, with storage below `folder`.
///
/// # Panics
/// If it is there but does not start.
pub fn plain_distribution(folder: &Path) -> Option<Server> {
    distribution_at("registry", folder)
}

fn distribution_at(name: &str, folder: &Path) -> Option<Server> {
    let program = peer(name)?;
    let port = free_port();
    let config = folder.join(format!("{name}-{port}.yml"));
    let storage = folder.join(format!("{name}-{port}"));
    let text = format!(
        "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: '127.0.0.1:{port}', secret: test}}\n",
        storage.display()
    );
    fs_err::write(&config, text).expect("the folder is writable");
    let mut command = Command::new(program);
    command.arg("serve").arg(config);
    Some(Server::start(&mut command, port, "/v2/"))
}

/// olareg: a registry **with** the referrers API, with storage below `folder`.
///
/// # Panics
/// If it is there but does not start.
pub fn olareg(folder: &Path) -> Option<Server> {
    olareg_with(folder, &[])
}

/// The same, with these flags.
///
/// # Panics
/// If it is there but does not start.
pub fn olareg_with(folder: &Path, flags: &[&str]) -> Option<Server> {
    let program = peer("olareg")?;
    let port = free_port();
    let storage = folder.join(format!("olareg-{port}"));
    fs_err::create_dir_all(&storage).expect("the folder is writable");
    let mut command = Command::new(program);
    command
        .args([
            "serve",
            "--addr",
            "127.0.0.1",
            "--api-delete",
            "--gc-frequency",
            "-1s",
            "--port",
        ])
        .arg(port.to_string())
        .arg("--dir")
        .arg(storage)
        .args(flags);
    Some(Server::start(&mut command, port, "/v2/"))
}
