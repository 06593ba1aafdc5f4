use std::str::FromStr as _;

use serde_json::Value;

use super::*;
use crate::question::{Question, question};
use crate::review::Envelope;
use crate::{Kinds, MAX_IMAGES};

const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn digest() -> Digest {
    Digest::from_str(DIGEST).unwrap()
}

fn accepted() -> Decision {
    Decision::Accepted {
        digest: digest(),
        policies: vec!["prod".to_owned()],
    }
}

fn rejected() -> Decision {
    Decision::Rejected {
        digest: Some(digest()),
        reasons: vec![Reason {
            policy: "prod".to_owned(),
            message: "no signature by an accepted signer".to_owned(),
            solution: Some("sign it".to_owned()),
        }],
    }
}

fn context() -> Context<'static> {
    Context {
        modes: Modes::default(),
        workload: false,
        namespace: Some("shop"),
        pin: true,
        policies: "policies",
    }
}

fn images(spec: &Value) -> Vec<Image> {
    let object = json!({"spec": spec});
    crate::images::changed(&object, None, &["/spec".to_owned()]).unwrap()
}

fn one(text: &str) -> Image {
    let mut images = images(&json!({"containers": [{"name": "web", "image": text}]}));
    images.remove(0)
}

fn response(answer: &Answer) -> Value {
    let review: Value = serde_json::from_slice(&answer.to_json("u1")).unwrap();
    assert_eq!(review["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(review["kind"], "AdmissionReview");
    assert_eq!(review["response"]["uid"], "u1");
    review["response"].clone()
}

#[test]
fn a_rejection_says_what_and_why_and_what_to_do() {
    let answer = answer(&[(one("r.example/app:1"), rejected())], &context());
    let response = response(&answer);
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 403);
    assert_eq!(response["status"]["reason"], "Forbidden");
    assert_eq!(
        response["status"]["message"],
        format!(
            "image `r.example/app:1` (container `web`) is rejected by policy `prod`: no signature by an accepted signer\n  \
             to mend it: sign it\n  \
             to see the same: sealpack policy check r.example/app@{DIGEST} --policy policies"
        )
    );
    assert_eq!(
        response["auditAnnotations"],
        json!({"verdict": "rejected", "images": format!("r.example/app@{DIGEST}=rejected")})
    );
    assert_eq!(response.get("patch"), None);
}

#[test]
fn not_knowing_is_never_told_as_a_rejection() {
    let undecided = Decision::Undecided {
        why: "r.example throttles until 12:00:00".to_owned(),
    };
    let only = answer(&[(one("r.example/app:1"), undecided.clone())], &context());
    let denial = only.denial.unwrap();
    assert_eq!((denial.code, denial.reason), (503, "ServiceUnavailable"));
    assert!(
        denial.message.starts_with("could not decide about image `r.example/app:1` (container `web`): r.example throttles until 12:00:00\n"),
        "{}",
        denial.message
    );
    assert!(!denial.message.contains("reject"), "{}", denial.message);
    // Beside a rejection, the rejection is what holds, and comes first.
    let both = [
        (one("r.example/a"), undecided.clone()),
        (one("r.example/b"), rejected()),
    ];
    let denial = answer(&both, &context()).denial.unwrap();
    assert_eq!(denial.code, 403);
    assert!(
        denial.message.starts_with("image `r.example/b`"),
        "{}",
        denial.message
    );
    assert!(
        denial
            .message
            .contains("could not decide about image `r.example/a`")
    );
    // And it has a setting of its own.
    let modes = Modes {
        undecided: Mode::Warn,
        ..Modes::default()
    };
    let answer = answer(
        &[(one("r.example/a"), undecided)],
        &Context { modes, ..context() },
    );
    assert_eq!(answer.denial, None);
    assert_eq!(answer.verdict, "undecided");
    assert_eq!(answer.warnings.len(), 1);
}

#[test]
fn no_policy_denies_unless_said() {
    let denial = |no_policy| {
        let modes = Modes {
            no_policy,
            ..Modes::default()
        };
        let context = Context { modes, ..context() };
        answer(&[(one("a"), Decision::NoPolicy)], &context)
    };
    let denied = denial(Mode::Deny).denial.unwrap();
    assert_eq!(denied.code, 403);
    assert!(
        denied
            .message
            .contains("no policy is for it in namespace `shop`"),
        "{}",
        denied.message
    );
    assert_eq!(denial(Mode::Warn).denial, None);
    assert_eq!(denial(Mode::Warn).warnings.len(), 1);
    assert_eq!(denial(Mode::Allow).warnings.len(), 0);
}

#[test]
fn a_name_that_is_none_is_rejected_whatever_was_decided() {
    let denied = answer(&[(one("oci:/etc"), accepted())], &context());
    assert_eq!(denied.denial.unwrap().code, 403);
    assert_eq!(denied.patch, []);
    // `auto` is written by somebody else, later, where pods are made.
    let workload = Context {
        workload: true,
        ..context()
    };
    let warned = answer(&[(one("auto"), Decision::NoPolicy)], &workload);
    assert_eq!((warned.denial, warned.warnings.len()), (None, 1));
    assert!(
        answer(&[(one("auto"), Decision::NoPolicy)], &context())
            .denial
            .is_some()
    );
}

#[test]
fn workloads_are_answered_as_the_mode_says() {
    for (workloads, denied, warned) in [
        (Mode::Deny, true, 0),
        (Mode::Warn, false, 1),
        (Mode::Allow, false, 0),
    ] {
        let modes = Modes {
            workloads,
            ..Modes::default()
        };
        let workload = Context {
            modes,
            workload: true,
            ..context()
        };
        let result = answer(&[(one("a"), rejected())], &workload);
        assert_eq!(
            (result.denial.is_some(), result.warnings.len()),
            (denied, warned)
        );
        let pod = Context {
            workload: false,
            ..workload
        };
        assert!(answer(&[(one("a"), rejected())], &pod).denial.is_some());
    }
}

#[test]
fn a_patch_writes_the_digest_beside_the_tag_and_then_nothing() {
    let spec = json!({
        "containers": [{"name": "a", "image": "nginx"}, {"name": "b", "image": "r.example/x:1"}],
        "initContainers": [{"name": "c", "image": "nginx"}],
        "volumes": [{"name": "v", "image": {"reference": "r.example/x:1"}}],
    });
    let judge = |spec: &Value| -> Vec<_> {
        images(spec)
            .into_iter()
            .map(|it| (it, accepted()))
            .collect()
    };
    let first = answer(&judge(&spec), &context());
    let response = response(&first);
    assert_eq!(response["patchType"], "JSONPatch");
    let patch = STANDARD
        .decode(response["patch"].as_str().unwrap())
        .unwrap();
    let patch: Vec<Value> = serde_json::from_slice(&patch).unwrap();
    assert_eq!(
        patch[0],
        json!({"op": "test", "path": "/spec/initContainers/0/image", "value": "nginx"})
    );
    let mut object = json!({"spec": spec});
    for step in patch {
        let place = object.pointer_mut(step["path"].as_str().unwrap()).unwrap();
        match step["op"].as_str().unwrap() {
            "test" => assert_eq!(*place, step["value"]),
            "replace" => *place = step["value"].clone(),
            other => panic!("{other}"),
        }
    }
    let nginx = format!("nginx:latest@{DIGEST}");
    let other = format!("r.example/x:1@{DIGEST}");
    assert_eq!(
        object["spec"],
        json!({
            "containers": [{"name": "a", "image": nginx}, {"name": "b", "image": other}],
            "initContainers": [{"name": "c", "image": nginx}],
            "volumes": [{"name": "v", "image": {"reference": other}}],
        })
    );
    assert_eq!(answer(&judge(&object["spec"]), &context()).patch, []);
    assert_eq!(
        answer(
            &judge(&spec),
            &Context {
                pin: false,
                ..context()
            }
        )
        .patch,
        []
    );
}

#[test]
fn warnings_and_messages_are_no_longer_than_api_servers_carry() {
    let containers: Vec<_> = (0..MAX_IMAGES)
        .map(|it| json!({"name": "c".repeat(200), "image": format!("r.example/{}/{it}:1", "x".repeat(200))}))
        .collect();
    let judged: Vec<_> = images(&json!({ "containers": containers }))
        .into_iter()
        .map(|it| (it, rejected()))
        .collect();
    let modes = Modes {
        rejected: Mode::Warn,
        ..Modes::default()
    };
    let warned = answer(&judged, &Context { modes, ..context() });
    assert_eq!(warned.warnings.len(), 16);
    assert!(warned.warnings.iter().all(|it| it.len() <= 256));
    assert!(warned.audit.values().all(|it| it.len() <= MAX_MESSAGE));
    let message = answer(&judged, &context()).denial.unwrap().message;
    assert!(message.len() <= MAX_MESSAGE);
    assert!(message.ends_with("and 248 more images"), "{message}");
}

#[test]
fn what_strangers_wrote_stays_on_its_line() {
    let reasons = vec![Reason {
        policy: "p".to_owned(),
        message: "bad\u{1b}[2J\nallowed".to_owned(),
        solution: Some("a\nb".to_owned()),
    }];
    let decision = Decision::Rejected {
        digest: None,
        reasons,
    };
    let message = answer(&[(one("x"), decision)], &context())
        .denial
        .unwrap()
        .message;
    assert_eq!(message.lines().count(), 3);
    assert!(!message.contains('\u{1b}'));
}

fn review(request: &Value) -> crate::Review {
    let review =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request});
    let bytes = review.to_string();
    let envelope = Envelope::read(bytes.as_bytes()).unwrap();
    envelope.review().unwrap()
}

