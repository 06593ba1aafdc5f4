//! Whether a group passes, and the build plan that comes of it.

use super::DetectError;
use super::run::{Outcome, Ran, Sections};
use crate::files::group::GroupElement;
use crate::files::plan::{BuildPlan, BuildPlanEntry, Require};
use crate::{Level, Log};

/// The most combinations of alternatives that are tried for one group.
const MAX_TRIALS: usize = 1 << 16;

type Found = (Vec<GroupElement>, BuildPlan);

/// Decides whether a group passes, and what it shall provide, from how its members ran.
pub(super) fn resolve(runs: &[(GroupElement, &Ran)], log: &dyn Log) -> Result<Found, DetectError> {
    for (element, ran) in runs {
        show(element, ran, log);
    }
    log.line(Level::Debug, "======== Results ========");
    let passed = passed(runs, log)?;

    let mut trials = Trials::default();
    let (group, needs) = trials.first_that_fits(&passed, log)?;
    if group.len() != runs.len() {
        let text = format!("{} of {} buildpacks participating", group.len(), runs.len());
        log.line(Level::Info, &text);
    }
    let width = group.iter().map(|it| it.id.len()).max().unwrap_or_default();
    for element in &group {
        let text = format!("{:width$} {}", element.id, element.version);
        log.line(Level::Info, &text);
    }
    let entries = needs.into_iter().map(|need| BuildPlanEntry {
        providers: need.providers.iter().map(provider).collect(),
        requires: need.requires,
    });
    let plan = BuildPlan {
        entries: entries.collect(),
    };
    let group = group.into_iter().map(|mut it| {
        it.optional = false;
        it
    });
    Ok((group.collect(), plan))
}

/// Output of a program that passed or failed is for who looks for a fault; other output is for all.
fn show(element: &GroupElement, ran: &Ran, log: &dyn Log) {
    let level = match ran.outcome {
        Outcome::Pass(_) | Outcome::Fail => Level::Debug,
        Outcome::Exit(_) | Outcome::Err(_) => Level::Info,
    };
    if !ran.output.is_empty() {
        log.line(level, &format!("======== Output: {element} ========"));
        log.printed(level, &ran.output);
    }
    if let Outcome::Err(text) = &ran.outcome {
        log.line(level, &format!("======== Error: {element} ========"));
        log.line(level, text);
    }
}

/// Those that passed, if the group passes with them alone.
fn passed<'a>(
    runs: &'a [(GroupElement, &Ran)],
    log: &dyn Log,
) -> Result<Vec<(&'a GroupElement, &'a [Sections])>, DetectError> {
    let mut passed: Vec<(&GroupElement, &[Sections])> = Vec::new();
    let mut passes = true;
    let mut erred = false;
    for (element, ran) in runs {
        let (level, text) = match &ran.outcome {
            Outcome::Pass(sections) => {
                passed.push((element, sections));
                (Level::Debug, format!("pass: {element}"))
            }
            Outcome::Fail if element.optional => (Level::Debug, format!("skip: {element}")),
            Outcome::Fail => (Level::Debug, format!("fail: {element}")),
            Outcome::Exit(Some(code)) => (Level::Info, format!("err:  {element} ({code})")),
            Outcome::Exit(None) | Outcome::Err(_) => (Level::Info, format!("err:  {element}")),
        };
        log.line(level, &text);
        if !matches!(ran.outcome, Outcome::Pass(_)) {
            passes &= element.optional;
            erred |= ran.outcome != Outcome::Fail;
        }
    }
    if !passes {
        return Err(if erred {
            DetectError::BuildpackErred
        } else {
            DetectError::NoneParticipating
        });
    }
    if passed.iter().all(|(element, _)| element.extension) {
        log.line(Level::Debug, "fail: no viable buildpacks in group");
        return Err(DetectError::NoneParticipating);
    }
    Ok(passed)
}

#[derive(Default)]
struct Trials {
    count: usize,
}

/// Who takes part, and what they need.
type Fit = (Vec<GroupElement>, Vec<Need>);

/// A member, with the alternative of its plan that is tried.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    element: &'a GroupElement,
    sections: &'a Sections,
    /// Whether the group may do without it: one with alternatives may be left out only once the
    /// last of them is tried.
    optional: bool,
}

