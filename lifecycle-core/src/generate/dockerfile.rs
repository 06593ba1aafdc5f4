//! Reads as much of a Dockerfile as says what an extension may do with it: its instructions, which
//! stages there are and what they are based on.
//!
//! <https://docs.docker.com/reference/dockerfile/>

/// A Dockerfile with at least one stage.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Dockerfile {
    /// The names of the arguments before the first stage, one list for each `ARG`.
    pub(super) args: Vec<Vec<String>>,
    /// What the stages are based on.
    pub(super) bases: Vec<String>,
    /// The instructions within stages.
    pub(super) instructions: Vec<Instruction>,
}

/// An instruction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Instruction {
    /// Its name, in upper case.
    pub(super) name: String,
    /// What follows the name.
    rest: String,
    /// The line it begins on, counted from 1.
    pub(super) line: usize,
}

/// All that there are; no other is a Dockerfile.
const KNOWN: &[&str] = &[
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

impl Dockerfile {
    /// Reads one.
    pub(super) fn parse(text: &str) -> Result<Self, DockerfileError> {
        let mut args = Vec::new();
        let mut bases = Vec::new();
        let mut instructions = Vec::new();
        for instruction in instructions_of(text) {
            let Instruction { name, rest, line } = &instruction;
            if !KNOWN.contains(&name.as_str()) {
                return Err(DockerfileError::UnknownInstruction {
                    line: *line,
                    name: name.clone(),
                });
            }
            match name.as_str() {
                "FROM" => {
                    let mut words = rest.split_whitespace();
                    let base = words.find(|word| !word.starts_with("--"));
                    let base = base.ok_or(DockerfileError::NoBase { line: *line })?;
                    bases.push(base.to_owned());
                }
                "ARG" if bases.is_empty() => {
                    let names = rest.split_whitespace().map(|word| {
                        let (name, _value) = word.split_once('=').unwrap_or((word, ""));
                        name.to_owned()
                    });
                    args.push(names.collect());
                }
                _ if bases.is_empty() => {
                    return Err(DockerfileError::OutsideStage { line: *line });
                }
                _ => instructions.push(instruction),
            }
        }
        if bases.is_empty() {
            return Err(DockerfileError::NoStage);
        }
        Ok(Self {
            args,
            bases,
            instructions,
        })
    }
}

/// The instructions, with lines that go on joined and here-documents left out.
fn instructions_of(text: &str) -> Vec<Instruction> {
    let escape = escape_of(text);
    let mut instructions = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let mut joined = String::new();
        let mut next = Some(line);
        while let Some(line) = next.take() {
            let is_comment = line.trim_start().starts_with('#');
            let is_blank = line.trim().is_empty();
            if is_comment || (is_blank && !joined.is_empty()) {
                // Neither ends an instruction that goes on.
                if !joined.is_empty() {
                    next = lines.next().map(|(_, line)| line);
                }
                continue;
            }
            match line.trim_end().strip_suffix(escape) {
                Some(part) => {
                    joined.push_str(part);
                    joined.push(' ');
                    next = lines.next().map(|(_, line)| line);
                }
                None => joined.push_str(line),
            }
        }
        let joined = joined.trim();
        if joined.is_empty() {
            continue;
        }
        let (name, rest) = joined
            .split_once(char::is_whitespace)
            .unwrap_or((joined, ""));
        let name = name.to_ascii_uppercase();
        if matches!(name.as_str(), "ADD" | "COPY" | "RUN") {
            for end in here_documents(rest) {
                skip_here_document(&mut lines, &end);
            }
        }
        instructions.push(Instruction {
            name,
            rest: rest.trim().to_owned(),
            line: at + 1,
        });
    }
    instructions
}

/// The character that lets a line go on; a directive at the top may change it.
fn escape_of(text: &str) -> char {
    let directives = text
        .lines()
        .map_while(|line| line.trim_start().strip_prefix('#'));
    directives
        .filter_map(|line| line.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("escape"))
        .map_or(
            '\\',
            |(_, value)| {
                if value.trim() == "`" { '`' } else { '\\' }
            },
        )
}

