//! Choices about what is unpacked: whose files are, and what becomes of whiteouts.

/// Who gets the files of an archive.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "there is no further way to treat owners"
)]
pub enum Owners {
    /// Whoever runs this; nothing is set-user-id or set-group-id.
    #[default]
    Drop,
    /// Whom the archive names; set-user-id and file capabilities are kept. Needs root, be it that of
    /// a user namespace, where these are the numbers inside.
    Keep,
    /// As `Keep`, with numbers shifted, as if they were those inside of a user namespace with such
    /// maps. A number that is in no range is an error.
    Map {
        /// Of users.
        users: IdMap,
        /// Of groups.
        groups: IdMap,
    },
    /// Whoever runs this, as with `Drop`; whom the archive names is in the
    /// [summary](super::ExtractSummary::recorded).
    Record,
}

/// Numbers of users or groups inside, and what they are outside.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "any list of ranges is fine")]
pub struct IdMap(pub Vec<IdRange>);

/// A range of numbers.
///
/// <https://man7.org/linux/man-pages/man7/user_namespaces.7.html>, "Defining user and group ID
/// mappings".
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the kernel has no more either")]
pub struct IdRange {
    /// The first one inside.
    pub inside: u32,
    /// The first one outside.
    pub outside: u32,
    /// How many there are.
    pub count: u32,
}

impl IdMap {
    /// What `inside` is outside.
    pub fn outside(&self, inside: u32) -> Option<u32> {
        self.0.iter().find_map(|range| {
            let offset = inside.checked_sub(range.inside)?;
            if offset >= range.count {
                return None;
            }
            range.outside.checked_add(offset)
        })
    }
}

/// What becomes of whiteouts: entries that say what of the layers below is not there any more.
///
/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/layer.md#whiteouts>
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a choice of two")]
pub enum Whiteouts {
    /// What they name is removed.
    #[default]
    Apply,
    /// They become what overlayfs has in their place: a character device 0:0, which anyone may make
    /// since Linux 5.8, and an attribute of an opaque folder.
    ///
    /// <https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories>
    Overlay(OverlayXattrs),
}

/// Where overlayfs looks for its attributes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "overlayfs has no third")]
pub enum OverlayXattrs {
    /// `user.overlay.…`: if it is mounted with `userxattr`, as it has to be in a user namespace.
    User,
    /// `trusted.overlay.…`, which root alone may set.
    Trusted,
}

impl OverlayXattrs {
    /// The attribute of a folder of which nothing below is seen; its value is `y`.
    pub const fn opaque(self) -> &'static str {
        match self {
            Self::User => "user.overlay.opaque",
            Self::Trusted => "trusted.overlay.opaque",
        }
    }
}

/// Whether symbolic links are followed on the way to an entry.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "a choice of two")]
pub enum Links {
    /// As if the directory were the root of all.
    #[default]
    Followed,
    /// An entry below a link is an error.
    Refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_mapped_as_the_kernel_does() {
        let range = |inside, outside, count| IdRange {
            inside,
            outside,
            count,
        };
        let map = IdMap(vec![
            range(0, 100, 10),
            range(10, 7, 1),
            range(20, u32::MAX, 2),
        ]);
        let pairs = [(0, 100), (9, 109), (10, 7), (20, u32::MAX)];
        for (inside, outside) in pairs {
            assert_eq!(map.outside(inside), Some(outside));
        }
        for inside in [11, 19, 21, 22, u32::MAX] {
            assert_eq!(map.outside(inside), None);
        }
    }
}
