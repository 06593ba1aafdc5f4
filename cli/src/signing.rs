//! Who signs: a key of one's own, or whoever an identity token names; and who sees it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use attest::key::PrivateKey;
use attest::{Bundle, Payload, SignedBy, Verifier};
use intoto::Statement;
use keyless::token::{self, AmbientError, Surroundings, TokenError};
use keyless::{
    Certified, IdentityToken, Keyless, KeylessError, Log, LogVersion, Plan, SigningConfig,
};
use net::{ProxySettings, Secret, ServiceError, Services, TrustSettings};
use oci::Descriptor;
use serde::Serialize;
use tokio::sync::OnceCell;

use crate::args::{Access, ServiceArgs};
use crate::environment::{self, Environment};
use crate::error::{CommandError, Context as _, Message};
use crate::files;
use crate::stranger::Stranger;
use crate::ui::Ui;

/// Whom a token has to be for.
const AUDIENCE: &str = "sigstore";
/// Where some platforms put a token.
const TOKEN_FILE: &str = "/var/run/sigstore/cosign/oidc-token";
/// More than any of the files that say which services there are.
const MAX_BYTES: u64 = 1 << 20;

/// Signs statements.
#[derive(Debug)]
pub(crate) struct Signer {
    holder: Holder,
    /// Who sees what is signed, and how it is verified then; nobody, if no service is named.
    seen: Option<Seen>,
    /// Whether it was said who signs.
    told: AtomicBool,
}

#[derive(Debug)]
enum Holder {
    Key(Box<PrivateKey>),
    Token(Box<TokenHolder>),
}

/// Whoever a token names. The certificate is asked for when there is something to sign, once.
#[derive(Debug)]
struct TokenHolder {
    given: Option<Secret>,
    surroundings: Surroundings,
    asking: Services,
    certified: OnceCell<Certified>,
}

#[derive(Debug)]
struct Seen {
    keyless: Keyless,
    stranger: Stranger,
}

impl Signer {
    /// Looks at key or token, and at the files that name services. Nobody is asked for a certificate yet.
    pub(crate) async fn open(
        key: Option<PrivateKey>,
        args: &ServiceArgs,
        access: &Access,
        environment: &Environment,
    ) -> Result<Self, CommandError> {
        if key.is_none() && !args.are_named() {
            return Err(
                CommandError::undecided(Message("`--key` is missing".to_owned()))
                    .hint("sign with `--key FILE`, or by an identity: `--signing-config public`"),
            );
        }
        let options = options(args, environment);
        let plan = plan(args)?;
        if key.is_none() && plan.authority.is_none() {
            return Err(said(KeylessError::NoAuthority));
        }
        if access.offline {
            offline(&plan)?;
        }
        let asks = !plan.logs.is_empty() || !plan.timestamp_authorities.is_empty();
        let seen = if asks || key.is_none() {
            Some(Seen {
                stranger: Stranger::of(args, &plan)?,
                keyless: Keyless::new(Services::new(options.clone()), plan),
            })
        } else {
            None
        };
        let holder = if let Some(key) = key {
            Holder::Key(Box::new(key))
        } else {
            let holder = TokenHolder {
                given: args.identity_token.as_ref().map(given).transpose()?,
                surroundings: Surroundings {
                    variables: environment.texts(),
                    files: vec![PathBuf::from(TOKEN_FILE)],
                },
                asking: Services::new(options),
                certified: OnceCell::new(),
            };
            holder.token().await?;
            Holder::Token(Box::new(holder))
        };
        Ok(Self {
            holder,
            seen,
            told: AtomicBool::new(false),
        })
    }

    /// The key that signs, if it is one's own.
    pub(crate) fn key(&self) -> Option<&PrivateKey> {
        match &self.holder {
            Holder::Key(key) => Some(key),
            Holder::Token(_) => None,
        }
    }

    /// What verifies what is signed here, as a stranger would.
    pub(crate) fn verifier(&self) -> Verifier {
        match &self.seen {
            Some(seen) => seen.stranger.verifier().clone(),
            None => Verifier::of_keys(),
        }
    }

    /// Signs `statement` about `image`. What services took part in is verified as a stranger would.
    pub(crate) async fn sign<P: Serialize>(
        &self,
        statement: &Statement<P>,
        image: &Descriptor,
        ui: &Ui,
    ) -> Result<Bundle, CommandError> {
        let Some(Seen { keyless, stranger }) = &self.seen else {
            return match &self.holder {
                Holder::Key(key) => {
                    attest::sign(statement, &**key).map_err(CommandError::undecided)
                }
                Holder::Token(_) => Err(said(KeylessError::NoAuthority)),
            };
        };
        let payload = Payload::of(statement).map_err(CommandError::undecided)?;
        let signature = match &self.holder {
            Holder::Key(key) => keyless.sign_with(&payload, key).await,
            Holder::Token(holder) => {
                let certified = holder.certified(keyless).await?;
                keyless.sign(&payload, certified).await
            }
        };
        let signature = signature.map_err(said)?;
        let bundle = Bundle::of_statement(payload, signature);
        let key = self.key().map(PrivateKey::public_key);
        let signer = stranger.verify(&bundle, image, statement.predicate_type(), key)?;
        if let (SignedBy::Identity(_), false) = (&signer, self.told.swap(true, Ordering::Relaxed)) {
            ui.aside(format_args!("signed by {signer}"));
        }
        Ok(bundle)
    }
}

