//! What a user adds to a builder, and the order that this gives, as pack has it.
//!
//! | said | order |
//! |---|---|
//! | `buildpacks` | one group of them; where the builder itself is among them, its groups stand there, each |
//! | `before`, `after` | the builder's groups, with these in front of and behind each |
//! | `extensions` | one group of them, in place of the builder's |
//!
//! `before` and `after` count only where no `buildpacks` are said. Modules that are had more than once
//! are so only with the same content; one that the builder has in other content is replaced.

use std::collections::BTreeMap;

use lifecycle_core::buildpack::Kind;
use lifecycle_core::files::group::GroupElement;
use lifecycle_core::files::order::OrderGroup;

use super::id::{ModuleId, ModuleName, ModuleVersion};
use super::module::Module;
use super::package::Package;
use super::{Builder, module};

/// What a user adds to a builder.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "pack knows these")]
pub struct Additions {
    /// In place of the builder's order.
    pub buildpacks: Vec<Part>,
    /// In front of each group.
    pub before: Vec<Part>,
    /// Behind each group.
    pub after: Vec<Part>,
    /// In place of the builder's groups of extensions.
    pub extensions: Vec<Part>,
}

/// One thing that is added.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_enums, reason = "pack knows these")]
pub enum Part {
    /// The builder's own groups: `from=builder`.
    Builder,
    /// What the builder has by this id, in this version or the only one.
    Named {
        /// Its id.
        id: ModuleId,
        /// Its version, if it was said.
        version: Option<ModuleVersion>,
    },
    /// What was had from elsewhere. The module that is meant joins the order; those that it needs are
    /// there.
    Package(Box<Package>),
}

impl Builder {
    /// The builder with `additions`. Who speaks an API that the builder's lifecycle does not is found
    /// when it is run, for the lifecycle may be another.
    pub fn with(mut self, additions: Additions) -> Result<Self, AddError> {
        let Additions {
            buildpacks,
            before,
            after,
            extensions,
        } = &additions;
        let lists = [buildpacks, before, after, extensions];
        self.is_added_to |= lists.iter().any(|it| !it.is_empty());
        let own = std::mem::take(&mut self.order.order);
        let mut order: Vec<OrderGroup> = Vec::new();
        let mut from_builder = false;
        for part in additions.buildpacks {
            if matches!(part, Part::Builder) {
                if std::mem::replace(&mut from_builder, true) {
                    return Err(AddError::BuilderTwice);
                }
                let lead = order.pop().map(|it| it.group).unwrap_or_default();
                order = own
                    .iter()
                    .map(|it| OrderGroup::new([lead.as_slice(), &it.group].concat()))
                    .collect();
                // A builder without groups takes nothing away.
                if order.is_empty() && !lead.is_empty() {
                    order.push(OrderGroup::new(lead));
                }
                continue;
            }
            let member = self.add(Kind::Buildpack, part)?;
            if order.is_empty() {
                order.push(OrderGroup::default());
            }
            for group in &mut order {
                group.group.push(member.clone());
            }
        }
        if order.is_empty() {
            order = own;
            for part in additions.before {
                let member = self.add(Kind::Buildpack, part)?;
                for group in &mut order {
                    group.group.insert(0, member.clone());
                }
            }
            for part in additions.after {
                let member = self.add(Kind::Buildpack, part)?;
                for group in &mut order {
                    group.group.push(member.clone());
                }
            }
        }
        self.order.order = order;
        if !additions.extensions.is_empty() {
            let mut group = OrderGroup::default();
            for part in additions.extensions {
                // Each stands in front of those that were said before it.
                group.group.insert(0, self.add(Kind::Extension, part)?);
            }
            self.order.order_extensions = vec![group];
        }
        check_cycles(&self.buildpacks).map_err(|module| AddError::Cycle { module })?;
        for module in &self.buildpacks {
            for member in module.order.iter().flat_map(|it| &it.group) {
                if self.module(Kind::Buildpack, member).is_none() {
                    return Err(AddError::Lacks {
                        module: module.name().to_string(),
                        member: member.to_string(),
                    });
                }
            }
        }
        Ok(self)
    }

