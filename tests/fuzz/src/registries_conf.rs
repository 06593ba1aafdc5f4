//! `registries.conf` and `CNB_REGISTRY_MIRRORS`: where they send a reader is a repository of a
//! registry that they name, and what they block is blocked.
//!
//! An input is a repository in the first line, the variable in the second, the file in the rest.

use std::path::Path;

use oci::fuzzing::sources;
use oci::store::{Mirrors, MirrorsError};
use oci::{Registry, Repository};

use crate::{Target, reference};

pub(crate) const TARGET: Target = Target {
    name: "registries_conf",
    run,
    seeds,
    words: &[
        "[[registry]]\n",
        "[[registry.mirror]]\n",
        "[registries.search]\n",
        "prefix = \"",
        "location = \"",
        "insecure = true\n",
        "blocked = true\n",
        "mirror-by-digest-only = true\n",
        "pull-from-mirror = \"tag-only\"\n",
        "r.example",
        "m.example",
        "docker.io",
        "index.docker.io",
        "*.",
        ":5000",
        "/team",
        "https://",
        "http://",
        "me:hunter2@",
        "/../",
        "%2f",
        "\\u002f",
        "?",
        "#",
    ],
    short: 10_000,
};

fn seeds() -> Vec<Vec<u8>> {
    let all = "[[registry]]\nprefix = \"r.example/team\"\nlocation = \"moved.example/team2/\"\ninsecure = true\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"m.example:5000/first\"\ninsecure = true\n[[registry.mirror]]\nlocation = \"n.example\"\n";
    let blocked = "[[registry]]\nlocation = \"r.example\"\nblocked = true\n";
    let wild = "unqualified-search-registries = [\"docker.io\"]\n[[registry]]\nprefix = \"*.r.example\"\n[[registry.mirror]]\nlocation = \"m.example/x\"\npull-from-mirror = \"tag-only\"\n[aliases]\n\"a\" = \"b.example/c\"\n";
    let hub =
        "[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"hub.example\"\n";
    let secret = "[[registry]]\nlocation = \"me:hunter2@r.example\"\n";
    [
        format!("r.example/team/app\n\n{all}{blocked}"),
        format!("a.b.r.example/team/app\n\n{wild}"),
        format!("ubuntu\ndocker.io=https://c.example/cache\n{hub}"),
        format!("r.example:5000/app\nr.example:5000=http://c.example:5000;;\n{blocked}"),
        format!("r.example/app\nr.example=https://me:hunter2@m.example\n{secret}"),
    ]
    .map(String::into_bytes)
    .into()
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut parts = text.splitn(3, '\n');
    let mut part = || parts.next().unwrap_or_default();
    let (name, variable, file) = (part(), part(), part());
    let path = Path::new("registries.conf");
    let of_file = read(Mirrors::default().with_conf(path, file));
    let of_variable = read(Mirrors::default().with_cnb_registry_mirrors(variable));
    let Ok(repository) = name.parse::<Repository>() else {
        return;
    };
    what_is_blocked_is(&repository);
    if let Some(mirrors) = &of_variable {
        let may_be_insecure = plain(variable).contains("http:");
        for (place, insecure) in found(mirrors, &repository) {
            assert!(may_be_insecure || !insecure, "{place}");
        }
    }
    let Some(mirrors) = of_file else { return };
    assert!(file.contains("blocked") || file.contains('\\') || !mirrors.is_blocked(&repository));
    let places = found(&mirrors, &repository);
    for (place, insecure) in &places {
        // Escapes would hide what is named.
        if !file.contains('\\') {
            assert!(file.contains("insecure") || !insecure, "{place}");
            let is_named =
                place.registry() == repository.registry() || names(file, place.registry().as_str());
            assert!(is_named, "{place}");
        }
    }
    // What a file says twice, it says once.
    let twice = read(mirrors.clone().with_conf(path, file));
    let twice = twice.expect("was read before");
    assert_eq!(found(&twice, &repository), places);
    assert_eq!(
        twice.is_blocked(&repository),
        mirrors.is_blocked(&repository)
    );
    if let Some(both) = read(mirrors.with_cnb_registry_mirrors(variable)) {
        found(&both, &repository);
    }
}

/// What was read, if it is well formed; if not, what is said of it shows no credentials.
fn read(outcome: Result<Mirrors, MirrorsError>) -> Option<Mirrors> {
    outcome.map_err(|it| tells_no_secret(&it.to_string())).ok()
}

/// Where `repository` is read from: places that can become part of an address without changing
/// what it means. None, if that is refused.
fn found(mirrors: &Mirrors, repository: &Repository) -> Vec<(Repository, bool)> {
    match sources(mirrors, repository) {
        Ok(found) => {
            for (place, _) in &found {
                reference::of_repository(place);
            }
            found
        }
        Err(problem) => {
            tells_no_secret(&problem);
            Vec::new()
        }
    }
}

fn tells_no_secret(message: &str) {
    assert!(!message.contains("hunter2@"), "{message}");
}

/// However the name is written: what is below it is blocked, and what only looks like it is not.
fn what_is_blocked_is(repository: &Repository) {
    for name in [repository.to_string(), repository.long()] {
        for name in [name.to_ascii_uppercase(), name] {
            let Some((host, path)) = name.split_once('/') else {
                continue;
            };
            let path = path.to_ascii_lowercase();
            let text = format!("[[registry]]\nlocation = \"{host}/{path}\"\nblocked = true\n");
            let mirrors = Mirrors::default().with_conf(Path::new("x"), &text);
            let mirrors = mirrors.expect("names a repository");
            assert!(mirrors.is_blocked(repository), "{text}");
            for (other, is_below) in [("/below", true), ("-beside", false)] {
                if let Ok(other) = repository.sibling(&format!("{path}{other}")) {
                    assert_eq!(mirrors.is_blocked(&other), is_below, "{text}{other}");
                }
            }
        }
    }
}

/// Whether `text` names this registry.
fn names(text: &str, registry: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains(registry) || (registry == Registry::DOCKER_HUB && text.contains("docker.io"))
}

/// As it is once an address has been made of it: without what is left out there.
fn plain(text: &str) -> String {
    let kept = text.chars().filter(|it| !it.is_ascii_control());
    kept.collect::<String>().to_ascii_lowercase()
}
