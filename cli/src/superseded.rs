//! What a newer claim stands in the place of: when an image is published again, what the same signer said
//! of it before goes. Otherwise each build of an unchanged app would leave one more provenance and one
//! more verdict beside the same image, and who verifies would read all of them each time.
//!
//! The new claim is there before the old one goes, and nothing goes but what is verified to be by the same
//! signer, of the same image, and about the same thing:
//!
//! * a provenance, if the same went into the build, by the same builder: another commit, or a source with
//!   changes that are in no commit, is another build, though the image came out the same;
//! * a verdict, if it says the same but for when, and which evidence it names: a newer build's;
//! * anything else, if it says the very same.
//!
//! A claim that another log or clock has seen than the new one stays, and so does one that is newer: of two
//! builds that publish at once, each would else delete what the other one wrote. What somebody attached
//! something to stays, too.

use std::collections::BTreeSet;

use attest::{
    Accept, IdentityPattern, SignedBy, SignerPattern, TextPattern, Unchecked, Verified,
    VerifiedSignature, Witness, discover,
};
use bytes::Bytes;
use intoto::{
    BuildDefinition, Builder, PredicateType, Provenance, ResourceDescriptor, Timestamp, Vsa,
};
use oci::{Descriptor, Digest, Limits, Store, StoreError};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::publishing::Staged;
use crate::signing::Signer;
use crate::ui::{Ui, counted};

/// Deletes what the claims about a staged image stand in the place of, that were moved to `store`: those that
/// are attached where it is staged, and the one in the manifest `later`. All of it is tidiness: what cannot
/// be done is a warning, and many registries delete nothing.
pub(crate) async fn delete(
    store: &dyn Store,
    staged: Staged<'_>,
    later: Option<&Digest>,
    signer: &Signer,
    ui: &Ui,
) {
    let old = match find(store, staged, later, signer).await {
        Ok(old) => old,
        Err(reason) => {
            ui.warn(format_args!(
                "what was attached to {} before stays beside the new: {reason}",
                staged.target.digest
            ));
            return;
        }
    };
    for (done, manifest) in old.iter().enumerate() {
        if !is_alone(store, manifest).await {
            ui.aside(format_args!(
                "kept {}, to which something may be attached",
                manifest.digest
            ));
            continue;
        }
        // Who does not let one go lets none go.
        if let Err(error) = store.delete(manifest).await {
            let error = go::words::chain(&error);
            ui.warn(format_args!(
                "{} of an earlier build stay beside the new: {error}",
                counted(old.len() - done, "claim")
            ));
            return;
        }
        ui.aside(format_args!(
            "deleted {}, which a newer claim replaces",
            manifest.digest
        ));
    }
}

/// Whether nothing is attached to a claim itself: what somebody says of it would be about nothing without it.
pub(crate) async fn is_alone(store: &dyn Store, manifest: &Descriptor) -> bool {
    let above = store.referrers(&manifest.digest).await;
    above.is_ok_and(|it| it.is_empty())
}

/// What is to go, in the order of digests.
async fn find(
    store: &dyn Store,
    staged: Staged<'_>,
    later: Option<&Digest>,
    signer: &Signer,
) -> Result<Vec<Descriptor>, String> {
    let image = staged.target;
    let failed = |it: StoreError| go::words::chain(&it);
    let new = staged.store.referrers(&image.digest).await;
    let new = new.map_err(failed)?.into_iter().map(|it| it.digest);
    let new: BTreeSet<Digest> = new.chain(later.cloned()).collect();
    let listed = store.referrers(&image.digest).await.map_err(failed)?;
    if listed.iter().all(|it| new.contains(&it.digest)) {
        return Ok(Vec::new());
    }
    let discovered = discover(store, image, &Limits::default()).await;
    let discovered = discovered.map_err(|it| go::words::chain(&it))?;
    let verifier = signer.verifier();
    // Whom a certificate names is compared below, to whom that of the new claims names.
    let pattern = if let Some(key) = signer.key() {
        SignerPattern::Key(key.public_key().clone())
    } else {
        let any = || TextPattern::anchored(".*").map_err(|it| it.to_string());
        SignerPattern::Identity(IdentityPattern::new(any()?, any()?))
    };
    let accepted = KINDS.map(|predicate_type| Accept {
        predicate_type,
        signer: pattern.clone(),
    });
    let (verified, _) = verifier.verify_all(&discovered.attached, image, &accepted);
    Ok(choose(&verified, &new))
}

