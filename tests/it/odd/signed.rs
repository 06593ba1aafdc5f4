//! The same for what is signed, and by whom: key files and bundles in other spellings. Cosign, and OpenSSL
//! for key files, say which of them are read.

use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use oci::store::{RegistryClient, RegistryOptions, read};
use oci::{Descriptor, MediaType, Store as _, Upload};
use serde_json::{Value, json};
use testkit::registry::{Switches, TestRegistry};
use testkit::{Output, Workspace, peer};

use super::{Chance, image, write};

/// How many key files, and how many bundles there are.
const CASES: u64 = 40;

/// A public key, as somebody may have written it down, and whether it is left open whose key is meant.
fn key_file(pem: &str, other: &str, chance: &mut Chance) -> (Vec<u8>, bool) {
    let mut lines: Vec<&str> = pem.lines().collect();
    let (begin, end) = (lines.remove(0), lines.pop().unwrap());
    let mut body = lines.concat();
    match chance.below(12) {
        0 => body = body.replace('+', "-").replace('/', "_"),
        1 => body = body.trim_end_matches('=').to_owned(),
        2 => body.insert(7, ' '),
        3 => body.insert_str(7, "\t "),
        _ => {}
    }
    let width = [64, 64, 76, 1, 3, 50, 1000][chance.below(7)];
    let mut made = Vec::new();
    let mut line = |text: &str, chance: &mut Chance| {
        if chance.once_in(12) {
            made.extend([" ", "\t", "  "][chance.below(3)].bytes());
        }
        made.extend(text.bytes());
        made.extend(["", "", "", " ", "\t"][chance.below(5)].bytes());
    };
    let newline = ["\n", "\n", "\r\n"][chance.below(3)];
    let mut parts = Vec::new();
    if chance.once_in(4) {
        let headers = ["Comment: of 2024", "Proc-Type: 4,CLEAR", "X: y"];
        parts.push(headers[chance.below(3)].to_owned());
        if !chance.once_in(4) {
            parts.push(String::new());
        }
    }
    let characters: Vec<char> = body.chars().collect();
    for part in characters.chunks(width) {
        parts.push(part.iter().collect());
        if chance.once_in(20) {
            parts.push(String::new());
        }
    }
    let label = |line: &str, chance: &mut Chance| match chance.below(16) {
        0 => line.to_ascii_lowercase(),
        1 => line.replace("-----", "------"),
        _ => line.to_owned(),
    };
    let all = [vec![label(begin, chance)], parts, vec![label(end, chance)]].concat();
    for text in all {
        line(&text, chance);
        line(newline, chance);
    }
    let before: &[u8] = match chance.below(8) {
        0 => b"a comment\n",
        1 => b"\xe9t\xe9, in Latin-1\r\n",
        2 => b"\n\n",
        3 => b"\xef\xbb\xbf",
        4 => b"-----BEGIN X-----\nAAEC\n-----END X-----\n",
        _ => b"",
    };
    let mut is_open = false;
    let behind = match chance.below(8) {
        0 => "behind it\n".to_owned(),
        1 => "-----BEGIN X-----\nAAEC\n-----END X-----\n".to_owned(),
        2 => pem.to_owned(),
        3 => {
            is_open = true;
            other.to_owned()
        }
        _ => String::new(),
    };
    ([before, &made, behind.as_bytes()].concat(), is_open)
}

/// A key of OpenSSL's, in `NAME.key` and `NAME.pub`.
fn key(workspace: &Workspace, openssl: &Path, name: &str) -> String {
    let (private, public) = (format!("{name}.key"), format!("{name}.pub"));
    let run = |arguments: &[&str]| {
        Output::of(workspace.command(openssl).args(arguments)).expect(0);
    };
    let curve = "ec_paramgen_curve:P-256";
    run(&[
        "genpkey",
        "-algorithm",
        "EC",
        "-pkeyopt",
        curve,
        "-out",
        &private,
    ]);
    run(&["pkey", "-in", &private, "-pubout", "-out", &public]);
    fs_err::read_to_string(workspace.join(public)).unwrap()
}

