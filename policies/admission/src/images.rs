//! The images of a pod spec, each with its position.

use oci::Reference;
use serde_json::Value;

use crate::name::{NameError, image_name, shown};

/// Images of one object that are read. Pods have a few; nobody has so many.
pub const MAX_IMAGES: usize = 256;

/// An image that an object names, perhaps in several positions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Image {
    /// As it is written there.
    pub text: String,
    /// What that means.
    pub name: Result<Reference, NameError>,
    /// Where it stands.
    pub positions: Vec<Position>,
}

/// Where in an object an image stands.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Position {
    /// The JSON pointer (RFC 6901) of the text.
    pub pointer: String,
    /// What it is the image of, for people: ``container `web` ``.
    pub owner: String,
}

impl Image {
    /// One that stands nowhere: it is asked about by itself.
    pub fn named(text: String) -> Self {
        Self {
            name: image_name(&text),
            text,
            positions: Vec::new(),
        }
    }
}

/// Where images stand in a pod spec: the list, where in an entry, and what an entry is called.
const SECTIONS: [(&str, &[&str], &str); 4] = [
    ("initContainers", &["image"], "init container"),
    ("containers", &["image"], "container"),
    ("ephemeralContainers", &["image"], "ephemeral container"),
    ("volumes", &["image", "reference"], "volume"),
];

/// One image at one position.
struct Found<'a> {
    text: &'a str,
    pointer: String,
    owner: String,
}

/// The images that the pod spec at `pointer` names. A spec that is not there has none; what is there
/// but of another form is an error.
fn found<'a>(object: &'a Value, pointer: &str) -> Result<Vec<Found<'a>>, ImagesError> {
    let malformed = |pointer: String, expected| ImagesError::Malformed { pointer, expected };
    let spec = match object.pointer(pointer) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(spec)) => spec,
        Some(_) => return Err(malformed(pointer.to_owned(), "an object")),
    };
    let mut all = Vec::new();
    for (section, path, what) in SECTIONS {
        let position = format!("{pointer}/{section}");
        let entries = match spec.get(section) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(malformed(position, "a list")),
        };
        for (index, entry) in entries.iter().enumerate() {
            let position = format!("{position}/{index}");
            if !entry.is_object() {
                return Err(malformed(position, "an object"));
            }
            let name = entry.get("name").and_then(Value::as_str).unwrap_or("");
            let mut value = entry;
            let mut pointer = position;
            for step in path {
                if !(value.is_object() || value.is_null()) {
                    return Err(malformed(pointer, "an object"));
                }
                value = value.get(step).unwrap_or(&Value::Null);
                pointer = format!("{pointer}/{step}");
            }
            let text = match value {
                Value::String(text) => text.as_str(),
                // A volume that is not made of an image.
                Value::Null if section == "volumes" => continue,
                Value::Null => "",
                _ => return Err(malformed(pointer, "a text")),
            };
            if all.len() == MAX_IMAGES {
                return Err(ImagesError::TooMany);
            }
            all.push(Found {
                text,
                pointer,
                owner: format!("{what} `{}`", shown(name)),
            });
        }
    }
    Ok(all)
}

/// The images of the pod specs at `pointers`, each text once; of an update only those that `old`
/// does not have in the same position, by name of the container or volume.
pub(crate) fn changed(
    object: &Value,
    old: Option<&Value>,
    pointers: &[String],
) -> Result<Vec<Image>, ImagesError> {
    let mut images: Vec<Image> = Vec::new();
    let mut count = 0;
    for pointer in pointers {
        // What was admitted in whatever form is no reason to refuse what mends it.
        let before = old
            .and_then(|it| found(it, pointer).ok())
            .unwrap_or_default();
        for it in found(object, pointer)? {
            count += 1;
            if count > MAX_IMAGES {
                return Err(ImagesError::TooMany);
            }
            if before
                .iter()
                .any(|was| was.owner == it.owner && was.text == it.text)
            {
                continue;
            }
            let position = Position {
                pointer: it.pointer,
                owner: it.owner,
            };
            match images.iter_mut().find(|image| image.text == it.text) {
                Some(image) => image.positions.push(position),
                None => images.push(Image {
                    text: it.text.to_owned(),
                    name: image_name(it.text),
                    positions: vec![position],
                }),
            }
        }
    }
    Ok(images)
}

