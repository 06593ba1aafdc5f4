//! From what was found in single files to one list: each thing once, with all places that it was
//! found in, and what depends on what.

mod system;

use std::collections::{BTreeMap, BTreeSet};

use oci::view::{Past, Seen, View};

use super::owned::Owned;
use super::{Found, Program, Release, What, go, rust};
use crate::component::{
    Completeness, Component, Evidence, Gap, Hash, Inventory, Kind, License, Node, RelationKind,
};

/// Gaps that are listed one by one.
const GAPS: usize = 10_000;

/// What is in `view`, each with where it was found. A thing is found in the layer that brought it
/// first, even if a later one wrote its database again.
///
/// What is known to be missing is in [`Inventory::gaps`].
pub fn find(view: &View<Found>) -> Inventory {
    let mut gathering = Gathering::new(view);
    gathering.os();
    gathering.dpkg();
    gathering.apk();
    gathering.rpm();
    gathering.owned.sort();
    gathering.programs();
    gathering.node();
    gathering.python();
    gathering.ruby();
    gathering.php();
    gathering.java();
    gathering.gaps();
    gathering.inventory
}

struct Gathering<'a> {
    view: &'a View<Found>,
    inventory: Inventory,
    known: BTreeMap<String, Node>,
    past: BTreeMap<&'a str, Vec<&'a Past<Found>>>,
    owned: Owned,
    release: Option<&'a Release>,
    has_database: bool,
    related: BTreeSet<(Node, RelationKind, Node)>,
}

type Place<'a> = Seen<'a, Found>;

impl<'a> Gathering<'a> {
    fn new(view: &'a View<Found>) -> Self {
        let mut past: BTreeMap<&str, Vec<&Past<Found>>> = BTreeMap::new();
        for gone in view.past() {
            past.entry(&gone.path).or_default().push(gone);
        }
        Self {
            view,
            inventory: Inventory::default(),
            known: BTreeMap::new(),
            past,
            owned: Owned::default(),
            release: None,
            has_database: false,
            related: BTreeSet::new(),
        }
    }

    /// Adds `component`, which `finder` found at `path`; what is there already gets one more place.
    fn add(
        &mut self,
        mut component: Component,
        finder: &'static str,
        path: &str,
        layer: usize,
    ) -> Node {
        if super::shorten(&mut component) {
            self.gap(path, "a name or version of more than 400 bytes");
        }
        let mut evidence = Evidence::found(finder, path);
        evidence.layer = self.view.layer(layer).cloned();
        let key = match &component.purl {
            Some(purl) => purl.as_str().to_owned(),
            None => format!(
                "{:?} {} {:?}",
                component.kind, component.name, component.version
            ),
        };
        if let Some(Node::Component(index)) = self.known.get(&key)
            && let Some(there) = self.inventory.components.get_mut(*index)
        {
            if !there.evidence.contains(&evidence) {
                there.evidence.push(evidence);
            }
            join(&mut there.licenses.declared, component.licenses.declared);
            join(&mut there.hashes, component.hashes);
            return Node::Component(*index);
        }
        let component = Component {
            evidence: vec![evidence],
            ..component
        };
        let node = self.inventory.add(component);
        self.known.insert(key, node);
        node
    }

    fn relate(&mut self, from: Node, kind: RelationKind, to: Node) {
        if from != to && self.related.insert((from, kind, to)) {
            self.inventory.relate(from, kind, to);
        }
    }

    fn gap(&mut self, path: &str, reason: impl Into<String>) {
        if self.inventory.gaps.len() < GAPS {
            self.inventory.gaps.push(Gap {
                path: path.to_owned(),
                reason: reason.into(),
            });
        }
        self.inventory.completeness = Completeness::Incomplete;
    }

