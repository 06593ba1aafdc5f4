//! Answers that are odd around content that is right, at random: what crane and oras can read of them is read,
//! and what is read is the content. Nothing goes on without end.

use std::sync::Arc;

use bytes::Bytes;
use oci::Digest;
use testkit::{Asked, Output, Reply, Scripted, Workspace, binary, peer, skipped};

use super::{blob, content, manifest};
use crate::odd::Chance;

/// How many servers there are.
const CASES: u64 = 60;

/// What a server has.
struct Image {
    config: Bytes,
    layer: Bytes,
    manifest: Bytes,
    digest: Digest,
}

impl Image {
    fn new() -> Self {
        let layer = content(5000);
        let (target, manifest) = manifest(&blob(&layer), None, "application/x.a");
        Self {
            config: Bytes::from_static(b"{}"),
            layer,
            manifest,
            digest: target.digest,
        }
    }

    fn blob(&self, path: &str) -> Option<&Bytes> {
        let is_asked = |it: &&Bytes| path.ends_with(Digest::of(it).as_str());
        [&self.config, &self.layer].into_iter().find(is_asked)
    }
}

/// One way or another.
fn one_of<'a>(ways: &[&'a str], chance: &mut Chance) -> &'a str {
    ways[chance.below(ways.len())]
}

/// How a server answers: the same each time that it is asked the same.
#[derive(Clone, Debug)]
struct Ways {
    content_type: &'static str,
    digest: &'static str,
    head: &'static str,
    blob: &'static str,
    redirect: &'static str,
    challenge: &'static str,
    link: &'static str,
}

