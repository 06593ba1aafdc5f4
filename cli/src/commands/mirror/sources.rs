//! Which images are meant.

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};

use globset::{Glob, GlobMatcher};
use oci::{Location, Reference, Repository, Tag};

use super::args::Mirror;
use crate::commands::policy;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::files;
use crate::images::Lookup;
use crate::typed;

/// How many images one run takes.
pub(super) const MAX_IMAGES: usize = 10_000;

/// How deep a folder of layouts is searched: as deep as names of repositories nest.
const MAX_DEPTH: usize = 16;

/// How many folders of it are looked into.
const MAX_FOLDERS: usize = 100_000;

/// What a user calls a source.
#[derive(Debug)]
pub(super) enum Source {
    /// One image.
    Image(Reference),
    /// The images whose tags match.
    Tags {
        place: Reference,
        patterns: Vec<GlobMatcher>,
    },
    /// The same of all layouts below a folder, each called by its path from there.
    Below {
        folder: PathBuf,
        patterns: Vec<GlobMatcher>,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, patterns) = match self {
            Self::Image(reference) => return reference.fmt(f),
            Self::Tags { place, patterns } => (place.to_string(), patterns),
            Self::Below { folder, patterns } => (format!("oci:{}/", folder.display()), patterns),
        };
        let patterns: Vec<_> = patterns.iter().map(|it| it.glob().glob()).collect();
        write!(f, "{place}:{}", patterns.join(","))
    }
}

/// One image, and the repository that it is known by.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) reference: Reference,
    /// None for an image in a file that says no name.
    pub(super) name: Option<Repository>,
}

/// All sources that the arguments and the files that they name hold.
pub(super) fn all(named: &[String], args: &Mirror) -> Result<Vec<Source>, CommandError> {
    let mut words = named.to_owned();
    for path in &args.from {
        let text = read(path)?;
        let lines = text.lines().map(str::trim);
        words.extend(
            lines
                .filter(|it| !it.is_empty() && !it.starts_with('#'))
                .map(str::to_owned),
        );
    }
    if words.is_empty() {
        let error = CommandError::undecided(Message("no images are named".to_owned()));
        return Err(error.hint("`sealpack mirror SOURCE… DESTINATION`, or `--from FILE`"));
    }
    if words.len() > MAX_IMAGES {
        return Err(Message(format!("more than {MAX_IMAGES} sources are named")).into());
    }
    let tags = args
        .tags
        .iter()
        .map(|it| pattern(it))
        .collect::<Result<Vec<_>, _>>()?;
    words.iter().map(|it| Source::parse(it, &tags)).collect()
}

impl Source {
    fn parse(text: &str, tags: &[GlobMatcher]) -> Result<Self, CommandError> {
        let every = |tags: &[GlobMatcher]| match tags {
            [] => Ok(vec![pattern("*")?]),
            some => Ok::<_, CommandError>(some.to_vec()),
        };
        if let Some(folder) = text
            .strip_prefix("oci:")
            .and_then(|it| it.strip_suffix('/'))
        {
            return Ok(Self::Below {
                folder: folder.into(),
                patterns: every(tags)?,
            });
        }
        let named = text
            .rsplit_once(':')
            .filter(|(_, tag)| tag.contains(['*', '?', '[', '{']) && !tag.contains('/'));
        if let Some((place, tag)) = named {
            return Ok(Self::Tags {
                place: parse(place)?,
                patterns: vec![pattern(tag)?],
            });
        }
        let reference = parse(text)?;
        let is_file = matches!(
            reference.location,
            Location::Layout(_) | Location::LayoutArchive(_)
        );
        if reference.selector().is_none() && (is_file || !tags.is_empty()) {
            return Ok(Self::Tags {
                place: reference,
                patterns: every(tags)?,
            });
        }
        Ok(Self::Image(reference))
    }

    /// The images that are meant: tags are listed, and folders searched.
    pub(super) async fn images(
        &self,
        images: &Lookup<'_>,
        environment: &Environment,
    ) -> Result<Vec<Origin>, CommandError> {
        match self {
            Self::Image(reference) => {
                let reference = images.settled(reference);
                Ok(vec![Origin {
                    name: policy::name(&reference).cloned(),
                    reference,
                }])
            }
            Self::Tags { place, patterns } => {
                tagged(place, policy::name(place), patterns, images).await
            }
            Self::Below { folder, patterns } => {
                let mut found = Vec::new();
                for (path, name) in layouts(&environment.directory.join(folder))? {
                    let place = parse(&format!("oci:{}", folder.join(&path).display()))?;
                    found.extend(tagged(&place, name.as_ref(), patterns, images).await?);
                }
                Ok(found)
            }
        }
    }
}

fn parse(text: &str) -> Result<Reference, CommandError> {
    typed::image(text).context(|| format!("`{text}` is not an image, or images"))
}

fn pattern(text: &str) -> Result<GlobMatcher, CommandError> {
    let glob = Glob::new(text).context(|| format!("`{text}` is not a pattern of tags"))?;
    Ok(glob.compile_matcher())
}

