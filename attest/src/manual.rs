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
//! | An SBOM, or a report of a failed check, counts as "signed" (row 12) | cosign's `verify` takes any statement; CVE-2022-35929 | [`Accept`](crate::Accept) names signer *and* predicate type; [`is_signed`](crate::is_signed) asks for cosign's own type (step 11) |
//! | What was logged is not what was signed (row 16) | CVE-2022-36056, CVE-2026-22703 | what was logged is rebuilt from the bundle (Rekor v2) or compared part by part (v1) before the log is asked; an entry that does not stand it gives no vote, and is listed as [`Unchecked`](crate::Unchecked) (step 5) |
//! | The statement that is read is not the one that was signed (row 13) | parsers that differ on repeated keys | [`Envelope::payload`](crate::dsse::Envelope::payload) keeps the bytes, [`intoto::json`] refuses a second meaning (steps 1, 9) |
//! | The signer chooses how the signature is checked (row 22) | `alg: none`, RSA taken for HMAC | [`PublicKey`](crate::key::PublicKey) brings its algorithm; bundles cannot name one (step 4) |
//! | One of several signatures is good, another is used (row 13) | multi-signature envelopes | one signature, or it is no envelope (step 1) |
//! | The key id says who signed (row 13) | verifiers that pick by `keyid` | it is not even read; a hint only says which key to try first (step 4) |
//! | A signature of one thing is shown for another (rows 3, 14, 38) | names and tags as identity; digests cut off | subjects match by the whole digest and its algorithm (step 10) |
//! | The registry says what is attached, and is believed (rows 7, 8, 9, 11) | filters by listed `artifactType`, newest by annotation | [`discover`](crate::discover) fetches each manifest and asks it for its own subject; nothing is decided by annotations |
//! | A bundle that hides makes a weaker check run (row 7) | cosign falls back to `.sig` tags | no fallback: a store that cannot be asked is an error, an empty listing is "no" |
//! | A stranger's junk makes verification fail, or cost too much (rows 6, 24, 25) | Kyverno stops at 50 referrers | junk is [`Ignored`](crate::Ignored) or [`Rejected`](crate::Rejected) one by one; sizes are known before anything is read, small bundles are read first; what is beyond the limit is counted |
//! | "Could not ask" is taken for "is not there" | 500 read as 404 | [`AttachError`](crate::AttachError) is an error, a [`Rejection`](crate::Rejection) a verdict; neither turns into the other |
//! | An intermediate that lies in the trusted root counts although it has expired (row 19) | CVE-2026-24122; verifiers that make each certificate there an anchor | roots alone are anchors; the whole chain is valid at each time that counts (step 7) |
//! | A checkpoint is taken by whichever trusted key made it, an entry by whichever log (row 16) | verifiers that look keys up by the checkpoint's four bytes | the entry's log ID names the log, and that log's key alone signs its tree (step 5) |
//! | A time that nobody signed (row 17) | integrated time read without its promise | a time is a timestamp authority's, or a log's with its promise (steps 5, 6) |
//! | One log, or one operator, votes twice (row 21) | CVE-2026-49834 | voters are counted, not entries ([`Thresholds`](crate::Thresholds)) |
//! | A pattern matches a part of a name (row 20) | unanchored regular expressions | [`TextPattern`](crate::TextPattern) matches the whole or nothing; subject and issuer are both asked |
//! | A key file asks for gigabytes (row 24) | scrypt parameters from the file | three costs are accepted, no other ([`EncryptedKey`](crate::key::EncryptedKey)) |
//!
//! # Why it is as it is
//!
//! * **No default about trust.** [`SignerPattern`](crate::SignerPattern) has none; no list of
//!   accepted signers means that none is. Who signed ([`SignedBy`](crate::SignedBy)) is a fact, whom
//!   we believe is a pattern, and the two are different types.
//! * **Keys need no log and no timestamp.** Whoever pins a key has decided whom to believe; a log
//!   would tell when it was misused, but not who used it. Losing a key means to stop accepting it.
//! * **Certificates need a trusted root**, a log and a clock. To check half of it would be to believe
//!   it. The root is given, or embedded; it is never fetched while something is verified.
//! * **What cannot be verified gives no vote** instead of failing all: whoever adds a second log that
//!   a verifier does not know must not lock that verifier out. What counts is how many could be.
//! * **P-384 with SHA-256 is accepted** beside SHA-384, because signers of bundles up to v0.3 made
//!   such signatures. Both are the key's own; nothing is gained by choosing.
//! * **ECDSA signatures by P-256 keys are deterministic**: the same statement gives the same
//!   bundle, the same manifest, the same digest, unless a creation time is asked for.
