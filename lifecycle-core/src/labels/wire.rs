//! The shapes of the labels: their keys, in order.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use toml::value::{Datetime, Offset};

use super::LabelError;
use crate::files::analyzed::{
    BuildpackLayersMetadata, LayerMetadata, LayerSha, LayersMetadata, RunImageMetadata,
    StackMetadata,
};
use crate::files::any::Any;
use crate::files::group::GroupElement;
use crate::files::metadata::{BomEntry, Command, Process};
use crate::files::run::RunImages;
use crate::files::store::Store;

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

pub(super) fn table(entries: &toml::Table) -> Result<serde_json::Map<String, Value>, LabelError> {
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

/// The value as a label has it.
fn free(value: &Any) -> Result<Value, LabelError> {
    match value {
        Any::Toml(value) => to_json(value),
        Any::Json(value) => Ok(value.clone()),
    }
}

/// Reads `null` as nothing, as Go does.
fn null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct LayersJson<A = Vec<ShaJson>> {
    pub(super) app: Option<A>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sbom: Option<ShaJson>,
    pub(super) buildpacks: Option<Vec<BuildpackJson>>,
    #[serde(deserialize_with = "null")]
    pub(super) config: ShaJson,
    #[serde(deserialize_with = "null")]
    pub(super) launcher: ShaJson,
    #[serde(rename = "process-types", deserialize_with = "null")]
    pub(super) process_types: ShaJson,
    #[serde(deserialize_with = "null")]
    pub(super) run_image: RunImageJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stack: Option<StackJson>,
}

impl LayersJson {
    pub(super) fn of(metadata: &LayersMetadata) -> Result<Self, LabelError> {
        let app: Vec<_> = metadata.app.iter().map(ShaJson::of).collect();
        Ok(Self {
            app: Some(app).filter(|it| !it.is_empty()),
            sbom: metadata.sbom.as_ref().map(ShaJson::of),
            buildpacks: BuildpackJson::list(&metadata.buildpacks)?,
            config: ShaJson::of(&metadata.config),
            launcher: ShaJson::of(&metadata.launcher),
            process_types: ShaJson::of(&metadata.process_types),
            run_image: RunImageJson::of(&metadata.run_image),
            stack: metadata.stack.as_ref().map(|stack| StackJson {
                run_image: ImagesJson::of(&stack.run_image),
            }),
        })
    }

    pub(super) fn into_metadata(self) -> LayersMetadata {
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

impl<A> LayersJson<A> {
    /// The app's layers, and the rest.
    pub(super) fn split_app(mut self) -> (Option<A>, LayersJson) {
        (self.app.take(), self.with_app(None))
    }

    /// The same with other layers of the app.
    pub(super) fn with_app<B>(self, app: Option<B>) -> LayersJson<B> {
        LayersJson {
            app,
            sbom: self.sbom,
            buildpacks: self.buildpacks,
            config: self.config,
            launcher: self.launcher,
            process_types: self.process_types,
            run_image: self.run_image,
            stack: self.stack,
        }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct ShaJson {
    #[serde(deserialize_with = "null")]
    pub(super) sha: String,
}

impl ShaJson {
    pub(super) fn of(layer: &LayerSha) -> Self {
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
pub(super) struct BuildpackJson {
    #[serde(deserialize_with = "null")]
    pub(super) key: String,
    #[serde(deserialize_with = "null")]
    pub(super) version: String,
    #[serde(deserialize_with = "null")]
    pub(super) layers: BTreeMap<String, LayerJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) store: Option<StoreJson>,
}

impl BuildpackJson {
    pub(super) fn list(
        buildpacks: &[BuildpackLayersMetadata],
    ) -> Result<Option<Vec<Self>>, LabelError> {
        let list = buildpacks
            .iter()
            .map(Self::of)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Some(list).filter(|it| !it.is_empty()))
    }

    pub(super) fn of(buildpack: &BuildpackLayersMetadata) -> Result<Self, LabelError> {
        let layers = buildpack.layers.iter().map(|(name, layer)| {
            let layer = LayerJson {
                sha: layer.sha.clone(),
                data: layer.data.as_ref().map(free).transpose()?,
                build: layer.build,
                launch: layer.launch,
                cache: layer.cache,
            };
            Ok((name.clone(), layer))
        });
        let store = match &buildpack.store {
            Some(store) => Some(StoreJson {
                metadata: store.metadata.as_ref().map(free).transpose()?,
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

pub(super) fn into_list(buildpacks: Option<Vec<BuildpackJson>>) -> Vec<BuildpackLayersMetadata> {
    let buildpacks = buildpacks.unwrap_or_default().into_iter();
    let layer = |(name, layer): (String, LayerJson)| {
        let layer = LayerMetadata {
            sha: layer.sha,
            build: layer.build,
            launch: layer.launch,
            cache: layer.cache,
            data: layer.data.map(Any::Json),
        };
        (name, layer)
    };
    buildpacks
        .map(|buildpack| BuildpackLayersMetadata {
            key: buildpack.key,
            version: buildpack.version,
            layers: buildpack.layers.into_iter().map(layer).collect(),
            store: buildpack.store.map(|store| Store {
                metadata: store.metadata.map(Any::Json),
            }),
        })
        .collect()
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct LayerJson {
    #[serde(deserialize_with = "null")]
    pub(super) sha: String,
    pub(super) data: Option<Value>,
    #[serde(deserialize_with = "null")]
    pub(super) build: bool,
    #[serde(deserialize_with = "null")]
    pub(super) launch: bool,
    #[serde(deserialize_with = "null")]
    pub(super) cache: bool,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct StoreJson {
    pub(super) metadata: Option<Value>,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct RunImageJson {
    #[serde(deserialize_with = "null")]
    pub(super) top_layer: String,
    #[serde(deserialize_with = "null")]
    pub(super) reference: String,
    #[serde(flatten)]
    pub(super) images: ImagesJson,
}

impl RunImageJson {
    pub(super) fn of(run_image: &RunImageMetadata) -> Self {
        Self {
            top_layer: run_image.top_layer.clone(),
            reference: run_image.reference.clone(),
            images: ImagesJson::of(&run_image.images),
        }
    }
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct StackJson {
    #[serde(deserialize_with = "null")]
    pub(super) run_image: ImagesJson,
}

#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct ImagesJson {
    #[serde(deserialize_with = "null", skip_serializing_if = "String::is_empty")]
    pub(super) image: String,
    #[serde(deserialize_with = "null", skip_serializing_if = "Vec::is_empty")]
    pub(super) mirrors: Vec<String>,
}

impl ImagesJson {
    pub(super) fn of(images: &RunImages) -> Self {
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
pub(super) struct CacheJson {
    #[serde(deserialize_with = "null")]
    pub(super) sbom: ShaJson,
    pub(super) buildpacks: Option<Vec<BuildpackJson>>,
}

#[derive(Serialize)]
pub(super) struct BuildJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bom: Option<BomList<'a>>,
    pub(super) buildpacks: Option<Vec<ModuleJson<'a>>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) extensions: Vec<ModuleJson<'a>>,
    pub(super) launcher: LauncherJson<'a>,
    pub(super) processes: Option<Vec<ProcessJson<'a>>>,
    #[serde(
        rename = "buildpack-default-process-type",
        skip_serializing_if = "str::is_empty"
    )]
    pub(super) default_process: &'a str,
}

/// `null` if it is empty.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct BomList<'a>(pub(super) Option<Vec<BomJson<'a>>>);

#[derive(Serialize)]
pub(super) struct BomJson<'a> {
    pub(super) name: &'a str,
    /// `null` where there is none.
    pub(super) metadata: Option<serde_json::Map<String, Value>>,
    pub(super) buildpack: ModuleJson<'a>,
}

impl<'a> BomJson<'a> {
    pub(super) fn of(entry: &'a BomEntry) -> Result<Self, LabelError> {
        Ok(Self {
            name: &entry.name,
            metadata: entry.metadata.as_ref().map(table).transpose()?,
            buildpack: ModuleJson::of(&entry.buildpack),
        })
    }
}

#[derive(Serialize)]
pub(super) struct ModuleJson<'a> {
    pub(super) id: &'a str,
    pub(super) version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) homepage: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) extension: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) optional: bool,
}

impl<'a> ModuleJson<'a> {
    pub(super) fn of(module: &'a GroupElement) -> Self {
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
pub(super) struct LauncherJson<'a> {
    pub(super) version: &'a str,
    pub(super) source: SourceJson<'a>,
}

#[derive(Serialize)]
pub(super) struct SourceJson<'a> {
    pub(super) git: GitJson<'a>,
}

#[derive(Serialize)]
pub(super) struct GitJson<'a> {
    pub(super) repository: &'a str,
    pub(super) commit: &'a str,
}

#[derive(Serialize)]
pub(super) struct ProcessJson<'a> {
    #[serde(rename = "type")]
    pub(super) kind: &'a str,
    pub(super) command: CommandJson<'a>,
    pub(super) args: &'a Option<Vec<String>>,
    pub(super) direct: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) default: bool,
    #[serde(rename = "buildpackID")]
    pub(super) buildpack_id: &'a str,
    #[serde(rename = "working-dir", skip_serializing_if = "str::is_empty")]
    pub(super) working_dir: &'a str,
    #[serde(rename = "exec-env", skip_serializing_if = "<[String]>::is_empty")]
    pub(super) exec_env: &'a [String],
}

impl<'a> ProcessJson<'a> {
    pub(super) fn of(process: &'a Process) -> Self {
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
pub(super) enum CommandJson<'a> {
    Text(&'a str),
    Words(&'a [String]),
}

#[derive(Serialize)]
pub(super) struct ProjectJson<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) source: Option<ProjectSourceJson<'a>>,
}

#[derive(Serialize)]
pub(super) struct ProjectSourceJson<'a> {
    #[serde(rename = "type", skip_serializing_if = "str::is_empty")]
    pub(super) kind: &'a str,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub(super) version: serde_json::Map<String, Value>,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub(super) metadata: serde_json::Map<String, Value>,
}
