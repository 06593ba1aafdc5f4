//! Packages of the system: of dpkg, apk and rpm, and which of them needs which.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{What, apk, dpkg, rpm};
use super::Gathering;
use crate::component::{License, Node, RelationKind};

impl Gathering<'_> {
    /// Packages of `dpkg`.
    pub(super) fn dpkg(&mut self) {
        for (_, owned) in self.all(|it| match it {
            What::Files(owned) => Some(owned),
            _ => None,
        }) {
            self.owned.extend(owned);
        }
        let release = self.release;
        let names = |what: &What| match what {
            What::Dpkg { packages, .. } => packages.iter().map(|it| it.purl(release)).collect(),
            _ => Vec::new(),
        };
        // Packages of one system may depend on one another, be they in one file or in many.
        let mut systems: BTreeMap<&str, Vec<(Node, &dpkg::Package)>> = BTreeMap::new();
        for place in self.view.files() {
            let What::Dpkg { packages, problem } = &place.kept.0 else {
                continue;
            };
            self.has_database = true;
            if let Some(problem) = problem {
                self.gap(place.path, problem);
            }
            let firsts = self.firsts(&place, names);
            let system = place
                .path
                .find("lib/dpkg/")
                .and_then(|it| place.path.get(..it));
            for package in packages {
                let mut component = package.component(release);
                component.licenses.declared = self.copyright(&package.name);
                let purl = package.purl(release);
                let layer = firsts.get(&purl).copied().unwrap_or(place.layer);
                let node = self.add(component, "dpkg", place.path, layer);
                systems
                    .entry(system.unwrap_or_default())
                    .or_default()
                    .push((node, package));
            }
        }
        for packages in systems.into_values() {
            self.relate_debs(&packages);
        }
    }

    fn copyright(&self, package: &str) -> Vec<License> {
        let path = format!("usr/share/doc/{package}/copyright");
        match self.view.get(&path).map(|it| &it.kept.0) {
            Some(What::Copyright(licenses)) => licenses.clone(),
            _ => Vec::new(),
        }
    }

    fn relate_debs(&mut self, packages: &[(Node, &dpkg::Package)]) {
        let mut by_name: BTreeMap<&str, Vec<(Node, &str)>> = BTreeMap::new();
        for (node, package) in packages {
            let names = package.provides.iter().chain([&package.name]);
            for name in names {
                let architecture = package.architecture.as_str();
                by_name.entry(name).or_default().push((*node, architecture));
            }
        }
        for (node, package) in packages {
            for name in package.depends.iter().flatten() {
                let candidates = by_name.get(name.as_str()).map_or(&[][..], Vec::as_slice);
                let is_same = |it: &&(Node, &str)| it.1 == package.architecture;
                let same: Vec<_> = candidates.iter().filter(is_same).collect();
                if same.is_empty() {
                    for (other, _) in candidates {
                        self.relate(*node, RelationKind::DependsOn, *other);
                    }
                }
                for (other, _) in same {
                    self.relate(*node, RelationKind::DependsOn, *other);
                }
            }
        }
    }

    /// Packages of `apk`.
    pub(super) fn apk(&mut self) {
        let release = self.release;
        let names = |what: &What| match what {
            What::Apk { packages, .. } => packages.iter().map(|it| it.purl(release)).collect(),
            _ => Vec::new(),
        };
        for place in self.view.files() {
            let What::Apk {
                packages,
                owned,
                problem,
            } = &place.kept.0
            else {
                continue;
            };
            self.has_database = true;
            self.owned.extend(owned);
            if let Some(problem) = problem {
                self.gap(place.path, problem);
            }
            let firsts = self.firsts(&place, names);
            let mut by_name: BTreeMap<&str, Vec<Node>> = BTreeMap::new();
            let mut added = Vec::new();
            for package in packages {
                let purl = package.purl(release);
                let layer = firsts.get(&purl).copied().unwrap_or(place.layer);
                let node = self.add(package.component(release), "apk", place.path, layer);
                let provides = package.provides.iter().filter_map(|it| apk::bare(it));
                for name in provides.chain([package.name.as_str()]) {
                    by_name.entry(name).or_default().push(node);
                }
                added.push((node, package));
            }
            for (node, package) in added {
                for name in package.depends.iter().filter_map(|it| apk::bare(it)) {
                    for other in by_name.get(name).into_iter().flatten() {
                        self.relate(node, RelationKind::DependsOn, *other);
                    }
                }
            }
        }
    }

    /// Packages of `rpm`.
    pub(super) fn rpm(&mut self) {
        let release = self.release;
        let names = |what: &What| match what {
            What::Rpm(database) => database
                .packages
                .iter()
                .map(|it| it.purl(release))
                .collect(),
            _ => Vec::new(),
        };
        for (place, database) in self.all(|it| match it {
            What::Rpm(database) => Some(database),
            _ => None,
        }) {
            self.has_database = true;
            if let Some(problem) = &database.problem {
                self.gap(place.path, problem);
            }
            let firsts = self.firsts(&place, names);
            let mut by_name: BTreeMap<&str, Vec<Node>> = BTreeMap::new();
            let mut added = Vec::new();
            for package in &database.packages {
                let purl = package.purl(release);
                let layer = firsts.get(&purl).copied().unwrap_or(place.layer);
                let node = self.add(package.component(release), "rpm", place.path, layer);
                for name in package.provides.iter().chain([&package.name]) {
                    by_name.entry(name).or_default().push(node);
                }
                self.owned.extend(package.owned());
                added.push((node, package));
            }
            self.relate_rpms(&added, &by_name);
        }
    }

    fn relate_rpms(
        &mut self,
        packages: &[(Node, &rpm::Package)],
        by_name: &BTreeMap<&str, Vec<Node>>,
    ) {
        // Some depend on a file, whoever has that.
        let files: BTreeSet<&str> = packages
            .iter()
            .flat_map(|(_, it)| &it.requires)
            .filter(|it| it.starts_with('/') && !by_name.contains_key(it.as_str()))
            .map(String::as_str)
            .collect();
        let mut by_file: BTreeMap<&str, Vec<Node>> = BTreeMap::new();
        for (node, package) in packages {
            let mut owned = package.owned().clone();
            owned.sort();
            for file in &files {
                if owned.holds(file.trim_start_matches('/')) {
                    by_file.entry(file).or_default().push(*node);
                }
            }
        }
        for (node, package) in packages {
            for name in &package.requires {
                let found = by_name
                    .get(name.as_str())
                    .or_else(|| by_file.get(name.as_str()));
                for other in found.into_iter().flatten() {
                    self.relate(*node, RelationKind::DependsOn, *other);
                }
            }
        }
    }
}
