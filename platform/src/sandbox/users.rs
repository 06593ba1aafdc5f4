//! Whose the files of an image are on this machine: users and groups inside a user namespace, and
//! which numbers they have outside.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lifecycle_core::exec::Cancel;
use oci::{IdMap, IdRange};
use serde::{Deserialize, Serialize};

use super::start::work;
use super::task::Task;

/// A user and its group.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct User {
    /// The number of the user.
    pub uid: u32,
    /// The number of the group.
    pub gid: u32,
}

/// Where the numbers begin that root's builds have outside: far from those of people, services, and
/// what container engines and systemd give away.
const SHIFTED: u32 = 0x7000_0000;
/// How many there are of them.
const SHIFTED_COUNT: u32 = 1 << 24;
/// The most bytes of `/etc/subuid` and the like that are read.
const MAX_TABLE: u64 = 1 << 20;
/// Where the programs lie that map ranges for ordinary users. They are set-user-ID, so it is not
/// `PATH` that decides.
const HELPERS: [&str; 4] = ["/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"];

/// Which users and groups there are inside, and who they are outside.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum UserMap {
    /// All of an image: root gives them numbers of its own, which are nobody's.
    Shifted,
    /// All of an image: those of the range that `/etc/subuid` and `/etc/subgid` give to whoever runs
    /// us; the one user who builds is whoever runs us.
    Subordinate {
        /// Users.
        users: IdMap,
        /// Groups.
        groups: IdMap,
        /// The folder with `newuidmap` and `newgidmap`.
        helpers: PathBuf,
        /// Who builds.
        builder: User,
    },
    /// One user and one group: whoever runs us. All files of an image are theirs.
    One(User),
    /// All of an image, as they are: root, where there are no user namespaces.
    Real,
}

impl UserMap {
    /// The best that works for whoever runs us, where `builder` builds, and why it is not better; each is
    /// tried, by `enter`. The error says what this machine refuses.
    pub fn choose(
        builder: User,
        enter: &[OsString],
        cancel: &Cancel,
    ) -> Result<(Self, Option<String>), String> {
        let works = |map: &Self| match work(enter, map, Task::Nothing, cancel, |_| Ok(())) {
            Ok(done) => done.map(drop),
            Err(error) => Err(error.to_string()),
        };
        if rustix::process::geteuid().is_root() {
            return Ok(match works(&Self::Shifted) {
                Ok(()) => (Self::Shifted, None),
                Err(problem) => (Self::Real, Some(problem)),
            });
        }
        let problem = match subordinate(builder) {
            Ok(map) => match works(&map) {
                Ok(()) => return Ok((map, None)),
                Err(problem) => problem,
            },
            Err(problem) => problem,
        };
        let one = Self::One(builder);
        works(&one)?;
        Ok((one, Some(problem)))
    }

