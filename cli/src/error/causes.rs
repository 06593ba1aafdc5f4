//! Why something failed, in as few lines as say it: one for a file that is not there, and one for a server that
//! was not reached, however many steps of a library were on the way.

use std::error::Error;

/// How a sentence about a server that was not reached ends.
const UNREACHED: &str = " is unreachable";

/// What is said of an error, and of what led to it.
pub(super) fn of(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut said = vec![error.to_string()];
    let mut cause = error.source();
    let mut is_unreached = error.to_string().ends_with(UNREACHED);
    while let Some(it) = cause {
        let text = plainly(it.to_string());
        cause = it.source();
        // Some libraries repeat the cause in their own text.
        let is_said = said.iter().any(|before| before.contains(&text));
        let is_a_step = cause.is_some() && is_plumbing(&text);
        if is_said || is_a_step {
            continue;
        }
        match said.last_mut() {
            // Who did not answer, and why: one thing.
            Some(last) if is_unreached => {
                last.push_str(": ");
                last.push_str(&text);
            }
            _ => {
                is_unreached = text.ends_with(UNREACHED);
                said.push(text);
            }
        }
    }
    without_file(said)
}

/// The same in one line where all of it comes down to a file that is not there: which that is, by the shortest
/// of its names, since deeper ones have the working folder in them.
fn without_file(said: Vec<String>) -> Vec<String> {
    let Some(missing) = missing(&said) else {
        return said;
    };
    let Some((first, behind)) = said.split_first() else {
        return said;
    };
    let names = |it: &str| is_same(it, missing);
    let shown = said.iter().filter_map(|it| file(it));
    let shown = shown.filter(|it| names(it)).min_by_key(|it| it.len());
    let line = format!("file `{}` not found", shown.unwrap_or(missing));
    if behind.is_empty() || file(first).is_some_and(names) {
        return vec![line];
    }
    vec![first.clone(), line]
}

/// The file that is missing, if that is the last cause: the last file that is named, and only if reading it was
/// tried. A missing program, or a missing folder to write to, says nothing about a file that was read before.
fn missing(said: &[String]) -> Option<&str> {
    let (last, before) = said.split_last()?;
    let text = last.strip_suffix(" (os error 2)").unwrap_or(last);
    let (context, text) = text.rsplit_once(": ").unwrap_or(("", text));
    if text != "No such file or directory" && text != "no such file" {
        return None;
    }
    let mut contexts = before.iter().map(String::as_str).chain([context]);
    file(contexts.rfind(|it| it.contains('`'))?)
}

/// The file that could not be read, by a sentence of ours or of the library that opens files.
fn file(text: &str) -> Option<&str> {
    const TRIED: [&str; 4] = [
        "failed to canonicalize ",
        "failed to open ",
        "failed to query ",
        "failed to read ",
    ];
    if !TRIED.iter().any(|it| text.starts_with(it)) {
        return None;
    }
    let mut parts = text.split('`');
    let name = parts.nth(1)?;
    // Of several, which is meant is not known.
    (parts.count() == 1).then_some(name)
}

/// Whether both name one file, from the working folder.
fn is_same(one: &str, other: &str) -> bool {
    let absolute = |it| std::path::absolute(it).ok();
    one == other || absolute(one).is_some_and(|it| Some(it) == absolute(other))
}

/// Whether it only says at which step of a connection the client was, when something deeper failed.
fn is_plumbing(text: &str) -> bool {
    const STEPS: [&str; 5] = [
        "error sending request",
        "client error (",
        "dns error",
        "error resolving DNS",
        "tcp connect error",
    ];
    STEPS.iter().any(|it| text.starts_with(it))
}

/// The same in words that say what it is about: a resolver names its query.
fn plainly(text: String) -> String {
    if text.contains("no records found for Query") {
        return "host name not found (DNS)".to_owned();
    }
    if let Some((before, after)) = text.split_once("invalid peer certificate: ") {
        let problem = match after {
            "UnknownIssuer" => "signed by an unknown authority",
            it if it.contains("CaUsedAsEndEntity") => {
                "it is that of an authority, and was not named itself"
            }
            it => it,
        };
        return format!("{before}the certificate of the server is not trusted: {problem}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Step(&'static str, #[source] Option<Box<Step>>);

    fn said(chain: &[&'static str]) -> Vec<String> {
        let chain = chain.iter().rev();
        let error = chain.fold(None, |inner, text| Some(Box::new(Step(text, inner))));
        of(&*error.unwrap())
    }

    #[test]
    fn a_file_that_is_not_there_is_one_line() {
        let gone = "No such file or directory (os error 2)";
        for chain in [
            &["failed to open file `a.key`: No such file or directory (os error 2)"][..],
            &["failed to read `a.key`", gone],
            &["failed to read certificates from `a.key`", "no such file"],
        ] {
            assert_eq!(said(chain), ["file `a.key` not found"], "{chain:?}");
        }
        assert_eq!(
            said(&[
                "failed to use the certificate",
                "failed to read `a.key`",
                gone
            ]),
            ["failed to use the certificate", "file `a.key` not found"]
        );
        let absolute = std::path::absolute("a.key").unwrap();
        let inner = format!("failed to read `{}`", absolute.display());
        assert_eq!(
            said(&["failed to read the policy `a.key`", inner.leak(), gone]),
            ["file `a.key` not found"]
        );
        // What names no file, or is not about one, stays.
        for others in [
            &["failed to start `ssh`", gone][..],
            &["failed to read `a.key`", "failed to start `ssh`", gone],
            &["failed to read `a.key` of `b`", gone],
        ] {
            assert_eq!(said(others), others);
        }
        let denied = ["failed to read `a.key`", "Permission denied (os error 13)"];
        assert_eq!(said(&denied), denied);
    }

    #[test]
    fn a_file_is_not_missing_because_one_of_the_same_name_is() {
        let gone = "No such file or directory (os error 2)";
        let outer = "failed to read the policy `a.key`";
        assert_eq!(
            said(&[outer, "failed to read `/elsewhere/a.key`", gone]),
            [outer, "file `/elsewhere/a.key` not found"]
        );
        assert_eq!(
            said(&[outer, "failed to read `b/a.key`", gone]),
            [outer, "file `b/a.key` not found"]
        );
    }

    #[test]
    fn a_server_that_was_not_reached_is_one_cause() {
        assert_eq!(
            said(&[
                "failed to resolve `v1`",
                "`http://a` is unreachable",
                "tcp connect error",
                "refused"
            ]),
            [
                "failed to resolve `v1`",
                "`http://a` is unreachable: refused"
            ]
        );
    }
}
