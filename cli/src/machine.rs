//! What keeps this machine from isolating builds, and which setting allows it.

use std::path::Path;

use platform::sandbox::IsolationReport;

/// What a build lacks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Lacks {
    /// Namespaces of its own.
    namespaces: bool,
    /// Its own `/proc`.
    processes: bool,
}

impl Lacks {
    /// Nothing could be isolated.
    pub(crate) const ALL: Self = Self {
        namespaces: true,
        processes: true,
    };

    pub(crate) fn of(report: &IsolationReport) -> Self {
        Self {
            namespaces: !report.refused.is_empty(),
            processes: !report.own_processes,
        }
    }

    /// The flags by which a container allows it: what forbids it are filters of system calls, and mounts
    /// over parts of `/proc`.
    fn in_container(
        self,
        engine: Engine,
        is_filtered: bool,
        is_masked: bool,
    ) -> Option<&'static str> {
        let filtered = self.namespaces && is_filtered;
        let masked = self.processes && is_masked;
        match (engine, filtered, masked) {
            (Engine::Podman, true, true) => Some(
                "Podman: run the container with `--security-opt seccomp=unconfined --security-opt unmask=ALL`",
            ),
            (Engine::Docker, true, true) => Some(
                "Docker: run the container with `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`",
            ),
            (Engine::Podman, false, true) => {
                Some("Podman: run the container with `--security-opt unmask=ALL`")
            }
            (Engine::Docker, false, true) => {
                Some("Docker: run the container with `--security-opt systempaths=unconfined`")
            }
            (Engine::Podman, true, false) => {
                Some("Podman: run the container with `--security-opt seccomp=unconfined`")
            }
            (Engine::Docker, true, false) => {
                Some("Docker: run the container with `--security-opt seccomp=unconfined`")
            }
            (_, false, false) => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Engine {
    Docker,
    Podman,
}

/// The one setting to change, as far as it can be told. What is isolated already needs none.
pub(crate) fn remedy(lacks: Lacks) -> Option<&'static str> {
    let text = |path: &str| fs_err::read_to_string(path).ok();
    let number = |path: &str| text(path)?.trim().parse::<u64>().ok();
    let engine = match (
        Path::new("/run/.containerenv").exists(),
        Path::new("/.dockerenv").exists(),
    ) {
        (true, _) => Some(Engine::Podman),
        (false, true) => Some(Engine::Docker),
        (false, false) => None,
    };
    // What cannot be seen is taken for what is usual.
    let status = text("/proc/self/status");
    let is_filtered = status.is_none_or(|it| is_filtered(&it));
    let is_masked = text("/proc/self/mountinfo").is_none_or(|it| is_masked(&it));
    let flags = engine.and_then(|it| lacks.in_container(it, is_filtered, is_masked));
    if flags.is_some() || !lacks.namespaces {
        return flags;
    }
    if number("/proc/sys/user/max_user_namespaces") == Some(0) {
        return Some("allow user namespaces: `sysctl user.max_user_namespaces=15000`");
    }
    if number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return Some(
            "AppArmor forbids user namespaces (Ubuntu): `sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
        );
    }
    if number("/proc/sys/kernel/unprivileged_userns_clone") == Some(0) {
        return Some("allow user namespaces: `sysctl kernel.unprivileged_userns_clone=1`");
    }
    None
}

/// Whether system calls are filtered, by what `/proc/self/status` says.
fn is_filtered(status: &str) -> bool {
    let mode = status.lines().find_map(|it| it.strip_prefix("Seccomp:"));
    mode.is_none_or(|it| it.trim() != "0")
}

/// Whether parts of `/proc` are covered, by what `/proc/self/mountinfo` says.
fn is_masked(mountinfo: &str) -> bool {
    let mut points = mountinfo.lines().filter_map(|it| it.split(' ').nth(4));
    points.any(|it| it.starts_with("/proc/") && !it.starts_with("/proc/sys/fs/binfmt_misc"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_asked_for_than_is_needed() {
        let flags = |lacks: Lacks, filtered, masked| {
            let flags = lacks.in_container(Engine::Podman, filtered, masked);
            let flags = flags.unwrap_or_default();
            [
                flags.contains("seccomp=unconfined"),
                flags.contains("unmask=ALL"),
            ]
        };
        assert_eq!(flags(Lacks::ALL, true, true), [true, true]);
        assert_eq!(flags(Lacks::ALL, false, true), [false, true]);
        assert_eq!(flags(Lacks::ALL, true, false), [true, false]);
        let processes = Lacks {
            namespaces: false,
            processes: true,
        };
        assert_eq!(flags(processes, true, true), [false, true]);
        assert_eq!(processes.in_container(Engine::Docker, true, false), None);
    }

    #[test]
    fn what_a_container_forbids_can_be_seen() {
        assert!(is_filtered("Name:\tsh\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!is_filtered("Name:\tsh\nSeccomp:\t0\n"));
        let own = "36 35 0:30 / /proc rw,nosuid - proc proc rw\n";
        let covered = "37 36 0:31 /null /proc/kcore rw - tmpfs tmpfs rw\n";
        assert!(!is_masked(own));
        assert!(is_masked(&format!("{own}{covered}")));
    }
}
