//! Images for lists: found wherever they are, each with what it runs on.

use oci::{Descriptor, Digest, Found, Image, Index, Limits, Manifest, Platform, Reference};

use super::list::{List, Member};
use crate::error::{CommandError, Context as _, Message};
use crate::images::Lookup;
use crate::typed;

/// What `reference` names: an image, or the images of an index.
pub(super) async fn find(
    reference: &Reference,
    list: &Reference,
    images: &Lookup<'_>,
) -> Result<Vec<Member>, CommandError> {
    let is_itself = reference.digest.is_none()
        && reference.location == list.location
        && tag(reference) == tag(list);
    if is_itself {
        return Err(Message(format!("the index `{list}` cannot hold itself")).into());
    }
    let found = images.find(reference).await?;
    if !found.descriptor.media_type.is_index() {
        let member = of_image(&found, &found.descriptor, reference).await?;
        return Ok(vec![member]);
    }
    let index = index(&found).await?;
    if index.manifests.is_empty() {
        return Err(Message(format!("the index `{reference}` holds no image")).into());
    }
    let mut members = Vec::new();
    for entry in &index.manifests {
        if !entry.media_type.is_image_manifest() {
            return Err(CommandError::undecided(Message(format!(
                "the index `{reference}` holds {}, which is not an image but {}",
                entry.digest, entry.media_type
            )))
            .hint("add its images one by one, by digest"));
        }
        if entry.platform.is_some() {
            members.push(Member {
                descriptor: Descriptor {
                    platform: entry.platform.clone(),
                    annotations: entry.annotations.clone(),
                    ..entry.bare()
                },
                named: reference.to_string(),
                place: found.reference.at(entry.digest.clone()),
            });
        } else {
            members.push(of_image(&found, entry, reference).await?);
        }
    }
    Ok(members)
}

/// Reads an index.
pub(super) async fn index(found: &Found) -> Result<Index, CommandError> {
    let limits = Limits::default();
    let bytes = oci::store::read(&*found.store, &found.descriptor, limits.manifest_bytes).await?;
    let parsed = Manifest::parse(&found.descriptor.media_type, &bytes, &limits);
    match parsed.context(|| format!("failed to read `{}`", found.reference))? {
        Manifest::Index(index) => Ok(index),
        Manifest::Image(_) => {
            Err(Message(format!("`{}` is an image, not an index", found.reference)).into())
        }
    }
}

/// One image, with what its config says that it runs on.
async fn of_image(
    found: &Found,
    descriptor: &Descriptor,
    named: &Reference,
) -> Result<Member, CommandError> {
    let (host, limits) = (Platform::host(), Limits::default());
    let image = Image::read(&*found.store, descriptor, &host, &limits).await;
    let image = image.context(|| format!("`{named}` is not an image"))?;
    if !image.manifest().config.media_type.is_image_config() {
        return Err(Message(format!(
            "`{named}` is not an image: its config is {}",
            image.manifest().config.media_type
        ))
        .into());
    }
    Ok(Member {
        descriptor: Descriptor {
            platform: Some(image.config().platform()),
            ..descriptor.bare()
        },
        named: named.to_string(),
        place: found.reference.at(descriptor.digest.clone()),
    })
}

/// The one image of `list` that `name` means: as it was added, by digest, or by what it names now.
pub(super) async fn of_list(
    name: &str,
    list: &List,
    images: Option<&Lookup<'_>>,
) -> Result<Digest, CommandError> {
    if let Ok(digest) = name.parse::<Digest>() {
        return member(name, &digest, list);
    }
    let reference = typed::image(name).map_err(CommandError::undecided)?;
    if let Some(digest) = &reference.digest {
        return member(name, digest, list);
    }
    match list.named(&reference.to_string()).as_slice() {
        [one] => return Ok(one.clone()),
        [] => {}
        several => {
            return Err(CommandError::undecided(Message(format!(
                "`{name}` is an index, of which the manifest list '{}' has {} images",
                list.name,
                several.len()
            )))
            .hint("name one by digest: `sealpack manifest inspect` shows them"));
        }
    }
    match images {
        Some(images) => {
            let found = images.find(&reference).await?;
            member(name, &found.descriptor.digest, list)
        }
        None => Err(no_member(name, list)),
    }
}

fn member(name: &str, digest: &Digest, list: &List) -> Result<Digest, CommandError> {
    match list.position(digest) {
        Some(_) => Ok(digest.clone()),
        None => Err(no_member(name, list)),
    }
}

fn no_member(name: &str, list: &List) -> CommandError {
    CommandError::undecided(Message(format!(
        "`{name}` is not in the manifest list '{}'",
        list.name
    )))
    .hint("`sealpack manifest inspect` shows what is")
}

fn tag(reference: &Reference) -> oci::Tag {
    reference.tag.clone().unwrap_or_else(oci::Tag::latest)
}
