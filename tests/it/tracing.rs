//! Traces: `sealpack build --trace` to a collector and to a file, and what phases write by themselves
//! (`pod`). What arrives is decoded, and has to hang together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use testkit::registry::{Switches, TestRegistry};
use testkit::{FakeBuildpack, Output, Project, Reply, Scripted, free_port};

/// A buildpack that tells what it does, as RFC 0131 has it: a span below the one that it is told of.
const TELLING: &str = r#"
mkdir -p "$CNB_LAYERS_DIR/made"
echo made > "$CNB_LAYERS_DIR/made/file"
printf '[types]\nlaunch = true\ncache = true\n' > "$CNB_LAYERS_DIR/made.toml"
if [ -n "${CNB_OTEL_LOG_PATH:-}" ]; then
  rest=${CNB_OTEL_TRACEPARENT#00-}
  trace=${rest%%-*}
  rest=${rest#*-}
  parent=${rest%%-*}
  printf '{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"%s","spanId":"00000000000000a1","parentSpanId":"%s","name":"of-the-buildpack","kind":1,"startTimeUnixNano":"1","endTimeUnixNano":"2","status":{}}]}]}]}\n' \
    "$trace" "$parent" > "$CNB_OTEL_LOG_PATH"
  echo "not a line of a trace" >> "$CNB_OTEL_LOG_PATH"
fi
"#;

/// A span, as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) name: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    pub(crate) parent: String,
    pub(crate) failed: bool,
    pub(crate) attributes: BTreeMap<String, Value>,
    pub(crate) events: Vec<String>,
}

/// The spans of messages, one a line; anything that is not OTLP fails.
pub(crate) fn decode(text: &str) -> Vec<Span> {
    let mut spans = Vec::new();
    for line in text.lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        for resource in message["resourceSpans"].as_array().unwrap() {
            for scope in resource["scopeSpans"].as_array().unwrap() {
                spans.extend(scope["spans"].as_array().unwrap().iter().map(span));
            }
        }
    }
    spans
}

fn span(value: &Value) -> Span {
    let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let number = |name: &str| text(name).parse::<u64>().unwrap();
    assert!(number("startTimeUnixNano") <= number("endTimeUnixNano"));
    let list = |name: &str| value[name].as_array().cloned().unwrap_or_default();
    let attribute = |it: &Value| {
        let (_kind, value) = it["value"].as_object().unwrap().iter().next().unwrap();
        (it["key"].as_str().unwrap().to_owned(), value.clone())
    };
    Span {
        name: text("name"),
        trace: text("traceId"),
        id: text("spanId"),
        parent: text("parentSpanId"),
        failed: value["status"]["code"] == 2,
        attributes: list("attributes").iter().map(attribute).collect(),
        events: list("events")
            .iter()
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect(),
    }
}

/// All are of one trace, have numbers of their own, and parents that are there, or `given`.
pub(crate) fn hangs_together(spans: &[Span], given: Option<&str>) {
    let ids: BTreeSet<_> = spans.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids.len(), spans.len());
    for span in spans {
        assert_eq!(span.trace.len(), 32, "{span:?}");
        assert_eq!(span.trace, spans[0].trace, "{span:?}");
        let is_known = ids.contains(span.parent.as_str()) || given == Some(&span.parent);
        let is_root = given.is_none() && span.name == "sealpack-build" && span.parent.is_empty();
        assert!(is_known || is_root, "{span:?}");
    }
}

/// The names of the spans around this one, from the outermost.
fn path<'a>(spans: &'a [Span], name: &str) -> Vec<&'a str> {
    let mut path = Vec::new();
    let mut at = spans.iter().find(|it| it.name == name);
    while let Some(span) = at {
        path.insert(0, span.name.as_str());
        at = spans.iter().find(|it| it.id == span.parent);
    }
    path
}

