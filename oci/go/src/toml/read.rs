//! Reads TOML as BurntSushi/toml 1.6 does, which upstream's lifecycle reads with.
//!
//! It takes what that takes (TOML 1.1, names of fields in any letters), refuses what that refuses,
//! and says so in the same words: `toml: line 3 (last key "group.id"): incompatible types: …`.
//! Platforms match these. What it does not do: keep comments, or the order of keys.

mod dates;
mod decode;
mod lexer;
mod parser;
mod scalar;
mod value;

use serde::de::DeserializeOwned;

pub(super) use crate::words::quoted_char;

/// The deepest that arrays and inline tables may stand in one another.
const MAX_DEPTH: usize = 100;

/// What is wrong with a TOML text, and where, in upstream's words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{text}")]
#[non_exhaustive]
pub struct TomlError {
    /// Line, key and cause.
    pub text: String,
}

/// Reads a `T` from a TOML text.
pub fn from_bytes<T: DeserializeOwned>(text: &[u8]) -> Result<T, TomlError> {
    let document = parser::parse(text)?;
    decode::decode(document)
}

/// Go's `%q` of a string.
pub(super) fn quoted(text: &str) -> String {
    crate::words::quoted(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn table(text: &str) -> Result<toml::Table, String> {
        from_bytes(text.as_bytes()).map_err(|error| error.text)
    }

    fn error(text: &str) -> String {
        table(text).expect_err("the text is bad")
    }

    #[test]
    fn good_text_is_what_the_toml_crate_reads() {
        for text in [
            "a = 1\nb = -0.5e3 # c\nc = true\n[d]\n\"e f\" = 'x'\n[[g]]\nh = [1, \"2\", {i = 3}]\n[[g]]\n[g.x]\ny = 1\n",
            "a.b.c = 1\na.b.d = 0xff\na.e = 1_000\n",
            "s = \"\"\"\n a\\\n   b \"\" c\"\"\"\"\"\nr = '''\nx'y'''\nu = \"\\u00e9\\n\\\\\"\n",
            "d = 1979-05-27T07:32:00Z\ne = 1979-05-27 07:32:00.5\nf = 1979-05-27\ng = 07:32:00\nh = 1979-05-27T00:32:00-07:00\n",
            "x = [\n 1, # one\n 2,\n]\ny = {a = {b = [ [ {c = 1} ] ]}}\n[t]\n[t.u.v]\n[t.u]\nz = []\n",
            "f = 1e6\ni = inf\no = 0o17\nb = 0b11\n",
        ] {
            let expected: toml::Table = toml::from_str(text).unwrap();
            assert_eq!(table(text).unwrap(), expected, "{text}");
        }
        assert!(
            table("n = nan\n").unwrap()["n"]
                .as_float()
                .unwrap()
                .is_nan()
        );
    }

    #[test]
    fn what_toml_1_1_added_is_read() {
        let read = table(
            "\u{feff}a = {\n b = 1,\n}\ns = \"\\e\\x41\"\nt = 07:32\nz = 1979-05-27t07:32z\n",
        )
        .unwrap();
        assert_eq!(read["a"]["b"].as_integer(), Some(1));
        assert_eq!(read["s"].as_str(), Some("\u{1b}A"));
        assert_eq!(read["t"].to_string(), "07:32:00");
        assert_eq!(read["z"].to_string(), "1979-05-27T07:32:00Z");
    }

    #[test]
    fn errors_of_syntax_are_upstreams() {
        for (text, expected) in [
            (
                "I am a bad group.toml",
                "line 1: expected '.' or '=', but got 'a' instead",
            ),
            (
                "x = 1\na\n",
                "line 2: expected '.' or '=', but got '\\n' instead",
            ),
            (
                "[[x\n",
                "line 2: expected '.' or ']' to end table name, but got '\\n' instead",
            ),
            (
                "[x",
                "line 1: expected '.' or ']' to end table name, but got '\\x00' instead",
            ),
            ("= 1\n", "line 1: unexpected '=': key name appears blank"),
            (
                "[a]\nb = \n",
                "line 2 (last key \"a.b\"): expected value but found '\\n' instead",
            ),
            (
                "a = 01\n",
                "line 1 (last key \"a\"): Invalid integer \"01\": cannot have leading zeroes",
            ),
            (
                "a = 1__0\n",
                "line 1 (last key \"a\"): Invalid integer \"1__0\": underscores must be surrounded by digits",
            ),
            (
                "a = 9223372036854775808\n",
                "line 1 (last key \"a\"): 9223372036854775808 is out of range for int64",
            ),
            (
                "a = 1.\n",
                "line 1 (last key \"a\"): Invalid float \"1.\": '.' must be followed by one or more digits",
            ),
            (
                "a = 1979-13-01\n",
                "line 1 (last key \"a\"): invalid datetime: \"1979-13-01\"",
            ),
            (
                "a = nope\n",
                "line 1 (last key \"a\"): expected value but found \"nope\" instead",
            ),
            (
                "a = \"\\q\"\n",
                "line 1 (last key \"a\"): invalid escape in string '\\q'",
            ),
            (
                "a = \"b\n",
                "line 1 (last key \"a\"): strings cannot contain newlines",
            ),
            (
                "a = 1\na = 2\n",
                "line 2 (last key \"a\"): Key 'a' has already been defined.",
            ),
            ("[a]\n[a]\n", "line 2: Key 'a' has already been defined."),
            (
                "a = 1\n[a.b]\n",
                "line 2: Key 'a' was already created as a hash.",
            ),
            (
                "[a]\n[[a]]\n",
                "line 2: Key 'a' was already created and cannot be used as an array.",
            ),
            (
                "a = 1\na.b = 2\n",
                "line 2 (last key \"a.b\"): Key 'a' has already been defined.",
            ),
            (
                "a = [1 2]\n",
                "line 1 (last key \"a\"): expected a comma (',') or array terminator (']'), but got '2'",
            ),
            (
                "a = {b = 1 c = 2}\n",
                "line 1 (last key \"a.b\"): expected a comma or an inline table terminator '}', but got 'c' instead",
            ),
            (
                "a = \"\u{1}\"\n",
                "line 1 (last key \"a\"): TOML files cannot contain control characters: '0x01'",
            ),
            (
                "a = 1 2\n",
                "line 1: expected a top-level item to end with a newline, comment, or EOF, but got '2' instead",
            ),
        ] {
            assert_eq!(error(text), format!("toml: {expected}"), "{text:?}");
        }
        let bytes = from_bytes::<toml::Table>(b"a = \"\xff\"\n").unwrap_err();
        assert_eq!(
            bytes.text,
            "toml: line 1 (last key \"a\"): invalid UTF-8 byte: 0xff"
        );
    }

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(default, rename_all = "kebab-case")]
    struct Inner {
        long_name: String,
        flag: bool,
        list: Vec<String>,
    }

    #[derive(Debug, Default, serde::Deserialize)]
    #[serde(default)]
    struct Outer {
        inner: Inner,
        many: Vec<Inner>,
        map: BTreeMap<String, String>,
    }

    #[test]
    fn names_of_fields_come_in_any_letters() {
        let read: Outer = from_bytes(
            b"[INNER]\nLong-Name = \"x\"\nlong-NAME = \"y\"\nother = 1\n[[Many]]\nflag = true\n",
        )
        .unwrap();
        assert!(read.inner.long_name == "x" || read.inner.long_name == "y");
        assert!(read.many[0].flag);
        // The field's own letters count, wherever they stand.
        for text in [
            "[INNER]\nlong-name = \"a\"\n[inner]\nlong-name = \"b\"\n",
            "[inner]\nlong-name = \"b\"\n[iNNER]\nlong-name = \"a\"\n",
            "[inner]\nLONG-NAME = \"a\"\nlong-name = \"b\"\nlonG-name = \"c\"\n",
        ] {
            let read: Outer = from_bytes(text.as_bytes()).unwrap();
            assert_eq!(read.inner.long_name, "b", "{text}");
        }
    }

    #[test]
    fn errors_of_types_are_upstreams() {
        for (text, expected) in [
            (
                "[inner]\nlong-name = 1\n",
                "toml: line 2 (last key \"inner.long-name\"): incompatible types: TOML value has type int64; destination has type string",
            ),
            (
                "[[many]]\nflag = 'x'\n[[many]]\nflag = true\n",
                "toml: line 4 (last key \"many.flag\"): incompatible types: TOML value has type string; destination has type boolean",
            ),
            (
                "many = 1.5\n",
                "toml: line 1 (last key \"many\"): incompatible types: TOML value has type float64; destination has type slice",
            ),
            (
                "[many]\n",
                "toml: line 1 (last key \"many\"): incompatible types: TOML value has type map[string]any; destination has type slice",
            ),
            (
                "[map]\na = 1979-05-27\n",
                "toml: line 2 (last key \"map.a\"): incompatible types: TOML value has type time.Time; destination has type string",
            ),
            (
                "[inner]\nlist = [1]\n",
                "toml: line 2 (last key \"inner.list\"): incompatible types: TOML value has type int64; destination has type string",
            ),
        ] {
            let error = from_bytes::<Outer>(text.as_bytes()).unwrap_err();
            assert_eq!(error.text, expected, "{text:?}");
        }
    }

    #[test]
    fn hostile_text_does_not_panic() {
        let deep = format!("a = {}", "[".repeat(100_000));
        assert!(error(&deep).contains("too deep"));
        for key in [
            format!("[{}a]", "a.".repeat(20_000)),
            format!("{}a = 1", "a.".repeat(20_000)),
            format!("a = {}", "{b.c = ".repeat(60)),
        ] {
            assert!(error(&key).contains("too deep"));
        }
        let long = format!("[{}]\n", "a".repeat(1 << 20));
        let keys: Vec<_> = (0..1000).map(|it| format!("k{it} = 1\n")).collect();
        assert!(error(&(long + &keys.concat())).contains("the names of keys"));
        for text in [
            "\u{e9}",
            "[\u{e9}",
            "\n\n=",
            "[[",
            "a",
            "a.",
            "\"",
            "\n",
            "a = \n",
            "a =",
            "x\u{1}y",
            "a = 0x",
            "a = +",
            "a = \"\\u12",
            "[a]]",
            "a = '''",
            "a = \"\"\"\\",
            "\0",
            "a = 1e",
            "a = 1979-",
            "a = {",
            "a = [,",
            "'' = 1\n'' = 2",
            "[\"\"]\n[\"\"]",
        ] {
            if let Err(text) = table(text) {
                assert!(text.starts_with("toml: line "), "{text}");
            }
        }
    }
}
