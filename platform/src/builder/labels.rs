//! The labels of builder images and packages, in pack's form, used both ways: what is read of others is
//! what is written into our own. Keys stand in pack's order, and what Go writes as `null` is so here.
//!
//! <https://github.com/buildpacks/spec/blob/distribution/0.3/distribution.md>

use std::collections::BTreeMap;

use lifecycle_core::buildpack::Kind;
use oci::DiffId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::descriptor::{
    Members, ModuleDescriptor, ModuleInfo, Stack, from_members, nullable, to_members,
};
use super::id::{IdError, ModuleName};
use super::lifecycle::{Apis, OldApi};
use super::module::Module;
use super::target::Target;

/// What a builder is.
pub(crate) const BUILDER: &str = "io.buildpacks.builder.metadata";
/// Its groups of buildpacks.
pub(crate) const ORDER: &str = "io.buildpacks.buildpack.order";
/// Its groups of extensions.
pub(crate) const ORDER_EXTENSIONS: &str = "io.buildpacks.buildpack.order-extensions";
/// Its system buildpacks.
pub(crate) const SYSTEM: &str = "io.buildpacks.buildpack.system";
/// The stack, as there were before targets.
pub(crate) const STACK: &str = "io.buildpacks.stack.id";
/// What is in it.
pub(crate) const MIXINS: &str = "io.buildpacks.stack.mixins";
/// What a package is.
pub(crate) const PACKAGE: &str = "io.buildpacks.buildpackage.metadata";
/// What a lifecycle image speaks; kpack has it on builders, too.
pub(crate) const LIFECYCLE_APIS: &str = "io.buildpacks.lifecycle.apis";
/// Which distribution an image is.
pub(crate) const DISTRO_NAME: &str = "io.buildpacks.base.distro.name";
/// Which version of it.
pub(crate) const DISTRO_VERSION: &str = "io.buildpacks.base.distro.version";

/// The longest label that is read, in bytes. Builders with hundreds of buildpacks have some 200 KiB.
pub(crate) const LONGEST: usize = 16 << 20;
/// The most modules that a builder or package may have.
pub(crate) const MAX_MODULES: usize = 10_000;

/// Which module lies in which layer.
pub(crate) const fn layers_label(kind: Kind) -> &'static str {
    match kind {
        Kind::Buildpack => "io.buildpacks.buildpack.layers",
        Kind::Extension => "io.buildpacks.extension.layers",
    }
}

/// `io.buildpacks.builder.metadata`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct BuilderMetadata {
    #[serde(deserialize_with = "nullable")]
    pub(crate) description: String,
    pub(crate) buildpacks: Option<Vec<NamedInfo>>,
    pub(crate) extensions: Option<Vec<NamedInfo>>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) stack: StackMetadata,
    #[serde(deserialize_with = "nullable")]
    pub(crate) lifecycle: LifecycleMetadata,
    #[serde(deserialize_with = "nullable")]
    pub(crate) created_by: CreatedBy,
    pub(crate) images: Option<Vec<RunImageMetadata>>,
}

/// A module as the metadata lists it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub(crate) struct NamedInfo {
    #[serde(deserialize_with = "nullable")]
    pub(crate) id: String,
    #[serde(deserialize_with = "nullable")]
    pub(crate) version: String,
    #[serde(flatten)]
    pub(crate) info: ModuleInfo,
}

/// In pack's order: id, name, version, and the rest.
impl Serialize for NamedInfo {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        InfoWire::of(self).serialize(serializer)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct InfoWire<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    homepage: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    keywords: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    licenses: &'a [super::descriptor::License],
    #[serde(skip_serializing_if = "is_false")]
    clear_env: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

impl<'a> InfoWire<'a> {
    fn of(named: &'a NamedInfo) -> Self {
        let NamedInfo { id, version, info } = named;
        Self {
            id,
            name: &info.name,
            version,
            description: &info.description,
            homepage: &info.homepage,
            keywords: &info.keywords,
            licenses: &info.licenses,
            clear_env: info.clear_env,
        }
    }
}

impl From<&Module> for NamedInfo {
    fn from(module: &Module) -> Self {
        Self {
            id: module.id.to_string(),
            version: module.version.to_string(),
            info: module.info.clone(),
        }
    }
}

/// The one run image, as it was before there were several.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct StackMetadata {
    #[serde(deserialize_with = "nullable")]
    pub(crate) run_image: RunImageMetadata,
}

