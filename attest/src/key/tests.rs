use super::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/fixtures/keys/", $name)).as_slice()
    };
}

fn plain(text: &[u8]) -> PrivateKey {
    match KeyFile::parse(text).unwrap() {
        KeyFile::Plain(key) => *key,
        KeyFile::Encrypted(_) => panic!("encrypted"),
    }
}

fn encrypted(text: &[u8]) -> EncryptedKey {
    match KeyFile::parse(text).unwrap() {
        KeyFile::Encrypted(key) => key,
        KeyFile::Plain(_) => panic!("not encrypted"),
    }
}

#[test]
fn an_rsa_key_is_the_same_in_either_form() {
    let key = PublicKey::from_pem(fixture!("rsa.pub.pem")).unwrap();
    // What stands before it says that it is RSA, in as many bytes for each key of this size.
    let inner = key.spki().get(24..).unwrap();
    let text = |der: &[u8]| pem::encode("RSA PUBLIC KEY", der);
    assert_eq!(PublicKey::from_pem(text(inner).as_bytes()), Ok(key.clone()));
    for wrong in [key.spki(), &inner[..inner.len() - 1], b"", b"\x30\x00"] {
        assert!(PublicKey::from_pem(text(wrong).as_bytes()).is_err());
    }
}

#[test]
fn a_key_that_cosign_encrypted_opens_with_its_password_only() {
    let key = encrypted(fixture!("cosign.key"));
    let public = PublicKey::from_pem(fixture!("cosign.pub")).unwrap();
    assert_eq!(*key.decrypt(b"sealpack").unwrap().public_key(), public);
    assert!(matches!(
        key.decrypt(b"Sealpack"),
        Err(KeyError::WrongPassword)
    ));
    encrypted(fixture!("nopass.key")).decrypt(b"").unwrap();
    // The hint that stands in cosign's own bundles by this key.
    assert_eq!(
        public.hint(),
        "2zTDTnGOQimL6F3qyE3gJRM61UiXx8q1Bl7J4mwVWqo="
    );
}

#[test]
fn the_old_label_is_read() {
    let text = String::from_utf8(fixture!("cosign.key").to_owned()).unwrap();
    encrypted(text.replace("SIGSTORE", "COSIGN").as_bytes())
        .decrypt(b"sealpack")
        .unwrap();
}

#[test]
fn a_new_pair_is_encrypted_and_fits() {
    let pair = generate("pässword".as_bytes()).unwrap();
    let key = encrypted(pair.private.as_bytes())
        .decrypt("pässword".as_bytes())
        .unwrap();
    assert_eq!(key.public_key().to_pem(), pair.public);
    let again = generate(b"").unwrap();
    assert_ne!(again.public, pair.public);
}

#[test]
fn a_private_key_says_nothing_of_itself() {
    let key = plain(fixture!("p256-pkcs8.pem"));
    assert_eq!(
        format!("{key:?}"),
        format!("PrivateKey(of PublicKey(EcdsaP256, {}))", key.public_key())
    );
}

#[test]
fn each_kind_signs_and_is_checked_by_its_public_half_only() {
    let pairs = [
        (fixture!("p256-pkcs8.pem"), fixture!("p256.pub.pem")),
        (fixture!("p256-sec1.pem"), fixture!("p256.pub.pem")),
        (fixture!("p384-pkcs8.pem"), fixture!("p384.pub.pem")),
        (fixture!("ed25519-pkcs8.pem"), fixture!("ed25519.pub.pem")),
        (fixture!("rsa-pkcs8.pem"), fixture!("rsa.pub.pem")),
        (fixture!("rsa-pkcs1.pem"), fixture!("rsa.pub.pem")),
    ];
    let publics = pairs.map(|(_, public)| PublicKey::from_pem(public).unwrap());
    for ((private, _), own) in pairs.iter().zip(&publics) {
        let key = plain(private);
        assert_eq!(key.public_key(), own);
        let signature = key.sign_message(b"message").unwrap();
        for public in &publics {
            assert_eq!(public.has_signed(b"message", &signature), public == own);
        }
        assert!(!own.has_signed(b"massage", &signature));
        assert_eq!(PublicKey::from_pem(own.to_pem().as_bytes()).unwrap(), *own);
    }
}

