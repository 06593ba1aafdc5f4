//! Takes out of the SBOM of an image what is in its own layers: for who puts them on other ones.

use std::collections::BTreeSet;

use oci::{DiffId, Digest};
use serde_json::{Value, json};

use crate::component::{Completeness, Gap, Inventory};
use crate::json::{Object, list, object, objects, take_list, text};
use crate::{Document, Format};

/// Folders that the layers of an app fill: what was not looked into below them is not of the run image.
const OWN: [&str; 3] = ["cnb/", "layers/", "workspace/"];

/// What was said of the layers that are kept.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Carried {
    /// What is in them.
    pub document: Document,
    /// What of them was not looked into or understood; no components.
    pub rest: Inventory,
}

impl Document {
    /// What a CycloneDX document by [`Sources::merge`](crate::Sources::merge) says of all layers but
    /// those `below`, which are the run image `run_image`. None if it does not say which layer a
    /// component is in: then one cannot be told from another.
    pub fn above(&self, below: &BTreeSet<DiffId>, run_image: Option<&Digest>) -> Option<Carried> {
        if self.format() != Format::CycloneDx {
            return None;
        }
        let mut root = self.root().clone();
        let cut = Cut { below, run_image };
        let mut components = take_list(&mut root, "components");
        if !components.iter().any(tells_layer) {
            return None;
        }
        components.retain_mut(|it| cut.keeps(it));
        let rest = rest(&root);
        let dependencies = take_list(&mut root, "dependencies");
        let kept = json!({
            "bomFormat": "CycloneDX",
            "specVersion": root.get("specVersion"),
            "components": components,
            "dependencies": dependencies,
        });
        Some(Carried {
            document: self.clone().with_root(object(kept)),
            rest,
        })
    }
}

/// Which layers go.
struct Cut<'a> {
    below: &'a BTreeSet<DiffId>,
    run_image: Option<&'a Digest>,
}

impl Cut<'_> {
    /// Whether a component stays; what it says of layers that go is taken out of it.
    fn keeps(&self, component: &mut Value) -> bool {
        let Some(component) = component.as_object_mut() else {
            return false;
        };
        let mut parts = take_list(component, "components");
        parts.retain_mut(|it| self.keeps(it));
        let has_parts = !parts.is_empty();
        if has_parts {
            component.insert("components".to_owned(), parts.into());
        }
        let is_run_image = text(component, "type") == Some("container")
            && self
                .run_image
                .is_some_and(|it| text(component, "version") == Some(it.as_str()));
        if is_run_image {
            return false;
        }
        let said = ours(component, "origin").count();
        let layers: Vec<bool> = ours(component, "layer").map(|it| self.goes(it)).collect();
        let is_below = match layers.as_slice() {
            [] => ours(component, "from").any(|it| it == "run image"),
            layers => layers.iter().all(|it| *it),
        };
        if is_below && said == 0 && !has_parts {
            return false;
        }
        if let Some(Value::Array(properties)) = component.get_mut("properties") {
            properties.retain(|it| match it.as_object().and_then(property) {
                Some(("sealpack:layer", layer)) => !self.goes(layer),
                Some(("sealpack:from", from)) => from != "run image",
                _ => true,
            });
        }
        true
    }

    fn goes(&self, layer: &str) -> bool {
        self.below.iter().any(|it| it.0.as_str() == layer)
    }
}

/// Whether a component, or a part of it, says which layer it is in.
fn tells_layer(component: &Value) -> bool {
    component.as_object().is_some_and(|it| {
        let mut said = ours(it, "layer").chain(ours(it, "from"));
        said.next().is_some() || list(it, "components").iter().any(tells_layer)
    })
}

/// The values of our own property `name`.
fn ours<'a>(component: &'a Object, name: &'a str) -> impl Iterator<Item = &'a str> {
    objects(component, "properties")
        .filter_map(property)
        .filter(move |(it, _)| it.strip_prefix("sealpack:") == Some(name))
        .map(|(_, value)| value)
}

fn property(property: &Object) -> Option<(&str, &str)> {
    Some((text(property, "name")?, text(property, "value")?))
}