/// A run image, and where else it is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct RunImageMetadata {
    #[serde(deserialize_with = "nullable")]
    pub(crate) image: String,
    pub(crate) mirrors: Option<Vec<String>>,
}

/// The lifecycle of a builder.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct LifecycleMetadata {
    pub(crate) version: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) api: OldApi,
    #[serde(deserialize_with = "nullable")]
    pub(crate) apis: Apis,
}

/// Who made a builder.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "pack knows these")]
pub struct CreatedBy {
    /// The program, `Pack CLI` say.
    #[serde(deserialize_with = "nullable")]
    pub name: String,
    /// Its version.
    #[serde(deserialize_with = "nullable")]
    pub version: String,
}

/// `io.buildpacks.buildpackage.metadata`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PackageMetadata {
    #[serde(flatten)]
    pub(crate) named: NamedInfo,
    pub(crate) stacks: Option<Vec<Stack>>,
}

impl Serialize for PackageMetadata {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Wire<'a> {
            #[serde(flatten)]
            info: InfoWire<'a>,
            stacks: &'a Option<Vec<Stack>>,
        }
        let info = InfoWire::of(&self.named);
        let stacks = &self.stacks;
        Wire { info, stacks }.serialize(serializer)
    }
}

/// `io.buildpacks.buildpack.layers`: by id, by version.
pub(crate) type ModuleLayers = BTreeMap<String, BTreeMap<String, ModuleLayer>>;

/// Where a module lies, and what has to be known of it before it is looked at.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ModuleLayer {
    pub(crate) api: Option<String>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) stacks: Vec<Stack>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) targets: Vec<Target>,
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) order: Vec<Members>,
    #[serde(rename = "layerDiffID")]
    pub(crate) layer_diff_id: String,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) homepage: String,
    #[serde(
        deserialize_with = "nullable",
        skip_serializing_if = "String::is_empty"
    )]
    pub(crate) name: String,
}

/// `io.buildpacks.buildpack.system`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct SystemLabel {
    #[serde(deserialize_with = "nullable")]
    pub(crate) pre: SystemMembers,
    #[serde(deserialize_with = "nullable")]
    pub(crate) post: SystemMembers,
}

/// Buildpacks that run before, or after.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct SystemMembers {
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub(crate) buildpacks: Vec<super::descriptor::Member>,
}

impl ModuleLayer {
    /// What a label says of `module`, which lies in the layer `diff_id`.
    pub(crate) fn of(module: &Module, diff_id: &DiffId) -> Self {
        Self {
            api: Some(module.api.clone()),
            stacks: module.stacks.clone(),
            targets: module.targets.clone(),
            order: to_members(&module.order),
            layer_diff_id: diff_id.0.to_string(),
            homepage: module.info.homepage.clone(),
            name: module.info.name.clone(),
        }
    }

    /// What it says of the module `name`, without where it lies.
    pub(crate) fn descriptor(&self, name: ModuleName) -> Result<ModuleDescriptor, LabelProblem> {
        let api = self.api.clone().ok_or_else(|| LabelProblem::Missing {
            module: name.to_string(),
            key: "api",
        })?;
        Ok(ModuleDescriptor {
            api,
            info: ModuleInfo {
                name: self.name.clone(),
                homepage: self.homepage.clone(),
                ..ModuleInfo::default()
            },
            stacks: self.stacks.clone(),
            targets: self.targets.clone(),
            order: from_members(&self.order),
            unknown: Vec::new(),
            name,
        })
    }
}

/// All modules that a label lists, in the order of their ids and versions.
pub(crate) fn listed(
    layers: &ModuleLayers,
) -> Result<Vec<(ModuleName, &ModuleLayer)>, LabelProblem> {
    let mut all = Vec::new();
    for (id, versions) in layers {
        for (version, layer) in versions {
            if all.len() >= MAX_MODULES {
                return Err(LabelProblem::TooMany { limit: MAX_MODULES });
            }
            let name = ModuleName {
                id: id.parse().map_err(LabelProblem::Id)?,
                version: version.parse().map_err(LabelProblem::Id)?,
            };
            all.push((name, layer));
        }
    }
    Ok(all)
}

