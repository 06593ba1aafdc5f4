//! `config/metadata.toml`: how the app starts. The builder writes it, it is part of the image, and
//! the launcher reads it.

use go::toml::JSON_TEXT;
use serde::de;
use serde::ser::SerializeSeq as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use toml::value::{Datetime, Offset};
use toml::{Table, Value};

use super::group::{GroupElement, is_false};
use crate::api::PlatformApi;

/// The content of `<layers>/config/metadata.toml`.
///
/// Its bytes count for the digest of a layer; so they are written as upstream writes them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct BuildMetadata {
    /// What is in the image, in the words of old buildpacks; only before Platform API 0.9.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub bom: Vec<BomEntry>,
    /// The buildpacks that ran. What is missing in the file is `null` in the label, and an empty list
    /// is one there, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buildpacks: Option<Vec<GroupElement>>,
    /// The extensions that took part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<GroupElement>,
    /// Labels for the image, in the order of the buildpacks; a later one counts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// Ways to start the app, sorted by type. Missing and empty are two things here, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<Vec<Process>>,
    /// Parts of the app that become layers of their own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<Slice>,
    /// The process that the image starts, or empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub buildpack_default_process_type: String,
}

impl BuildMetadata {
    /// The process of this type.
    pub fn process(&self, r#type: &str) -> Option<&Process> {
        self.processes().iter().find(|it| it.r#type == r#type)
    }

    /// The buildpacks that ran.
    pub fn buildpacks(&self) -> &[GroupElement] {
        self.buildpacks.as_deref().unwrap_or_default()
    }

    /// The ways to start the app.
    pub fn processes(&self) -> &[Process] {
        self.processes.as_deref().unwrap_or_default()
    }

    /// The same, with commands in the form that `api` writes into files and labels.
    pub fn for_platform(mut self, api: PlatformApi) -> Self {
        for process in self.processes.iter_mut().flatten() {
            if api.has_command_lists() {
                let words = std::mem::take(&mut process.command).into_words();
                process.command = Command::Words(words);
            } else {
                process.join_command();
            }
        }
        self
    }
}

/// What the launcher reads of `config/metadata.toml`: upstream's looks at no more, so nothing else can
/// keep an app from starting.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct LaunchMetadata {
    buildpacks: Vec<LaunchBuildpack>,
    processes: Vec<Process>,
}

#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
struct LaunchBuildpack {
    api: String,
    id: String,
}

impl From<LaunchMetadata> for BuildMetadata {
    fn from(it: LaunchMetadata) -> Self {
        let buildpacks = it.buildpacks.into_iter().map(|it| GroupElement {
            id: it.id,
            api: it.api,
            ..GroupElement::default()
        });
        Self {
            buildpacks: Some(buildpacks.collect()),
            processes: Some(it.processes),
            ..Self::default()
        }
    }
}

/// A way to start the app.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Process {
    /// Its name, e.g. `web`.
    pub r#type: String,
    /// What to run, and arguments that the user cannot replace.
    pub command: Command,
    /// Arguments that the user can replace. Absent and empty differ in the image's label.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<String>>,
    /// Whether to run it without a shell.
    pub direct: bool,
    /// Whether it is what the image starts.
    #[serde(skip_serializing_if = "is_false")]
    pub default: bool,
    /// The buildpack that named it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub buildpack_id: String,
    /// The folder to start it in; empty for the app's.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    /// The execution environments in which it may run; none means all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exec_env: Vec<String>,
}

impl Process {
    /// Puts all but the first word of the command before the arguments, as a command was one text
    /// before Platform API 0.10.
    fn join_command(&mut self) {
        let mut words = std::mem::take(&mut self.command).into_words().into_iter();
        let first = words.next().unwrap_or_default();
        let args = words.chain(self.args.take().unwrap_or_default()).collect();
        self.command = Command::Text(first);
        self.args = Some(args);
    }
}

/// A command: one text, or a list of words.
///
/// Both forms occur in each file that has a command, depending on the API that its writer speaks.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "the specification lists both")]
pub enum Command {
    /// One text.
    Text(String),
    /// The program, and what is always given to it.
    Words(Vec<String>),
}

impl Default for Command {
    fn default() -> Self {
        Self::Words(Vec::new())
    }
}

impl Command {
    /// The words; a text is one word.
    pub fn into_words(self) -> Vec<String> {
        match self {
            Self::Text(text) => vec![text],
            Self::Words(words) => words,
        }
    }

