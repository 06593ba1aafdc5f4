//! How registries are reached: what the user says by flags, and has set up for all such clients.

use std::path::Path;

use oci::auth::{ConfigFile, Credentials};
use oci::store::{ClientCertificate, Mirrors, ProxySettings, RegistryOptions, TrustSettings};

use crate::args::Access;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};

/// All of it. Reads the files that it needs, and connects to nothing.
pub(crate) fn options(
    access: &Access,
    environment: &Environment,
) -> Result<RegistryOptions, CommandError> {
    let (home, variables) = (environment.home(), environment.texts());
    let mut trust = TrustSettings::find(home.as_deref(), &variables);
    for path in &access.registry_ca {
        trust.extra_roots.push(read(path)?);
    }
    if let (Some(certificate), Some(key)) = (&access.registry_cert, &access.registry_key) {
        trust.client_certificate = Some(ClientCertificate {
            chain: read(certificate)?,
            key: String::from_utf8_lossy(&read(key)?).as_ref().into(),
        });
    }
    Ok(RegistryOptions {
        credentials: credentials(access, environment)
            .context(|| "failed to read the registries' credentials".to_owned())?,
        insecure: access.insecure_registries.clone(),
        trust,
        proxies: ProxySettings::find(&variables),
        mirrors: mirrors(access, environment)?,
        temporary: environment.temporary(),
        ..RegistryOptions::default()
    })
}

fn mirrors(access: &Access, environment: &Environment) -> Result<Mirrors, CommandError> {
    if access.offline {
        return Ok(Mirrors::default());
    }
    Mirrors::find(
        access.registries_conf.as_deref(),
        environment.home().as_deref(),
        &environment.texts(),
    )
    .context(|| "failed to find out about mirrors".to_owned())
}

fn credentials(
    access: &Access,
    environment: &Environment,
) -> Result<Credentials, oci::auth::CredentialsError> {
    let Some(path) = &access.authfile else {
        return Credentials::find(environment.home().as_deref(), &environment.texts());
    };
    let mut found = Credentials::default();
    if let Some(text) = environment.text("CNB_REGISTRY_AUTH") {
        found = found.with_cnb_registry_auth(text)?;
    }
    Ok(match ConfigFile::read(path)? {
        Some(file) => found.with_file(file),
        None => found,
    })
}

fn read(path: &Path) -> Result<Vec<u8>, CommandError> {
    /// More than any file of certificates.
    const LIMIT: u64 = 16 << 20;
    let size = fs_err::metadata(path)
        .map_err(CommandError::undecided)?
        .len();
    if size > LIMIT {
        return Err(Message(format!("`{}` is no file of certificates", path.display())).into());
    }
    fs_err::read(path).map_err(CommandError::undecided)
}
