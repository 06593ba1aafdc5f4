//! PHP: what Composer installed, by `vendor/composer/installed.json`.

use serde_json::Value;

use super::purl;
use crate::component::{Component, Kind, License, Link, LinkKind};

/// Bytes of the list.
pub(super) const LARGEST: u64 = 64 << 20;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Package {
    pub(super) name: String,
    version: String,
    description: String,
    homepage: String,
    licenses: Vec<String>,
    pub(super) requires: Vec<String>,
}

pub(super) fn wants(path: &str) -> bool {
    super::is_at(path, "composer/installed.json")
}

/// Both forms: Composer 1 writes a list, Composer 2 an object that has one.
pub(super) fn parse(content: &[u8]) -> Result<Vec<Package>, String> {
    let root: Value = serde_json::from_slice(content).map_err(|it| it.to_string())?;
    let packages = root.get("packages").unwrap_or(&root).as_array();
    let packages = packages.into_iter().flatten().map(|package| {
        let text = |name: &str| {
            let text = package.get(name).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let licenses = package.get("license").and_then(Value::as_array);
        let licenses = licenses.into_iter().flatten().filter_map(Value::as_str);
        let requires = package.get("require").and_then(Value::as_object);
        Package {
            name: text("name"),
            version: text("version"),
            description: text("description"),
            homepage: text("homepage"),
            licenses: licenses.map(str::to_owned).collect(),
            requires: requires
                .into_iter()
                .flatten()
                .map(|(it, _)| it.clone())
                .collect(),
        }
    });
    Ok(packages.filter(|it| !it.name.is_empty()).collect())
}

impl Package {
    /// As syft writes it.
    pub(super) fn purl(&self) -> String {
        let (vendor, name) = self.name.split_once('/').unwrap_or(("", &self.name));
        purl("composer", vendor, name, &self.version, &[])
    }

    pub(super) fn component(&self) -> Component {
        let (vendor, name) = match self.name.split_once('/') {
            Some((vendor, name)) if !name.is_empty() => (Some(vendor.to_owned()), name),
            _ => (None, self.name.as_str()),
        };
        let mut component = Component::new(Kind::Library, name);
        component.group = vendor;
        component.purl = super::parsed(&self.purl());
        component.version = (!self.version.is_empty()).then(|| self.version.clone());
        component.description = (!self.description.is_empty()).then(|| self.description.clone());
        component.licenses.declared = self.licenses.iter().map(|it| License::of(it)).collect();
        if !self.homepage.is_empty() {
            component.urls.push(Link {
                kind: LinkKind::Website,
                url: self.homepage.clone(),
            });
        }
        component
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_are_read() {
        let list = r#"[{"name":"psr/log","version":"3.0.0","license":["MIT"],"require":{"php":">=8"}},{"version":"1"}]"#;
        let object = format!(r#"{{"packages":{list},"dev":true}}"#);
        for text in [list, &object] {
            let packages = parse(text.as_bytes()).unwrap();
            assert_eq!(packages.len(), 1);
            assert_eq!(packages[0].purl(), "pkg:composer/psr/log@3.0.0");
            assert_eq!(packages[0].component().name, "log");
        }
        assert_eq!(parse(b"{}"), Ok(Vec::new()));
        assert!(parse(b"[").is_err());
    }
}