/// What the document says to lack.
fn rest(root: &Object) -> Inventory {
    let mut rest = Inventory::default();
    let metadata = root.get("metadata").and_then(Value::as_object);
    let gaps = metadata.into_iter().flat_map(|it| ours(it, "gap"));
    for (path, reason) in gaps.filter_map(|it| it.split_once(": ")) {
        // `layers` alone stands for all of them.
        let is_own = |it: &&str| path.starts_with(*it) || path == it.trim_end_matches('/');
        if OWN.iter().any(is_own) {
            rest.gaps.push(Gap {
                path: path.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }
    if !rest.gaps.is_empty() {
        rest.completeness = Completeness::Incomplete;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{Component, Evidence, Kind, Node, RelationKind};
    use crate::{Limits, Sources, Subject};

    fn layer(name: &str) -> DiffId {
        DiffId(Digest::of(name.as_bytes()))
    }

    fn found(name: &str, layers: &[&str], path: &str) -> Component {
        let mut component = Component::new(Kind::Library, name);
        component.evidence = layers
            .iter()
            .map(|it| Evidence {
                layer: Some(layer(it)),
                ..Evidence::found("dpkg", path)
            })
            .collect();
        component
    }

    fn names(document: &Document) -> Vec<&str> {
        let components = objects(document.root(), "components");
        components.filter_map(|it| text(it, "name")).collect()
    }

    #[test]
    fn what_is_in_the_run_image_stays_behind() {
        let mut inventory = Inventory::default();
        inventory.add(found("libc", &["base"], "var/lib/dpkg/status"));
        inventory.add(found("both", &["base", "app"], "x"));
        inventory.add(found("app", &["app"], "layers/x"));
        let run = Subject {
            name: "run".to_owned(),
            digest: Digest::of(b"run"),
        };
        let run_image = inventory.add(run.component());
        inventory.relate(Node::Subject, RelationKind::BuiltFrom, run_image);
        for path in ["usr/bin/x", "layers", "layers/y"] {
            inventory.gaps.push(Gap {
                path: path.to_owned(),
                reason: "executable that no package owns".to_owned(),
            });
        }
        let limits = Limits::default();
        let of_buildpack = r#"{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"library","name":"said","bom-ref":"said"}],"dependencies":[{"ref":"said","dependsOn":[]}]}"#;
        let document = Document::parse(
            Format::CycloneDx,
            of_buildpack.as_bytes(),
            "launch/bp/sbom.cdx.json",
            &limits,
        );
        let subject = Subject {
            name: "app".to_owned(),
            digest: Digest::of(b"app"),
        };
        let merged = Sources {
            about: Some(subject.component()),
            created: None,
            documents: vec![&document.unwrap()],
            found: vec![&inventory],
        }
        .merge();
        let bytes = merged.cyclonedx.to_bytes();
        let whole = Document::parse(Format::CycloneDx, &bytes, "before", &limits).unwrap();
        let below = BTreeSet::from([layer("base")]);
        let carried = whole.above(&below, Some(&run.digest)).unwrap();
        let mut kept = names(&carried.document);
        kept.sort_unstable();
        assert_eq!(kept, ["app", "both", "said"]);
        let text = Value::Object(carried.document.root().clone()).to_string();
        assert!(!text.contains(layer("base").0.as_str()), "{text}");
        assert!(text.contains(layer("app").0.as_str()), "{text}");
        assert_eq!(carried.document.root()["specVersion"], "1.6");
        let gaps: Vec<_> = carried
            .rest
            .gaps
            .iter()
            .map(|it| it.path.as_str())
            .collect();
        assert_eq!(gaps, ["layers/y", "layers"]);

        // Merged again, and taken apart again, it is the same.
        let merged = Sources {
            about: Some(subject.component()),
            documents: vec![&carried.document],
            ..Sources::default()
        }
        .merge();
        let bytes = merged.cyclonedx.to_bytes();
        let whole = Document::parse(Format::CycloneDx, &bytes, "before", &limits).unwrap();
        let again = whole.above(&below, None).unwrap();
        assert_eq!(names(&again.document), names(&carried.document));
    }

    #[test]
    fn a_document_that_does_not_tell_layers_apart_is_of_no_use() {
        let parse = |format, text: &str| {
            Document::parse(format, text.as_bytes(), "x", &Limits::default()).unwrap()
        };
        let none = BTreeSet::new();
        let foreign = r#"{"bomFormat":"CycloneDX","specVersion":"1.5","components":[{"type":"library","name":"a"}]}"#;
        assert_eq!(parse(Format::CycloneDx, foreign).above(&none, None), None);
        let spdx = r#"{"spdxVersion":"SPDX-2.3"}"#;
        assert_eq!(parse(Format::Spdx, spdx).above(&none, None), None);
    }
}
