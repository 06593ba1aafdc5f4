//! What this lifecycle says it is.

/// The version, as platforms compare it: they turn features on by upstream's version numbers, so it
/// is the upstream version whose behaviour this is, as strict semantic versioning wants it. A build
/// may set another by `SEALPACK_LIFECYCLE_VERSION`.
pub const VERSION: &str = match option_env!("SEALPACK_LIFECYCLE_VERSION") {
    Some(version) => version,
    None => "0.21.17",
};

/// The commit that this was built from, by `SEALPACK_LIFECYCLE_COMMIT`; else empty.
pub(crate) const COMMIT: &str = match option_env!("SEALPACK_LIFECYCLE_COMMIT") {
    Some(commit) => commit,
    None => "",
};

/// Where its source is, by `SEALPACK_LIFECYCLE_REPOSITORY`; else empty.
pub(crate) const REPOSITORY: &str = match option_env!("SEALPACK_LIFECYCLE_REPOSITORY") {
    Some(repository) => repository,
    None => "",
};

/// What `-version` prints.
pub(crate) fn text() -> String {
    if COMMIT.is_empty() || VERSION.contains(COMMIT) {
        VERSION.to_owned()
    } else {
        format!("{VERSION}+{COMMIT}")
    }
}
