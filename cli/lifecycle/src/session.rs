//! What phases share that talk to registries: credentials, connections, where images are.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;

use lifecycle_core::images::{Images, LayoutImages, RegistryImages, parse_name};
use oci::store::{
    MirrorSettings, RegistryClient, RegistryOptions, RegistryOptionsError, RegistrySettings,
};
use oci::{Limits, Location, Repository};
use tokio::runtime::{Builder, Runtime};

use crate::environment::Environment;
use crate::failure::{Failure, GENERIC, chain};
use crate::inputs::Inputs;

/// Connections, made with the rights that the program was started with.
#[derive(Debug)]
pub(crate) struct Session {
    runtime: Runtime,
    registry: RegistryImages,
    layouts: Option<LayoutImages>,
    pub(crate) limits: Limits,
}

impl Session {
    /// Looks up the credentials for all images that `inputs` names, once: later the files that have
    /// them may be out of reach.
    ///
    /// # Errors
    ///
    /// With `code`, when the credentials are malformed.
    pub(crate) fn open(inputs: &Inputs, code: u8) -> Result<Self, Failure> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(GENERIC, "start", &error))?;
        let environment = &inputs.environment;
        let malformed = |cause: String| Failure {
            code,
            text: format!("failed to resolve inputs: unable to create keychain: {cause}"),
        };
        let (home, variables) = (environment.path("HOME"), texts(environment));
        let settings = RegistrySettings {
            insecure: inputs.insecure_registries.clone(),
            mirrors: MirrorSettings::Variable,
            ..RegistrySettings::default()
        };
        let options = RegistryOptions::find(home.as_deref(), &variables, &settings);
        let mut options = options.map_err(|error| {
            malformed(match &error {
                // What follows "keychain" has always been what is wrong with it.
                RegistryOptionsError::Credentials(error) => chain(error),
                RegistryOptionsError::Mirrors(error) => chain(error),
                other => chain(other),
            })
        })?;
        for repository in repositories(inputs) {
            let found = runtime.block_on(options.credentials.for_repository(&repository));
            if let Some(credential) = found.map_err(|error| malformed(chain(&error)))? {
                options.credentials = options
                    .credentials
                    .with(&repository.to_string(), credential);
            }
        }
        let client = RegistryClient::new(options);
        Ok(Self {
            runtime,
            registry: RegistryImages::new(client),
            // Without a folder upstream takes registries.
            layouts: (inputs.layout && !inputs.layout_dir.as_os_str().is_empty())
                .then(|| LayoutImages::new(&inputs.layout_dir)),
            limits: Limits::default(),
        })
    }

    /// Where the app's image and those that it is made of are.
    pub(crate) fn images(&self) -> &dyn Images {
        match &self.layouts {
            Some(layouts) => layouts,
            None => &self.registry,
        }
    }

    /// Where cache images are.
    pub(crate) fn cache_images(&self) -> &dyn Images {
        &self.registry
    }

    /// Waits for `work`.
    pub(crate) fn wait<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
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
