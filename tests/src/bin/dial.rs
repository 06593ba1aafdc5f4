//! `dial SOCKET`: passes standard input on to a socket, and what comes from there to standard output.
//! What `docker system dial-stdio` does, for tests that reach a daemon by `ssh`.

#![expect(clippy::expect_used, reason = "a test sees that it failed")]

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

fn main() {
    let socket = std::env::args_os().nth(1).expect("a socket is named");
    let mut upwards = UnixStream::connect(socket).expect("someone listens");
    let downwards = upwards.try_clone().expect("it can be read and written");
    std::thread::spawn(move || {
        pass(std::io::stdin().lock(), &mut upwards);
        // The other side may go first.
        upwards.shutdown(Shutdown::Write).unwrap_or_default();
    });
    pass(downwards, std::io::stdout().lock());
}

/// Until either side ends. `std::io::copy` would splice, and that keeps the pipe locked while it
/// waits for the socket: whoever reads the pipe then hangs, even if it asked not to wait.
fn pass(mut from: impl Read, mut to: impl Write) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let sent = to.write_all(buffer.get(..count).unwrap_or_default());
        if sent.and_then(|()| to.flush()).is_err() {
            break;
        }
    }
}
