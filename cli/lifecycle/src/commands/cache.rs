//! The cache that was asked for: opened before a phase, filled after it.

use std::path::Path;

use lifecycle_core::cache::{Cache, CacheContext, DirectoryCache, ImageCache, export_cache};
use lifecycle_core::export::Owner;
use lifecycle_core::files::group::Group;
use lifecycle_core::{Level, Log as _, words};

use crate::console::Console;
use crate::failure::{Failure, GENERIC};
use crate::inputs::Inputs;
use crate::privileges::User;
use crate::session::{Session, temporary_folder};

/// The cache that was asked for: an image, else a folder, else none.
pub(super) fn open(
    inputs: &Inputs,
    session: &Session,
    console: Console,
) -> Result<Option<Cache>, Failure> {
    if !inputs.cache_image.is_empty() {
        let temporary = temporary_folder(&inputs.environment);
        let opened = session.wait(ImageCache::open(
            session.registries(),
            &inputs.cache_image,
            !inputs.platform_api.keeps_old_cache_images(),
            &temporary,
            &session.limits,
        ));
        let opened = opened.map_err(|error| {
            let name = &inputs.cache_image;
            let cause = words::chain(&error);
            let cause = format!("accessing cache image \"{name}\": {cause}");
            Failure::because(GENERIC, "create image cache", &cause)
        })?;
        return Ok(Some(Cache::Image(Box::new(opened))));
    }
    if inputs.cache_dir.as_os_str().is_empty() {
        return Ok(None);
    }
    let opened = DirectoryCache::open(&inputs.cache_dir, &console)
        .map_err(|error| Failure::new(GENERIC, "create volume cache", &error))?;
    Ok(Some(Cache::Directory(opened)))
}

/// Fills the cache. A build does not fail for that.
pub(super) fn fill(
    inputs: &Inputs,
    group: &Group,
    cache: Cache,
    session: &Session,
    console: Console,
) -> Result<(), Failure> {
    let user = User::new(inputs.uid, inputs.gid)?;
    let context = CacheContext {
        api: inputs.platform_api,
        group,
        layers_dir: &inputs.layers,
        root: Path::new("/"),
        owner: Owner {
            uid: user.uid,
            gid: user.gid,
        },
    };
    let filled = console.time("Cache", || {
        session.wait(export_cache(&context, cache, &console))
    });
    if let Err(error) = filled {
        console.line(
            Level::Warn,
            &format!("Failed to export cache: {}", words::chain(&error)),
        );
    }
    Ok(())
}
