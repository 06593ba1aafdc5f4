//! From the text of a `project.toml` to a [`Project`].
//!
//! What is read is read by hand, with its place in the file: a key that means nothing is warned of,
//! and the message about a value that cannot be names its line.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use oci::Digest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::inline::{SHELL, VERSION};
use super::patterns::{Files, MAX_FOLDERS, MAX_PATTERN, MAX_PATTERNS, Patterns};
use super::{Project, ProjectError, Schema, Script, Variable, Wanted, Warning, What};
use crate::builder::{ModuleId, ModuleVersion};

/// The most buildpacks in one of the lists, and the most variables.
const MAX_ENTRIES: usize = 1000;

/// The most warnings.
const MAX_WARNINGS: usize = 100;

/// What schema 0.3 has beyond 0.2.
const EXEC_ENV: &str = "exec-env";

pub(super) fn parse(path: &Path, text: &str) -> Result<Project, ProjectError> {
    let mut reader = Reader {
        path,
        lines: text.match_indices('\n').map(|(at, _)| at).collect(),
        warnings: Vec::new(),
    };
    let table = DeTable::parse(text).map_err(|error| {
        let problem = error.message().trim().replace('\n', ", ");
        reader.invalid(error.span().unwrap_or_default(), problem)
    })?;
    let top = Fields::new("", table.get_ref());
    let schema = schema(&mut reader, &top)?;
    let mut project = Project {
        path: path.to_owned(),
        digest: Digest::of(text.as_bytes()),
        schema,
        version: String::new(),
        source_url: String::new(),
        builder: None,
        files: Files::All,
        group: Vec::new(),
        pre: Vec::new(),
        post: Vec::new(),
        env: Vec::new(),
        warnings: Vec::new(),
    };
    if schema == Schema::V0_1 {
        of_0_1(&mut reader, top, &mut project)?;
    } else {
        of_0_2(&mut reader, top, &mut project)?;
    }
    reader.warnings.sort_by_key(|it| it.line);
    project.warnings = reader.warnings;
    Ok(project)
}

fn schema(reader: &mut Reader<'_>, top: &Fields<'_, '_>) -> Result<Schema, ProjectError> {
    let version = match top.table.get("_").map(Spanned::get_ref) {
        Some(DeValue::Table(table)) => table.get("schema-version"),
        _ => None,
    };
    let Some(version) = version else {
        reader.warn(
            0..0,
            "no `schema-version` in the table `_`: read as schema 0.1",
        );
        return Ok(Schema::V0_1);
    };
    match version.get_ref().as_str() {
        Some("0.1") => Ok(Schema::V0_1),
        Some("0.2") => Ok(Schema::V0_2),
        Some("0.3") => Ok(Schema::V0_3),
        Some("") => {
            reader.warn(
                version.span(),
                "`schema-version` is empty: read as schema 0.1",
            );
            Ok(Schema::V0_1)
        }
        Some(other) => {
            let problem =
                format!("schema version `{other}` is not known: it is `0.1`, `0.2` or `0.3`");
            Err(reader.invalid(version.span(), problem))
        }
        None => Err(reader.invalid(
            version.span(),
            "`schema-version` is not a text: write it as `\"0.2\"`",
        )),
    }
}

/// Tables `project`, `build` and `metadata`.
fn of_0_1(
    reader: &mut Reader<'_>,
    mut top: Fields<'_, '_>,
    project: &mut Project,
) -> Result<(), ProjectError> {
    if let Some(mut table) = top.table(reader, "_")? {
        table.take("schema-version");
        table.warn_of_rest(reader);
    }
    if let Some(mut table) = top.table(reader, "project")? {
        about(reader, &mut table, project)?;
        table.warn_of_rest(reader);
    }
    if let Some(mut table) = top.table(reader, "build")? {
        build(reader, &mut table, project, "buildpacks")?;
        project.env = variables(reader, &mut table, "env", false)?;
        table.warn_of_rest(reader);
    }
    // Whoever writes this means another schema.
    if let Some((key, DeValue::Table(io))) = top.entry("io")
        && io.contains_key("buildpacks")
    {
        reader.warn(
            key,
            "`io.buildpacks` is of schema 0.2, and is ignored: write `schema-version = \"0.2\"` into the table `_`",
        );
    }
    Ok(())
}

