//! Speaks the protocol of sigstore-conformance: `verify-bundle`, without network.
//!
//! <https://github.com/sigstore/sigstore-conformance/blob/main/docs/cli_protocol.md>

#![expect(
    clippy::print_stderr,
    reason = "its caller reads the exit code, and people what went wrong"
)]

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use attest::key::PublicKey;
use attest::{
    Accept, Bundle, Content, IdentityPattern, Message, SignerPattern, TextPattern, TrustedRoot,
    Verifier,
};
use intoto::Statement;
use oci::{Descriptor, Digest};

const USAGE: &str = "verify-bundle [--staging] --bundle FILE (--certificate-identity ID \
    --certificate-oidc-issuer URL | --key FILE) [--trusted-root FILE] FILE_OR_DIGEST";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let result = match arguments.next().as_deref() {
        Some("verify-bundle") => Arguments::parse(arguments).and_then(|it| verify(&it)),
        Some(other) => Err(format!("`{other}` is not a command: {USAGE}").into()),
        None => Err(USAGE.into()),
    };
    let Err(error) = result else {
        return ExitCode::SUCCESS;
    };
    eprintln!("error: {error}");
    let mut next = error.source();
    while let Some(cause) = next {
        eprintln!("  cause: {cause}");
        next = cause.source();
    }
    ExitCode::FAILURE
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[derive(Default)]
struct Arguments {
    staging: bool,
    bundle: String,
    identity: String,
    issuer: String,
    key: Option<String>,
    trusted_root: Option<String>,
    artifact: String,
}

impl Arguments {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut parsed = Self::default();
        while let Some(argument) = arguments.next() {
            let mut value = || {
                arguments
                    .next()
                    .ok_or_else(|| format!("`{argument}` has no value"))
            };
            match argument.as_str() {
                "--staging" => parsed.staging = true,
                "--bundle" => parsed.bundle = value()?,
                "--certificate-identity" => parsed.identity = value()?,
                "--certificate-oidc-issuer" => parsed.issuer = value()?,
                "--key" => parsed.key = Some(value()?),
                "--trusted-root" => parsed.trusted_root = Some(value()?),
                other if other.starts_with("--") => {
                    return Err(format!("`{other}` is not a flag: {USAGE}").into());
                }
                _ => parsed.artifact = argument,
            }
        }
        Ok(parsed)
    }

    fn signer(&self) -> Result<SignerPattern> {
        Ok(match &self.key {
            Some(path) => SignerPattern::Key(PublicKey::from_pem(&fs_err::read(path)?)?),
            None => SignerPattern::Identity(IdentityPattern::new(
                TextPattern::exact(&self.identity)?,
                TextPattern::exact(&self.issuer)?,
            )),
        })
    }

    fn root(&self) -> Result<TrustedRoot> {
        Ok(match &self.trusted_root {
            Some(path) => TrustedRoot::parse(&fs_err::read(path)?)?,
            None if self.staging => TrustedRoot::staging()?,
            None => TrustedRoot::public_good()?,
        })
    }

    /// A file, or the digest of one.
    fn message(&self) -> Result<Message<'static>> {
        if Path::new(&self.artifact).exists() || !self.artifact.starts_with("sha256:") {
            Ok(Message::Bytes(fs_err::read(&self.artifact)?.into()))
        } else {
            Ok(Message::Digest(self.artifact.parse()?))
        }
    }
}

fn verify(arguments: &Arguments) -> Result<()> {
    let bytes = fs_err::read(&arguments.bundle)?;
    let verifier = Verifier::trusting(arguments.root()?);
    let (signer, message) = (arguments.signer()?, arguments.message()?);
    match Bundle::parse(bytes.clone())?.content() {
        Content::Message(_) => {
            verifier.verify_blob(&bytes, &message, &[signer])?;
        }
        // The protocol asks for no kind of claim, so it is the one that it says to be.
        Content::Envelope(envelope) => {
            let digest = match &message {
                Message::Bytes(bytes) => Digest::of(bytes),
                Message::Digest(digest) => digest.clone(),
            };
            let artifact = Descriptor::new("application/octet-stream".into(), digest, 0);
            let accepted = Accept {
                predicate_type: Statement::<serde_json::Value>::parse(envelope.payload())?
                    .predicate_type()
                    .clone(),
                signer,
            };
            verifier.verify(&bytes, &artifact, &[accepted])?;
        }
    }
    Ok(())
}
