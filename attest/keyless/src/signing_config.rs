//! Which services an instance of Sigstore has, and how many of them are asked: `SigningConfig` v0.2.
//!
//! <https://github.com/sigstore/protobuf-specs/blob/v0.5.1/protos/sigstore_trustroot.proto>

use std::collections::BTreeSet;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;

use crate::plan::{Log, LogVersion, Plan};

/// The one version that there is.
const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.signingconfig.v0.2+json";
/// More services than any instance has.
const MAX_SERVICES: usize = 256;

/// Which services an instance has.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SigningConfig {
    authorities: Vec<Service>,
    logs: Services,
    timestamp_authorities: Services,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Services {
    all: Vec<Service>,
    selector: Selector,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Service {
    url: Url,
    version: u32,
    start: OffsetDateTime,
    end: Option<OffsetDateTime>,
    operator: String,
}

/// How many of the services that would do are asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Selector {
    All,
    Any,
    Exact(usize),
}

impl SigningConfig {
    /// The services of the public instance.
    pub fn public() -> Result<Self, SigningConfigError> {
        Self::parse(include_bytes!("signing_config/public.json"))
    }

    /// Reads a file of version 0.2.
    pub fn parse(json: &[u8]) -> Result<Self, SigningConfigError> {
        let raw: Raw = serde_json::from_slice(json).map_err(SigningConfigError::Json)?;
        if raw.media_type != MEDIA_TYPE {
            return Err(SigningConfigError::MediaType {
                presented: raw.media_type.chars().take(100).collect(),
            });
        }
        Ok(Self {
            authorities: services("caUrls", raw.ca_urls)?,
            logs: Services::of("rekorTlog", raw.rekor_tlog_urls, raw.rekor_tlog_config)?,
            timestamp_authorities: Services::of("tsa", raw.tsa_urls, raw.tsa_config)?,
        })
    }

    /// Which services are asked at this time.
    pub fn plan(&self, now: OffsetDateTime) -> Result<Plan, SigningConfigError> {
        let authority = match self.authorities.as_slice() {
            [] => None,
            authorities => {
                let found = current("certificate authority", authorities, &[1], now)?;
                found.first().map(|it| it.url.clone())
            }
        };
        let logs = self.logs.chosen("log", &[2, 1], now)?;
        let authorities = self
            .timestamp_authorities
            .chosen("timestamp authority", &[1], now)?;
        Ok(Plan {
            authority,
            logs: logs
                .into_iter()
                .map(|it| Log {
                    url: it.url.clone(),
                    version: match it.version {
                        1 => LogVersion::V1,
                        _ => LogVersion::V2,
                    },
                })
                .collect(),
            timestamp_authorities: authorities.into_iter().map(|it| it.url.clone()).collect(),
        })
    }
}

impl Services {
    fn of(
        name: &'static str,
        raw: Vec<RawService>,
        config: Option<RawConfig>,
    ) -> Result<Self, SigningConfigError> {
        let all = services(name, raw)?;
        let malformed = |problem| SigningConfigError::Malformed {
            what: format!("{name}Config"),
            problem,
        };
        let config = config.unwrap_or_default();
        let selector = match (config.selector.as_str(), config.count) {
            ("ALL", _) => Selector::All,
            ("ANY", _) => Selector::Any,
            ("EXACT", Some(count)) if (1..=MAX_SERVICES).contains(&count) => Selector::Exact(count),
            ("EXACT", _) => return Err(malformed("`EXACT` without a number of services")),
            // Where there is nothing to choose from, nothing need say how.
            _ if all.is_empty() => Selector::Any,
            ("", _) => return Err(malformed("missing `selector`")),
            _ => return Err(malformed("unknown `selector`")),
        };
        Ok(Self { all, selector })
    }

    fn chosen(
        &self,
        what: &'static str,
        versions: &[u32],
        now: OffsetDateTime,
    ) -> Result<Vec<&Service>, SigningConfigError> {
        if self.all.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = current(what, &self.all, versions, now)?;
        match self.selector {
            Selector::All => {}
            Selector::Any => found.truncate(1),
            Selector::Exact(count) if found.len() < count => {
                return Err(SigningConfigError::TooFew {
                    what,
                    wanted: count,
                    found: found.len(),
                });
            }
            Selector::Exact(count) => found.truncate(count),
        }
        Ok(found)
    }
}