/// Tables `_` and `io.buildpacks`.
fn of_0_2(
    reader: &mut Reader<'_>,
    mut top: Fields<'_, '_>,
    project: &mut Project,
) -> Result<(), ProjectError> {
    if let Some(mut table) = top.table(reader, "_")? {
        table.take("schema-version");
        table.take("metadata");
        about(reader, &mut table, project)?;
        table.warn_of_rest(reader);
    }
    let io = top.table(reader, "io")?;
    if let Some(mut io) = io
        && let Some(mut table) = io.table(reader, "buildpacks")?
    {
        build(reader, &mut table, project, "group")?;
        let since_0_3 = project.schema >= Schema::V0_3;
        let mut env = None;
        if let Some(mut build) = table.table(reader, "build")? {
            env = Some(variables(reader, &mut build, "env", since_0_3)?);
            build.warn_of_rest(reader);
        }
        // What the key was called by mistake.
        if let Some(mut wrong) = table.table(reader, "env")? {
            if let Some((key, _)) = wrong.entry("build") {
                let text = if env.is_some() {
                    "`io.buildpacks.env.build` is ignored, as there is `io.buildpacks.build`"
                } else {
                    "`io.buildpacks.env.build` is the wrong key: it is `io.buildpacks.build.env`"
                };
                reader.warn(key, text);
            }
            let listed = variables(reader, &mut wrong, "build", since_0_3)?;
            env = env.or(Some(listed));
            wrong.warn_of_rest(reader);
        }
        project.env = env.unwrap_or_default();
        table.warn_of_rest(reader);
    }
    for key in ["project", "build"] {
        if let Some((span, DeValue::Table(_))) = top.entry(key) {
            let schema = project.schema.as_str();
            let text = format!("`{key}` is of schema 0.1, and is ignored in schema {schema}");
            reader.warn(span, text);
        }
    }
    Ok(())
}

/// What there is to say about an app. Most of it is for people.
fn about(
    reader: &mut Reader<'_>,
    table: &mut Fields<'_, '_>,
    project: &mut Project,
) -> Result<(), ProjectError> {
    for key in ["id", "name", "documentation-url"] {
        table.text(reader, key)?;
    }
    table.texts(reader, "authors")?;
    let text = |it: Option<Spanned<String>>| it.map(Spanned::into_inner).unwrap_or_default();
    project.version = text(table.text(reader, "version")?);
    project.source_url = text(table.text(reader, "source-url")?);
    for mut license in table.tables(reader, "licenses")? {
        let kind = license.text(reader, "type")?;
        let uri = license.text(reader, "uri")?;
        if kind.is_none_or(|it| it.get_ref().is_empty())
            && uri.is_none_or(|it| it.get_ref().is_empty())
        {
            return Err(reader.invalid(license.span, "a license has a `type` or a `uri`"));
        }
        license.warn_of_rest(reader);
    }
    Ok(())
}

/// What schemas have in common about a build.
fn build(
    reader: &mut Reader<'_>,
    table: &mut Fields<'_, '_>,
    project: &mut Project,
    group: &'static str,
) -> Result<(), ProjectError> {
    let since_0_3 = project.schema >= Schema::V0_3;
    project.builder = table
        .text(reader, "builder")?
        .map(Spanned::into_inner)
        .filter(|it| !it.is_empty());
    let include = patterns(reader, table, "include")?;
    let exclude = patterns(reader, table, "exclude")?;
    project.files = match (include, exclude) {
        (Some(_), Some(second)) => {
            let problem = "there is `include` as well as `exclude`: keep one of them";
            return Err(reader.invalid(second.span(), problem));
        }
        (Some(list), None) if !list.get_ref().is_empty() => Files::Include(list.into_inner()),
        (None, Some(list)) if !list.get_ref().is_empty() => Files::Exclude(list.into_inner()),
        _ => Files::All,
    };
    project.group = members(reader, table, group, since_0_3)?;
    for (key, list) in [("pre", &mut project.pre), ("post", &mut project.post)] {
        if let Some(mut table) = table.table(reader, key)? {
            *list = members(reader, &mut table, "group", since_0_3)?;
            table.warn_of_rest(reader);
        }
    }
    Ok(())
}