/// Why the images of an object cannot be told.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ImagesError {
    /// A part of it is not of the form that it has to have.
    #[error("`{pointer}` is malformed: it has to be {expected}")]
    Malformed {
        /// Where.
        pointer: String,
        /// What it has to be.
        expected: &'static str,
    },
    /// More than are read.
    #[error("the object has more than {MAX_IMAGES} images")]
    TooMany,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(spec: &Value) -> Value {
        json!({"metadata": {"name": "p"}, "spec": spec})
    }

    fn texts(object: &Value, old: Option<&Value>) -> Vec<String> {
        let images = changed(object, old, &["/spec".to_owned()]).unwrap();
        images.into_iter().map(|it| it.text).collect()
    }

    #[test]
    fn all_places_of_images_are_found() {
        let object = pod(&json!({
            "initContainers": [{"name": "i", "image": "a"}],
            "containers": [{"name": "c", "image": "b"}, {"name": "d", "image": "a"}],
            "ephemeralContainers": [{"name": "e", "image": "c"}],
            "volumes": [
                {"name": "v", "image": {"reference": "d", "pullPolicy": "Always"}},
                {"name": "w", "emptyDir": {}},
            ],
        }));
        let images = changed(&object, None, &["/spec".to_owned()]).unwrap();
        let positions: Vec<_> = images
            .iter()
            .flat_map(|it| {
                it.positions
                    .iter()
                    .map(|position| (&*it.text, &*position.pointer, &*position.owner))
            })
            .collect();
        assert_eq!(
            positions,
            [
                ("a", "/spec/initContainers/0/image", "init container `i`"),
                ("a", "/spec/containers/1/image", "container `d`"),
                ("b", "/spec/containers/0/image", "container `c`"),
                (
                    "c",
                    "/spec/ephemeralContainers/0/image",
                    "ephemeral container `e`"
                ),
                ("d", "/spec/volumes/0/image/reference", "volume `v`"),
            ]
        );
        for position in images.iter().flat_map(|it| &it.positions) {
            assert!(object.pointer(&position.pointer).unwrap().is_string());
        }
    }

    #[test]
    fn an_update_is_asked_about_what_it_changes() {
        let container = |name: &str, image: &str| json!({"name": name, "image": image});
        let old = pod(&json!({"containers": [container("a", "x"), container("b", "y")]}));
        let reordered = pod(&json!({"containers": [container("b", "y"), container("a", "x")]}));
        assert_eq!(texts(&reordered, Some(&old)), [] as [&str; 0]);
        let changed = pod(&json!({"containers": [container("a", "x2"), container("b", "y")]}));
        assert_eq!(texts(&changed, Some(&old)), ["x2"]);
        // What ran as `b` need not have been allowed as an init container.
        let swapped = pod(&json!({"containers": [container("a", "y"), container("b", "y")]}));
        assert_eq!(texts(&swapped, Some(&old)), ["y"]);
        let moved = pod(&json!({"initContainers": [container("b", "y")]}));
        assert_eq!(texts(&moved, Some(&old)), ["y"]);
        let debugged = pod(&json!({
            "containers": [container("a", "x"), container("b", "y")],
            "ephemeralContainers": [container("debug", "z")],
        }));
        assert_eq!(texts(&debugged, Some(&old)), ["z"]);
        // An object that is malformed can be mended.
        assert_eq!(
            texts(&old, Some(&pod(&json!({"containers": 1})))),
            ["x", "y"]
        );
    }

    #[test]
    fn another_form_is_an_error_and_not_nothing() {
        for (spec, pointer) in [
            (json!([]), "/spec"),
            (json!({"containers": {}}), "/spec/containers"),
            (json!({"containers": ["x"]}), "/spec/containers/0"),
            (
                json!({"containers": [{"image": 1}]}),
                "/spec/containers/0/image",
            ),
            (
                json!({"volumes": [{"image": "x"}]}),
                "/spec/volumes/0/image",
            ),
            (
                json!({"volumes": [{"image": {"reference": []}}]}),
                "/spec/volumes/0/image/reference",
            ),
        ] {
            let error = changed(&pod(&spec), None, &["/spec".to_owned()]).unwrap_err();
            assert!(
                matches!(&error, ImagesError::Malformed { pointer: it, .. } if it == pointer),
                "{error}"
            );
        }
        let many = vec![json!({"name": "c", "image": "x"}); MAX_IMAGES + 1];
        let error = changed(
            &pod(&json!({"containers": many})),
            None,
            &["/spec".to_owned()],
        );
        assert_eq!(error.unwrap_err(), ImagesError::TooMany);
        let error = changed(
            &pod(&json!({"containers": many[1..]})),
            None,
            &["/spec".to_owned()],
        );
        assert_eq!(error.unwrap().len(), 1);
        // A container without an image is one whose image is not known yet.
        assert_eq!(
            texts(&pod(&json!({"containers": [{"name": "c"}]})), None),
            [""]
        );
        assert_eq!(texts(&pod(&Value::Null), None), [] as [&str; 0]);
    }
}
