//! Whom the command line says to believe.

use attest::{Accept, IdentityPattern, SignerPattern, TextPattern};
use gate::Trust;

use crate::args::IdentityArgs;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _};
use crate::{files, keys};

/// More than any trusted root: the library says so of what is longer than it reads.
pub(crate) const MAX_ROOT: u64 = 8 << 20;

impl IdentityArgs {
    /// Those who are named: keys in their order, then the identity.
    pub(crate) fn signers(
        &self,
        environment: &Environment,
    ) -> Result<Vec<SignerPattern>, CommandError> {
        let mut signers = Vec::new();
        for path in &self.keys {
            signers.push(SignerPattern::Key(keys::public(path, environment)?));
        }
        let subject = text(
            self.certificate_identity.as_deref(),
            self.certificate_identity_regexp.as_deref(),
        )?;
        let issuer = text(
            self.certificate_oidc_issuer.as_deref(),
            self.certificate_oidc_issuer_regexp.as_deref(),
        )?;
        if let (Some(subject), Some(issuer)) = (subject, issuer) {
            let identity = IdentityPattern::new(subject, issuer);
            signers.push(SignerPattern::Identity(identity));
        }
        Ok(signers)
    }

    /// What is trusted where these are accepted. A root is read only if one of them needs it.
    pub(crate) fn trust<'a>(
        &self,
        accepted: impl IntoIterator<Item = &'a Accept>,
    ) -> Result<Trust, CommandError> {
        if let Some(path) = &self.trusted_root {
            return Trust::root(&files::read(path, MAX_ROOT)?)
                .context(|| format!("failed to read the trusted root `{}`", path.display()));
        }
        let mut signers = accepted.into_iter().map(|it| &it.signer);
        if signers.any(|it| matches!(it, SignerPattern::Identity(_))) {
            Trust::public().context(|| "failed to read the public trusted root".to_owned())
        } else {
            Ok(Trust::keys())
        }
    }
}

/// A text, or a pattern.
fn text(exact: Option<&str>, pattern: Option<&str>) -> Result<Option<TextPattern>, CommandError> {
    let exact = exact.map(TextPattern::exact);
    exact
        .or_else(|| pattern.map(TextPattern::anchored))
        .transpose()
        .map_err(CommandError::undecided)
}
