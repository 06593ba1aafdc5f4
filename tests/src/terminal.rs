//! A program at a terminal, and who sits there.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};
use nix::sys::termios::{LocalFlags, tcgetattr};

use crate::peer;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program that runs at a terminal of its own, and who sits there.
#[derive(Debug)]
pub struct Terminal {
    child: Child,
    keyboard: File,
    /// Held so that the terminal is there when the program is not.
    line: Option<OwnedFd>,
    screen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    before: LocalFlags,
}

impl Terminal {
    /// Starts `command` as the only program at a new terminal, by `setsid` of util-linux. It is to
    /// know no environment but what it was given, as that of a [`Workspace`](crate::Workspace).
    ///
    /// # Panics
    /// If there is no terminal to be had.
    pub fn start(command: &Command) -> Option<Self> {
        Self::start_wide(command, 80)
    }

    /// The same, at a terminal that has so many columns.
    ///
    /// # Panics
    /// If there is no terminal to be had.
    pub fn start_wide(command: &Command, columns: u16) -> Option<Self> {
        let size = Winsize {
            ws_row: 24,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pair = openpty(Some(&size), None).expect("there are terminals");
        let of_child = || pair.slave.try_clone().expect("it can be opened again");
        let mut leader = Command::new(peer("setsid")?);
        leader
            // Who started the tests may have no use for Ctrl-C; who sits at a terminal has.
            .args(["--ctty", "/usr/bin/env", "--default-signal=INT,QUIT,TSTP"])
            .arg(command.get_program())
            .args(command.get_args())
            .env_clear()
            .envs(
                command
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(of_child())
            .stdout(of_child())
            .stderr(of_child());
        if let Some(folder) = command.get_current_dir() {
            leader.current_dir(folder);
        }
        let before = tcgetattr(&pair.slave).expect("it is a terminal");
        let child = leader.spawn().expect("setsid starts");
        let keyboard = File::from(pair.master);
        let mut output = keyboard.try_clone().expect("it can be opened again");
        let screen = Arc::<Mutex<Vec<u8>>>::default();
        let shown = Arc::clone(&screen);
        let reader = std::thread::spawn(move || {
            let mut part = [0; 1024];
            // It fails when nobody has the terminal open any more.
            while let Ok(count @ 1..) = output.read(&mut part) {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.extend_from_slice(part.get(..count).unwrap_or_default());
            }
        });
        Some(Self {
            child,
            keyboard,
            line: Some(pair.slave),
            screen,
            reader: Some(reader),
            before: before.local_flags,
        })
    }

    /// All that was shown until now.
    pub fn screen(&self) -> String {
        let screen = self.screen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&screen).replace("\r\n", "\n")
    }

    /// Waits until the screen ends with `text`.
    ///
    /// # Panics
    /// If that does not happen.
    pub fn wait_for(&self, text: &str) {
        self.wait(text, || self.screen().ends_with(text));
    }

    /// Waits until `text` has been shown.
    ///
    /// # Panics
    /// If that does not happen.
    pub fn wait_to_show(&self, text: &str) {
        self.wait(text, || self.screen().contains(text));
    }

    /// Types `keys`.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn press(&mut self, keys: &str) {
        let written = self.keyboard.write_all(keys.as_bytes());
        written.expect("the terminal is there");
    }

    /// Whether what is typed is shown.
    pub fn is_echoing(&self) -> bool {
        self.modes().contains(LocalFlags::ECHO)
    }

    /// Whether the terminal behaves as it did at first.
    pub fn is_as_before(&self) -> bool {
        self.modes() == self.before
    }

    /// Waits until the program ends.
    ///
    /// # Panics
    /// If it does not.
    #[expect(
        clippy::disallowed_methods,
        reason = "what does not end must fail the test"
    )]
    pub fn status(&mut self) -> ExitStatus {
        let mut status = None;
        let deadline = Instant::now() + PATIENCE;
        while status.is_none() {
            status = self.child.try_wait().expect("it is our child");
            assert!(Instant::now() < deadline, "still runs: {}", self.screen());
            std::thread::sleep(Duration::from_millis(5));
        }
        status.expect("has been waited for")
    }

    /// The exit code, and all that was shown once this text is there.
    ///
    /// # Panics
    /// If the program does not end, or a signal ends it.
    pub fn end(&mut self, text: &str) -> (i32, String) {
        let code = self.status().code().expect("no signal ended it");
        self.wait_to_show(text);
        (code, self.screen())
    }

    /// The exit code, and all that was shown until the program ended.
    ///
    /// # Panics
    /// If the program does not end, or a signal ends it.
    pub fn finish(mut self) -> (i32, String) {
        let code = self.status().code().expect("no signal ended it");
        // When nobody has it open any more, all of it has been read.
        drop(self.line.take());
        if let Some(reader) = self.reader.take() {
            reader.join().expect("it does not panic");
        }
        (code, self.screen())
    }

    fn modes(&self) -> LocalFlags {
        let line = self.line.as_ref().expect("is held until the end");
        tcgetattr(line).expect("it is a terminal").local_flags
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "what is not shown must fail the test"
    )]
    fn wait(&self, text: &str, is_there: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_there() {
            let screen = self.screen();
            assert!(Instant::now() < deadline, "no `{text}` in `{screen}`");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
        drop(self.line.take());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap_or_default();
        }
    }
}
