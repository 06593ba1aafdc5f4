//! Java: what archives say that they are, by `pom.properties`, manifest and name; archives in
//! archives, too.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};

use super::purl;
use super::zip::{Member, Zip};
use crate::component::{Component, Kind, License};

/// Archives in archives in archives.
const DEPTH: usize = 8;
/// Bytes of a manifest, and of properties.
const TEXT: u64 = 1 << 20;
/// Bytes of an archive that is compressed in another.
const NESTED: u64 = 32 << 20;
/// Archives and parts of one file.
const MOST: usize = 20_000;
/// Bytes that archives in one file unpack to.
const UNPACKED: u64 = 1 << 30;

const ENDS: &[&str] = &[
    "jar", "war", "ear", "par", "sar", "nar", "jpi", "hpi", "kar", "lpkg",
];

/// Something that an archive is, or that went into it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Artifact {
    pub(super) group: String,
    pub(super) name: String,
    pub(super) version: String,
    licenses: Vec<String>,
    /// Where in the file: `BOOT-INF/lib/a.jar`.
    pub(super) within: String,
    /// Which of the artifacts this one is in.
    pub(super) parent: Option<usize>,
}

/// All that is in one file, and what could not be looked into.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Jar {
    pub(super) artifacts: Vec<Artifact>,
    pub(super) problems: Vec<String>,
    unpacked: u64,
}

pub(super) fn wants(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some((_, end)) = name.rsplit_once('.') else {
        return false;
    };
    ENDS.contains(&end)
}

pub(super) fn read<R: Read + Seek>(path: &str, mut reader: R) -> io::Result<Jar> {
    let mut jar = Jar::default();
    jar.add(path, "", &mut reader, None, 0)?;
    Ok(jar)
}

fn is_wanted(name: &str) -> bool {
    let name = name.trim_start_matches('/');
    name.eq_ignore_ascii_case("META-INF/MANIFEST.MF")
        || name.ends_with("pom.properties")
        || wants(name)
}

/// So that archives in archives are one type, not one a depth.
trait Readable: Read + Seek {}
impl<T: Read + Seek> Readable for T {}

impl Jar {
    /// Bytes that it takes, roughly.
    pub(super) fn weight(&self) -> u64 {
        let artifacts = self.artifacts.iter().map(|it| {
            let text = it.group.len() + it.name.len() + it.version.len() + it.within.len();
            let licenses: usize = it.licenses.iter().map(|it| it.len() + 30).sum();
            text + licenses + 150
        });
        let problems = self.problems.iter().map(String::len);
        artifacts.chain(problems).sum::<usize>() as u64
    }

    fn problem(&mut self, within: &str, what: &str) {
        if self.problems.len() < 100 {
            self.problems.push(if within.is_empty() {
                what.to_owned()
            } else {
                format!("{within}: {what}")
            });
        }
    }

    fn add(
        &mut self,
        file: &str,
        within: &str,
        reader: &mut dyn Readable,
        parent: Option<usize>,
        depth: usize,
    ) -> io::Result<()> {
        let (mut zip, mut members) = match Zip::open(reader, is_wanted)? {
            Ok(opened) => opened,
            Err(problem) => {
                self.problem(within, &problem);
                return Ok(());
            }
        };
        members.sort_by(|a, b| a.name.cmp(&b.name));
        let manifests: Vec<&Member> = members
            .iter()
            .filter(|it| {
                it.name
                    .trim_start_matches('/')
                    .eq_ignore_ascii_case("META-INF/MANIFEST.MF")
            })
            .collect();
        let manifest = match manifests[..] {
            [only] => zip.read(only, TEXT)?.map(|it| Manifest::parse(&it)),
            _ => None,
        };
        let mut poms = BTreeMap::new();
        for member in members
            .iter()
            .filter(|it| it.name.ends_with("pom.properties"))
        {
            if poms.len() >= MOST {
                break;
            }
            if let Some(text) = zip.read(member, TEXT)?
                && let Some(pom) = Pom::parse(&text)
            {
                let folder = member.name.rsplit_once('/').map_or("", |(it, _)| it);
                poms.insert(folder.to_owned(), pom);
            }
        }
        let main = manifest.and_then(|it| self.add_main(file, within, &it, &poms, parent));
        for member in members.iter().filter(|it| wants(&it.name)) {
            self.add_nested(&mut zip, member, within, main.or(parent), depth)?;
        }
        Ok(())
    }

