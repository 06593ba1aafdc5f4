//! What went wrong elsewhere, and what keeps it from going wrong here.
//!
//! `steps` are those of [`Verifier::verify`](crate::Verifier), each with a test that fails without it
//! (`tests/it/verify.rs`, `tests/it/keyless/steps.rs`).
//!
//! # Attacks
//!
//! Attackers may push to the repository, run the registry, or stand between; none has a trusted key.
//! Tests below `tests/it` are named for the row: `row_02_…` in `attacks.rs`, unless another is said.
//!
//! | row | attack | what stops it | test |
//! |---|---|---|---|
//! | 1 | a tag moves between two looks at it | it is resolved once; then the digest is meant, verified, copied and printed | `verify.rs`, `copy/once.rs` |
//! | 2 | bytes are not what their digest says, or differ from time to time | all content is hashed while it is read; headers are not believed | `row_02` |
//! | 3 | the signature of one platform is shown for another, or for the index | subjects match by digest (step 10) | `row_03` |
//! | 4 | an index in an index, a circle, thousands of children | depth and count have limits, each is visited once | `copy/limits.rs` |
//! | 5 | one text that is manifest and index | refused as either | `row_05` |
//! | 6 | junk is attached: much, large, like the real thing | it is ignored one by one; what is not read is counted and said | `row_06` |
//! | 7 | what is attached is hidden: empty list, error, one page | "none" and "could not ask" differ; nothing weaker is tried | `row_07`, `registry/referrers.rs` |
//! | 8 | a listing lies about subject, type, size | each manifest is fetched and asked itself | `row_08` |
//! | 9 | the fallback tag holds another image's referrers, or no index | each entry's own subject counts | `row_09` |
//! | 10 | pages without end, or at another server | one origin; pages and entries have limits | `registry/referrers.rs` |
//! | 11 | annotations are forged | they decide nothing | `row_11` |
//! | 12 | one kind of claim is shown for another | kind and signer are asked together (step 11) | `row_12` |
//! | 13 | an envelope of two readings: types, signatures, keys given twice | one signature, one type, one reading (steps 1, 3, 9) | `row_13` |
//! | 14 | a statement about nothing, everything, or half a digest | subjects have whole digests, and a limit (steps 9, 10) | `row_14` |
//! | 15 | cosign's older payloads under another name | they are not read | |
//! | 16 | the log's entry is another's | it is rebuilt or compared, and its log's key alone counts (step 5) | `keyless/steps.rs`, 5a to 5d |
//! | 17 | a time that nobody signed | a time has a promise or a timestamp (steps 5, 6) | `keyless/steps.rs`, 5c and 6 |
//! | 18 | a timestamp of something else, or by a clock that nobody knows | imprint, chain and validity are asked (step 6) | `keyless/steps.rs`, 6b to 6d |
//! | 19 | a certificate that is expired, unpublished, or for something else | the chain at each time that counts, its use, its log (steps 7, 8) | `keyless/steps.rs`, 7 and 8 |
//! | 20 | a pattern matches part of an identity | patterns are anchored; subject and issuer are both asked | `identities.rs` |
//! | 21 | one voter counts twice | voters are counted, by operator | `keyless/steps.rs` |
//! | 22 | the signer chooses how the signature is checked | the key brings its algorithm (step 4) | `row_22` |
//! | 23 | an old image that was signed well comes back | digests are pinned; rules can ask for times | `policy.rs` |
//! | 24 | something is larger than it says, or unpacks to more | sizes are known before anything is read, and held while it is | `row_24` |
//! | 25 | an answer that does not end; junk that uses up what may be read | one limit of time and of bytes for the question | `row_25`, `gate.rs` |
//! | 26 | names lead out: digests, tags, layers with `..` and links | names are types; unpacking holds folders open and follows nothing | `extract.rs`, `fuzz` |
//! | 27 | a layout whose blobs are swapped, or tagged twice | opened once, hashed while read | `layout.rs`, `tamper.rs` |
//! | 28 | credentials are asked for from elsewhere | they stay with the host that they are for; only it says how to log in | `registry/auth.rs`, `registry/hostile.rs` |
//! | 29 | no policy, no time, no registry, taken for yes | "could not decide" is never taken for accepted | `row_29` in `gate.rs` |
//! | 30 | rules that run for ever, or ask the network | limits; neither network nor clock | `row_30` in `policy.rs` |
//! | 31 | exceptions that never end | policies cannot have exceptions | |
//! | 32 | an answer that is remembered counts for something else | it is known by image, policy, attachments and root | `row_32` in `gate.rs` |
//! | 33 | an image in a place that nobody looks at | all places of images of each kind; tags become digests | `admission/verdicts.rs` |
//! | 34 | an old or frozen root of trust | roots are given or embedded, and not fetched | |
//! | 35 | an SBOM of another image | it is bound to its subject | `row_35` in `policy.rs` |
//! | 36 | provenance by who may not speak for the builder | builder and signer are bound | `row_36` in `policy.rs` |
//! | 37 | two write a fallback index at once | conditions, and writing again | `registry/referrers.rs` |
//! | 38 | half of a longer digest | the whole of it, and its algorithm, are compared | `row_38` |
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
