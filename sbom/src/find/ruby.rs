//! Ruby: gems that are installed, by their specifications.

use super::purl;
use crate::component::{Component, Kind, License, Link, LinkKind};

/// Bytes of a specification.
pub(super) const LARGEST: u64 = 1 << 20;

#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Gem {
    name: String,
    version: String,
    homepage: String,
    licenses: Vec<String>,
    /// What it needs to run.
    pub(super) depends: Vec<String>,
}

/// Whether `path` is what `RubyGems` writes when it installs.
pub(super) fn wants(path: &str) -> bool {
    path.strip_suffix(".gemspec")
        .is_some_and(|it| it.contains("specifications/"))
}

/// None if it is not what `RubyGems` writes: a specification may be any program.
pub(super) fn parse(text: &str) -> Option<Gem> {
    let mut gem = Gem::default();
    for line in text.lines() {
        let line = line.trim();
        let depends = "s.add_runtime_dependency(%q<";
        let depends = line.split_once(depends).map(|(_, rest)| rest);
        if let Some((name, _)) = depends.and_then(|it| it.split_once('>')) {
            if gem.depends.len() < 1000 {
                gem.depends.push(name.to_owned());
            }
            continue;
        }
        let Some((field, value)) = line.split_once('=') else {
            continue;
        };
        let field = field.trim().rsplit_once('.').map_or("", |(_, it)| it);
        let mut values = quoted(value);
        let into = match field {
            "name" => &mut gem.name,
            "version" => &mut gem.version,
            "homepage" => &mut gem.homepage,
            "licenses" => {
                gem.licenses = values.take(100).map(str::to_owned).collect();
                continue;
            }
            _ => continue,
        };
        if let Some(value) = values.next().filter(|_| into.is_empty()) {
            value.clone_into(into);
        }
    }
    let is_whole = !gem.name.is_empty() && !gem.version.is_empty();
    is_whole.then_some(gem)
}

/// What stands between quotes.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split(['"', '\'']).skip(1).step_by(2)
}

impl Gem {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// As syft writes it.
    pub(super) fn purl(&self) -> String {
        purl("gem", "", &self.name, &self.version, &[])
    }

    pub(super) fn component(&self) -> Component {
        let mut component = Component::new(Kind::Library, self.name.clone());
        component.purl = super::parsed(&self.purl());
        component.version = Some(self.version.clone());
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
    fn specifications_are_read() {
        let text = "# -*- encoding: utf-8 -*-\nGem::Specification.new do |s|\n  s.name = \"rack\".freeze\n  s.version = \"3.0.8\"\n  s.licenses = [\"MIT\".freeze, 'X'.freeze]\n  s.homepage = \"https://x\".freeze\n  s.add_runtime_dependency(%q<base64>.freeze, [\">= 0\"])\n  s.rubygems_version = \"3.4\"\nend\n";
        let gem = parse(text).unwrap();
        assert_eq!(gem.purl(), "pkg:gem/rack@3.0.8");
        assert_eq!(gem.licenses, ["MIT", "X"]);
        assert_eq!(gem.depends, ["base64"]);
        assert_eq!(parse("s.name = 'a'\n"), None);
        assert!(wants(
            "usr/lib/ruby/gems/3.1.0/specifications/default/a-1.gemspec"
        ));
        assert!(!wants("gems/a/a.gemspec"));
    }
}
