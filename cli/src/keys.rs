//! Key files, and the passwords that open them.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use attest::key::{self, EncryptedKey, KeyError, KeyFile, PrivateKey, PublicKey};

use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::prompt;

/// The variable that holds the password, as for cosign.
const PASSWORD: &str = "COSIGN_PASSWORD";

/// The files of a key pair.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) private: PathBuf,
    pub(crate) public: PathBuf,
}

impl Files {
    /// The names that begin with `prefix`.
    pub(crate) fn of(prefix: &Path) -> Self {
        let with = |ending: &str| {
            let mut name = prefix.as_os_str().to_owned();
            name.push(ending);
            PathBuf::from(name)
        };
        Self {
            private: with(".key"),
            public: with(".pub"),
        }
    }
}

/// Reads a private key: of a file, or of a variable (`env://NAME`).
pub(crate) fn private(path: &Path, environment: &Environment) -> Result<PrivateKey, CommandError> {
    let tried = || format!("failed to read the private key `{}`", path.display());
    match KeyFile::parse(&read(path, environment)?).context(tried)? {
        KeyFile::Plain(key) => Ok(*key),
        KeyFile::Encrypted(key) => decrypt(&key, path, environment).map_err(|error| match error {
            Locked::Asking(error) => error,
            Locked::Key(error) => {
                let is_wrong = matches!(error, KeyError::WrongPassword);
                let hint = match environment.text(PASSWORD) {
                    Some(_) => format!("set {PASSWORD} to the password that the key was made with"),
                    None => format!(
                        "type the password that the key was made with, or set {PASSWORD} to it"
                    ),
                };
                let error = Err::<(), _>(error).context(tried).expect_err("it is one");
                if is_wrong { error.hint(hint) } else { error }
            }
        }),
    }
}

/// Why a key stays locked.
enum Locked {
    /// Nobody could be asked.
    Asking(CommandError),
    /// The password does not open it.
    Key(KeyError),
}

/// Opens a key with the password of the variable, or one that is asked for: as people mistype, more than
/// once.
fn decrypt(
    key: &EncryptedKey,
    path: &Path,
    environment: &Environment,
) -> Result<PrivateKey, Locked> {
    const TRIES: usize = 3;
    let open = |password: &str| key.decrypt(password.as_bytes()).map_err(Locked::Key);
    if let Some(password) = environment.text(PASSWORD) {
        return open(password);
    }
    let name = path.display();
    let nobody = format!("`{name}` is encrypted, and there is no terminal to ask for its password");
    let ask = |prompt: &str| ask(environment, prompt, &nobody).map_err(Locked::Asking);
    let mut prompt = format!("Password of {name}: ");
    for _ in 1..TRIES {
        match open(&ask(&prompt)?) {
            Err(Locked::Key(KeyError::WrongPassword)) => {
                prompt = format!("Wrong password. Password of {name}: ");
            }
            other => return other,
        }
    }
    open(&ask(&prompt)?)
}

/// Reads a public key: of a file, or of a variable (`env://NAME`).
pub(crate) fn public(path: &Path, environment: &Environment) -> Result<PublicKey, CommandError> {
    PublicKey::from_pem(&read(path, environment)?)
        .context(|| format!("failed to read the public key `{}`", path.display()))
        .map_err(|it| {
            it.hint("a public key is a PEM file that begins with `-----BEGIN PUBLIC KEY-----`")
        })
}

/// Makes a key pair and writes it; never over another. Says whether its password is empty.
pub(crate) fn generate(files: &Files, environment: &Environment) -> Result<bool, CommandError> {
    for path in [&files.private, &files.public] {
        if path.exists() {
            return Err(CommandError::undecided(Message(format!(
                "`{}` is there already, and a key is never overwritten",
                path.display()
            )))
            .hint("move it away, or choose another prefix"));
        }
    }
    let password = new_password(environment)?;
    let pair = key::generate(password.as_bytes()).context(|| "failed to make a key".to_owned())?;
    write(&files.private, pair.private.as_bytes(), 0o600)?;
    write(&files.public, pair.public.as_bytes(), 0o644)?;
    Ok(password.is_empty())
}

/// The password of a key that is to be made: asked for twice.
fn new_password(environment: &Environment) -> Result<String, CommandError> {
    if let Some(password) = environment.text(PASSWORD) {
        return Ok(password.to_owned());
    }
    let nobody = "there is no terminal to ask for the new key's password";
    let first = ask(environment, "Password for the new key: ", nobody)?;
    let second = ask(environment, "Repeat password: ", nobody)?;
    if first == second {
        Ok(first)
    } else {
        Err(Message("the passwords do not match".to_owned()).into())
    }
}

/// Asks for a password; `nobody` is said where that cannot be.
fn ask(environment: &Environment, prompt: &str, nobody: &str) -> Result<String, CommandError> {
    let hint = || format!("set {PASSWORD}; it may be empty");
    if !environment.stdin_is_terminal {
        return Err(CommandError::undecided(Message(nobody.to_owned())).hint(hint()));
    }
    prompt::password(prompt).map_err(|it| {
        if it.is_interruption() {
            it
        } else {
            it.hint(hint())
        }
    })
}

fn read(path: &Path, environment: &Environment) -> Result<Vec<u8>, CommandError> {
    /// More than any key: what is larger is something else.
    const LIMIT: u64 = 64 << 10;
    /// What cosign reads keys from, and we do not.
    const SERVICES: [&str; 8] = [
        "awskms://",
        "azurekms://",
        "gcpkms://",
        "gitlab://",
        "hashivault://",
        "https://",
        "k8s://",
        "pkcs11:",
    ];
    let text = path.to_str().unwrap_or_default();
    if let Some(name) = text.strip_prefix("env://") {
        return match environment.text(name) {
            Some(key) if !key.is_empty() => Ok(key.as_bytes().to_vec()),
            _ => Err(CommandError::undecided(Message(format!(
                "`{text}`: the variable `{name}` is not set"
            )))),
        };
    }
    if SERVICES.iter().any(|it| text.starts_with(it)) {
        return Err(CommandError::undecided(Message(format!(
            "`{text}`: keys in key services cannot be used"
        )))
        .hint("name a file, or `env://NAME` for what a variable holds"));
    }
    let file = fs_err::File::open(path).map_err(CommandError::undecided)?;
    oci::read_at_most(file, LIMIT)
        .map_err(CommandError::undecided)?
        .ok_or_else(|| {
            let shown = path.display();
            CommandError::undecided(Message(format!(
                "`{shown}` is larger than {LIMIT} bytes, so it is not a key"
            )))
        })
}

/// Writes a file that was not there, whole or not at all.
fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), CommandError> {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
    let write = || {
        let mut file = tempfile::Builder::new()
            .prefix(".sealpack-")
            .permissions(std::fs::Permissions::from_mode(mode))
            .tempfile_in(folder.unwrap_or_else(|| Path::new(".")))?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(path).map_err(|it| it.error)?;
        Ok::<_, io::Error>(())
    };
    write().context(|| format!("failed to write `{}`", path.display()))
}
