//! `RUN`: its command, and its flags, which BuildKit checks when it reads them.

use std::mem;

use go::flag::parse_bool;
use go::words::quoted;

use super::flags::{Flags, Takes};
use super::here;
use super::instruction::{Form, form};
use super::statement::Statement;
use super::suggest::with_suggestion;
use super::{HereDocument, Problem};

/// `RUN`.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Run {
    /// What is run. Nothing is allowed, too.
    pub form: Form,
    /// The here-documents of it.
    pub documents: Vec<HereDocument>,
    /// What is mounted meanwhile.
    pub mounts: Vec<String>,
    /// Which network it sees.
    pub network: Option<String>,
    /// Whether it may more than others.
    pub security: Option<String>,
    /// Devices that it sees.
    pub devices: Vec<String>,
}

impl Run {
    /// The text of the here-document that is all of it: a script.
    pub fn only_document(&self) -> Option<String> {
        let (Form::Shell(line), [document]) = (&self.form, self.documents.as_slice()) else {
            return None;
        };
        let announced = here::document(line).ok().flatten()?;
        (announced.name == document.name).then(|| document.text())
    }
}

/// The networks that there are.
const NETWORKS: &[&str] = &["default", "host", "none"];

/// Whether a command may more than others.
const SECURITY: &[&str] = &["insecure", "sandbox"];

/// Reads the statement.
pub(super) fn read(statement: Statement) -> Result<Run, Problem> {
    let flags = Flags::read(
        &statement.flags,
        &[
            ("device", Takes::List),
            ("mount", Takes::List),
            ("network", Takes::Text),
            ("security", Takes::Text),
        ],
    )?;
    let run = Run {
        form: form(&statement.arguments),
        documents: statement.documents,
        mounts: flags.list("mount"),
        network: flags.text("network"),
        security: flags.text("security"),
        devices: flags.list("device"),
    };
    run.devices.iter().try_for_each(|it| check_device(it))?;
    run.mounts.iter().try_for_each(|it| check_mount(it))?;
    if let Some(it) = run.network.as_deref().filter(|it| !NETWORKS.contains(it)) {
        let name = quoted(it.as_bytes());
        return Err(Problem(format!("invalid network mode {name}")));
    }
    if let Some(it) = run.security.as_deref().filter(|it| !SECURITY.contains(it)) {
        let name = quoted(it.as_bytes());
        return Err(Problem(format!("security {name} is not valid")));
    }
    Ok(run)
}

/// A device is its name, and whether it has to be there.
fn check_device(text: &str) -> Result<(), Problem> {
    let fields = fields(text).map_err(|it| it.within("failed to parse csv devices"))?;
    let mut name = "";
    for field in &fields {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(value)),
            None => (field.to_lowercase(), None),
        };
        match (key.as_str(), value) {
            ("required", Some(value)) if parse_bool(value).is_none() => {
                return Err(Problem(format!("invalid value for {key}: {value}")));
            }
            ("required", _) => {}
            ("name", Some(value)) if name.is_empty() => name = value,
            ("name", Some(_)) => {
                return Err(Problem(format!("device name already set to {name}")));
            }
            _ if name.is_empty() => name = field,
            (_, None) => {
                let text = format!("invalid field '{field}' must be a key=value pair");
                return Err(Problem(text));
            }
            (key, Some(_)) => {
                let text = format!("unexpected key '{key}' in '{field}'");
                let known = ["name", "required"];
                return Err(Problem(with_suggestion(text, key, known, false)));
            }
        }
    }
    Ok(())
}

/// Of a mount only `from` is looked at before variables are replaced: it takes none.
fn check_mount(text: &str) -> Result<(), Problem> {
    let fields = fields(text).map_err(|it| it.within("failed to parse csv mounts"))?;
    for field in &fields {
        let Some((key, value)) = field.split_once('=') else {
            continue;
        };
        let key = key.to_lowercase();
        let has_variable = value
            .split_once('$')
            .is_some_and(|(_before, after)| !after.is_empty());
        if key == "from" && has_variable {
            return Err(Problem(format!(
                "'{key}' doesn't support variable expansion, define alias stage instead"
            )));
        }
    }
    Ok(())
}

/// The fields of one line of comma-separated values.
fn fields(line: &str) -> Result<Vec<String>, Problem> {
    let line = line.strip_suffix('\n').map_or(line, |it| {
        // A line may have an end.
        it.strip_suffix('\r').unwrap_or(it)
    });
    if line.is_empty() {
        return Err(Problem::new("EOF"));
    }
    let problem = |rest: &str, what: &str| {
        let column = line.len() - rest.len() + 1;
        Problem(format!("parse error on line 1, column {column}: {what}"))
    };
    let stray = "extraneous or missing \" in quoted-field";
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let Some(mut inner) = rest.strip_prefix('"') else {
            let (field, next) = match rest.split_once(',') {
                Some((field, next)) => (field, Some(next)),
                None => (rest, None),
            };
            if let Some(at) = field.find('"') {
                let from = rest.get(at..).unwrap_or_default();
                return Err(problem(from, "bare \" in non-quoted field"));
            }
            fields.push(field.to_owned());
            match next {
                Some(next) => rest = next,
                None => return Ok(fields),
            }
            continue;
        };
        let mut field = String::new();
        loop {
            let Some((part, next)) = inner.split_once('"') else {
                return Err(problem(inner, stray));
            };
            field.push_str(part);
            match next.chars().next() {
                None => {
                    fields.push(field);
                    return Ok(fields);
                }
                Some('"') => {
                    field.push('"');
                    inner = next.get(1..).unwrap_or_default();
                }
                Some(',') => {
                    fields.push(mem::take(&mut field));
                    rest = next.get(1..).unwrap_or_default();
                    break;
                }
                Some(_) => {
                    let from = inner.get(part.len()..).unwrap_or_default();
                    return Err(problem(from, stray));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_between_commas_and_may_be_quoted() {
        let found = |line: &str| fields(line).unwrap();
        assert_eq!(found("a,b=c,"), ["a", "b=c", ""]);
        assert_eq!(found("\"a,b\",\"c\"\"d\"\n"), ["a,b", "c\"d"]);
        for (line, expected) in [
            ("", "EOF"),
            ("\n", "EOF"),
            ("a\"b", "column 2: bare \" in non-quoted field"),
            (
                "a,\"b",
                "column 4: extraneous or missing \" in quoted-field",
            ),
            (
                "\"a\"b",
                "column 3: extraneous or missing \" in quoted-field",
            ),
        ] {
            let problem = fields(line).unwrap_err().0;
            assert!(problem.ends_with(expected), "{line}: {problem}");
        }
    }

    #[test]
    fn devices_have_one_name() {
        for text in ["v/d=a", "name=v/d,required", "v/d,required=false"] {
            check_device(text).unwrap();
        }
        for (text, expected) in [
            ("a,name=b", "device name already set to a"),
            ("a,b", "invalid field 'b' must be a key=value pair"),
            ("a,required=x", "invalid value for required: x"),
            (
                "a,nam=b",
                "unexpected key 'nam' in 'nam=b' (did you mean name?)",
            ),
        ] {
            assert_eq!(check_device(text).unwrap_err().0, expected);
        }
    }
}
