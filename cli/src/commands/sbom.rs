//! `sealpack sbom`: what is in an image, a folder or a file, and work with what others say.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Subcommand};
use oci::view::{View, ViewLimits};
use oci::{Digest, HashReader, Image, Location, Platform, Reference};
use sbom::component::{Component, Hash, Inventory, Kind};
use sbom::find::{Finders, find};
use sbom::{Document, Limits, Merged, Sources, Subject};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::args::Access;
use crate::contents;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::files;
use crate::images::Lookup;
use crate::temporary;
use crate::typed;
use crate::ui::{Ui, counted};

/// What can be done with SBOMs.
#[derive(Debug, Subcommand)]
pub(crate) enum Sbom {
    /// Look into an image, a folder or a file, and say what is in it.
    #[command(after_help = "\
Examples:
  What is in an image, as CycloneDX:
    sealpack sbom generate registry.example/app:v1
  Both formats at once, of an image in a layout:
    sealpack sbom generate oci:out:app --format cyclonedx=app.cdx.json --format spdx=app.spdx.json
  A root file system:
    sealpack sbom generate ./rootfs")]
    Generate(Box<Generate>),
    /// Write an SBOM in another format.
    #[command(after_help = "Example:\n  sealpack sbom convert app.spdx --format cyclonedx")]
    Convert(Convert),
    /// Make one SBOM of several.
    #[command(
        after_help = "Example:\n  sealpack sbom merge a.cdx.json b.spdx.json --name app --format spdx"
    )]
    Merge(Merge),
}

#[derive(Args, Debug)]
pub(crate) struct Generate {
    /// An image, a folder that is the root of a file system, or a file; if a folder or file of that
    /// name is there, it is meant. A file may be an SBOM.
    #[arg(value_name = "IMAGE|FOLDER|FILE")]
    what: String,

    /// Which of an index: `os/architecture`.
    #[arg(long)]
    platform: Option<Platform>,

    /// What it is called in the SBOM.
    #[arg(long)]
    name: Option<String>,

    #[command(flatten)]
    written: Written,

    #[command(flatten)]
    access: Access,
}

#[derive(Args, Debug)]
pub(crate) struct Convert {
    /// An SBOM: CycloneDX (JSON, XML), SPDX 2 (JSON, tags and values), or Syft's own.
    file: PathBuf,

    #[command(flatten)]
    written: Written,
}

#[derive(Args, Debug)]
pub(crate) struct Merge {
    /// SBOMs: CycloneDX (JSON, XML), SPDX 2 (JSON, tags and values), or Syft's own.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// What the merged SBOM is about.
    #[arg(long)]
    name: String,

    #[command(flatten)]
    written: Written,
}

#[derive(Args, Debug)]
struct Written {
    /// `cyclonedx` (1.5) or `spdx` (2.3), to standard output, or `cyclonedx=FILE`. Repeatable.
    #[arg(
        long = "format",
        value_name = "FORMAT[=FILE]",
        default_value = "cyclonedx"
    )]
    formats: Vec<Wanted>,
}

/// A format, and where a document of it goes.
#[derive(Clone, Debug)]
struct Wanted {
    format: sbom::Format,
    path: Option<PathBuf>,
}

impl FromStr for Wanted {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (format, path) = match text.split_once('=') {
            Some((_, "")) => return Err("the name of the file is missing"),
            Some((format, path)) => (format, Some(PathBuf::from(path))),
            None => (text, None),
        };
        let format = match format {
            "cyclonedx" => sbom::Format::CycloneDx,
            "spdx" => sbom::Format::Spdx,
            _ => return Err("expected `cyclonedx` or `spdx`"),
        };
        Ok(Self { format, path })
    }
}

