//! Starts the command that enters, tells it what to do, and hears what became of it.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Stdio;

use lifecycle_core::exec::{Cancel, Output, RunError};
use lifecycle_core::files::OsError;

use super::spec::{Map, Namespaces, Program, Reply, Spec, SpecRoot, Stage};
use super::task::{Done, Task};
use super::users::{User, UserMap};
use super::{Config, Interpreter, Network, Root};

/// More than any answer has.
const MAX_REPLY: usize = 64 << 20;

/// Starts the command that enters, tells it what to do, and waits for its end.
pub(super) fn start(
    config: &Config,
    namespaces: Option<&Namespaces>,
    instead: Option<User>,
    command: Option<Program>,
    output: &dyn Output,
) -> Result<Vec<Reply>, RunError> {
    let (name, args) = config.enter.split_first().unzip();
    let name = PathBuf::from(name.cloned().unwrap_or_default());
    let watch = |source| RunError::Watch {
        program: name.clone(),
        source: OsError(source),
    };
    let (mut ours, theirs) = UnixStream::pair().map_err(watch)?;
    let (mut reader, writer) = io::pipe().map_err(watch)?;
    let mut child = {
        let mut process = std::process::Command::new(&name);
        process
            .args(args.unwrap_or_default())
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(writer.try_clone().map_err(watch)?)
            .stderr(writer);
        // Both ends of theirs must not outlive this: reading would never end.
        config.cancel.spawn(&name, &mut process)?
    };
    let (map, user, as_root) = match &config.root {
        // Root without a user namespace, who gives that up inside.
        Root::Machine if namespaces.is_some() && instead.is_some() => (Map::Real, instead, false),
        Root::Machine => (Map::own(), instead, false),
        Root::Image(image) => (Map::from(&image.map), Some(image.user), image.as_root),
    };
    let mut spec = Spec {
        stage: Stage::First,
        parent: std::process::id(),
        namespaces: namespaces.cloned(),
        map,
        root: SpecRoot::from(&config.root),
        user,
        as_root,
        interpreter: config.interpreter.as_ref().map(Interpreter::spec),
        host_network: config.network == Network::Host,
        mounts: config.mounts.iter().map(Into::into).collect(),
        hidden: config.hidden.iter().map(|it| it.clone().into()).collect(),
        command,
        task: None,
    };
    // If it has died already, it has no use for this, and its end tells more.
    let mut told = send(&mut ours, &spec);
    let mut replies = Vec::new();
    if let (Root::Image(image), Some(_)) = (&config.root, namespaces) {
        replies = let_in(&mut ours, &image.map, child.id()).map_err(watch)?;
    }
    let is_supervised = spec.namespaces.is_none() && spec.command.is_some();
    if is_supervised || spec.namespaces.as_ref().is_some_and(|it| it.pid) {
        spec.stage = Stage::Second;
        told = told.and_then(|()| send(&mut ours, &spec));
    }
    let mut buffer = vec![0; 32 * 1024];
    let read = loop {
        match reader.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(count) => output.write(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => break Err(error),
        }
    };
    let status = config.cancel.reap(&mut child).map_err(watch)?;
    read.map_err(watch)?;
    if config.cancel.is_cancelled() {
        return Err(RunError::Cancelled);
    }
    // What went wrong first is why there is anything else.
    if replies.is_empty() {
        replies = receive(&mut ours).map_err(watch)?;
    }
    if is_supervised {
        // Why a program did not start counts more than how what should have started it ended.
        replies.truncate(1);
    }
    if is_supervised && replies.is_empty() {
        use std::os::unix::process::ExitStatusExt as _;

        told.map_err(watch)?;
        replies.push(match (status.code(), status.signal()) {
            (Some(code), _) => Reply::Exited { code },
            (None, signal) => Reply::Signaled {
                signal: signal.unwrap_or_default(),
            },
        });
    }
    Ok(replies)
}