fn patterns(
    reader: &mut Reader<'_>,
    table: &mut Fields<'_, '_>,
    key: &'static str,
) -> Result<Option<Spanned<Patterns>>, ProjectError> {
    let Some((span, lines)) = table.texts(reader, key)? else {
        return Ok(None);
    };
    if lines.len() > MAX_PATTERNS {
        let problem = format!("`{key}` has more than {MAX_PATTERNS} patterns");
        return Err(reader.invalid(span, problem));
    }
    for line in &lines {
        let text = line.get_ref();
        if text.len() > MAX_PATTERN {
            let problem = format!("a pattern in `{key}` is longer than {MAX_PATTERN} bytes");
            return Err(reader.invalid(line.span(), problem));
        }
        if text.matches("**").count() > MAX_FOLDERS {
            let problem = format!("the pattern `{text}` has more than {MAX_FOLDERS} `**`");
            return Err(reader.invalid(line.span(), problem));
        }
        if text.contains('\n') {
            let problem = format!("a pattern in `{key}` has several lines: make it several");
            return Err(reader.invalid(line.span(), problem));
        }
        let path = text.strip_prefix('!').unwrap_or(text);
        if path.split('/').any(|it| it == ".." || it == ".") {
            reader.warn(
                line.span(),
                format!("the pattern `{text}` means nothing: paths are those in the app, without `.` and `..`"),
            );
        }
    }
    let patterns = Patterns::new(lines.iter().map(Spanned::get_ref));
    if !lines.is_empty() && patterns.is_empty() {
        reader.warn(
            span.clone(),
            format!("`{key}` has no pattern that means a file: all files are taken"),
        );
    }
    Ok(Some(Spanned::new(span, patterns)))
}

/// Buildpacks that are asked for.
fn members(
    reader: &mut Reader<'_>,
    table: &mut Fields<'_, '_>,
    key: &'static str,
    since_0_3: bool,
) -> Result<Vec<Wanted>, ProjectError> {
    let mut members = Vec::new();
    for mut entry in table.tables(reader, key)? {
        let filled = |it: Option<Spanned<String>>| it.filter(|it| !it.get_ref().is_empty());
        let id = filled(entry.text(reader, "id")?);
        let version = filled(entry.text(reader, "version")?);
        let uri = filled(entry.text(reader, "uri")?);
        let script = entry.table(reader, "script")?;
        let exec_env = exec_env(reader, &mut entry, since_0_3)?;
        entry.warn_of_rest(reader);
        let what = match (id, uri, script) {
            (_, Some(uri), Some(_)) => {
                let problem = "a buildpack has a `uri` as well as a `script`: keep one of them";
                return Err(reader.invalid(uri.span(), problem));
            }
            (_, Some(uri), None) => {
                if let Some(version) = version {
                    let problem = "a buildpack has a `uri` as well as a `version`: what is at the `uri` has its own version";
                    return Err(reader.invalid(version.span(), problem));
                }
                What::Uri(uri.into_inner())
            }
            (Some(id), None, Some(table)) => {
                What::Script(script_of(reader, &id, version.as_ref(), table)?)
            }
            (Some(id), None, None) => What::Id(match version {
                Some(version) => format!("{}@{}", id.get_ref(), version.get_ref()),
                None => id.into_inner(),
            }),
            (None, None, _) => {
                let problem = "a buildpack has neither an `id` nor a `uri`";
                return Err(reader.invalid(entry.span, problem));
            }
        };
        members.push(Wanted {
            line: reader.line(&entry.span),
            what,
            exec_env,
        });
    }
    Ok(members)
}