pub(crate) async fn run(
    command: Sbom,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    match command {
        Sbom::Generate(args) => generate(*args, environment, ui).await,
        Sbom::Convert(args) => {
            let document = read(&environment.directory.join(&args.file), &args.file)?;
            let sources = Sources {
                about: None,
                created: created(environment, None)?,
                documents: vec![&document],
                found: Vec::new(),
            };
            write(&sources.merge(), &args.written, environment, ui)
        }
        Sbom::Merge(args) => {
            let mut documents = Vec::new();
            for file in &args.files {
                documents.push(read(&environment.directory.join(file), file)?);
            }
            let sources = Sources {
                about: Some(Component::new(Kind::Application, args.name)),
                created: created(environment, None)?,
                documents: documents.iter().collect(),
                found: Vec::new(),
            };
            write(&sources.merge(), &args.written, environment, ui)
        }
    }
}

async fn generate(args: Generate, environment: &Environment, ui: &Ui) -> Result<(), CommandError> {
    args.written.check()?;
    let path = environment.directory.join(&args.what);
    let name = args.name.as_deref();
    if path.is_dir() {
        let about = named(Kind::Application, name, &path);
        let found = look_into_folder(&path)?;
        return say(about, &found, &[], None, &args.written, environment, ui);
    }
    if path.is_file() {
        return of_file(&path, name, &args.written, environment, ui);
    }
    let reference = typed::image(&args.what).map_err(|error| {
        CommandError::undecided(error)
            .note(format!("file or folder `{}` not found either", args.what))
    })?;
    let images = Lookup::new(&args.access, environment, ui);
    let found = images.find(&reference).await?;
    let platform = args.platform.unwrap_or_else(Platform::host);
    let image = Image::read(
        &*found.store,
        &found.descriptor,
        &platform,
        &oci::Limits::default(),
    )
    .await
    .context(|| {
        format!(
            "`{}` is not an image that can be looked into",
            found.reference
        )
    })?;
    ui.begin("sbom", "looking into the layers");
    let mut inventory = contents::look(&*found.store, &image).await?;
    let documents = contents::documents(&*found.store, &image, &mut inventory).await?;
    let subject = Subject {
        name: name.map_or_else(|| name_of(&reference), str::to_owned),
        digest: image.descriptor().digest.clone(),
    };
    let documents: Vec<&Document> = documents.iter().collect();
    let time = image.config().created.as_deref();
    let time = time.and_then(|it| OffsetDateTime::parse(it, &Rfc3339).ok());
    let about = subject.component();
    say(
        about,
        &inventory,
        &documents,
        time,
        &args.written,
        environment,
        ui,
    )
}

/// What an image is called where its reference names a repository or a folder.
fn name_of(reference: &Reference) -> String {
    match &reference.location {
        Location::Registry(repository) | Location::DockerDaemon(repository) => {
            repository.to_string()
        }
        Location::Layout(path) | Location::LayoutArchive(path) => file_name(path),
        Location::DockerArchive { path, name } => name
            .as_ref()
            .map_or_else(|| file_name(path), ToString::to_string),
    }
}

fn file_name(path: &Path) -> String {
    let path = path.canonicalize().unwrap_or_else(|_error| path.to_owned());
    let name = path.file_name().map(|it| it.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "/".to_owned())
}

fn named(kind: Kind, name: Option<&str>, path: &Path) -> Component {
    Component::new(kind, name.map_or_else(|| file_name(path), str::to_owned))
}

fn look_into_folder(path: &Path) -> Result<Inventory, CommandError> {
    let mut view = View::new(ViewLimits::default());
    view.add_folder(path, &mut Finders::default())
        .context(|| format!("failed to look into `{}`", path.display()))?;
    Ok(find(&view))
}

