//! Users, groups and capabilities on the way in.

use std::io;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use super::failed::Failed;
use super::users::User;

/// Leaves all further groups, if one may. Who may not, keeps no more than one has.
pub(super) fn leave_groups() {
    nix::unistd::setgroups(&[]).unwrap_or_default();
}

/// Says who we are in the new user namespace.
pub(super) fn map_ids(
    (uid, outer_uid): (u32, u32),
    (gid, outer_gid): (u32, u32),
) -> Result<(), Failed> {
    let write = |file: &str, text: String| std::fs::write(format!("/proc/self/{file}"), text);
    write("uid_map", format!("{uid} {outer_uid} 1")).map_err(Failed::new("map the user"))?;
    write("setgroups", "deny".to_owned()).map_err(Failed::new("map the group"))?;
    write("gid_map", format!("{gid} {outer_gid} 1")).map_err(Failed::new("map the group"))
}

/// Lets the next program have the rights that we have in the namespaces.
pub(super) fn hand_down() -> Result<(), Failed> {
    let mut sets = thread::capabilities(None).map_err(Failed::new("read its rights"))?;
    sets.inheritable = sets.permitted;
    thread::set_capabilities(None, sets).map_err(Failed::new("hand down its rights"))?;
    for capability in sets.permitted.iter() {
        thread::configure_capability_in_ambient_set(capability, true)
            .map_err(Failed::new("hand down its rights"))?;
    }
    Ok(())
}

/// Becomes the root of the user namespace, with all rights in it and none outside.
pub(super) fn become_root() -> Result<(), Failed> {
    switch(User { uid: 0, gid: 0 })
}

/// Becomes `user`, without any right, for good.
pub(super) fn become_user(user: User) -> Result<(), Failed> {
    limit(CapabilitySet::empty())?;
    switch(user)?;
    without_any()
}

/// Becomes `user` on this machine, where there is no user namespace. Who may not limit what programs
/// may have, as in most containers, still has no right left, and no program gives it one.
pub(super) fn become_other(user: User) -> Result<(), Failed> {
    if let Err(error) = limit(CapabilitySet::empty())
        && error.errno() != Errno::PERM.raw_os_error()
    {
        return Err(error);
    }
    match switch(user) {
        // The root of a user namespace that knows nobody else, or one without rights: the lifecycle says
        // what it thinks of that.
        Err(error)
            if [Errno::INVAL, Errno::PERM]
                .map(Errno::raw_os_error)
                .contains(&error.errno()) => {}
        switched => switched?,
    }
    without_any()
}

/// Takes another user and group, and no further groups; there is one thread only.
fn switch(user: User) -> Result<(), Failed> {
    let User { uid, gid } = user;
    let failed = || Failed::new(format!("become user {uid} of group {gid}"));
    if uid == u32::MAX || gid == u32::MAX {
        return Err(failed()(Errno::INVAL));
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    thread::set_thread_groups(&[]).map_err(failed())?;
    thread::set_thread_res_gid(gid, gid, gid).map_err(failed())?;
    thread::set_thread_res_uid(uid, uid, uid).map_err(failed())
}

/// What root may do in a container: to files and users that are mapped.
const OF_ROOT: [CapabilitySet; 9] = [
    CapabilitySet::CHOWN,
    CapabilitySet::DAC_OVERRIDE,
    CapabilitySet::FOWNER,
    CapabilitySet::FSETID,
    CapabilitySet::KILL,
    CapabilitySet::SETGID,
    CapabilitySet::SETUID,
    CapabilitySet::SETFCAP,
    CapabilitySet::SYS_CHROOT,
];

/// Stays the root of the user namespace, without the right to mount, to trace or to reach devices.
pub(super) fn stay_root() -> Result<(), Failed> {
    let kept = OF_ROOT.into_iter().collect();
    limit(kept)?;
    switch(User { uid: 0, gid: 0 })?;
    keep(kept)
}

/// Gives up all rights, for good.
pub(super) fn give_up() -> Result<(), Failed> {
    limit(CapabilitySet::empty())?;
    without_any()
}

/// Lets no program have more rights than these.
fn limit(kept: CapabilitySet) -> Result<(), Failed> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(error) => return Err(Failed::new("give up its rights")(error)),
        }
    }
    Ok(())
}

fn without_any() -> Result<(), Failed> {
    keep(CapabilitySet::empty())
}

/// Has these rights and no others, for good.
fn keep(kept: CapabilitySet) -> Result<(), Failed> {
    thread::clear_ambient_capability_set().map_err(Failed::new("give up its rights"))?;
    let sets = CapabilitySets {
        effective: kept,
        permitted: kept,
        inheritable: CapabilitySet::empty(),
    };
    thread::set_capabilities(None, sets).map_err(Failed::new("give up its rights"))?;
    no_new().map_err(Failed::new("give up new rights"))
}

/// Lets no program give rights that we do not have, as `sudo` does.
pub(super) fn no_new() -> io::Result<()> {
    Ok(thread::set_no_new_privs(true)?)
}
