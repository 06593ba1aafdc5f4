//! A private certificate authority.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peer;

/// A private certificate authority, with a certificate for a server on this machine, one for a
/// client, and a certificate and key to sign tokens with. Made by `openssl`.
#[derive(Clone, Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// The name, beside `127.0.0.1` and `localhost`, that the server's certificate holds for.
    pub const NAME: &str = "registry.test";

    /// Makes them in `folder`.
    ///
    /// # Panics
    /// If `openssl` is there but makes none.
    pub fn make(folder: &Path) -> Option<Self> {
        let openssl = peer("openssl")?;
        let made = Self {
            folder: folder.to_owned(),
        };
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&openssl);
            command
                .args(["req", "-x509", "-nodes", "-days", "2"])
                .args(arguments)
                .current_dir(folder);
            let output = command.output().expect("openssl runs");
            assert!(output.status.success(), "{command:?}: {output:?}");
        };
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
        let names = format!(
            "subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:{}",
            Self::NAME
        );
        let ca = [
            "-subj",
            "/CN=test CA",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ];
        run(&[&key[..], &ca].concat());
        let by_ca = ["-CA", "ca.pem", "-CAkey", "ca.key"];
        let leaf = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext"];
        for (name, extension) in [
            ("server", names.as_str()),
            ("client", "extendedKeyUsage=clientAuth"),
        ] {
            let subject = format!("/CN={name}");
            let (key_file, file) = (format!("{name}.key"), format!("{name}.pem"));
            let files = ["-subj", &subject, "-keyout", &key_file, "-out", &file];
            run(&[&key[..], &by_ca, &leaf, &[extension], &files].concat());
        }
        let tokens = ["-subj", "/CN=tokens", "-keyout", "tokens.key"];
        run(&[
            &["-newkey", "rsa:2048"][..],
            &tokens,
            &["-out", "tokens.pem"],
        ]
        .concat());
        Some(made)
    }

    /// The certificate of the authority.
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The certificate of `server`, `client` or `tokens`.
    pub fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.pem"))
    }

    /// The private key of `server`, `client` or `tokens`.
    pub fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }
}
