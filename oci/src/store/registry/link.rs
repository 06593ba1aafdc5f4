//! The next page of a listing.

use url::Url;

/// The address of the next page, from the `Link` header of the page at `page`.
///
/// Only one of the same origin is followed, and none with a name or password in it: a listing must
/// not send us, or our credentials, elsewhere, nor say who we are.
///
/// <https://www.rfc-editor.org/rfc/rfc8288>
pub(crate) fn next_page(page: &Url, header: &str) -> Result<Option<Url>, String> {
    let Some(target) = next_target(header) else {
        return Ok(None);
    };
    let next = page
        .join(target)
        .map_err(|error| format!("the next page of a listing is at no address: {error}"))?;
    // The origin of `blob:https://…` is that of the address in it.
    if next.origin() != page.origin() || next.scheme() != page.scheme() {
        return Err(format!(
            "the next page of a listing is on another server: `{}`",
            next.origin().ascii_serialization()
        ));
    }
    if !next.username().is_empty() || next.password().is_some() {
        return Err("the address of the next page of a listing has credentials in it".to_owned());
    }
    Ok(Some(next))
}

/// The target of the first link whose relation is `next`.
fn next_target(header: &str) -> Option<&str> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let (parameters, following) = split_parameters(after);
        if parameters.into_iter().any(is_next) {
            return Some(target.trim());
        }
        rest = following;
    }
    None
}

/// The parameters up to the next comma outside of quotes, and what follows it.
fn split_parameters(text: &str) -> (Vec<&str>, &str) {
    let mut parameters = Vec::new();
    let mut quoted = false;
    let mut start = 0;
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            ';' | ',' if !quoted => {
                parameters.extend(text.get(start..at));
                start = at + 1;
                if c == ',' {
                    return (parameters, text.get(start..).unwrap_or(""));
                }
            }
            _ => {}
        }
    }
    parameters.extend(text.get(start..));
    (parameters, "")
}

fn is_next(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, value)| {
        name.trim().eq_ignore_ascii_case("rel")
            && value
                .trim()
                .trim_matches('"')
                .split_ascii_whitespace()
                .any(|it| it.eq_ignore_ascii_case("next"))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn next(header: &str) -> Result<Option<String>, String> {
        let page = Url::parse("https://r.example:5000/v2/app/tags/list?n=2").unwrap();
        Ok(next_page(&page, header)?.map(Into::into))
    }

    #[test]
    fn the_next_page_is_found() {
        let expected = Ok(Some(
            "https://r.example:5000/v2/app/tags/list?last=b".to_owned(),
        ));
        for header in [
            r#"</v2/app/tags/list?last=b>; rel="next""#,
            "</v2/app/tags/list?last=b>;rel=next",
            r#"<https://r.example:5000/v2/app/tags/list?last=b>; title="a,b"; Rel="prev next""#,
            r#"</v2/first>; rel="first", </v2/app/tags/list?last=b>; rel="next""#,
        ] {
            assert_eq!(next(header), expected, "{header}");
        }
        for header in ["", "<", "</x", "</x>", r#"</x>; rel="prev""#] {
            assert_eq!(next(header), Ok(None), "{header}");
        }
    }

    #[test]
    fn another_server_is_refused() {
        for target in [
            "https://evil.example/x",
            "//evil.example/x",
            "http://r.example:5000/x",
            "https://r.example/x",
            "file:///etc/passwd",
            "blob:https://r.example:5000/x",
        ] {
            assert!(
                next(&format!(r#"<{target}>; rel="next""#)).is_err(),
                "{target}"
            );
        }
    }

    #[test]
    fn credentials_of_a_listing_are_refused() {
        for user in ["me", "me:hunter2", ":hunter2"] {
            let header = format!(r#"<https://{user}@r.example:5000/v2/>; rel="next""#);
            assert!(!next(&header).unwrap_err().contains("hunter2"), "{user}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(header in r#"([<>;,"= é]|rel|next|/x)*"#) {
            drop(next(&header));
        }
    }
}
