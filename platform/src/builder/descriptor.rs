//! `buildpack.toml` and `extension.toml`, as a platform reads them: all that packages and builders say
//! of a module in their labels.

use std::fmt;

use lifecycle_core::buildpack::Kind;
use lifecycle_core::files::group::GroupElement;
use lifecycle_core::files::order::OrderGroup;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::id::ModuleName;
use super::module::word;
use super::target::Target;

/// The most groups, or members of them, that a composite buildpack may have.
const MAX_MEMBERS: usize = 10_000;

/// What a module says of itself.
#[derive(Clone, Debug)]
pub(crate) struct ModuleDescriptor {
    /// Who it is.
    pub(crate) name: ModuleName,
    /// The API that it speaks, as text.
    pub(crate) api: String,
    /// What it says to people.
    pub(crate) info: ModuleInfo,
    /// The stacks that it runs on; in old ones.
    pub(crate) stacks: Vec<Stack>,
    /// What it runs on.
    pub(crate) targets: Vec<Target>,
    /// Of a composite buildpack: what it stands for. Each member has a version.
    pub(crate) order: Vec<OrderGroup>,
    /// Keys that nobody reads, misspelt perhaps.
    pub(crate) unknown: Vec<String>,
}

/// What a module says to people. Its keys are those of labels, in their order.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ModuleInfo {
    /// A name for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What it does.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// A page for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub homepage: String,
    /// Words to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Under which licences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<License>,
    /// Whether it is not given the user's variables.
    #[serde(skip_serializing_if = "is_false")]
    pub clear_env: bool,
}

/// A licence.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "the specification knows these")]
pub struct License {
    /// An SPDX id. In labels the key has a capital letter, for pack gives it no name.
    #[serde(rename = "Type", alias = "type")]
    pub r#type: String,
    /// Where it can be read.
    #[serde(rename = "URI", alias = "uri")]
    pub uri: String,
}

/// A stack, as there were before targets.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
#[expect(clippy::exhaustive_structs, reason = "the specification knows these")]
pub struct Stack {
    /// Its id; `*` for any.
    pub id: String,
    /// What it needs of it.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "Vec::is_empty")]
    pub mixins: Vec<String>,
}

/// Reads `null`, which Go writes for an empty list, as nothing.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What is wrong with a descriptor, and where in its text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mistake {
    /// The line, from 1.
    pub(crate) line: usize,
    /// What.
    pub(crate) problem: String,
}

impl ModuleDescriptor {
    /// Reads `text`, which is a `buildpack.toml` or `extension.toml`. Whether it has `bin/build` is
    /// not known here, so what it runs on may be open.
    pub(crate) fn parse(kind: Kind, text: &str) -> Result<Self, Mistake> {
        let at = |offset: usize| line(text, offset);
        let file: File = toml::from_str(text).map_err(|error| Mistake {
            line: at(error.span().map_or(0, |span| span.start)),
            problem: error.message().trim().replace('\n', ", "),
        })?;
        let unknown = unknown_keys(kind, text);
        let table = match kind {
            Kind::Buildpack => file.buildpack,
            Kind::Extension => file.extension,
        };
        let Some(table) = table else {
            return Err(Mistake {
                line: 1,
                problem: format!("the table `{}` is missing", word(kind)),
            });
        };
        let mistake = |value: &Spanned<String>, problem: String| Mistake {
            line: at(value.span().start),
            problem,
        };
        let id = table.id.get_ref().parse();
        let id = id.map_err(|error| mistake(&table.id, format!("{error}")))?;
        let version = table.version.get_ref().parse();
        let version = version.map_err(|error| mistake(&table.version, format!("{error}")))?;
        let mut members = 0;
        for group in &file.order {
            for member in &group.group {
                members += 1;
                let named = ModuleName::try_from(member);
                if members > MAX_MEMBERS || named.is_err() {
                    let problem = match named {
                        _ if members > MAX_MEMBERS => {
                            format!("`order` names more than {MAX_MEMBERS} buildpacks")
                        }
                        _ if member.version.is_empty() => {
                            format!("`order` names `{}` without its version", member.id)
                        }
                        _ => format!("`order` names `{member}`, which cannot be"),
                    };
                    return Err(Mistake { line: 1, problem });
                }
            }
        }
        let says_where = !file.stacks.is_empty() || !file.targets.is_empty();
        if says_where && !file.order.is_empty() {
            return Err(Mistake {
                line: 1,
                problem: "there are both `order` and `targets` or `stacks`: what stands for others runs where these do"
                    .to_owned(),
            });
        }
        Ok(Self {
            name: ModuleName { id, version },
            api: file.api,
            info: table.info,
            stacks: file.stacks,
            targets: file.targets,
            order: file.order,
            unknown,
        })
    }
}

/// The line of `text` that `offset` is in, from 1.
pub(crate) fn line(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or(text).split('\n').count()
}

