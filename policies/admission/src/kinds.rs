//! Where the pod specs of an object lie, by its kind.

use std::collections::BTreeMap;

/// JSON pointers to pod specs, by group and kind. Versions do not matter: a kind that moved its pod
/// spec between versions is not known.
#[derive(Clone, Debug)]
pub struct Kinds {
    pointers: BTreeMap<(String, String), Vec<String>>,
}

/// Where most kinds have it; tried for those that are not known.
pub(crate) const USUAL: &str = "/spec/template/spec";

/// The kinds that make pods and come with Kubernetes.
const OF_KUBERNETES: [(&str, &str, &str); 9] = [
    ("", "Pod", "/spec"),
    ("", "PodTemplate", "/template/spec"),
    ("", "ReplicationController", USUAL),
    ("apps", "DaemonSet", USUAL),
    ("apps", "Deployment", USUAL),
    ("apps", "ReplicaSet", USUAL),
    ("apps", "StatefulSet", USUAL),
    ("batch", "CronJob", "/spec/jobTemplate/spec/template/spec"),
    ("batch", "Job", USUAL),
];

impl Default for Kinds {
    /// Those of Kubernetes itself.
    fn default() -> Self {
        let pointers = OF_KUBERNETES.map(|(group, kind, pointer)| {
            (
                (group.to_owned(), kind.to_owned()),
                vec![pointer.to_owned()],
            )
        });
        Self {
            pointers: pointers.into(),
        }
    }
}

impl Kinds {
    /// Adds a custom kind: `GROUP/KIND=/POINTER`. One kind may have several pod specs.
    pub fn add(&mut self, text: &str) -> Result<(), KindError> {
        let malformed = || KindError {
            text: text.to_owned(),
        };
        let (kind, pointer) = text.split_once('=').ok_or_else(malformed)?;
        let (group, kind) = kind.split_once('/').ok_or_else(malformed)?;
        let word = |it: &str| {
            !it.is_empty()
                && it
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        };
        if !word(group) || !word(kind) || !pointer.starts_with('/') {
            return Err(malformed());
        }
        let pointers = self
            .pointers
            .entry((group.to_owned(), kind.to_owned()))
            .or_default();
        if !pointers.iter().any(|it| it == pointer) {
            pointers.push(pointer.to_owned());
        }
        Ok(())
    }

    /// Where objects of this kind have pod specs, if it is known.
    pub(crate) fn pointers(&self, group: &str, kind: &str) -> Option<&[String]> {
        self.pointers
            .get(&(group.to_owned(), kind.to_owned()))
            .map(Vec::as_slice)
    }
}

/// A text names no custom kind.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is malformed: a custom kind is written `GROUP/KIND=/POINTER/TO/POD/SPEC`")]
#[expect(clippy::exhaustive_structs, reason = "there is no more to it")]
pub struct KindError {
    /// The text.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_kinds_are_added_by_pointer() {
        let mut kinds = Kinds::default();
        for text in [
            "argoproj.io/Rollout=/spec/template/spec",
            "x.example/Two=/a",
            "x.example/Two=/b",
            "x.example/Two=/b",
        ] {
            kinds.add(text).unwrap();
        }
        assert_eq!(kinds.pointers("argoproj.io", "Rollout").unwrap(), [USUAL]);
        assert_eq!(kinds.pointers("x.example", "Two").unwrap(), ["/a", "/b"]);
        assert_eq!(kinds.pointers("", "Pod").unwrap(), ["/spec"]);
        assert_eq!(kinds.pointers("apps", "Pod"), None);
        for text in [
            "", "Kind=/x", "g/Kind", "g/Kind=x", "/Kind=/x", "g/=/x", "g/K/L=/x",
        ] {
            assert!(kinds.add(text).is_err(), "{text}");
        }
    }
}
