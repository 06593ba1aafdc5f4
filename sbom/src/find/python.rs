//! Python: what is installed, by `*.dist-info/METADATA` and `*.egg-info`.
//!
//! <https://packaging.python.org/en/latest/specifications/core-metadata/>

use std::io::{self, BufRead};

use serde_json::Value;

use super::lines::each_line;
use super::purl;
use crate::component::{Component, Kind, License, Link, LinkKind, Party};

/// Requirements of one project.
const MOST: usize = 10_000;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Project {
    name: String,
    pub(super) version: String,
    summary: String,
    license: String,
    expression: String,
    classified: Vec<String>,
    author: String,
    author_email: String,
    home: String,
    pub(super) requires: Vec<String>,
}

pub(super) fn wants(path: &str) -> bool {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "METADATA" => folder.ends_with("dist-info") || folder.ends_with("DIST-INFO"),
        "PKG-INFO" => folder.ends_with("egg-info") || folder.ends_with("EGG-INFO"),
        name => name.ends_with(".egg-info"),
    }
}

pub(super) fn wants_origin(path: &str) -> bool {
    path.ends_with(".dist-info/direct_url.json")
}

/// None if it names no project.
pub(super) fn parse(reader: impl BufRead) -> io::Result<Option<Project>> {
    let mut project = Project::default();
    let mut begun = false;
    each_line(reader, |line| {
        if line.is_empty() {
            // What follows is the description.
            return !begun;
        }
        begun = true;
        if line.starts_with([' ', '\t']) {
            return true;
        }
        let Some((field, value)) = line.split_once(':') else {
            return true;
        };
        let value = value.trim();
        let is_unknown = value.is_empty() || value == "UNKNOWN";
        match field.trim() {
            _ if is_unknown => {}
            "Name" => value.clone_into(&mut project.name),
            "Version" => value.clone_into(&mut project.version),
            "Summary" => value.clone_into(&mut project.summary),
            "License" => value.clone_into(&mut project.license),
            "License-Expression" => value.clone_into(&mut project.expression),
            "Author" => value.clone_into(&mut project.author),
            "Author-email" => value.clone_into(&mut project.author_email),
            "Home-page" => value.clone_into(&mut project.home),
            "Project-URL" if project.home.is_empty() => {
                let (label, url) = value.split_once(',').unwrap_or(("", value));
                if label.trim().eq_ignore_ascii_case("homepage") {
                    url.trim().clone_into(&mut project.home);
                }
            }
            "Classifier" if project.classified.len() < 100 => {
                let license = value.strip_prefix("License :: ");
                project.classified.extend(license.map(str::to_owned));
            }
            "Requires-Dist" if project.requires.len() < MOST => {
                project.requires.extend(requirement(value));
            }
            _ => {}
        }
        true
    })?;
    // Python itself, as Python 2 says that it is installed.
    let is_none = project.name.is_empty() || project.name == "Python";
    Ok((!is_none).then_some(project))
}

