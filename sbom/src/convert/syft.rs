use serde_json::{Value, json};

use crate::json::{Object, list, object, objects, push, set, text};
use crate::license::{is_expression, is_license_id};

/// The artifacts of a Syft document as a CycloneDX document.
///
/// <https://github.com/anchore/syft/tree/v1.18.0/schema/json>
pub(crate) fn syft_to_cyclonedx(root: &Object) -> Object {
    let components: Vec<Value> = objects(root, "artifacts").map(component).collect();
    let mut converted = Object::new();
    set(&mut converted, "components", components);
    converted
}

fn component(artifact: &Object) -> Value {
    let mut component = object(json!({
        "type": "library",
        "name": text(artifact, "name").unwrap_or_default(),
    }));
    for (from, to) in [("id", "bom-ref"), ("version", "version"), ("purl", "purl")] {
        set(&mut component, to, text(artifact, from).unwrap_or_default());
    }
    // Before schema 16 a list of texts; since then of objects, and so are CPEs.
    let cpe = list(artifact, "cpes").first();
    let cpe = cpe.and_then(|it| it.as_str().or_else(|| it.get("cpe")?.as_str()));
    set(&mut component, "cpe", cpe.unwrap_or_default());
    for license in list(artifact, "licenses") {
        let value = license.as_str().or_else(|| {
            let license = license.as_object()?;
            text(license, "spdxExpression").or_else(|| text(license, "value"))
        });
        let Some(value) = value.filter(|it| !it.is_empty()) else {
            continue;
        };
        let entry = if is_license_id(value) {
            json!({ "license": { "id": value } })
        } else if is_expression(value) {
            json!({ "expression": value })
        } else {
            json!({ "license": { "name": value } })
        };
        push(&mut component, "licenses", entry);
    }
    if let Some(Value::Array(licenses)) = component.get_mut("licenses") {
        crate::license::tidy(licenses);
    }
    component.into()
}
