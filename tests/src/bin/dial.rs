//! `dial SOCKET`: passes standard input on to a socket, and what comes from there to standard output.
//! What `docker system dial-stdio` does, for tests that reach a daemon by `ssh`.

#![expect(clippy::expect_used, reason = "a test sees that it failed")]

use std::net::Shutdown;
use std::os::unix::net::UnixStream;

fn main() {
    let socket = std::env::args_os().nth(1).expect("a socket is named");
    let mut upwards = UnixStream::connect(socket).expect("someone listens");
    let mut downwards = upwards.try_clone().expect("it can be read and written");
    std::thread::spawn(move || {
        // The other side may go first.
        drop(std::io::copy(&mut std::io::stdin().lock(), &mut upwards));
        drop(upwards.shutdown(Shutdown::Write));
    });
    drop(std::io::copy(&mut downwards, &mut std::io::stdout().lock()));
}