    /// The words; a text is one word.
    pub fn words(&self) -> &[String] {
        match self {
            Self::Text(text) => std::slice::from_ref(text),
            Self::Words(words) => words,
        }
    }
}

/// Upstream escapes commands, and nothing else, as JSON within its TOML.
impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => JsonText(text).serialize(serializer),
            Self::Words(words) => {
                let mut list = serializer.serialize_seq(Some(words.len()))?;
                for word in words {
                    list.serialize_element(&JsonText(word))?;
                }
                list.end()
            }
        }
    }
}

struct JsonText<'a>(&'a str);

impl Serialize for JsonText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(JSON_TEXT, self.0)
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Array(words) => Ok(Self::Words(words.iter().map(go_text).collect())),
            other => Err(de::Error::custom(format_args!(
                "unknown command type {} with data {}",
                go_type(&other),
                go_text(&other)
            ))),
        }
    }
}

/// A value as Go's `%v` prints it.
fn go_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(go_text).collect();
            format!("[{}]", items.join(" "))
        }
        Value::Table(table) => {
            let pairs = table
                .iter()
                .map(|(key, value)| format!("{key}:{}", go_text(value)));
            format!("map[{}]", pairs.collect::<Vec<_>>().join(" "))
        }
        Value::Float(number) => go::words::float(*number),
        Value::Datetime(time) => go_time(time),
        other => other.to_string(),
    }
}

/// A time as Go prints it. What lacks a part has the first there is of it, and a zone that says so.
fn go_time(time: &Datetime) -> String {
    let date = time
        .date
        .map_or_else(|| "0000-01-01".to_owned(), |it| it.to_string());
    let clock = time.time.map_or_else(
        || "00:00:00".to_owned(),
        |mut it| {
            it.second.get_or_insert(0);
            let text = it.to_string();
            match text.split_once('.') {
                Some((whole, fraction)) => {
                    let text = format!("{whole}.{}", fraction.trim_end_matches('0'));
                    text.trim_end_matches('.').to_owned()
                }
                None => text,
            }
        },
    );
    let zone = match (time.offset, time.date, time.time) {
        (Some(Offset::Z | Offset::Custom { minutes: 0 }), ..) => "+0000 UTC".to_owned(),
        (Some(Offset::Custom { minutes }), ..) => {
            let sign = if minutes < 0 { '-' } else { '+' };
            let minutes = minutes.unsigned_abs();
            let offset = format!("{sign}{:02}{:02}", minutes / 60, minutes % 60);
            format!("{offset} {offset}")
        }
        (None, Some(_), Some(_)) => "+0000 datetime-local".to_owned(),
        (None, Some(_), None) => "+0000 date-local".to_owned(),
        (None, None, _) => "+0000 time-local".to_owned(),
    };
    format!("{date} {clock} {zone}")
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "int64",
        Value::Float(_) => "float64",
        Value::Boolean(_) => "bool",
        Value::Datetime(_) => "time.Time",
        Value::Table(_) => "map[string]interface {}",
        Value::String(_) | Value::Array(_) => "[]interface {}",
    }
}

/// A label for the image.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Label {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A part of the app that becomes a layer of its own.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Slice {
    /// Globs, relative to the app's folder. Missing and empty are two things in the file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
}

/// An entry of the bill of materials that buildpacks wrote before there were SBOM files.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(default)]
pub struct BomEntry {
    /// What it is.
    pub name: String,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Table>,
    /// Who says so.
    pub buildpack: GroupElement,
}