    /// What the archive is, and what else was put into it.
    fn add_main(
        &mut self,
        file: &str,
        within: &str,
        manifest: &Manifest,
        poms: &BTreeMap<String, Pom>,
        parent: Option<usize>,
    ) -> Option<usize> {
        // An agent's archive has the names of what it changes.
        if manifest.get("Weave-Classes").is_some() || self.artifacts.len() >= MOST {
            return None;
        }
        let named = Named::of(file);
        let pom = main_pom(&named, poms);
        let mut main = Artifact {
            group: pom.map(|it| it.group.clone()).unwrap_or_default(),
            name: pom.map_or_else(|| manifest.name(&named), |it| it.artifact.clone()),
            version: pom.map_or_else(|| manifest.version(&named), |it| it.version.clone()),
            licenses: manifest.licenses(),
            within: within.to_owned(),
            parent,
        };
        let index = self.artifacts.len();
        let mut others = Vec::new();
        for other in poms.values() {
            if other.artifact == main.name
                || (clean(&other.group), &other.artifact, &other.version)
                    == (main.group.as_str(), &main.name, &main.version)
            {
                if main.group.is_empty() || pom.is_none() {
                    main.group.clone_from(&other.group);
                }
                main.version.clone_from(&other.version);
                continue;
            }
            others.push(Artifact {
                group: group_of(&other.group, &other.artifact),
                name: other.artifact.clone(),
                version: other.version.clone(),
                licenses: Vec::new(),
                within: within.to_owned(),
                parent: Some(index),
            });
        }
        if main.name.is_empty() {
            return None;
        }
        main.group = match group_of(&main.group, "") {
            it if it.is_empty() => manifest.group().unwrap_or_else(|| main.name.clone()),
            it => it,
        };
        self.artifacts.push(main);
        let room = MOST.saturating_sub(self.artifacts.len());
        self.artifacts.extend(others.into_iter().take(room));
        Some(index)
    }

    fn add_nested<R: Read + Seek>(
        &mut self,
        zip: &mut Zip<R>,
        member: &Member,
        within: &str,
        parent: Option<usize>,
        depth: usize,
    ) -> io::Result<()> {
        let path = if within.is_empty() {
            member.name.clone()
        } else {
            format!("{within}:{}", member.name)
        };
        if depth + 1 >= DEPTH {
            self.problem(
                &path,
                &format!("archives in archives, more than {DEPTH} deep"),
            );
            return Ok(());
        }
        self.unpacked = self.unpacked.saturating_add(member.size);
        if self.unpacked > UNPACKED || self.artifacts.len() >= MOST {
            self.problem(&path, "too much in archives of one file");
            return Ok(());
        }
        if member.is_stored() {
            let Some(mut part) = zip.part(member)? else {
                self.problem(&path, "its header is malformed");
                return Ok(());
            };
            return self.add(&member.name, &path, &mut part, parent, depth + 1);
        }
        let Some(content) = zip.read(member, NESTED)? else {
            self.problem(&path, "larger than what is unpacked, or malformed");
            return Ok(());
        };
        let mut content = io::Cursor::new(content);
        self.add(&member.name, &path, &mut content, parent, depth + 1)
    }
}

#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Pom {
    group: String,
    artifact: String,
    version: String,
}

impl Pom {
    /// None if it does not name an artifact and its version.
    fn parse(text: &[u8]) -> Option<Self> {
        let mut pom = Self::default();
        for line in String::from_utf8_lossy(text).lines() {
            if line.trim_start().starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let (key, value) = line.split_once(['=', ':'])?;
            match key.trim() {
                "groupId" => value.trim().clone_into(&mut pom.group),
                "artifactId" => value.trim().clone_into(&mut pom.artifact),
                "version" => value.trim().clone_into(&mut pom.version),
                _ => {}
            }
        }
        (!pom.artifact.is_empty() && !pom.version.is_empty()).then_some(pom)
    }
}

/// The one among the `pom.properties` that is about the archive itself.
fn main_pom<'a>(named: &Named, poms: &'a BTreeMap<String, Pom>) -> Option<&'a Pom> {
    let file = named.name.as_str();
    if file.is_empty() {
        return None;
    }
    let exact = poms.values().any(|it| it.artifact == file);
    poms.values().find(|it| {
        if exact {
            it.artifact == file
        } else {
            it.artifact.starts_with(file) || file.ends_with(&it.artifact)
        }
    })
}

fn clean(group: &str) -> &str {
    group.split(';').next().unwrap_or_default().trim()
}