fn script_of(
    reader: &mut Reader<'_>,
    id: &Spanned<String>,
    version: Option<&Spanned<String>>,
    mut table: Fields<'_, '_>,
) -> Result<Script, ProjectError> {
    let api = table.text(reader, "api")?;
    let inline = table.text(reader, "inline")?;
    let shell = table.text(reader, "shell")?;
    table.warn_of_rest(reader);
    let missing = |key| format!("an inline buildpack needs `{key}` in its table `script`");
    let Some(api) = api.filter(|it| !it.get_ref().is_empty()) else {
        return Err(reader.invalid(table.span, missing("api")));
    };
    let Some(inline) = inline.filter(|it| !it.get_ref().is_empty()) else {
        return Err(reader.invalid(table.span, missing("inline")));
    };
    let id = id.get_ref().parse::<ModuleId>().map_err(|_bad| {
        let problem = format!("`{}` cannot be an id", id.get_ref());
        reader.invalid(id.span(), problem)
    })?;
    let said = version.map_or(VERSION, |it| it.get_ref());
    let parsed = said.parse().ok().filter(ModuleVersion::is_semantic);
    let version = parsed.ok_or_else(|| {
        let span = version.map(Spanned::span).unwrap_or_default();
        reader.invalid(span, format!("`{said}` is not a version"))
    })?;
    let shell = match shell.filter(|it| !it.get_ref().is_empty()) {
        // The kernel reads one line, and not much of it.
        Some(shell)
            if shell.get_ref().contains(char::is_control) || shell.get_ref().len() > 200 =>
        {
            let problem = "`shell` is one line, of at most 200 bytes";
            return Err(reader.invalid(shell.span(), problem));
        }
        Some(shell) => shell.into_inner(),
        None => SHELL.to_owned(),
    };
    Ok(Script {
        id,
        version,
        api: api.into_inner(),
        shell,
        inline: inline.into_inner(),
    })
}

fn variables(
    reader: &mut Reader<'_>,
    table: &mut Fields<'_, '_>,
    key: &'static str,
    since_0_3: bool,
) -> Result<Vec<Variable>, ProjectError> {
    let mut variables = Vec::new();
    for mut entry in table.tables(reader, key)? {
        let name = entry.text(reader, "name")?;
        let value = entry.text(reader, "value")?;
        let exec_env = exec_env(reader, &mut entry, since_0_3)?;
        entry.warn_of_rest(reader);
        let Some(name) = name else {
            return Err(reader.invalid(entry.span, "a variable has no `name`"));
        };
        // It becomes the name of a file.
        let text = name.get_ref();
        if text.is_empty() || text.starts_with('.') || text.contains(['/', '=', '\0']) {
            let problem = format!("`{text}` cannot be the name of a variable");
            return Err(reader.invalid(name.span(), problem));
        }
        let value = value.map(Spanned::into_inner).unwrap_or_default();
        variables.push(Variable {
            name: name.into_inner(),
            value,
            exec_env,
        });
    }
    Ok(variables)
}

fn exec_env(
    reader: &mut Reader<'_>,
    entry: &mut Fields<'_, '_>,
    since_0_3: bool,
) -> Result<Vec<String>, ProjectError> {
    if !since_0_3 {
        if let Some((span, _)) = entry.entry(EXEC_ENV) {
            reader.warn(
                span,
                "`exec-env` is of schema 0.3, and is ignored: write `schema-version = \"0.3\"` into the table `_`",
            );
        }
        return Ok(Vec::new());
    }
    let Some((_, listed)) = entry.texts(reader, EXEC_ENV)? else {
        return Ok(Vec::new());
    };
    let good = |it: &str| {
        it == "*"
            || !it.is_empty()
                && it
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
    };
    for it in &listed {
        if !good(it.get_ref()) {
            let problem = format!("`{}` cannot be an execution environment", it.get_ref());
            return Err(reader.invalid(it.span(), problem));
        }
    }
    Ok(listed.into_iter().map(Spanned::into_inner).collect())
}

/// A file that is being read.
struct Reader<'a> {
    path: &'a Path,
    /// Where each line ends.
    lines: Vec<usize>,
    warnings: Vec<Warning>,
}

impl Reader<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        self.lines.partition_point(|end| *end < span.start) + 1
    }

    fn invalid(&self, span: Range<usize>, problem: impl Into<String>) -> ProjectError {
        ProjectError::Invalid {
            path: self.path.to_owned(),
            line: self.line(&span),
            problem: problem.into(),
        }
    }

    fn warn(&mut self, span: Range<usize>, text: impl Into<String>) {
        // Who reads these has enough to do with as many.
        if self.warnings.len() < MAX_WARNINGS {
            let line = self.line(&span);
            let text = text.into();
            self.warnings.push(Warning { line, text });
        }
    }
}

