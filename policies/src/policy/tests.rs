use std::cell::RefCell;
use std::path::PathBuf;

use globset::Glob;

use super::source::Files;
use super::*;
use crate::testing::Keys;

/// Files that are nowhere.
#[derive(Default)]
struct Memory(RefCell<BTreeMap<PathBuf, String>>);

impl Files for Memory {
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(name)
    }

    fn find(&self, pattern: &str) -> Result<Vec<PathBuf>, PolicyError> {
        let glob = Glob::new(pattern).unwrap().compile_matcher();
        let files = self.0.borrow();
        Ok(files
            .keys()
            .filter(|it| glob.is_match(it))
            .cloned()
            .collect())
    }

    fn read(&self, path: &Path) -> Result<String, PolicyError> {
        let files = self.0.borrow();
        files.get(path).cloned().ok_or_else(|| PolicyError::Read {
            path: path.to_owned(),
            source: std::io::ErrorKind::NotFound.into(),
        })
    }
}

/// A policy of texts alone.
pub(crate) fn in_memory(
    text: &str,
    given: &[SignerPattern],
    files: &[(&str, &str)],
) -> Result<Policy, PolicyError> {
    let memory = Memory::default();
    for (name, text) in files {
        memory
            .0
            .borrow_mut()
            .insert(name.into(), (*text).to_owned());
    }
    Policy::compile(PolicySource::parse("policy.toml", text, given, &memory)?)
}

fn parse(text: &str, files: &[(&str, &str)]) -> Result<Policy, PolicyError> {
    in_memory(text, &[Keys::default().identity("given")], files)
}

const ACCEPT: &str = "[[accept]]\nclaims = [\"signature\", \"spdx\"]\nsigner = \"given\"\n";
const REQUIRE: &str = "[[require]]\nclaim = \"signature\"\n";

#[test]
fn mistakes_are_named_with_file_and_line() {
    for (text, expected) in [
        (
            String::new(),
            "policy.toml: nothing is accepted: there is no `[[accept]]`",
        ),
        (
            ACCEPT.to_owned(),
            "policy.toml: nothing is asked for: there is neither `[[require]]` nor a rule",
        ),
        (
            REQUIRE.to_owned(),
            "policy.toml: nothing is accepted: there is no `[[accept]]`",
        ),
        (
            format!("{ACCEPT}[[require]]\nclaim = \"vsa\"\n"),
            "policy.toml: `https://slsa.dev/verification_summary/v1` is required, but nobody is accepted for it",
        ),
        (
            format!("{ACCEPT}{REQUIRE}\n[rule]\n"),
            "policy.toml:7: unknown field `rule`, expected one of `images`, `namespaces`, `undecided`, `accept`, `require`, `rules`, `parameters`",
        ),
        (
            format!("{ACCEPT}sginer = 1\n"),
            "policy.toml:4: unknown field `sginer`, expected `claims` or `signer`",
        ),
        (
            format!("{ACCEPT}[[require]]\nclaim = \"sig\"\n"),
            "policy.toml:5: unknown claim `sig`: known are provenance, signature, custom, cyclonedx, health, link, openvex, slsaprovenance1, provenance-v0.2, slsaprovenance02, slsaprovenance, spdx, spdxjson, vsa, vuln, and URIs of predicate types",
        ),
        (
            "[[accept]]\nclaims = [\"vsa\"]\nsigner = \"anyone\"".to_owned(),
            "policy.toml:3: `signer` is neither `\"given\"` nor `{ key = \"…\" }` nor `{ identity = \"…\", issuer = \"…\" }`",
        ),
        (
            "[[accept]]\nclaims = []\nsigner = \"given\"".to_owned(),
            "policy.toml:1: `claims` is empty",
        ),
        (
            "[[accept]]\nclaims = [\"vsa\"]\nsigner = { identity = \"a\" }".to_owned(),
            "policy.toml:3: a signer has either `issuer` or `issuer-regexp`, a text",
        ),
        (
            "[[accept]]\nclaims = [\"vsa\"]\nsigner = { identity = \"\", issuer = \"i\" }".to_owned(),
            "policy.toml:3: empty text where an identity or an issuer has to be named",
        ),
        (
            "[[accept]]\nclaims = [\"vsa\"]\nsigner = { identity = \"a\", identity-regexp = \"a\", issuer = \"i\" }".to_owned(),
            "policy.toml:3: a signer has either `identity` or `identity-regexp`, a text",
        ),
        (
            "[[accept]]\nclaims = [\"vsa\"]\nsigner = { identity = \"a\", issuer = \"i\", claims = { x = \"y\" } }".to_owned(),
            "policy.toml:3: certificates have no claim `x`",
        ),
        (
            "[[accept]]\nclaims = [\"vsa\"]\nsigner = { identity = \"a\", issuer = \"i\", key = \"k\" }".to_owned(),
            "policy.toml:3: `key` says nothing of a signer's identity",
        ),
        (
            "[[accept]]\nclaims = [\"vsa\"]\nsigner = { key = \"no.pub\" }".to_owned(),
            "failed to read `no.pub`",
        ),
        (
            "[[accept]]\nclaims = [\"vsa\"]\nsigner = { key = \"broken.rego\" }".to_owned(),
            "failed to use `broken.rego` as a public key",
        ),
        (
            format!("{ACCEPT}[rules]\nuse = [\"slsa\",\n\"typo\"]"),
            "policy.toml:6: unknown rules `typo`; known: health, sbom, signature, slsa",
        ),
        (
            format!("{ACCEPT}[rules]\nfiles = [\"none/*.rego\"]"),
            "policy.toml:5: no file matches `none/*.rego`",
        ),
        (
            format!("{ACCEPT}[rules]\nfiles = [\"broken.rego\"]"),
            "broken.rego:2: expecting identifier. Failed to parse rule-ref.",
        ),
        (
            format!("{ACCEPT}[rules]\nfiles = [\"else*.rego\"]"),
            "elsewhere.rego: the package is not one below `sealpack`, of lower-case letters, digits and `_`",
        ),
        (
            format!("{ACCEPT}[rules]\nfiles = [\"allow.rego\"]"),
            "allow.rego: package `sealpack.x` has no `deny`",
        ),
    ] {
        let files = [
            ("allow.rego", "package sealpack.x\nallow if true\n"),
            ("broken.rego", "package sealpack.x\n]\n"),
            ("elsewhere.rego", "package other\ndeny contains 1 if true\n"),
        ];
        match parse(&text, &files) {
            Ok(_) => panic!("accepted:\n{text}"),
            Err(error) => assert_eq!(error.to_string(), expected),
        }
    }
}

