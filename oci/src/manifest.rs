//! Manifests: what refers to what.

use std::collections::BTreeMap;

use go::json::{Problem, Type};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::json::{null, texts};
use crate::{Descriptor, Limits, MediaType, wire};

/// A parsed manifest: the one place that knows what refers to what.
///
/// Parsed to be read, never to be written back: whoever moves a manifest moves its bytes. A list or a
/// map that is `null`, as programs in Go write empty ones, is empty.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the specification knows these two")]
#[expect(clippy::large_enum_variant, reason = "one is made, read and dropped")]
pub enum Manifest {
    /// Of one image or artifact.
    Image(ImageManifest),
    /// Of several.
    Index(Index),
}

/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/manifest.md>
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct ImageManifest {
    /// 2; 0 where it is not said.
    #[serde(default, deserialize_with = "null")]
    pub schema_version: u32,
    /// What it is; absent in some OCI manifests.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub media_type: Option<MediaType>,
    /// The config.
    pub config: Descriptor,
    /// The layers, lowest first.
    #[serde(default, deserialize_with = "null")]
    pub layers: Vec<Descriptor>,
    /// Extra facts.
    #[serde(
        default,
        deserialize_with = "texts",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What this one is attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Of an artifact: what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
}

/// <https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md>
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(remote = "Self", rename_all = "camelCase")]
pub struct Index {
    /// 2; 0 where it is not said.
    #[serde(default, deserialize_with = "null")]
    pub schema_version: u32,
    /// What it is; absent in some OCI indexes.
    #[serde(
        default,
        deserialize_with = "said",
        skip_serializing_if = "Option::is_none"
    )]
    pub media_type: Option<MediaType>,
    /// The manifests.
    #[serde(default, deserialize_with = "null")]
    pub manifests: Vec<Descriptor>,
    /// Extra facts.
    #[serde(
        default,
        deserialize_with = "texts",
        skip_serializing_if = "BTreeMap::is_empty"
    )]
    pub annotations: BTreeMap<String, String>,
    /// What this one is attached to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Of an artifact: what it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
}