/// A table, and which of its keys were asked for.
struct Fields<'a, 'i> {
    /// What it is called, with a dot behind it.
    name: String,
    table: &'a DeTable<'i>,
    span: Range<usize>,
    asked: BTreeSet<&'static str>,
}

impl<'a, 'i> Fields<'a, 'i> {
    fn new(name: &str, table: &'a DeTable<'i>) -> Self {
        Self {
            name: name.to_owned(),
            table,
            span: 0..0,
            asked: BTreeSet::new(),
        }
    }

    /// A value, and where its key stands.
    fn entry(&mut self, key: &'static str) -> Option<(Range<usize>, &'a DeValue<'i>)> {
        self.asked.insert(key);
        let (key, value) = self.table.get_key_value(key)?;
        Some((key.span(), value.get_ref()))
    }

    fn take(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.asked.insert(key);
        self.table.get(key)
    }

    fn text(
        &mut self,
        reader: &Reader<'_>,
        key: &'static str,
    ) -> Result<Option<Spanned<String>>, ProjectError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match value.get_ref().as_str() {
            Some(text) => Ok(Some(Spanned::new(value.span(), text.to_owned()))),
            None => Err(self.not(reader, key, value, "a text")),
        }
    }

    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    fn texts(
        &mut self,
        reader: &Reader<'_>,
        key: &'static str,
    ) -> Result<Option<(Range<usize>, Vec<Spanned<String>>)>, ProjectError> {
        const KIND: &str = "a list of texts";
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.not(reader, key, value, KIND));
        };
        let mut texts = Vec::new();
        for entry in array {
            let Some(text) = entry.get_ref().as_str() else {
                return Err(self.not(reader, key, entry, KIND));
            };
            texts.push(Spanned::new(entry.span(), text.to_owned()));
        }
        Ok(Some((value.span(), texts)))
    }

    fn table(
        &mut self,
        reader: &Reader<'_>,
        key: &'static str,
    ) -> Result<Option<Fields<'a, 'i>>, ProjectError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        match value.get_ref() {
            DeValue::Table(table) => Ok(Some(self.below(key, table, value.span()))),
            _ => Err(self.not(reader, key, value, "a table")),
        }
    }

    fn tables(
        &mut self,
        reader: &Reader<'_>,
        key: &'static str,
    ) -> Result<Vec<Fields<'a, 'i>>, ProjectError> {
        const KIND: &str = "a list of tables";
        let Some(value) = self.take(key) else {
            return Ok(Vec::new());
        };
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.not(reader, key, value, KIND));
        };
        if array.len() > MAX_ENTRIES {
            let problem = format!("`{}{key}` has more than {MAX_ENTRIES} entries", self.name);
            return Err(reader.invalid(value.span(), problem));
        }
        let mut tables = Vec::new();
        for entry in array {
            let DeValue::Table(table) = entry.get_ref() else {
                return Err(self.not(reader, key, entry, KIND));
            };
            tables.push(self.below(key, table, entry.span()));
        }
        Ok(tables)
    }

    fn below(&self, key: &str, table: &'a DeTable<'i>, span: Range<usize>) -> Fields<'a, 'i> {
        Fields {
            name: format!("{}{key}.", self.name),
            table,
            span,
            asked: BTreeSet::new(),
        }
    }

    fn not(
        &self,
        reader: &Reader<'_>,
        key: &str,
        value: &Spanned<DeValue<'_>>,
        kind: &str,
    ) -> ProjectError {
        reader.invalid(value.span(), format!("`{}{key}` is not {kind}", self.name))
    }

    /// Warns of the keys that nobody asked for.
    fn warn_of_rest(&self, reader: &mut Reader<'_>) {
        for key in self.table.keys() {
            let name = key.get_ref();
            if !self.asked.contains(&**name) {
                reader.warn(
                    key.span(),
                    format!("the key `{}{name}` is not known, and is ignored", self.name),
                );
            }
        }
    }
}