/// The end of a here-document, and whether tabs before it do not count.
struct End {
    word: String,
    strips_tabs: bool,
}

/// The ends of the here-documents that `<<WORD` or `<<-WORD` begin.
fn here_documents(rest: &str) -> Vec<End> {
    let ends = rest.split_whitespace().filter_map(|word| {
        let word = word.trim_start_matches(|c: char| c.is_ascii_digit());
        let word = word.strip_prefix("<<")?;
        let (word, strips_tabs) = match word.strip_prefix('-') {
            Some(word) => (word, true),
            None => (word, false),
        };
        let word = word.trim_matches(['"', '\'']);
        let is_word = !word.is_empty() && !word.contains('<');
        is_word.then(|| End {
            word: word.to_owned(),
            strips_tabs,
        })
    });
    ends.collect()
}

fn skip_here_document<'a>(lines: &mut impl Iterator<Item = (usize, &'a str)>, end: &End) {
    for (_, line) in lines {
        let line = if end.strips_tabs {
            line.trim_start_matches('\t')
        } else {
            line
        };
        if line == end.word {
            break;
        }
    }
}

/// Why a text is no Dockerfile.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DockerfileError {
    /// A `FROM` that names nothing.
    #[error("dockerfile parse error on line {line}: FROM requires either one or three arguments")]
    NoBase {
        /// Where.
        line: usize,
    },
    /// No `FROM` at all.
    #[error("file with no build stage")]
    NoStage,
    /// An instruction before the first `FROM`.
    #[error("dockerfile parse error on line {line}: no build stage in current context")]
    OutsideStage {
        /// Where.
        line: usize,
    },
    /// An instruction that does not exist.
    #[error("dockerfile parse error on line {line}: unknown instruction: {name}")]
    UnknownInstruction {
        /// Where.
        line: usize,
        /// Its name.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, usize)> {
        let file = Dockerfile::parse(text).unwrap();
        let instructions = file.instructions.into_iter();
        instructions.map(|it| (it.name, it.line)).collect()
    }

    #[test]
    fn lines_go_on_and_here_documents_are_no_instructions() {
        let text = "# a comment\nFROM --platform=x ${base_image} AS b\n\nrun echo a \\\n  # within\n\n  \
            && echo b\nCOPY <<-'END' <<X /f\nEXPOSE\n\tEND\nVOLUME\nX\nUSER 1\n";
        let lines = [("RUN", 4), ("COPY", 8), ("USER", 13)];
        assert_eq!(
            names(text),
            lines.map(|(name, line)| (name.to_owned(), line))
        );
        assert_eq!(Dockerfile::parse(text).unwrap().bases, ["${base_image}"]);
    }

    #[test]
    fn a_directive_changes_how_lines_go_on() {
        assert_eq!(
            names("# escape=`\nFROM x\nRUN a`\nUSER b\nENV c\\\nUSER d\n").len(),
            3
        );
    }

    #[test]
    fn arguments_before_the_first_stage_are_its_own_kind() {
        let file = Dockerfile::parse("ARG a=1 b\nARG c\nFROM x\nARG d\n").unwrap();
        assert_eq!(file.args, [vec!["a", "b"], vec!["c"]]);
        assert_eq!(file.instructions[0].name, "ARG");
    }

    #[test]
    fn what_is_no_dockerfile_is_told_where() {
        let error = |text| Dockerfile::parse(text).unwrap_err().to_string();
        assert!(error("FROM x\nFOO\n").ends_with("line 2: unknown instruction: FOO"));
        assert!(error("RUN x\n").ends_with("no build stage in current context"));
        assert!(error("FROM --platform=x\n").contains("line 1"));
        for text in ["", "\\", "# only", "ARG x", "RUN <<", "FROM x\\"] {
            Dockerfile::parse(text).err();
        }
        assert_eq!(error(""), "file with no build stage");
    }
}