/// An entry of the bill of materials as a buildpack writes it, in `launch.toml` or `build.toml`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct BomToml {
    /// What it is.
    pub name: String,
    /// The version, which has to stand among the metadata instead.
    pub version: String,
    /// More about it.
    #[serde(deserialize_with = "super::table")]
    pub metadata: Option<Table>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_a_text_or_a_list() {
        let text = "[[processes]]\ntype = \"a\"\ncommand = \"x y\"\n\
            [[processes]]\ntype = \"b\"\ncommand = [\"x\", \"y\"]\nargs = []\n";
        let metadata: BuildMetadata = toml::from_str(text).unwrap();
        let words = |t| metadata.process(t).unwrap().command.words().to_vec();
        assert_eq!(words("a"), ["x y"]);
        assert_eq!(words("b"), ["x", "y"]);
        assert_eq!(metadata.process("a").unwrap().args, None);
        assert_eq!(metadata.process("b").unwrap().args, Some(Vec::new()));
        assert!(toml::from_str::<BuildMetadata>("[[processes]]\ncommand = 3\n").is_err());
    }

    #[test]
    fn no_processes_and_an_empty_list_of_them_differ() {
        let text = |it: &BuildMetadata| go::toml::to_string(it).unwrap();
        assert_eq!(text(&BuildMetadata::default()), "");
        let empty = BuildMetadata {
            processes: Some(Vec::new()),
            ..BuildMetadata::default()
        };
        assert_eq!(text(&empty), "processes = []\n");
        let of = |slice: &str| text(&toml::from_str(slice).unwrap());
        assert_eq!(of("[[slices]]\n"), "[[slices]]\n");
        assert_eq!(of("[[slices]]\npaths = []\n"), "[[slices]]\n  paths = []\n");
    }

    #[test]
    fn commands_alone_are_escaped_as_json() {
        let words = vec!["a<b>&'".to_owned(), "\u{7f}\u{2028}".to_owned()];
        let metadata = BuildMetadata {
            processes: Some(vec![Process {
                r#type: "web".to_owned(),
                args: Some(words.clone()),
                command: Command::Words(words),
                ..Process::default()
            }]),
            buildpack_default_process_type: "web".to_owned(),
            ..BuildMetadata::default()
        };
        assert_eq!(
            go::toml::to_string(&metadata).unwrap(),
            "buildpack-default-process-type = \"web\"\n\n[[processes]]\n  type = \"web\"\n  \
             command = [\"a\\u003cb\\u003e\\u0026'\", \"\u{7f}\\u2028\"]\n  \
             args = [\"a<b>&'\", \"\\u007f\u{2028}\"]\n  direct = false\n"
        );
    }

    #[test]
    fn a_command_of_other_types_is_told_as_go_prints_it() {
        let told = |command: &str| {
            let text = format!("[[processes]]\ncommand = {command}\n");
            toml::from_str::<BuildMetadata>(&text)
                .unwrap_err()
                .message()
                .to_owned()
        };
        for (value, data) in [
            ("1979-05-27", "1979-05-27 00:00:00 +0000 date-local"),
            ("07:32:00.5", "0000-01-01 07:32:00.5 +0000 time-local"),
            (
                "1979-05-27T07:32:00",
                "1979-05-27 07:32:00 +0000 datetime-local",
            ),
            ("1979-05-27T07:32:00Z", "1979-05-27 07:32:00 +0000 UTC"),
            (
                "1979-05-27T07:32:00-07:30",
                "1979-05-27 07:32:00 -0730 -0730",
            ),
        ] {
            let expected = format!("unknown command type time.Time with data {data}");
            assert_eq!(told(value), expected);
        }
        let text = "[[processes]]\ncommand = [1.0, 1e6, 0.5, true, [2, {a = 'x'}]]\n";
        let metadata: BuildMetadata = toml::from_str(text).unwrap();
        let words = metadata.processes()[0].command.words();
        assert_eq!(words, ["1", "1e+06", "0.5", "true", "[2 map[a:x]]"]);
    }

    #[test]
    fn newer_platforms_see_words_whatever_the_file_has() {
        let text = "[[processes]]\ncommand = \"a b\"\n";
        let metadata: BuildMetadata = toml::from_str(text).unwrap();
        let metadata = metadata.for_platform(PlatformApi::V0_10);
        let expected = Command::Words(vec!["a b".to_owned()]);
        assert_eq!(metadata.processes()[0].command, expected);
    }

    #[test]
    fn old_platforms_see_one_text_and_arguments() {
        let metadata = BuildMetadata {
            processes: Some(vec![Process {
                command: Command::Words(vec!["echo".to_owned(), "always".to_owned()]),
                args: Some(vec!["a".to_owned()]),
                ..Process::default()
            }]),
            ..BuildMetadata::default()
        };
        let same = metadata.clone().for_platform(PlatformApi::V0_10);
        assert_eq!(same, metadata);
        let old = metadata.for_platform(PlatformApi::V0_9);
        assert_eq!(old.processes()[0].command, Command::Text("echo".to_owned()));
        assert_eq!(
            old.processes()[0].args.as_deref().unwrap(),
            ["always".to_owned(), "a".to_owned()]
        );
    }
}