/// The images of one place whose tags match, in the order of these.
async fn tagged(
    place: &Reference,
    name: Option<&Repository>,
    patterns: &[GlobMatcher],
    images: &Lookup<'_>,
) -> Result<Vec<Origin>, CommandError> {
    let store = images.open(place).await?;
    let tags = store.tags().await?;
    let is_meant = |tag: &&Tag| {
        // Those are proof, not images.
        !tag.is_digest_tag() && patterns.iter().any(|it| it.is_match(tag.as_str()))
    };
    tags.iter()
        .filter(is_meant)
        .map(|tag| {
            // Not by way of text: a name in a layout may have colons and slashes.
            let mut reference = place.clone();
            reference.tag = Some(tag.clone());
            Ok(Origin {
                reference,
                name: name.cloned(),
            })
        })
        .collect()
}

/// The layouts below `root`: their paths from there, and the repositories that these are called after.
fn layouts(root: &Path) -> Result<Vec<(PathBuf, Option<Repository>)>, CommandError> {
    let mut found = Vec::new();
    let mut folders = VecDeque::from([(PathBuf::new(), 0)]);
    let mut looked_into = 0;
    while let Some((path, depth)) = folders.pop_front() {
        looked_into += 1;
        if looked_into > MAX_FOLDERS || depth > MAX_DEPTH {
            return Err(Message(format!(
                "`{}` has too many folders to look for layouts in",
                root.display()
            ))
            .into());
        }
        let folder = root.join(&path);
        if folder.join("oci-layout").is_file() {
            let name = repository(&path);
            found.push((path, name));
            continue;
        }
        for entry in fs_err::read_dir(&folder).map_err(CommandError::undecided)? {
            let entry = entry.map_err(CommandError::undecided)?;
            // A link may lead anywhere, and round.
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                folders.push_back((path.join(entry.file_name()), depth + 1));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// The repository that a folder is called after; only one that names its registry.
fn repository(path: &Path) -> Option<Repository> {
    let text = path.to_str()?;
    let (registry, _) = text.split_once('/')?;
    let is_host = registry.contains(['.', ':']) || registry == "localhost";
    is_host.then(|| text.parse().ok()).flatten()
}

fn read(path: &Path) -> Result<String, CommandError> {
    /// More than `MAX_IMAGES` long lines.
    const LIMIT: u64 = 8 << 20;
    let read = if path == Path::new("-") {
        let stdin = std::io::stdin().lock();
        oci::read_text_at_most(stdin, LIMIT)
    } else {
        let file = fs_err::File::open(path);
        file.and_then(|it| oci::read_text_at_most(it, LIMIT))
    };
    let read = read.context(|| format!("failed to read `{}`", path.display()))?;
    files::whole(read, path, LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What kind of source a text is, and what it is of.
    fn kind(text: &str, tags: &[&str]) -> String {
        let tags: Vec<_> = tags.iter().map(|it| pattern(it).unwrap()).collect();
        match Source::parse(text, &tags) {
            Ok(Source::Image(reference)) => format!("image {reference}"),
            Ok(Source::Tags { place, patterns }) => {
                let patterns: Vec<_> = patterns.iter().map(|it| it.glob().glob()).collect();
                format!("tags {place} {}", patterns.join(" "))
            }
            Ok(Source::Below { folder, patterns }) => {
                format!("below {} {}", folder.display(), patterns.len())
            }
            Err(error) => error.lines()[0].text.clone(),
        }
    }

    #[test]
    fn sources_are_images_tags_or_folders() {
        for (text, tags, expected) in [
            ("r.example/app:v1", vec![], "image r.example/app:v1"),
            ("r.example/app", vec![], "image r.example/app"),
            (
                "r.example:5000/app",
                vec!["v*"],
                "tags r.example:5000/app v*",
            ),
            ("r.example/app:v1", vec!["v*"], "image r.example/app:v1"),
            ("r.example/app:v1.*", vec!["x"], "tags r.example/app v1.*"),
            ("oci:out", vec![], "tags oci:out *"),
            ("oci:out:v1", vec![], "image oci:out:v1"),
            ("oci:out:v[12]", vec![], "tags oci:out v[12]"),
            (
                "oci-archive:a.tar",
                vec!["a", "b"],
                "tags oci-archive:a.tar a b",
            ),
            ("oci:usb/", vec![], "below usb 1"),
            ("r.example/app:v[", vec![], "`v[` is not a pattern of tags"),
            (
                "r.example/App:v1",
                vec![],
                "`r.example/App:v1` is not an image, or images",
            ),
        ] {
            assert_eq!(kind(text, &tags), expected);
        }
    }

    #[test]
    fn only_a_folder_that_names_its_registry_names_a_repository() {
        for (path, expected) in [
            ("r.example/team/app", Some("r.example/team/app")),
            ("127.0.0.1:5000/app", Some("127.0.0.1:5000/app")),
            ("localhost/app", Some("localhost/app")),
            ("team/app", None),
            ("r.example", None),
            ("", None),
            ("r.example/App", None),
        ] {
            let found = repository(Path::new(path)).map(|it| it.to_string());
            assert_eq!(found.as_deref(), expected);
        }
    }
}
