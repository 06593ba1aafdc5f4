use super::words::{Style, WordError, expand, split_words};
use super::*;

fn all(text: &str) -> Vec<Statement> {
    statements(text).unwrap().1
}

fn only(text: &str) -> Statement {
    let mut statements = all(text);
    assert_eq!(statements.len(), 1, "{statements:?}");
    statements.remove(0)
}

fn problem(text: &str) -> String {
    Dockerfile::parse(text).unwrap_err().to_string()
}

fn steps(text: &str) -> Vec<Step> {
    let mut file = Dockerfile::parse(&format!("FROM x\n{text}")).unwrap();
    file.stages.remove(0).steps
}

fn step(text: &str) -> Instruction {
    let mut steps = steps(text);
    assert_eq!(steps.len(), 1, "{steps:?}");
    steps.remove(0).instruction
}

#[test]
fn lines_go_on_over_comments_and_empty_lines() {
    let text = "# a comment\nFROM --platform=x ${base_image} AS b\n\nrun echo a \\\n  # within\n\n  \
        && echo b\\\n\nUSER 1\nCMD last \\";
    let found: Vec<_> = all(text)
        .into_iter()
        .map(|it| (it.text, it.line, it.end))
        .collect();
    let expected = [
        ("FROM --platform=x ${base_image} AS b", 2, 2),
        ("run echo a   && echo bUSER 1", 4, 9),
        ("CMD last ", 10, 10),
    ];
    assert_eq!(
        found,
        expected.map(|(text, line, end)| (text.to_owned(), line, end))
    );
}

#[test]
fn two_escapes_at_the_end_of_a_line_do_not_let_it_go_on() {
    assert_eq!(all("RUN a\\\\\nRUN b\n").len(), 2);
    assert_eq!(only("RUN a\\ \t\nb").text, "RUN ab");
    assert_eq!(only("\\\nRUN a").text, "RUN a");
    assert_eq!(only("RUN a\\\r\n b\r\n").text, "RUN a b");
}

#[test]
fn directives_stand_at_the_top_and_once() {
    let text = "# syntax=x\n#escape = `\nFROM x\nRUN a`\nUSER b\nENV c d\\\nUSER d\n";
    let file = Dockerfile::parse(text).unwrap();
    assert_eq!((file.escape, file.stages[0].steps.len()), ('`', 3));
    assert_eq!(all("# comment\n# escape=`\nRUN a`\nb\n").len(), 2);
    assert_eq!(all("\u{feff}# escape=`\nRUN a`\nb\n").len(), 1);
    let twice = problem("# check=a\n# CHECK=b\nFROM x\n");
    assert_eq!(twice, "only one check parser directive can be used");
    assert!(problem("# escape=x\nFROM x\n").starts_with("invalid escape token 'x'"));
}

#[test]
fn here_documents_are_no_instructions() {
    let text = "COPY <<-'END' <<\"X Y\" /f\nEXPOSE\n\tEND\nVOLUME\nX Y\nUSER 1\nRUN cat 3<<A <<B\na\nA\nb\nB\n";
    let statements = all(text);
    assert_eq!(statements.len(), 3);
    let documents = &statements[0].documents;
    let found: Vec<_> = documents
        .iter()
        .map(|it| {
            (
                it.name.as_str(),
                it.content.as_str(),
                it.expands,
                it.strips_tabs,
            )
        })
        .collect();
    assert_eq!(
        found,
        [
            ("END", "EXPOSE\n", false, true),
            ("X Y", "VOLUME\n", false, false)
        ]
    );
    assert_eq!((statements[1].line, statements[2].end), (6, 11));
    assert_eq!(statements[2].documents[1].content, "b\n");
    assert_eq!(all("RUN echo '<<A'\nUSER 1\n").len(), 2);
    assert_eq!(all("RUN [\"a\", \"<<A\"]\nENV a <<A\nUSER 1\n").len(), 3);
    assert_eq!(only("ONBUILD RUN <<A\nb\nA\n").documents.len(), 1);
    assert_eq!(problem("FROM x\nRUN <<A\nb\n"), "unterminated heredoc");
}