    /// All files of which the finder found what `of` wants.
    fn all<T: 'a>(&self, of: impl Fn(&'a What) -> Option<&'a T>) -> Vec<(Place<'a>, &'a T)> {
        let files = self.view.files();
        files
            .filter_map(|it| {
                let what = of(&it.kept.0)?;
                Some((it, what))
            })
            .collect()
    }

    /// The layer that first had at `path` what is there now.
    fn first(&self, place: &Place<'_>) -> usize {
        let mut layer = place.layer;
        for gone in self.past.get(place.path).into_iter().flatten().rev() {
            if gone.until != layer || gone.kept != *place.kept {
                break;
            }
            layer = gone.layer;
        }
        layer
    }

    /// For each of the names that `of` finds in the database at `place`, the layer that first had it.
    fn firsts(
        &self,
        place: &Place<'_>,
        of: impl Fn(&What) -> Vec<String>,
    ) -> BTreeMap<String, usize> {
        let now = of(&place.kept.0);
        let mut firsts: BTreeMap<String, usize> =
            now.iter().map(|it| (it.clone(), place.layer)).collect();
        let mut alive: BTreeSet<String> = now.into_iter().collect();
        let mut until = place.layer;
        for gone in self.past.get(place.path).into_iter().flatten().rev() {
            if gone.until != until || alive.is_empty() {
                break;
            }
            let before: BTreeSet<String> = of(&gone.kept.0).into_iter().collect();
            alive = alive.intersection(&before).cloned().collect();
            for name in &alive {
                firsts.insert(name.clone(), gone.layer);
            }
            until = gone.layer;
        }
        firsts
    }

    fn os(&mut self) {
        for path in ["etc/os-release", "usr/lib/os-release"] {
            let Some(place) = self.view.get(path) else {
                continue;
            };
            if let What::Os(release) = &place.kept.0 {
                self.release = Some(release);
                let layer = self.first(&place);
                self.add(release.component(), "os", place.path, layer);
                return;
            }
        }
    }

    fn programs(&mut self) {
        for (place, program) in self.all(|it| match it {
            What::Program(program) => Some(program),
            _ => None,
        }) {
            if let Some(problem) = &program.problem {
                self.gap(place.path, problem);
            }
            if let Some(info) = &program.go {
                self.go(&place, info);
            }
            if let Some(crates) = &program.rust {
                self.rust(&place, crates);
            }
            let Program {
                is_executable: true,
                go: None,
                rust: None,
                problem: None,
            } = program
            else {
                continue;
            };
            if !self.owned.holds(place.path) {
                self.gap(place.path, "executable that no package owns");
            }
        }
    }

    fn go(&mut self, place: &Place<'_>, info: &go::BuildInfo) {
        let layer = self.first(place);
        let (main, modules) = info.parts();
        let mut add = |module: &go::Module, kind| {
            let mut component = Component::new(kind, module.path.clone());
            component.purl = super::parsed(&go::purl(&module.path, &module.version));
            component.version = (!module.version.is_empty()).then(|| module.version.clone());
            if !module.sum.is_empty() {
                let sum = module.sum.clone();
                component.properties.insert("go-sum".to_owned(), sum);
            }
            self.add(component, "go", place.path, layer)
        };
        let main = main.map(|it| add(&it, Kind::Application));
        let mut parts: Vec<Node> = modules.iter().map(|it| add(it, Kind::Library)).collect();
        if info.compiler().starts_with(|c: char| c.is_ascii_digit()) {
            parts.push(self.go_stdlib(place, info.compiler(), layer));
        }
        if let Some(main) = main {
            for part in parts {
                self.relate(main, RelationKind::DependsOn, part);
            }
        }
    }

    fn go_stdlib(&mut self, place: &Place<'_>, version: &str, layer: usize) -> Node {
        let mut stdlib = Component::new(Kind::Library, "stdlib");
        stdlib.purl = super::parsed(&go::purl("stdlib", version));
        stdlib.version = Some(format!("go{version}"));
        stdlib.licenses.declared = vec![License::Expression("BSD-3-Clause".to_owned())];
        let end = version.find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, candidate) = version.split_at(end.unwrap_or(version.len()));
        let candidate = candidate.split(['-', '+', ' ']).find(|it| !it.is_empty());
        let candidate = candidate.unwrap_or("-");
        stdlib.cpes = vec![format!(
            "cpe:2.3:a:golang:go:{number}:{candidate}:*:*:*:*:*:*"
        )];
        self.add(stdlib, "go", place.path, layer)
    }

    fn rust(&mut self, place: &Place<'_>, crates: &[rust::Crate]) {
        let layer = self.first(place);
        let mut nodes = Vec::new();
        for one in crates {
            let kind = if one.root {
                Kind::Application
            } else {
                Kind::Library
            };
            let mut component = Component::new(kind, one.name.clone());
            let purl = super::purl("cargo", "", &one.name, &one.version, &[]);
            component.purl = super::parsed(&purl);
            component.version = Some(one.version.clone());
            let mut property = |name: &str, value: &str| {
                component
                    .properties
                    .insert(name.to_owned(), value.to_owned());
            };
            if !one.source.is_empty() && one.source != "crates.io" {
                property("crate-source", &one.source);
            }
            if one.kind == rust::Use::Build {
                property("build-only", "yes");
            }
            nodes.push((self.add(component, "rust", place.path, layer), one));
        }
        for (node, one) in &nodes {
            for (other, to) in one.dependencies.iter().filter_map(|it| nodes.get(*it)) {
                let kind = match to.kind {
                    rust::Use::Build => RelationKind::NeedsToBuild,
                    _ => RelationKind::DependsOn,
                };
                self.relate(*node, kind, *other);
            }
        }
    }

    fn node(&mut self) {
        let mut locked: BTreeMap<&str, (Option<&str>, Option<&Hash>)> = BTreeMap::new();
        for (_, lock) in self.all(|it| match it {
            What::NodeLock(locked) => Some(locked),
            _ => None,
        }) {
            for (folder, (from, hash)) in lock {
                locked.insert(folder, (from.as_deref(), hash.as_ref()));
            }
        }
        let mut nodes: BTreeMap<&str, Node> = BTreeMap::new();
        let found = self.all(|it| match it {
            What::Node(package) => Some(package),
            _ => None,
        });
        for (place, package) in &found {
            if self.owned.holds(place.path) {
                continue;
            }
            let mut component = package.component();
            let (from, hash) = locked.get(folder(place.path)).copied().unwrap_or_default();
            component.hashes.extend(hash.cloned());
            if let Some(from) = from {
                component.urls.push(crate::component::Link {
                    kind: crate::component::LinkKind::Distribution,
                    url: from.to_owned(),
                });
            }
            let layer = self.first(place);
            let node = self.add(component, "node", place.path, layer);
            nodes.insert(place.path, node);
        }
        for (place, package) in &found {
            let Some(node) = nodes.get(place.path).copied() else {
                continue;
            };
            for name in &package.depends {
                let other = self.required(folder(place.path), name);
                if let Some(other) = other.and_then(|it| nodes.get(it)) {
                    self.relate(node, RelationKind::DependsOn, *other);
                }
            }
        }
    }

    /// The `package.json` of what `require(name)` means in `folder`.
    ///
    /// <https://nodejs.org/api/modules.html#loading-from-node_modules-folders>
    fn required(&self, folder: &str, name: &str) -> Option<&'a str> {
        let mut here = Some(folder);
        while let Some(folder) = here {
            if !folder.ends_with("node_modules") {
                let path = format!("{folder}/node_modules/{name}/package.json");
                if let Some(found) = self.view.get(&path) {
                    return Some(found.path);
                }
            }
            here = match folder.rsplit_once('/') {
                Some((above, _)) => Some(above),
                None if folder.is_empty() => None,
                None => Some(""),
            };
        }
        None
    }

    fn python(&mut self) {
        let mut sites: BTreeMap<&str, Vec<(Node, &super::python::Project)>> = BTreeMap::new();
        for (place, project) in self.all(|it| match it {
            What::Python(project) => Some(project),
            _ => None,
        }) {
            if self.owned.holds(place.path) {
                continue;
            }
            let own = folder(place.path);
            let origin = self.view.get(&format!("{own}/direct_url.json"));
            let origin = origin.and_then(|it| match &it.kept.0 {
                What::PythonOrigin(origin) => Some(origin.as_str()),
                _ => None,
            });
            let layer = self.first(&place);
            let node = self.add(project.component(origin), "python", place.path, layer);
            let is_file = place.path.ends_with(".egg-info");
            let site = if is_file { own } else { folder(own) };
            sites.entry(site).or_default().push((node, project));
        }
        for projects in sites.into_values() {
            let by_name: BTreeMap<String, Node> = projects
                .iter()
                .map(|(node, it)| (it.normal_name(), *node))
                .collect();
            for (node, project) in &projects {
                for other in project.requires.iter().filter_map(|it| by_name.get(it)) {
                    self.relate(*node, RelationKind::DependsOn, *other);
                }
            }
        }
    }

    fn ruby(&mut self) {
        let mut added = Vec::new();
        for (place, gem) in self.all(|it| match it {
            What::Ruby(gem) => Some(gem),
            _ => None,
        }) {
            if self.owned.holds(place.path) {
                continue;
            }
            let layer = self.first(&place);
            let node = self.add(gem.component(), "ruby", place.path, layer);
            added.push((folder(place.path), node, gem));
        }
        let by_name: BTreeMap<(&str, &str), Node> = added
            .iter()
            .map(|(at, node, gem)| ((*at, gem.name()), *node))
            .collect();
        for (at, node, gem) in &added {
            for name in &gem.depends {
                if let Some(other) = by_name.get(&(*at, name.as_str())) {
                    self.relate(*node, RelationKind::DependsOn, *other);
                }
            }
        }
    }

    fn php(&mut self) {
        for (place, packages) in self.all(|it| match it {
            What::Php(packages) => Some(packages),
            _ => None,
        }) {
            if self.owned.holds(place.path) {
                continue;
            }
            let layer = self.first(&place);
            let mut by_name = BTreeMap::new();
            for package in packages {
                let node = self.add(package.component(), "php", place.path, layer);
                by_name.insert(package.name.as_str(), node);
            }
            for package in packages {
                let Some(node) = by_name.get(package.name.as_str()) else {
                    continue;
                };
                for other in package
                    .requires
                    .iter()
                    .filter_map(|it| by_name.get(it.as_str()))
                {
                    self.relate(*node, RelationKind::DependsOn, *other);
                }
            }
        }
    }

    fn java(&mut self) {
        for (place, jar) in self.all(|it| match it {
            What::Java(jar) => Some(jar),
            _ => None,
        }) {
            for problem in &jar.problems {
                self.gap(place.path, problem);
            }
            if self.owned.holds(place.path) {
                continue;
            }
            let layer = self.first(&place);
            let mut nodes: Vec<Node> = Vec::new();
            for artifact in &jar.artifacts {
                let path = if artifact.within.is_empty() {
                    place.path.to_owned()
                } else {
                    format!("{}:{}", place.path, artifact.within)
                };
                let node = self.add(artifact.component(), "java", &path, layer);
                if let Some(parent) = artifact.parent.and_then(|it| nodes.get(it)) {
                    self.relate(*parent, RelationKind::Contains, node);
                }
                nodes.push(node);
            }
        }
    }

    fn gaps(&mut self) {
        for (place, why) in self.all(|it| match it {
            What::Broken(why) => Some(why),
            _ => None,
        }) {
            self.gap(place.path, why);
        }
        let is_database =
            |it: &What| matches!(it, What::Dpkg { .. } | What::Apk { .. } | What::Rpm(_));
        let gone = self.view.past().iter().filter(|it| is_database(&it.kept.0));
        let gone: BTreeSet<&str> = gone.map(|it| it.path.as_str()).collect();
        for path in gone {
            let is_there = self
                .view
                .get(path)
                .is_some_and(|it| is_database(&it.kept.0));
            // Files of `status.d` go with the package that they are about.
            if !is_there && !path.contains("/status.d/") {
                self.gap(path, "package database that a later layer removed");
            }
        }
        let release = self.release.filter(|_| !self.has_database);
        if let Some(release) = release {
            let reason = format!("`{}` without a package database", release.distro());
            self.gap("etc/os-release", reason);
        }
        if self.view.astray() > 0 {
            self.gap("", "files behind symbolic links that lead in circles");
        }
        if self.view.unread() > 0 {
            self.gap("", "files and folders that were not readable");
        }
    }
}

/// The folder that `path` is in.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Adds to `list` what it does not have.
fn join<T: PartialEq>(list: &mut Vec<T>, more: Vec<T>) {
    for one in more {
        if !list.contains(&one) {
            list.push(one);
        }
    }
}
