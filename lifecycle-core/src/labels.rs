//! The labels of an image in which the lifecycle says what it did, as Go's `encoding/json` writes
//! them: they are part of the config, so every byte counts for the image ID.

use std::collections::BTreeMap;

use oci::go_json;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use toml::value::{Datetime, Offset};

use crate::api::PlatformApi;
use crate::files::analyzed::{
    BuildpackLayersMetadata, LayerMetadata, LayerSha, LayersMetadata, RunImageMetadata,
    StackMetadata,
};
use crate::files::group::GroupElement;
use crate::files::metadata::{BomEntry, BuildMetadata, Command, Process};
use crate::files::project_metadata::ProjectMetadata;
use crate::files::run::RunImages;
use crate::files::store::Store;

/// Of an image: its layers.
pub const LIFECYCLE_METADATA: &str = "io.buildpacks.lifecycle.metadata";
/// Of an image: how it was built, and what it can run.
pub const BUILD_METADATA: &str = "io.buildpacks.build.metadata";
/// Of an image: where its source came from.
pub const PROJECT_METADATA: &str = "io.buildpacks.project.metadata";
/// Of an image: what it was built for.
pub const EXEC_ENV: &str = "io.buildpacks.exec-env";
/// Of a cache image: its layers.
pub const CACHE_METADATA: &str = "io.buildpacks.lifecycle.cache.metadata";
/// Of a run image: which stack it belongs to.
pub const STACK_ID: &str = "io.buildpacks.stack.id";
/// Of a run image: which it is, whatever its version.
pub const BASE_ID: &str = "io.buildpacks.base.id";
/// Of a run image: its distribution.
pub const DISTRO_NAME: &str = "io.buildpacks.base.distro.name";
/// Of a run image: the version of its distribution.
pub const DISTRO_VERSION: &str = "io.buildpacks.base.distro.version";
/// Of an image: whether it works on another run image of its kind.
pub const REBASABLE: &str = "io.buildpacks.rebasable";

/// Which lifecycle made an image: what the label says of the launcher.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "who builds has to say all of it")]
pub struct LifecycleVersion {
    /// Of the lifecycle.
    pub version: String,
    /// The repository of its source.
    pub repository: String,
    /// The commit in that repository.
    pub commit: String,
}

/// The value of [`LIFECYCLE_METADATA`].
pub fn lifecycle_metadata(metadata: &LayersMetadata) -> Result<String, LabelError> {
    json(&LayersJson::of(metadata)?)
}

/// Reads the value of [`LIFECYCLE_METADATA`], of any lifecycle.
///
/// All numbers become floats, since JSON knows no others to Go.
pub fn parse_lifecycle_metadata(text: &str) -> Result<LayersMetadata, serde_json::Error> {
    serde_json::from_str::<LayersJson>(text).map(LayersJson::into_metadata)
}

/// What a cache says of its layers: the value of [`CACHE_METADATA`].
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "upstream's format")]
pub struct CacheMetadata {
    /// The SBOMs of what is cached; empty if there are none.
    pub sbom: LayerSha,
    /// The layers of each buildpack.
    pub buildpacks: Vec<BuildpackLayersMetadata>,
}

/// The value of [`CACHE_METADATA`].
pub fn cache_metadata(metadata: &CacheMetadata) -> Result<String, LabelError> {
    json(&CacheJson {
        sbom: ShaJson::of(&metadata.sbom),
        buildpacks: BuildpackJson::list(&metadata.buildpacks)?,
    })
}

/// Reads the value of [`CACHE_METADATA`].
pub fn parse_cache_metadata(text: &str) -> Result<CacheMetadata, serde_json::Error> {
    let cache: CacheJson = serde_json::from_str(text)?;
    Ok(CacheMetadata {
        sbom: cache.sbom.into(),
        buildpacks: into_list(cache.buildpacks),
    })
}

