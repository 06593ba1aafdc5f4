//! The builder that a build was asked for: a file, or an image, which is resolved once, here, and judged
//! before anything of it is used.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use gate::PolicySet;
use gate::{Gate, GateOptions, Image as Judging, Question};
use oci::{Found, Image, Limits, Platform, Reference};
use platform::builder::{Builder, BuilderImageError};

use super::failure::OLD_BUILDER;
use crate::args::IdentityArgs;
use crate::commands::policy;
use crate::environment::{self, Environment};
use crate::error::{CommandError, Context as _, Message};
use crate::images::Lookup;
use crate::typed;
use crate::ui::Ui;

/// What a user means by the name of a builder.
#[derive(Debug)]
pub(crate) enum BuilderName {
    /// A `builder.toml`.
    File(PathBuf),
    /// A builder image.
    Image(Box<Reference>),
}

impl fmt::Display for BuilderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Image(reference) => reference.fmt(f),
        }
    }
}

/// The builder that was named, else the file in or beside the app's folder.
pub(crate) fn find(
    named: Option<&str>,
    app: &Path,
    environment: &Environment,
) -> Result<BuilderName, CommandError> {
    if let Some(name) = named {
        let path = environment.directory.join(name);
        let is_toml = path.extension().is_some_and(|it| it == "toml");
        if path.is_file() {
            return Ok(BuilderName::File(path));
        }
        if is_toml && !path.exists() {
            return Err(
                CommandError::undecided(Message(format!("builder file `{name}` not found"))).hint(
                    "`--builder` takes a `builder.toml`, or a builder image: `HOST/REPO:TAG` or `oci:DIR:TAG`",
                ),
            );
        }
        let reference = typed::image(name)
            .context(|| format!("`{name}` is neither a file nor an image"))
            .map_err(|it| {
                it.hint("name a `builder.toml`, or an image: `HOST/REPO:TAG`, `oci:DIR:TAG`")
            })?;
        return Ok(BuilderName::Image(Box::new(reference)));
    }
    let beside = app.parent().map(|it| it.join("builder.toml"));
    [Some(app.join("builder.toml")), beside]
        .into_iter()
        .flatten()
        .find(|it| it.is_file())
        .map(BuilderName::File)
        .ok_or_else(|| {
            CommandError::undecided(Message(format!(
                "`builder.toml` is missing in `{}` and beside it",
                app.display()
            )))
            .hint("name a builder image or a file with `--builder IMAGE|FILE`")
        })
}

/// Images that were resolved and judged: a name is one image in all of a build, for whatever platforms.
#[derive(Debug, Default)]
pub(super) struct Resolved(Mutex<Vec<(Reference, Found)>>);

impl Resolved {
    /// What `reference` is; resolved and judged the first time that it is asked for.
    pub(super) async fn find(
        &self,
        what: &'static str,
        reference: &Reference,
        (inputs, images, ui): (Inputs<'_>, &Lookup<'_>, &Ui),
    ) -> Result<Found, CommandError> {
        if let Some(found) = self.known(reference) {
            return Ok(found);
        }
        let found = images.find(reference).await?;
        judge(what, &found, inputs, ui).await?;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.push((reference.clone(), found.clone()));
        Ok(found)
    }

    fn known(&self, reference: &Reference) -> Option<Found> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = known.iter();
        let found = known.find(|(it, _)| it == reference);
        found.map(|(_, found)| found.clone())
    }
}

/// Reads what the builder image `reference` says of itself.
pub(super) async fn read(
    reference: &Reference,
    platform: &Platform,
    resolved: &Resolved,
    (inputs, images, ui): (Inputs<'_>, &Lookup<'_>, &Ui),
) -> Result<Builder, CommandError> {
    ui.begin("builder", reference.to_string());
    let by = (inputs, images, ui);
    let found = resolved.find("builder", reference, by).await?;
    let limits = Limits::default();
    let failed = || format!("failed to read the builder `{reference}`");
    let image = Image::read(&*found.store, &found.descriptor, platform, &limits).await;
    let image = image.context(failed)?;
    let is_for = image.config().platform();
    if !is_for.os.is_empty() && !is_for.is_for(platform) {
        return Err(CommandError::undecided(Message(format!(
            "the builder `{reference}` is for {is_for}, not for {platform}"
        ))));
    }
    let builder = Builder::of_image(reference.to_string(), image, found.store);
    let is_old = matches!(builder, Err(BuilderImageError::NoCommonApi { .. }));
    builder.context(failed).map_err(|error| {
        if is_old {
            error.hint(OLD_BUILDER)
        } else {
            error
        }
    })
}

/// What images have to satisfy before anything of them is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inputs<'a> {
    /// None, if they are used as they are.
    pub(crate) policies: Option<&'a PolicySet>,
    /// What certificates are believed by; without it, what is built in.
    pub(crate) trusted_root: Option<&'a Path>,
}

/// Judges an image that a build begins with, before anything of it is used.
pub(crate) async fn judge(
    what: &'static str,
    found: &Found,
    by: Inputs<'_>,
    ui: &Ui,
) -> Result<(), CommandError> {
    let Some(policies) = by.policies else {
        return Ok(());
    };
    let trusted = IdentityArgs {
        trusted_root: by.trusted_root.map(Path::to_owned),
        ..IdentityArgs::default()
    };
    let policy = policy::choose(policies, &[&found.reference])?;
    let gate = Gate::new(GateOptions {
        trust: trusted.trust(policy.accepts())?,
        ..GateOptions::default()
    });
    let question = Question {
        image: Judging::Found(Box::new(found.clone())),
        policy,
        at: environment::now(),
    };
    let judged = gate.ask(&question).await?.judged;
    if !judged.verdict.accepted() {
        let notes = policy::notes(&judged)
            .into_iter()
            .chain([format!("it is the {what}: nothing of it was used")]);
        let name = found.reference.to_string();
        return Err(policy::rejected(&name, &judged.verdict, notes.collect()));
    }
    let count = judged.verdict.satisfied().len();
    ui.done(
        what,
        format_args!("accepted: {count} of {count} checks passed"),
    );
    Ok(())
}