    /// The map of whoever runs us that is [called](Self::name) so, if there still is one.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let is_root = rustix::process::geteuid().is_root();
        let user = |rest: &str| {
            let mut numbers = rest.split('-').map(|it| it.parse().ok());
            let (uid, gid) = (numbers.next()??, numbers.next()??);
            Some(User { uid, gid })
        };
        let map = match name.split_once('-') {
            None if name == "shifted" && is_root => Self::Shifted,
            None if name == "real" && is_root => Self::Real,
            Some(("one", rest)) => Self::One(user(rest)?),
            Some(("subordinate", rest)) => subordinate(user(rest)?).ok()?,
            _ => return None,
        };
        (map.name() == name).then_some(map)
    }

    /// Tells files that were unpacked for one from those for another.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Shifted => "shifted".to_owned(),
            Self::Subordinate {
                builder,
                users,
                groups,
                ..
            } => {
                // Ranges may change, and what was unpacked for others has other owners.
                let ranges = format!("{}\n{}", lines(users), lines(groups));
                let ranges = oci::Digest::of(ranges.as_bytes());
                let ranges: String = ranges.hex().chars().take(16).collect();
                format!("subordinate-{}-{}-{ranges}", builder.uid, builder.gid)
            }
            Self::One(user) => format!("one-{}-{}", user.uid, user.gid),
            Self::Real => "real".to_owned(),
        }
    }

    /// Whether files have the owners that the image says.
    pub fn has_owners(&self) -> bool {
        !matches!(self, Self::One(_))
    }

    /// Who `user` is outside.
    pub(crate) fn outside(&self, user: User) -> Option<User> {
        match self {
            Self::One(_) => Some(User {
                uid: rustix::process::geteuid().as_raw(),
                gid: rustix::process::getegid().as_raw(),
            }),
            Self::Real => Some(user),
            Self::Shifted => {
                let map = shifted();
                Some(User {
                    uid: map.outside(user.uid)?,
                    gid: map.outside(user.gid)?,
                })
            }
            Self::Subordinate { users, groups, .. } => Some(User {
                uid: users.outside(user.uid)?,
                gid: groups.outside(user.gid)?,
            }),
        }
    }

    /// Maps the users and groups of the user namespace of the process `pid`.
    pub(super) fn apply(&self, pid: u32) -> io::Result<()> {
        match self {
            Self::One(_) | Self::Real => Ok(()),
            Self::Shifted => {
                let text = lines(&shifted());
                for file in ["uid_map", "gid_map"] {
                    let path = format!("/proc/{pid}/{file}");
                    let mut file = fs_err::OpenOptions::new().write(true).open(path)?;
                    // In one piece, as the kernel wants it.
                    file.write_all(text.as_bytes())?;
                }
                Ok(())
            }
            Self::Subordinate {
                users,
                groups,
                helpers,
                ..
            } => {
                help(&helpers.join("newuidmap"), pid, users)?;
                help(&helpers.join("newgidmap"), pid, groups)
            }
        }
    }
}

impl fmt::Display for UserMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shifted | Self::Subordinate { .. } | Self::Real => {
                "files have the owners that the image says"
            }
            Self::One(_) => "all files are the builder's",
        })
    }
}

fn shifted() -> IdMap {
    IdMap(vec![IdRange {
        inside: 0,
        outside: SHIFTED,
        count: SHIFTED_COUNT,
    }])
}

/// As `/proc/PID/uid_map` has it.
fn lines(map: &IdMap) -> String {
    let line = |it: &IdRange| format!("{} {} {}\n", it.inside, it.outside, it.count);
    map.0.iter().map(line).collect()
}

fn help(program: &Path, pid: u32, map: &IdMap) -> io::Result<()> {
    let numbers = |it: &IdRange| [it.inside, it.outside, it.count].map(|it| it.to_string());
    let output = Command::new(program)
        .arg(pid.to_string())
        .args(map.0.iter().flat_map(numbers))
        .env_clear()
        .stdin(Stdio::null())
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!(
        "`{}` says: {}",
        program.display(),
        said.trim()
    )))
}

/// The map of whoever runs us, by `/etc/subuid` and `/etc/subgid`.
///
/// <https://man7.org/linux/man-pages/man5/subuid.5.html>
fn subordinate(builder: User) -> Result<UserMap, String> {
    let uid = rustix::process::getuid().as_raw();
    let gid = rustix::process::getgid().as_raw();
    // Not by the C library: what it loads to look up a name breaks programs that are linked statically.
    let name = read(Path::new("/etc/passwd")).ok();
    let name = name.as_deref().and_then(|it| name_of(it, uid));
    let helpers = HELPERS
        .iter()
        .map(Path::new)
        .find(|it| it.join("newuidmap").is_file() && it.join("newgidmap").is_file())
        .ok_or("`newuidmap` or `newgidmap` is missing")?;
    let range = |table: &str| {
        let path = Path::new("/etc").join(table);
        let text = read(&path).map_err(|error| error.to_string())?;
        range_of(&text, uid, name)
            .ok_or_else(|| format!("`{}` has no range for this user", path.display()))
    };
    Ok(UserMap::Subordinate {
        users: around(builder.uid, uid, range("subuid")?),
        groups: around(builder.gid, gid, range("subgid")?),
        helpers: helpers.to_owned(),
        builder,
    })
}