#[test]
fn key_files_that_others_read_are_read() {
    let (Some(openssl), Some(cosign)) = (peer("openssl"), peer("cosign")) else {
        return;
    };
    let workspace = Workspace::new();
    let registry = TestRegistry::start(Switches::default());
    let pem = key(&workspace, &openssl, "mine");
    let other = key(&workspace, &openssl, "other");
    let case = image(&registry, &mut Chance(1));
    let bytes = case.text.into_bytes();
    registry.put_manifest("app", Some("v1"), case.media_type.as_str(), bytes);
    let image = format!("{}/app:v1", registry.host());
    let sealpack = |arguments: &[&str]| Output::of(&mut workspace.sealpack(arguments));
    sealpack(&["copy", &image, "oci:out:v1"]).expect(0);
    sealpack(&["sign", "oci:out:v1", "--key", "mine.key"]).expect(0);
    workspace.write("blob", "blob");
    let mut sign = workspace.command(&openssl);
    sign.args([
        "dgst", "-sha256", "-sign", "mine.key", "-out", "sig.der", "blob",
    ]);
    Output::of(&mut sign).expect(0);
    let signature = fs_err::read(workspace.join("sig.der")).unwrap();
    workspace.write("sig", BASE64_STANDARD.encode(signature));
    let mut agreed = 0;
    for at in 0..CASES {
        let (file, is_open) = key_file(&pem, &other, &mut Chance(at));
        workspace.write("case.pub", &file);
        let ours = sealpack(&["verify", "oci:out:v1", "--key", "case.pub"]);
        if is_open {
            // Others take the first. Which one is meant is a matter of trust: see attest/README.md.
            assert_ne!(ours.code, 0, "file {at}");
            continue;
        }
        let mut by_openssl = workspace.command(&openssl);
        by_openssl.args(["pkey", "-pubin", "-in", "case.pub", "-noout"]);
        let mut by_cosign = workspace.command(&cosign);
        by_cosign.args(["verify-blob", "--key", "case.pub", "--signature", "sig"]);
        by_cosign.args(["--insecure-ignore-tlog", "blob"]);
        let reads = [&mut by_openssl, &mut by_cosign].map(|it| Output::of(it).code == 0);
        agreed += usize::from(reads == [true, true]);
        assert!(
            ours.code == 0 || reads != [true, true],
            "file {at} is read by openssl and cosign: {ours:?}\n{}",
            String::from_utf8_lossy(&file)
        );
    }
    // If they agreed on none, nothing would have been tried.
    assert!(agreed >= 5, "{agreed} of {CASES}");
}

/// Base64 as it may be spelled: by either alphabet, with padding or without, in lines or in one.
fn spelled(text: &str, chance: &mut Chance) -> String {
    let mut text = match chance.below(3) {
        0 => text.replace('+', "-").replace('/', "_"),
        _ => text.to_owned(),
    };
    if chance.once_in(3) {
        text = text.trim_end_matches('=').to_owned();
    }
    match chance.below(6) {
        0 => text.insert(text.len() / 2, '\n'),
        1 => text.insert_str(text.len() / 2, "\r\n"),
        2 => text.push('\n'),
        _ => {}
    }
    text
}

/// Renames a field, if it is there: by its name in the schema.
fn rename(object: &mut Value, name: &str, schema: &str, chance: &mut Chance) {
    if let Some(fields) = object.as_object_mut()
        && chance.once_in(5)
        && let Some(value) = fields.remove(name)
    {
        fields.insert(schema.to_owned(), value);
    }
}

