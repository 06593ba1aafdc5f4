//! `sealpack serve`: the admission webhook, set up and run.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use admission::{Kinds, Mode, Modes};
use attest::SignerPattern;
use clap::{Args, ValueEnum};
use gate::{GateOptions, PolicySet, Trust};
use oci::store::{RegistryOptions, Retries};
use serve::{Certificate, Control, Gated, Limits, Loaded, Log, Pin, Server, Settings};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::args::{Access, IdentityArgs};
use crate::environment::{self, Environment};
use crate::error::{CommandError, Context as _};
use crate::identities::MAX_ROOT;
use crate::{files, registries, ui};

/// Run a Kubernetes admission webhook that admits only images that a policy accepts.
///
/// Serves `/validate`, `/mutate` and `/v1/verify` by HTTPS, beside `/healthz`, `/readyz` and
/// `/metrics`. Certificates, policies and credentials are read again when their files change, and on
/// SIGHUP; what cannot be used leaves in force what was. SIGTERM ends it in order: not ready at once,
/// then connections are told to go, then what is in flight ends.
///
/// It logs one JSON object a line, on standard error.
#[derive(Args, Debug)]
#[command(
    after_help = "Example:\n  sealpack serve --policy policies --tls-cert tls.crt --tls-key tls.key --listen 0.0.0.0:8443"
)]
pub(crate) struct Serve {
    /// The policies: a `policy.toml`, or a folder of such. Of those that are about an image and its
    /// namespace the strictest holds.
    #[arg(long, value_name = "DIR")]
    policy: PathBuf,

    #[command(flatten)]
    identity: IdentityArgs,

    /// The certificate of this server, and those between it and its root (PEM).
    #[arg(long, value_name = "FILE")]
    tls_cert: PathBuf,

    /// Its private key (PEM, not encrypted).
    #[arg(long, value_name = "FILE")]
    tls_key: PathBuf,

    /// Where it is asked.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,

    /// Where it is asked for health and figures alone, without TLS.
    #[arg(hide_short_help = true, long, value_name = "ADDRESS")]
    health_listen: Option<SocketAddr>,