/// Those that may be asked now, the newest of each operator, all of the first of `versions` that any of
/// them speaks.
fn current<'s>(
    what: &'static str,
    services: &'s [Service],
    versions: &[u32],
    now: OffsetDateTime,
) -> Result<Vec<&'s Service>, SigningConfigError> {
    let mut open: Vec<&Service> = services
        .iter()
        .filter(|it| it.start <= now && it.end.is_none_or(|end| now <= end))
        .collect();
    open.sort_by_key(|it| std::cmp::Reverse(it.start));
    for version in versions {
        let mut operators = BTreeSet::new();
        let found: Vec<_> = open
            .iter()
            .copied()
            .filter(|it| it.version == *version && operators.insert(&it.operator))
            .collect();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Err(SigningConfigError::None { what })
}

fn services(name: &'static str, raw: Vec<RawService>) -> Result<Vec<Service>, SigningConfigError> {
    let malformed = |problem| SigningConfigError::Malformed {
        what: name.to_owned(),
        problem,
    };
    if raw.len() > MAX_SERVICES {
        return Err(malformed("too many services"));
    }
    let time = |text: &str| {
        let time = OffsetDateTime::parse(text, &Rfc3339).ok();
        time.ok_or_else(|| malformed("a time that is not of RFC 3339"))
    };
    raw.into_iter()
        .map(|it| {
            let url = Url::parse(&it.url).ok();
            let url = url.filter(|it| matches!(it.scheme(), "http" | "https"));
            let url = url.filter(|it| it.username().is_empty() && it.password().is_none());
            let validity = it
                .valid_for
                .ok_or_else(|| malformed("missing `validFor`"))?;
            let start = validity.start.as_deref();
            Ok(Service {
                url: url.ok_or_else(|| malformed("a `url` that is not one"))?,
                version: it.major_api_version,
                start: time(start.ok_or_else(|| malformed("missing `start`"))?)?,
                end: validity.end.as_deref().map(time).transpose()?,
                operator: it.operator,
            })
        })
        .collect()
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    #[serde(default)]
    #[serde(alias = "media_type")]
    media_type: String,
    #[serde(default)]
    #[serde(alias = "ca_urls")]
    ca_urls: Vec<RawService>,
    #[serde(default)]
    #[serde(alias = "rekor_tlog_urls")]
    rekor_tlog_urls: Vec<RawService>,
    #[serde(alias = "rekor_tlog_config")]
    rekor_tlog_config: Option<RawConfig>,
    #[serde(default)]
    #[serde(alias = "tsa_urls")]
    tsa_urls: Vec<RawService>,
    #[serde(alias = "tsa_config")]
    tsa_config: Option<RawConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawService {
    url: String,
    #[serde(default)]
    #[serde(alias = "major_api_version")]
    major_api_version: u32,
    #[serde(alias = "valid_for")]
    valid_for: Option<RawValidity>,
    #[serde(default)]
    operator: String,
}

#[derive(Deserialize)]
struct RawValidity {
    start: Option<String>,
    end: Option<String>,
}

#[derive(Default, Deserialize)]
struct RawConfig {
    #[serde(default)]
    selector: String,
    count: Option<usize>,
}

/// Why it is not known which services to ask.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::exhaustive_enums, reason = "each has its own hint")]
pub enum SigningConfigError {
    /// Not such a file.
    #[error("malformed signing config")]
    Json(#[source] serde_json::Error),
    /// A file of another kind, or version.
    #[error("malformed signing config: media type `{presented}` instead of `{MEDIA_TYPE}`")]
    MediaType {
        /// What it says that it is.
        presented: String,
    },
    /// A part of it is wrong.
    #[error("malformed signing config: `{what}` has {problem}")]
    Malformed {
        /// Which part.
        what: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// No service may be asked now, or none speaks what we speak.
    #[error(
        "missing service: the signing config has no {what} for this day that we know how to ask"
    )]
    None {
        /// Of which kind.
        what: &'static str,
    },
    /// Not as many as are wanted.
    #[error(
        "missing service: the signing config wants {wanted} of the kind {what}, and has {found} for this day"
    )]
    TooFew {
        /// Of which kind.
        what: &'static str,
        /// How many are wanted.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn at(text: &str) -> OffsetDateTime {
        OffsetDateTime::parse(text, &Rfc3339).unwrap()
    }

    fn service(url: &str, version: u32, start: &str, end: Option<&str>, operator: &str) -> Value {
        let mut validity = json!({"start": format!("{start}T00:00:00Z")});
        if let Some(end) = end {
            validity["end"] = format!("{end}T00:00:00Z").into();
        }
        json!({"url": url, "majorApiVersion": version, "validFor": validity, "operator": operator})
    }

    fn config(logs: &Value, selector: &Value) -> Result<SigningConfig, SigningConfigError> {
        let json = json!({
            "mediaType": MEDIA_TYPE,
            "caUrls": [service("https://ca.example", 1, "2020-01-01", None, "a")],
            "rekorTlogUrls": logs,
            "rekorTlogConfig": selector,
        });
        SigningConfig::parse(json.to_string().as_bytes())
    }

    fn logs(selector: &Value) -> Result<Vec<String>, SigningConfigError> {
        let logs = json!([
            service("https://old.example", 2, "2020-01-01", None, "a"),
            service("https://new.example", 2, "2024-01-01", None, "a"),
            service("https://other.example", 2, "2022-01-01", None, "b"),
            service(
                "https://gone.example",
                2,
                "2023-01-01",
                Some("2024-06-01"),
                "c"
            ),
            service("https://next.example", 2, "2030-01-01", None, "d"),
            service("https://v1.example", 1, "2024-01-01", None, "e"),
            service("https://v3.example", 3, "2024-01-01", None, "f"),
        ]);
        let plan = config(&logs, selector)?.plan(at("2025-01-01T00:00:00Z"))?;
        let named = |it: Log| it.url.host_str().unwrap_or_default().to_owned();
        Ok(plan.logs.into_iter().map(named).collect())
    }

    #[test]
    fn of_each_operator_the_newest_that_is_open_is_asked_by_the_highest_version() {
        let all = ["new.example", "other.example"];
        assert_eq!(logs(&json!({"selector": "ALL"})).unwrap(), all);
        assert_eq!(logs(&json!({"selector": "ANY"})).unwrap(), all[..1]);
        assert_eq!(
            logs(&json!({"selector": "EXACT", "count": 1})).unwrap(),
            all[..1]
        );
        assert_eq!(
            logs(&json!({"selector": "EXACT", "count": 2})).unwrap(),
            all
        );
        let few = logs(&json!({"selector": "EXACT", "count": 3}));
        assert!(matches!(
            few,
            Err(SigningConfigError::TooFew { found: 2, .. })
        ));
    }

    #[test]
    fn how_many_are_asked_has_to_be_said() {
        for selector in [
            json!({}),
            json!({"selector": "SOME"}),
            json!({"selector": "EXACT"}),
            json!({"selector": "EXACT", "count": 0}),
            json!({"selector": "EXACT", "count": 100_000}),
        ] {
            let refused = logs(&selector);
            let refused = matches!(refused, Err(SigningConfigError::Malformed { .. }));
            assert!(refused, "{selector}");
        }
        let without = config(&json!([]), &json!({})).unwrap();
        let plan = without.plan(at("2025-01-01T00:00:00Z")).unwrap();
        assert_eq!((plan.logs.len(), plan.timestamp_authorities.len()), (0, 0));
    }

    #[test]
    fn an_older_version_is_asked_where_there_is_no_newer() {
        let only = json!([service("https://v1.example", 1, "2024-01-01", None, "e")]);
        let config = config(&only, &json!({"selector": "ANY"})).unwrap();
        let plan = config.plan(at("2025-01-01T00:00:00Z")).unwrap();
        assert_eq!(plan.logs[0].version, LogVersion::V1);
        let before = config.plan(at("2023-01-01T00:00:00Z"));
        assert!(matches!(before, Err(SigningConfigError::None { .. })));
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        for url in [
            "x",
            "ftp://log.example",
            "https://me:secret@log.example",
            "",
        ] {
            let logs = json!([service(url, 2, "2020-01-01", None, "a")]);
            assert!(config(&logs, &json!({"selector": "ANY"})).is_err(), "{url}");
        }
        for validity in [json!(null), json!({}), json!({"start": "yesterday"})] {
            let mut log = service("https://log.example", 2, "2020-01-01", None, "a");
            log["validFor"] = validity.clone();
            let refused = config(&json!([log]), &json!({"selector": "ANY"}));
            assert!(refused.is_err(), "{validity}");
        }
        assert!(SigningConfig::parse(b"{}").is_err());
    }

    #[test]
    fn the_public_instance_can_be_asked() {
        let plan = SigningConfig::public().unwrap();
        let plan = plan.plan(at("2026-01-01T00:00:00Z")).unwrap();
        assert!(plan.authority.is_some());
        assert_eq!(plan.timestamp_authorities.len(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            drop(SigningConfig::parse(&bytes));
        }
    }
}