#[test]
fn what_is_taken_away_scaled_or_only_labelled_is_never_asked_about() {
    let object = |image: &str, deleted: Option<&str>| {
        json!({
            "metadata": {"name": "x", "deletionTimestamp": deleted},
            "spec": {"template": {"spec": {"containers": [{"name": "a", "image": image}]}}},
        })
    };
    let ask = |request: &Value| question(&review(request), &Kinds::default()).unwrap();
    let base = |operation: &str, sub: &str, kind: &str, new: &Value, old: &Value| {
        json!({
            "uid": "u", "kind": {"group": "apps", "version": "v1", "kind": kind}, "subResource": sub,
            "operation": operation, "object": new, "oldObject": old, "namespace": "shop",
            "somethingNew": {"x": 1},
        })
    };
    let (a, b) = (object("a", None), object("b", None));
    let gone = object("b", Some("2026-01-01T00:00:00Z"));
    let nothing = |question: Question| match question {
        Question::Nothing(why) => why,
        Question::Images { images, .. } => panic!("{images:?}"),
    };
    let null = Value::Null;
    assert_eq!(
        nothing(ask(&base("DELETE", "", "Deployment", &null, &a))),
        Nothing::Operation
    );
    assert_eq!(
        nothing(ask(&base("UPDATE", "status", "Deployment", &b, &a))),
        Nothing::SubResource
    );
    assert_eq!(
        nothing(ask(&base(
            "UPDATE",
            "scale",
            "Scale",
            &json!({}),
            &json!({})
        ))),
        Nothing::SubResource
    );
    assert_eq!(
        nothing(ask(&base("UPDATE", "", "Deployment", &a, &a))),
        Nothing::Unchanged
    );
    assert_eq!(
        nothing(ask(&base("UPDATE", "", "Deployment", &gone, &gone))),
        Nothing::Deleted
    );
    assert_eq!(
        nothing(ask(&base("CREATE", "", "Scale", &json!({}), &null))),
        Nothing::UnknownKind
    );
    assert_eq!(
        nothing(ask(&base(
            "CREATE",
            "eviction",
            "Eviction",
            &json!({}),
            &null
        ))),
        Nothing::SubResource
    );
    // These are.
    for request in [
        base("CREATE", "", "Deployment", &a, &null),
        base("UPDATE", "", "Deployment", &b, &a),
        // Whoever claims that a new object is being deleted.
        base("CREATE", "", "Deployment", &gone, &null),
        base("UPDATE", "", "Deployment", &gone, &a),
        // A kind that nobody named, with a pod spec where most have it.
        base("CREATE", "", "Rollout", &a, &null),
    ] {
        assert!(
            matches!(ask(&request), Question::Images { workload: true, .. }),
            "{request}"
        );
    }
    let pod = json!({
        "uid": "u", "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "UPDATE",
        "subResource": "ephemeralcontainers",
        "object": {"spec": {"ephemeralContainers": [{"name": "d", "image": "b"}]}}, "oldObject": {"spec": {}},
    });
    assert!(matches!(
        ask(&pod),
        Question::Images {
            workload: false,
            ..
        }
    ));
}

#[test]
fn an_envelope_is_read_whatever_is_in_it() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let text = format!(
        r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{{"object":{deep},"uid":"u1","operation":7}}}}"#
    );
    let envelope = Envelope::read(text.as_bytes()).unwrap();
    assert_eq!(envelope.uid, "u1");
    assert!(envelope.review().is_err());
    for text in [
        "",
        "{",
        "[]",
        "{}",
        "null",
        r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u"}}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"Pod","request":{"uid":"u"}}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":""}}"#,
        r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":7}}"#,
    ] {
        assert!(Envelope::read(text.as_bytes()).is_err(), "{text}");
    }
    // An object that has to be there and is not is no object without images.
    for request in [
        r#"{"uid":"u","kind":{"kind":"Pod"},"operation":"CREATE"}"#,
        r#"{"uid":"u","kind":{"kind":"Pod"},"operation":"CREATE","object":[]}"#,
        r#"{"uid":"u","kind":{"kind":"Pod"},"operation":"UPDATE","object":{}}"#,
    ] {
        let text = format!(
            r#"{{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{request}}}"#
        );
        assert!(
            Envelope::read(text.as_bytes()).unwrap().review().is_err(),
            "{text}"
        );
    }
}
