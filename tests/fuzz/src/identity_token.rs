//! Identity tokens, by their claims: what is read names somebody, and is not printed.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyless::IdentityToken;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "identity_token",
    run,
    seeds,
    words: &[
        "\"exp\":",
        "\"sub\":",
        "\"iss\":",
        "\"email\":",
        "\"email_verified\":true",
        "1e300",
        "-1",
        "18446744073709551615",
        "null",
    ],
    short: 10_000,
};

fn seeds() -> Vec<Vec<u8>> {
    [
        r#"{"iss":"https://issuer.test","sub":"repo:org/app:ref:refs/heads/main","exp":1700000000}"#,
        r#"{"iss":"https://issuer.test","sub":"1","email":"dev@example.test","email_verified":true,"exp":1700000000.5}"#,
        r#"{"iss":"https://issuer.test","sub":"1","email":"dev@example.test","email_verified":"true","exp":1}"#,
    ]
    .map(|it| it.as_bytes().to_vec())
    .into()
}

fn run(data: &[u8]) {
    // Nobody makes a token by changing one: the claims are wrapped here.
    let text = format!("e30.{}.c2VjcmV0", URL_SAFE_NO_PAD.encode(data));
    for text in [text, String::from_utf8_lossy(data).into_owned()] {
        let parsed = IdentityToken::parse(&text.as_str().into());
        assert!(!format!("{parsed:?}").contains("c2VjcmV0"));
        if let Ok(token) = parsed {
            assert!(!token.subject().is_empty());
            let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            // Once it has expired, it stays so.
            let ends = [0, 1_700_000_000, 1 << 40].map(|it| token.check(at(it)).is_err());
            assert!(ends.is_sorted());
        }
    }
}