#[test]
fn who_is_given_has_to_be_given() {
    let text = format!("{ACCEPT}{REQUIRE}");
    let error = in_memory(&text, &[], &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "policy.toml:3: `signer = \"given\"`, but no key was given"
    );
}

#[test]
fn what_can_never_come_to_anything_is_a_mistake() {
    let with = |rules: &str, parameters: &str| {
        let own = "package sealpack.own\ndeny contains \"x\" if input.parameters.largest < 1\n";
        let other = "package sealpack.other\np := input\ndeny contains \"x\" if p.parameters.largest < count(object.get(p, \"parameters\", {})[\"denied-licenses\"])\n";
        let open = "package sealpack.open\ndeny contains name if some name in input.parameters\n";
        let text = format!("{ACCEPT}[rules]\n{rules}\n[parameters]\n{parameters}\n");
        let said = parse(
            &text,
            &[
                ("own.rego", own),
                ("other.rego", other),
                ("open.rego", open),
            ],
        );
        said.err().map(|it| it.to_string()).unwrap_or_default()
    };
    let shipped = "use = [\"sbom\", \"signature\", \"health\", \"slsa\"]";
    for (rules, parameters, says) in [
        (
            shipped,
            "denied-license = [\"MIT\"]",
            "no rule reads the parameter `denied-license`; did you mean `denied-licenses`?",
        ),
        (
            shipped,
            "denied_purls = [\"pkg:a/b\"]",
            "did you mean `denied-purls`?",
        ),
        (
            shipped,
            "nonsense = 1",
            "no rule of the policy reads the parameter `nonsense`",
        ),
        (
            "use = [\"slsa\"]",
            "denied-licenses = [\"MIT\"]",
            "no rule of the policy reads the parameter `denied-licenses`",
        ),
        (
            "files = [\"own.rego\"]",
            "larges = 1",
            "no rule of the policy reads the parameter `larges`",
        ),
        ("files = [\"own.rego\"]", "largest = 1", ""),
        ("files = [\"other.rego\"]", "largest = 1", ""),
        (
            "files = [\"other.rego\"]",
            "denied-licenses = [\"GPL-*\"]",
            "",
        ),
        (
            "files = [\"other.rego\"]",
            "larges = 1",
            "no rule of the policy reads the parameter `larges`",
        ),
        // A word that shipped rules have for something else.
        (
            shipped,
            "licenses = [\"MIT\"]",
            "no rule of the policy reads the parameter `licenses`",
        ),
        (shipped, "sbom-types = [\"spdx\"]", ""),
        (shipped, "sbom-types = []", "`sbom-types` is not a list"),
        (
            shipped,
            "sbom-types = \"spdx\"",
            "`sbom-types` is not a list",
        ),
        (
            shipped,
            "sbom-types = [\"spxd\"]",
            "`sbom-types` is not a list",
        ),
        ("files = [\"open.rego\"]", "anything = 1", ""),
        (
            shipped,
            "builder-ids = [\"a\"]\nbuilder-levels = { a = 1 }",
            "",
        ),
        (
            "use = [\"sbom\"]",
            "builder-levels = { a = 1 }",
            "no rule of the policy reads the parameter `builder-levels`",
        ),
        (
            shipped,
            "health-age = 5",
            "no rule of the policy reads the parameter `health-age`",
        ),
        (shipped, "health-commits = 1", ""),
        (
            shipped,
            "denied-purls = [\"left-pad\"]",
            "`left-pad` in `denied-purls` matches nothing: a purl begins with `pkg:`",
        ),
        (shipped, "denied-purls = [\"npm/*\"]", "matches nothing"),
        (
            shipped,
            "denied-purls = [\"pkg:npm/left-[pad@*\"]",
            "`pkg:npm/left-[pad@*` in `denied-purls` matches nothing: unclosed character class",
        ),
        (
            shipped,
            "denied-purls = [\"pkg:npm/[b%2da]\"]",
            "matches nothing: between brackets characters stand as they are",
        ),
        (
            shipped,
            "denied-purls = [\"pkg:npm/{a,b\"]",
            "matches nothing: unclosed alternate group",
        ),
        (
            shipped,
            "denied-purls = [\"pkg:npm/[Z-a]\"]",
            "matches nothing: invalid range; 'z' > 'a'",
        ),
        (
            shipped,
            "denied-purls = [\"*left-pad*\", \"PKG:npm/*\", \"p*\", \"pkg:a/b\"]",
            "",
        ),
        (
            shipped,
            "denied-purls = \"pkg:a/b\"",
            "`denied-purls` is not a list of texts",
        ),
        (
            shipped,
            "denied-licenses = [\"MIT OR X\"]",
            "`MIT OR X` in `denied-licenses` matches nothing",
        ),
        (shipped, "denied-licenses = [\"GPL-*\"]", "without patterns"),
        (shipped, "denied-licenses = [\"\"]", "it is empty"),
        (
            shipped,
            "denied-licenses = [\"https://spdx.org/licenses/AGPL-3.0-only.html\"]",
            "name the identifier",
        ),
        (
            shipped,
            "denied-licenses = [\"MIT/Apache-2.0\"]",
            "name the identifier",
        ),
        (
            shipped,
            "denied-licenses = [\"AGPL-3.0,SSPL-1.0\"]",
            "name the identifier",
        ),
        (
            shipped,
            "denied-licenses = [\"SSPL-1.0.\"]",
            "no identifier begins or ends with `.`, `:` or `!`",
        ),
        (
            shipped,
            "denied-licenses = [\"SSPL-1.0:\"]",
            "no identifier begins or ends with `.`, `:` or `!`",
        ),
        (
            shipped,
            "denied-licenses = [\"SSPL-1.0!\"]",
            "no identifier begins or ends with `.`, `:` or `!`",
        ),
        (
            shipped,
            "denied-licenses = [\".SSPL-1.0\"]",
            "no identifier begins or ends with `.`, `:` or `!`",
        ),
        (
            shipped,
            "denied-licenses = [\"DocumentRef-a:LicenseRef-b\"]",
            "",
        ),
        (
            shipped,
            "denied-licenses = [1]",
            "`denied-licenses` is not a list of texts: it has 1",
        ),
        (shipped, "signature-threshold = 1", ""),
        (
            shipped,
            "signature-threshold = 0",
            "`signature-threshold` is not a number of signers, 1 or more: 0",
        ),
        (
            shipped,
            "signature-threshold = \"2\"",
            "`signature-threshold` is not a number",
        ),
        (
            shipped,
            "signature-threshold = 2",
            "`signature-threshold` asks for 2 signers, and only 1 is accepted",
        ),
        (
            shipped,
            "health-signed-tags-percent = 101",
            "`health-signed-tags-percent` is not a number from 0 to 100: 101",
        ),
        (shipped, "health-signed-tags-percent = 50", ""),
    ] {
        let said = with(rules, parameters);
        assert!(
            said.contains(says) && said.is_empty() == says.is_empty(),
            "{parameters}: {said}"
        );
    }
}