/// Has a process do a task in a user namespace with such a map, and sends it `data`; the inner error
/// says why it could not. `data` is called with a place to write to, until that fails.
pub(crate) fn work(
    enter: &[std::ffi::OsString],
    map: &UserMap,
    task: Task,
    cancel: &Cancel,
    data: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> Result<Result<Done, String>, RunError> {
    let (name, args) = enter.split_first().unzip();
    let name = PathBuf::from(name.cloned().unwrap_or_default());
    let watch = |source| RunError::Watch {
        program: name.clone(),
        source: OsError(source),
    };
    let (mut ours, theirs) = UnixStream::pair().map_err(watch)?;
    let mut child = {
        let mut process = std::process::Command::new(&name);
        process
            .args(args.unwrap_or_default())
            .env_clear()
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        cancel.spawn(&name, &mut process)?
    };
    let spec = Spec {
        stage: Stage::First,
        parent: std::process::id(),
        namespaces: (*map != UserMap::Real).then(Namespaces::of_users),
        map: Map::from(map),
        root: SpecRoot::Machine,
        user: None,
        as_root: false,
        interpreter: None,
        host_network: true,
        mounts: Vec::new(),
        hidden: Vec::new(),
        command: None,
        task: Some(task),
    };
    let talked = send(&mut ours, &spec).and_then(|()| let_in(&mut ours, map, child.id()));
    let sent = match &talked {
        Ok(replies) if replies.is_empty() => data(&mut ours),
        _ => Ok(()),
    };
    // What it does not wait for any more it says in its answer.
    ours.shutdown(Shutdown::Write).unwrap_or_default();
    let answers = receive(&mut ours);
    cancel.reap(&mut child).map_err(watch)?;
    if cancel.is_cancelled() {
        return Err(RunError::Cancelled);
    }
    let mut replies = talked.map_err(watch)?;
    if let Err(error) = sent
        && error.kind() != io::ErrorKind::BrokenPipe
    {
        return Err(watch(error));
    }
    if replies.is_empty() {
        replies = answers.map_err(watch)?;
    }
    Ok(match replies.pop() {
        Some(Reply::Done { done }) => Ok(done),
        Some(reply) => Err(reply.to_string()),
        None => Err("it ended without a word".to_owned()),
    })
}

/// Maps users for a process that waits for it in its new namespace. Returns what it said instead of
/// waiting.
fn let_in(stream: &mut UnixStream, map: &UserMap, pid: u32) -> io::Result<Vec<Reply>> {
    if matches!(map, UserMap::One(_) | UserMap::Real) {
        return Ok(Vec::new());
    }
    // Not a byte more than one line: what comes later is for later.
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        match stream.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) => line.extend_from_slice(&byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
            Err(error) => return Err(error),
        }
        if line.len() > MAX_REPLY {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    if line.is_empty() {
        return Ok(Vec::new());
    }
    match serde_json::from_slice(&line)? {
        Reply::Unmapped => {}
        reply => return Ok(vec![reply]),
    }
    if let Err(error) = map.apply(pid) {
        stream.shutdown(Shutdown::Both).unwrap_or_default();
        return Ok(vec![Reply::NotDone {
            problem: format!("cannot map users and groups: {error}"),
        }]);
    }
    match stream.write_all(b"\n") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Vec::new()),
        written => written.map(|()| Vec::new()),
    }
}

fn send(stream: &mut UnixStream, spec: &Spec) -> io::Result<()> {
    let mut line = serde_json::to_vec(spec)?;
    line.push(b'\n');
    stream.write_all(&line)
}

fn receive(stream: &mut UnixStream) -> io::Result<Vec<Reply>> {
    let mut text = Vec::new();
    loop {
        let room = (MAX_REPLY + 1).saturating_sub(text.len()) as u64;
        match io::Read::take(&mut *stream, room).read_to_end(&mut text) {
            Ok(_) => break,
            // It died before it read all that it was told; what it said comes after this.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(error) => return Err(error),
        }
    }
    if text.len() > MAX_REPLY {
        // Whoever still writes is not to wait for us.
        stream.shutdown(Shutdown::Both).unwrap_or_default();
        return Err(io::ErrorKind::InvalidData.into());
    }
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| Ok(serde_json::from_slice(line)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_an_end() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let writing = std::thread::spawn(move || {
            let chunk = vec![b' '; 1 << 20];
            while theirs.write_all(&chunk).is_ok() {}
        });
        let error = receive(&mut ours).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        writing.join().unwrap();
    }
}
