//! What a program does to enter its namespaces, step by step.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, WaitOptions};

use super::failed::Failed;
use super::orphans::Orphans;
use super::spec::{Facts, Map, NotStarted, Program, Reply, Spec, SpecRoot, Stage};
use super::{foreign, image, network, rights, root, task};

/// More than any environment has.
const MAX_SPEC: u64 = 64 << 20;

/// What a program does that a [`Sandbox`](super::Sandbox) starts to enter its namespaces. It has to
/// be called before there is any other thread. Standard input is a socket to who started it.
pub fn enter() -> ExitCode {
    // Modes of what is made here do not depend on who runs us.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let Ok(mut socket) = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map(UnixStream::from)
    else {
        return ExitCode::FAILURE;
    };
    let reply = match read_spec(&mut socket) {
        Ok(spec) => match run(&spec, &socket) {
            Ok(Some(reply)) => reply,
            Ok(None) => return ExitCode::SUCCESS,
            Err(failed) => failed.into(),
        },
        Err(source) => Failed::new("read what to do")(source).into(),
    };
    match send(&mut socket, &reply) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Reads one line and not a byte more: the next one is for the next stage.
fn read_spec(socket: &mut UnixStream) -> io::Result<Spec> {
    let mut line = Vec::new();
    BufReader::with_capacity(1, socket.take(MAX_SPEC)).read_until(b'\n', &mut line)?;
    Ok(serde_json::from_slice(&line)?)
}

fn send(socket: &mut UnixStream, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    socket.write_all(&line)
}

/// What there is to say at the end; nothing if another process said it.
fn run(spec: &Spec, socket: &UnixStream) -> Result<Option<Reply>, Failed> {
    die_with_parent()?;
    let Some(namespaces) = &spec.namespaces else {
        if spec.command.is_some() && spec.stage == Stage::First {
            return supervise(socket).map(Some);
        }
        return without_namespaces(spec, socket);
    };
    if spec.stage == Stage::Second {
        return inside(spec, socket).map(Some);
    }
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if parent != i32::try_from(spec.parent).ok() {
        // It died before the kernel knew that we die with it.
        return Ok(None);
    }
    close_what_was_inherited(socket.as_raw_fd())?;
    rights::leave_groups();
    let interpreter = foreign::open(spec)?;
    // What these hold stays open until this process ends, after all in the sandbox.
    let around = match (&interpreter, spec.map) {
        (
            Some(opened),
            Map::One {
                outer_uid,
                outer_gid,
                ..
            },
        ) => Some(foreign::register_around(opened, (outer_uid, outer_gid))?),
        _ => None,
    };
    let interpreter = interpreter.filter(|_| around.is_none());
    nix::sched::unshare(namespaces.flags()).map_err(Failed::new("make namespaces"))?;
    if namespaces.user {
        match spec.map {
            Map::One {
                outer_uid,
                outer_gid,
                uid,
                gid,
            } => match &around {
                Some(_) => rights::map_ids((uid, 0), (gid, 0))?,
                None => rights::map_ids((uid, outer_uid), (gid, outer_gid))?,
            },
            Map::Given => wait_for_maps(socket)?,
            Map::Real => {}
        }
    }
    // The kernel forgets it when rights change.
    die_with_parent()?;
    if let Some(task) = &spec.task {
        return task::run(task, spec.map, socket).map(Some);
    }
    let _registered = if matches!(spec.root, SpecRoot::Machine) {
        None
    } else {
        let registered = image::prepare(spec, interpreter.as_ref())?;
        die_with_parent()?;
        registered
    };
    if !namespaces.pid {
        return inside(spec, socket).map(Some);
    }
    rights::hand_down()?;
    let mut second = second(socket)?;
    image::close_sides(spec);
    second
        .wait()
        .map_err(Failed::new("wait for the first process"))?;
    Ok(None)
}

/// Starts ourselves once more, which hears what to do from the same socket.
fn second(socket: &UnixStream) -> Result<Child, Failed> {
    let stdin = socket
        .as_fd()
        .try_clone_to_owned()
        .map_err(Failed::new("hand on the socket"))?;
    let mut own_args = std::env::args_os();
    Command::new("/proc/self/exe")
        .arg0(own_args.next().unwrap_or_default())
        .args(own_args)
        .stdin(Stdio::from(stdin))
        .spawn()
        .map_err(Failed::new("start the first process"))
}

/// Without namespaces, has another process run the command, and ends all that it left running.
fn supervise(socket: &UnixStream) -> Result<Reply, Failed> {
    let orphans = Orphans::adopt()?;
    let second = second(socket)?;
    Orphans::stay()?;
    let status = reap(&second).map_err(Failed::new("wait for the command"))?;
    orphans.end()?;
    Ok(ended(status))
}

/// Does what there is to do as the process that we are: a task, or the command, perhaps in another root.
fn without_namespaces(spec: &Spec, socket: &UnixStream) -> Result<Option<Reply>, Failed> {
    if let Some(task) = &spec.task {
        return task::run(task, spec.map, socket).map(Some);
    }
    let SpecRoot::Copy { folder } = &spec.root else {
        if let Some(user) = spec.user {
            rights::become_other(user)?;
            die_with_parent()?;
        }
        return Ok(spec.command.as_ref().map(replace));
    };
    close_what_was_inherited(socket.as_raw_fd())?;
    let step = || Failed::new(format!("change the root to `{}`", folder.display()));
    rustix::process::chdir(folder).map_err(step())?;
    rustix::process::chroot(".").map_err(step())?;
    match spec.user {
        Some(user) => rights::become_user(user)?,
        None => rights::give_up()?,
    }
    die_with_parent()?;
    Ok(match &spec.command {
        Some(program) => Some(replace(&at_home(program, spec.user))),
        None => Some(Reply::Ready {
            facts: Facts { own_proc: false },
        }),
    })
}

/// The program with the home of whoever runs it, unless it has one.
fn at_home(program: &Program, user: Option<super::User>) -> Program {
    let mut program = program.clone();
    if let Some(user) = user
        && !program.env.iter().any(|(name, _)| name == "HOME")
    {
        program.env.push(("HOME".into(), image::home(user)));
    }
    program
}

/// Lets who started us map users and groups.
fn wait_for_maps(socket: &UnixStream) -> Result<(), Failed> {
    let failed = || Failed::new("have its users mapped");
    let mut talking = socket.try_clone().map_err(failed())?;
    send(&mut talking, &Reply::Unmapped).map_err(failed())?;
    let mut answer = [0];
    talking.read_exact(&mut answer).map_err(failed())
}

/// Makes the new root, and runs the command in it.
fn inside(spec: &Spec, socket: &UnixStream) -> Result<Reply, Failed> {
    let first_process = spec.stage == Stage::Second;
    if first_process {
        // Away from the terminal, into which one could type.
        rustix::process::setsid().map_err(Failed::new("leave the session"))?;
    }
    let Some(namespaces) = &spec.namespaces else {
        return Ok(Reply::Exited { code: 0 });
    };
    if namespaces.uts {
        // Some containers have a namespace made, but not its name changed. It keeps the machine's name.
        rustix::system::sethostname(b"sealpack").unwrap_or_default();
    }
    if namespaces.network {
        network::raise_loopback().map_err(Failed::new("raise the loopback"))?;
    }
    // No process namespace ends what the program leaves running.
    let orphans = match spec.command {
        Some(_) if !first_process => Some(Orphans::adopt()?),
        _ => None,
    };
    let own_proc = match spec.root {
        SpecRoot::Machine => root::build(spec, namespaces.pid)?,
        SpecRoot::Overlay { .. } | SpecRoot::Copy { .. } => image::enter(namespaces.pid)?,
    };
    match (spec.user, spec.map) {
        (Some(_), Map::Given) if spec.as_root => rights::stay_root()?,
        (Some(user), Map::Given | Map::Real) => rights::become_user(user)?,
        _ => rights::give_up()?,
    }
    die_with_parent()?;
    let facts = Facts { own_proc };
    let mut talking = socket
        .try_clone()
        .map_err(Failed::new("talk to the parent"))?;
    let ready = Reply::Ready { facts };
    // Fails if nobody is there any more to want it.
    send(&mut talking, &ready).map_err(Failed::new("talk to the parent"))?;
    let Some(program) = &spec.command else {
        return Ok(ready);
    };
    let program = at_home(program, spec.user);
    let child = match command(&program).and_then(|mut command| {
        let started = command.stdin(Stdio::null()).spawn();
        started.map_err(|error| not_started(NotStarted::Program, &error))
    }) {
        Ok(child) => child,
        Err(reply) => return Ok(reply),
    };
    image::close_sides(spec);
    if orphans.is_some() {
        Orphans::stay()?;
    }
    let status = reap(&child).map_err(Failed::new("wait for the command"))?;
    if let Some(orphans) = orphans {
        orphans.end()?;
    }
    Ok(ended(status))
}

fn ended(status: ExitStatus) -> Reply {
    match (status.code(), status.signal()) {
        (Some(code), _) => Reply::Exited { code },
        (None, signal) => Reply::Signaled {
            signal: signal.unwrap_or_default(),
        },
    }
}

/// Runs the command in our place, so that it dies with our parent. Returns only if it cannot.
fn replace(program: &Program) -> Reply {
    match command(program) {
        Ok(mut command) => {
            let error = rights::no_new()
                .err()
                .unwrap_or_else(|| command.stdin(Stdio::null()).exec());
            not_started(NotStarted::Program, &error)
        }
        Err(reply) => reply,
    }
}

fn command(program: &Program) -> Result<Command, Reply> {
    // Seen from here, a folder and a program that are missing look the same.
    let is_dir = std::fs::metadata(&program.dir)
        .map_err(|error| not_started(NotStarted::Dir, &error))?
        .is_dir();
    if !is_dir {
        let error = io::Error::from(rustix::io::Errno::NOTDIR);
        return Err(not_started(NotStarted::Dir, &error));
    }
    let mut command = Command::new(&program.file);
    command
        .args(&program.args)
        .env_clear()
        .envs(program.env.iter().map(|(name, value)| (name, value)))
        .current_dir(&program.dir);
    Ok(command)
}

fn not_started(what: NotStarted, error: &io::Error) -> Reply {
    Reply::NotStarted {
        what,
        errno: error.raw_os_error().unwrap_or_default(),
    }
}

/// The first process of a namespace gets the orphans; waits for all until `child` is done.
fn reap(child: &Child) -> io::Result<ExitStatus> {
    let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if Some(pid) == child => {
                return Ok(ExitStatus::from_raw(status.as_raw()));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn die_with_parent() -> Result<(), Failed> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(Failed::new("bind its life to its parent's"))
}

/// Closes files that whoever started us left open: they could be a way out.
fn close_what_was_inherited(socket: RawFd) -> Result<(), Failed> {
    let listed = std::fs::read_dir("/proc/self/fd").map_err(Failed::new("list open files"))?;
    let open: Vec<RawFd> = listed
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|file| *file > 2 && *file != socket)
        .collect();
    for file in open {
        // The folder that was listed is among them, and closed already.
        nix::unistd::close(file).unwrap_or_default();
    }
    Ok(())
}