#[test]
fn a_build_is_one_trace_at_a_collector() {
    let collector = Scripted::start(|_| Reply::new(200).body("{}"));
    let registry = TestRegistry::start(Switches::default());
    let project = Project::new(&[FakeBuildpack::new("test/telling").build(TELLING)]);
    let to = format!("{}/hidden-name:hidden-tag", registry.host());
    let url = format!("http://{}", collector.host());
    let built = project.build_with(&to, &["--trace", &url]).expect(0);
    let image = || registry.tagged("hidden-name", "hidden-tag").unwrap();
    let traced = image();
    assert!(
        built
            .stderr
            .contains("left out of the trace, as too much or malformed: 1 part"),
        "{}",
        built.stderr
    );

    let mut text = String::new();
    for asked in collector.asked() {
        assert_eq!(asked.line, "POST /v1/traces");
        assert_eq!(asked.headers["content-type"], "application/json");
        text.push_str(&String::from_utf8(asked.body).unwrap());
        text.push('\n');
    }
    let spans = decode(&text);
    hangs_together(&spans, None);
    for (name, around) in [
        ("analyze", ["sealpack-build", "phases"].as_slice()),
        (
            "buildpack-detect",
            &["sealpack-build", "phases", "sandbox", "detect"],
        ),
        ("restore", &["sealpack-build", "phases"]),
        (
            "buildpack-build",
            // The first sandbox is the detector's.
            &["sealpack-build", "phases", "sandbox", "build"],
        ),
        ("layer", &["sealpack-build", "phases", "export"]),
        ("cache-add", &["sealpack-build", "phases", "cache"]),
        ("prove", &["sealpack-build"]),
        ("judge", &["sealpack-build"]),
        ("upload", &["sealpack-build", "publish"]),
    ] {
        assert_eq!(path(&spans, name), [around, &[name]].concat(), "{spans:#?}");
    }
    // The sandbox is the parent that the phase was told of, and the phase hands that on.
    let own = path(&spans, "of-the-buildpack");
    assert_eq!(
        own,
        ["sealpack-build", "phases", "sandbox", "of-the-buildpack"]
    );
    let detected = spans.iter().find(|it| it.name == "buildpack-detect");
    let detected = detected.unwrap();
    assert_eq!(detected.attributes["buildpack-id"], "test/telling");
    assert_eq!(detected.events, ["detect-pass"]);
    let layers = spans.iter().filter(|it| it.name == "layer");
    let made = layers
        .map(|it| &it.attributes)
        .find(|it| it["layer-id"] == "test/telling:made");
    let made = made.unwrap();
    assert_eq!(made["reused"], false);
    assert!(made["bytes"].as_str().unwrap().parse::<u64>().unwrap() > 0);

    for secret in ["hidden", registry.host().as_str(), "static-base"] {
        assert!(!text.contains(secret), "{secret}");
    }
    assert!(spans.iter().all(|it| !it.failed), "{spans:#?}");

    // What is not asked for is not told, and leaves nothing in the image.
    let plain = project.build_with(&to, &[]).expect(0);
    assert!(!plain.stderr.contains("trace"), "{}", plain.stderr);
    assert_eq!(image(), traced);
}

#[test]
fn what_failed_is_marked_in_a_file_to_which_lines_are_added() {
    let project = Project::new(&[FakeBuildpack::new("test/failing").build("exit 7")]);
    project
        .build_with("oci:out:app", &["--trace", "trace.jsonl"])
        .expect(2);
    let read = || fs_err::read_to_string(project.join("trace.jsonl")).unwrap();
    let first = read();
    let spans = decode(&first);
    hangs_together(&spans, None);
    let failed: BTreeSet<_> = spans
        .iter()
        .filter(|it| it.failed)
        .map(|it| it.name.as_str())
        .collect();
    for name in ["buildpack-build", "build", "phases", "sealpack-build"] {
        assert!(failed.contains(name), "{failed:?}");
    }
    assert!(!failed.contains("detect"), "{failed:?}");
    project
        .build_with("oci:out:app", &["--trace", "trace.jsonl"])
        .expect(2);
    let second = read();
    let added = decode(second.strip_prefix(&first).unwrap());
    assert_ne!(added[0].trace, spans[0].trace);
}

