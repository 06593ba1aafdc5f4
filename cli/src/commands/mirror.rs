//! `sealpack mirror`: images that a policy accepts, with all that belongs to them.
//!
//! 1. [`sources`]: which images are meant; [`destination`]: where each goes.
//! 2. Each is judged where it lies.
//! 3. Each that may go is copied, judged where it arrived, and tagged, in this order ([`crate::gated`]).

mod args;
mod destination;
mod once;
mod sources;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use gate::{Judged, PolicySet};
use oci::{Copied, Found, Location, Reference, Repository, Store};
use policies::{Finding, Policy};
use report::mirror::{Entry, Mirrored, Status};

pub(crate) use self::args::Mirror;
use self::destination::Destination;
use self::once::Sent;
use self::sources::{MAX_IMAGES, Origin, Source};
use crate::args::Format;
use crate::commands::policy;
use crate::environment::{self, Environment};
use crate::error::{CommandError, Message};
use crate::gated::{Gates, Stop};
use crate::images::{Lookup, with_hint};
use crate::transfer::Transfer;
use crate::ui::{Tone, Ui, counted, size};
use crate::written;

/// An image of the run, as far as it got.
struct Item {
    entry: Entry,
    /// What the image is called: by it its policy is chosen.
    name: Option<Repository>,
    destination: Option<Reference>,
    /// What is to be copied: none, if it stopped somewhere.
    accepted: Option<Accepted>,
    /// What the policy has against it, each cause once.
    causes: Vec<Finding>,
}

struct Accepted {
    found: Found,
    policy: Arc<Policy>,
}

pub(crate) async fn run(
    args: Mirror,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let policies = policy::load(&args.policy, &args.identity.signers(environment)?)?;
    let (to, named) = args
        .places
        .split_last()
        .ok_or_else(|| Message("no place is named".to_owned()))?;
    let destination = Destination::parse(to)?;
    let sources = sources::all(named, &args)?;
    let images = Lookup::new(&args.access, environment, ui);
    ui.begin("mirror", "finding images");
    let mut items = plan(&sources, &destination, &images, environment).await?;

    let accepted = policies.policies().iter().flat_map(|it| it.accepts());
    let gates = Gates::new(&args.identity.trust(accepted)?);
    let jobs = usize::from(args.jobs);
    let judging = items.drain(..).map(|it| {
        let (policies, gates, images) = (&policies, &gates, &images);
        async move { judge(it, policies, gates, images, ui).await }
    });
    let mut items: Vec<Item> = stream::iter(judging.collect::<Vec<_>>())
        .buffered(jobs)
        .collect()
        .await;
    let all_may_go = items.iter().all(|it| it.accepted.is_some());
    if args.dry_run {
        for item in &mut items {
            compare(item, &images).await;
        }
    } else if all_may_go || args.keep_going {
        let run = Run {
            gates: &gates,
            sent: Sent::default(),
            stores: open(&mut items, &images).await,
            ui,
        };
        let carrying = items.drain(..).map(|it| run.carry(it));
        items = stream::iter(carrying.collect::<Vec<_>>())
            .buffered(jobs)
            .collect()
            .await;
        run.finish(&mut items).await;
    } else {
        for item in items.iter_mut().filter(|it| it.accepted.is_some()) {
            item.entry.status = Status::Held;
        }
    }
    let (entries, causes) = items.into_iter().map(|it| (it.entry, it.causes)).unzip();
    let causes: Vec<_> = causes;
    let report = Mirrored::new(to, args.dry_run, entries);
    if let Some(path) = &args.html {
        written::write(path, &report.page(), ui)?;
    }
    ui.result(args.printed.output, &report, print)?;
    outcome(&report, &causes, &args)
}