/// The value of [`BUILD_METADATA`].
pub fn build_metadata(
    metadata: &BuildMetadata,
    lifecycle: &LifecycleVersion,
    api: PlatformApi,
) -> Result<String, LabelError> {
    let metadata = metadata.clone().for_platform(api);
    let bom = if api.has_sbom_files_only() {
        None
    } else {
        let entries = metadata.bom.iter().map(BomJson::of);
        let entries = entries.collect::<Result<Vec<_>, _>>()?;
        Some(BomList(Some(entries).filter(|it| !it.is_empty())))
    };
    json(&BuildJson {
        bom,
        buildpacks: metadata.buildpacks.iter().map(ModuleJson::of).collect(),
        extensions: metadata.extensions.iter().map(ModuleJson::of).collect(),
        launcher: LauncherJson {
            version: &lifecycle.version,
            source: SourceJson {
                git: GitJson {
                    repository: &lifecycle.repository,
                    commit: &lifecycle.commit,
                },
            },
        },
        processes: metadata.processes.iter().map(ProcessJson::of).collect(),
        default_process: &metadata.buildpack_default_process_type,
    })
}

/// The value of [`PROJECT_METADATA`].
pub fn project_metadata(project: &ProjectMetadata) -> Result<String, LabelError> {
    let source = match &project.source {
        Some(source) => Some(ProjectSourceJson {
            kind: &source.kind,
            version: table(&source.version)?,
            metadata: table(&source.metadata)?,
        }),
        None => None,
    };
    json(&ProjectJson { source })
}

/// Why a label has no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabelError {
    /// Infinity or not-a-number.
    #[error("json: unsupported value: {value}")]
    NotFinite {
        /// In Go's words.
        value: &'static str,
    },
    /// It cannot be said in JSON.
    #[error("json")]
    Unwritable(#[source] serde_json::Error),
}

fn json<T: Serialize>(value: &T) -> Result<String, LabelError> {
    go_json::to_string(value).map_err(LabelError::Unwritable)
}

/// What Go makes of a TOML value on its way to JSON: dates become text.
fn to_json(value: &toml::Value) -> Result<Value, LabelError> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text.clone()),
        toml::Value::Integer(number) => Value::from(*number),
        toml::Value::Float(number) => {
            let number = serde_json::Number::from_f64(*number);
            Value::Number(number.ok_or(LabelError::NotFinite {
                value: match value.as_float() {
                    Some(it) if it.is_nan() => "NaN",
                    Some(it) if it < 0.0 => "-Inf",
                    _ => "+Inf",
                },
            })?)
        }
        toml::Value::Boolean(truth) => Value::Bool(*truth),
        toml::Value::Datetime(time) => Value::String(to_go_time(time)),
        toml::Value::Array(list) => {
            Value::Array(list.iter().map(to_json).collect::<Result<_, _>>()?)
        }
        toml::Value::Table(entries) => Value::Object(table(entries)?),
    })
}

fn table(entries: &toml::Table) -> Result<serde_json::Map<String, Value>, LabelError> {
    entries
        .iter()
        .map(|(key, value)| Ok((key.clone(), to_json(value)?)))
        .collect()
}

/// As `time.Time` prints itself: what TOML leaves out is midnight, UTC or the year 0.
fn to_go_time(time: &Datetime) -> String {
    let mut full = *time;
    full.date.get_or_insert(toml::value::Date {
        year: 0,
        month: 1,
        day: 1,
    });
    let clock = full.time.get_or_insert(toml::value::Time {
        hour: 0,
        minute: 0,
        second: Some(0),
        nanosecond: None,
    });
    clock.second.get_or_insert(0);
    // Go prints no fraction that is zero.
    clock.nanosecond = clock.nanosecond.filter(|it| *it != 0);
    full.offset = match full.offset {
        Some(Offset::Custom { minutes }) if minutes != 0 => full.offset,
        _ => Some(Offset::Z),
    };
    full.to_string()
}

/// What Go makes of a JSON value on its way to TOML: every number is a float, nothing is left out.
fn to_toml(value: Value) -> Option<toml::Value> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(truth) => toml::Value::Boolean(truth),
        Value::Number(number) => toml::Value::Float(number.as_f64().unwrap_or_default()),
        Value::String(text) => toml::Value::String(text),
        Value::Array(list) => toml::Value::Array(list.into_iter().filter_map(to_toml).collect()),
        Value::Object(entries) => toml::Value::Table(to_toml_table(entries)),
    })
}

fn to_toml_table(entries: serde_json::Map<String, Value>) -> toml::Table {
    entries
        .into_iter()
        .filter_map(|(key, value)| Some((key, to_toml(value)?)))
        .collect()
}

