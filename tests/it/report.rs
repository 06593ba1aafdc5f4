//! The report about an image: what it says, and what a real browser makes of its page.

use std::net::TcpListener;

use serde_json::{Value, json};
use testkit::{Browser, Output, Project};

/// A project whose image `oci:out:v1` is built, signed and attested.
fn built() -> Project {
    let project = Project::typical();
    project.build("oci:out:v1").expect(0);
    project
}

/// Signs a claim about the image with the project's key.
fn attest(project: &Project, kind: &str, predicate: &Value) {
    project.write("predicate.json", predicate.to_string());
    let arguments = ["attest", "oci:out:v1", "--type", kind, "--predicate"];
    let key = ["predicate.json", "--key", "test.key"];
    project.run(&[&arguments[..], &key].concat()).expect(0);
}

fn page(project: &Project, arguments: &[&str]) -> String {
    let common = ["report", "oci:out:v1", "--html", "-"];
    let output = Output::of(project.sealpack(common).args(arguments));
    assert!(output.code < 2, "{output:?}");
    output.stdout
}

fn components(number: usize) -> Value {
    let components: Vec<_> = (0..number)
        .map(|at| {
            json!({
                "type": "library",
                "name": format!("component-{at}"),
                "version": format!("1.{at}"),
                "purl": format!("pkg:npm/component-{at}@1.{at}"),
                "licenses": [{"license": {"id": if at % 2 == 0 { "MIT" } else { "Apache-2.0" }}}],
            })
        })
        .collect();
    json!({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": components})
}

#[test]
fn it_says_what_is_proven_and_what_is_not() {
    let project = built();
    let report = |arguments: &[&str]| {
        let output = project.run(&[&["report", "oci:out:v1"][..], arguments].concat());
        output.expect(0).stdout
    };
    let nobody = report(&[]);
    assert!(
        nobody.contains("nothing is verified: no key, identity or policy was given"),
        "{nobody}"
    );
    assert!(nobody.contains("signature       not verified"), "{nobody}");
    assert!(!nobody.contains("key sha256:"), "{nobody}");

    let key = ["--key", "test.pub"];
    let by_key = report(&key);
    assert!(by_key.contains("signature       key sha256:"), "{by_key}");
    assert!(by_key.contains("cyclonedx: "), "{by_key}");
    assert!(!by_key.contains("verdict"), "{by_key}");

    let judged = report(&[&key[..], &["--policy", "policy"]].concat());
    assert!(judged.contains("verdict: accepted"), "{judged}");
    assert!(judged.contains("attached: 5"), "{judged}");
}

#[test]
fn a_rejected_image_is_reported_and_rejected() {
    let project = built();
    let policy =
        "[[accept]]\nclaims = [\"vuln\"]\nsigner = \"given\"\n[[require]]\nclaim = \"vuln\"\n";
    project.write("strict.toml", policy);
    let arguments = [
        "report",
        "oci:out:v1",
        "--policy",
        "strict.toml",
        "--key",
        "test.pub",
    ];
    let output = project
        .run(&[&arguments[..], &["--output", "json"]].concat())
        .expect(1);
    let report: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(report["verdict"]["accepted"], false);
    assert_eq!(report["claims"], json!([]));
    assert_eq!(report["components"], json!([]));
    let html = page(&project, &["--policy", "strict.toml", "--key", "test.pub"]);
    assert!(html.contains("badge bad\">rejected"), "{html}");
    assert!(html.contains("no vuln by an accepted signer"), "{html}");
}

#[test]
fn a_browser_searches_ten_thousand_components() {
    let project = built();
    let Some(browser) = Browser::new(project.workspace()) else {
        return;
    };
    attest(&project, "cyclonedx", &components(10_000));
    let html = page(&project, &["--key", "test.pub"]);
    let answer = browser.run(
        &html,
        r##"
        const box = find("#component-list");
        const rows = () => [...box.querySelectorAll("tbody tr")].map((it) => it.firstChild.textContent);
        const count = () => box.querySelector(".count").textContent;
        const search = (text) => {
            const input = box.querySelector("input");
            input.value = text;
            input.dispatchEvent(new page.Event("input"));
        };
        const result = { before: [rows().length, count()] };
        const began = performance.now();
        search("COMPONENT-4242 apache");
        result.none = rows();
        search("component-4242 mit");
        result.one = rows();
        search("");
        box.querySelector(".on").click();
        result.second = [rows().length, count()];
        const name = box.querySelector("th button");
        name.click();
        name.click();
        result.sorted = rows()[0];
        result.milliseconds = performance.now() - began;
        result.height = page.document.documentElement.scrollHeight;
        return result;
        "##,
    );
    assert_eq!(answer["before"], json!([100, "1–100 of 10005"]));
    assert_eq!(answer["none"], json!([]));
    assert_eq!(answer["one"], json!(["component-4242"]));
    assert_eq!(answer["second"], json!([100, "101–200 of 10005"]));
    assert_ne!(answer["sorted"], "component-0");
    let milliseconds = answer["milliseconds"].as_f64().unwrap();
    assert!(milliseconds < 5_000.0, "{milliseconds}");

    let plain = browser.run_without_scripts(
        &html,
        r##"
        const box = find("#component-list");
        return {
            ready: page.document.documentElement.dataset.ready ?? null,
            rows: box.querySelectorAll("tbody tr").length,
            shown: box.innerText.includes("The first 200 of 10005 are shown"),
            open: box.querySelector("tbody tr").getClientRects().length > 0,
        };
        "##,
    );
    assert_eq!(
        plain,
        json!({"ready": null, "rows": 200, "shown": true, "open": true})
    );
}

#[test]
fn a_browser_runs_and_loads_nothing_of_strangers() {
    let project = built();
    let Some(browser) = Browser::new(project.workspace()) else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let hostile = [
        "</script><script>top.hacked = 1</script>".to_owned(),
        format!("<img src='{url}' onerror='top.hacked = 1'>"),
        format!("\"><link rel=stylesheet href='{url}'>"),
        "\u{202e}txt.exe\u{2066}".to_owned(),
        "<!--<script>".to_owned(),
        "{{7*7}}${7*7}".to_owned(),
        format!("javascript:location='{url}'"),
    ];
    let list: Vec<_> = hostile
        .iter()
        .map(|it| json!({"type": it, "name": it, "version": it, "purl": it, "licenses": [{"license": {"name": it}}]}))
        .collect();
    let document =
        json!({"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "components": list});
    attest(&project, "cyclonedx", &document);
    let html = page(&project, &["--key", "test.pub"]);
    assert!(!html.contains(['\u{202e}', '\u{2066}']));
    let script = r##"
        const own = page.document.createElement("script");
        own.textContent = "top.hacked = 2";
        page.document.body.append(own);
        const image = page.document.createElement("img");
        image.src = "URL";
        page.document.body.append(image);
        const names = [...find("#component-list").querySelectorAll("tbody td:first-child")];
        return {
            hacked: typeof window.hacked,
            names: names.map((it) => it.textContent),
            images: page.document.querySelectorAll("#component-list img, #component-list link").length,
            ready: page.document.documentElement.dataset.ready,
        };
    "##;
    let answer = browser.run(&html, &script.replace("URL", &url));
    assert_eq!(answer["hacked"], "undefined");
    assert_eq!(answer["images"], 0);
    assert_eq!(answer["ready"], "yes");
    let names: Vec<_> = answer["names"].as_array().unwrap().iter().collect();
    for it in &hostile {
        let shown = it
            .replace('\u{202e}', "\\u{202e}")
            .replace('\u{2066}', "\\u{2066}");
        assert!(
            names.contains(&&Value::from(shown.clone())),
            "{shown}: {names:?}"
        );
    }
    assert!(listener.accept().is_err(), "the page asked somebody");

    // Without the policy the same would have been asked and run.
    let open = html.replacen("Content-Security-Policy", "x", 1);
    let answer = browser.run(&open, &script.replace("URL", &url));
    assert_eq!(answer["hacked"], "number");
}