/// All images that are meant, each with where it goes. What cannot be listed is one that could not be
/// decided.
async fn plan(
    sources: &[Source],
    destination: &Destination,
    images: &Lookup<'_>,
    environment: &Environment,
) -> Result<Vec<Item>, CommandError> {
    let mut items: Vec<Item> = Vec::new();
    let mut goes: BTreeMap<String, String> = BTreeMap::new();
    for source in sources {
        let origins = match source.images(images, environment).await {
            Ok(origins) => origins,
            Err(error) => {
                let mut entry = Entry::new(source.to_string());
                stop(&mut entry, Status::Undecided, &error);
                items.push(Item {
                    entry,
                    name: None,
                    destination: None,
                    accepted: None,
                    causes: Vec::new(),
                });
                continue;
            }
        };
        if origins.is_empty() {
            return Err(Message(format!("no tag matches `{source}`")).into());
        }
        for origin in origins {
            let to = destination.of(&origin)?;
            let from = origin.reference.to_string();
            match goes.insert(to.to_string(), from.clone()) {
                None => items.push(Item::new(&origin, to)),
                Some(other) if other == from => {}
                Some(other) => {
                    return Err(CommandError::undecided(Message(format!(
                        "`{other}` and `{from}` would both be `{to}`"
                    )))
                    .hint(
                        "end the destination with `/`: then each repository goes to one of its own",
                    ));
                }
            }
        }
        if items.len() > MAX_IMAGES {
            return Err(Message(format!("there are more than {MAX_IMAGES} images")).into());
        }
    }
    Ok(items)
}

/// Finds an image, and judges it where it lies.
async fn judge(
    mut item: Item,
    policies: &PolicySet,
    gates: &Gates,
    images: &Lookup<'_>,
    ui: &Ui,
) -> Item {
    let Some(destination) = &item.destination else {
        return item;
    };
    let entry = &mut item.entry;
    let found = async {
        let reference: Reference = entry.source.parse()?;
        let found = images.find_provable(&reference).await?;
        // What has no name where it lies has one where it goes.
        let name = item.name.as_ref().or_else(|| policy::name(destination));
        let policy = Arc::clone(policies.choose(name, None)?);
        Ok::<_, CommandError>((found, policy))
    };
    let (found, policy) = match found.await {
        Ok(found) => found,
        Err(error) => {
            stop(entry, Status::Undecided, &error);
            return item;
        }
    };
    entry.image = Some(found.reference.to_string());
    entry.digest = Some(found.descriptor.digest.clone());
    entry.policy = Some(policy.name().to_owned());
    ui.begin("policy", entry.source.clone());
    match gates.before(&found, &policy, environment::now()).await {
        Ok(answer) => {
            seen(entry, &answer.judged);
            item.accepted = Some(Accepted { found, policy });
        }
        Err(stopped) => say(&mut item, stopped),
    }
    item
}

/// Says of an accepted image whether the destination has it already.
async fn compare(item: &mut Item, images: &Lookup<'_>) {
    let (Some(accepted), Some(destination)) = (&item.accepted, &item.destination) else {
        return;
    };
    let there = async {
        let Some(store) = images.existing(destination).await? else {
            return Ok(false);
        };
        match destination.selector() {
            None => Ok(false),
            Some(selector) => match store.resolve(&selector).await {
                Ok(there) => Ok(there.digest == accepted.found.descriptor.digest),
                Err(error) if error.is_not_found() => Ok(false),
                Err(error) => Err(with_hint(error, destination)),
            },
        }
    };
    match there.await {
        Ok(true) => item.entry.status = Status::There,
        Ok(false) => item.entry.status = Status::Planned,
        Err(error) => stop(&mut item.entry, Status::Undecided, &error),
    }
}

/// Opens the destinations of all that is accepted, each once.
async fn open(items: &mut [Item], images: &Lookup<'_>) -> BTreeMap<Location, Arc<dyn Store>> {
    let mut stores: BTreeMap<Location, Arc<dyn Store>> = BTreeMap::new();
    for item in items {
        let Some(destination) = item
            .destination
            .as_ref()
            .filter(|_| item.accepted.is_some())
        else {
            continue;
        };
        if stores.contains_key(&destination.location) {
            continue;
        }
        match images.create(destination).await {
            Ok(store) => {
                stores.insert(destination.location.clone(), store);
            }
            Err(error) => {
                stop(&mut item.entry, Status::Failed, &error);
                item.accepted = None;
            }
        }
    }
    stores
}

