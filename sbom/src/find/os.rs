//! `os-release`: which distribution this is.
//!
//! <https://www.freedesktop.org/software/systemd/man/latest/os-release.html>

use crate::component::{Component, Kind, Link, LinkKind, Party};

/// What an `os-release` file says.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Release {
    pub(super) id: String,
    pub(super) id_like: Vec<String>,
    pub(super) name: String,
    pub(super) pretty_name: String,
    pub(super) version_id: String,
    pub(super) build_id: String,
    pub(super) cpe: String,
    pub(super) home: String,
    pub(super) support: String,
    pub(super) vendor: String,
}

pub(super) fn wants(path: &str) -> bool {
    matches!(path, "etc/os-release" | "usr/lib/os-release")
}

/// None if it says nothing.
pub(super) fn parse(text: &str) -> Option<Release> {
    let mut release = Release::default();
    for line in text.lines() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            continue;
        };
        let value = unquote(value);
        match key.trim() {
            "ID" => release.id = value,
            "ID_LIKE" => release.id_like = value.split_whitespace().map(str::to_owned).collect(),
            "NAME" => release.name = value,
            "PRETTY_NAME" => release.pretty_name = value,
            "VERSION_ID" => release.version_id = value,
            "BUILD_ID" => release.build_id = value,
            "CPE_NAME" => release.cpe = value,
            "HOME_URL" => release.home = value,
            "BUG_REPORT_URL" => release.support = value,
            "VENDOR_NAME" => release.vendor = value,
            _ => {}
        }
    }
    let is_named = !release.id.is_empty() || !release.name.is_empty();
    is_named.then_some(release)
}

/// The value of an assignment as a shell has it, without what it would expand.
fn unquote(value: &str) -> String {
    let value = value.trim();
    let mut text = String::with_capacity(value.len());
    let mut quote = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => text.extend(chars.next()),
            (_, c) => text.push(c),
        }
    }
    text
}

impl Release {
    /// The `distro` qualifier of package URLs: `debian-12`.
    pub(super) fn distro(&self) -> String {
        let version = if self.version_id.is_empty() {
            &self.build_id
        } else {
            &self.version_id
        };
        match (self.id.as_str(), version.as_str()) {
            (id, "") => id.to_owned(),
            ("", version) => version.to_owned(),
            (id, version) => format!("{id}-{version}"),
        }
    }

    /// Who gives the packages of this distribution to its users.
    pub(super) fn supplier(&self) -> Option<Party> {
        let names = [&self.vendor, &self.name, &self.id];
        let name = names.into_iter().find(|it| !it.is_empty())?;
        Some(Party {
            url: (!self.home.is_empty()).then(|| self.home.clone()),
            ..Party::organization(name.clone())
        })
    }

    pub(super) fn component(&self) -> Component {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let name = if self.id.is_empty() {
            &self.name
        } else {
            &self.id
        };
        let mut component = Component::new(Kind::OperatingSystem, name.clone());
        component.version = some(&self.version_id).or_else(|| some(&self.build_id));
        component.description = some(&self.pretty_name);
        component.cpes = some(&self.cpe).into_iter().collect();
        component.supplier = self.supplier();
        let urls = [
            (LinkKind::Website, &self.home),
            (LinkKind::Issues, &self.support),
        ];
        let urls = urls.into_iter().filter(|(_, url)| !url.is_empty());
        component.urls = urls
            .map(|(kind, url)| Link {
                kind,
                url: url.clone(),
            })
            .collect();
        component
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_shells_have_it() {
        let text = "# x\nID=debian\nVERSION_ID=\"12\"\nNAME='Debian \"GNU\"'\nPRETTY_NAME=\"a \\\"b\\\" \\$c\"\nID_LIKE=\"a  b\"\nbad\n";
        let release = parse(text).unwrap();
        assert_eq!(release.distro(), "debian-12");
        assert_eq!(release.name, "Debian \"GNU\"");
        assert_eq!(release.pretty_name, "a \"b\" $c");
        assert_eq!(release.id_like, ["a", "b"]);
        assert_eq!(parse("# nothing\n"), None);
        assert_eq!(
            parse("ID=arch\nBUILD_ID=rolling\n").unwrap().distro(),
            "arch-rolling"
        );
        assert_eq!(parse("ID=x\n").unwrap().distro(), "x");
        assert_eq!(unquote("\"open"), "open");
        assert_eq!(unquote("end\\"), "end");
    }
}
