//! `Link` of a listing: the next page is of the same origin, and brings no credentials of its own.

use oci::fuzzing::next_page;
use url::Url;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "link",
    run,
    seeds,
    words: &[
        "<",
        ">;",
        "rel=",
        "rel=\"next\"",
        "REL=next",
        "title=",
        "http://",
        "https://",
        "//r.example:5000",
        "r.example:5000/v2/",
        "me:hunter2@",
        "?last=",
        "\\",
        "%40",
    ],
    short: 20_000,
};

fn seeds() -> Vec<Vec<u8>> {
    [
        r#"</v2/app/tags/list?last=b>; rel="next""#,
        "</v2/app/tags/list?last=b>;rel=next",
        r#"<https://r.example:5000/v2/app/tags/list?last=b>; title="a,b"; Rel="prev next""#,
        r#"</v2/first>; rel="first", <?last=b>; rel="next""#,
        r#"<//evil.example/v2/>; rel="next""#,
        r#"<https://me:hunter2@r.example:5000/v2/>; rel="next""#,
    ]
    .map(|it| it.as_bytes().to_vec())
    .into()
}

fn run(data: &[u8]) {
    let Ok(header) = std::str::from_utf8(data) else {
        return;
    };
    let page = Url::parse("https://r.example:5000/v2/app/tags/list?n=2").expect("is an address");
    if let Ok(Some(next)) = next_page(&page, header) {
        assert_eq!(next.scheme(), "https");
        assert_eq!(next.host_str(), Some("r.example"));
        assert_eq!(next.port(), Some(5000));
        assert_eq!((next.username(), next.password()), ("", None));
    }
}