/// The name in `a-b[extra]>=1 ; python_version < "3"`; none if only an extra needs it.
fn requirement(text: &str) -> Option<String> {
    let (name, marker) = text.split_once(';').unwrap_or((text, ""));
    if marker.contains("extra ") || marker.contains("extra=") {
        return None;
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name = name.trim();
    let end = name.find(|c| !is_name(c)).unwrap_or(name.len());
    let name = normal(name.get(..end)?);
    (!name.is_empty()).then_some(name)
}

/// A project's name as all its spellings have it.
///
/// <https://packaging.python.org/en/latest/specifications/name-normalization/>
pub(super) fn normal(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    let mut after_mark = false;
    for c in name.chars() {
        if matches!(c, '-' | '_' | '.') {
            after_mark = true;
            continue;
        }
        if std::mem::take(&mut after_mark) {
            normal.push('-');
        }
        normal.extend(c.to_lowercase());
    }
    if after_mark {
        normal.push('-');
    }
    normal
}

/// Where a project is from that is from no index: `git+https://…@commit`.
pub(super) fn parse_origin(content: &[u8]) -> Option<String> {
    let root: Value = serde_json::from_slice(content).ok()?;
    let info = root.get("vcs_info")?;
    let text = |from: &Value, name: &str| from.get(name).and_then(Value::as_str).map(str::to_owned);
    let (kind, commit) = (text(info, "vcs")?, text(info, "commit_id")?);
    Some(format!("{kind}+{}@{commit}", text(&root, "url")?))
}

impl Project {
    pub(super) fn normal_name(&self) -> String {
        normal(&self.name)
    }

    /// As syft writes it.
    pub(super) fn purl(&self, origin: Option<&str>) -> String {
        let origin = origin.unwrap_or_default();
        purl(
            "pypi",
            "",
            &self.normal_name(),
            &self.version,
            &[("vcs_url", origin)],
        )
    }

    pub(super) fn component(&self, origin: Option<&str>) -> Component {
        let mut component = Component::new(Kind::Library, self.normal_name());
        component.purl = super::parsed(&self.purl(origin));
        component.version = (!self.version.is_empty()).then(|| self.version.clone());
        component.description = (!self.summary.is_empty()).then(|| self.summary.clone());
        component.originator = self.author();
        component.licenses.declared = self.licenses();
        if !self.home.is_empty() {
            component.urls.push(Link {
                kind: LinkKind::Website,
                url: self.home.clone(),
            });
        }
        component
    }

    fn author(&self) -> Option<Party> {
        if self.author.is_empty() {
            return Party::parse(&self.author_email);
        }
        let mut party = Party::parse(&self.author)?;
        if !self.author_email.is_empty() && !self.author_email.contains('<') {
            party.email = Some(self.author_email.clone());
        }
        Some(party)
    }

    fn licenses(&self) -> Vec<License> {
        if !self.expression.is_empty() {
            return vec![License::of(&self.expression)];
        }
        // Some put the whole text there.
        if !self.license.is_empty() && self.license.len() <= 200 {
            return vec![License::of(&self.license)];
        }
        let last = |it: &String| it.rsplit(" :: ").next().map(License::of);
        self.classified.iter().filter_map(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn projects_are_read() {
        let text = "Metadata-Version: 2.1\nName: Zope.Interface__x\nVersion: 1.0\nLicense: MIT\nAuthor-email: A <a@b.c>\nRequires-Dist: a-b[x]>=1\nRequires-Dist: c ; extra == 'test'\nRequires-Dist: D.e (>1); python_version<'3'\nHome-page: UNKNOWN\nProject-URL: Homepage, https://x\n folded\n\nName: not this\n";
        let project = parse(text.as_bytes()).unwrap().unwrap();
        assert_eq!(project.purl(None), "pkg:pypi/zope-interface-x@1.0");
        assert_eq!(project.requires, ["a-b", "d-e"]);
        assert_eq!(project.home, "https://x");
        assert_eq!(project.author().unwrap().name, "A");
        assert_eq!(parse("Version: 1\n".as_bytes()).unwrap(), None);
        let origin = br#"{"url":"https://x/y.git","vcs_info":{"vcs":"git","commit_id":"01"}}"#;
        let origin = parse_origin(origin);
        assert_eq!(
            project.purl(origin.as_deref()),
            "pkg:pypi/zope-interface-x@1.0?vcs_url=git%2Bhttps%3A%2F%2Fx%2Fy.git%4001"
        );
    }

    #[test]
    fn paths_are_told_apart() {
        for path in [
            "a-1.dist-info/METADATA",
            "x/a.egg-info/PKG-INFO",
            "x/a.egg-info",
            "x/EGG-INFO/PKG-INFO",
        ] {
            assert!(wants(path), "{path}");
        }
        for path in ["METADATA", "x/METADATA", "x/PKG-INFO", "a.dist-info/RECORD"] {
            assert!(!wants(path), "{path}");
        }
    }
}