impl Trials {
    /// Tries the alternatives of all members in turn, those of the last member first.
    fn first_that_fits(
        &mut self,
        members: &[(&GroupElement, &[Sections])],
        log: &dyn Log,
    ) -> Result<Fit, DetectError> {
        let mut choice = vec![0; members.len()];
        loop {
            let candidates = members
                .iter()
                .zip(&choice)
                .filter_map(|((element, sections), at)| {
                    Some(Candidate {
                        element,
                        sections: sections.get(*at)?,
                        optional: element.optional && *at + 1 == sections.len(),
                    })
                });
            if let Some(found) = self.fits(candidates.collect(), log)? {
                return Ok(found);
            }
            // The next choice: like counting, with the last member as the last digit.
            let more = choice.iter_mut().zip(members).rev().any(|(at, (_, all))| {
                *at = (*at + 1) % all.len().max(1);
                *at != 0
            });
            if !more {
                return Err(DetectError::NoneParticipating);
            }
        }
    }

    /// Takes away optional members until all that is required is provided and the other way round.
    fn fits(
        &mut self,
        mut candidates: Vec<Candidate<'_>>,
        log: &dyn Log,
    ) -> Result<Option<Fit>, DetectError> {
        self.count += 1;
        if self.count > MAX_TRIALS {
            return Err(DetectError::TooManyAlternatives { limit: MAX_TRIALS });
        }
        let text = format!("Resolving plan... (try #{})", self.count);
        log.line(Level::Debug, &text);
        loop {
            if candidates.is_empty() {
                log.line(Level::Debug, "fail: no viable buildpacks in group");
                return Ok(None);
            }
            let needs = needs(&candidates);
            let unmet = needs.iter().flat_map(|need| {
                let text = format!("requires {}", need.name);
                need.unmet.iter().map(move |it| (it, text.clone()))
            });
            let unused = needs.iter().flat_map(|need| {
                let text = format!("provides unused {}", need.name);
                need.unused.iter().map(move |it| (it, text.clone()))
            });
            let mut leave = Vec::new();
            for (element, reason) in unmet.chain(unused) {
                let may_leave = candidates
                    .iter()
                    .any(|it| it.element == element && it.optional);
                if !may_leave {
                    log.line(Level::Debug, &format!("fail: {element} {reason}"));
                    return Ok(None);
                }
                log.line(Level::Debug, &format!("skip: {element} {reason}"));
                leave.push(element.clone());
            }
            if leave.is_empty() {
                let group = candidates.into_iter().map(|it| it.element.clone());
                return Ok(Some((group.collect(), needs)));
            }
            candidates.retain(|it| !leave.contains(it.element));
        }
    }
}

/// What is required or provided under one name.
#[derive(Debug, Default)]
struct Need {
    name: String,
    providers: Vec<GroupElement>,
    requires: Vec<Require>,
    /// Those that provide it and came after the last who requires it.
    unused: Vec<GroupElement>,
    /// Those that require it and came before the first who provides it.
    unmet: Vec<GroupElement>,
}

/// All names, in the order in which they are first met; so the plan is the same each time.
fn needs(candidates: &[Candidate<'_>]) -> Vec<Need> {
    let mut needs = Vec::new();
    for Candidate {
        element, sections, ..
    } in candidates
    {
        for name in &sections.provides {
            need(&mut needs, name, |need| {
                need.unused.push((*element).clone());
            });
        }
        for require in &sections.requires {
            need(&mut needs, &require.name, |need| {
                need.providers.append(&mut need.unused);
                if need.providers.is_empty() {
                    need.unmet.push((*element).clone());
                } else {
                    need.requires.push(require.clone());
                }
            });
        }
    }
    needs
}

fn need(needs: &mut Vec<Need>, name: &str, change: impl FnOnce(&mut Need)) {
    if let Some(need) = needs.iter_mut().find(|it| it.name == name) {
        change(need);
    } else {
        let mut need = Need {
            name: name.to_owned(),
            ..Need::default()
        };
        change(&mut need);
        needs.push(need);
    }
}

/// A member as a plan names it.
fn provider(element: &GroupElement) -> GroupElement {
    GroupElement {
        extension: element.extension,
        ..element.identity()
    }
}
