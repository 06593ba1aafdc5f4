//! Whom the command line says to believe.

use attest::SignerPattern;

use crate::args::IdentityArgs;
use crate::error::CommandError;
use crate::keys;

impl IdentityArgs {
    /// Those who are named, in that order.
    pub(crate) fn signers(&self) -> Result<Vec<SignerPattern>, CommandError> {
        self.keys
            .iter()
            .map(|path| Ok(SignerPattern::Key(keys::public(path)?)))
            .collect()
    }
}
