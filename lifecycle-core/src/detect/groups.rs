//! The groups of an order, in the order in which they are tried.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::resolve::resolve;
use super::run::{Ran, run_detect};
use super::{DetectContext, DetectError};
use crate::buildpack::{BuildpackDescriptor, Kind, base_env, target};
use crate::env::Env;
use crate::files::FileError;
use crate::files::analyzed::TargetMetadata;
use crate::files::group::{GroupElement, is_for};
use crate::files::order::OrderGroup;
use crate::files::plan::BuildPlan;
use crate::log::Silent;
use crate::{Level, Log};

/// Walks the order, depth first.
pub(super) struct Groups<'a> {
    context: &'a DetectContext<'a>,
    base: Env,
    target: OnceLock<TargetMetadata>,
}

/// A member of a group, or what stands for several.
#[derive(Clone)]
enum Item {
    /// A module, and the composite buildpacks that it is a member of.
    Module(GroupElement, Vec<String>),
    /// The order of extensions.
    Extensions,
}

/// What ran so far, by kind and name.
type Runs = BTreeMap<(Kind, String), Ran>;

type Found = (Vec<GroupElement>, BuildPlan);

impl<'a> Groups<'a> {
    pub(super) fn of(context: &'a DetectContext<'a>) -> Self {
        Self {
            context,
            base: base_env(&context.modules.env),
            target: OnceLock::new(),
        }
    }

    /// Looks up all modules that the order names, so that a broken builder is found at once.
    pub(super) fn new(context: &'a DetectContext<'a>, log: &dyn Log) -> Result<Self, DetectError> {
        let this = Self::of(context);
        let mut groups: Vec<_> = (context.order.order.iter())
            .map(|group| this.with_system_buildpacks(group, log))
            .collect();
        let extensions = as_extensions(&context.order.order_extensions);
        groups.extend(extensions.into_iter().map(|group| group.group));
        for element in groups.iter().flatten() {
            let descriptor = this
                .look_up(element)
                .map_err(|source| DetectError::Initialize { source })?;
            descriptor.api(element)?;
        }
        Ok(this)
    }

    /// The first group that passes.
    ///
    /// What is of interest only when detection fails goes to `results`.
    pub(super) fn detect(&self, results: &dyn Log, log: &dyn Log) -> Result<Found, DetectError> {
        let order = &self.context.order.order;
        let groups = order.iter().map(|group| {
            let members = self.with_system_buildpacks(group, &Silent);
            let members = members.into_iter().map(|it| Item::Module(it, Vec::new()));
            let extensions =
                (!self.context.order.order_extensions.is_empty()).then_some(Item::Extensions);
            extensions.into_iter().chain(members).collect()
        });
        let mut walk = Walk {
            groups: self,
            runs: Runs::new(),
            results,
            log,
        };
        walk.first_of(groups.collect(), &[], &[], false)
    }

    fn look_up(&self, element: &GroupElement) -> Result<BuildpackDescriptor, FileError> {
        let dir = self.context.modules.dir_of(Kind::of(element));
        BuildpackDescriptor::read(dir, element)
    }

    fn with_system_buildpacks(&self, group: &OrderGroup, log: &dyn Log) -> Vec<GroupElement> {
        let mut members = group.group.clone();
        if !self.context.modules.platform_api.has_system_buildpacks() {
            return members;
        }
        // A buildpack may stand in both lists: what counts is the group alone.
        let missing = |list: &[GroupElement]| -> Vec<GroupElement> {
            list.iter()
                .filter(|it| !group.group.iter().any(|member| member.id == it.id))
                .cloned()
                .collect()
        };
        let system = &self.context.system.system;
        let pre = missing(&system.pre.buildpacks);
        let post = missing(&system.post.buildpacks);
        if !pre.is_empty() {
            let text = format!("Prepending {} system buildpack(s) to group", pre.len());
            log.line(Level::Debug, &text);
        }
        if !post.is_empty() {
            let text = format!("Appending {} system buildpack(s) to group", post.len());
            log.line(Level::Debug, &text);
        }
        members.splice(..0, pre);
        members.extend(post);
        members
    }