#[test]
fn a_pattern_that_can_match_nothing_is_a_mistake() {
    for (line, says) in [
        ("images = [\"app\"]", "the pattern `app` matches no image"),
        ("images = [\"r.example/\"]", "matches no image"),
        ("images = [\"r.example//app\"]", "matches no image"),
        ("images = [\"r.example/app\", \"*\", \"**/app\"]", ""),
        (
            "namespaces = [\"prod/a\"]",
            "the pattern `prod/a` matches no namespace",
        ),
        ("namespaces = [\"a_b\"]", "matches no namespace"),
        ("namespaces = [\"prod-*\", \"a\"]", ""),
    ] {
        let said = parse(&format!("{line}\n{ACCEPT}{REQUIRE}"), &[]);
        let said = said.err().map(|it| it.to_string()).unwrap_or_default();
        assert!(
            said.contains(says) && said.is_empty() == says.is_empty(),
            "{line}: {said}"
        );
    }
    // Identities by a pattern may be many.
    let many = "[[accept]]\nclaims = [\"signature\"]\nsigner = { identity-regexp = \".*\", issuer = \"i\" }\n[rules]\nuse = [\"signature\"]\n[parameters]\nsignature-threshold = 3\n";
    parse(many, &[]).unwrap();
}

/// What is written about parameters, what is looked at, and what the rules read.
#[test]
fn each_parameter_is_documented_known_and_read() {
    let readme = include_str!("../../README.md");
    let (_, shipped) = readme.split_once("### Shipped").unwrap();
    let (shipped, _) = shipped.split_once("## Shortcomings").unwrap();
    let rules = crate::shipped::SHIPPED;
    for name in sense::values::names() {
        assert!(shipped.contains(&format!("`{name}`")), "{name}");
        let is_read = rules
            .iter()
            .any(|it| it.text.contains(&format!("\"{name}\"")));
        assert!(is_read || name == "builder-levels", "{name}");
    }
    // The other way round: each text with a dash that stands where a parameter does.
    for rule in rules {
        for rest in rule.text.split("input.parameters").skip(1) {
            let quoted = rest.split('"').nth(1).unwrap_or_default();
            let is_name = quoted.contains('-') && !rest.starts_with('[') || rest.starts_with("[\"");
            assert!(
                !is_name || sense::values::names().any(|it| it == quoted),
                "{}: {quoted}",
                rule.name
            );
        }
    }
}

