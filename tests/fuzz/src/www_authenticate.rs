//! `WWW-Authenticate`: one header a line. What was understood can be said again; a header that says
//! nothing changes nothing.

use oci::fuzzing::Challenge;

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "www_authenticate",
    run,
    seeds,
    words: &[
        "Bearer ",
        "Basic ",
        "Negotiate ",
        "realm=",
        "service=",
        "scope=",
        "=\"",
        "\",",
        "\\\"",
        "https://",
        "\n",
    ],
    short: 20_000,
};

fn seeds() -> Vec<Vec<u8>> {
    [
        r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/x:pull,push""#,
        r#"Basic realm="Registry Realm""#,
        r#"bearer Realm = "https://a.example/t\"x""#,
        r#"Negotiate dGVzdA==, Basic realm=x, Bearer realm="https://a.example""#,
        "Negotiate\nBasic realm=\"x\"\nBearer realm=https://a.example",
        r#"Bearer realm="https://a.example",realm="https://evil.example""#,
    ]
    .map(|it| it.as_bytes().to_vec())
    .into()
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let challenge = Challenge::parse(text.split('\n'));
    let around = ["Negotiate", "Bearer realm=\""];
    let padded = around.into_iter().chain(text.split('\n')).chain(around);
    assert_eq!(Challenge::parse(padded), challenge);
    if let Some(Challenge::Bearer {
        realm,
        service,
        scope,
        ..
    }) = &challenge
    {
        let quoted = |it: &str| it.replace('\\', r"\\").replace('"', r#"\""#);
        let mut said = format!(r#"bEARER rEALM="{}""#, quoted(realm));
        if let Some(service) = service {
            said = format!(r#"{said} , service="{}""#, quoted(service));
        }
        if let Some(scope) = scope {
            said = format!(r#"{said},scope="{}""#, quoted(scope));
        }
        if said.len() <= 8 << 10 {
            assert_eq!(Challenge::parse([said.as_str()].into_iter()), challenge);
        }
    }
}
