//! The next page of a listing.

use net::address;
use url::{Position, Url};

/// The address of the next page, from all `Link` headers of the page at `page`.
///
/// Only one of the same origin is followed, and none with a name or password in it: a listing must
/// not send us, or our credentials, elsewhere, nor say who we are. Headers that cannot be understood
/// are an error, and never the end of the list: what is lost with a page might be a signature.
///
/// <https://www.rfc-editor.org/rfc/rfc8288>
pub(crate) fn next_page<'a>(
    page: &Url,
    headers: impl Iterator<Item = &'a [u8]>,
) -> Result<Option<Url>, String> {
    let mut links = Vec::new();
    for header in headers {
        let header = String::from_utf8_lossy(header);
        links.extend(parse(&header).ok_or_else(|| {
            let header: String = header.escape_debug().take(200).collect();
            format!("the `Link` of a listing cannot be understood: `{header}`")
        })?);
    }
    let Some(target) = next_target(&links)? else {
        return Ok(None);
    };
    if target.contains(char::REPLACEMENT_CHARACTER) {
        return Err("the address of the next page of a listing is no text".to_owned());
    }
    let next = address::join(page, target)
        .map_err(|error| format!("the next page of a listing is at no address: {error}"))?;
    // Asked for again and again, it would be the same.
    if next[..Position::AfterQuery] == page[..Position::AfterQuery] {
        return Err("the next page of a listing is the page itself".to_owned());
    }
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

#[derive(Debug)]
struct Link {
    target: String,
    /// What it is to the page, if that is said.
    relations: Option<String>,
}

/// The target of the first link whose relation is `next`. Some registries say of their only link no
/// relation at all, as there is none but the next page.
fn next_target(links: &[Link]) -> Result<Option<&str>, String> {
    let is_next = |it: &&Link| {
        it.relations.as_ref().is_some_and(|relations| {
            let mut relations = relations.split_ascii_whitespace();
            relations.any(|it| it.eq_ignore_ascii_case("next"))
        })
    };
    match links {
        links if links.iter().any(|it| is_next(&it)) => {
            Ok(links.iter().find(is_next).map(|it| &*it.target))
        }
        [only] if only.relations.is_none() => Ok(Some(&only.target)),
        links if links.iter().any(|it| it.relations.is_none()) => {
            Err("which of its links is the next page of a listing is not said".to_owned())
        }
        _ => Ok(None),
    }
}

/// The links of a header; `None` if it is not made of links.
fn parse(header: &str) -> Option<Vec<Link>> {
    let between = |c: char| c == ',' || c.is_whitespace();
    let mut links = Vec::new();
    let mut rest = header.trim_start_matches(between);
    while !rest.is_empty() {
        let (target, mut after) = rest.strip_prefix('<')?.split_once('>')?;
        let mut relations = None;
        loop {
            after = after.trim_start();
            let Some(parameter) = after.strip_prefix(';') else {
                break;
            };
            let end = parameter.find(['=', ';', ',']).unwrap_or(parameter.len());
            let (name, value) = parameter.split_at_checked(end)?;
            let Some(value) = value.strip_prefix('=') else {
                after = value;
                continue;
            };
            let (value, following) = parameter_value(value.trim_start())?;
            // Of several the first counts.
            if name.trim().eq_ignore_ascii_case("rel") && !value.trim().is_empty() {
                relations.get_or_insert(value);
            }
            after = following;
        }
        links.push(Link {
            target: target.trim().to_owned(),
            relations,
        });
        if !after.is_empty() && !after.starts_with(',') {
            return None;
        }
        rest = after.trim_start_matches(between);
    }
    Some(links)
}

/// A value, in quotes of either kind or bare, and what follows it. Quotes that are never closed end
/// with the header.
fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quote) = text.chars().next().filter(|it| matches!(it, '"' | '\'')) else {
        let (value, after) = text.split_at_checked(text.find([';', ',']).unwrap_or(text.len()))?;
        return Some((value.trim().to_owned(), after));
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
    Some((value, chars.as_str()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn next(header: &str) -> Result<Option<String>, String> {
        let page = Url::parse("https://r.example:5000/v2/app/tags/list?n=2").unwrap();
        Ok(next_page(&page, [header.as_bytes()].into_iter())?.map(Into::into))
    }

    #[test]
    fn the_next_page_is_found() {
        let expected = Ok(Some(
            "https://r.example:5000/v2/app/tags/list?last=b".to_owned(),
        ));
        for header in [
            r#"</v2/app/tags/list?last=b>; rel="next""#,
            "</v2/app/tags/list?last=b>;rel=next",
            "</v2/app/tags/list?last=b>; rel='next'",
            "</v2/app/tags/list?last=b>",
            r#"</v2/app/tags/list?last=b>; title="n""#,
            "</v2/app/tags/list?last=b>; rel=",
            r#"</v2/app/tags/list?last=b>; title="a\"b"; rel="next""#,
            r#"</v2/app/tags/list?last=b>; title="Ü"; rel="next";"#,
            r#"</v2/app/tags/list?last=b>; title="it's"; crossorigin; rel="next"#,
            r#"<https://r.example:5000/v2/app/tags/list?last=b>; title="a,b"; Rel="prev next""#,
            r#"</v2/first>; rel="first", </v2/app/tags/list?last=b>; rel="next""#,
            r#" , < /v2/app/tags/list?last=b > ; rel = "next" , </x> ; rel="last" "#,
            // Who stands behind a proxy does not know that it is asked by HTTPS.
            r#"<http://r.example:5000/v2/app/tags/list?last=b>; rel="next""#,
            r#"<http://r.example/v2/app/tags/list?last=b>; rel="next""#,
        ] {
            assert_eq!(next(header), expected, "{header}");
        }
        let page = Url::parse("https://r.example/v2/app/tags/list").unwrap();
        let latin: &[&[u8]] = &[
            b"</x>; rel=prev; title=\"\xdc\"",
            b"</y>; title=\"\xdc\"; rel=next",
        ];
        let found = next_page(&page, latin.iter().copied()).unwrap();
        assert_eq!(found.unwrap().as_str(), "https://r.example/y");
        for header in [
            "",
            " ",
            ",",
            r#"</x>; rel="prev""#,
            "</x>; rel=prev; rel=next",
        ] {
            assert_eq!(next(header), Ok(None), "{header}");
        }
    }

    #[test]
    fn what_is_not_understood_is_no_end_of_the_list() {
        for header in [
            "<",
            "</x",
            r#"/x; rel="next""#,
            r#"</x>; title="a" b"; rel="next""#,
            r#"</x> rel="next""#,
            "</x>, </y>",
            "</x>; rel=prev, </y>",
            "next",
            "<>; rel=next",
            "<?n=2>; rel=next",
            "<#more>; rel=next",
        ] {
            assert!(next(header).is_err(), "{header}");
        }
        let page = Url::parse("https://r.example/v2/").unwrap();
        let header: &[u8] = b"</\xff>; rel=next";
        assert!(next_page(&page, [header].into_iter()).is_err());
    }

    #[test]
    fn another_server_is_refused() {
        for target in [
            "https://evil.example/x",
            "//evil.example/x",
            "https://r.example/x",
            "http://r.example:5001/x",
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
        fn no_header_panics(header in r#"([<>;,"'\\= é]|rel|next|/x)*"#) {
            drop(next(&header));
        }
    }
}
