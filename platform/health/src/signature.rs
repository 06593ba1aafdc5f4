//! Kinds of signatures of commits and tags.

/// What kind of signature a commit or a tag carries. It is not verified: whoever makes a commit can put
/// anything there.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[expect(clippy::exhaustive_enums, reason = "each kind is counted by itself")]
pub enum SignatureKind {
    /// `OpenPGP`: `gpg`.
    OpenPgp,
    /// A key of SSH.
    Ssh,
    /// X.509, in CMS: S/MIME, gitsign.
    X509,
    /// Something else.
    Unknown,
}

const ARMOURS: [(&[u8], SignatureKind); 4] = [
    (b"-----BEGIN PGP SIGNATURE-----", SignatureKind::OpenPgp),
    (b"-----BEGIN PGP MESSAGE-----", SignatureKind::OpenPgp),
    (b"-----BEGIN SSH SIGNATURE-----", SignatureKind::Ssh),
    (b"-----BEGIN SIGNED MESSAGE-----", SignatureKind::X509),
];

impl SignatureKind {
    /// The kind of a signature that a commit has in its header.
    pub(crate) fn of(text: &[u8]) -> Self {
        Self::armoured(text).unwrap_or(Self::Unknown)
    }

    /// The kind of the signature that begins at the beginning of `text`, if one does: as git looks
    /// for it at the beginnings of lines of a tag's message.
    pub(crate) fn armoured(text: &[u8]) -> Option<Self> {
        ARMOURS
            .iter()
            .find_map(|(armour, kind)| text.starts_with(armour).then_some(*kind))
    }
}
