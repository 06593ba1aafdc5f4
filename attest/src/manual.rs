//! What went wrong elsewhere, and what keeps it from going wrong here.
//!
//! Rows are those of the attack table that the integration tests go by (`tests/it/attacks.rs`,
//! one test per row, named for it); `steps` are those of [`Verifier::verify`](crate::Verifier),
//! each with a test that fails without it (`tests/it/verify.rs`).
//!
//! # Known failures
//!
//! | failure | where it was seen | here |
//! |---|---|---|
//! | The check is there, but its result is not used | Apple's `goto fail` | a [`Verified`](crate::Verified) can only be made by the last line of `verify`; policies take nothing else |
//! | An SBOM, or a report of a failed check, counts as "signed" (row 12) | cosign's `verify` takes any statement; CVE-2022-35929 | [`Accept`](crate::Accept) names signer *and* predicate type; [`is_signed`](crate::is_signed) asks for cosign's own type (step 7) |
//! | What was logged is not what was signed (row 16) | CVE-2022-36056, CVE-2026-22703 | nothing from a log is believed: what a key bundle carries of it is listed as [`Unchecked`](crate::Unchecked) |
//! | The statement that is read is not the one that was signed (row 13) | parsers that differ on repeated keys | [`Envelope::payload`](crate::dsse::Envelope::payload) keeps the bytes, [`intoto::json`] refuses a second meaning (steps 1, 5) |
//! | The signer chooses how the signature is checked (row 22) | `alg: none`, RSA taken for HMAC | [`PublicKey`](crate::key::PublicKey) brings its algorithm; bundles cannot name one (step 4) |
//! | One of several signatures is good, another is used (row 13) | multi-signature envelopes | one signature, or it is no envelope (step 1) |
//! | The key id says who signed (row 13) | verifiers that pick by `keyid` | it is not even read; a hint only says which key to try first (step 4) |
//! | A signature of one thing is shown for another (rows 3, 14, 38) | names and tags as identity; digests cut off | subjects match by the whole digest and its algorithm (step 6) |
//! | The registry says what is attached, and is believed (rows 7, 8, 9, 11) | filters by listed `artifactType`, newest by annotation | [`discover`](crate::discover) fetches each manifest and asks it for its own subject; nothing is decided by annotations |
//! | A bundle that hides makes a weaker check run (row 7) | cosign falls back to `.sig` tags | no fallback: a store that cannot be asked is an error, an empty listing is "no" |
//! | A stranger's junk makes verification fail, or cost too much (rows 6, 24, 25) | Kyverno stops at 50 referrers | junk is [`Ignored`](crate::Ignored) or [`Rejected`](crate::Rejected) one by one; sizes are known before anything is read, small bundles are read first; what is beyond the limit is counted |
//! | "Could not ask" is taken for "is not there" | 500 read as 404 | [`AttachError`](crate::AttachError) is an error, a [`Rejection`](crate::Rejection) a verdict; neither turns into the other |
//! | A key file asks for gigabytes (row 24) | scrypt parameters from the file | three costs are accepted, no other ([`EncryptedKey`](crate::key::EncryptedKey)) |
//!
//! # Why it is as it is
//!
//! * **No default about trust.** [`SignerPattern`](crate::SignerPattern) has none; no list of
//!   accepted signers means that none is. Who signed ([`SignedBy`](crate::SignedBy)) is a fact, whom
//!   we believe is a pattern, and the two are different types.
//! * **Keys need no log and no timestamp.** Whoever pins a key has decided whom to believe; a log
//!   would tell when it was misused, but not who used it. Losing a key means to stop accepting it.
//! * **Certificates are refused** until there is a trusted root to check them against. To check
//!   half of it would be to believe it.
//! * **P-384 with SHA-256 is accepted** beside SHA-384, because signers of bundles up to v0.3 made
//!   such signatures. Both are the key's own; nothing is gained by choosing.
//! * **ECDSA signatures by P-256 keys are deterministic**: the same statement gives the same
//!   bundle, the same manifest, the same digest, unless a creation time is asked for.