/// What is published with an image.
const KINDS: [PredicateType; 5] = [
    PredicateType::COSIGN_SIGN,
    PredicateType::CYCLONEDX,
    PredicateType::SLSA_PROVENANCE_V1,
    PredicateType::SLSA_VSA_V1,
    PredicateType::SPDX,
];

/// Which of `verified` go, as `new` ones are there: in the order of their manifests.
fn choose(verified: &[Verified], new: &BTreeSet<Digest>) -> Vec<Descriptor> {
    let claims: Vec<_> = verified.iter().filter_map(Claim::of).collect();
    let (fresh, old): (Vec<_>, Vec<_>) = claims
        .iter()
        .partition(|it| new.contains(&it.manifest.digest));
    let gone = old.into_iter().filter(|old| {
        let mut fresh = fresh.iter();
        fresh.any(|new| new.supersedes(old))
    });
    gone.map(|it| it.manifest.clone()).collect()
}

/// A claim, as far as it matters whether another one makes it superfluous.
#[derive(Debug)]
struct Claim<'a> {
    manifest: &'a Descriptor,
    signer: &'a SignedBy,
    /// What the claim is of: the image, and whatever else it names.
    subjects: &'a [ResourceDescriptor],
    about: About,
    witnesses: Witnesses,
    at: Option<OffsetDateTime>,
}

/// What a claim is about, beside the image.
#[derive(Debug, PartialEq)]
enum About {
    /// What went in, who built, and what came out beside the image.
    Build(Box<(BuildDefinition, Builder, Vec<ResourceDescriptor>)>),
    /// What was judged, without when and on which evidence.
    Judgement(Box<Vsa>),
    /// No more is known than what it says.
    Text(Bytes),
}

/// Who has seen a signature: logs and clocks by name, and how many there are of those that nobody asked.
#[derive(Debug, Default)]
struct Witnesses {
    logs: BTreeSet<String>,
    clocks: BTreeSet<String>,
    unread_logs: usize,
    unread_clocks: usize,
}

impl Witnesses {
    fn of(proof: &VerifiedSignature) -> Self {
        let mut all = Self {
            logs: proof.logs().iter().map(|it| it.log.clone()).collect(),
            ..Self::default()
        };
        for it in proof.times() {
            let (Witness::TimestampAuthority(name) | Witness::Log(name)) = &it.witness;
            all.clocks.insert(name.clone());
        }
        for it in proof.unchecked() {
            match it {
                Unchecked::LogEntries { count } => all.unread_logs += count,
                Unchecked::Timestamps { count } => all.unread_clocks += count,
                // Whoever it is from, it is good for nothing.
                Unchecked::LogEntry { .. } | Unchecked::Timestamp { .. } => {}
            }
        }
        all
    }

    /// Whether each of `others` is among these, as far as can be known.
    fn contain(&self, others: &Self) -> bool {
        others.logs.is_subset(&self.logs)
            && others.clocks.is_subset(&self.clocks)
            && others.unread_logs <= self.unread_logs
            && others.unread_clocks <= self.unread_clocks
    }
}

impl<'a> Claim<'a> {
    /// None of what was not found beside the image.
    fn of(verified: &'a Verified) -> Option<Self> {
        let statement = verified.statement();
        let (about, said) = if let Ok(it) = statement.predicate_as::<Provenance>() {
            let run = it.run_details;
            let about = About::Build(Box::new((it.build_definition, run.builder, run.byproducts)));
            (about, run.metadata.finished_on)
        } else if let Ok(mut it) = statement.predicate_as::<Vsa>() {
            let at = it.time_verified.take();
            it.input_attestations.clear();
            (About::Judgement(Box::new(it)), at)
        } else {
            (About::Text(verified.payload().clone()), None)
        };
        let proof = verified.proof();
        let seen = proof.times().iter().map(|it| it.time).max();
        Some(Self {
            manifest: verified.manifest()?,
            signer: verified.signer(),
            subjects: statement.subjects(),
            about,
            witnesses: Witnesses::of(proof),
            at: said.as_ref().and_then(time).or(seen),
        })
    }