#[derive(Deserialize)]
#[serde(default)]
struct File {
    api: String,
    buildpack: Option<Table>,
    extension: Option<Table>,
    stacks: Vec<Stack>,
    targets: Vec<Target>,
    order: Vec<OrderGroup>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            // As pack has it where nothing is said.
            api: "0.1".to_owned(),
            buildpack: None,
            extension: None,
            stacks: Vec::new(),
            targets: Vec::new(),
            order: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
struct Table {
    id: Spanned<String>,
    version: Spanned<String>,
    #[serde(flatten)]
    info: ModuleInfo,
}

/// The keys that neither pack nor the lifecycle reads.
fn unknown_keys(kind: Kind, text: &str) -> Vec<String> {
    const TOP: [&str; 7] = [
        "api",
        "buildpack",
        "extension",
        "metadata",
        "order",
        "stacks",
        "targets",
    ];
    const TABLE: [&str; 10] = [
        "clear-env",
        "description",
        "exec-env",
        "homepage",
        "id",
        "keywords",
        "licenses",
        "name",
        "sbom-formats",
        "version",
    ];
    let Ok(table) = text.parse::<toml::Table>() else {
        return Vec::new();
    };
    let mut unknown: Vec<String> = table
        .keys()
        .filter(|it| !TOP.contains(&it.as_str()))
        .cloned()
        .collect();
    let word = word(kind);
    if let Some(toml::Value::Table(table)) = table.get(word) {
        let keys = table.keys().filter(|it| !TABLE.contains(&it.as_str()));
        unknown.extend(keys.map(|it| format!("{word}.{it}")));
    }
    unknown
}

/// A member of a group in labels and in `order.toml`: in pack's order of keys.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Member {
    pub(crate) id: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) version: String,
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) optional: bool,
}

/// A group in labels.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub(crate) struct Members {
    #[serde(deserialize_with = "nullable")]
    pub(crate) group: Vec<Member>,
}

impl From<&GroupElement> for Member {
    fn from(element: &GroupElement) -> Self {
        Self {
            id: element.id.clone(),
            version: element.version.clone(),
            optional: element.optional,
        }
    }
}

/// `id@version`, or the id where no version is said.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if self.version.is_empty() {
            return Ok(());
        }
        write!(f, "@{}", self.version)
    }
}

impl From<&Member> for GroupElement {
    fn from(member: &Member) -> Self {
        let mut element = Self::new(&member.id, &member.version);
        element.optional = member.optional;
        element
    }
}

/// Groups, as labels have them.
pub(crate) fn to_members(groups: &[OrderGroup]) -> Vec<Members> {
    let members = |group: &OrderGroup| Members {
        group: group.group.iter().map(Into::into).collect(),
    };
    groups.iter().map(members).collect()
}

/// Groups, out of labels.
pub(crate) fn from_members(groups: &[Members]) -> Vec<OrderGroup> {
    let group = |group: &Members| OrderGroup::new(group.group.iter().map(Into::into).collect());
    groups.iter().map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> Mistake {
        ModuleDescriptor::parse(Kind::Buildpack, text).unwrap_err()
    }

    #[test]
    fn a_descriptor_is_read_as_pack_reads_it() {
        let text = "[buildpack]\nid = \"a/b\"\nversion = \"1.2.3\"\nname = \"N\"\nhomepge = \"x\"\n\
            sbom-formats = []\n[[buildpack.licenses]]\ntype = \"MIT\"\n[[targets]]\nos = \"linux\"\n\
            [metadata]\nx = 1\n[odd]\n";
        let descriptor = ModuleDescriptor::parse(Kind::Buildpack, text).unwrap();
        assert_eq!(descriptor.api, "0.1");
        assert_eq!(descriptor.name.to_string(), "a/b@1.2.3");
        assert_eq!(descriptor.unknown, ["odd", "buildpack.homepge"]);
        assert_eq!(
            serde_json::to_string(&descriptor.info).unwrap(),
            r#"{"name":"N","licenses":[{"Type":"MIT","URI":""}]}"#
        );
    }

    #[test]
    fn each_mistake_is_named() {
        for (text, line, words) in [
            ("api = 3", 1, "invalid type"),
            ("api = \"0.9\"", 1, "the table `buildpack` is missing"),
            (
                "[buildpack]\nid = \"app\"\nversion = \"1.0.0\"",
                2,
                "`app` cannot be an id",
            ),
            (
                "[buildpack]\nid = \"a\"\nversion = \"..\"",
                3,
                "not a version",
            ),
            (
                "[buildpack]\nid = \"a\"\nversion = \"1.0.0\"\n[[order]]\n[[order.group]]\nid = \"b\"",
                1,
                "`b` without its version",
            ),
            (
                "[buildpack]\nid = \"a\"\nversion = \"1.0.0\"\n[[targets]]\nos = \"linux\"\n[[order]]\n[[order.group]]\nid = \"b\"\nversion = \"1\"",
                1,
                "both `order` and",
            ),
        ] {
            let mistake = problem(text);
            assert_eq!(mistake.line, line, "{mistake:?}");
            assert!(mistake.problem.contains(words), "{mistake:?}");
        }
    }
}
