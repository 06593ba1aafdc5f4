//! The labels of an image in which the lifecycle says what it did, as Go's `encoding/json` writes
//! them: they are part of the config, so every byte counts for the image ID.

mod read;
mod wire;

use std::collections::BTreeSet;

use go::json::{self, Problem};
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::wire::{
    BomJson, BomList, BuildJson, BuildpackJson, CacheJson, GitJson, ImagesJson, LauncherJson,
    LayersJson, ModuleJson, ProcessJson, ProjectJson, ProjectSourceJson, RunImageJson, ShaJson,
    SourceJson, into_list, table,
};
use crate::api::PlatformApi;
use crate::files::analyzed::{
    BuildpackLayersMetadata, LayerSha, LayersMetadata, RunImageMetadata, StackMetadata,
};
use crate::files::metadata::{BomEntry, BuildMetadata};
use crate::files::project_metadata::ProjectMetadata;
use crate::files::run::RunImages;

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
/// Of a run image: which packages it has.
pub const STACK_MIXINS: &str = "io.buildpacks.stack.mixins";
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

/// Reads the value of [`LIFECYCLE_METADATA`], of any lifecycle. One that is empty says nothing.
///
/// All numbers become floats, since JSON knows no others to Go.
pub fn parse_lifecycle_metadata(text: &str) -> Result<LayersMetadata, LabelError> {
    let label: LayersJson = parse(LIFECYCLE_METADATA, text, &read::LAYERS)?;
    Ok(label.into_metadata())
}

/// Reads the value of [`STACK_MIXINS`].
pub(crate) fn parse_mixins(text: &str) -> Result<Vec<String>, LabelError> {
    let mixins: Option<_> = parse(STACK_MIXINS, text, &json::Type::TEXTS)?;
    Ok(mixins.unwrap_or_default())
}

/// Reads a label; one that is empty is as if it were not there.
fn parse<T: DeserializeOwned + Default>(
    label: &'static str,
    text: &str,
    of: &json::Type,
) -> Result<T, LabelError> {
    if text.is_empty() {
        return Ok(T::default());
    }
    let read = json::unmarshal(text.as_bytes(), of);
    read.map_err(|problem| LabelError::Unreadable { label, problem })
}

/// The value of [`LIFECYCLE_METADATA`] for an image on another run image; all else stays as it is, of
/// whatever shape `app` is.
///
/// `change` is given what the label says of the run image, and changes it.
pub(crate) fn rebase_lifecycle_metadata<E: From<LabelError>>(
    text: &str,
    change: impl FnOnce(&mut RunImageMetadata, &mut Option<StackMetadata>) -> Result<(), E>,
) -> Result<String, E> {
    let label: LayersJson<serde_json::Value> =
        parse(LIFECYCLE_METADATA, text, &read::LAYERS_OF_ANY_APP)?;
    let (app, label) = label.split_app();
    let mut metadata = label.into_metadata();
    change(&mut metadata.run_image, &mut metadata.stack)?;
    let made = LayersJson::of(&metadata)?.with_app(app);
    Ok(json(&made)?)
}

/// The diff IDs of the layers that the lifecycle put above the run image, as the value of
/// [`LIFECYCLE_METADATA`] lists them. Of a label that cannot be read, none.
pub(crate) fn own_layers(text: &str) -> BTreeSet<String> {
    let Ok(metadata) = parse_lifecycle_metadata(text) else {
        return BTreeSet::new();
    };
    let buildpacks = metadata.buildpacks.iter().flat_map(|it| it.layers.values());
    let fixed = [
        &metadata.config,
        &metadata.launcher,
        &metadata.process_types,
    ];
    let layers = fixed.into_iter().chain(&metadata.app).chain(&metadata.sbom);
    layers
        .map(|it| it.sha.clone())
        .chain(buildpacks.map(|it| it.sha.clone()))
        .filter(|it| !it.is_empty())
        .collect()
}

/// What the label says of a run image, as JSON.
pub(crate) fn run_image_json(run_image: &RunImageMetadata) -> String {
    json(&RunImageJson::of(run_image)).unwrap_or_default()
}

/// What the label says of a stack's run image, as JSON.
pub(crate) fn images_json(images: &RunImages) -> String {
    json(&ImagesJson::of(images)).unwrap_or_default()
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

/// Reads the value of [`CACHE_METADATA`]. One that is empty says nothing.
pub fn parse_cache_metadata(text: &str) -> Result<CacheMetadata, LabelError> {
    parse(CACHE_METADATA, text, &read::CACHE).map(CacheJson::into_metadata)
}

/// Reads the same from a file: what follows it there does not count.
pub(crate) fn read_cache_metadata(bytes: &[u8]) -> Result<CacheMetadata, Problem> {
    json::decode(bytes, &read::CACHE).map(CacheJson::into_metadata)
}

impl CacheJson {
    fn into_metadata(self) -> CacheMetadata {
        CacheMetadata {
            sbom: self.sbom.into(),
            buildpacks: into_list(self.buildpacks),
        }
    }
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
        Some(bom_list(&metadata.bom)?)
    };
    json(&BuildJson {
        bom,
        buildpacks: metadata
            .buildpacks
            .as_ref()
            .map(|list| list.iter().map(ModuleJson::of).collect()),
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
        processes: metadata
            .processes
            .as_ref()
            .map(|list| list.iter().map(ProcessJson::of).collect()),
        default_process: &metadata.buildpack_default_process_type,
    })
}

