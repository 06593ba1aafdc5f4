//! The CNCF's registry, run for a test.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::{Certificates, Server, TokenServer, free_port, peer};

/// Whom a [`distribution`] registry lets in.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_enums, reason = "there is no more to it")]
pub enum Gate<'a> {
    /// All.
    Open,
    /// `me` with the password `hunter2`.
    Htpasswd,
    /// Whoever has a token of this server.
    Tokens(&'a TokenServer),
    /// Whoever has a certificate by the same authority.
    ClientCertificate,
}

/// The CNCF's registry, version 3, over TLS with a certificate by a private authority, with storage
/// below `folder`. It has no referrers API.
///
/// # Panics
/// If it is there but does not start.
pub fn distribution(folder: &Path, certificates: &Certificates, gate: Gate<'_>) -> Option<Server> {
    // Of `hunter2`.
    const LOGIN: &str = "me:$2b$04$iBSAqiMj3n7bWqtv/.yT8ecrb80IebS.Cpy6zrPZ5K2VTnmWq93Rq\n";
    let program = peer("registry")?;
    let port = free_port();
    let path = |name: &str| folder.join(format!("registry-{port}{name}"));
    let mut text = format!(
        "version: 0.1\n\
         log: {{level: error, accesslog: {{disabled: true}}}}\n\
         storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
         http:\n  addr: '127.0.0.1:{port}'\n  secret: test\n\
         \x20 tls:\n    certificate: {}\n    key: {}\n",
        path("").display(),
        certificates.certificate("server").display(),
        certificates.key("server").display(),
    );
    match gate {
        Gate::Open => Ok(()),
        Gate::ClientCertificate => {
            writeln!(text, "    clientcas: [{}]", certificates.ca().display())
        }
        Gate::Htpasswd => {
            fs_err::write(path(".htpasswd"), LOGIN).expect("the folder is writable");
            let file = path(".htpasswd");
            writeln!(text, "auth: {{htpasswd: {{realm: test, path: {}}}}}", file.display())
        }
        Gate::Tokens(server) => writeln!(
            text,
            "auth:\n  token:\n    realm: {}\n    service: test\n    issuer: {}\n    rootcertbundle: {}",
            server.realm(),
            TokenServer::ISSUER,
            certificates.certificate("tokens").display(),
        ),
    }
    .unwrap_or_default();
    let config = path(".yml");
    fs_err::write(&config, text).expect("the folder is writable");
    let mut command = Command::new(program);
    command
        .arg("serve")
        .arg(config)
        .env("OTEL_TRACES_EXPORTER", "none");
    Some(Server::start(&mut command, port, "/"))
}
