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

/// The same in one line where all of it comes down to a file that is not there: which that is, by the first
/// name that it has, since deeper ones have the working folder in them.
fn without_file(said: Vec<String>) -> Vec<String> {
    let is_missing = said.last().is_some_and(|it| {
        let text = it.strip_suffix(" (os error 2)").unwrap_or(it);
        let text = text.rsplit_once(": ").map_or(text, |(_, text)| text);
        text == "No such file or directory" || text == "no such file"
    });
    let Some(deepest) = said
        .iter()
        .rev()
        .find_map(|it| file(it))
        .filter(|_| is_missing)
    else {
        return said;
    };
    let Some((first, behind)) = said.split_first() else {
        return said;
    };
    let names = |it: &str| deepest == it || deepest.ends_with(&format!("/{it}"));
    let shown = said.iter().filter_map(|it| file(it));
    let shown = shown.filter(|it| names(it)).min_by_key(|it| it.len());
    let line = format!("file `{}` not found", shown.unwrap_or(deepest));
    if behind.is_empty() || file(first).is_some_and(names) {
        return vec![line];
    }
    vec![first.clone(), line]
}

/// The file that could not be read, by a sentence of ours or of the library that opens files.
fn file(text: &str) -> Option<&str> {
    const TRIED: [&str; 3] = ["failed to read ", "failed to open ", "failed to query "];
    if !TRIED.iter().any(|it| text.starts_with(it)) {
        return None;
    }
    let (_, behind) = text.split_once('`')?;
    behind.split_once('`').map(|(name, _)| name)
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
            &[
                "failed to read the policy `a.key`",
                "failed to read `/home/me/a.key`",
                gone,
            ],
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
        // What names no file, or is not about one, stays.
        let others = ["failed to start `ssh`", gone];
        assert_eq!(said(&others), others);
        let denied = ["failed to read `a.key`", "Permission denied (os error 13)"];
        assert_eq!(said(&denied), denied);
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