/// Reads the label `name` of `labels`; none, if it is not there.
pub(crate) fn read<T: DeserializeOwned>(
    labels: &BTreeMap<String, String>,
    name: &'static str,
) -> Result<Option<T>, LabelError> {
    let Some(text) = labels.get(name).filter(|it| !it.is_empty()) else {
        return Ok(None);
    };
    let problem = if text.len() > LONGEST {
        LabelProblem::TooLong { limit: LONGEST }
    } else {
        match serde_json::from_str::<Option<T>>(text) {
            Ok(value) => return Ok(value),
            Err(error) => LabelProblem::Malformed(error),
        }
    };
    Err(LabelError {
        label: name,
        problem,
    })
}

/// The text of a label: JSON as Go writes it.
pub(crate) fn text<T: Serialize + ?Sized>(value: &T) -> Result<String, serde_json::Error> {
    go::json::to_string(value)
}

/// A label says what cannot be.
#[derive(Debug, thiserror::Error)]
#[error("label `{label}` cannot be used")]
#[non_exhaustive]
pub struct LabelError {
    /// Which.
    pub label: &'static str,
    /// Why.
    #[source]
    pub problem: LabelProblem,
}

/// What is wrong with a label.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabelProblem {
    /// It is not of its form.
    #[error("it is malformed")]
    Malformed(#[source] serde_json::Error),
    /// It has more bytes than are read.
    #[error("it is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// It lists more than is read.
    #[error("it lists more than {limit} modules")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// It names what can be no module.
    #[error("it names what cannot be a buildpack or extension")]
    Id(#[source] IdError),
    /// It leaves out what has to be known.
    #[error("it does not say `{key}` of `{module}`")]
    Missing {
        /// Of which module.
        module: String,
        /// What.
        key: &'static str,
    },
    /// It names a layer that the image does not have.
    #[error("it says that `{module}` lies in layer `{layer}`, which the image does not have")]
    NoLayer {
        /// Which module.
        module: String,
        /// Which layer, as it is written there.
        layer: String,
    },
    /// It names a module that is not there.
    #[error("it names `{module}`, which is not in `{other}`")]
    NoModule {
        /// Which module.
        module: String,
        /// The label that should list it.
        other: &'static str,
    },
    /// Another source says otherwise.
    #[error("`{other}` says something else: {difference}")]
    Contradicts {
        /// The file, or the other label.
        other: String,
        /// Where they differ.
        difference: String,
    },
}

impl LabelProblem {
    pub(crate) fn of(self, label: &'static str) -> LabelError {
        LabelError {
            label,
            problem: self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_packs_order() {
        let metadata: BuilderMetadata = serde_json::from_str(
            r#"{"images":[{"mirrors":null,"image":"r"}],"createdBy":{"version":"1","name":"n"},
            "lifecycle":{"version":"0.21.0","apis":{"platform":{"supported":["0.12"],"deprecated":null},"buildpack":null}},
            "buildpacks":[{"version":"1.0.0","homepage":"h","id":"a","name":"A","odd":1}],"stack":null}"#,
        )
        .unwrap();
        assert_eq!(
            text(&metadata).unwrap(),
            r#"{"description":"","buildpacks":[{"id":"a","name":"A","version":"1.0.0","homepage":"h"}],"extensions":null,"stack":{"runImage":{"image":"","mirrors":null}},"lifecycle":{"version":"0.21.0","api":{"buildpack":null,"platform":null},"apis":{"buildpack":{"deprecated":null,"supported":[]},"platform":{"deprecated":null,"supported":["0.12"]}}},"createdBy":{"name":"n","version":"1"},"images":[{"image":"r","mirrors":null}]}"#
        );
        let package = PackageMetadata {
            named: metadata.buildpacks.unwrap().remove(0),
            stacks: Some(vec![Stack {
                id: "*".to_owned(),
                mixins: Vec::new(),
            }]),
        };
        assert_eq!(
            text(&package).unwrap(),
            r#"{"id":"a","name":"A","version":"1.0.0","homepage":"h","stacks":[{"id":"*"}]}"#
        );
    }

    #[test]
    fn a_label_may_be_null_but_not_endless() {
        let labels = |text: &str| BTreeMap::from([(ORDER.to_owned(), text.to_owned())]);
        let parsed = |text: &str| read::<Vec<Members>>(&labels(text), ORDER);
        assert!(parsed("null").unwrap().is_none());
        assert_eq!(parsed(r#"[{"group":null}]"#).unwrap().unwrap().len(), 1);
        assert!(matches!(
            parsed("{").unwrap_err().problem,
            LabelProblem::Malformed(_)
        ));
        let long = " ".repeat(LONGEST + 1);
        assert!(matches!(
            parsed(&long).unwrap_err().problem,
            LabelProblem::TooLong { .. }
        ));
    }
}
