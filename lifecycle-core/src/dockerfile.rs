//! Dockerfiles: the text, its instructions, and the words in them.
//!
//! The reference of Docker is the law, and BuildKit's parser the measure of it: `lines` makes one
//! statement of the lines that belong together, `statement` takes it apart, `instruction` says what it
//! is, [`words`] replaces variables, [`ignore`] says what of a context counts. Whether an instruction
//! may be used, and what it does, is not known here.
//!
//! <https://docs.docker.com/reference/dockerfile/>

mod copy;
mod flags;
mod health;
mod here;
pub mod ignore;
mod instruction;
mod lines;
mod pattern;
mod run;
mod statement;
mod suggest;
pub mod words;

use thiserror::Error;

pub use self::copy::{Copy, Inline};
pub use self::health::HealthCheck;
pub use self::here::HereDocument;
pub use self::instruction::{Form, Instruction, Stage};
pub use self::run::Run;
pub use self::statement::{Arguments, Pair, Statement};
use self::words::WordError;

/// The most bytes of a Dockerfile.
pub const MAX_BYTES: usize = 16 << 20;

/// The most bytes of a line without its end, as BuildKit has it.
const MAX_LINE: usize = 65_535;

/// The most statements of a Dockerfile.
const MAX_STATEMENTS: usize = 100_000;

/// A Dockerfile with at least one stage.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "there is no more to a Dockerfile"
)]
pub struct Dockerfile {
    /// What escapes a character and lets a line go on: `\` or `` ` ``.
    pub escape: char,
    /// The arguments before the first stage, one list for each `ARG`: names, and defaults if there
    /// are any.
    pub args: Vec<Vec<(String, Option<String>)>>,
    /// The stages.
    pub stages: Vec<Stage>,
}

impl Dockerfile {
    /// Reads one.
    pub fn parse(text: &str) -> Result<Self, DockerfileError> {
        let (escape, statements) = statements(text)?;
        let mut args = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        for statement in statements {
            let line = statement.line;
            let text = statement.text.trim().to_owned();
            match instruction::read(statement)? {
                Instruction::From { base, name } => stages.push(Stage {
                    base,
                    name,
                    line,
                    steps: Vec::new(),
                }),
                Instruction::Arg(names) if stages.is_empty() => args.push(names),
                instruction => {
                    let stage = stages.last_mut().ok_or(DockerfileError::OutsideStage)?;
                    stage.steps.push(Step {
                        instruction,
                        line,
                        text,
                    });
                }
            }
        }
        Ok(Self {
            escape,
            args,
            stages,
        })
    }
}

/// An instruction of a stage, and where it stands.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct Step {
    /// What it says.
    pub instruction: Instruction,
    /// The line it begins on, counted from 1.
    pub line: usize,
    /// As it was written, in one line, without its here-documents.
    pub text: String,
}

/// The escape character of a Dockerfile and its statements, whatever they say.
pub fn statements(text: &str) -> Result<(char, Vec<Statement>), DockerfileError> {
    if text.len() > MAX_BYTES {
        return Err(DockerfileError::TooLarge);
    }
    lines::read(text)
}

/// Why a text is not a Dockerfile. What is wrong is said in BuildKit's words.
#[derive(Clone, Debug, Eq, PartialEq, Error)]
#[non_exhaustive]
pub enum DockerfileError {
    /// A text without a `FROM`.
    #[error("file with no build stage")]
    NoStage,
    /// A text without any instruction.
    #[error("file with no instructions")]
    Nothing,
    /// An instruction before the first `FROM`.
    #[error("no build stage in current context")]
    OutsideStage,
    /// A statement that cannot be taken apart; BuildKit does not say where.
    #[error("{problem}")]
    Syntax {
        /// What is wrong with it.
        problem: String,
    },
    /// An instruction that is not well formed.
    #[error("dockerfile parse error on line {line}: {problem}")]
    Malformed {
        /// Where it begins.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A text that is larger than we read.
    #[error("the Dockerfile is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// More instructions than we read.
    #[error("the Dockerfile has more than {MAX_STATEMENTS} instructions")]
    TooMany,
}

/// What is wrong with an instruction, before it is said where.
#[derive(Debug)]
struct Problem(String);

impl Problem {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    fn within(self, what: &str) -> Self {
        Self(format!("{what}: {}", self.0))
    }

    fn at(self, line: usize) -> DockerfileError {
        DockerfileError::Malformed {
            line,
            problem: self.0,
        }
    }
}

impl From<Problem> for DockerfileError {
    fn from(problem: Problem) -> Self {
        Self::Syntax { problem: problem.0 }
    }
}

impl From<WordError> for Problem {
    fn from(error: WordError) -> Self {
        Self(error.to_string())
    }
}

#[cfg(test)]
mod tests;
