//! A small app, exported to memory, again, and onto another run image.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use oci::{
    Descriptor, Digest, ImageManifest, Location, MediaType, MemoryStore, Platform, RootFs, Upload,
};

use super::*;
use crate::analyze::{self, AnalyzeContext};
use crate::cache::{Cache, CacheContext, DirectoryCache, ImageCache, export_cache};
use crate::files::analyzed::ImageIdentifier;
use crate::files::group::GroupElement;
use crate::images::{LayoutImages, Place, parse_name};
use crate::rebase::{self, RebaseContext, RebaseError};
use crate::restore::{RestoreContext, restore};

#[derive(Debug, Default)]
struct Lines(Mutex<Vec<String>>);

impl Log for Lines {
    fn line(&self, level: Level, text: &str) {
        if level > Level::Debug {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    fn output(&self, _: &[u8]) {}
}

impl Lines {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// Each repository is a store.
#[derive(Debug, Default)]
struct Memory(Mutex<BTreeMap<String, Arc<MemoryStore>>>);

#[async_trait]
impl Images for Memory {
    fn shown(&self, name: &str) -> Result<String, PlaceError> {
        Ok(name.to_owned())
    }

    async fn open(&self, name: &str) -> Result<Option<Place>, PlaceError> {
        self.create(name).await.map(Some)
    }

    async fn create(&self, name: &str) -> Result<Place, PlaceError> {
        let reference = parse_name(name)?;
        let selector = reference.selector().unwrap();
        let Location::Registry(repository) = reference.location else {
            panic!("{name}");
        };
        let repository = repository.to_string();
        let mut stores = self.0.lock().unwrap();
        let store = stores.entry(repository.clone()).or_default();
        Ok(Place {
            store: store.clone(),
            name: name.to_owned(),
            repository,
            selector,
            image_id: None,
            strict: false,
        })
    }

    async fn check_read(&self, _: &str) -> Result<(), PlaceError> {
        Ok(())
    }

    async fn check_write(&self, _: &str) -> Result<(), PlaceError> {
        Ok(())
    }
}

const APP: &str = "reg.test/app";
const RUN: &str = "reg.test/run";

/// A folder with an app and a buildpack's layers, and run images.
struct World {
    folder: tempfile::TempDir,
    images: Box<dyn Images>,
    layout_digests: bool,
    group: Group,
    log: Lines,
}

impl World {
    async fn new() -> Self {
        Self::of(tempfile::tempdir().unwrap(), Box::new(Memory::default())).await
    }

    /// The same, with images in OCI layouts.
    async fn in_layouts() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let images = Box::new(LayoutImages::new(folder.path().join("layouts")));
        Self::of(folder, images).await
    }

    async fn of(folder: tempfile::TempDir, images: Box<dyn Images>) -> Self {
        let buildpack = GroupElement {
            api: "0.12".to_owned(),
            ..GroupElement::new("some/bp", "1")
        };
        let world = Self {
            folder,
            images,
            layout_digests: false,
            group: Group::new(vec![buildpack], Vec::new()),
            log: Lines::default(),
        };
        world.write("app/code", "print");
        world.write("launcher", "#!");
        world.build();
        world.push_run("run layer", "stack").await;
        world
    }

    /// What the builder leaves.
    fn build(&self) {
        self.write("layers/some_bp/dep/f", "dependency");
        self.write(
            "layers/some_bp/dep.toml",
            "[types]\nlaunch = true\ncache = true\n[metadata]\nn = 1\n",
        );
        self.write(
            "layers/config/metadata.toml",
            "buildpack-default-process-type = \"web\"\n[[processes]]\ntype = \"web\"\ncommand = [\"x\"]\ndirect = true\n",
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    async fn push_run(&self, layer: &str, stack: &str) {
        let store = self.images.create(RUN).await.unwrap();
        let layer = Bytes::from(layer.to_owned());
        let descriptor = Descriptor::of(MediaType::LAYER_TAR, &layer);
        store
            .store
            .push_blob(&descriptor, Upload::Bytes(layer))
            .await
            .unwrap();
        let mut config = ImageConfig {
            architecture: Platform::host().architecture,
            os: "linux".to_owned(),
            rootfs: RootFs {
                diff_ids: vec![oci::DiffId(descriptor.digest.clone())],
                ..RootFs::default()
            },
            ..ImageConfig::default()
        };
        let label = (labels::STACK_ID.to_owned(), stack.to_owned());
        config.config.labels.extend([label]);
        config.config.env = vec!["PATH=/bin".to_owned()];
        let like = ImageManifest {
            schema_version: 2,
            media_type: None,
            config: Descriptor::of(MediaType::IMAGE_CONFIG, b""),
            layers: Vec::new(),
            annotations: BTreeMap::new(),
            subject: None,
            artifact_type: None,
        };
        let image = Image::new(&like, config, vec![descriptor]).unwrap();
        let (config, bytes) = (&image.manifest().config, image.config_bytes().clone());
        store
            .store
            .push_blob(config, Upload::Bytes(bytes))
            .await
            .unwrap();
        let bytes = image.manifest_bytes().clone();
        store
            .store
            .push_manifest(image.descriptor(), bytes)
            .await
            .unwrap();
        let tag = "latest".parse().unwrap();
        store.store.tag(image.descriptor(), &tag).await.unwrap();
    }

    async fn analyze(&self) -> Analyzed {
        let context = AnalyzeContext {
            api: PlatformApi::V0_15,
            images: &*self.images,
            cache_images: &*self.images,
            output: APP,
            tags: &[],
            previous: APP,
            cache_image: None,
            run_image: RUN,
            layers_dir: &self.path("layers"),
            skip_layers: false,
            root: self.folder.path(),
            limits: &Limits::default(),
        };
        let opened = analyze::open(&context, &self.log).await.unwrap();
        analyze::analyze(&context, opened, &self.log).await.unwrap()
    }

    async fn export(
        &self,
        analyzed: &Analyzed,
        process: Option<&str>,
    ) -> Result<Report, ExportError> {
        self.export_with(analyzed, process, None).await
    }

    /// The same, before a cache is filled.
    async fn export_with(
        &self,
        analyzed: &Analyzed,
        process: Option<&str>,
        cache: Option<&Cache>,
    ) -> Result<Report, ExportError> {
        let context = ExportContext {
            api: PlatformApi::V0_15,
            images: &*self.images,
            names: &[APP.to_owned(), format!("{APP}:v1")],
            analyzed,
            group: &self.group,
            project: &ProjectMetadata::default(),
            app_dir: &self.path("app"),
            layers_dir: &self.path("layers"),
            launcher: &self.path("launcher"),
            own_sboms: OwnSboms::Launcher(&self.path("none")),
            process_type: process,
            exec_env: "production",
            extended_dir: None,
            owner: Owner { uid: 1, gid: 2 },
            cache,
            layout_digests: self.layout_digests,
            source_date_epoch: None,
            lifecycle: &LifecycleVersion::default(),
            temporary_dir: self.folder.path(),
            workers: NonZeroUsize::new(3).unwrap(),
            root: self.folder.path(),
            limits: &Limits::default(),
        };
        let opened = open(&context, &self.log).await?;
        export(&context, opened, &RunImages::default(), &self.log).await
    }

    async fn rebase(&self, run_image: &str, force: bool) -> Result<Digest, RebaseError> {
        let context = RebaseContext {
            api: PlatformApi::V0_15,
            images: &*self.images,
            app: APP,
            names: &[APP.to_owned()],
            run_image: Some(run_image),
            force,
            any_tag: false,
            workers: NonZeroUsize::MIN,
            limits: &Limits::default(),
        };
        let app = rebase::open_app(&context, async |_| true).await?;
        let base = rebase::open_base(&context, &app, &self.log).await?;
        let rebased = rebase::rebase(&context, app, base, &self.log).await?;
        Ok(rebased.image.digest)
    }

    async fn image(&self, name: &str) -> Image {
        let place = self.images.create(name).await.unwrap();
        let image = place.image(&Platform::host(), &Limits::default()).await;
        image.unwrap().unwrap()
    }

    fn cache(&self) -> DirectoryCache {
        let folder = self.path("cache");
        std::fs::create_dir_all(&folder).unwrap();
        DirectoryCache::open(&folder, &self.log).unwrap()
    }
}

#[tokio::test]
async fn a_second_export_of_the_same_is_the_same_image_and_makes_no_layer() {
    let world = World::new().await;
    let analyzed = world.analyze().await;
    assert_eq!(analyzed.previous_image(), None);
    let first = world.export(&analyzed, None).await.unwrap();
    assert!(first.layers.iter().all(|it| !it.reused));
    let ids: Vec<_> = first.layers.iter().map(|it| it.id.as_str()).collect();
    let own = |name: &str| format!("buildpacksio/lifecycle:{name}");
    assert_eq!(
        ids,
        [
            "some/bp:dep",
            "slice-1",
            &own("launcher"),
            &own("config"),
            &own("process-types")
        ]
    );
    assert_eq!(first.names, [APP.to_owned(), format!("{APP}:v1")]);
    for name in &first.names {
        assert_eq!(*world.image(name).await.descriptor(), first.image);
    }
    let config = world.image(APP).await.config().clone();
    assert_eq!(config.config.entrypoint, ["/cnb/process/web"]);
    assert_eq!(
        config.config.env("PATH"),
        Some("/cnb/process:/cnb/lifecycle:/bin")
    );
    assert_eq!(config.config.env("CNB_APP_DIR"), Some("/app"));

    // Numbers become floats on their way through the label, and write the same.
    world.log.take();
    let analyzed = world.analyze().await;
    let again = world.export(&analyzed, None).await.unwrap();
    assert_eq!(again.image, first.image);
    assert!(again.layers.iter().all(|it| it.reused));
    let lines = world.log.take();
    assert!(lines.contains(&"Reusing layer 'some/bp:dep'".to_owned()));
    assert!(lines.contains(&"Reused 1/1 app layer(s)".to_owned()));

    world.write("app/code", "print more");
    let changed = world.export(&analyzed, None).await.unwrap();
    let new: Vec<_> = changed.layers.iter().filter(|it| !it.reused).collect();
    assert_eq!(new.len(), 1);
    assert_eq!(new[0].id, "slice-1");
}

#[tokio::test]
async fn an_image_in_a_layout_is_as_upstream_makes_it_and_has_digests_for_who_asks() {
    let mut world = World::in_layouts().await;
    let analyzed = world.analyze().await;
    let run_image = &analyzed.run_image.as_ref().unwrap().reference;
    let (path, own) = run_image.split_once('@').unwrap();
    let report = world.export(&analyzed, None).await.unwrap();
    assert_eq!(report.file().image.digest, None);
    let image = world.image(APP).await;
    let named = |image: &Image| {
        let label = &image.config().config.labels[labels::LIFECYCLE_METADATA];
        let label: serde_json::Value = serde_json::from_str(label).unwrap();
        label["runImage"]["reference"].as_str().unwrap().to_owned()
    };
    assert!(named(&image).starts_with(&format!("{path}@sha256:9bff545f")));
    assert_eq!(image.manifest().annotations[REF_NAME], "latest");
    let made = world.path("layouts/reg.test/app/latest");
    let version = std::fs::read_to_string(made.join("oci-layout")).unwrap();
    assert_eq!(version, "{\n    \"imageLayoutVersion\": \"1.0.0\"\n}");
    assert!(!made.join(".lock").exists());

    world.layout_digests = true;
    let report = world.export(&analyzed, None).await.unwrap();
    let file = report.file().with_digest(&report.image);
    assert_eq!(file.image.digest, Some(report.image.digest.to_string()));
    assert_eq!(named(&world.image(APP).await), format!("{path}@{own}"));
}

#[tokio::test]
async fn metadata_that_lie_about_the_previous_image_are_not_believed() {
    let world = World::new().await;
    let analyzed = world.analyze().await;
    world.export(&analyzed, None).await.unwrap();
    let mut analyzed = world.analyze().await;
    // Of another image: it has none of these layers.
    analyzed.image = analyzed.run_image.as_ref().map(|it| ImageIdentifier {
        reference: it.reference.clone(),
    });
    let report = world.export(&analyzed, None).await.unwrap();
    assert!(report.layers.iter().all(|it| !it.reused));
}

#[tokio::test]
async fn a_previous_image_without_config_is_missed_by_who_wants_its_layers_alone() {
    let world = World::new().await;
    let mut analyzed = world.analyze().await;
    world.export(&analyzed, None).await.unwrap();
    let metadata = world.analyze().await.metadata;

    let old = world.images.create("reg.test/old").await.unwrap();
    let config = Bytes::from_static(b"{");
    let config_descriptor = Descriptor::of(MediaType::IMAGE_CONFIG, &config);
    let upload = Upload::Bytes(config);
    old.store
        .push_blob(&config_descriptor, upload)
        .await
        .unwrap();
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MediaType::IMAGE_MANIFEST,
        "config": config_descriptor, "layers": [],
    });
    let manifest = Bytes::from(manifest.to_string());
    let image = Descriptor::of(MediaType::IMAGE_MANIFEST, &manifest);
    old.store.push_manifest(&image, manifest).await.unwrap();

    analyzed.image = Some(ImageIdentifier {
        reference: old.identifier(&image.digest),
    });
    world.export(&analyzed, None).await.unwrap();
    analyzed.metadata = metadata;
    let wanted = world.export(&analyzed, None).await;
    assert!(matches!(wanted, Err(ExportError::PreviousImage(_))));
}

#[tokio::test]
async fn what_cannot_be_exported_says_why() {
    let world = World::new().await;
    let analyzed = world.analyze().await;
    let no_process = world.export(&analyzed, Some("nope")).await;
    assert!(matches!(no_process, Err(ExportError::NoSuchProcess { .. })));
    std::fs::remove_dir_all(world.path("layers/some_bp/dep")).unwrap();
    let empty = world.export(&analyzed, None).await;
    assert!(matches!(
        empty,
        Err(ExportError::CacheWithoutContents { .. })
    ));
    world.write("layers/some_bp/dep.toml", "[types]\nlaunch = true\n");
    let nothing = world.export(&analyzed, None).await;
    assert!(matches!(nothing, Err(ExportError::NothingToReuse { .. })));
    world.write("layers/some_bp/dep.toml", "no toml");
    let malformed = world.export(&analyzed, None).await;
    assert!(matches!(
        malformed,
        Err(ExportError::MalformedLayers { .. })
    ));
    let gone = world.export(&Analyzed::default(), None).await;
    assert!(matches!(gone, Err(ExportError::NoRunImage)));
    // Nothing of all that has a name.
    let place = world.images.create(APP).await.unwrap();
    assert!(place.resolve().await.unwrap().is_none());
}

/// What was compressed for the image is not compressed again.
#[tokio::test]
async fn a_cache_image_takes_the_layers_that_were_made_for_the_image() {
    const CACHE: &str = "reg.test/cache";
    let world = World::new().await;
    let analyzed = world.analyze().await;
    let limits = Limits::default();
    let opened = ImageCache::open(&*world.images, CACHE, false, world.folder.path(), &limits);
    let cache = Cache::Image(Box::new(opened.await.unwrap()));
    let exporting = world.export_with(&analyzed, None, Some(&cache));
    let report = exporting.await.unwrap();
    // Who made the layer again would make another one.
    world.write("layers/some_bp/dep/f", "changed since");
    let context = CacheContext {
        api: PlatformApi::V0_15,
        group: &world.group,
        layers_dir: &world.path("layers"),
        root: world.folder.path(),
        owner: Owner { uid: 1, gid: 2 },
    };
    export_cache(&context, cache, &world.log).await.unwrap();
    let cached = world.image(CACHE).await;
    let layers: Vec<_> = cached.layers().map(|(it, _)| &it.digest).collect();
    assert_eq!(layers, [&report.layers[0].descriptor.digest]);
    let names = std::fs::read_dir(world.folder.path()).unwrap();
    let names: Vec<_> = names.map(|it| it.unwrap().file_name()).collect();
    let left = names
        .iter()
        .filter(|it| it.to_string_lossy().starts_with('.'));
    assert_eq!(left.count(), 0, "{names:?}");
}

/// A store that tries again by itself has tried several times by then; only upstream's registries are
/// asked again as often as upstream asks.
#[test]
fn an_outage_is_waited_for_where_upstream_waits() {
    use super::run_image::is_unsettled;
    use crate::images::OpenError;

    let opened = |strict, error| OpenError {
        name: RUN.to_owned(),
        strict,
        source: Box::new(ImageError::Store(error)),
    };
    let outage = || oci::StoreError::Unavailable {
        place: RUN.to_owned(),
        action: "read".to_owned(),
        source: "connection refused".into(),
    };
    let refusal = || oci::StoreError::Refused {
        place: RUN.to_owned(),
        action: "read".to_owned(),
        source: "no".into(),
    };
    assert!(is_unsettled(&opened(true, outage())));
    assert!(is_unsettled(&opened(true, refusal())));
    assert!(!is_unsettled(&opened(false, outage())));
    assert!(!is_unsettled(&opened(false, refusal())));
}

#[tokio::test]
async fn what_the_export_read_is_cached_without_reading_it_again() {
    let world = World::new().await;
    let cache_context = CacheContext {
        api: PlatformApi::V0_15,
        group: &world.group,
        layers_dir: &world.path("layers"),
        root: world.folder.path(),
        owner: Owner { uid: 1, gid: 2 },
    };
    let analyzed = world.analyze().await;
    let exported = async |analyzed: &Analyzed| {
        let cache = Cache::Directory(world.cache());
        let exporting = world.export_with(analyzed, None, Some(&cache));
        exporting.await.unwrap();
        // Were it read again, it would be another layer.
        world.write("layers/some_bp/dep/f", "changed meanwhile");
        world.log.take();
        export_cache(&cache_context, cache, &world.log)
            .await
            .unwrap();
        world.build();
        world.log.take()
    };
    let reusing = "Reusing cache layer 'some/bp:dep'".to_owned();
    let cached = || {
        let metadata = Cache::Directory(world.cache()).metadata().clone();
        let sha = metadata.buildpacks[0].layers["dep"].sha.clone();
        let file = world.path("cache/committed").join(format!("{sha}.tar"));
        (sha, file)
    };
    let is_whole = || {
        let (sha, file) = cached();
        Digest::of(&std::fs::read(file).unwrap()).to_string() == sha
    };
    // New to the image and to the cache; known to both; known to the cache alone.
    assert!(!exported(&analyzed).await.contains(&reusing));
    assert!(is_whole());
    let analyzed_again = world.analyze().await;
    for analyzed in [&analyzed_again, &analyzed] {
        assert!(exported(analyzed).await.contains(&reusing));
        assert!(is_whole());
    }
    // What is in the cache under its name is something else.
    for analyzed in [&analyzed_again, &analyzed] {
        std::fs::write(cached().1, "something else").unwrap();
        let lines = exported(analyzed).await;
        assert!(lines.iter().any(|it| it.starts_with("Skipping reuse")));
        assert!(!lines.contains(&reusing));
        assert!(is_whole());
    }
    // An export that is broken off leaves nothing.
    let cache = Cache::Directory(world.cache());
    world.write("layers/some_bp/dep/f", "new");
    let exporting = world.export_with(&analyzed, None, Some(&cache));
    exporting.await.unwrap();
    let staged = || std::fs::read_dir(world.path("cache/staging")).unwrap();
    assert_eq!(staged().count(), 1);
    drop(cache);
    assert_eq!(staged().count(), 0);
}

#[tokio::test]
async fn a_cached_layer_comes_back_if_the_image_has_the_same() {
    let world = World::new().await;
    let analyzed = world.analyze().await;
    world.export(&analyzed, None).await.unwrap();
    let cache_context = CacheContext {
        api: PlatformApi::V0_15,
        group: &world.group,
        layers_dir: &world.path("layers"),
        root: world.folder.path(),
        owner: Owner { uid: 1, gid: 2 },
    };
    let fill = || export_cache(&cache_context, Cache::Directory(world.cache()), &world.log);
    fill().await.unwrap();
    fill().await.unwrap();
    assert!(
        world
            .log
            .take()
            .contains(&"Reusing cache layer 'some/bp:dep'".to_owned())
    );

    let layers = world.path("layers");
    for other_content in [false, true] {
        let mut analyzed = world.analyze().await;
        if other_content {
            let layers = &mut analyzed.metadata.buildpacks[0].layers;
            layers.get_mut("dep").unwrap().sha = Digest::of(b"").to_string();
        }
        std::fs::remove_dir_all(&layers).unwrap();
        std::fs::create_dir(&layers).unwrap();
        let context = RestoreContext {
            api: PlatformApi::V0_15,
            group: &world.group,
            metadata: &analyzed.metadata,
            layers_dir: &layers,
            root: world.folder.path(),
            exec_env: "production",
            skip_layers: false,
        };
        let cache = Cache::Directory(world.cache());
        restore(&context, Some(&cache), &world.log).await.unwrap();
        let back = layers.join("some_bp/dep/f");
        assert_eq!(back.exists(), !other_content);
        assert_eq!(layers.join("some_bp/dep.toml").exists(), !other_content);
    }
    for (api, exec_env, is_back) in [
        (PlatformApi::V0_15, "[\"test\"]", false),
        (PlatformApi::V0_15, "[{ name = \"test\" }]", false),
        (PlatformApi::V0_15, "[\"test\", \"production\"]", true),
        (PlatformApi::V0_15, "[\"*\"]", true),
        // What it says has no meaning there.
        (PlatformApi::V0_14, "[\"test\"]", true),
    ] {
        let mut analyzed = world.analyze().await;
        let data = format!("exec-env = {exec_env}").parse::<toml::Table>();
        let layer = analyzed.metadata.buildpacks[0].layers.get_mut("dep");
        layer.unwrap().data = Some(data.unwrap().into());
        std::fs::remove_dir_all(&layers).unwrap();
        std::fs::create_dir(&layers).unwrap();
        let context = RestoreContext {
            api,
            group: &world.group,
            metadata: &analyzed.metadata,
            layers_dir: &layers,
            root: world.folder.path(),
            exec_env: "production",
            skip_layers: false,
        };
        let cache = Cache::Directory(world.cache());
        restore(&context, Some(&cache), &world.log).await.unwrap();
        for name in ["some_bp/dep/f", "some_bp/dep.toml"] {
            assert_eq!(
                layers.join(name).exists(),
                is_back,
                "{api} {exec_env} {name}"
            );
        }
    }
}

#[tokio::test]
async fn an_image_moves_to_a_run_image_that_it_names() {
    let world = World::new().await;
    let analyzed = world.analyze().await;
    let built = world.export(&analyzed, None).await.unwrap();
    // It was not told in run.toml.
    let refused = world.rebase(RUN, false).await;
    assert!(matches!(refused, Err(RebaseError::OtherRunImage { .. })));

    world.push_run("patched layer", "stack").await;
    let digest = world.rebase(RUN, true).await.unwrap();
    let image = world.image(APP).await;
    assert_eq!(image.descriptor().digest, digest);
    let first = image.layers().next().unwrap().1;
    assert_eq!(first.0, Digest::of(b"patched layer"));
    assert_eq!(image.layers().count(), built.layers.len() + 1);
    // Now it names it, and goes there by itself.
    assert_eq!(world.rebase(RUN, false).await.unwrap(), digest);
    let not_an_app = RebaseContext {
        api: PlatformApi::V0_15,
        images: &*world.images,
        app: RUN,
        names: &[APP.to_owned()],
        run_image: Some(RUN),
        force: true,
        any_tag: false,
        workers: NonZeroUsize::MIN,
        limits: &Limits::default(),
    };
    let readable = async |_: &str| true;
    let app = rebase::open_app(&not_an_app, readable).await.unwrap();
    let base = rebase::open_base(&not_an_app, &app, &world.log);
    let base = base.await.unwrap();
    let refused = rebase::rebase(&not_an_app, app, base, &world.log).await;
    assert!(matches!(refused, Err(RebaseError::NoBaseLayer)));
}
