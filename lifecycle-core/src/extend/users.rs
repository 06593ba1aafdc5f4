//! Who a `USER`, or the owner of a `COPY`, is: by number, or by what the image's own files say.
//!
//! <https://docs.docker.com/reference/dockerfile/#user>

use std::io;
use std::path::Path;

use thiserror::Error;

use super::root::Root;

/// The most bytes of `/etc/passwd` or `/etc/group`.
const MAX_BYTES: u64 = 1 << 20;

/// The most further groups of a user, as Linux has it.
const MAX_GROUPS: usize = 65_536;

/// Numbers that a process runs with, and where its user is at home.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "nothing else tells who one is")]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Further groups.
    pub groups: Vec<u32>,
    /// Where the user is at home.
    pub home: String,
}

/// Looks up `user[:group]`; nothing is root.
pub(super) fn identity(root: &dyn Root, text: &str) -> Result<Identity, UserError> {
    let read = |path: &str| {
        let text = root.read(Path::new(path), MAX_BYTES);
        text.map_err(|source| UserError::Read {
            path: path.to_owned(),
            source,
        })
    };
    let passwd = read("/etc/passwd")?.unwrap_or_default();
    let group = read("/etc/group")?.unwrap_or_default();
    find(text, &passwd, &group)
}

fn find(text: &str, passwd: &str, group: &str) -> Result<Identity, UserError> {
    let (user, wanted) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|it| !it.is_empty())),
        None => (text, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number: Option<u32> = user.parse().ok();
    let entry = passwd.lines().find_map(|line| {
        let entry = Entry::read(line)?;
        let is_it = entry.name == user || Some(entry.uid) == number;
        is_it.then_some(entry)
    });
    let uid = entry.as_ref().map(|it| it.uid).or(number);
    let uid = uid.ok_or_else(|| UserError::NoUser {
        name: user.to_owned(),
    })?;
    let gid = match wanted {
        None => entry.as_ref().map_or(0, |it| it.gid),
        Some(wanted) => group_number(wanted, group)?,
    };
    // Who names a group wants that one only.
    let groups = match &entry {
        Some(entry) if wanted.is_none() => groups_of(entry.name, group),
        _ => Vec::new(),
    };
    let home = match &entry {
        Some(entry) if !entry.home.is_empty() => entry.home.to_owned(),
        None if uid == 0 => "/root".to_owned(),
        _ => "/".to_owned(),
    };
    Ok(Identity {
        uid,
        gid,
        groups,
        home,
    })
}

/// A line of `/etc/passwd`.
struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

impl<'a> Entry<'a> {
    fn read(line: &'a str) -> Option<Self> {
        let mut fields = line.split(':');
        Some(Self {
            name: fields.next()?,
            uid: fields.nth(1)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
            home: fields.nth(1).unwrap_or_default(),
        })
    }
}

fn group_number(wanted: &str, group: &str) -> Result<u32, UserError> {
    let found = group.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == wanted).then(|| fields.nth(1)?.parse().ok())?
    });
    let number = found.or_else(|| wanted.parse().ok());
    number.ok_or_else(|| UserError::NoGroup {
        name: wanted.to_owned(),
    })
}

/// The groups that list `name`.
fn groups_of(name: &str, group: &str) -> Vec<u32> {
    let lines = group.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let number = fields.nth(2)?.parse().ok()?;
        let is_member = fields.next()?.split(',').any(|it| it == name);
        is_member.then_some(number)
    });
    lines.take(MAX_GROUPS).collect()
}

/// Why nobody is meant.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum UserError {
    /// There is no such group.
    #[error("the image has no group `{name}` in /etc/group")]
    NoGroup {
        /// Which.
        name: String,
    },
    /// There is no such user.
    #[error("the image has no user `{name}` in /etc/passwd")]
    NoUser {
        /// Which.
        name: String,
    },
    /// What says so cannot be read.
    #[error("failed to read `{path}` of the image")]
    Read {
        /// Which file.
        path: String,
        /// Why not.
        source: io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\ncnb:x:1234:1000::/home/cnb:/bin/sh\n7:x:8:9::/seven:\n";
    const GROUP: &str = "root:x:0:\ncnb:x:1000:\nstaff:x:50:other,cnb\n50x:x:60:cnb\n";

    fn who(text: &str) -> (u32, u32, Vec<u32>, String) {
        let it = find(text, PASSWD, GROUP).unwrap();
        (it.uid, it.gid, it.groups, it.home)
    }

    #[test]
    fn users_and_groups_have_names_or_numbers() {
        let home = "/home/cnb".to_owned();
        assert_eq!(who("cnb"), (1234, 1000, vec![50, 60], home.clone()));
        assert_eq!(who("1234"), (1234, 1000, vec![50, 60], home.clone()));
        assert_eq!(who("cnb:staff"), (1234, 50, vec![], home.clone()));
        assert_eq!(who("1234:7"), (1234, 7, vec![], home));
        assert_eq!(who("7"), (8, 9, vec![], "/seven".to_owned()));
        assert_eq!(who("99"), (99, 0, vec![], "/".to_owned()));
        assert_eq!(who(""), (0, 0, vec![], "/root".to_owned()));
    }

    #[test]
    fn who_is_not_there_is_an_error() {
        for bad in ["nobody", "cnb:nobody", "-1", "4294967296"] {
            find(bad, PASSWD, GROUP).unwrap_err();
        }
        assert_eq!(find("", "", "").unwrap().home, "/root");
    }
}