/// Reads `null` as nothing, as Go does.
fn null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct LayersJson {
    app: Option<Vec<ShaJson>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sbom: Option<ShaJson>,
    buildpacks: Option<Vec<BuildpackJson>>,
    #[serde(deserialize_with = "null")]
    config: ShaJson,
    #[serde(deserialize_with = "null")]
    launcher: ShaJson,
    #[serde(rename = "process-types", deserialize_with = "null")]
    process_types: ShaJson,
    #[serde(deserialize_with = "null")]
    run_image: RunImageJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    stack: Option<StackJson>,
}

impl LayersJson {
    fn of(metadata: &LayersMetadata) -> Result<Self, LabelError> {
        let app: Vec<_> = metadata.app.iter().map(ShaJson::of).collect();
        Ok(Self {
            app: Some(app).filter(|it| !it.is_empty()),
            sbom: metadata.sbom.as_ref().map(ShaJson::of),
            buildpacks: BuildpackJson::list(&metadata.buildpacks)?,
            config: ShaJson::of(&metadata.config),
            launcher: ShaJson::of(&metadata.launcher),
            process_types: ShaJson::of(&metadata.process_types),
            run_image: RunImageJson {
                top_layer: metadata.run_image.top_layer.clone(),
                reference: metadata.run_image.reference.clone(),
                images: ImagesJson::of(&metadata.run_image.images),
            },
            stack: metadata.stack.as_ref().map(|stack| StackJson {
                run_image: ImagesJson::of(&stack.run_image),
            }),
        })
    }

