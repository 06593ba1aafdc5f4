//! What was meant, perhaps: BuildKit says it of names that it does not know.

/// From how many edits on two names are no longer alike.
const MAX_EDITS: usize = 3;

/// No name that is known is as long.
const MAX_CHARS: usize = 32;

/// `problem`, and which of `known` looks most like `given`, if one looks like it at all. Names of
/// instructions are held against it in any letters, all others as they are.
pub(super) fn with_suggestion<'a>(
    problem: String,
    given: &str,
    known: impl IntoIterator<Item = &'a str>,
    any_case: bool,
) -> String {
    let wanted = if any_case {
        given.to_lowercase()
    } else {
        given.to_owned()
    };
    if wanted.chars().take(MAX_CHARS + 1).count() > MAX_CHARS {
        return problem;
    }
    let mut best: Option<(usize, String)> = None;
    for name in known {
        let name = if any_case {
            name.to_lowercase()
        } else {
            name.to_owned()
        };
        let edits = distance(&wanted, &name);
        // What is known was wrong for another reason.
        if edits == 0 {
            return problem;
        }
        if edits < best.as_ref().map_or(MAX_EDITS, |(fewest, _)| *fewest) {
            best = Some((edits, name));
        }
    }
    let Some((_edits, name)) = best else {
        return problem;
    };
    let is_upper = any_case && given != wanted && given == given.to_uppercase();
    let name = if is_upper { name.to_uppercase() } else { name };
    format!("{problem} (did you mean {name}?)")
}

/// How many characters have to be put in, left out or replaced to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (at, of_a) in a.chars().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (cell, of_b) in row.iter_mut().skip(1).zip(b.chars()) {
            let replaced = diagonal + usize::from(of_a != of_b);
            diagonal = *cell;
            left = replaced.min(left + 1).min(diagonal + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_that_is_most_alike_is_meant() {
        for (given, any_case, expected) in [
            ("RUM", true, "x (did you mean RUN?)"),
            ("rum", true, "x (did you mean run?)"),
            ("RuM", true, "x (did you mean run?)"),
            ("CPOY", true, "x (did you mean COPY?)"),
            ("copy", true, "x"),
            ("else", true, "x"),
            ("copi", false, "x"),
            ("RUNN", false, "x (did you mean RUN?)"),
        ] {
            let said = with_suggestion("x".to_owned(), given, ["COPY", "RUN"], any_case);
            assert_eq!(said, expected, "{given}");
        }
        let long = "x".repeat(1 << 20);
        assert_eq!(with_suggestion("x".to_owned(), &long, ["RUN"], true), "x");
    }
}