    /// Whether nobody misses `old` where this is. Of two claims of the same time one goes, whoever asks.
    fn supersedes(&self, old: &Self) -> bool {
        let order = |it: &Self| (it.at, it.manifest.digest.clone());
        self.about == old.about
            && self.subjects == old.subjects
            && is_same(self.signer, old.signer)
            && self.witnesses.contain(&old.witnesses)
            && order(old) < order(self)
    }
}

fn time(text: &Timestamp) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text.as_str(), &Rfc3339).ok()
}

/// Whether both are the same signer, so that whoever accepts one accepts the other.
fn is_same(one: &SignedBy, other: &SignedBy) -> bool {
    match (one, other) {
        (SignedBy::Key(one), SignedBy::Key(other)) => one == other,
        (SignedBy::Identity(one), SignedBy::Identity(other)) => one.is_same_in_another_run(other),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use attest::key::PrivateKey;
    use oci::MediaType;

    use super::*;

    #[test]
    fn only_what_is_older_and_no_better_goes() {
        let [ours, others] = [(); 2].map(|()| {
            let key = PrivateKey::generate().unwrap();
            SignedBy::Key(key.public_key().clone())
        });
        let [low, high] = {
            let mut both = [b"a", b"b"].map(|it| Descriptor::of(MediaType::IMAGE_MANIFEST, it));
            both.sort_by(|a, b| a.digest.cmp(&b.digest));
            both
        };
        let at = |seconds| OffsetDateTime::from_unix_timestamp(seconds).ok();
        let claim = |manifest, signer, text: &'static str, witnesses, at| Claim {
            manifest,
            signer,
            subjects: &[],
            about: About::Text(Bytes::from_static(text.as_bytes())),
            witnesses,
            at,
        };
        let nobody = Witnesses::default;
        let log = |name: &str| Witnesses {
            logs: BTreeSet::from([name.to_owned()]),
            ..nobody()
        };
        let clock = |name: &str| Witnesses {
            clocks: BTreeSet::from([name.to_owned()]),
            ..nobody()
        };
        let unread = |logs, clocks| Witnesses {
            unread_logs: logs,
            unread_clocks: clocks,
            ..nobody()
        };
        let seen = || Witnesses {
            unread_logs: 1,
            ..log("l")
        };
        let new = claim(&low, &ours, "x", seen(), at(10));
        for (old, expected) in [
            (claim(&high, &ours, "x", log("l"), at(9)), true),
            (claim(&high, &ours, "x", nobody(), None), true),
            (claim(&high, &ours, "x", unread(1, 0), None), true),
            (claim(&high, &others, "x", log("l"), at(9)), false),
            (claim(&high, &ours, "y", log("l"), at(9)), false),
            (claim(&high, &ours, "x", log("m"), at(9)), false),
            (claim(&high, &ours, "x", clock("l"), at(9)), false),
            (claim(&high, &ours, "x", unread(2, 0), at(9)), false),
            (claim(&high, &ours, "x", unread(0, 1), at(9)), false),
            (claim(&high, &ours, "x", log("l"), at(11)), false),
        ] {
            assert_eq!(new.supersedes(&old), expected, "{old:?}");
        }
        // What is of another image, too, says more.
        let other = [ResourceDescriptor::of(&low.digest)];
        let both = Claim {
            subjects: &other,
            ..claim(&high, &ours, "x", nobody(), None)
        };
        assert!(!new.supersedes(&both));
        // Of two builds that see one another, only one deletes.
        let twin = claim(&high, &ours, "x", seen(), at(10));
        assert!(!new.supersedes(&twin) && twin.supersedes(&new));
        assert!(!new.supersedes(&new));
    }
}
