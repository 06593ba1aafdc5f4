//! What a statement says, by its name.

use go::words::quoted;

use super::copy::{self, Copy};
use super::flags::{Flags, Takes};
use super::health::{self, HealthCheck};
use super::run::{self, Run};
use super::statement::{Arguments, Statement};
use super::suggest::with_suggestion;
use super::{DockerfileError, Problem, Step};

/// A stage.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Stage {
    /// What it is based on, before variables are replaced.
    pub base: String,
    /// What it is called.
    pub name: Option<String>,
    /// The line of its `FROM`, counted from 1.
    pub line: usize,
    /// What follows.
    pub steps: Vec<Step>,
}

/// An instruction, before variables are replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_enums,
    reason = "a Dockerfile knows no more of them"
)]
pub enum Instruction {
    /// Copies from the context or the network, and unpacks archives.
    Add(Copy),
    /// Names arguments, with their defaults.
    Arg(Vec<(String, Option<String>)>),
    /// What a container runs, or what its entry point is given.
    Cmd(Form),
    /// Copies from the context.
    Copy(Copy),
    /// What a container runs.
    Entrypoint(Form),
    /// Sets variables.
    Env(Vec<(String, String)>),
    /// Says on which ports a container listens.
    Expose(Vec<String>),
    /// Begins a stage.
    From {
        /// What it is based on.
        base: String,
        /// What it is called.
        name: Option<String>,
    },
    /// Says how a container is asked whether it is well.
    HealthCheck(HealthCheck),
    /// Sets labels.
    Label(Vec<(String, String)>),
    /// Says who made the image.
    Maintainer(String),
    /// An instruction for builds on top.
    OnBuild(String),
    /// Runs a command.
    Run(Run),
    /// Says what runs commands that are no list.
    Shell(Vec<String>),
    /// Says how a container is asked to end.
    StopSignal(String),
    /// Says who runs what follows.
    User(String),
    /// Says what outlives a container.
    Volume(Vec<String>),
    /// Says where what follows runs.
    Workdir(String),
}