#[test]
fn the_digest_is_of_all_that_decides() {
    let mut keys = Keys::default();
    let given = [keys.identity("a")];
    let of = |text: &str, rule: &str, key: &str, given: &[SignerPattern]| {
        let rule =
            format!("package sealpack.x\ndeny contains \"{rule}\" if not input.parameters.a\n");
        let policy = in_memory(text, given, &[("x.rego", &rule), ("k.pub", key)]).unwrap();
        policy.digest().clone()
    };
    let key = keys.pem("k");
    let text = format!(
        "{ACCEPT}[[accept]]\nclaims = [\"vsa\"]\nsigner = {{ key = \"k.pub\" }}\n[rules]\nfiles = [\"x.rego\"]\n"
    );
    let digest = of(&text, "r", &key, &given);
    assert_eq!(of(&text, "r", &key, &given), digest);
    let comment = format!("# Says nothing.\n{text}");
    assert_eq!(of(&comment, "r", &key, &given), digest);
    let other = [keys.identity("b")];
    for changed in [
        of(&format!("images = [\"a/*\"]\n{text}"), "r", &key, &given),
        of(&format!("namespaces = [\"a\"]\n{text}"), "r", &key, &given),
        of(&format!("undecided = \"warn\"\n{text}"), "r", &key, &given),
        of(&format!("{text}[parameters]\na = 1\n"), "r", &key, &given),
        of(&format!("{REQUIRE}{text}"), "r", &key, &given),
        of(&text, "s", &key, &given),
        of(&text, "r", &keys.pem("l"), &given),
        of(&text, "r", &key, &other),
    ] {
        assert_ne!(changed, digest);
    }
}

#[test]
fn an_identity_is_a_text_or_a_pattern_and_part_of_the_digest() {
    let of = |signer: &str| {
        let text = format!("[[accept]]\nclaims = [\"signature\"]\nsigner = {signer}\n{REQUIRE}");
        in_memory(&text, &[], &[]).unwrap()
    };
    let exact = of("{ identity = \"a.b\", issuer = \"i\" }");
    let pattern = of("{ identity-regexp = \"a.b\", issuer = \"i\" }");
    let claiming = of(
        "{ identity = \"a.b\", issuer = \"i\", claims = { sourceRepositoryRef = \"r\", buildTrigger-regexp = \"p|q\" } }",
    );
    let signers = [&exact, &pattern, &claiming].map(|it| it.accepts()[0].signer.to_string());
    assert_eq!(
        signers,
        [
            "`a.b` by `i`",
            "/a.b/ by `i`",
            "`a.b` by `i`, sourceRepositoryRef `r`, buildTrigger /p|q/"
        ]
    );
}