    /// What a rejection leads to.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "enforce",
        help_heading = "Answers"
    )]
    mode: Enforcement,

    /// What not knowing leads to: the registry is down, slow or throttles.
    #[arg(
        long,
        value_name = "MODE",
        default_value = "deny",
        help_heading = "Answers"
    )]
    undecided: Leniency,

    /// What it leads to that no policy is about an image.
    #[arg(
        hide_short_help = true,
        long,
        value_name = "MODE",
        default_value = "deny",
        help_heading = "Answers"
    )]
    no_match: Leniency,

    /// How what makes pods (Deployments, Jobs, …) is answered; their pods are asked about anyway.
    #[arg(
        hide_short_help = true,
        long,
        value_name = "MODE",
        default_value = "deny",
        help_heading = "Answers"
    )]
    workloads: Workloads,

    /// Whose tags `/mutate` replaces by the digest that was judged (`repo:tag@sha256:…`).
    #[arg(
        hide_short_help = true,
        long,
        value_name = "WHAT",
        default_value = "pods",
        help_heading = "Answers"
    )]
    mutate: Mutate,

    /// Where a custom kind has a pod spec. Repeatable.
    #[arg(
        hide_short_help = true,
        long = "kind",
        value_name = "GROUP/KIND=/POINTER",
        help_heading = "Answers"
    )]
    kinds: Vec<String>,

    /// Seconds within which there is an answer, if the API server does not give up sooner.
    #[arg(hide_short_help = true, long, value_name = "SECONDS", default_value = "9", value_parser = seconds, help_heading = "Answers")]
    time_limit: Duration,

    /// Seconds for which, after SIGTERM, connections are still taken.
    #[arg(hide_short_help = true, long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    lame_duck: Duration,

    #[command(flatten)]
    access: Access,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Enforcement {
    /// It is not admitted.
    Enforce,
    /// It is admitted, and the user is warned.
    Warn,
    /// It is admitted, and stands in the audit log.
    Audit,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Leniency {
    /// It is not admitted.
    Deny,
    /// It is admitted, and the user is warned.
    Warn,
    /// It is admitted, and stands in the audit log.
    Allow,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Workloads {
    /// As their pods will be.
    Deny,
    /// The user is warned.
    Warn,
    /// They are not judged.
    Off,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mutate {
    /// Those of pods.
    Pods,
    /// Those of what makes pods, too.
    Workloads,
    /// Nobody's.
    Off,
}

/// Serves until it is told to end.
pub(crate) async fn run(args: Serve, environment: &Environment) -> Result<(), CommandError> {
    let certificate = Certificate::load(
        &environment.directory.join(&args.tls_cert),
        &environment.directory.join(&args.tls_key),
    )
    .context(|| "failed to use the certificate".to_owned())?;
    let settings = settings(&args)?;
    let gate = GateOptions {
        limit: Some(args.time_limit),
        ..GateOptions::default()
    };
    let judge = Gated::new(
        load(&args, environment)?,
        watched(&args, environment),
        gate,
        environment::now,
    )
    .context(|| "failed to read what is to be judged by".to_owned())?;
    let listener = listen(args.listen).await?;
    let health = match args.health_listen {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let server = Server {
        listener,
        health,
        certificate,
        judge: Arc::new(judge),
        settings,
        limits: Limits {
            time_limit: args.time_limit,
            lame_duck: args.lame_duck,
            ..Limits::default()
        },
        log: Log::new(ui::log, environment::now),
    };
    let (control, told) = Control::new();
    let failed = || "failed to listen to signals".to_owned();
    let mut hangup = signal(SignalKind::hangup()).context(failed)?;
    let mut terminate = signal(SignalKind::terminate()).context(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(failed)?;
    let signals = async {
        loop {
            tokio::select! {
                _ = hangup.recv() => control.reload(),
                _ = terminate.recv() => control.stop(),
                _ = interrupt.recv() => control.stop(),
            }
        }
    };
    tokio::select! {
        ended = server.run(told) => ended.map_err(CommandError::undecided),
        () = signals => Ok(()),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address)
        .await
        .context(|| format!("failed to listen on `{address}`"))
}

fn settings(args: &Serve) -> Result<Settings, CommandError> {
    let mut kinds = Kinds::default();
    for kind in &args.kinds {
        kinds.add(kind).map_err(CommandError::undecided)?;
    }
    let leniency = |it| match it {
        Leniency::Deny => Mode::Deny,
        Leniency::Warn => Mode::Warn,
        Leniency::Allow => Mode::Allow,
    };
    Ok(Settings {
        kinds,
        modes: Modes {
            rejected: match args.mode {
                Enforcement::Enforce => Mode::Deny,
                Enforcement::Warn => Mode::Warn,
                Enforcement::Audit => Mode::Allow,
            },
            undecided: leniency(args.undecided),
            no_policy: leniency(args.no_match),
            workloads: match args.workloads {
                Workloads::Deny => Mode::Deny,
                Workloads::Warn => Mode::Warn,
                Workloads::Off => Mode::Allow,
            },
        },
        pin: match args.mutate {
            Mutate::Pods => Pin::Pods,
            Mutate::Workloads => Pin::Workloads,
            Mutate::Off => Pin::Off,
        },
        policies: args.policy.display().to_string(),
    })
}

type Load = Box<dyn Fn() -> Result<Loaded, Box<dyn std::error::Error + Send + Sync>> + Send + Sync>;

/// How policies and settings are read, now and again.
fn load(args: &Serve, environment: &Environment) -> Result<Load, CommandError> {
    let given = args.identity.signers(environment)?;
    let policy = environment.directory.join(&args.policy);
    let root = args.identity.trusted_root.clone();
    let root = root.map(|it| environment.directory.join(it));
    let said = registries::settings(&args.access);
    let (home, variables) = (environment.home(), environment.texts());
    Ok(Box::new(move || {
        let policies = PolicySet::load(&policy, &given)?;
        let mut accepted = policies.policies().iter().flat_map(|it| it.accepts());
        let trust = match &root {
            Some(path) => {
                let read = oci::read_at_most(fs_err::File::open(path)?, MAX_ROOT)?;
                Trust::root(&read.ok_or_else(|| files::too_large(path, MAX_ROOT))?)?
            }
            None if accepted.any(|it| matches!(it.signer, SignerPattern::Identity(_))) => {
                Trust::public()?
            }
            None => Trust::keys(),
        };
        let registries = RegistryOptions::find(home.as_deref(), &variables, &said)?;
        Ok(Loaded {
            policies,
            trust,
            registries: RegistryOptions {
                // Each registry has a client of its own.
                concurrency: 16,
                connect_timeout: Duration::from_secs(3),
                silence_timeout: Duration::from_secs(10),
                document_timeout: Duration::from_secs(20),
                retries: Retries {
                    longest: Duration::from_mins(1),
                    ..Retries::default()
                },
                ..registries
            },
        })
    }))
}

/// What it is made of: the policies, the files that flags name, and where credentials lie.
fn watched(args: &Serve, environment: &Environment) -> Vec<PathBuf> {
    let access = &args.access;
    let mut files = vec![args.policy.clone()];
    files.extend(args.identity.trusted_root.clone());
    files.extend(access.registry_ca.iter().cloned());
    files.extend(access.registry_cert.clone());
    files.extend(access.registry_key.clone());
    files.extend(access.registries_conf.clone());
    match (&access.authfile, environment.home()) {
        (Some(file), _) => files.push(file.clone()),
        (None, Some(home)) => files.push(home.join(".docker/config.json")),
        (None, None) => {}
    }
    if let Some(folder) = environment.text("DOCKER_CONFIG") {
        files.push(Path::new(folder).join("config.json"));
    }
    files
        .into_iter()
        .map(|it| environment.directory.join(it))
        .collect()
}

fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|it| Duration::try_from_secs_f64(it).ok())
        .ok_or_else(|| "a number of seconds is needed".to_owned())
}