    /// The target, completed when it is first needed.
    fn target(&self, log: &dyn Log) -> &TargetMetadata {
        let modules = self.context.modules;
        self.target
            .get_or_init(|| target::completed(modules.target.clone(), &modules.os_release, log))
    }
}

/// One walk through all groups.
struct Walk<'a> {
    groups: &'a Groups<'a>,
    runs: Runs,
    results: &'a dyn Log,
    log: &'a dyn Log,
}

impl Walk<'_> {
    /// Tries each of `groups`, with `next` behind it; and if none passes that need not, `next` alone.
    fn first_of(
        &mut self,
        groups: Vec<Vec<Item>>,
        done: &[Member],
        next: &[Item],
        optional: bool,
    ) -> Result<Found, DetectError> {
        let mut erred = false;
        for mut group in groups {
            group.extend_from_slice(next);
            match self.group(&group, done.to_vec()) {
                Err(DetectError::BuildpackErred) => erred = true,
                Err(DetectError::NoneParticipating) => {}
                result => return result,
            }
        }
        if optional {
            return self.group(next, done.to_vec());
        }
        Err(if erred {
            DetectError::BuildpackErred
        } else {
            DetectError::NoneParticipating
        })
    }

    fn group(&mut self, items: &[Item], mut done: Vec<Member>) -> Result<Found, DetectError> {
        let context = self.groups.context;
        let mut rest = items;
        while let Some((item, next)) = rest.split_first() {
            rest = next;
            let (element, path) = match item {
                Item::Extensions => {
                    let groups = as_extensions(&context.order.order_extensions);
                    return self.first_of(items_of(&groups, &[]), &done, next, true);
                }
                Item::Module(element, path) => (element, path),
            };
            let kind = Kind::of(element);
            let is_same = |it: &Member| it.kind() == kind && it.element.id == element.id;
            if done.iter().any(is_same) {
                continue;
            }
            if !self.counts_here(element) {
                continue;
            }
            let descriptor = self
                .groups
                .look_up(element)
                .map_err(|source| DetectError::Lookup { source })?;
            if !descriptor.order.is_empty() {
                let name = element.to_string();
                if path.contains(&name) {
                    return Err(DetectError::Cycle { buildpack: name });
                }
                let path = [path.as_slice(), &[name]].concat();
                let groups = items_of(&descriptor.order, &path);
                return self.first_of(groups, &done, next, element.optional);
            }
            if let Some(member) = self.member(element, descriptor)? {
                done.push(member);
            }
        }
        self.run_all(&done)?;
        let runs = done.iter().filter_map(|member| {
            let ran = self.runs.get(&member.key())?;
            Some((member.element.clone(), ran))
        });
        resolve(&runs.collect::<Vec<_>>(), self.results)
    }

    /// Whether the order has this module in the execution environment.
    fn counts_here(&self, element: &GroupElement) -> bool {
        let modules = self.groups.context.modules;
        let counts = !modules.platform_api.has_exec_env()
            || modules.exec_env.is_empty()
            || is_for(&element.exec_env, &modules.exec_env);
        if !counts {
            let text = format!(
                "Skipping {element} due to execution environment mismatch; current: {}, \
                 order has it for: [{}]",
                modules.exec_env,
                element.exec_env.join(" ")
            );
            self.log.line(Level::Debug, &text);
        }
        counts
    }

    /// The member that this module is, unless it is for other execution environments.
    fn member(
        &mut self,
        element: &GroupElement,
        descriptor: BuildpackDescriptor,
    ) -> Result<Option<Member>, DetectError> {
        let modules = self.groups.context.modules;
        let api = descriptor.api(element)?;
        let mut named = element.clone();
        named.api.clone_from(&descriptor.api);
        named.homepage.clone_from(&descriptor.info.homepage);
        named.exec_env.clear();
        let fits = !modules.platform_api.has_targets()
            || descriptor.targets.is_empty()
            || descriptor.targets.iter().any(|it| {
                let text = format!("Checking for match against descriptor: {}", go_text(it));
                self.log.line(Level::Debug, &text);
                it.fits(self.groups.target(self.log))
            });
        if !fits && !element.optional {
            let ran = Ran::mismatch(self.groups.target(self.log), &descriptor.targets);
            let member = Member {
                element: named,
                descriptor,
            };
            // Also where the module ran before, as an optional one.
            self.runs.insert(member.key(), ran);
            return Ok(Some(member));
        }
        let counts = modules.platform_api.has_exec_env() && api.has_exec_env();
        if counts && !modules.exec_env.is_empty() && !descriptor.runs_in(&modules.exec_env) {
            let text = format!(
                "Skipping {element} due to execution environment mismatch; current: {}, \
                 buildpack supports: [{}]",
                modules.exec_env,
                descriptor.info.exec_env.join(" ")
            );
            self.log.line(Level::Debug, &text);
            return Ok(None);
        }
        Ok(Some(Member {
            element: named,
            descriptor,
        }))
    }

    /// Runs all that did not run before, at once.
    fn run_all(&mut self, members: &[Member]) -> Result<(), DetectError> {
        let target = self.groups.target(self.log);
        let new = members
            .iter()
            .filter(|it| !self.runs.contains_key(&it.key()));
        let phase = tracing::Span::current();
        let ran = std::thread::scope(|scope| {
            let threads: Vec<_> = new
                .map(|member| {
                    let (groups, phase) = (self.groups, phase.clone());
                    let thread = scope.spawn(move || {
                        let _phase = phase.entered();
                        let modules = groups.context.modules;
                        run_detect(
                            modules,
                            &groups.base,
                            target,
                            &member.element,
                            &member.descriptor,
                        )
                    });
                    (member.key(), thread)
                })
                .collect();
            threads
                .into_iter()
                .map(|(key, thread)| {
                    let ran = thread.join().unwrap_or_else(|_panic| Ok(Ran::lost()))?;
                    Ok((key, ran))
                })
                .collect::<Result<Vec<_>, DetectError>>()
        })?;
        self.runs.extend(ran);
        Ok(())
    }
}