fn read(path: &Path) -> io::Result<String> {
    let file = fs_err::File::open(path)?;
    let text = oci::read_at_most(file, MAX_TABLE)?.ok_or(io::ErrorKind::FileTooLarge)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The name that `/etc/passwd` has for a user.
fn name_of(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|it| !it.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// The largest range that a table has for a user: first number, count.
fn range_of(table: &str, uid: u32, name: Option<&str>) -> Option<(u32, u32)> {
    let ranges = table.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let owner = fields.next()?;
        if Some(owner) != name && owner.parse() != Ok(uid) {
            return None;
        }
        let first: u32 = fields.next()?.parse().ok()?;
        let count: u32 = fields.next()?.parse().ok()?;
        first.checked_add(count)?;
        Some((first, count)).filter(|_| count > 0)
    });
    ranges.max_by_key(|(_, count)| *count)
}

/// All numbers from 0 on, of the range `first`, `count`; but `builder` is `own`.
fn around(builder: u32, own: u32, (first, count): (u32, u32)) -> IdMap {
    let below = builder.min(count);
    let above = count - below;
    let ranges = [
        (0, first, below),
        (builder, own, 1),
        (
            builder.saturating_add(1),
            first.saturating_add(below),
            // One user more would have the number that means nobody at all.
            above.min(u32::MAX - 1 - builder.min(u32::MAX - 1)),
        ),
    ];
    let range = |(inside, outside, count)| IdRange {
        inside,
        outside,
        count,
    };
    IdMap(
        ranges
            .map(range)
            .into_iter()
            .filter(|it| it.count > 0)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_is_whoever_runs_us_and_all_others_are_of_the_range() {
        let map = around(1001, 7, (100_000, 65_536));
        let pairs = [
            (0, 100_000),
            (1000, 101_000),
            (1001, 7),
            (1002, 101_001),
            (65_536, 165_535),
        ];
        for (inside, outside) in pairs {
            assert_eq!(map.outside(inside), Some(outside), "{inside}");
        }
        assert_eq!(map.outside(65_537), None);
        let root = around(0, 7, (100, 10));
        assert_eq!(lines(&root), "0 7 1\n1 100 10\n");
        let far = around(70_000, 7, (100, 10));
        assert_eq!(lines(&far), "0 100 10\n70000 7 1\n");
    }

    #[test]
    fn other_ranges_have_another_name() {
        let map = |first| UserMap::Subordinate {
            users: around(1001, 7, (first, 9)),
            groups: around(1001, 7, (100_000, 9)),
            helpers: PathBuf::new(),
            builder: User {
                uid: 1001,
                gid: 1001,
            },
        };
        assert_eq!(map(100_000).name(), map(100_000).name());
        assert_ne!(map(100_000).name(), map(200_000).name());
    }

    #[test]
    fn a_map_is_had_by_its_name() {
        let one = UserMap::One(User {
            uid: 1001,
            gid: 1000,
        });
        assert_eq!(UserMap::named(&one.name()), Some(one));
        for odd in [
            "one-1",
            "one-x-1",
            "one-1-1-1",
            "subordinate-1-1-0",
            "x",
            "",
        ] {
            assert_eq!(UserMap::named(odd), None, "{odd}");
        }
    }

    #[test]
    fn a_user_has_the_name_of_the_first_line_with_its_number() {
        let passwd = "root:x:0:0::/:/bin/sh\n:x:7::\nann:x:7:7::/:\neve:x:7\nodd\nbob:7:8";
        assert_eq!(name_of(passwd, 7), Some("ann"));
        assert_eq!(name_of(passwd, 0), Some("root"));
        assert_eq!(name_of(passwd, 8), Some("bob"));
        assert_eq!(name_of(passwd, 9), None);
    }

    #[test]
    fn the_largest_range_of_a_user_counts() {
        let table = "# no\nann:100000:65536\n7:5:9\nbob:1:2\nann:1:3\nann:4294967295:9\nann:x:1\n";
        assert_eq!(range_of(table, 1, Some("ann")), Some((100_000, 65_536)));
        assert_eq!(range_of(table, 7, Some("eve")), Some((5, 9)));
        assert_eq!(range_of(table, 8, None), None);
    }
}
