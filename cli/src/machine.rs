//! What keeps this machine from isolating builds, and which setting allows it.

use std::path::Path;

/// The one setting to change, as far as it can be told. What is isolated already needs none.
pub(crate) fn remedy() -> Option<&'static str> {
    let number = |path: &str| {
        let text = fs_err::read_to_string(path).ok()?;
        text.trim().parse::<u64>().ok()
    };
    if Path::new("/run/.containerenv").exists() {
        return Some(
            "Podman: run the container with `--security-opt seccomp=unconfined --security-opt unmask=ALL`",
        );
    }
    if Path::new("/.dockerenv").exists() {
        return Some(
            "Docker: run the container with `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`",
        );
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
