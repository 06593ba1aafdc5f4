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
    },
}

/// The longest header that is read.
const MAX_LEN: usize = 8 << 10;

impl Challenge {
    /// Parses the values of all `WWW-Authenticate` headers of an answer; the strongest challenge
    /// that we can meet. A header that is malformed anywhere counts for nothing.
    ///
    /// <https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1>
    pub fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut best = None;
        for scheme in headers.filter_map(parse_header).flatten() {
            if scheme.name.eq_ignore_ascii_case("bearer") {
                if let Some(realm) = scheme.parameter("realm") {
                    return Some(Self::Bearer {
                        realm: realm.to_owned(),
                        service: scheme.parameter("service").map(str::to_owned),
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
            .find(|(it, _)| it.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// Parses one header, which may hold several challenges: commas stand both between challenges and
/// between the parameters of one.
fn parse_header(text: &str) -> Option<Vec<Scheme>> {
    if text.len() > MAX_LEN {
        return None;
    }
    let mut schemes: Vec<Scheme> = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (word, after) = token(rest)?;
        let spaced = after.trim_start();
        if let (Some(value), Some(scheme)) = (spaced.strip_prefix('='), schemes.last_mut()) {
            let (value, after) = parameter_value(value.trim_start())?;
            if scheme.parameter(word).is_some() {
                // Which of two would hold is anybody's guess.
                return None;
            }
            scheme.parameters.push((word.to_owned(), value));
            rest = next_item(after)?;
        } else if spaced.len() < after.len() && !spaced.starts_with(',') && !spaced.is_empty() {
            schemes.push(Scheme {
                name: word.to_owned(),
                parameters: Vec::new(),
            });
            rest = skip_token68(spaced)?;
        } else {
            schemes.push(Scheme {
                name: word.to_owned(),
                parameters: Vec::new(),
            });
            rest = next_item(spaced)?;
        }
    }
    Some(schemes)
}

/// A scheme may bring one bare text in place of parameters, as `Negotiate` does; it is skipped.
fn skip_token68(text: &str) -> Option<&str> {
    let end = text.find([',', ' ', '\t', '"']).unwrap_or(text.len());
    let (word, after) = text.split_at_checked(end)?;
    let is_parameter = word.trim_end_matches('=').contains('=')
        || after.starts_with('"')
        || after.trim_start().starts_with('=');
    if is_parameter {
        Some(text)
    } else {
        next_item(after)
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let end = text.find(|c| !is_token(c)).unwrap_or(text.len());
    if end == 0 {
        return None;
    }
    text.split_at_checked(end)
}

fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(value, after)| (value.to_owned(), after));
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next().filter(|it| !it.is_control())?),
            c if c.is_control() => return None,
            c => value.push(c),
        }
    }
}

/// After an item: the end, or a comma and what follows it.
fn next_item(text: &str) -> Option<&str> {
    let text = text.trim_start();
    if text.is_empty() {
        return Some(text);
    }
    text.strip_prefix(',')
        .map(|it| it.trim_start_matches([',', ' ', '\t']))
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
        }
    }

    #[test]
    fn real_challenges_parse() {
        assert_eq!(
            parse(
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull,push""#
            ),
            Some(bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io")
            ))
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
    fn malformed_challenges_count_for_nothing() {
        for bad in [
            "",
            ",",
            "Bearer",
            r#"Bearer realm="https://a.example"#,
            r#"Bearer realm="https://a.example" junk="#,
            r#"Bearer realm="https://a.example",realm="https://evil.example""#,
            "Bearer realm=\"https://a.example\u{0}\"",
            "Bearer realm=\"https://a.example\\\u{2}\"",
            r#"Bearer realm="a" service="b""#,
            "Bearer realm=",
            r#"Bearer realm="https://a.example",="b""#,
            "Digest realm=\"x\"",
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
        fn no_text_near_a_challenge_panics(text in r#"(Bearer|Basic|realm|service|[=," \\a~])*"#) {
            parse(&text);
        }
    }
}
