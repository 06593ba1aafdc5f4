//! An HTTP proxy that logs what it is asked.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// An HTTP proxy on loopback that finds all hosts at one address, and logs what it is asked. Ends
/// when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    log: Arc<Mutex<Vec<ProxyRequest>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a [`Proxy`] was asked.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct ProxyRequest {
    /// `METHOD TARGET`.
    pub line: String,
    /// `Proxy-Authorization`.
    pub authorization: Option<String>,
}

impl Proxy {
    /// Starts on a free port; `target` is where all hosts are.
    ///
    /// # Panics
    /// If there is no loopback.
    pub fn start(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("it is bound");
        let (log, stop) = (
            Arc::<Mutex<Vec<_>>>::default(),
            Arc::new(AtomicBool::new(false)),
        );
        let (logged, stopped, target) = (log.clone(), stop.clone(), target.to_owned());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let (log, target) = (logged.clone(), target.clone());
                // Each connection ends with its client.
                std::thread::spawn(move || serve(stream, &target, &log).unwrap_or_default());
            }
        });
        Self {
            address,
            log,
            stop,
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What it was asked so far.
    pub fn requests(&self) -> Vec<ProxyRequest> {
        self.log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It waits for somebody to come.
        drop(TcpStream::connect(self.address));
        self.thread
            .take()
            .map_or(Ok(()), JoinHandle::join)
            .unwrap_or_default();
    }
}

fn serve(mut client: TcpStream, target: &str, log: &Mutex<Vec<ProxyRequest>>) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split(' ');
    let (method, asked) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let mut head = String::new();
    let mut authorization = None;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("proxy-authorization") => {
                authorization = Some(value.trim().to_owned());
            }
            _ => head.push_str(&line),
        }
    }
    log.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(ProxyRequest {
            line: format!("{method} {asked}"),
            authorization,
        });
    let mut server = TcpStream::connect(target)?;
    if method == "CONNECT" {
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    } else {
        // One request a connection, so that the next one is seen, too.
        let path = asked.splitn(4, '/').nth(3).unwrap_or_default();
        write!(
            server,
            "{method} /{path} HTTP/1.1\r\n{head}Connection: close\r\n\r\n"
        )?;
    }
    let (mut upstream, mut to_client) = (server.try_clone()?, client.try_clone()?);
    let down = std::thread::spawn(move || {
        io::copy(&mut upstream, &mut to_client).unwrap_or_default();
        to_client.shutdown(Shutdown::Both).unwrap_or_default();
    });
    // What was read ahead, and the rest.
    let ahead = reader.buffer().to_vec();
    server.write_all(&ahead)?;
    io::copy(&mut client, &mut server).unwrap_or_default();
    server.shutdown(Shutdown::Write).unwrap_or_default();
    down.join().unwrap_or_default();
    Ok(())
}
