//! What phases share that talk to registries or a daemon: credentials, connections, where images are.

use std::collections::BTreeMap;
use std::error::Error;
use std::future::Future;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use go::words::{chain, io_cause};
use lifecycle_core::images::{DaemonImages, Images, LayoutImages, RegistryImages, parse_name};
use oci::auth::CredentialsError;
use oci::store::{
    DaemonAddress, DaemonAddressError, DaemonOptions, DaemonProblem, DockerDaemon, MirrorSettings,
    RegistryClient, RegistryOptions, RegistryOptionsError, RegistrySettings,
};
use oci::{Limits, Location, Repository, StoreError};
use tokio::runtime::{Builder, Runtime};

use crate::environment::Environment;
use crate::failure::{Failure, GENERIC};
use crate::inputs::Inputs;

/// Connections, made with the rights that the program was started with.
#[derive(Debug)]
pub(crate) struct Session {
    runtime: Runtime,
    registry: RegistryImages,
    layouts: Option<LayoutImages>,
    daemon: Option<DaemonImages>,
    pub(crate) limits: Limits,
}

impl Session {
    /// Looks up the credentials for all images that `inputs` names, once: later the files that have
    /// them may be out of reach.
    ///
    /// # Errors
    ///
    /// As `malformed` puts it, when the credentials of the environment are that; those of a file do
    /// without.
    pub(crate) fn open(
        inputs: &Inputs,
        malformed: impl Fn(&str) -> Failure,
    ) -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(GENERIC, "start", &error))?;
        let environment = &inputs.environment;
        let (home, variables) = (environment.path("HOME"), texts(environment));
        let settings = RegistrySettings {
            insecure: inputs.insecure_registries.clone(),
            mirrors: MirrorSettings::Variable,
            ..RegistrySettings::default()
        };
        let find = |home, variables: &BTreeMap<String, String>| {
            RegistryOptions::find(home, variables, &settings)
        };
        let mut options = find(home.as_deref(), &variables);
        if matches!(&options, Err(RegistryOptionsError::Credentials(error)) if is_of_file(error)) {
            options = find(None, &without_files(&variables));
        }
        let mut options = options.map_err(|error| {
            malformed(&match &error {
                RegistryOptionsError::Credentials(CredentialsError::CnbRegistryAuth) => {
                    let text = variables.get(REGISTRY_AUTH).map_or("", String::as_str);
                    format!(
                        "reading auth env var: failed to parse {REGISTRY_AUTH} value: {}",
                        texts_problem(text)
                    )
                }
                // What follows "keychain" has always been what is wrong with it.
                RegistryOptionsError::Credentials(error) => chain(error),
                RegistryOptionsError::Mirrors(error) => chain(error),
                other => chain(other),
            })
        })?;
        let mut found = Vec::new();
        let mut is_broken = false;
        for repository in repositories(inputs) {
            let credential = runtime.block_on(options.credentials.for_repository(&repository));
            is_broken |= credential.is_err();
            found.extend(credential.ok().flatten().map(|it| (repository, it)));
        }
        if is_broken {
            // Who cannot be asked now is not asked later.
            options.credentials = find(None, &without_files(&variables))
                .map(|options| options.credentials)
                .unwrap_or_default();
        }
        for (repository, credential) in found {
            options.credentials = options
                .credentials
                .with(&repository.to_string(), credential);
        }
        let client = RegistryClient::new(options);
        Ok(Self {
            runtime,
            registry: RegistryImages::new(client),
            // Without a folder upstream takes registries.
            layouts: (inputs.layout && !inputs.layout_dir.as_os_str().is_empty())
                .then(|| LayoutImages::new(&inputs.layout_dir)),
            daemon: None,
            limits: Limits::default(),
        })
    }

    /// Connects to the daemon, if images are there.
    ///
    /// # Errors
    ///
    /// When it cannot be connected to.
    pub(crate) fn connect(&mut self, inputs: &Inputs) -> Result<(), Failure> {
        if inputs.daemon {
            self.daemon = Some(daemon(inputs, &self.runtime)?);
        }
        Ok(())
    }

    /// Whether the image `name` may be read. Of layouts and a daemon that is not asked.
    pub(crate) async fn may_read(&self, inputs: &Inputs, name: &str) -> bool {
        inputs.daemon || inputs.layout || self.registry.check_read(name).await.is_ok()
    }

    /// Where the app's image and those that it is made of are.
    pub(crate) fn images(&self) -> &dyn Images {
        match (&self.layouts, &self.daemon) {
            (Some(layouts), _) => layouts,
            (None, Some(daemon)) => daemon,
            (None, None) => &self.registry,
        }
    }

    /// Where cache images are, and what extensions begin with.
    pub(crate) fn registries(&self) -> &dyn Images {
        &self.registry
    }

    /// Waits for `work`.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}

