//! Is the image what its supply chain made, by an in-toto layout?

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use links::{
    FileError, Files, Ignored, Inspections, Limits, Question, Refusal, StepProof, Verified,
};
use oci::Descriptor;
use serde::Serialize;
use time::OffsetDateTime;

use crate::environment::{self, Environment};
use crate::error::{CommandError, Context as _, Message};
use crate::keys;
use crate::ui::{Tone, Ui};

/// By which layout to judge. docs/links.md says how.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Supply chain")]
pub(crate) struct LayoutArgs {
    /// Judge by this in-toto layout: the image must be a product of its last step.
    #[arg(long, value_name = "FILE", requires = "layout_keys")]
    pub(crate) layout: Option<PathBuf>,

    /// The public key of an owner of the layout. Repeatable: all of them must have signed it.
    #[arg(
        long = "layout-key",
        value_name = "FILE",
        requires = "layout",
        hide_short_help = true
    )]
    pub(crate) layout_keys: Vec<PathBuf>,

    /// Where the links are; beside the layout without it.
    #[arg(long, value_name = "DIR", requires = "layout", hide_short_help = true)]
    pub(crate) links: Option<PathBuf>,

    /// Leave out commands that the layout wants to be run on the product, with their rules. Without
    /// this, a layout that has some is not decided: commands are never run.
    #[arg(long, requires = "layout", hide_short_help = true)]
    pub(crate) skip_inspections: bool,
}

/// What is printed of a layout that was asked for. `docs/output.md` describes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Judged {
    /// Whether the image is a product of the layout's last step.
    accepted: bool,
    /// The name of that product.
    #[serde(skip_serializing_if = "Option::is_none")]
    product: Option<String>,
    /// Until when the layout holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    steps: Vec<Step>,
    /// Commands that were left out.
    skipped_inspections: Vec<String>,
    /// What is wrong.
    findings: Vec<String>,
    /// Links that prove nothing.
    ignored: Vec<IgnoredLink>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Step {
    name: String,
    functionaries: Vec<String>,
    materials: usize,
    products: usize,
    expected_command: bool,
}

#[derive(Debug, Serialize)]
struct IgnoredLink {
    file: String,
    reason: String,
}

/// Judges `image` by the layout that was named; nothing, if none was. "Cannot say" is an error.
pub(super) fn judge(
    args: &LayoutArgs,
    image: &Descriptor,
    environment: &Environment,
) -> Result<Option<Judged>, CommandError> {
    let Some(path) = &args.layout else {
        return Ok(None);
    };
    let path = environment.directory.join(path);
    let limits = Limits::default();
    let layout_keys = args
        .layout_keys
        .iter()
        .map(|it| keys::public(it, environment))
        .collect::<Result<Vec<_>, _>>()?;
    let layout = read(&path, limits.file_bytes)
        .and_then(|it| it.ok_or_else(|| std::io::ErrorKind::NotFound.into()))
        .context(|| format!("failed to read the layout `{}`", path.display()))?;
    let beside = path.parent().unwrap_or(Path::new("")).to_owned();
    let verdict = links::verify(&Question {
        layout: &layout,
        layout_keys: &layout_keys,
        files: &Folder {
            path: match &args.links {
                Some(folder) => environment.directory.join(folder),
                None => beside,
            },
            limit: limits.file_bytes,
        },
        image,
        now: OffsetDateTime::from(environment::now()),
        inspections: if args.skip_inspections {
            Inspections::Skip
        } else {
            Inspections::Undecided
        },
        limits,
    });
    match verdict {
        Ok(verified) => Ok(Some(Judged::accepted(&verified))),
        Err(Refusal::Rejected { findings, ignored }) => Ok(Some(Judged {
            accepted: false,
            product: None,
            expires: None,
            steps: Vec::new(),
            skipped_inspections: Vec::new(),
            findings: findings.iter().map(ToString::to_string).collect(),
            ignored: ignored.iter().map(IgnoredLink::of).collect(),
        })),
        Err(Refusal::Undecided(undecided)) => {
            let inspections = matches!(undecided, links::Undecided::Inspections { .. });
            let error = CommandError::undecided(undecided);
            Err(if inspections {
                error.hint("`--skip-inspections` judges without them")
            } else {
                error
            })
        }
    }
}

impl Judged {
    fn accepted(verified: &Verified) -> Self {
        Self {
            accepted: true,
            product: Some(verified.product().to_owned()),
            expires: intoto::Timestamp::try_from(verified.expires())
                .ok()
                .map(|it| it.to_string()),
            steps: verified.steps().iter().map(Step::of).collect(),
            skipped_inspections: verified.skipped().to_vec(),
            findings: Vec::new(),
            ignored: verified.ignored().iter().map(IgnoredLink::of).collect(),
        }
    }

    pub(super) fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// Why not.
    pub(super) fn rejection(&self, image: &str) -> CommandError {
        let error = CommandError::rejected(Message(format!(
            "`{image}` is not what the layout's supply chain made"
        )));
        let error = self
            .findings
            .iter()
            .cloned()
            .fold(error, CommandError::note);
        self.ignored
            .iter()
            .map(IgnoredLink::line)
            .fold(error, CommandError::note)
    }

    pub(super) fn print(&self, ui: &Ui) {
        for step in &self.steps {
            ui.line(format_args!(
                "  {:12} by key {}",
                step.name,
                step.functionaries.join(", ")
            ));
            if !step.expected_command {
                ui.line(ui.paint(
                    Tone::Faint,
                    "               ran another command than the layout expects",
                ));
            }
        }
        for name in &self.skipped_inspections {
            ui.line(ui.paint(
                Tone::Faint,
                format_args!("               left out: inspection `{name}`"),
            ));
        }
        for it in &self.ignored {
            ui.aside(it.line());
        }
    }
}

impl Step {
    fn of(proof: &StepProof) -> Self {
        Self {
            name: proof.name.clone(),
            functionaries: proof
                .functionaries
                .iter()
                .map(ToString::to_string)
                .collect(),
            materials: proof.materials,
            products: proof.products,
            expected_command: proof.expected_command,
        }
    }
}

impl IgnoredLink {
    fn of(ignored: &Ignored) -> Self {
        Self {
            file: ignored.file.clone(),
            reason: ignored.why.to_string(),
        }
    }

    fn line(&self) -> String {
        format!("`{}` proves nothing: {}", self.file, self.reason)
    }
}

/// Links in a folder.
#[derive(Debug)]
struct Folder {
    path: PathBuf,
    limit: u64,
}

impl Files for Folder {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FileError> {
        let path = self.path.join(name);
        // A pipe would keep us waiting.
        match fs_err::metadata(&path) {
            Ok(it) if !it.is_file() => Err(format!("`{}` is not a file", path.display()).into()),
            _ => Ok(read(&path, self.limit)?),
        }
    }
}

/// A file, or one byte more of it than `limit`; none if there is none.
fn read(path: &Path, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let file = match fs_err::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}