/// The same bundle as another program may have written it.
fn bundle(made: &Value, chance: &mut Chance) -> String {
    let mut made = made.clone();
    let envelope = &mut made["dsseEnvelope"];
    for pointer in ["/payload", "/signatures/0/sig"] {
        let text = envelope.pointer_mut(pointer).unwrap();
        *text = spelled(text.as_str().unwrap(), chance).into();
    }
    let signature = &mut envelope["signatures"][0];
    match chance.below(4) {
        0 => signature["keyid"] = "".into(),
        1 => signature["keyid"] = Value::Null,
        _ => drop(signature.as_object_mut().unwrap().remove("keyid")),
    }
    rename(envelope, "payloadType", "payload_type", chance);
    let material = &mut made["verificationMaterial"];
    let empty = [json!(null), json!([]), json!({})];
    for (name, odd) in [
        ("tlogEntries", &empty[..2]),
        (
            "timestampVerificationData",
            &[empty[0].clone(), empty[2].clone()],
        ),
        ("certificate", &empty[..1]),
        ("x509CertificateChain", &empty[..1]),
    ] {
        if chance.once_in(4) {
            material[name] = odd[chance.below(odd.len())].clone();
        }
    }
    match chance.below(5) {
        0 => material["publicKey"] = json!({}),
        1 => material["publicKey"] = json!({ "hint": null }),
        2 => material["publicKey"] = json!({ "hint": "" }),
        _ => {}
    }
    rename(material, "publicKey", "public_key", chance);
    if chance.once_in(6) {
        made["messageSignature"] = Value::Null;
    }
    match chance.below(10) {
        0 => made["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.3".into(),
        1 => made["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.3.1+json".into(),
        2 => made["x-unknown"] = json!({ "x": [1.5, null] }),
        _ => {}
    }
    rename(&mut made, "dsseEnvelope", "dsse_envelope", chance);
    rename(
        &mut made,
        "verificationMaterial",
        "verification_material",
        chance,
    );
    let mut text = String::new();
    write(&made, chance, &mut text);
    if chance.once_in(10) {
        // A field that is there twice has two meanings.
        let end = text.trim_end().len() - 1;
        let again = r#", "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json""#;
        text.insert_str(end, again);
    }
    text
}

#[tokio::test]
async fn bundles_that_others_read_are_read() {
    let Some(cosign) = peer("cosign") else {
        return;
    };
    let workspace = Workspace::new();
    let registry = TestRegistry::start(Switches::default());
    let case = image(&registry, &mut Chance(1));
    let bytes = case.text.into_bytes();
    let target = Descriptor::of(case.media_type.clone(), &bytes);
    registry.put_manifest("app", Some("v1"), case.media_type.as_str(), bytes);
    let name = format!("{}/app", registry.host());
    let sealpack = |arguments: &[&str]| Output::of(&mut workspace.sealpack(arguments));
    sealpack(&["key", "generate", "--output-key-prefix", "mine"]).expect(0);
    sealpack(&["sign", &format!("{name}:v1"), "--key", "mine.key"]).expect(0);
    let client = RegistryClient::new(RegistryOptions::default());
    let store = client.repository(&name.parse().unwrap());
    let signed = store.referrers(&target.digest).await.unwrap().remove(0);
    let manifest = read(&store, &signed, 1 << 20).await.unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let layer: Descriptor = serde_json::from_value(manifest["layers"][0].clone()).unwrap();
    let made = read(&store, &layer, 1 << 20).await.unwrap();
    let made: Value = serde_json::from_slice(&made).unwrap();
    let mut agreed = 0;
    for at in 0..CASES {
        let text = bundle(&made, &mut Chance(at));
        let name = format!("{}/odd{at}", registry.host());
        sealpack(&[
            "copy",
            &format!("{}/app:v1", registry.host()),
            &format!("{name}:v1"),
            "--no-referrers",
        ])
        .expect(0);
        let store = client.repository(&name.parse().unwrap());
        let layer = Descriptor::of(layer.media_type.clone(), text.as_bytes());
        let content = bytes::Bytes::from(text.clone());
        store
            .push_blob(&layer, Upload::Bytes(content))
            .await
            .unwrap();
        let config = Descriptor::of(MediaType::EMPTY, b"{}");
        let empty = bytes::Bytes::from_static(b"{}");
        store
            .push_blob(&config, Upload::Bytes(empty))
            .await
            .unwrap();
        let mut manifest = manifest.clone();
        manifest["layers"][0] = serde_json::to_value(&layer).unwrap();
        let manifest = bytes::Bytes::from(manifest.to_string());
        let attached = Descriptor::of(signed.media_type.clone(), &manifest);
        store.push_manifest(&attached, manifest).await.unwrap();
        let image = format!("{name}:v1");
        let ours = sealpack(&["verify", &image, "--key", "mine.pub"]);
        let mut theirs = workspace.command(&cosign);
        theirs.args(["verify", "--key", "mine.pub", "--insecure-ignore-tlog"]);
        theirs.args(["--allow-http-registry", &image]);
        let reads = Output::of(&mut theirs).code == 0;
        agreed += usize::from(reads);
        assert!(
            ours.code == 0 || !reads,
            "bundle {at} is read by cosign: {ours:?}\n{text}"
        );
    }
    assert!(agreed >= 5, "{agreed} of {CASES}");
}
