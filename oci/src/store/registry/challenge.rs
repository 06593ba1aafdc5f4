//! What a registry asks for in `WWW-Authenticate`.

/// What a registry asks for in `WWW-Authenticate`.
///
/// <https://distribution.github.io/distribution/spec/auth/token/>
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Challenge {
    /// A name and a password with each request.
    Basic,
    /// A token, to be had from a server.
    Bearer {
        /// The address of the server.
        realm: String,
        /// What the registry is called there.
        service: Option<String>,
        /// What the token has to allow, in the words of that server.
        scope: Option<String>,
    },
}

/// The longest header that is read.
const MAX_LEN: usize = 8 << 10;

impl Challenge {
    /// Parses the values of all `WWW-Authenticate` headers of an answer; the strongest challenge
    /// that we can meet. Where a header is odd, that place is passed over: who is not understood is
    /// not given credentials, and then reads as if they were wrong.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1>
    pub fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut best = None;
        for scheme in headers.flat_map(parse_header) {
            if scheme.name.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = scheme.parameter("realm") {
                    return Some(Self::Bearer {
                        realm: realm.to_owned(),
                        service: scheme.parameter("service").map(str::to_owned),
                        scope: scheme.parameter("scope").map(str::to_owned),
                    });
                }
            } else if scheme.name.eq_ignore_ascii_case("basic") {
                best = Some(Self::Basic);
            }
        }
        best
    }
}

struct Scheme {
    name: String,
    parameters: Vec<(String, String)>,
}

impl Scheme {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(it, value)| it.eq_ignore_ascii_case(name) && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }
}

/// Parses one header, which may hold several challenges: commas stand both between challenges and
/// between the parameters of one.
fn parse_header(text: &str) -> Vec<Scheme> {
    let mut schemes: Vec<Scheme> = Vec::new();
    if text.len() > MAX_LEN {
        return schemes;
    }
    let mut rest = text;
    let mut begins = true;
    loop {
        let item = rest.trim_start_matches(is_between);
        let passed = rest.strip_suffix(item).unwrap_or_default();
        begins |= passed.contains(',');
        if item.is_empty() {
            return schemes;
        }
        let end = item.find(|c| !is_token(c)).unwrap_or(item.len());
        let (word, after) = item.split_at_checked(end).unwrap_or_default();
        let value = after.trim_start().strip_prefix('=');
        rest = match (value, schemes.last_mut()) {
            (Some(value), Some(scheme)) if !word.is_empty() => {
                let (value, after) = parameter_value(value.trim_start());
                if let Some(value) = value {
                    scheme.parameters.push((word.to_owned(), value));
                }
                after
            }
            // What follows a name without a comma is the bare text that some schemes have in place of
            // parameters, as `Negotiate` does, or a value whose quotes were forgotten.
            _ if begins && !word.is_empty() => {
                schemes.push(Scheme {
                    name: word.to_owned(),
                    parameters: Vec::new(),
                });
                after
            }
            _ => item.trim_start_matches(|c| !is_between(c)),
        };
        begins = false;
    }
}

fn is_between(c: char) -> bool {
    matches!(c, ',' | ';') || c.is_whitespace()
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// A value, in quotes of either kind or bare, and what follows it. Quotes that are never closed end
/// with the header. One with control characters is none.
fn parameter_value(text: &str) -> (Option<String>, &str) {
    let Some(quote) = text.chars().next().filter(|it| matches!(it, '"' | '\'')) else {
        let end = text.find(is_between).unwrap_or(text.len());
        let (value, after) = text.split_at_checked(end).unwrap_or_default();
        return (without_control(value.to_owned()), after);
    };
    let mut value = String::new();
    let mut chars = text.chars();
    chars.next();
    while let Some(c) = chars.next() {
        match c {
            c if c == quote => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (without_control(value), chars.as_str())
}

fn without_control(value: String) -> Option<String> {
    (!value.contains(char::is_control)).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Option<Challenge> {
        Challenge::parse([text].into_iter())
    }

    fn bearer(realm: &str, service: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: None,
        }
    }

    #[test]
    fn real_challenges_parse() {
        assert_eq!(
            parse(
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull,push""#
            ),
            Some(Challenge::Bearer {
                realm: "https://auth.docker.io/token".to_owned(),
                service: Some("registry.docker.io".to_owned()),
                scope: Some("repository:library/x:pull,push".to_owned()),
            })
        );
        assert_eq!(
            parse(r#"Basic realm="Registry Realm""#),
            Some(Challenge::Basic)
        );
        assert_eq!(parse("Basic"), Some(Challenge::Basic));
        assert_eq!(
            parse(r#"bearer Realm = "https://a.example/t\"x""#),
            Some(bearer(r#"https://a.example/t"x"#, None))
        );
        assert_eq!(
            parse(r#"Negotiate dGVzdA==, Basic realm=x, Bearer realm="https://a.example""#),
            Some(bearer("https://a.example", None))
        );
        assert_eq!(
            Challenge::parse(["Negotiate", "Basic realm=\"x\""].into_iter()),
            Some(Challenge::Basic)
        );
    }

    #[test]
    fn an_odd_place_spoils_nothing_else() {
        for basic in [
            "Basic realm=My Registry",
            r#"Basic realm="My "own" registry""#,
            "Basic realm='My Registry'",
            r#"Basic realm="Régistré""#,
            r#"Basic realm="x"; charset=utf-8"#,
            r#"Basic realm="x"#,
            r#"Basic realm="x" junk"#,
            r#"Basic realm="x", realm="y""#,
            r#", Basic realm="x""#,
            "Basic realm=",
            "Basic =",
            r#"Basic "realm"="x""#,
        ] {
            assert_eq!(parse(basic), Some(Challenge::Basic), "{basic}");
        }
        let realm = "https://a.example/t";
        for (odd, service) in [
            (r#"realm="R" service="b""#, Some("b")),
            (r#"realm="R";service=b"#, Some("b")),
            (r#"service=,realm="R""#, None),
            (r#"error=invalid:token,realm="R""#, None),
            (
                r#"error_description=not valid here,realm="R",service="b""#,
                Some("b"),
            ),
            (
                r#"realm="R",realm="https://evil.example",service="b""#,
                Some("b"),
            ),
            ("realm='R', service='b c'", Some("b c")),
            ("realm=R,service=b", Some("b")),
            (r#"realm="R" junk=,service="b""#, Some("b")),
            (r#"realm="R",="b""#, None),
            ("realm=\"R\",service=\"a\u{0}\"", None),
            (r#"realm="R"#, None),
        ] {
            let text = format!("Bearer {}", odd.replace('R', realm));
            assert_eq!(parse(&text), Some(bearer(realm, service)), "{text}");
        }
    }

    #[test]
    fn what_names_no_scheme_counts_for_nothing() {
        for bad in [
            "",
            ",",
            "Bearer",
            "Bearer realm=\"https://a.example\u{0}\"",
            "Bearer realm=\"https://a.example\\\u{2}\"",
            "Bearer realm=",
            r#"Bearer realm="""#,
            "Digest realm=\"x\"",
            "Digest realm=a Basic",
            r#"Digest realm="a, Basic""#,
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        let long = |len| format!("Bearer realm=\"https://a.example/{}\"", "x".repeat(len));
        assert!(parse(&long(MAX_LEN - 100)).is_some());
        assert_eq!(parse(&long(MAX_LEN)), None);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,200}") {
            parse(&text);
        }

        #[test]
        fn no_text_near_a_challenge_panics(text in r#"(Bearer|Basic|realm|service|[=;,"' \\a~é])*"#) {
            parse(&text);
        }
    }
}