/// What the images of a run share while they are copied.
struct Run<'a> {
    gates: &'a Gates,
    sent: Sent,
    stores: BTreeMap<Location, Arc<dyn Store>>,
    ui: &'a Ui,
}

impl Run<'_> {
    async fn carry(&self, mut item: Item) -> Item {
        let (Some(accepted), Some(destination)) = (&item.accepted, &item.destination) else {
            return item;
        };
        let Some(store) = self.stores.get(&destination.location) else {
            // Said of the first image that was to go there.
            let error = Message("the destination could not be opened".to_owned()).into();
            stop(&mut item.entry, Status::Failed, &error);
            return item;
        };
        match self.carried(accepted, destination, store).await {
            Ok(copied) => {
                let entry = &mut item.entry;
                count(entry, &copied);
                let is_new = copied.new.manifests + copied.new.blobs > 0;
                entry.status = if is_new {
                    Status::Mirrored
                } else {
                    Status::There
                };
                if is_new {
                    let new = size(copied.new.bytes);
                    self.ui
                        .done("mirror", format_args!("{destination} ({new} written)"));
                }
            }
            Err(stopped) => say(&mut item, stopped),
        }
        item
    }

    async fn carried(
        &self,
        accepted: &Accepted,
        destination: &Reference,
        store: &Arc<dyn Store>,
    ) -> Result<Copied, Stop> {
        let found = Found {
            store: self.sent.from(
                &accepted.found.reference.location,
                Arc::clone(&accepted.found.store),
            ),
            ..accepted.found.clone()
        };
        let to = self.sent.to(&destination.location, Arc::clone(store));
        let progress = Transfer::new(self.ui, "mirror");
        let now = environment::now();
        let to = (destination, &to);
        let carried = self
            .gates
            .carry(&found, &accepted.policy, to, &progress, now);
        let copied = carried.await?;
        if let Some(tag) = &destination.tag {
            let tagged = to.1.tag(&copied.root, tag).await;
            tagged.map_err(|error| Stop::Broken(with_hint(error, destination)))?;
        }
        Ok(copied)
    }

    /// Writes what is written as a whole.
    async fn finish(&self, items: &mut [Item]) {
        for (location, store) in &self.stores {
            let Err(error) = store.finish().await else {
                continue;
            };
            let error = CommandError::undecided(error);
            let is_there = |it: &&mut Item| {
                it.destination
                    .as_ref()
                    .is_some_and(|to| to.location == *location)
                    && matches!(it.entry.status, Status::Mirrored | Status::There)
            };
            for item in items.iter_mut().filter(is_there) {
                stop(&mut item.entry, Status::Failed, &error);
            }
        }
    }
}

impl Item {
    fn new(origin: &Origin, destination: Reference) -> Self {
        Self {
            entry: Entry {
                destination: destination.to_string(),
                ..Entry::new(origin.reference.to_string())
            },
            name: origin.name.clone(),
            destination: Some(destination),
            accepted: None,
            causes: Vec::new(),
        }
    }
}

fn seen(entry: &mut Entry, judged: &Judged) {
    entry.findings = judged.verdict.findings().to_vec();
    entry.proofs = judged.verdict.evidence().len();
    entry.unproven = judged.unproven.len();
}

fn count(entry: &mut Entry, copied: &Copied) {
    entry.new_manifests = copied.new.manifests;
    entry.new_blobs = copied.new.blobs;
    entry.new_bytes = copied.new.bytes;
    entry.skipped_bytes = copied.skipped.bytes;
    entry.referrers = copied.referrers;
    entry.dropped = copied
        .dropped
        .iter()
        .map(|it| format!("{}: {}", it.descriptor.digest, it.problem))
        .collect();
}

