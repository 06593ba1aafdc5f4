//! What the user says by flags about how registries are reached.

use oci::store::{MirrorSettings, RegistryOptions, RegistrySettings};

use crate::args::Access;
use crate::environment::Environment;
use crate::error::CommandError;

/// What the flags say.
pub(crate) fn settings(access: &Access) -> RegistrySettings {
    let certificate = access.registry_cert.clone();
    RegistrySettings {
        insecure: access.insecure_registries.clone(),
        roots: access.registry_ca.clone(),
        client_certificate: certificate.zip(access.registry_key.clone()),
        mirrors: match &access.registries_conf {
            _ if access.offline => MirrorSettings::Nowhere,
            Some(path) => MirrorSettings::File(path.clone()),
            None => MirrorSettings::Found,
        },
        authfile: access.authfile.clone(),
        ..RegistrySettings::default()
    }
}

/// The same, with all that is set up for such clients. Connects to nothing.
pub(crate) fn options(
    access: &Access,
    environment: &Environment,
) -> Result<RegistryOptions, CommandError> {
    let (home, variables) = (environment.home(), environment.texts());
    let found = RegistryOptions::find(home.as_deref(), &variables, &settings(access));
    Ok(RegistryOptions {
        loopback_only: access.offline,
        ..found.map_err(CommandError::undecided)?
    })
}