/// A file that is an SBOM says what it says; any other is looked into.
fn of_file(
    path: &Path,
    name: Option<&str>,
    written: &Written,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let failed = || format!("failed to read `{}`", path.display());
    let limits = Limits::default();
    let file = fs_err::File::open(path).context(failed)?;
    let read = oci::read_at_most(file, limits.document_bytes);
    if let Some(bytes) = read.context(failed)? {
        match sbom::read(&bytes, file_name(path), &limits) {
            Ok(document) => {
                let sources = Sources {
                    about: name.map(|it| Component::new(Kind::Application, it)),
                    created: created(environment, None)?,
                    documents: vec![&document],
                    found: Vec::new(),
                };
                return write(&sources.merge(), written, environment, ui);
            }
            Err(error) if bytes.first().is_some_and(|it| matches!(it, b'{' | b'<')) => {
                ui.aside(format_args!(
                    "`{}` is not read as an SBOM: {error}",
                    path.display()
                ));
            }
            Err(_) => {}
        }
    }
    let mut about = named(Kind::File, name, path);
    about.hashes = vec![Hash::of(&digest(path).context(failed)?)];
    // What looks into folders looks into one with nothing else in it.
    let folder = temporary::folder(environment, "sealpack-sbom-")?;
    let place = folder.path().join(file_name(path));
    if fs_err::hard_link(path, &place).is_err() {
        fs_err::copy(path, &place).context(failed)?;
    }
    let found = look_into_folder(folder.path())?;
    say(about, &found, &[], None, written, environment, ui)
}

fn digest(path: &Path) -> std::io::Result<Digest> {
    HashReader::new(fs_err::File::open(path)?).finish()
}

/// Merges what was found with what documents say, and writes it.
fn say(
    about: Component,
    found: &Inventory,
    documents: &[&Document],
    time: Option<OffsetDateTime>,
    written: &Written,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    let merged = Sources {
        about: Some(about),
        created: created(environment, time)?,
        documents: documents.to_vec(),
        found: vec![found],
    }
    .merge();
    ui.done("sbom", counted(merged.cyclonedx.len(), "component"));
    match found.gaps.as_slice() {
        [] => {}
        [gap] => ui.warn(format_args!("not known: `{}`: {}", gap.path, gap.reason)),
        [gap, ..] => ui.warn(format_args!(
            "not known: `{}`: {}; and {} more, which the SBOM names",
            gap.path,
            gap.reason,
            found.gaps.len() - 1
        )),
    }
    write(&merged, written, environment, ui)
}

fn read(path: &Path, shown: &Path) -> Result<Document, CommandError> {
    let failed = || format!("failed to read `{}`", shown.display());
    let limits = Limits::default();
    let file = fs_err::File::open(path).context(failed)?;
    let read = oci::read_at_most(file, limits.document_bytes);
    let bytes = files::whole(read.context(failed)?, shown, limits.document_bytes)?;
    sbom::read(&bytes, shown.display().to_string(), &limits)
        .context(|| format!("malformed SBOM `{}`", shown.display()))
}

/// The time in the document: `SOURCE_DATE_EPOCH`, else that of what it is about.
fn created(
    environment: &Environment,
    time: Option<OffsetDateTime>,
) -> Result<Option<OffsetDateTime>, CommandError> {
    match environment.text("SOURCE_DATE_EPOCH") {
        None | Some("") => Ok(time),
        Some(text) => {
            let seconds = text.parse().ok();
            let time = seconds.and_then(|it| OffsetDateTime::from_unix_timestamp(it).ok());
            time.map(Some).ok_or_else(|| {
                Message(format!(
                    "SOURCE_DATE_EPOCH is `{text}`, not a number of seconds"
                ))
                .into()
            })
        }
    }
}

impl Written {
    /// Whether standard output would get two documents.
    fn check(&self) -> Result<(), CommandError> {
        if self.formats.iter().filter(|it| it.path.is_none()).count() > 1 {
            let message = Message("only one document can go to standard output".to_owned());
            return Err(CommandError::from(message)
                .hint("name a file for the other: `--format spdx=app.spdx.json`"));
        }
        Ok(())
    }
}

fn write(
    merged: &Merged,
    written: &Written,
    environment: &Environment,
    ui: &Ui,
) -> Result<(), CommandError> {
    written.check()?;
    for wanted in &written.formats {
        let bytes = match wanted.format {
            sbom::Format::Spdx => merged.spdx.to_bytes(),
            _ => merged.cyclonedx.to_bytes(),
        };
        match &wanted.path {
            None => ui.document(String::from_utf8_lossy(&bytes)),
            Some(path) => {
                let path = environment.directory.join(path);
                replace(&path, &bytes)
                    .context(|| format!("failed to write `{}`", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Writes a file as a whole or not at all.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|it| it.error)?;
    Ok(())
}
