//! What was signed just now, verified as a stranger would: by the trusted root and nothing else.

use attest::key::PublicKey;
use attest::{
    Accept, Bundle, IdentityPattern, SignedBy, SignerPattern, TextPattern, Thresholds, TrustedRoot,
    Verifier,
};
use intoto::PredicateType;
use keyless::Plan;
use oci::Descriptor;

use crate::args::ServiceArgs;
use crate::error::{CommandError, Context as _, Message};
use crate::signing::read;

/// Verifies what was signed before it goes anywhere.
#[derive(Debug)]
pub(crate) struct Stranger {
    verifier: Verifier,
}

impl Stranger {
    /// Trusts the root that was named; of the public services, theirs. All that were asked have to have
    /// seen the signature.
    pub(crate) fn of(args: &ServiceArgs, plan: &Plan) -> Result<Self, CommandError> {
        let is_public = args.signing_config.as_deref() == Some("public");
        let root = match &args.trusted_root {
            Some(path) => TrustedRoot::parse(&read(path)?)
                .context(|| format!("failed to read the trusted root `{}`", path.display()))?,
            None if is_public => TrustedRoot::public_good()
                .context(|| "failed to read the public trusted root".to_owned())?,
            None => {
                return Err(CommandError::undecided(Message(
                    "missing trusted root: what the services say could not be verified".to_owned(),
                ))
                .hint("name the one that verifiers use: `--trusted-root FILE`"));
            }
        };
        let seen = plan.timestamp_authorities.len();
        let thresholds = Thresholds {
            logs: Some(plan.logs.len()),
            times: (seen > 0).then_some(seen),
        };
        Ok(Self {
            verifier: Verifier::trusting(root).requiring(thresholds),
        })
    }

    /// What it verifies by.
    pub(crate) fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// Whether `bundle` is proof to a stranger, and whose. Who the certificate names, its authority
    /// decides; that it is for our key, the signature shows.
    pub(crate) fn verify(
        &self,
        bundle: &Bundle,
        image: &Descriptor,
        predicate_type: &PredicateType,
        key: Option<&PublicKey>,
    ) -> Result<SignedBy, CommandError> {
        let signer = if let Some(key) = key {
            SignerPattern::Key(key.clone())
        } else {
            let any = || TextPattern::anchored(".*").map_err(CommandError::undecided);
            SignerPattern::Identity(IdentityPattern::new(any()?, any()?))
        };
        let accept = Accept {
            predicate_type: predicate_type.clone(),
            signer,
        };
        self.verifier
            .verify(bundle.json(), image, &[accept])
            .map(|it| it.signer().clone())
            .context(|| {
                "what was signed cannot be verified, so it is not attached".to_owned()
            })
            .map_err(|it| {
                it.hint("is the trusted root that of the services which were asked? A log entry cannot be taken back")
            })
    }
}