#[test]
fn a_trace_goes_below_the_span_that_the_variable_names() {
    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let project = Project::new(&[FakeBuildpack::new("test/telling").build(TELLING)]);
    let run = |given: &str| {
        let arguments = [
            "--unsigned",
            "--tag",
            "oci:out:app",
            "--trace",
            "trace.jsonl",
        ];
        Output::of(project.build_command(arguments).env("TRACEPARENT", given))
    };
    run(GIVEN).expect(0);
    let text = fs_err::read_to_string(project.join("trace.jsonl")).unwrap();
    let spans = decode(&text);
    assert_eq!(spans[0].trace, "4bf92f3577b34da6a3ce929d0e0e4736");
    hangs_together(&spans, Some("00f067aa0ba902b7"));
    let build = path(&spans, "build");
    assert_eq!(build, ["sealpack-build", "phases", "sandbox", "build"]);
    let malformed = run("00-4bf9-01").expect(2);
    assert!(
        malformed.stderr.contains("TRACEPARENT"),
        "{}",
        malformed.stderr
    );
}

#[test]
fn no_build_fails_for_its_collector() {
    let project = Project::typical();
    let refusing = Scripted::start(|_| Reply::new(400).body("no spans here"));
    let partly =
        Scripted::start(|_| Reply::new(200).body(r#"{"partialSuccess":{"rejectedSpans":"3"}}"#));
    for (host, said) in [
        (format!("127.0.0.1:{}", free_port()), "is unreachable"),
        (refusing.host(), "400 Bad Request: no spans here"),
        (partly.host(), "the collector did not take 3 spans"),
    ] {
        let url = format!("http://{host}/v1/traces?key=secret");
        let built = project
            .build_with("oci:out:app", &["--trace", &url])
            .expect(0);
        assert!(built.stderr.contains(said), "{}", built.stderr);
        assert!(!built.stderr.contains("secret"), "{}", built.stderr);
    }
    assert!(Path::new(&project.join("out/index.json")).is_file());
}

/// What is limited is the build: one that is done stays done, however long its trace takes.
#[test]
fn the_limit_of_a_build_is_not_that_of_its_trace() {
    let project = Project::typical();
    let silent = Scripted::start(|_| Reply::none().then_silence());
    #[expect(
        clippy::disallowed_methods,
        reason = "how long a build takes depends on the machine"
    )]
    let begun = Instant::now();
    project.build("oci:out:before").expect(0);
    // Less than the trace is waited for.
    let limit = format!("{}s", begun.elapsed().as_secs() + 4);
    let url = format!("http://{}/v1/traces", silent.host());
    let built = project
        .build_with("oci:out:app", &["--timeout", &limit, "--trace", &url])
        .expect(0);
    assert!(built.stderr.contains("trace was"), "{}", built.stderr);
}

#[test]
fn a_trace_that_cannot_begin_stops_the_build_before_anything_is_done() {
    let project = Project::typical();
    for (to, said) in [
        ("ftp://collector.example", "malformed URL of a collector"),
        (
            "http://me:pass@collector.example",
            "is not allowed in the URL",
        ),
        ("missing/trace.jsonl", "the trace cannot be written"),
        ("app/trace.jsonl", "lies in the app's folder"),
    ] {
        let built = project
            .build_with("oci:out:app", &["--trace", to])
            .expect(2);
        assert!(built.stderr.contains(said), "{to}: {}", built.stderr);
        assert!(!built.stderr.contains("pass@"), "{}", built.stderr);
    }
    assert!(!project.join("out").exists());
    assert!(!project.join("app/trace.jsonl").exists());
}
