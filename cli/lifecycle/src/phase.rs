//! The phases, and the names that call them.

use std::ffi::OsStr;
use std::path::Path;

/// A phase that this program can run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    Analyze,
    Detect,
    Restore,
    Extend,
    Build,
    Export,
    Create,
    Rebase,
}

impl Phase {
    const ALL: [(Self, &'static str, &'static str); 8] = [
        (Self::Detect, "detect", "detector"),
        (Self::Analyze, "analyze", "analyzer"),
        (Self::Restore, "restore", "restorer"),
        (Self::Build, "build", "builder"),
        (Self::Export, "export", "exporter"),
        (Self::Rebase, "rebase", "rebaser"),
        (Self::Create, "create", "creator"),
        (Self::Extend, "extend", "extender"),
    ];

    /// The phase that a link of the name of this program's stands for; an extension does not count.
    pub(crate) fn of_program(argv0: &OsStr) -> Option<Self> {
        let name = Path::new(argv0).file_stem()?;
        Self::ALL
            .iter()
            .find(|(_, _, it)| OsStr::new(it) == name)
            .map(|(phase, _, _)| *phase)
    }

    /// The phase of this subcommand.
    pub(crate) fn of_subcommand(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, it, _)| *it == name)
            .map(|(phase, _, _)| *phase)
    }

    /// What a phase is called in messages.
    pub(crate) fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(phase, _, _)| *phase == self);
        found.map_or("", |(_, name, _)| name)
    }

    /// The name of the program that runs it.
    pub(crate) fn program(self) -> &'static str {
        let found = Self::ALL.iter().find(|(phase, _, _)| *phase == self);
        found.map_or("", |(_, _, program)| program)
    }

    /// The exit code of a failure that has no code of its own.
    pub(crate) fn failure(self) -> u8 {
        match self {
            Self::Detect => 22,
            Self::Analyze => 32,
            Self::Restore => 42,
            Self::Build => 52,
            Self::Export | Self::Create => 62,
            Self::Rebase => 72,
            Self::Extend => 102,
        }
    }
}
