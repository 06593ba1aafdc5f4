use attest::key::PrivateKey;

use super::*;

fn policy(name: &str, images: &[&str], namespaces: &[&str]) -> Policy {
    let key = PrivateKey::generate().unwrap().public_key().clone();
    let mut source = policies::PolicySource::new(name);
    source.accepts.push(attest::Accept {
        predicate_type: intoto::PredicateType::COSIGN_SIGN,
        signer: SignerPattern::Key(key),
    });
    source.required.push(intoto::PredicateType::COSIGN_SIGN);
    source.images = images.iter().map(|it| it.parse().unwrap()).collect();
    source.namespaces = namespaces.iter().map(|it| it.parse().unwrap()).collect();
    Policy::compile(source).unwrap()
}

/// The policy for `name` in `namespace`, or what is said instead.
fn choice(set: &PolicySet, name: &str, namespace: Option<&str>) -> String {
    let name = (!name.is_empty()).then(|| name.parse().unwrap());
    match set.choose(name.as_ref(), namespace) {
        Ok(policy) => policy.name().to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_strictest_match_wins() {
    let set = PolicySet::new([
        policy("all", &[], &[]),
        policy("team", &["r.example/team/*", "docker.io/library/*"], &[]),
        policy("web", &["r.example/team/web"], &[]),
        policy("left", &["r.example/a/*"], &[]),
        policy("right", &["r.example/*/b"], &[]),
        policy("prod", &["r.example/team/*"], &["prod-*"]),
    ])
    .unwrap();
    for (name, namespace, expected) in [
        ("elsewhere.example/x", None, "all"),
        ("r.example/team/app", None, "team"),
        ("r.example/team/web", None, "web"),
        ("r.example/team/web/x", None, "all"),
        ("debian", None, "team"),
        ("r.example/a/c", None, "left"),
        ("r.example/team/app", Some("test"), "team"),
        ("r.example/team/app", Some("prod-1"), "prod"),
        ("", None, "all"),
        (
            "r.example/a/b",
            None,
            "the policies `left` and `right` are both about `r.example/a/b`, and neither is about less than the other",
        ),
        (
            "r.example/team/web",
            Some("prod-1"),
            "the policies `prod` and `web` are both about `r.example/team/web`, and neither is about less than the other",
        ),
    ] {
        let found = choice(&set, name, namespace);
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn no_match_is_said() {
    let alone = PolicySet::one(policy("team", &["r.example/team/*"], &[]));
    assert_eq!(
        choice(&alone, "r.example/app", None),
        "no policy is about `r.example/app`"
    );
    assert_eq!(choice(&alone, "r.example/team/app", None), "team");
    // It was named by whoever asks, and the image has no name that says otherwise.
    assert_eq!(choice(&alone, "", None), "team");
    let two = PolicySet::new([
        policy("team", &["r.example/team/*"], &[]),
        policy("other", &["r.example/other/*"], &[]),
    ])
    .unwrap();
    assert_eq!(
        choice(&two, "", None),
        "no policy is about `image without a name`"
    );
    assert_eq!(
        choice(
            &PolicySet::one(policy("prod", &[], &["prod"])),
            "r.example/app",
            None
        ),
        "no policy is about `r.example/app`"
    );
}

#[test]
fn two_policies_about_the_same_contradict_each_other() {
    let error = PolicySet::new([
        policy("one", &["r.example/*"], &[]),
        policy("two", &["r.example/x", "r.example/*"], &[]),
    ])
    .unwrap_err();
    assert!(
        error.to_string().ends_with("are both about `r.example/*`"),
        "{error}"
    );
    let same = policy("one", &["r.example/*"], &[]);
    assert_eq!(
        PolicySet::new([same.clone(), same])
            .unwrap()
            .policies()
            .len(),
        1
    );
    // Equal though not alike: that shows when an image is asked about.
    let set = PolicySet::new([
        policy("one", &["r.example/*a*"], &[]),
        policy("two", &["r.example/*a*", "r.example/*aa*"], &[]),
    ]);
    assert!(set.is_err());
}
