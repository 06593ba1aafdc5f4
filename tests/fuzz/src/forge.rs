//! A forge's export: what is counted adds up, whatever it says.

use health::{ForgeIssues, History, Measured, measure};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "forge",
    run,
    seeds,
    words: &[
        "{\"issues\":[",
        "\"pulls\":[",
        "\"releases\":[",
        "\"comments\":[",
        "\"number\":1,",
        "\"number\":18446744073709551615,",
        "\"user\":{\"login\":\"a\",\"type\":\"Bot\"},",
        "\"user\":null,",
        "\"created_at\":\"2023-11-01T00:00:00Z\",",
        "\"closed_at\":\"2023-11-02T00:00:00Z\",",
        "\"merged_at\":null",
        "\"pull_request\":{}",
        "\"issue_url\":\"https://x/1\",",
        "-9999-01-01T00:00:00Z",
        "9999-12-31T23:59:60+23:59",
        "]}",
    ],
    short: 10_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let all = r#"{"issues":[{"number":1,"user":{"login":"a","type":"User"},"created_at":"2023-11-01T00:00:00Z","closed_at":"2023-11-03T12:00:00Z"},{"number":2,"user":null,"created_at":"2020-11-01T00:00:00Z","closed_at":null,"pull_request":{"url":"x"}}],"pulls":[{"number":2,"user":{"login":"b[bot]"},"created_at":"2023-10-01T00:00:00Z","closed_at":"2023-10-02T00:00:00Z","merged_at":"2023-10-02T00:00:00Z"}],"releases":[{"draft":false,"prerelease":false,"published_at":"2023-10-01T00:00:00Z"}],"comments":[{"issue_url":"https://h.example/repos/o/r/issues/1","user":{"login":"c"},"created_at":"2023-11-01T05:00:00Z"}]}"#;
    vec![all.as_bytes().to_vec(), b"{}".to_vec()]
}

fn run(data: &[u8]) {
    let mut history = History::default();
    history.time = 1_700_000_000;
    let mut health = measure(&history, Measured::default());
    if health::forge::add(&mut health, data).is_err() {
        return;
    }
    let forge = health.forge.clone().expect("it was added");
    for it in [&forge.issues, &forge.change_requests]
        .into_iter()
        .flatten()
    {
        adds_up(it);
    }
    let written = serde_json::to_string(&health).expect("has keys that are texts");
    let again: health::Health = serde_json::from_str(&written).expect("was just written");
    assert_eq!(again, health);
}

fn adds_up(it: &ForgeIssues) {
    assert!(it.open <= it.total && it.new_last_year <= it.total);
    assert!(it.open + it.closed_last_year <= it.total);
    assert!(it.authors_last_year <= it.new_last_year);
    assert!(
        it.accepted_last_year
            .is_none_or(|accepted| accepted <= it.closed_last_year)
    );
    assert_eq!(it.median_days.is_some(), it.closed_last_year > 0);
}