/// Connections to the daemon that are opened ahead: its socket may be root's alone.
const CONNECTIONS: usize = 4;

/// The Docker daemon, connected to while there is the right to it.
fn daemon(inputs: &Inputs, runtime: &Runtime) -> Result<DaemonImages, Failure> {
    let failed = |cause: &str| Failure::because(GENERIC, "initialize docker client", cause);
    let variables = texts(&inputs.environment);
    let host = variables.get("DOCKER_HOST").filter(|it| !it.is_empty());
    let host = host.map_or("unix:///var/run/docker.sock", String::as_str);
    // Upstream knows no contexts: nobody chooses one for a build.
    let mut known = variables.clone();
    known.retain(|name, _| {
        ["DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY"].contains(&name.as_str())
    });
    let address = DaemonAddress::find(&known, None).map_err(|error| match error {
        DaemonAddressError::Malformed { .. } => {
            failed(&format!("unable to parse docker host `{host}`"))
        }
        error => failed(&chain(&error)),
    })?;
    let is_roots = match &address {
        DaemonAddress::Unix(path) => std::fs::metadata(path).is_ok_and(|it| it.uid() == 0),
        _ => false,
    };
    let options = DaemonOptions {
        temporary: temporary_folder(&inputs.environment),
        ..DaemonOptions::default()
    };
    let daemon = DockerDaemon::new(address, options);
    let connected = runtime.block_on(daemon.connect(CONNECTIONS));
    // What else fails is told by who asks first, if anyone does.
    if let (Err(error), true) = (connected, is_roots) {
        let path = host.strip_prefix("unix://").unwrap_or(host);
        let cause = match &error {
            StoreError::Unavailable { source, .. } => connecting(&**source),
            error => chain(error),
        };
        let cause =
            format!("failed to connect to docker socket: dial unix {path}: connect: {cause}");
        return Err(failed(&cause));
    }
    let images = DaemonImages::new(daemon, host);
    Ok(if inputs.launch_cache.as_os_str().is_empty() {
        images
    } else {
        images.with_launch_cache(&inputs.launch_cache)
    })
}

/// Why a connection could not be made, as Go says it.
fn connecting(problem: &(dyn Error + Send + Sync + 'static)) -> String {
    match problem.downcast_ref() {
        Some(
            DaemonProblem::NotRunning(cause)
            | DaemonProblem::Denied(cause)
            | DaemonProblem::NoConnection(cause),
        ) => io_cause(cause),
        _ => chain(problem),
    }
}

/// The variable with credentials.
const REGISTRY_AUTH: &str = "CNB_REGISTRY_AUTH";

/// Whether a file of credentials is what is wrong. Upstream goes on without it: registries that
/// want none work still, as where a desktop's helper is configured and not there.
fn is_of_file(error: &CredentialsError) -> bool {
    !matches!(
        error,
        CredentialsError::CnbRegistryAuth | CredentialsError::CnbEntry { .. }
    )
}

/// The variables without those that name files of credentials.
fn without_files(variables: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let names = ["DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME"];
    let mut variables = variables.clone();
    variables.retain(|name, _| !names.contains(&name.as_str()));
    variables
}

/// The variables that are text.
fn texts(environment: &Environment) -> BTreeMap<String, String> {
    let text = |it: &std::ffi::OsString| it.to_str().map(str::to_owned);
    environment
        .variables
        .iter()
        .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
        .collect()
}

/// The repositories of all images that are named.
fn repositories(inputs: &Inputs) -> Vec<Repository> {
    let names = [
        &inputs.build_image,
        &inputs.cache_image,
        &inputs.image,
        &inputs.previous_image,
        &inputs.run_image,
    ];
    let mut repositories: Vec<_> = names
        .into_iter()
        .chain(&inputs.tags)
        .filter_map(|it| match parse_name(it).ok()?.location {
            Location::Registry(repository) => Some(repository),
            _ => None,
        })
        .collect();
    repositories.sort();
    repositories.dedup();
    repositories
}

/// Where temporary files go.
pub(crate) fn temporary_folder(environment: &Environment) -> PathBuf {
    environment.path("TMPDIR").unwrap_or_else(|| "/tmp".into())
}

/// Why `text` is no JSON object of texts, in Go's words; of the text one letter is shown at most.
fn texts_problem(text: &str) -> String {
    type Texts = Option<BTreeMap<String, String>>;
    let read = go::json::unmarshal::<Texts>(text.as_bytes(), &go::json::Type::TEXTS_BY_NAME);
    read.err().map(|it| it.to_string()).unwrap_or_default()
}