/// Notes where an image stopped, and why.
fn say(item: &mut Item, stopped: Stop) {
    let entry = &mut item.entry;
    let judged = match stopped {
        Stop::Undecided(error) => return stop(entry, Status::Undecided, &error),
        Stop::Broken(error) => return stop(entry, Status::Failed, &error),
        Stop::Rejected(judged) => {
            seen(entry, &judged);
            entry.status = Status::Refused;
            entry.problems = policy::notes(&judged);
            judged
        }
        Stop::Doubted(error, judged) => {
            seen(entry, &judged);
            stop(entry, Status::Undecided, &error);
            judged
        }
        Stop::Lost(judged) => {
            entry.findings = judged.verdict.findings().to_vec();
            entry.status = Status::Failed;
            entry.problems =
                vec!["it arrived without what proves it, and was not tagged".to_owned()];
            judged
        }
    };
    let causes = judged.verdict.causes().into_iter();
    item.causes = causes.cloned().collect();
}

fn stop(entry: &mut Entry, status: Status, error: &CommandError) {
    entry.status = status;
    entry.problems = vec![error.line()];
    let mut lines = error.lines().into_iter();
    entry.hint = lines.rfind(|it| it.label == "hint").map(|it| it.text);
}

fn print(ui: &Ui, report: &Mirrored) {
    for entry in &report.images {
        let (tone, word) = match entry.status {
            Status::Mirrored => (Tone::Good, "mirrored"),
            Status::There => (Tone::Good, "there"),
            Status::Planned => (Tone::Label, "planned"),
            Status::Held => (Tone::Odd, "held back"),
            Status::Refused => (Tone::Bad, "refused"),
            Status::Undecided => (Tone::Odd, "undecided"),
            Status::Failed => (Tone::Bad, "failed"),
        };
        let word = ui.paint(tone, format_args!("{word:<9}"));
        let way = match entry.destination.as_str() {
            "" => entry.source.clone(),
            to => format!("{} to {to}", entry.source),
        };
        match entry.status {
            Status::Mirrored => ui.line(format_args!(
                "{word} {way} ({} written, {})",
                size(entry.new_bytes),
                counted(entry.referrers, "referrer")
            )),
            _ => ui.line(format_args!("{word} {way}")),
        }
    }
}

fn were(count: usize) -> &'static str {
    if count == 1 { "was" } else { "were" }
}

/// What the run as a whole comes to: 2 if something is not known or went wrong, 1 if something was
/// refused.
fn outcome(report: &Mirrored, causes: &[Vec<Finding>], args: &Mirror) -> Result<(), CommandError> {
    let (refused, stuck) = (
        report.count(Status::Refused),
        report.count(Status::Undecided) + report.count(Status::Failed),
    );
    let all = report.images.len();
    if refused + stuck == 0 {
        return Ok(());
    }
    let held = report.count(Status::Held);
    let mut error = if stuck > 0 {
        CommandError::undecided(Message(format!(
            "{stuck} of {all} images could not be judged or copied{}",
            match refused {
                0 => String::new(),
                refused => format!(", and {refused} {} refused", were(refused)),
            }
        )))
    } else {
        CommandError::rejected(Message(format!(
            "{refused} of {all} images {} refused",
            were(refused)
        )))
    };
    for (entry, causes) in report.images.iter().zip(causes) {
        for it in causes {
            let text = format!("{}: {}: {}", entry.source, it.rule, it.message);
            error = error.finding_with(text, it.solution.clone());
        }
        // Whatever strangers attached to an image that is refused is in the report.
        if entry.status != Status::Refused {
            for problem in &entry.problems {
                let hint = entry.hint.clone();
                error = error.finding_with(format!("{}: {problem}", entry.source), hint);
            }
        }
    }
    if held > 0 {
        error = error
            .note(format!(
                "{held} {} accepted and held back: it is all or none",
                were(held)
            ))
            .hint("`--keep-going` mirrors those that are accepted");
    }
    if args.printed.output == Format::Text && args.html.is_none() && refused > 0 {
        error = error.hint("`--output json` or `--html FILE` says all that is known of each");
    }
    Err(error)
}