    fn into_metadata(self) -> LayersMetadata {
        let app = self.app.unwrap_or_default();
        LayersMetadata {
            app: app.into_iter().map(Into::into).collect(),
            sbom: self.sbom.map(Into::into),
            buildpacks: into_list(self.buildpacks),
            config: self.config.into(),
            launcher: self.launcher.into(),
            process_types: self.process_types.into(),
            run_image: RunImageMetadata {
                top_layer: self.run_image.top_layer,
                reference: self.run_image.reference,
                images: self.run_image.images.into(),
            },
            stack: self.stack.map(|stack| StackMetadata {
                run_image: stack.run_image.into(),
            }),
        }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct ShaJson {
    #[serde(deserialize_with = "null")]
    sha: String,
}

impl ShaJson {
    fn of(layer: &LayerSha) -> Self {
        Self {
            sha: layer.sha.clone(),
        }
    }
}

impl From<ShaJson> for LayerSha {
    fn from(layer: ShaJson) -> Self {
        Self { sha: layer.sha }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct BuildpackJson {
    #[serde(deserialize_with = "null")]
    key: String,
    #[serde(deserialize_with = "null")]
    version: String,
    #[serde(deserialize_with = "null")]
    layers: BTreeMap<String, LayerJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreJson>,
}

impl BuildpackJson {
    fn list(buildpacks: &[BuildpackLayersMetadata]) -> Result<Option<Vec<Self>>, LabelError> {
        let list = buildpacks
            .iter()
            .map(Self::of)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(list).filter(|it| !it.is_empty()))
    }

    fn of(buildpack: &BuildpackLayersMetadata) -> Result<Self, LabelError> {
        let layers = buildpack.layers.iter().map(|(name, layer)| {
            let layer = LayerJson {
                sha: layer.sha.clone(),
                data: layer.data.as_ref().map(to_json).transpose()?,
                build: layer.build,
                launch: layer.launch,
                cache: layer.cache,
            };
            Ok((name.clone(), layer))
        });
        let store = match &buildpack.store {
            Some(store) => Some(StoreJson {
                metadata: store.metadata.as_ref().map(table).transpose()?,
            }),
            None => None,
        };
        Ok(Self {
            key: buildpack.key.clone(),
            version: buildpack.version.clone(),
            layers: layers.collect::<Result<_, LabelError>>()?,
            store,
        })
    }
}

fn into_list(buildpacks: Option<Vec<BuildpackJson>>) -> Vec<BuildpackLayersMetadata> {
    let buildpacks = buildpacks.unwrap_or_default().into_iter();
    let layer = |(name, layer): (String, LayerJson)| {
        let layer = LayerMetadata {
            sha: layer.sha,
            build: layer.build,
            launch: layer.launch,
            cache: layer.cache,
            data: layer.data.and_then(to_toml),
        };
        (name, layer)
    };
    buildpacks
        .map(|buildpack| BuildpackLayersMetadata {
            key: buildpack.key,
            version: buildpack.version,
            layers: buildpack.layers.into_iter().map(layer).collect(),
            store: buildpack.store.map(|store| Store {
                metadata: store.metadata.map(to_toml_table),
            }),
        })
        .collect()
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct LayerJson {
    #[serde(deserialize_with = "null")]
    sha: String,
    data: Option<Value>,
    #[serde(deserialize_with = "null")]
    build: bool,
    #[serde(deserialize_with = "null")]
    launch: bool,
    #[serde(deserialize_with = "null")]
    cache: bool,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct StoreJson {
    metadata: Option<serde_json::Map<String, Value>>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct RunImageJson {
    #[serde(deserialize_with = "null")]
    top_layer: String,
    #[serde(deserialize_with = "null")]
    reference: String,
    #[serde(flatten)]
    images: ImagesJson,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
struct StackJson {
    #[serde(deserialize_with = "null")]
    run_image: ImagesJson,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct ImagesJson {
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    image: String,
    #[serde(deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    mirrors: Vec<String>,
}

impl ImagesJson {
    fn of(images: &RunImages) -> Self {
        Self {
            image: images.image.clone(),
            mirrors: images.mirrors.clone(),
        }
    }
}

impl From<ImagesJson> for RunImages {
    fn from(images: ImagesJson) -> Self {
        Self {
            image: images.image,
            mirrors: images.mirrors,
        }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
struct CacheJson {
    #[serde(deserialize_with = "null")]
    sbom: ShaJson,
    buildpacks: Option<Vec<BuildpackJson>>,
}

#[derive(Serialize)]
struct BuildJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    bom: Option<BomList<'a>>,
    buildpacks: Vec<ModuleJson<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extensions: Vec<ModuleJson<'a>>,
    launcher: LauncherJson<'a>,
    processes: Vec<ProcessJson<'a>>,
    #[serde(
        rename = "buildpack-default-process-type",
        skip_serializing_if = "str::is_empty"
    )]
    default_process: &'a str,
}

/// `null` if it is empty.
#[derive(Serialize)]
#[serde(transparent)]
struct BomList<'a>(Option<Vec<BomJson<'a>>>);

#[derive(Serialize)]
struct BomJson<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<serde_json::Map<String, Value>>,
    buildpack: ModuleJson<'a>,
}

impl<'a> BomJson<'a> {
    fn of(entry: &'a BomEntry) -> Result<Self, LabelError> {
        Ok(Self {
            name: &entry.name,
            metadata: entry.metadata.as_ref().map(table).transpose()?,
            buildpack: ModuleJson::of(&entry.buildpack),
        })
    }
}

#[derive(Serialize)]
struct ModuleJson<'a> {
    id: &'a str,
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    homepage: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    extension: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    optional: bool,
}

impl<'a> ModuleJson<'a> {
    fn of(module: &'a GroupElement) -> Self {
        Self {
            id: &module.id,
            version: &module.version,
            homepage: &module.homepage,
            extension: module.extension,
            optional: module.optional,
        }
    }
}

#[derive(Serialize)]
struct LauncherJson<'a> {
    version: &'a str,
    source: SourceJson<'a>,
}

#[derive(Serialize)]
struct SourceJson<'a> {
    git: GitJson<'a>,
}

#[derive(Serialize)]
struct GitJson<'a> {
    repository: &'a str,
    commit: &'a str,
}

#[derive(Serialize)]
struct ProcessJson<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    command: CommandJson<'a>,
    args: &'a Option<Vec<String>>,
    direct: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    #[serde(rename = "buildpackID")]
    buildpack_id: &'a str,
    #[serde(rename = "working-dir", skip_serializing_if = "str::is_empty")]
    working_dir: &'a str,
    #[serde(rename = "exec-env", skip_serializing_if = "<[String]>::is_empty")]
    exec_env: &'a [String],
}