#[test]
fn tabs_before_the_lines_of_a_document_may_not_count() {
    let document = |text: &str| only(text).documents.remove(0).text();
    assert_eq!(document("RUN <<-A\n\t\ta\n\tb\t\n\tA"), "a\nb\t\n");
    assert_eq!(document("RUN <<A\n\ta\nA"), "\ta\n");
}

#[test]
fn lists_are_lists_only_if_they_are_json() {
    let form = |text: &str| match step(text) {
        Instruction::Run(run) => run.form,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        form("RUN [\"a b\", \"\\u0063\"]"),
        Form::Exec(vec!["a b".into(), "c".into()])
    );
    for text in ["['a']", "[ \"a\"", "[a]", "[\"a\"] b"] {
        assert_eq!(form(&format!("RUN {text}")), Form::Shell(text.to_owned()));
    }
    assert!(problem("FROM x\nRUN [\"a\", 1]").contains("strings only"));
    let Instruction::Copy(copy) = step("COPY [\"a b\", \"/c d/\"]") else {
        panic!()
    };
    assert_eq!(
        (copy.sources, copy.target),
        (vec!["a b".into()], "/c d/".into())
    );
}

#[test]
fn names_have_values_in_two_forms() {
    let pairs = |text: &str| match step(text) {
        Instruction::Env(pairs) => pairs,
        other => panic!("{other:?}"),
    };
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(pairs("ENV a  b c=d "), [pair("a", "b c=d")]);
    assert_eq!(
        pairs("ENV a=b\\ c d=\"e f\" g='h' i="),
        [
            pair("a", "b\\ c"),
            pair("d", "\"e f\""),
            pair("g", "'h'"),
            pair("i", "")
        ]
    );
    assert_eq!(pairs("ENV a=b=c"), [pair("a", "b=c")]);
    assert!(problem("FROM x\nENV a").contains("ENV must have two arguments"));
    assert!(problem("FROM x\nENV a=b c").contains("can't find = in \"c\""));
    assert!(problem("FROM x\nLABEL =b").contains("LABEL names can not be blank"));
}

#[test]
fn flags_are_those_that_the_instruction_has() {
    let Instruction::Copy(copy) = step(
        "COPY --chown=a:b --chmod=\"0 644\" --exclude=x --exclude=y --link --parents=false -- --a b",
    ) else {
        panic!()
    };
    assert_eq!(copy.owner.as_deref(), Some("a:b"));
    assert_eq!(copy.mode.as_deref(), Some("0 644"));
    assert_eq!(copy.excludes, ["x", "y"]);
    assert_eq!(
        (copy.sources, copy.keeps_parents),
        (vec!["--a".into()], false)
    );
    for (text, expected) in [
        ("COPY --x a b", "unknown flag: --x"),
        ("COPY --chown a b", "missing a value on flag: --chown"),
        (
            "COPY --link=maybe a b",
            "expecting boolean value for flag --link",
        ),
        (
            "ADD --chmod=1 --chmod=2 a b",
            "duplicate flag specified: --chmod",
        ),
        ("USER --x a", "unknown flag: --x"),
    ] {
        let problem = problem(&format!("FROM x\n{text}"));
        assert!(problem.contains(expected), "{problem}");
    }
}

#[test]
fn arguments_before_the_first_stage_are_its_own_kind() {
    let file = Dockerfile::parse("ARG a=1 b\nARG c\nFROM x\nARG d\n").unwrap();
    let names: Vec<Vec<_>> = file
        .args
        .iter()
        .map(|it| it.iter().map(|(name, _)| name.as_str()).collect())
        .collect();
    assert_eq!(names, [vec!["a", "b"], vec!["c"]]);
    assert_eq!(file.args[0][0].1.as_deref(), Some("1"));
    assert_eq!(file.stages[0].steps[0].instruction.name(), "ARG");
}

