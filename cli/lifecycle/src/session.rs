//! What phases share that talk to registries or a daemon: credentials, connections, where images are.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::future::Future;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use go::words::{chain, io_cause};
use lifecycle_core::images::{DaemonImages, Images, LayoutImages, RegistryImages, parse_name};
use oci::auth::{Credentials, CredentialsError};
use oci::store::{
    DaemonAddress, DaemonAddressError, DaemonOptions, DaemonProblem, DockerDaemon, MirrorSettings,
    RegistryClient, RegistryOptions, RegistryOptionsError, RegistrySettings,
};
use oci::{Limits, Location, StoreError};
use tokio::runtime::{Builder, Runtime};

use crate::environment::Environment;
use crate::failure::{Failure, GENERIC};
use crate::inputs::Inputs;

/// Connections, made with the rights that the program was started with.
#[derive(Debug)]
pub(crate) struct Session {
    runtime: Runtime,
    credentials: Credentials,
    registry: RegistryImages,
    /// The same where all registries are secure, if not all are.
    strict: Option<RegistryImages>,
    layouts: Option<LayoutImages>,
    daemon: Option<DaemonImages>,
    pub(crate) limits: Limits,
}

impl Session {
    /// Knows where credentials are, and has looked none up.
    ///
    /// # Errors
    ///
    /// As `malformed` puts it, when the credentials of the environment are that. A malformed file
    /// counts as absent: registries that want no credentials work still, as where a desktop's helper is
    /// configured and not there.
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
        let malformed = |error: &RegistryOptionsError| malformed(&problem(error, &variables));
        let credentials = Credentials::find_as_upstream(home.as_deref(), &variables);
        let credentials =
            credentials.map_err(|error| malformed(&RegistryOptionsError::Credentials(error)))?;
        let settings = RegistrySettings {
            insecure: inputs.insecure_registries.clone(),
            mirrors: MirrorSettings::Variable,
            credentials: Some(credentials.clone()),
            ..RegistrySettings::default()
        };
        let options = RegistryOptions::find(home.as_deref(), &variables, &settings)
            .map_err(|error| malformed(&error))?;
        let options = RegistryOptions {
            plain_in_private: true,
            ..options
        };
        // Whether an image may be read is asked before anybody thinks of insecure registries.
        let strict = (!options.insecure.is_empty()).then(|| {
            let options = RegistryOptions {
                insecure: Vec::new(),
                ..options.clone()
            };
            RegistryImages::new(RegistryClient::new(options))
        });
        let client = RegistryClient::new(options);
        Ok(Self {
            runtime,
            credentials,
            registry: RegistryImages::new(client),
            strict,
            // Without a folder upstream takes registries.
            layouts: (inputs.layout && !inputs.layout_dir.as_os_str().is_empty())
                .then(|| LayoutImages::new(&inputs.layout_dir)),
            daemon: None,
            limits: Limits::default(),
        })
    }

    /// Looks up the credentials for `images`: later the files and programs that have them may be out of
    /// reach. What does not name an image is passed over.
    pub(crate) fn look_up<'a>(&self, images: impl IntoIterator<Item = &'a str>) {
        for image in images {
            let reference = parse_name(image).map(|it| it.location);
            if let Ok(Location::Registry(repository)) = reference {
                let looking = self.credentials.look_up(repository.registry());
                for note in self.runtime.block_on(looking) {
                    writeln!(std::io::stderr(), "{note}").ok();
                }
            }
        }
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
        let registry = self.strict.as_ref().unwrap_or(&self.registry);
        inputs.daemon || inputs.layout || registry.check_read(name).await.is_ok()
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

/// What is wrong with how registries are to be reached. What follows "keychain" has always been that alone.
fn problem(error: &RegistryOptionsError, variables: &BTreeMap<String, String>) -> String {
    match error {
        RegistryOptionsError::Credentials(CredentialsError::CnbRegistryAuth) => {
            let text = variables.get(REGISTRY_AUTH).map_or("", String::as_str);
            format!(
                "reading auth env var: failed to parse {REGISTRY_AUTH} value: {}",
                texts_problem(text)
            )
        }
        RegistryOptionsError::Credentials(error) => chain(error),
        RegistryOptionsError::Mirrors(error) => chain(error),
        other => chain(other),
    }
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

/// All images in registries that are named, each once, in the order in which credentials for them are
/// looked up.
pub(crate) fn in_registries(inputs: &Inputs) -> Vec<&str> {
    let mut images = vec![inputs.cache_image.as_str()];
    if !inputs.daemon {
        images.push(&inputs.image);
        images.extend(inputs.tags.iter().map(String::as_str));
        images.extend([
            inputs.previous_image.as_str(),
            &inputs.build_image,
            &inputs.run_image,
        ]);
    }
    let mut seen = BTreeSet::new();
    images.retain(|it| !it.is_empty() && seen.insert(*it));
    images
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