impl<'a> ProcessJson<'a> {
    fn of(process: &'a Process) -> Self {
        Self {
            kind: &process.r#type,
            command: match &process.command {
                Command::Text(text) => CommandJson::Text(text),
                Command::Words(words) => CommandJson::Words(words),
            },
            args: &process.args,
            direct: process.direct,
            default: process.default,
            buildpack_id: &process.buildpack_id,
            working_dir: &process.working_dir,
            exec_env: &process.exec_env,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum CommandJson<'a> {
    Text(&'a str),
    Words(&'a [String]),
}

#[derive(Serialize)]
struct ProjectJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<ProjectSourceJson<'a>>,
}

#[derive(Serialize)]
struct ProjectSourceJson<'a> {
    #[serde(rename = "type", skip_serializing_if = "str::is_empty")]
    kind: &'a str,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    version: serde_json::Map<String, Value>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    metadata: serde_json::Map<String, Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the Go lifecycle 0.21.17 made it of `METADATA`.
    const LABEL: &str = r#"{"big":9223372036854775807,"day":"1979-05-27T00:00:00Z","exp":6.02e+23,"int":-42,"local":"1979-05-27T07:32:00Z","mixed":[1,"two",3.5,[true]],"small":1e-7,"text":"a\u003cb \u0026","time":"0000-01-01T07:32:00.5Z","utc":"1979-05-27T07:32:00Z","when":"1979-05-27T07:32:00.999-07:00","whole":4}"#;
    const METADATA: &str = "text = \"a<b &\"\nint = -42\nbig = 9223372036854775807\nexp = 6.02e23\nsmall = 1e-7\n\
        whole = 4.0\nwhen = 1979-05-27T07:32:00.999-07:00\nutc = 1979-05-27T07:32:00+00:00\nlocal = 1979-05-27T07:32:00\n\
        day = 1979-05-27\ntime = 07:32:00.5\nmixed = [1, \"two\", 3.5, [true]]\n";

    fn metadata(data: toml::Table) -> LayersMetadata {
        let layer = LayerMetadata {
            sha: "s".to_owned(),
            launch: true,
            data: Some(toml::Value::Table(data)),
            ..LayerMetadata::default()
        };
        LayersMetadata {
            buildpacks: vec![BuildpackLayersMetadata {
                key: "k".to_owned(),
                version: "1".to_owned(),
                layers: BTreeMap::from([("l".to_owned(), layer)]),
                store: Some(Store::default()),
            }],
            ..LayersMetadata::default()
        }
    }

    #[test]
    fn labels_are_what_go_writes() {
        let label = lifecycle_metadata(&metadata(toml::from_str(METADATA).unwrap())).unwrap();
        assert_eq!(
            label,
            format!(
                r#"{{"app":null,"buildpacks":[{{"key":"k","version":"1","layers":{{"l":{{"sha":"s","data":{LABEL},"build":false,"launch":true,"cache":false}}}},"store":{{"metadata":null}}}}],"config":{{"sha":""}},"launcher":{{"sha":""}},"process-types":{{"sha":""}},"runImage":{{"topLayer":"","reference":""}}}}"#
            )
        );
    }

    #[test]
    fn numbers_come_back_as_floats() {
        let label = lifecycle_metadata(&metadata(toml::from_str(METADATA).unwrap())).unwrap();
        let back = parse_lifecycle_metadata(&label).unwrap();
        let data = back.buildpacks[0].layers["l"].data.as_ref().unwrap();
        assert_eq!(data["int"], toml::Value::Float(-42.0));
        assert_eq!(data["day"].as_str(), Some("1979-05-27T00:00:00Z"));
        assert!(
            lifecycle_metadata(&back)
                .unwrap()
                .contains("\"big\":9223372036854776000")
        );
    }

    #[test]
    fn what_json_has_no_word_for_is_an_error() {
        for (text, word) in [("inf", "+Inf"), ("-inf", "-Inf"), ("nan", "NaN")] {
            let data = toml::from_str(&format!("v = [{text}]")).unwrap();
            let error = lifecycle_metadata(&metadata(data)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("json: unsupported value: {word}")
            );
        }
    }

    #[test]
    fn foreign_labels_are_read_leniently_but_not_wrongly() {
        let text = r#"{"app":null,"sbom":null,"buildpacks":[{"key":"k","layers":null,"x":1}],"config":null,"runImage":{"mirrors":null}}"#;
        let metadata = parse_lifecycle_metadata(text).unwrap();
        assert_eq!(metadata.buildpacks.len(), 1);
        for bad in ["", "nonsense", r#"{"app":{}}"#, r#"{"buildpacks":"x"}"#] {
            assert!(parse_lifecycle_metadata(bad).is_err(), "{bad}");
        }
        assert_eq!(
            cache_metadata(&CacheMetadata::default()).unwrap(),
            r#"{"sbom":{"sha":""},"buildpacks":null}"#
        );
    }
}