    /// Adds the modules of `part`, and says which one is meant.
    fn add(&mut self, kind: Kind, part: Part) -> Result<GroupElement, AddError> {
        let package = match part {
            Part::Builder => return Err(AddError::BuilderThere),
            Part::Named { id, version } => {
                return self.named(kind, &id, version.as_ref());
            }
            Part::Package(package) => package,
        };
        let element = package.main.element();
        let modules = match kind {
            Kind::Buildpack => &mut self.buildpacks,
            Kind::Extension => &mut self.extensions,
        };
        for new in package.into_modules() {
            if new.kind != kind {
                return Err(AddError::Kind {
                    module: new.name().to_string(),
                    expected: module::word(kind),
                });
            }
            match modules.iter_mut().find(|it| it.name() == new.name()) {
                None => modules.push(new),
                Some(old) if old.is_same(&new) => {}
                // Only the builder's own may be replaced; two that the user named are a mistake.
                Some(old) if matches!(old.content, super::Content::Builder) => *old = new,
                Some(old) => {
                    return Err(AddError::Different {
                        module: new.name().to_string(),
                        one: old.origin.uri.clone(),
                        other: new.origin.uri,
                    });
                }
            }
        }
        Ok(element)
    }

    /// The member that is called so.
    fn named(
        &self,
        kind: Kind,
        id: &ModuleId,
        version: Option<&ModuleVersion>,
    ) -> Result<GroupElement, AddError> {
        let mut found: Vec<&Module> = self
            .modules(kind)
            .iter()
            .filter(|it| it.id == *id && version.is_none_or(|version| it.version == *version))
            .collect();
        let text = version.map_or_else(|| id.to_string(), |version| format!("{id}@{version}"));
        match (found.pop(), found.is_empty()) {
            (Some(module), true) => Ok(module.element()),
            (None, _) => Err(AddError::Unknown { module: text }),
            (Some(_), false) => Err(AddError::Several { module: text }),
        }
    }
}

/// Whether a composite buildpack stands for itself, perhaps by way of others: then its name.
pub(crate) fn check_cycles<'a>(
    modules: impl IntoIterator<Item = &'a Module>,
) -> Result<(), String> {
    /// How far a module was followed.
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        Open,
        Done,
    }
    let orders: BTreeMap<ModuleName, Vec<ModuleName>> = modules
        .into_iter()
        .map(|module| {
            let members = module.order.iter().flat_map(|it| &it.group);
            let members = members.filter_map(|it| ModuleName::try_from(it).ok());
            (module.name(), members.collect())
        })
        .collect();
    let mut marks: BTreeMap<&ModuleName, Mark> = BTreeMap::new();
    for start in orders.keys() {
        // Depth first, without a stack of calls: how deep they nest is not ours to say.
        let mut path: Vec<(&ModuleName, usize)> = vec![(start, 0)];
        if marks.contains_key(start) {
            continue;
        }
        marks.insert(start, Mark::Open);
        while let Some((name, next)) = path.pop() {
            let Some(member) = orders.get(name).and_then(|it| it.get(next)) else {
                marks.insert(name, Mark::Done);
                continue;
            };
            path.push((name, next + 1));
            match marks.get(member) {
                Some(Mark::Open) => return Err(member.to_string()),
                Some(Mark::Done) => {}
                None => {
                    marks.insert(member, Mark::Open);
                    path.push((member, 0));
                }
            }
        }
    }
    Ok(())
}

/// Why something cannot be added to a builder.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The builder's groups can stand in one place only.
    #[error("the buildpacks of the builder can be taken once only")]
    BuilderTwice,
    /// The builder's groups cannot stand there.
    #[error("the buildpacks of the builder are in its groups already")]
    BuilderThere,
    /// A composite buildpack stands for itself, in the end.
    #[error("`{module}` stands for itself")]
    Cycle {
        /// Which.
        module: String,
    },
    /// Two are called the same, and are not.
    #[error("`{module}` is there twice with different content: from `{one}` and from `{other}`")]
    Different {
        /// Which.
        module: String,
        /// Where one was had from.
        one: String,
        /// Where the other was had from.
        other: String,
    },
    /// It is of the other kind.
    #[error("`{module}` is not of the kind `{expected}`")]
    Kind {
        /// Which.
        module: String,
        /// What it should be.
        expected: &'static str,
    },
    /// A composite buildpack names what is not there.
    #[error("`{module}` stands for `{member}`, which is neither in its package nor in the builder")]
    Lacks {
        /// Which.
        module: String,
        /// What it names.
        member: String,
    },
    /// The builder has several.
    #[error("the builder has `{module}` in several versions: say which")]
    Several {
        /// Which.
        module: String,
    },
    /// The builder has none.
    #[error("the builder has no `{module}`")]
    Unknown {
        /// Which.
        module: String,
    },
}

#[cfg(test)]
mod tests;