impl Ways {
    fn of(chance: &mut Chance) -> Self {
        // Most of it is as it should be, or nobody would ever get far.
        let mut odd = |usual: &'static str, others: &[&'static str]| {
            if chance.once_in(3) {
                one_of(others, chance)
            } else {
                usual
            }
        };
        Self {
            content_type: odd(
                "application/vnd.oci.image.manifest.v1+json",
                &[
                    "application/vnd.oci.image.manifest.v1+json; charset=utf-8",
                    "application/vnd.oci.image.manifest.v1+json;charset=\"utf-8\" ; x=y",
                    "Application/vnd.OCI.image.manifest.v1+JSON",
                    "application/json",
                    "text/html",
                    "text/plain; charset=utf-8",
                    "",
                ],
            ),
            digest: odd(
                "right",
                &[
                    "wrong", "none", "sha512", "capitals", "odd", "blank", "twice",
                ],
            ),
            head: odd(
                "right",
                &["404", "405", "501", "longer", "empty", "other type"],
            ),
            blob: odd(
                "right",
                &[
                    "206",
                    "206 of a part",
                    "unsized",
                    "longer",
                    "shorter",
                    "201",
                    "203",
                ],
            ),
            redirect: odd(
                "none",
                &[
                    "once",
                    "thrice",
                    "for ever",
                    "user",
                    "file",
                    "ftp",
                    "empty",
                    "fragment",
                    "303",
                    "302 without",
                ],
            ),
            challenge: odd(
                "none",
                &[
                    r#"Bearer realm="REALM",service="s""#,
                    r#"Basic realm="x", Bearer realm="REALM",service="s",scope="repository:team/app:pull""#,
                    r#"Negotiate, Bearer realm="REALM", service=s"#,
                    r#"bearer Realm="REALM",error="invalid_token",service="a\"b,c""#,
                    r#"Bearer realm=REALM,service="""#,
                    r#"Bearer  realm = "REALM" , service = "s""#,
                    r#"Bearer realm="REALM",,service="s","#,
                ],
            ),
            link: odd(
                "none",
                &[
                    "next",
                    "itself",
                    "itself with a fragment",
                    "elsewhere",
                    "file",
                    "user",
                    "broken",
                    "two",
                ],
            ),
        }
    }

    fn answer(&self, image: &Image, asked: &Asked) -> Reply {
        let (method, path) = asked.line.split_once(' ').unwrap_or_default();
        let host = asked.headers.get("host").cloned().unwrap_or_default();
        if path.starts_with("/token") {
            return Reply::new(200).body(r#"{"token":"t"}"#);
        }
        if self.challenge != "none"
            && asked.headers.get("authorization").map(String::as_str) != Some("Bearer t")
        {
            let realm = format!("http://{host}/token");
            let challenge = self.challenge.replace("REALM", &realm);
            return Reply::new(401)
                .header(format!("WWW-Authenticate: {challenge}"))
                .body("");
        }
        if path.contains("/manifests/") {
            self.manifest(image, method, path)
        } else if path.contains("/blobs/") {
            self.blob(image, method, path)
        } else if path.contains("/tags/list") {
            self.tags(&host, path)
        } else if path == "/v2/" {
            Reply::new(200).body("{}")
        } else {
            Reply::new(404).body("")
        }
    }

    fn manifest(&self, image: &Image, method: &str, path: &str) -> Reply {
        if !path.ends_with("/v1") && !path.ends_with(image.digest.as_str()) {
            return Reply::new(404).body("");
        }
        let (size, kind) = match (method, self.head) {
            ("HEAD", "404") => return Reply::new(404).body(""),
            ("HEAD", "405") => return Reply::new(405).body(""),
            ("HEAD", "501") => return Reply::new(501).body(""),
            ("HEAD", "longer") => (image.manifest.len() + 7, self.content_type),
            ("HEAD", "empty") => (0, self.content_type),
            ("HEAD", "other type") => (
                image.manifest.len(),
                "application/vnd.oci.image.index.v1+json",
            ),
            _ => (image.manifest.len(), self.content_type),
        };
        let reply = Reply::new(200).header(format!("Content-Length: {size}"));
        let reply = if kind.is_empty() {
            reply
        } else {
            reply.header(format!("Content-Type: {kind}"))
        };
        let hex = image.digest.hex();
        let own = format!("Docker-Content-Digest: sha256:{hex}");
        let reply = match self.digest {
            "right" => reply.header(own),
            "wrong" => reply.header(format!("Docker-Content-Digest: {}", Digest::of(b"other"))),
            "sha512" => reply.header(format!("Docker-Content-Digest: sha512:{}", hex.repeat(2))),
            "capitals" => reply.header(format!(
                "Docker-Content-Digest: sha256:{}",
                hex.to_uppercase()
            )),
            "odd" => reply.header("Docker-Content-Digest: \"sha256:x\""),
            "blank" => reply.header("Docker-Content-Digest:"),
            "twice" => reply.header(&own).header(&own),
            _ => reply,
        };
        if method == "HEAD" {
            reply
        } else {
            reply.unsized_body(image.manifest.clone())
        }
    }

    fn blob(&self, image: &Image, method: &str, path: &str) -> Reply {
        let (path, hops) = match path.split_once('?') {
            Some((path, query)) => (path, query.len()),
            None => (path, 0),
        };
        let Some(bytes) = image.blob(path) else {
            return Reply::new(404).body("");
        };
        if method == "HEAD" {
            return Reply::new(200).header(format!("Content-Length: {}", bytes.len()));
        }
        let to = |address: String| {
            Reply::new(307)
                .header(format!("Location: {address}"))
                .body("")
        };
        match self.redirect {
            "once" if hops == 0 => return to(format!("{path}?1")),
            "thrice" if hops < 3 => return to(format!("{path}?{}", "1".repeat(hops + 1))),
            "for ever" => return to(format!("{path}?1")),
            "user" if hops == 0 => return to(format!("{path}?1")).header("X-User: me"),
            "file" => return to("file:///etc/passwd".to_owned()),
            "ftp" => return to("ftp://127.0.0.1/x".to_owned()),
            "empty" => return to(String::new()),
            "fragment" if hops == 0 => return to(format!("{path}?1#x")),
            "303" if hops == 0 => {
                return Reply::new(303)
                    .header(format!("Location: {path}?1"))
                    .body("");
            }
            "302 without" => return Reply::new(302).body(""),
            _ => {}
        }
        let all = bytes.len();
        match self.blob {
            "206" => Reply::new(206)
                .header(format!("Content-Range: bytes 0-{}/{all}", all - 1))
                .body(bytes.clone()),
            "206 of a part" => Reply::new(206)
                .header(format!("Content-Range: bytes 0-0/{all}"))
                .body(bytes.slice(..1)),
            "unsized" => Reply::new(200).unsized_body(bytes.clone()),
            "longer" => Reply::new(200).body([&**bytes, b"x"].concat()),
            "shorter" => Reply::new(200).body(bytes.slice(1..)),
            "201" => Reply::new(201).body(bytes.clone()),
            "203" => Reply::new(203).body(bytes.clone()),
            _ => Reply::new(200).body(bytes.clone()),
        }
    }

    fn tags(&self, host: &str, path: &str) -> Reply {
        let last = path.rsplit_once("page=").map_or("0", |(_, it)| it);
        let page: u64 = last.parse().unwrap_or_default();
        let list = format!(r#"{{"name":"team/app","tags":["v{page}"]}}"#);
        let next = "/v2/team/app/tags/list?page=1";
        let link = match self.link {
            "next" if page == 0 => format!("<{next}>; rel=\"next\""),
            "itself" => format!("<{path}>; rel=\"next\""),
            "itself with a fragment" => format!("<{path}#x>; rel=\"next\""),
            "elsewhere" => {
                "<http://elsewhere.invalid/v2/team/app/tags/list>; rel=\"next\"".to_owned()
            }
            "file" => "<file:///etc/passwd>; rel=\"next\"".to_owned(),
            "user" => format!("<http://me:hunter2@{host}{next}>; rel=\"next\""),
            "broken" => format!("<{next}; rel=\"next\""),
            "two" if page == 0 => format!("</x>; rel=\"first\", <{next}>; rel=\"next\""),
            _ => return Reply::new(200).body(list),
        };
        Reply::new(200).header(format!("Link: {link}")).body(list)
    }
}

/// What `sealpack` says, which must not take for ever.
fn in_time(workspace: &Workspace, arguments: &[&str]) -> Output {
    let mut command = workspace.command("timeout");
    command.arg("60").arg(binary("sealpack")).args(arguments);
    let output = Output::of(&mut command);
    assert_ne!(output.code, 124, "{arguments:?} took too long");
    output
}

/// What crane and oras make of it; only those that are there.
fn others(workspace: &Workspace, at: u64, host: &str) -> Vec<(&'static str, bool)> {
    let image = format!("{host}/team/app:v1");
    let to = |who: &str| workspace.join(format!("{who}-{at}")).display().to_string();
    let tools: [(&'static str, Vec<String>); 2] = [
        (
            "crane",
            vec![
                "pull".into(),
                "--format=oci".into(),
                image.clone(),
                to("crane"),
            ],
        ),
        (
            "oras",
            [
                "cp",
                "--from-plain-http",
                &image,
                "--to-oci-layout",
                &format!("{}:v1", to("oras")),
            ]
            .map(str::to_owned)
            .to_vec(),
        ),
    ];
    let tools = tools.into_iter().filter_map(|(name, arguments)| {
        let mut command = workspace.command("timeout");
        command.arg("20").arg(peer(name)?).args(arguments);
        Some((name, Output::of(&mut command).code == 0))
    });
    tools.collect()
}

#[test]
fn what_others_read_of_odd_answers_is_read_and_nothing_else() {
    let workspace = Workspace::new();
    let image = Arc::new(Image::new());
    let mut judged = 0;
    for at in 0..CASES {
        let ways = Ways::of(&mut Chance(at));
        let (told, served) = (ways.clone(), image.clone());
        let server = Scripted::start(move |asked| told.answer(&served, asked));
        let host = server.host();
        let from = format!("{host}/team/app:v1");
        let ours = in_time(&workspace, &["copy", &from, &format!("oci:ours-{at}:v1")]);
        assert!(ours.code == 0 || !ours.stderr.is_empty(), "{at}: {ours:?}");
        if ours.code == 0 {
            for bytes in [&image.config, &image.layer, &image.manifest] {
                let digest = Digest::of(bytes);
                let path = workspace.join(format!("ours-{at}/blobs/sha256/{}", digest.hex()));
                assert_eq!(fs_err::read(path).unwrap(), **bytes, "case {at}: {ways:?}");
            }
            continue;
        }
        let read = others(&workspace, at, &host);
        judged += usize::from(!read.is_empty());
        let agree = !read.is_empty() && read.iter().all(|(_, it)| *it);
        assert!(
            !agree,
            "case {at} is read by {read:?}: {ways:?}\n{}",
            ours.stderr
        );
    }
    if judged == 0 {
        skipped("neither crane nor oras is there to say what is read");
    }
}

#[test]
fn a_list_of_tags_is_whole_or_an_error_whatever_its_links_are() {
    let workspace = Workspace::new();
    let image = Arc::new(Image::new());
    for (link, tags) in [
        ("none", Some("v0\n")),
        ("next", Some("v0\nv1\n")),
        ("two", Some("v0\nv1\n")),
        ("itself", None),
        ("itself with a fragment", None),
        ("elsewhere", None),
        ("file", None),
        ("user", None),
        ("broken", None),
    ] {
        let ways = Ways {
            link,
            challenge: "none",
            ..Ways::of(&mut Chance(0))
        };
        let (told, served) = (ways.clone(), image.clone());
        let server = Scripted::start(move |asked| told.answer(&served, asked));
        let list = in_time(&workspace, &["ls", &format!("{}/team/app", server.host())]);
        assert_eq!(list.code == 0, tags.is_some(), "{link}: {list:?}");
        if let Some(tags) = tags {
            for tag in tags.lines() {
                assert!(list.stdout.contains(tag), "{link}: {list:?}");
            }
        }
        let shown = list.stdout + &list.stderr;
        assert!(!shown.contains("hunter2"), "{link}: {shown}");
    }
}

#[test]
fn a_name_and_password_in_a_redirect_go_nowhere() {
    let workspace = Workspace::new();
    let image = Arc::new(Image::new());
    let served = image.clone();
    let elsewhere = Scripted::start(move |asked| {
        let path = asked.line.trim_start_matches("GET ");
        served
            .blob(path)
            .map_or(Reply::new(404), |it| Reply::new(200).body(it.clone()))
    });
    let (other, served) = (elsewhere.host(), image.clone());
    let ways = Ways {
        challenge: "none",
        redirect: "none",
        ..Ways::of(&mut Chance(0))
    };
    let server = Scripted::start(move |asked| match asked.line.split_once(' ') {
        Some(("GET", path)) if path.contains("/blobs/") => {
            let location = format!("Location: http://me:hunter2@{other}{path}");
            Reply::new(307).header(location).body("")
        }
        _ => ways.answer(&served, asked),
    });
    let from = format!("{}/team/app:v1", server.host());
    let copied = Output::of(&mut workspace.sealpack(["copy", "-v", &from, "oci:out:v1"]));
    let asked = elsewhere.asked();
    assert!(!asked.is_empty());
    assert!(
        asked
            .iter()
            .all(|it| !it.headers.contains_key("authorization")),
        "{asked:?}"
    );
    let shown = copied.stdout + &copied.stderr;
    assert!(!shown.contains("hunter2"), "{shown}");
}