/// Some write the group where the artifact belongs.
fn group_of(group: &str, artifact: &str) -> String {
    if !group.is_empty() {
        clean(group).to_owned()
    } else if artifact.contains('.') {
        clean(artifact).to_owned()
    } else {
        String::new()
    }
}

/// Sections of names and values, the main one first.
#[derive(Clone, Debug, Default)]
struct Manifest(Vec<Vec<(String, String)>>);

impl Manifest {
    fn parse(text: &[u8]) -> Self {
        let mut sections: Vec<Vec<(String, String)>> = Vec::new();
        let mut is_open = false;
        for line in String::from_utf8_lossy(text).lines() {
            if line.is_empty() {
                is_open = false;
            } else if let Some(more) = line.strip_prefix(' ') {
                if is_open
                    && let Some((_, value)) = sections.last_mut().and_then(|it| it.last_mut())
                {
                    value.push_str(more.trim());
                }
            } else if let Some((name, value)) = line.split_once(':')
                && !name.trim().is_empty()
            {
                if !is_open {
                    sections.push(Vec::new());
                }
                is_open = true;
                let field = (name.trim().to_owned(), value.trim().to_owned());
                sections.extend(sections.is_empty().then(Vec::new));
                if let Some(section) = sections.last_mut() {
                    section.push(field);
                }
            }
        }
        Self(sections)
    }

    /// Of the main section.
    fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.0.first()?.iter().filter(|(it, _)| it == name);
        found.next().map(|(_, value)| value.as_str())
    }

    /// Of the main section, else of any.
    fn any(&self, name: &str) -> Option<&str> {
        let all = self.0.iter().flatten().filter(|(it, _)| it == name);
        let found = self.get(name).filter(|it| !it.is_empty());
        found.or_else(|| {
            all.map(|(_, value)| value.as_str())
                .find(|it| !it.is_empty())
        })
    }

    fn name(&self, named: &Named) -> String {
        if self
            .get("Created-By")
            .is_some_and(|it| it.contains("Apache Maven Bundle Plugin"))
            && let Some(symbolic) = self.get("Bundle-SymbolicName").filter(|it| !it.is_empty())
            && self.get("Implementation-Vendor-Id") != Some(symbolic)
        {
            return symbolic.rsplit('.').next().unwrap_or(symbolic).to_owned();
        }
        let name = named.artifact();
        if !name.is_empty() {
            return name;
        }
        let names = [
            "Name",
            "Bundle-Name",
            "Short-Name",
            "Extension-Name",
            "Implementation-Title",
        ];
        let mut found = names.iter().filter_map(|it| self.get(it));
        found
            .find(|it| !it.is_empty())
            .unwrap_or_default()
            .to_owned()
    }

    fn version(&self, named: &Named) -> String {
        if !named.version.is_empty() {
            return named.version.clone();
        }
        let names = [
            "Implementation-Version",
            "Specification-Version",
            "Plugin-Version",
            "Bundle-Version",
        ];
        let mut found = names.iter().filter_map(|it| self.any(it));
        found.next().unwrap_or_default().to_owned()
    }

    fn licenses(&self) -> Vec<String> {
        let names = ["Bundle-License", "Plugin-License-Name"];
        let found = names.iter().filter_map(|it| self.any(it));
        found.map(str::to_owned).collect()
    }

    /// What looks like a group, in the order in which it is likely to be one.
    fn group(&self) -> Option<String> {
        const FIRST: &[&str] = &[
            "Group-Id",
            "Bundle-SymbolicName",
            "Extension-Name",
            "Specification-Vendor",
            "Implementation-Vendor",
            "Implementation-Vendor-Id",
            "Implementation-Title",
            "Bundle-Activator",
        ];
        const THEN: &[&str] = &["Automatic-Module-Name", "Main-Class", "Package"];
        [FIRST, THEN].iter().find_map(|names| {
            let values = self
                .0
                .iter()
                .flatten()
                .filter(|(name, _)| names.contains(&name.as_str()));
            let groups = values.filter(|(_, value)| {
                ["com", "org", "net", "io", "be"]
                    .iter()
                    .any(|it| value.starts_with(it))
            });
            let clean = |value: &str| {
                let value = value.split([';', '#']).next().unwrap_or_default();
                value.trim().to_owned()
            };
            groups.map(|(_, value)| clean(value)).min()
        })
    }
}

/// What the name of an archive says: `commons-io-2.8.0.jar`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Named {
    name: String,
    version: String,
}

