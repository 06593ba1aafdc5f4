use std::io;

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use super::enter::Failed;
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
    limit()?;
    switch(user)?;
    without_any()
}

/// Becomes `user` on this machine, where there is no user namespace. Who may not limit what programs
/// may have, as in most containers, still has no right left, and no program gives it one.
pub(super) fn become_other(user: User) -> Result<(), Failed> {
    if let Err(error) = limit()
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

/// Gives up all rights, for good.
pub(super) fn give_up() -> Result<(), Failed> {
    limit()?;
    without_any()
}

/// Lets no program have more rights than none.
fn limit() -> Result<(), Failed> {
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            Err(Errno::INVAL) => break,
            Err(error) => return Err(Failed::new("give up its rights")(error)),
        }
    }
    Ok(())
}

fn without_any() -> Result<(), Failed> {
    thread::clear_ambient_capability_set().map_err(Failed::new("give up its rights"))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    thread::set_capabilities(None, none).map_err(Failed::new("give up its rights"))?;
    no_new().map_err(Failed::new("give up new rights"))
}

/// Lets no program give rights that we do not have, as `sudo` does.
pub(super) fn no_new() -> io::Result<()> {
    Ok(thread::set_no_new_privs(true)?)
}