impl Manifest {
    /// Parses `bytes`, which the store says are of `media_type`. What programs in Go read otherwise than
    /// others is read as they do, since they are what pulls and runs images: keys in other letters, `null`,
    /// text that is no Unicode.
    ///
    /// A document that has two meanings is refused: one that could be read as both kinds
    /// (CVE-2021-41190), that has a field twice or something after its end, or whose own `mediaType` is
    /// another than the one it came with.
    pub fn parse(
        media_type: &MediaType,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Self, ManifestError> {
        Self::read(media_type, bytes, limits, Doubt::Refused)
    }

    /// The same of a document that has a field twice or something after its end, as
    /// go-containerregistry reads it: for the lifecycle, which has to find in an image what upstream's does.
    pub fn parse_loosely(
        media_type: &MediaType,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Self, ManifestError> {
        Self::read(media_type, bytes, limits, Doubt::AsGo)
    }

    fn read(
        media_type: &MediaType,
        bytes: &[u8],
        limits: &Limits,
        doubt: Doubt,
    ) -> Result<Self, ManifestError> {
        if bytes.len() as u64 > limits.manifest_bytes {
            return Err(ManifestError::TooLarge {
                limit: limits.manifest_bytes,
            });
        }
        let probe: Probe = doubt.decode(bytes, &wire::KIND)?;
        let has_image = probe.config || probe.layers;
        if has_image && (probe.manifests || media_type.is_index()) {
            return Err(ManifestError::Ambiguous);
        }
        if let Some(own) = probe.media_type
            && own != *media_type
        {
            return Err(ManifestError::OtherType {
                expected: media_type.clone(),
                own,
            });
        }
        if media_type.is_index() {
            let mut index: Index = doubt.decode(bytes, &wire::INDEX)?;
            // What an index does not say of a manifest is that it is an index.
            for it in &mut index.manifests {
                if it.media_type.as_str().is_empty() {
                    it.media_type = MediaType::IMAGE_MANIFEST;
                }
            }
            if index.manifests.len() > limits.manifests {
                return Err(ManifestError::TooMany {
                    limit: limits.manifests,
                });
            }
            Ok(Self::Index(index))
        } else if media_type.is_image_manifest() {
            let image: ImageManifest = doubt.decode(bytes, &wire::MANIFEST)?;
            if image.layers.len() > limits.layers {
                return Err(ManifestError::TooMany {
                    limit: limits.layers,
                });
            }
            Ok(Self::Image(image))
        } else {
            Err(ManifestError::NotAManifest {
                media_type: media_type.clone(),
            })
        }
    }

    /// What `bytes` say that they are, else what they look like, to whom parses them: an image manifest or an
    /// index where nothing is said of a type. None if they are neither. That they can be parsed as that is
    /// not said.
    pub(crate) fn media_type_of(bytes: &[u8]) -> Option<MediaType> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Config {
            digest: bool,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Shape {
            config: Config,
        }
        let probe: Probe = Doubt::AsGo.decode(bytes, &wire::KIND).ok()?;
        // A config has a `config`, too, which is no descriptor.
        let has_config = || {
            let shape: Option<Shape> = Doubt::AsGo.decode(bytes, &wire::SHAPE).ok();
            shape.is_some_and(|it| it.config.digest)
        };
        match probe.media_type {
            Some(said) => Some(said),
            None if probe.manifests => Some(MediaType::IMAGE_INDEX),
            None if probe.layers || (probe.config && has_config()) => {
                Some(MediaType::IMAGE_MANIFEST)
            }
            None => None,
        }
    }

    /// What it refers to, but for its subject: config and layers, or manifests.
    pub fn successors(&self) -> Vec<&Descriptor> {
        match self {
            Self::Image(image) => std::iter::once(&image.config)
                .chain(&image.layers)
                .collect(),
            Self::Index(index) => index.manifests.iter().collect(),
        }
    }

    /// What it is attached to.
    pub fn subject(&self) -> Option<&Descriptor> {
        match self {
            Self::Image(image) => image.subject.as_ref(),
            Self::Index(index) => index.subject.as_ref(),
        }
    }

    /// What kind of artifact it is, by its own word: `artifactType`, else the config's media type.
    pub fn artifact_type(&self) -> Option<&MediaType> {
        match self {
            Self::Image(image) => Some(
                image
                    .artifact_type
                    .as_ref()
                    .unwrap_or(&image.config.media_type),
            ),
            Self::Index(index) => index.artifact_type.as_ref(),
        }
    }

    /// Its annotations.
    pub fn annotations(&self) -> &BTreeMap<String, String> {
        match self {
            Self::Image(image) => &image.annotations,
            Self::Index(index) => &index.annotations,
        }
    }
}

crate::json::objects_only!(ImageManifest, Index);

/// As much of a manifest as tells its kind.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Probe {
    #[serde(deserialize_with = "said")]
    media_type: Option<MediaType>,
    config: bool,
    layers: bool,
    manifests: bool,
}

/// What becomes of a document that readers understand differently.
#[derive(Clone, Copy)]
enum Doubt {
    Refused,
    AsGo,
}

impl Doubt {
    fn decode<T: DeserializeOwned>(self, bytes: &[u8], of: &Type) -> Result<T, ManifestError> {
        let read = match self {
            Self::Refused => go::json::unambiguous(bytes, of),
            Self::AsGo => go::json::decode(bytes, of),
        };
        read.map_err(ManifestError::Malformed)
    }
}

/// A media type without its parameters; an empty one is none.
fn said<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<MediaType>, D::Error> {
    let said = Option::<MediaType>::deserialize(deserializer)?;
    Ok(said
        .map(|it| it.without_parameters())
        .filter(|it| !it.as_str().is_empty()))
}

/// Why bytes are no manifest that we read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// It has fields of both an image manifest and an index.
    #[error("document is both an image manifest and an index")]
    Ambiguous,
    /// No JSON, or not of this shape.
    #[error("malformed manifest")]
    Malformed(#[source] Problem),
    /// Its media type is none of a manifest.
    #[error("`{media_type}` is not the media type of a manifest")]
    NotAManifest {
        /// What it came with.
        media_type: MediaType,
    },
    /// It says to be something else than the store says.
    #[error("the manifest came as `{expected}`, but says to be `{own}`")]
    OtherType {
        /// What it came with.
        expected: MediaType,
        /// What it says.
        own: MediaType,
    },
    /// More bytes than we read.
    #[error("manifest is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// More entries than we follow.
    #[error("manifest has more than {limit} entries")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_media_type_is_what_it_would_be_parsed_as() {
        let (image, index) = (MediaType::IMAGE_MANIFEST, MediaType::IMAGE_INDEX);
        let config = r#""config":{"digest":"sha256:0"}"#;
        let typed = |key: &str| format!(r#"{{"{key}":"{index}; charset=utf-8"}}"#);
        for (text, expected) in [
            (typed("mediaType"), Some(&index)),
            (typed("MediaType"), Some(&index)),
            (r#"{"manifests":[]}"#.to_owned(), Some(&index)),
            (r#"{"Manifests":[]}"#.to_owned(), Some(&index)),
            (r#"{"layers":[]}"#.to_owned(), Some(&image)),
            (r#"{"LAYER\u017f":[]}"#.to_owned(), Some(&image)),
            (format!("{{{config}}}"), Some(&image)),
            (format!(r#"{{"mediaType":null,{config}}}"#), Some(&image)),
            (format!("{{{}}}", config.to_uppercase()), Some(&image)),
            (
                r#"{"mediaType":"","manifests":null,"layers":[]}"#.to_owned(),
                Some(&image),
            ),
            // The lifecycle takes what other readers find doubtful.
            (r#"{"layers":[],"layers":[]} x"#.to_owned(), Some(&image)),
            (
                r#"{"config":{"Labels":{"x":"\"digest\""}},"rootfs":{}}"#.to_owned(),
                None,
            ),
            (r#"{"mediaType":1,"layers":[]}"#.to_owned(), None),
            (r#"{"mediaType":" ;x"}"#.to_owned(), None),
            ("{}".to_owned(), None),
            ("[]".to_owned(), None),
            ("x".to_owned(), None),
        ] {
            let found = Manifest::media_type_of(text.as_bytes());
            assert_eq!(found.as_ref(), expected, "{text}");
        }
        let plain = Manifest::media_type_of(br#"{"mediaType":"text/plain","layers":[]}"#);
        assert_eq!(plain, Some("text/plain".into()));
    }

    fn parse(media_type: &MediaType, text: &str) -> Result<Manifest, ManifestError> {
        Manifest::parse(media_type, text.as_bytes(), &Limits::default())
    }

    const CONFIG: &str = r#"{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;

    #[test]
    fn what_is_empty_may_be_null_and_still_has_one_meaning() {
        let image =
            format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":null,"annotations":null}}"#);
        let index = r#"{"schemaVersion":2,"manifests":null}"#;
        assert!(parse(&MediaType::IMAGE_MANIFEST, &image).is_ok());
        assert!(parse(&MediaType::IMAGE_INDEX, index).is_ok());
        // With both lists it would be both; an index without one is empty.
        assert!(parse(&MediaType::IMAGE_INDEX, &image).is_err());
        assert!(parse(&MediaType::IMAGE_MANIFEST, index).is_err());
        assert!(parse(&MediaType::IMAGE_INDEX, r#"{"schemaVersion":2}"#).is_ok());
        // What is null is not there, so each of these has one meaning, too.
        let image =
            format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":null,"manifests":null}}"#);
        assert!(parse(&MediaType::IMAGE_MANIFEST, &image).is_ok());
        assert!(parse(&MediaType::IMAGE_INDEX, &image).is_err());
        let index = r#"{"manifests":[],"config":null,"layers":null}"#;
        assert!(parse(&MediaType::IMAGE_INDEX, index).is_ok());
        assert!(parse(&MediaType::IMAGE_MANIFEST, index).is_err());
    }

    #[test]
    fn a_document_with_two_meanings_is_refused() {
        let both = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[],"manifests":[]}}"#);
        for media_type in [MediaType::IMAGE_MANIFEST, MediaType::IMAGE_INDEX] {
            assert!(matches!(
                parse(&media_type, &both),
                Err(ManifestError::Ambiguous)
            ));
        }
        let with_config = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"manifests":[]}}"#);
        for text in [
            with_config.as_str(),
            r#"{"schemaVersion":2,"layers":[],"manifests":[]}"#,
        ] {
            let parsed = parse(&MediaType::IMAGE_INDEX, text);
            assert!(matches!(parsed, Err(ManifestError::Ambiguous)), "{text}");
        }
        let other = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
        assert!(matches!(
            parse(&MediaType::DOCKER_MANIFEST_LIST, other),
            Err(ManifestError::OtherType { .. })
        ));
        // What has a field twice, or more behind its end, has two meanings, too.
        let twice = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[],"layers":[]}}"#);
        let more = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[]}} {{}}"#);
        let folded = twice.replacen("layers", "LAYERS", 1);
        for text in [&twice, &more, &folded] {
            let image = &MediaType::IMAGE_MANIFEST;
            assert!(parse(image, text).is_err(), "{text}");
            let read = Manifest::parse_loosely(image, text.as_bytes(), &Limits::default());
            assert!(read.is_ok(), "{text}");
        }
        let hidden = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"MANIFESTS":[]}}"#);
        assert!(matches!(
            parse(&MediaType::IMAGE_MANIFEST, &hidden),
            Err(ManifestError::Ambiguous)
        ));
    }

    #[test]
    fn what_is_not_said_is_not_needed() {
        for fields in [
            r#""schemaVersion":null"#,
            r#""mediaType":"""#,
            r#""mediaType":null"#,
            r#""mediaType":"application/vnd.oci.image.manifest.v1+json; charset=utf-8""#,
            r#""annotations":{"a":"\ud800","b":"\ud83d\ude00","b":"\udc00x"}"#,
            r#""x":{"y":1e999}"#,
        ] {
            let text = format!(r#"{{"config":{CONFIG},{fields}}}"#);
            let read = parse(&MediaType::IMAGE_MANIFEST, &text);
            assert!(matches!(read, Ok(Manifest::Image(_))), "{text}: {read:?}");
        }
        let other = format!(r#"{{"config":{CONFIG},"mediaType":"text/x"}}"#);
        assert!(parse(&MediaType::IMAGE_MANIFEST, &other).is_err());
        let mut odd = format!(r#"{{"config":{CONFIG},"annotations":{{"a":""#).into_bytes();
        odd.extend(b"\xff\"}}");
        let limits = Limits::default();
        let read = Manifest::parse(&MediaType::IMAGE_MANIFEST, &odd, &limits).unwrap();
        assert_eq!(read.annotations()["a"], "\u{fffd}");
        // A member of an index is an image unless it is said to be something else.
        let bare = CONFIG.replace(r#""mediaType":"application/vnd.oci.empty.v1+json","#, "");
        let index = format!(r#"{{"manifests":[{bare}]}}"#);
        let read = parse(&MediaType::IMAGE_INDEX, &index).unwrap();
        assert_eq!(read.successors()[0].media_type, MediaType::IMAGE_MANIFEST);
        let image = format!(r#"{{"config":{bare},"layers":[{bare}],"subject":{bare}}}"#);
        let read = parse(&MediaType::IMAGE_MANIFEST, &image).unwrap();
        assert!(read.subject().is_some());
    }

    #[test]
    fn what_came_as_no_manifest_is_none() {
        let image = format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[]}}"#);
        parse(&MediaType::IMAGE_MANIFEST, &image).unwrap();
        for media_type in ["text/plain", "application/vnd.oci.image.config.v1+json"] {
            let parsed = parse(&media_type.into(), &image);
            assert!(matches!(parsed, Err(ManifestError::NotAManifest { .. })));
        }
    }

    #[test]
    fn what_is_no_json_is_told_as_go_tells_it() {
        let told = |text| {
            let error = parse(&MediaType::IMAGE_MANIFEST, text).unwrap_err();
            go::words::chain(&error)
        };
        assert_eq!(
            told("not json"),
            "malformed manifest: invalid character 'o' in literal null (expecting 'u')"
        );
        assert_eq!(
            told(r#"{"layers":{}}"#),
            "malformed manifest: json: cannot unmarshal object into Go struct field Manifest.layers of type []v1.Descriptor"
        );
    }

    #[test]
    fn a_list_is_no_object() {
        let list = r#"{"schemaVersion":2,"config":["application/vnd.oci.empty.v1+json","sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",2],"layers":[]}"#;
        assert!(matches!(
            parse(&MediaType::IMAGE_MANIFEST, list),
            Err(ManifestError::Malformed(_))
        ));
        assert!(parse(&MediaType::IMAGE_INDEX, "[2,null,[]]").is_err());
    }

    #[test]
    fn more_than_the_limits_is_refused() {
        let limits = Limits {
            layers: 1,
            ..Limits::default()
        };
        let two =
            format!(r#"{{"schemaVersion":2,"config":{CONFIG},"layers":[{CONFIG},{CONFIG}]}}"#);
        let parsed = Manifest::parse(&MediaType::IMAGE_MANIFEST, two.as_bytes(), &limits);
        assert!(matches!(parsed, Err(ManifestError::TooMany { limit: 1 })));
        let limits = Limits {
            manifests: 1,
            ..Limits::default()
        };
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{CONFIG},{CONFIG}]}}"#);
        let parsed = Manifest::parse(&MediaType::IMAGE_INDEX, index.as_bytes(), &limits);
        assert!(matches!(parsed, Err(ManifestError::TooMany { limit: 1 })));
        let small = Limits {
            manifest_bytes: 10,
            ..Limits::default()
        };
        let parsed = Manifest::parse(&MediaType::IMAGE_MANIFEST, two.as_bytes(), &small);
        assert!(matches!(parsed, Err(ManifestError::TooLarge { limit: 10 })));
    }
}
