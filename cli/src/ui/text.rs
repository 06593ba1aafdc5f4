//! Text for people: of strangers without what drives a terminal, names that people know, amounts.

/// Takes out what could drive a terminal, but for colours: names and messages come from strangers.
pub(crate) fn harmless(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|it: char| it.is_control() && it != '\n' && it != '\t') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let colour = after
            .strip_prefix("\x1b[")
            .and_then(|it| it.split_once('m'))
            .filter(|(code, _)| {
                code.len() <= 8 && code.bytes().all(|b| b.is_ascii_digit() || b == b';')
            });
        if let Some((code, behind)) = colour {
            out.push_str("\x1b[");
            out.push_str(code);
            out.push('m');
            rest = behind;
        } else {
            let mut chars = after.chars();
            out.extend(chars.next().into_iter().flat_map(char::escape_default));
            rest = chars.as_str();
        }
    }
    out.push_str(rest);
    out
}

/// The same as [`harmless`], in one colour.
pub(super) fn without_colours(text: &str) -> String {
    let text = harmless(&text.replace('\t', " "));
    let mut out = String::with_capacity(text.len());
    let mut parts = text.split("\x1b[");
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push_str(part.split_once('m').map_or(part, |(_, behind)| behind));
    }
    out
}

/// The registry of Docker by the name that people know. Its API has another one, which stays where it is
/// part of a URL.
pub(super) fn spoken(text: &str) -> String {
    const API: &str = oci::Registry::DOCKER_HUB;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(API) {
        let (before, after) = rest.split_at(at);
        let behind = after.get(API.len()..).unwrap_or_default();
        let is_part = |it: char| it.is_ascii_alphanumeric() || matches!(it, '/' | '.' | '-' | '_');
        let in_host = |it: char| it.is_ascii_alphanumeric() || matches!(it, '-' | '_');
        // Another host, or another port; but a dot may end a sentence.
        let next = behind.strip_prefix(['.', ':']).unwrap_or(behind);
        let is_whole = !before.ends_with(is_part) && !next.starts_with(in_host);
        out.push_str(before);
        out.push_str(if is_whole { "docker.io" } else { API });
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// The same of a document: of the names of images and places in it. What stands deeper, a statement say, is
/// what somebody signed.
pub(super) fn spoken_json(text: &str) -> String {
    const NAMES: [&str; 9] = [
        "before",
        "destination",
        "from",
        "image",
        "index",
        "named",
        "place",
        "source",
        "to",
    ];
    let line = |line: &str| {
        let inner = line.trim_start();
        let is_name = |name: &&str| {
            let field = inner
                .strip_prefix('"')
                .and_then(|it| it.strip_prefix(*name));
            field.is_some_and(|it| it.starts_with("\": \""))
        };
        if line.len() - inner.len() <= 6 && NAMES.iter().any(is_name) {
            spoken(line)
        } else {
            line.to_owned()
        }
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Bytes for people.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    let mut tenths = bytes.saturating_mul(10);
    let mut unit = "B";
    for next in UNITS {
        if tenths < 10_000 {
            break;
        }
        tenths /= 1000;
        unit = next;
    }
    if unit == "B" {
        format!("{bytes} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// So many of something, in English: `1 package`, `2 packages`.
pub(crate) fn counted(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {what}{ending}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(999), "999 B");
        assert_eq!(size(1000), "1.0 kB");
        assert_eq!(size(1_250_000), "1.2 MB");
        assert_eq!(size(u64::MAX), "1844674.4 TB");
    }

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(0, "layer"), "0 layers");
        assert_eq!(counted(1, "layer"), "1 layer");
        assert_eq!(counted(2, "layer"), "2 layers");
    }

    #[test]
    fn dockers_registry_has_the_name_that_people_know() {
        for (text, expected) in [
            (
                "`index.docker.io/library/app` is",
                "`docker.io/library/app` is",
            ),
            ("index.docker.io, index.docker.io", "docker.io, docker.io"),
            ("https://index.docker.io/v1/", "https://index.docker.io/v1/"),
            ("my-index.docker.io", "my-index.docker.io"),
            (
                "index.docker.io.evil.example/app",
                "index.docker.io.evil.example/app",
            ),
            ("index.docker.io:5000/app", "index.docker.io:5000/app"),
            ("from index.docker.io.", "from docker.io."),
            ("nothing", "nothing"),
        ] {
            assert_eq!(spoken(text), expected);
        }
    }

    #[test]
    fn strangers_cannot_drive_the_terminal() {
        assert_eq!(harmless("a\x1b[2Jb\rc\x07"), "a\\u{1b}[2Jb\\rc\\u{7}");
        assert_eq!(harmless("\x1b[1;31mred\x1b[0m\n"), "\x1b[1;31mred\x1b[0m\n");
        assert_eq!(harmless("\x1b[1;31"), "\\u{1b}[1;31");
        assert_eq!(harmless("\u{9b}2J"), "\\u{9b}2J");
        assert_eq!(without_colours("\x1b[1;31mred\x1b[0m\ta"), "red a");
        assert_eq!(without_colours("\x1b[2Ja"), "\\u{1b}[2Ja");
    }
}
