//! Reviews of a Kubernetes API server: whatever is in them, what has a uid has an answer; what is denied is
//! told why; a patch writes digests beside the names that are there, and nothing else.

use admission::{Answer, Context, Decision, Envelope, Kinds, Modes, Question, answer, question};
use oci::Digest;
use serde_json::{Value, json};

use crate::Target;

pub(crate) const TARGET: Target = Target {
    name: "review",
    run,
    seeds,
    words: &[
        "\"uid\":",
        "\"operation\":\"UPDATE\"",
        "\"operation\":\"DELETE\"",
        "\"subResource\":\"scale\"",
        "\"oldObject\":",
        "\"object\":",
        "\"deletionTimestamp\":",
        "\"containers\":[",
        "\"initContainers\":[",
        "\"ephemeralContainers\":[",
        "\"volumes\":[",
        "\"image\":",
        "\"reference\":",
        "\"template\":{",
        "null",
        "oci:",
        "docker-daemon:",
        "@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        "auto",
        "\\u001b",
        "\\n",
        "~1",
    ],
    short: 10_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {
            "initContainers": [{"name": "i", "image": "nginx"}],
            "containers": [{"name": "c", "image": "r.example/a:1"}, {"name": "d", "image": "nginx"}],
            "ephemeralContainers": [{"name": "e", "image": "localhost:5000/a"}],
            "volumes": [{"name": "v", "image": {"reference": "r.example/a:1"}}],
        },
    });
    let made = json!({"spec": {"template": pod}});
    [
        ("", "Pod", "CREATE", &pod, &Value::Null),
        ("apps", "Deployment", "UPDATE", &made, &json!({"spec": {}})),
        ("x.example", "Rollout", "CREATE", &made, &Value::Null),
    ]
    .map(|(group, kind, operation, object, old)| {
        let request = json!({
            "uid": "u", "kind": {"group": group, "version": "v1", "kind": kind}, "operation": operation,
            "object": object, "oldObject": old, "namespace": "n", "userInfo": {"username": "a"},
        });
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
        review.to_string().into_bytes()
    })
    .into()
}

fn run(data: &[u8]) {
    let Ok(envelope) = Envelope::read(data) else {
        return;
    };
    let uid = envelope.uid.clone();
    let review = match envelope.review() {
        Ok(review) => review,
        Err(error) => return check(&Answer::malformed(&error.to_string()), &uid),
    };
    let (images, workload) = match question(&review, &Kinds::default()) {
        Ok(Question::Images { images, workload }) => (images, workload),
        Ok(Question::Nothing(why)) => return check(&Answer::nothing(why), &uid),
        Err(error) => return check(&Answer::malformed(&error.to_string()), &uid),
    };
    for image in &images {
        assert!(!image.positions.is_empty());
        for position in &image.positions {
            let there = review.object.pointer(&position.pointer);
            // One that has no image yet has no text there.
            assert!(there.map_or(image.text.is_empty(), |it| {
                it.as_str() == Some(&image.text) || it.is_null() && image.text.is_empty()
            }));
        }
        if let Ok(name) = &image.name {
            assert!(
                matches!(name.location, oci::Location::Registry(_)),
                "{name}"
            );
        }
    }
    let context = Context {
        modes: Modes::default(),
        workload,
        namespace: review.namespace.as_deref(),
        pin: true,
        policies: "p",
    };
    let digest = Digest::of(b"");
    let accepted = Decision::Accepted {
        digest: digest.clone(),
        policies: vec!["p".to_owned()],
    };
    let judged: Vec<_> = images
        .iter()
        .map(|it| (it.clone(), accepted.clone()))
        .collect();
    let admitted = answer(&judged, &context);
    check(&admitted, &uid);
    let steps = serde_json::to_value(&admitted.patch).expect("a patch is JSON");
    let mut object = review.object.clone();
    for step in steps.as_array().into_iter().flatten() {
        let path = step.get("path").and_then(Value::as_str).expect("a path");
        let value = step.get("value").and_then(Value::as_str).expect("a text");
        let place = object.pointer_mut(path).expect("it is there");
        if step.get("op").and_then(Value::as_str) == Some("test") {
            assert_eq!(place.as_str(), Some(value));
        } else {
            let before = place.as_str().expect("a text").to_owned();
            assert!(value.starts_with(&before) && value.ends_with(&format!("@{digest}")));
            *place = Value::from(value);
        }
    }
    let none: Vec<_> = images
        .into_iter()
        .map(|it| (it, Decision::NoPolicy))
        .collect();
    let denied = answer(&none, &context);
    check(&denied, &uid);
    if !workload {
        assert!(denied.denial.is_some());
    }
}

/// What holds of every answer.
fn check(answer: &Answer, uid: &str) {
    let said: Value = serde_json::from_slice(&answer.to_json(uid)).expect("it is JSON");
    let response = said.get("response").expect("a response");
    assert_eq!(response.get("uid").and_then(Value::as_str), Some(uid));
    assert_eq!(
        response.get("allowed"),
        Some(&Value::from(answer.denial.is_none()))
    );
    if let Some(denial) = &answer.denial {
        assert!(!denial.message.is_empty() && denial.message.len() <= 8 << 10);
        assert!(!denial.message.chars().any(|c| c.is_control() && c != '\n'));
    }
    assert!(answer.warnings.len() <= 16);
    for warning in &answer.warnings {
        assert!(warning.len() <= 256 && !warning.chars().any(char::is_control));
    }
}