#[test]
fn a_p384_signature_with_sha256_is_accepted() {
    use base64::Engine as _;
    // By OpenSSL, with -sha256.
    let signature = base64::engine::general_purpose::STANDARD
        .decode("MGUCMQDteBnPOAUj4KYaw2sOtsnObiThtfYwDN1UrVxfm5C02pZwbu1SjfcCaXNVWiFYFr8CMFEof2CcR2OHDL54uUv3sB3efpumToBjTQ8dnMlT01Y//eGKiqRuEMV8B7UyoHG2xg==")
        .unwrap();
    let key = PublicKey::from_pem(fixture!("p384.pub.pem")).unwrap();
    assert!(key.has_signed(b"message", &signature));
    assert!(!key.has_signed(b"massage", &signature));
}

#[test]
fn imported_keys_open() {
    for (private, public) in [
        (fixture!("p256-imported.key"), fixture!("p256-imported.pub")),
        (fixture!("p384-imported.key"), fixture!("p384-imported.pub")),
        (
            fixture!("ed25519-imported.key"),
            fixture!("ed25519-imported.pub"),
        ),
        (fixture!("rsa-imported.key"), fixture!("rsa-imported.pub")),
    ] {
        let key = encrypted(private).decrypt(b"sealpack").unwrap();
        assert_eq!(*key.public_key(), PublicKey::from_pem(public).unwrap());
    }
}

#[test]
fn p256_signatures_are_deterministic() {
    let key = plain(fixture!("p256-pkcs8.pem"));
    assert_eq!(
        key.sign_message(b"message").unwrap(),
        key.sign_message(b"message").unwrap()
    );
}

#[test]
fn parameters_are_not_the_files_to_choose() {
    let (_, json) = pem::decode(fixture!("cosign.key"), PRIVATE).unwrap();
    let json = std::str::from_utf8(&json).unwrap();
    for (from, to) in [
        (r#""N":65536"#, r#""N":1073741824"#),
        (r#""N":65536"#, r#""N":2"#),
        (r#""r":8"#, r#""r":8000"#),
        (r#""p":1"#, r#""p":100"#),
        ("scrypt", "none"),
        ("nacl/secretbox", "none"),
    ] {
        let changed = json.replace(from, to);
        assert_ne!(changed, json);
        assert!(
            matches!(
                EncryptedKey::parse(changed.as_bytes()),
                Err(KeyError::Parameters { .. })
            ),
            "{to}"
        );
    }
    for (from, to) in [
        (r#""salt":""#, r#""salt":"AAAA"#),
        (r#""nonce":""#, r#""nonce":"!"#),
    ] {
        let changed = json.replace(from, to);
        assert!(matches!(
            EncryptedKey::parse(changed.as_bytes()),
            Err(KeyError::Malformed { .. })
        ));
    }
}

#[test]
fn what_is_no_key_is_refused_by_what_it_is() {
    assert!(matches!(KeyFile::parse(b""), Err(KeyError::NotPem)));
    assert!(matches!(
        KeyFile::parse(&vec![b'-'; 1 << 20]),
        Err(KeyError::NotPem)
    ));
    assert!(matches!(
        KeyFile::parse(fixture!("cosign.pub")),
        Err(KeyError::OtherLabel { .. })
    ));
    assert!(matches!(
        PublicKey::from_pem(fixture!("cosign.key")),
        Err(KeyError::OtherLabel { .. })
    ));
    // secp256k1 is a curve, but none of ours; a point that is cut off is none at all.
    let spki = pem::decode(fixture!("p256.pub.pem"), &["PUBLIC KEY"])
        .unwrap()
        .1;
    let at = spki.windows(8).position(|it| it.ends_with(&[3, 1, 7]));
    let mut other = spki.to_vec();
    other[at.unwrap() + 7] = 6;
    assert!(matches!(
        PublicKey::from_spki(&other),
        Err(KeyError::Unsupported { .. })
    ));
    assert!(PublicKey::from_spki(&spki[..spki.len() - 1]).is_err());
    assert!(PublicKey::from_spki(&[spki.as_slice(), &[0]].concat()).is_err());
}
