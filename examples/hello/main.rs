//! A web server in one file: says hello, and from what it was started.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;
use std::{env, thread};

fn main() {
    let port = env::var("PORT").unwrap_or_else(|_| "8080".to_owned());
    let address = format!("{}:{port}", env::var("HOST").unwrap_or_else(|_| "127.0.0.1".to_owned()));
    let listener = TcpListener::bind(&address).unwrap_or_else(|error| {
        eprintln!("cannot listen on {address}: {error}");
        std::process::exit(1);
    });
    println!("listening on http://{address}");
    for stream in listener.incoming().flatten() {
        thread::spawn(move || answer(stream));
    }
}

fn answer(mut stream: TcpStream) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut request = String::new();
    BufReader::new((&stream).take(8 * 1024)).read_line(&mut request).ok()?;
    let path = request.split(' ').nth(1)?;
    let (status, body) = match path {
        "/" => ("200 OK", format!("{}\n", env::var("GREETING").unwrap_or_else(|_| "Hello".to_owned()))),
        "/healthz" => ("200 OK", "ok\n".to_owned()),
        _ => ("404 Not Found", "no such page\n".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .ok()
}