impl Instruction {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::From { .. } => "FROM",
            Self::HealthCheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::OnBuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// A command.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_enums, reason = "there are two forms")]
pub enum Form {
    /// Its words.
    Exec(Vec<String>),
    /// A line for a shell.
    Shell(String),
}

/// What all of them are called.
const NAMES: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads a statement.
pub(super) fn read(statement: Statement) -> Result<Instruction, DockerfileError> {
    let line = statement.line;
    let given = statement.name.clone();
    read_named(&given.to_ascii_uppercase(), statement)
        .map_err(|problem| problem.at(line))?
        .ok_or_else(|| {
            let text = format!("unknown instruction: {given}");
            let text = with_suggestion(text, &given, NAMES.iter().copied(), true);
            Problem(text).at(line)
        })
}

/// What comes first, arguments or flags, and whether flags are looked at, is as BuildKit has it.
fn read_named(name: &str, statement: Statement) -> Result<Option<Instruction>, Problem> {
    let no_flags = || Flags::read(&statement.flags, &[]);
    Ok(Some(match name {
        "ADD" => Instruction::Add(copy::read(name, &statement)?),
        "ARG" => Instruction::Arg(arguments(&some_words(name, &statement.arguments)?)?),
        "CMD" => {
            no_flags()?;
            Instruction::Cmd(form(&statement.arguments))
        }
        "COPY" => Instruction::Copy(copy::read(name, &statement)?),
        "ENTRYPOINT" => {
            no_flags()?;
            Instruction::Entrypoint(form(&statement.arguments))
        }
        "ENV" | "LABEL" => {
            no_flags()?;
            let pairs = pairs(name, &statement.arguments)?;
            if name == "ENV" {
                Instruction::Env(pairs)
            } else {
                Instruction::Label(pairs)
            }
        }
        "EXPOSE" => {
            let ports = some_words(name, &statement.arguments)?;
            no_flags()?;
            Instruction::Expose(ports)
        }
        "FROM" => {
            let stage = from(&words_of(&statement.arguments))?;
            Flags::read(&statement.flags, &[("platform", Takes::Text)])?;
            stage
        }
        "HEALTHCHECK" => Instruction::HealthCheck(health::read(&statement)?),
        "MAINTAINER" => {
            let text = one_text(name, &statement.arguments)?;
            no_flags()?;
            Instruction::Maintainer(text)
        }
        "ONBUILD" => {
            if !matches!(statement.arguments, Arguments::Later(_)) {
                return Err(too_few(name));
            }
            no_flags()?;
            Instruction::OnBuild(on_build(&statement)?)
        }
        "RUN" => Instruction::Run(run::read(statement)?),
        "SHELL" => {
            no_flags()?;
            match statement.arguments {
                Arguments::Json(words) if words.is_empty() => return Err(too_few(name)),
                Arguments::Json(words) => Instruction::Shell(words),
                Arguments::None => return Err(too_few(name)),
                _ => {
                    return Err(Problem::new(
                        "SHELL requires the arguments to be in JSON form",
                    ));
                }
            }
        }
        "STOPSIGNAL" => Instruction::StopSignal(one_text(name, &statement.arguments)?),
        "USER" => {
            let text = one_text(name, &statement.arguments)?;
            no_flags()?;
            Instruction::User(text)
        }
        "VOLUME" => {
            let words = some_words(name, &statement.arguments)?;
            no_flags()?;
            if words.iter().any(|it| it.trim().is_empty()) {
                return Err(Problem::new("VOLUME specified can not be an empty string"));
            }
            Instruction::Volume(words)
        }
        "WORKDIR" => {
            let text = one_text(name, &statement.arguments)?;
            no_flags()?;
            Instruction::Workdir(text)
        }
        _ => return Ok(None),
    }))
}

/// The words of arguments that are a list of some kind.
pub(super) fn words_of(arguments: &Arguments) -> Vec<String> {
    match arguments {
        Arguments::Json(words) | Arguments::Words(words) => words.clone(),
        _ => Vec::new(),
    }
}

pub(super) fn too_few(name: &str) -> Problem {
    Problem(format!("{name} requires at least one argument"))
}

fn blank_name(name: &str) -> Problem {
    Problem(format!("{name} names can not be blank"))
}

fn some_words(name: &str, arguments: &Arguments) -> Result<Vec<String>, Problem> {
    let words = words_of(arguments);
    if words.is_empty() {
        return Err(too_few(name));
    }
    Ok(words)
}

fn one_text(name: &str, arguments: &Arguments) -> Result<String, Problem> {
    match arguments {
        Arguments::Text(text) => Ok(text.clone()),
        _ => Err(Problem(format!("{name} requires exactly one argument"))),
    }
}

/// A command, which may be none: a list without words, or an empty line for the shell.
pub(super) fn form(arguments: &Arguments) -> Form {
    match arguments {
        Arguments::Json(words) => Form::Exec(words.clone()),
        Arguments::Text(text) => Form::Shell(text.clone()),
        _ => Form::Shell(String::new()),
    }
}

fn arguments(words: &[String]) -> Result<Vec<(String, Option<String>)>, Problem> {
    let arguments = words.iter().map(|word| {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word.as_str(), None),
        };
        if name.is_empty() {
            return Err(blank_name("ARG"));
        }
        Ok((name.to_owned(), value))
    });
    arguments.collect()
}

fn pairs(name: &str, arguments: &Arguments) -> Result<Vec<(String, String)>, Problem> {
    let Arguments::Pairs(pairs) = arguments else {
        return Err(too_few(name));
    };
    if pairs.iter().any(|it| it.name.is_empty()) {
        return Err(blank_name(name));
    }
    let pairs = pairs.iter().map(|it| (it.name.clone(), it.value.clone()));
    Ok(pairs.collect())
}

fn from(words: &[String]) -> Result<Instruction, Problem> {
    let (base, name) = match words {
        [base] => (base, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (base, Some(name)),
        _ => {
            return Err(Problem::new("FROM requires either one or three arguments"));
        }
    };
    let name = name.map(|name| {
        let lower = name.to_lowercase();
        let starts_well = lower.starts_with(|c: char| c.is_ascii_lowercase());
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if starts_well && lower.chars().all(is_name) {
            return Ok(lower);
        }
        Err(Problem(format!(
            "invalid name for build stage: {}, name can't start with a number or contain symbols",
            quoted(name.as_bytes())
        )))
    });
    Ok(Instruction::From {
        base: base.clone(),
        name: name.transpose()?,
    })
}

fn on_build(statement: &Statement) -> Result<String, Problem> {
    let Arguments::Later(inner) = &statement.arguments else {
        return Err(too_few("ONBUILD"));
    };
    match inner.name.to_ascii_uppercase().as_str() {
        "ONBUILD" => {
            return Err(Problem::new(
                "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed",
            ));
        }
        it @ ("MAINTAINER" | "FROM") => {
            return Err(Problem(format!("{it} isn't allowed as an ONBUILD trigger")));
        }
        _ => {}
    }
    let mut text = inner.text.clone();
    for document in &statement.documents {
        text.push('\n');
        text.push_str(&document.content);
        text.push_str(&document.name);
    }
    Ok(text)
}