/// The old bill of materials, as a file has it: `null` if there is nothing in it.
pub(crate) fn bom(entries: &[BomEntry]) -> Result<String, LabelError> {
    json(&bom_list(entries)?)
}

fn bom_list(entries: &[BomEntry]) -> Result<BomList<'_>, LabelError> {
    let entries = entries.iter().map(BomJson::of);
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    Ok(BomList(Some(entries).filter(|it| !it.is_empty())))
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
    /// It is no JSON, or not of its shape.
    #[error("failed to unmarshal context of label '{label}': {problem}")]
    Unreadable {
        /// Which label.
        label: &'static str,
        /// Why not, in Go's words.
        problem: Problem,
    },
    /// It cannot be said in JSON.
    #[error("json")]
    Unwritable(#[source] serde_json::Error),
}

fn json<T: Serialize>(value: &T) -> Result<String, LabelError> {
    json::to_string(value).map_err(LabelError::Unwritable)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::files::analyzed::LayerMetadata;
    use crate::files::any::Any;
    use crate::files::store::Store;

    /// As the Go lifecycle 0.21.17 made it of `METADATA`.
    const LABEL: &str = r#"{"big":9223372036854775807,"day":"1979-05-27T00:00:00Z","exp":6.02e+23,"int":-42,"local":"1979-05-27T07:32:00Z","mixed":[1,"two",3.5,[true]],"small":1e-7,"text":"a\u003cb \u0026","time":"0000-01-01T07:32:00.5Z","utc":"1979-05-27T07:32:00Z","when":"1979-05-27T07:32:00.999-07:00","whole":4}"#;
    const METADATA: &str = "text = \"a<b &\"\nint = -42\nbig = 9223372036854775807\nexp = 6.02e23\nsmall = 1e-7\n\
        whole = 4.0\nwhen = 1979-05-27T07:32:00.999-07:00\nutc = 1979-05-27T07:32:00+00:00\nlocal = 1979-05-27T07:32:00\n\
        day = 1979-05-27\ntime = 07:32:00.5\nmixed = [1, \"two\", 3.5, [true]]\n";

    fn metadata(data: toml::Table) -> LayersMetadata {
        let layer = LayerMetadata {
            sha: "s".to_owned(),
            launch: true,
            data: Some(data.into()),
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
    fn a_label_that_is_no_json_is_named() {
        let rebased = rebase_lifecycle_metadata::<LabelError>("{", |_, _| Ok(()));
        assert_eq!(
            rebased.unwrap_err().to_string(),
            "failed to unmarshal context of label 'io.buildpacks.lifecycle.metadata': unexpected end of JSON input"
        );
    }

    #[test]
    fn a_rebase_keeps_what_buildpacks_said() {
        let data = r#"{"l":[1,null,{}],"n":1e+21,"z":null}"#;
        let label = format!(
            r#"{{"buildpacks":[{{"key":"k","version":"1","layers":{{"l":{{"sha":"s","data":{data}}}}},"store":{{"metadata":{data}}}}}]}}"#
        );
        let rebased = rebase_lifecycle_metadata::<LabelError>(&label, |_, _| Ok(())).unwrap();
        assert_eq!(rebased.matches(data).count(), 2, "{rebased}");
    }

    #[test]
    fn lists_that_are_missing_are_null_and_empty_ones_are_not() {
        let label = |metadata: &str| {
            let metadata = toml::from_str(metadata).unwrap();
            build_metadata(&metadata, &LifecycleVersion::default(), PlatformApi::V0_15).unwrap()
        };
        let missing = label("");
        assert!(missing.contains(r#""buildpacks":null"#), "{missing}");
        assert!(missing.contains(r#""processes":null"#), "{missing}");
        let empty = label("buildpacks = []\nprocesses = []\n");
        assert!(empty.contains(r#""buildpacks":[]"#), "{empty}");
        assert!(empty.contains(r#""processes":[]"#), "{empty}");
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
        let data = back.buildpacks[0].layers["l"]
            .data
            .as_ref()
            .and_then(Any::to_toml);
        let data = data.unwrap();
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
        for bad in ["nonsense", r#"{"app":{}}"#, r#"{"buildpacks":"x"}"#, "{} x"] {
            assert!(parse_lifecycle_metadata(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse_lifecycle_metadata("").unwrap(),
            LayersMetadata::default()
        );
        let odd = "{\"Buildpac\u{212a}s\":[{\"KEY\":\"k\",\"layers\":{\"l\":{\"launch\":true}}},null],\
            \"RUNIMAGE\":{\"Image\":\"a\",\"image\":\"b\"}}";
        let metadata = parse_lifecycle_metadata(odd).unwrap();
        assert_eq!(metadata.buildpacks.len(), 2);
        assert!(metadata.buildpacks[0].layers["l"].launch);
        assert_eq!(metadata.run_image.images.image, "b");
        let error = parse_lifecycle_metadata(r#"{"buildpacks":[{"layers":{"l":{"launch":1}}}]}"#);
        assert_eq!(
            error.unwrap_err().to_string(),
            "failed to unmarshal context of label 'io.buildpacks.lifecycle.metadata': json: cannot unmarshal number \
             into Go struct field LayerMetadata.buildpacks.layers.LayerMetadataFile.launch of type bool"
        );
        assert!(read_cache_metadata(b"{\"SBOM\":{}} x").is_ok());
        assert_eq!(
            cache_metadata(&CacheMetadata::default()).unwrap(),
            r#"{"sbom":{"sha":""},"buildpacks":null}"#
        );
    }
}
