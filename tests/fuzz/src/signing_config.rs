//! Signing configs: what is chosen is as many as it says, and one a day however often it is asked.

use keyless::SigningConfig;
use time::OffsetDateTime;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "signing_config",
    run,
    seeds,
    words: &[
        "\"selector\":\"ANY\"",
        "\"selector\":\"ALL\"",
        "\"selector\":\"EXACT\",\"count\":",
        "\"rekorTlogUrls\":[",
        "\"tsaUrls\":[",
        "\"majorApiVersion\":2",
        "\"validFor\":{\"start\":\"2020-01-01T00:00:00Z\"",
        "\"end\":\"",
        "9999-12-31T23:59:59.999999999Z",
        "\"operator\":\"a\"",
        "http://127.0.0.1:1",
        "null",
    ],
    short: 4000,
};

fn seeds() -> Vec<Vec<u8>> {
    let service = |port: u16, version: u8, operator: &str| {
        format!(
            r#"{{"url":"http://127.0.0.1:{port}","majorApiVersion":{version},"validFor":{{"start":"2020-01-01T00:00:00Z"}},"operator":"{operator}"}}"#
        )
    };
    let (one, two) = (service(1, 1, "a"), service(2, 2, "b"));
    let config = |logs: &str, selector: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.dev.sigstore.signingconfig.v0.2+json","caUrls":[{one}],"rekorTlogUrls":[{logs}],"rekorTlogConfig":{{{selector}}},"tsaUrls":[{one}],"tsaConfig":{{"selector":"ANY"}}}}"#
        )
    };
    vec![
        config(&one, r#""selector":"ANY""#).into(),
        config(&format!("{one},{two}"), r#""selector":"EXACT","count":1"#).into(),
        config(&format!("{two},{one}"), r#""selector":"ALL""#).into(),
    ]
}

fn run(data: &[u8]) {
    let Ok(config) = SigningConfig::parse(data) else {
        return;
    };
    for day in [0, 1_700_000_000, 4_102_444_800] {
        let day = OffsetDateTime::from_unix_timestamp(day).expect("it is a time");
        if let Ok(plan) = config.plan(day) {
            assert!(plan.logs.len() <= 256 && plan.timestamp_authorities.len() <= 256);
            let again = config.plan(day).expect("it was chosen before");
            assert_eq!(again, plan);
        }
    }
}