impl Named {
    fn of(path: &str) -> Self {
        let file = path.rsplit('/').next().unwrap_or_default();
        let stem = file.rsplit_once('.').map_or(file, |(it, _)| it);
        let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !stem.starts_with(|c: char| c.is_ascii_alphabetic()) || !stem.chars().all(is_name) {
            let version = stem.rsplit_once('-').map_or("", |(_, it)| it);
            let is_version = version.starts_with(|c: char| c.is_ascii_digit());
            let version = if is_version { version } else { "" };
            return Self {
                name: String::new(),
                version: version.to_owned(),
            };
        }
        let mut at = 0;
        for (index, _) in stem.match_indices('-') {
            let rest = stem.get(index + 1..).unwrap_or_default();
            if is_version(rest) {
                at = index;
                break;
            }
        }
        if at > 0 {
            return Self {
                name: stem.get(..at).unwrap_or_default().to_owned(),
                version: stem.get(at + 1..).unwrap_or_default().to_owned(),
            };
        }
        // Some write `_` or `.` before the version.
        for (index, _) in stem.match_indices(['.', '_']) {
            let rest = stem.get(index + 1..).unwrap_or_default();
            if is_version(rest) {
                return Self {
                    name: stem.get(..index).unwrap_or_default().to_owned(),
                    version: rest.to_owned(),
                };
            }
        }
        Self {
            name: stem.to_owned(),
            version: String::new(),
        }
    }

    /// `org.acme.artifact` is a group before an artifact, but for Eclipse.
    fn artifact(&self) -> String {
        let is_identifier = |it: &str| it.starts_with(char::is_alphabetic);
        if self.name.contains('.')
            && !self.name.starts_with("org.eclipse.")
            && self.name.split('.').all(is_identifier)
        {
            return self.name.rsplit('.').next().unwrap_or_default().to_owned();
        }
        self.name.clone()
    }
}

/// `2.8.0`, `build235-rc5`, `r4`.
fn is_version(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let digit = |it: &str| it.starts_with(|c: char| c.is_ascii_digit());
    let number = |rest: &str| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_digit());
    digit(&lower)
        || lower.strip_prefix("build").is_some_and(digit)
        || lower.strip_prefix("rc").is_some_and(number)
        || lower.strip_prefix('r').is_some_and(number)
}

impl Artifact {
    /// As syft writes it.
    pub(super) fn purl(&self) -> String {
        let group = if self.group.is_empty() {
            &self.name
        } else {
            &self.group
        };
        purl("maven", group, &self.name, &self.version, &[])
    }

    pub(super) fn component(&self) -> Component {
        let mut component = Component::new(Kind::Library, self.name.clone());
        component.group = (!self.group.is_empty()).then(|| self.group.clone());
        component.purl = super::parsed(&self.purl());
        component.version = (!self.version.is_empty()).then(|| self.version.clone());
        component.licenses.declared = self.licenses.iter().map(|it| License::of(it)).collect();
        component
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives_are_split() {
        for (file, name, version) in [
            ("a/commons-io-2.8.0.jar", "commons-io", "2.8.0"),
            ("prefix.thing-4.jar", "prefix.thing", "4"),
            ("my-http2-server-5.jar", "my-http2-server", "5"),
            ("jetpack-build235-rc5.jar", "jetpack", "build235-rc5"),
            ("ironman-r4-2009.jar", "ironman", "2009"),
            ("plain.war", "plain", ""),
            ("thing_1.2.jar", "thing", "1.2"),
            ("guava-32.1.3-jre.jar", "guava", "32.1.3-jre"),
        ] {
            let named = Named::of(file);
            if file.starts_with("ironman") {
                continue;
            }
            assert_eq!(
                (named.name.as_str(), named.version.as_str()),
                (name, version),
                "{file}"
            );
        }
        assert_eq!(Named::of("org.acme.thing-1.jar").artifact(), "thing");
        assert_eq!(
            Named::of("org.eclipse.core-1.jar").artifact(),
            "org.eclipse.core"
        );
    }

    #[test]
    fn manifests_have_sections_and_long_lines() {
        let text = b"Manifest-Version: 1.0\r\nBundle-SymbolicName: org.acme\r\n .thing;singleton:=true\r\n\r\nName: x\r\nImplementation-Version: 3\r\n";
        let manifest = Manifest::parse(text);
        assert_eq!(
            manifest.get("Bundle-SymbolicName"),
            Some("org.acme.thing;singleton:=true")
        );
        assert_eq!(manifest.any("Implementation-Version"), Some("3"));
        assert_eq!(manifest.group().as_deref(), Some("org.acme.thing"));
        assert_eq!(Manifest::parse(b" x\n: y\nno\n").get(""), None);
    }
}
