//! Ends what a program leaves running, where no process namespace does: nobody is to change folders
//! that later phases walk through, perhaps as root.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal as Stop};
use rustix::fs::{CWD, Dir, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions};

use super::failed::Failed;

/// What outlives its parent below this process.
pub(super) struct Orphans {
    own: Pid,
    /// `/proc`, as it was before the root changed.
    processes: OwnedFd,
}

impl Orphans {
    /// Has all of them become children of this process, from now on.
    pub(super) fn adopt() -> Result<Self, Failed> {
        let own = rustix::process::getpid();
        rustix::process::set_child_subreaper(Some(own))
            .map_err(Failed::new("get what the program leaves running"))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let processes = openat(CWD, "/proc", flags, Mode::empty());
        let processes = processes.map_err(Failed::new("look at running programs"))?;
        Ok(Self { own, processes })
    }

    /// Stays when the program is ended, by whoever ends its group or types Ctrl-C. To be called once
    /// the program runs.
    pub(super) fn stay() -> Result<(), Failed> {
        const STEP: &str = "leave the group of the program";
        let stops: SigSet = [Stop::SIGINT, Stop::SIGTERM, Stop::SIGHUP, Stop::SIGQUIT]
            .into_iter()
            .collect();
        stops.thread_block().map_err(Failed::new(STEP))?;
        // A group from outside of this process namespace has no number here, 0, and cannot be joined. Then
        // this process stays in the program's group, and a program that kills its group ends both.
        let parent = nix::unistd::getppid();
        let group = nix::unistd::getpgid(Some(parent)).map_err(Failed::new(STEP))?;
        match Pid::from_raw(group.as_raw()) {
            Some(group) => rustix::process::setpgid(None, Some(group)).map_err(Failed::new(STEP)),
            None => Ok(()),
        }
    }

    /// Kills them all, until there are no more.
    pub(super) fn end(self) -> Result<(), Failed> {
        self.kill_all()
            .map_err(Failed::new("end what the program left running"))
    }

    fn kill_all(&self) -> io::Result<()> {
        const TRIES: usize = 1000;
        const PAUSE: Duration = Duration::from_millis(5);
        for _ in 0..TRIES {
            // Some at a time: those that start others are to be killed meanwhile.
            for _ in 0..TRIES {
                match rustix::process::wait(WaitOptions::NOHANG) {
                    // The children of one that ended are ours now.
                    Ok(Some(_)) | Err(Errno::INTR) => {}
                    Err(Errno::CHILD) => return Ok(()),
                    Err(error) => return Err(error.into()),
                    Ok(None) => break,
                }
            }
            for child in self.children()? {
                // It may have ended by itself.
                rustix::process::kill_process(child, Signal::KILL).unwrap_or_default();
            }
            std::thread::sleep(PAUSE);
        }
        Err(Errno::TIMEDOUT.into())
    }

    fn children(&self) -> io::Result<Vec<Pid>> {
        let mut found = Vec::new();
        for entry in Dir::read_from(&self.processes)? {
            let entry = entry?;
            let pid = entry.file_name().to_str().ok();
            let pid = pid.and_then(|it| it.parse().ok()).and_then(Pid::from_raw);
            found.extend(pid.filter(|it| self.is_child(*it)));
        }
        Ok(found)
    }

    fn is_child(&self, pid: Pid) -> bool {
        let name = format!("{}/stat", pid.as_raw_nonzero());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let Ok(file) = openat(&self.processes, name, flags, Mode::empty()) else {
            return false;
        };
        let stat = io::read_to_string(std::fs::File::from(file)).unwrap_or_default();
        // A name may hold all that would separate fields.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields);
        let parent = fields.and_then(|it| it.split_whitespace().nth(1)?.parse().ok());
        parent == Some(self.own.as_raw_nonzero().get())
    }
}