#[test]
fn what_is_no_dockerfile_is_told_where() {
    assert!(problem("FROM x\nfoobar\n").ends_with("line 2: unknown instruction: foobar"));
    assert!(problem("FROM x\nRUNN\n").ends_with("RUNN (did you mean RUN?)"));
    assert_eq!(problem("RUN x\n"), "no build stage in current context");
    assert!(problem("FROM --platform=x\n").contains("line 1"));
    assert_eq!(problem(""), "file with no instructions");
    assert_eq!(problem("# only\n\n"), "file with no instructions");
    assert!(Dockerfile::parse("ARG x").unwrap().stages.is_empty());
    for (text, expected) in [
        ("FROM a b", "either one or three"),
        ("FROM a AS 1", "invalid name for build stage"),
        ("COPY a", "requires at least two arguments"),
        (
            "COPY a <<b\nb\n",
            "cannot accept a heredoc as a destination",
        ),
        ("SHELL sh -c", "in JSON form"),
        ("SHELL []", "at least one argument"),
        ("COPY a", "Destination could not be determined"),
        ("RUN --network=x y", "line 2: invalid network mode \"x\""),
        ("RUN --security= y", "line 2: security \"\" is not valid"),
        ("RUN --mount= y", "line 2: failed to parse csv mounts: EOF"),
        ("RUN --mount=from=$a y", "'from' doesn't support variable"),
        (
            "RUN --moun=a y",
            "unknown flag: --moun (did you mean mount?)",
        ),
        ("USER", "exactly one argument"),
        ("ARG =a", "ARG names can not be blank"),
        ("ONBUILD ONBUILD RUN a", "Chaining ONBUILD"),
        ("ONBUILD FROM a", "isn't allowed as an ONBUILD trigger"),
        ("HEALTHCHECK MAYBE", "Unknown type \"MAYBE\""),
        ("HEALTHCHECK CMD", "Missing command"),
        (
            "HEALTHCHECK --interval=1us CMD a",
            "cannot be less than 1ms",
        ),
        (
            "HEALTHCHECK --timeout=1 CMD a",
            "missing unit in duration \"1\"",
        ),
        ("HEALTHCHECK --retries=-1 CMD a", "cannot be negative (-1)"),
        (
            "HEALTHCHECK --retries=x CMD a",
            "parsing \"x\": invalid syntax",
        ),
    ] {
        let problem = problem(&format!("FROM x\n{text}"));
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}

#[test]
fn what_builds_nothing_is_no_error() {
    for (text, expected) in [
        ("RUN", Form::Shell(String::new())),
        ("RUN --network=none", Form::Shell(String::new())),
        ("RUN []", Form::Exec(Vec::new())),
    ] {
        let Instruction::Run(run) = step(text) else {
            panic!("{text}")
        };
        assert_eq!(run.form, expected, "{text}");
    }
    // Flags of these are not looked at.
    step("STOPSIGNAL --x 9");
    step("ARG --x a");
    step("HEALTHCHECK --x NONE");
}

#[test]
fn the_first_problem_of_a_text_is_told() {
    let long = "a".repeat(MAX_LINE + 1);
    let too_long = "dockerfile line greater than max allowed size of 65535";
    for (text, expected) in [
        (
            "FROM x\nENV a\nRUN <<b\n".to_owned(),
            "ENV must have two arguments",
        ),
        (
            format!("FROM x\nENV a\n{long}"),
            "ENV must have two arguments",
        ),
        (
            "FROM x\nFOOBAR\nRUN <<b\n".to_owned(),
            "unterminated heredoc",
        ),
        (
            format!("FROM x\nRUN <<b\n{long}\nb\n"),
            "unterminated heredoc",
        ),
        (format!("FROM x\nRUN {long}"), too_long),
        (long, "file with no instructions"),
    ] {
        assert_eq!(problem(&text), expected);
    }
    let longest = format!("FROM x\n#{}\n", "a".repeat(MAX_LINE - 1));
    Dockerfile::parse(&longest).unwrap();
}

#[test]
fn there_are_limits() {
    assert!(problem(&"RUN a\n".repeat(MAX_STATEMENTS + 1)).contains("more than"));
    assert!(problem(&" ".repeat(MAX_BYTES + 1)).contains("larger than"));
    assert!(problem(&format!("FROM x\n{}RUN a", "ONBUILD ".repeat(1000))).contains("nested"));
    Dockerfile::parse(&format!("FROM x\nRUN {}", "\\\n".repeat(200_000))).unwrap();
}

/// What the text becomes where `HOME` is `/root`, `EMPTY` is empty and `SPACES` has some.
fn expanded(text: &str) -> Result<String, WordError> {
    expand(text, &Style::new('\\'), &lookup)
}

fn lookup(name: &str) -> Option<String> {
    let value = match name {
        "HOME" => "/root",
        "EMPTY" => "",
        "SPACES" => " a  b ",
        "FILE" => "a/b.tar.gz",
        _ => return None,
    };
    Some(value.to_owned())
}

#[test]
fn variables_are_replaced() {
    for (text, expected) in [
        ("a$HOME.b", "a/root.b"),
        ("${HOME}b${NONE}", "/rootb"),
        ("$ $. $", "$ $. $"),
        ("\\$HOME \\\\$HOME", "$HOME \\/root"),
        ("'$HOME' \"$HOME\" \"\\$HOME\"", "$HOME /root $HOME"),
        ("\"a\\tb\" a\\tb", "a\\tb atb"),
        ("${NONE:-x} ${EMPTY:-x} ${EMPTY-x} ${HOME:-x}", "x x  /root"),
        ("${NONE:+x} ${EMPTY:+x} ${EMPTY+x} ${HOME:+x}", "  x x"),
        ("${NONE:-${EMPTY:-$HOME}}", "/root"),
        ("${HOME?no} ${EMPTY?no}", "/root "),
        (
            "${FILE#*/} ${FILE##*.} ${FILE%.*} ${FILE%%.*}",
            "b.tar.gz gz a/b.tar a/b",
        ),
        (
            "${FILE/./-} ${FILE//./-} ${FILE/\\//:}",
            "a/b-tar.gz a/b-tar-gz a:b.tar.gz",
        ),
        ("${FILE/$HOME/x}", "a/b.tar.gz"),
        ("end\\", "end"),
        ("$1x ${-}", "x "),
    ] {
        assert_eq!(expanded(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_cannot_be_replaced_is_an_error() {
    for (text, expected) in [
        ("${HOME", "looking for matching '}'"),
        ("${", "looking for matching '}'"),
        ("${}", "bad substitution"),
        ("${:x}", "bad substitution"),
        ("${HOME:=x}", "unsupported modifier (:=)"),
        ("${HOME:#x}", "unsupported modifier (:#)"),
        ("${.}", "unsupported modifier (.)"),
        ("${NONE?}", "NONE: is not allowed to be unset"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${NONE:?set $HOME}", "NONE: set /root"),
        ("${HOME/a}", "looking for matching '/'"),
        ("${HOME#\\x}", "invalid escape '\\x'"),
        ("'a", "matching single-quote"),
        ("\"a\\\"", "matching double-quote"),
    ] {
        let error = expanded(text).unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_value_with_blanks_makes_several_words_unless_it_is_quoted() {
    let words = |text: &str| split_words(text, &Style::new('\\'), &lookup).unwrap();
    assert_eq!(
        words("x${SPACES}y 'c d' e\\ f"),
        ["x", "a", "b", "y", "c d", "e f"]
    );
    assert_eq!(words("\"$SPACES\""), [" a  b "]);
}

#[test]
fn quotes_mean_nothing_in_a_document() {
    let style = Style::document('\\');
    assert_eq!(
        expand("it's \"$HOME\"", &style, &lookup).unwrap(),
        "it's \"/root\""
    );
}

#[test]
fn variables_cannot_make_a_text_grow_without_end() {
    let large = |_name: &str| Some("a".repeat(words::MAX_BYTES / 2));
    let style = Style::new('\\');
    assert_eq!(expand("$a$a$a$a", &style, &large), Err(WordError::TooLarge));
    assert_eq!(
        expand("\"$a$a$a$a\"", &style, &large),
        Err(WordError::TooLarge)
    );
    let nested = format!("{}x{}", "${a:-".repeat(1000), "}".repeat(1000));
    assert_eq!(expand(&nested, &style, &lookup), Err(WordError::Nested));
    let error = expand("${a#x}", &style, &large).unwrap_err();
    assert_eq!(error, WordError::PatternTooLarge);
}