/// A module that takes part in a group.
#[derive(Clone)]
struct Member {
    element: GroupElement,
    descriptor: BuildpackDescriptor,
}

impl Member {
    fn kind(&self) -> Kind {
        Kind::of(&self.element)
    }

    fn key(&self) -> (Kind, String) {
        (self.kind(), self.element.to_string())
    }
}

fn items_of(groups: &[OrderGroup], path: &[String]) -> Vec<Vec<Item>> {
    groups
        .iter()
        .map(|group| {
            let members = group.group.iter().cloned();
            members.map(|it| Item::Module(it, path.to_vec())).collect()
        })
        .collect()
}

/// No group needs extensions to pass.
fn as_extensions(groups: &[OrderGroup]) -> Vec<OrderGroup> {
    groups
        .iter()
        .map(|group| {
            let members = group.group.iter().cloned().map(|mut it| {
                it.extension = true;
                it.optional = true;
                it
            });
            OrderGroup::new(members.collect())
        })
        .collect()
}

/// A target as Go prints one.
fn go_text(target: &crate::buildpack::descriptor::Target) -> String {
    let distros: Vec<_> = target
        .distros
        .iter()
        .map(|it| format!("{{{} {}}}", it.name, it.version))
        .collect();
    format!(
        "{{{} {} {} [{}]}}",
        target.os,
        target.arch,
        target.arch_variant,
        distros.join(" ")
    )
}