impl TokenHolder {
    /// The token, which is still good. Where it can be asked for, it is asked for anew each time.
    async fn token(&self) -> Result<IdentityToken, CommandError> {
        let token = match &self.given {
            Some(text) => IdentityToken::parse(text).map_err(|it| said(KeylessError::Token(it)))?,
            None => token::find(&self.surroundings, AUDIENCE, &self.asking)
                .await
                .map_err(not_found)?
                .ok_or_else(|| {
                    CommandError::undecided(Message(
                        "missing identity token: nothing says who signs".to_owned(),
                    ))
                    .hint("give one by `--identity-token` or `SIGSTORE_ID_TOKEN`; in GitHub Actions the job needs `permissions: id-token: write`")
                    .hint("or sign with a key: `--key FILE`")
                })?,
        };
        let good = token.check(environment::now());
        good.map_err(|it| said(KeylessError::Token(it)))?;
        Ok(token)
    }

    async fn certified(&self, keyless: &Keyless) -> Result<&Certified, CommandError> {
        let certify = || async {
            let token = self.token().await?;
            let certified = keyless.certify(&token, environment::now()).await;
            certified.map_err(said)
        };
        self.certified.get_or_try_init(certify).await
    }
}

/// How the services are reached.
fn options(args: &ServiceArgs, environment: &Environment) -> net::Options {
    let (home, variables) = (environment.home(), environment.texts());
    let limit = Duration::from_secs(args.service_timeout.max(1));
    let defaults = net::Options::default();
    net::Options {
        trust: TrustSettings::find(home.as_deref(), &variables),
        proxies: ProxySettings::find(&variables),
        connect_timeout: defaults.connect_timeout.min(limit),
        document_timeout: limit,
        ..defaults
    }
}

/// Which services are asked.
fn plan(args: &ServiceArgs) -> Result<Plan, CommandError> {
    if let Some(name) = &args.signing_config {
        let config = match name.as_str() {
            "public" => SigningConfig::public(),
            path => SigningConfig::parse(&read(Path::new(path))?),
        };
        let plan = config.and_then(|it| it.plan(environment::now().into()));
        return plan.context(|| format!("failed to choose services by `{name}`"));
    }
    Ok(Plan {
        authority: args.fulcio_url.clone(),
        logs: args
            .rekor_url
            .iter()
            .map(|url| Log {
                url: url.clone(),
                version: match args.rekor_version {
                    1 => LogVersion::V1,
                    _ => LogVersion::V2,
                },
            })
            .collect(),
        timestamp_authorities: args.timestamp_server_url.iter().cloned().collect(),
    })
}

/// Refuses services that are not on this machine.
fn offline(plan: &Plan) -> Result<(), CommandError> {
    let logs = plan.logs.iter().map(|it| &it.url);
    let all = plan.authority.iter().chain(logs);
    let mut all = all.chain(&plan.timestamp_authorities);
    match all.find(|it| !net::address::is_loopback(it)) {
        Some(url) => Err(CommandError::undecided(Message(format!(
            "`{}` is not on this machine, and `--offline` forbids connections",
            url.origin().ascii_serialization()
        )))),
        None => Ok(()),
    }
}

/// A token, or what the file holds that is named in its place.
fn given(token: &Secret) -> Result<Secret, CommandError> {
    let path = Path::new(token.reveal());
    if !path.is_file() {
        return Ok(token.clone());
    }
    let text = read(path)?;
    Ok(String::from_utf8_lossy(&text).as_ref().into())
}

/// The file that holds the token, if one was named.
pub(crate) fn token_file(args: &ServiceArgs) -> Option<&Path> {
    let named = args.identity_token.as_ref()?;
    Some(Path::new(named.reveal())).filter(|it| it.is_file())
}

/// Reads a small file.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    files::read(path, MAX_BYTES)
}

/// What a user can do about a service.
fn said(error: KeylessError) -> CommandError {
    let hint = match &error {
        KeylessError::Token(TokenError::Expired { .. }) => Some("get a new one"),
        KeylessError::Token(_) => Some(
            "`--identity-token` takes a token (three parts with dots between) or a file with one",
        ),
        KeylessError::NoAuthority => Some(
            "name the services by `--signing-config FILE`, or `--fulcio-url URL`; or sign with a key: `--key FILE`",
        ),
        KeylessError::Service { source, .. } => service(source),
        KeylessError::LoggedBefore { .. } => {
            Some("the same key has signed the same before: it need not be signed again")
        }
        KeylessError::Key { .. }
        | KeylessError::Refused { .. }
        | KeylessError::Malformed { .. } => None,
    };
    let error = CommandError::undecided(error);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn service(error: &ServiceError) -> Option<&'static str> {
    match error {
        ServiceError::NotSecure { .. } => Some("name it by `https://`"),
        ServiceError::Unreachable { .. } => Some("`--service-timeout` says how long to wait"),
        ServiceError::Token { .. } | ServiceError::Setup { .. } => None,
    }
}

fn not_found(error: AmbientError) -> CommandError {
    let is_github = matches!(error, AmbientError::Refused { .. });
    let error = CommandError::undecided(error);
    if is_github {
        error.hint("the job needs `permissions: id-token: write`")
    } else {
        error
    }
}
