//! What a build was asked for: arguments, files and environment, resolved and checked before
//! anything is done.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use attest::SignerPattern;
use attest::key::PrivateKey;
use gate::PolicySet;
use lifecycle_core::Level;
use lifecycle_core::api::PlatformApi;
use lifecycle_core::exec::Cancel;
use lifecycle_core::files::project_metadata::ProjectMetadata;
use lifecycle_core::images::Place;
use oci::{Found, Hasher, Location, Platform, Reference};
use platform::project::{Files as AppFiles, Project};
use platform::run::{CachePlace, Git, PROXIES, Request, RunImage, Telemetry, parse_volume};
use platform::sandbox::{Interpreter, Isolation, Mount, Network};
use policies::Policy;
use time::OffsetDateTime;

use super::args::{Build, BuildSigner};
use super::builders;
use super::env::Variables;
use super::images::Chooser;
use super::programs::OwnPrograms;
use super::project;
use super::targets::{self, Builders, Target};
use super::trace::Trace;
use crate::args::Format;
use crate::claims;
use crate::commands::policy;
use crate::environment::{self, Environment};
use crate::error::{CommandError, Context as _, Message};
use crate::images::Lookup;
use crate::keys::{self, Files};
use crate::signing::{self, Signer};
use crate::typed;
use crate::ui::Ui;

/// A build, as it was asked for.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) app: PathBuf,
    /// What the app says of its build.
    pub(crate) project: Option<Project>,
    /// Its file, as the user named it, or its name in the app's folder.
    pub(crate) project_name: String,
    /// What the image's labels say of its source.
    metadata: ProjectMetadata,
    /// What builds it, for each platform.
    pub(super) builders: Builders,
    /// The builder, as the user named it.
    pub(crate) builder_name: String,
    pub(crate) destinations: Vec<Reference>,
    pub(crate) format: Format,
    pub(crate) run_image: Option<String>,
    /// What it is built for, once each; this machine, if it was not said.
    pub(crate) platforms: Vec<Platform>,
    pub(crate) signer: Option<Signer>,
    /// Whom those trust who verify what certificates signed.
    pub(crate) trusted_root: Option<PathBuf>,
    /// What the image has to prove: for each destination its policy; none, if it is not judged.
    pub(crate) policies: Vec<Arc<Policy>>,
    /// What builder and run image have to prove.
    pub(crate) input_policies: Option<PolicySet>,
    /// The policy, as the user named it.
    pub(crate) policy_name: String,
    /// What the buildpacks get.
    pub(crate) env: BTreeMap<String, OsString>,
    /// Those of it whose value everybody may know.
    pub(crate) literal: BTreeSet<String>,
    /// What the lifecycle gets beside it.
    pub(crate) surroundings: BTreeMap<OsString, OsString>,
    /// When the image says that it was made, in seconds since 1970.
    pub(crate) created: i64,
    /// How much the phases have to say.
    pub(crate) log_level: Level,
    path: Option<OsString>,
    home: Option<PathBuf>,
    pub(crate) process_type: Option<String>,
    pub(crate) isolation: Isolation,
    /// What a build registers to run programs of its builder image, by platform.
    pub(super) interpreters: Vec<(Platform, Interpreter)>,
    pub(crate) network: Network,
    /// What is spoken with the lifecycle, if the user said it.
    platform_api: Option<PlatformApi>,
    /// What else of this machine buildpacks see.
    volumes: Vec<Mount>,
    /// The same, as the user said it.
    pub(crate) volume_names: Vec<String>,
    /// The image that the new one replaces, if it is not the one at the first destination.
    pub(crate) previous_image: Option<Reference>,
    /// The folder where layers are kept, if they are.
    pub(crate) cache: Option<PathBuf>,
    /// Whether the user named that folder.
    names_cache: bool,
    /// Where the layers of builder images are kept.
    pub(crate) roots: Option<PathBuf>,
    /// The image where layers are kept, if they are.
    cache_image: Option<Place>,
    /// Whether what was kept is left aside.
    clear_cache: bool,
    pub(crate) builder_id: String,
    pub(crate) staging: Option<PathBuf>,
    /// Where in-toto links go; none, if nobody wants them.
    pub(crate) links: Option<PathBuf>,
    pub(crate) programs: OwnPrograms,
    /// The trace that the build is part of, if it is part of one.
    pub(crate) trace: Option<Arc<Trace>>,
    /// What buildpacks are not to see: the key that signs, and what opens other doors.
    pub(crate) secrets: Vec<PathBuf>,
}

impl Settings {
    #[expect(
        clippy::too_many_lines,
        reason = "one thing after the other, each in a function of its own"
    )]
    pub(crate) async fn resolve(
        args: Build,
        images: &Lookup<'_>,
        environment: &Environment,
        ui: &Ui,
    ) -> Result<Self, CommandError> {
        let app = environment.directory.join(&args.app);
        if !app.is_dir() {
            return Err(CommandError::undecided(Message(format!(
                "`{}` is not a folder with an app",
                args.app.display()
            ))));
        }
        let (destinations, format) = destinations(&args.output, &args.tag, ui)?;
        let destinations: Vec<_> = destinations.iter().map(|it| images.settled(it)).collect();
        let input_policies = match &args.input_policy {
            Some(path) => Some(policy::load(path, &[])?),
            None => None,
        };
        let inputs = builders::Inputs {
            policies: input_policies.as_ref(),
            trusted_root: args.signer.services.trusted_root.as_deref(),
        };
        let project = project::load(&args, &app, environment, ui)?;
        let files = project.as_ref().map_or(&AppFiles::All, |it| &it.files);
        project::warn_of_products((&app, files), &args, &destinations, environment, ui);
        let named = project::builder(&args, project.as_ref(), ui);
        let named = args.builder.clone().or(named);
        let named = builders::find(named.as_deref(), &app, environment)?;
        let programs = OwnPrograms::find(args.lifecycle.as_deref(), environment)?;
        let platforms = targets::platforms(&args.platforms)?;
        if platforms.len() > 1 && args.cache_image.is_some() {
            return Err(CommandError::undecided(Message(
                "a cache image is for one platform, and several are built for".to_owned(),
            ))
            .hint("keep layers in a folder, with `--cache DIR`, or build one platform at a time"));
        }
        let interpreters = targets::check(&named, &platforms, &programs, environment)?;
        let builders = Builders::resolve(
            (&named, &platforms),
            (&args, project.as_ref()),
            (images, inputs, environment, ui),
        )
        .await?;
        let volumes = args
            .volume
            .iter()
            .map(|it| parse_volume(it, &environment.directory))
            .collect::<Result<_, _>>()
            .map_err(CommandError::undecided)?;
        let variables =
            Variables::read(project.as_ref(), &args.env_file, &args.env, environment, ui)?;
        let created = created(args.creation_time.as_deref(), environment)?;
        // Keys come last of what can fail: a new one is made only for a build that can begin.
        let key = key(&args.signer, &app, environment, ui)?;
        let given: Vec<_> = key
            .iter()
            .map(|it| SignerPattern::Key(it.public_key().clone()))
            .collect();
        let services = &args.signer.services;
        let signer = if args.signer.unsigned {
            None
        } else {
            if let Some(file) = signing::token_file(services) {
                outside(&app, "identity token", &environment.directory.join(file))?;
            }
            Some(Signer::open(key, services, &args.access, environment).await?)
        };
        let has_key = signer.as_ref().is_some_and(|it| it.key().is_some());
        if args.links.is_some() && !has_key {
            let problem = "`--links` needs a key: links are not signed with an identity token";
            return Err(CommandError::undecided(Message(problem.to_owned()))
                .hint("give `--key` as well, or leave out `--links`"));
        }
        let secrets = secrets(&args.signer, environment);
        let policy_name = args
            .policy
            .as_ref()
            .map_or(String::new(), |it| it.display().to_string());
        let mut policies = Vec::new();
        if let Some(path) = &args.policy {
            let set = policy::load(path, &given)?;
            for destination in &destinations {
                policies.push(policy::choose(&set, &[destination])?);
            }
        }
        let names_cache = args.cache.is_some();
        let cache = match (args.no_cache || args.cache_image.is_some(), args.cache) {
            (true, _) => None,
            (false, Some(path)) => Some(environment.directory.join(path)),
            (false, None) => environment
                .cache()
                .map(|it| it.join("build").join(name_of(&app))),
        };
        let cache_image = match &args.cache_image {
            Some(reference) => Some(super::images::cache(reference, images).await?),
            None => None,
        };
        Ok(Self {
            env: variables.values,
            literal: variables.literal,
            project_name: args.descriptor.map_or_else(
                || platform::project::FILE.to_owned(),
                |it| it.display().to_string(),
            ),
            metadata: project.as_ref().map(Project::metadata).unwrap_or_default(),
            project,
            surroundings: surroundings(args.network.into(), environment),
            created,
            log_level: match ui.verbosity() {
                0 | 1 => Level::Info,
                _ => Level::Debug,
            },
            path: environment.variables.get(&OsString::from("PATH")).cloned(),
            home: environment.home(),
            builder_name: args.builder.unwrap_or_else(|| named.to_string()),
            input_policies,
            roots: args
                .root_store
                .map(|it| environment.directory.join(it))
                .or_else(|| environment.root_store()),
            app,
            builders,
            destinations,
            format,
            run_image: args.run_image,
            platforms,
            signer,
            trusted_root: args.signer.services.trusted_root,
            policies,
            policy_name,
            process_type: args.process_type,
            previous_image: args.previous_image,
            volumes,
            volume_names: args.volume,
            cache_image,
            clear_cache: args.clear_cache,
            isolation: args.isolation.into(),
            interpreters,
            network: args.network.into(),
            platform_api: args.platform_api,
            cache,
            names_cache,
            builder_id: args.builder_id,
            links: args.links.map(|it| environment.directory.join(it)),
            staging: args.staging.map(|it| environment.directory.join(it)),
            programs,
            trace: None,
            secrets,
        })
    }
}

impl Settings {
    /// The same, as the phases want it.
    pub(crate) fn request<'a>(
        &'a self,
        run_image: &'a RunImage,
        chooser: &'a Chooser<'a>,
        previous: Option<&'a Found>,
        cancel: &'a Cancel,
        target: &'a Target,
    ) -> Request<'a> {
        Request {
            app: &self.app,
            files: self.project.as_ref().map_or(&AppFiles::All, |it| &it.files),
            metadata: &self.metadata,
            builder: self.builders.of(&target.platform),
            platform: &target.platform,
            launcher: &target.launcher,
            programs: &self.programs.running,
            run_image,
            run_images: chooser,
            previous,
            env: &self.env,
            surroundings: &self.surroundings,
            process_type: self.process_type.as_deref(),
            roots: self.roots.as_deref(),
            isolation: self.isolation,
            network: self.network,
            interpreter: target.interpreter.as_ref(),
            hidden: &self.secrets,
            volumes: &self.volumes,
            cache: self.kept(target),
            clear_cache: self.clear_cache,
            now: environment::now(),
            api: self.platform_api,
            created: self.created,
            log_level: self.log_level,
            git: Git {
                path: self.path.as_deref(),
                home: self.home.as_deref(),
            },
            telemetry: self.trace.as_deref().map(|it| it as &dyn Telemetry),
            cancel,
        }
    }

    /// A name that each build of the same app for the same place and platform has.
    pub(crate) fn build_name(&self, target: &Target) -> String {
        let mut hasher = Hasher::default();
        let to = self.destinations.iter().map(ToString::to_string);
        for part in [name_of(&self.app), target.platform.to_string()]
            .into_iter()
            .chain(to)
        {
            hasher.update(part.as_bytes());
            hasher.update(b"\0");
        }
        hasher.finish().hex().chars().take(16).collect()
    }

    /// Whether layers are kept between builds.
    pub(crate) fn keeps(&self) -> bool {
        self.cache_image.is_some() || self.cache.is_some()
    }

    /// Where layers are kept between builds; none, if nothing of an earlier build is to be used.
    fn kept<'a>(&'a self, target: &'a Target) -> Option<CachePlace<'a>> {
        let image = self.cache_image.as_ref().map(CachePlace::Image);
        let place = if self.names_cache {
            CachePlace::Folder
        } else {
            CachePlace::Usual
        };
        image.or(target.cache.as_deref().map(place))
    }

    /// What the image is called, wherever it goes: the repository of its first destination, or the
    /// name of the app's folder.
    pub(crate) fn image_name(&self) -> String {
        match self.destinations.first().map(|it| &it.location) {
            Some(Location::Registry(repository)) => repository.to_string(),
            _ => self
                .app
                .canonicalize()
                .ok()
                .as_deref()
                .and_then(Path::file_name)
                .map_or_else(|| "app".to_owned(), |it| it.to_string_lossy().into_owned()),
        }
    }
}

/// Sorts the values of `--output`: where the image goes, and how what is printed looks.
fn destinations(
    output: &[String],
    tags: &[String],
    ui: &Ui,
) -> Result<(Vec<Reference>, Format), CommandError> {
    let mut format = Format::Text;
    let mut destinations = Vec::new();
    for it in output {
        match it.as_str() {
            "json" => format = Format::Json,
            "text" => format = Format::Text,
            // An image of Docker Hub whose name is one word is as good as never meant.
            other if !other.contains(['/', ':', '.']) => {
                return Err(CommandError::undecided(Message(format!(
                    "`{other}` is not an output format: `text` or `json`"
                )))
                .hint("where the image goes is said by `--tag`"));
            }
            other => {
                ui.warn(format_args!(
                    "write `--tag {other}`: `--output` takes images until the next release only"
                ));
                destinations.push(destination(other)?);
            }
        }
    }
    for tag in tags {
        destinations.push(destination(tag)?);
    }
    if destinations.is_empty() {
        return Err(CommandError::undecided(Message(
            "nothing says where the image goes".to_owned(),
        ))
        .hint("add `--tag HOST/REPO:TAG` or `--tag oci:DIR:TAG`"));
    }
    Ok((destinations, format))
}

fn destination(text: &str) -> Result<Reference, CommandError> {
    let reference = typed::image(text)
        .context(|| format!("`{text}` is not a place for an image"))
        .map_err(|it| it.hint("use `HOST/REPO:TAG` or `oci:DIR:TAG`"))?;
    if reference.digest.is_some() {
        return Err(CommandError::undecided(Message(format!(
            "`{text}` names a digest, but nobody knows the digest of an image before it is built"
        )))
        .hint("name a tag: `HOST/REPO:TAG` or `oci:DIR:TAG`"));
    }
    Ok(reference)
}

/// The key that signs, if one does.
fn key(
    args: &BuildSigner,
    app: &Path,
    environment: &Environment,
    ui: &Ui,
) -> Result<Option<PrivateKey>, CommandError> {
    let path = match (&args.key, &args.new_key) {
        (Some(path), _) => path.clone(),
        (None, Some(prefix)) => {
            let files = Files::of(prefix);
            outside(
                app,
                "private key",
                &environment.directory.join(&files.private),
            )?;
            if !files.private.exists() {
                keys::generate(&files, environment)?;
                ui.done(
                    "key",
                    format_args!(
                        "made {} and {}",
                        files.private.display(),
                        files.public.display()
                    ),
                );
            }
            files.private
        }
        (None, None) => return Ok(None),
    };
    // What a variable holds lies in no folder.
    if !path.starts_with("env:") {
        outside(app, "private key", &environment.directory.join(&path))?;
    }
    keys::private(&path, environment).map(Some)
}

/// Refuses a private key, or a token, in the app's folder: buildpacks would see it, and the image would hold it.
fn outside(app: &Path, what: &str, key: &Path) -> Result<(), CommandError> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let folder = real(key.parent().unwrap_or(Path::new("/")));
    if !folder.starts_with(real(app)) && !real(key).starts_with(real(app)) {
        return Ok(());
    }
    Err(CommandError::undecided(Message(format!(
        "the {what} `{}` lies in the app's folder, and would be in the image",
        key.display()
    )))
    .hint("keep it elsewhere"))
}

/// Where keys and credentials lie: buildpacks see the home of whoever builds, for its toolchain, but
/// not these.
fn secrets(signer: &BuildSigner, environment: &Environment) -> Vec<PathBuf> {
    const IN_HOME: [&str; 14] = [
        ".aws",
        ".azure",
        ".cargo/credentials.toml",
        ".config/containers",
        ".config/gcloud",
        ".config/gh",
        ".docker",
        ".git-credentials",
        ".gnupg",
        ".kube",
        ".netrc",
        ".npmrc",
        ".pypirc",
        ".ssh",
    ];
    // Who may speak to them may do whatever their servers may.
    const SOCKETS: [&str; 6] = [
        "/run/buildkit",
        "/run/containerd",
        "/run/crio",
        "/run/docker.sock",
        "/run/podman",
        "/var/run/docker.sock",
    ];
    let home = environment.home();
    // Who builds in place of root may read what is in another home.
    let other = platform::sandbox::home_of_builder();
    let in_home = home
        .iter()
        .chain(&other)
        .flat_map(|home| IN_HOME.map(|name| home.join(name)));
    let named = [
        "DOCKER_CERT_PATH",
        "DOCKER_CONFIG",
        "SSH_AUTH_SOCK",
        "XDG_RUNTIME_DIR",
    ]
    .into_iter()
    .filter_map(|name| environment.text(name).filter(|it| !it.is_empty()))
    .map(PathBuf::from)
    // Where we read them ourselves.
    .chain(oci::auth::config_paths(
        home.as_deref(),
        &environment.texts(),
    ))
    .map(|it| environment.directory.join(it));
    let docker = environment.text("DOCKER_HOST");
    let docker = docker.and_then(|it| it.strip_prefix("unix://"));
    let sockets = SOCKETS.into_iter().chain(docker).map(PathBuf::from);
    let key = match (&signer.key, &signer.new_key) {
        (Some(path), _) => Some(path.clone()),
        (None, prefix) => prefix.as_deref().map(|it| Files::of(it).private),
    };
    let key = key.map(|it| environment.directory.join(it));
    let token = signing::token_file(&signer.services);
    let token = token.map(|it| environment.directory.join(it));
    let all = in_home.chain(named).chain(sockets).chain(key).chain(token);
    all.filter(|it| it.is_absolute()).collect()
}

/// A name for what belongs to the app in this folder.
fn name_of(app: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;

    let mut hasher = Hasher::default();
    let path = app.canonicalize().unwrap_or_else(|_| app.to_owned());
    hasher.update(path.as_os_str().as_bytes());
    hasher.finish().hex().chars().take(16).collect()
}

/// What the lifecycle sees of this environment where it runs buildpacks.
fn surroundings(network: Network, environment: &Environment) -> BTreeMap<OsString, OsString> {
    const PASSED: [&str; 2] = ["PATH", "HOME"];
    let proxies = PROXIES.iter().filter(|_| network == Network::Host);
    let names = PASSED.iter().chain(proxies).map(OsString::from);
    names
        .filter_map(|name| {
            let value = environment.variables.get(&name)?.clone();
            Some((name, value))
        })
        .collect()
}

/// The time in the image: the one that was given, or `SOURCE_DATE_EPOCH`, else the one that is always the
/// same.
fn created(given: Option<&str>, environment: &Environment) -> Result<i64, CommandError> {
    match given {
        Some("now") => return Ok(OffsetDateTime::from(environment::now()).unix_timestamp()),
        Some(text) => {
            let wrong = || {
                format!("`{text}` is not a creation time: that is a number of seconds, or `now`")
            };
            return seconds(text, wrong);
        }
        None => {}
    }
    match environment.text("SOURCE_DATE_EPOCH") {
        None | Some("") => Ok(claims::CREATED),
        Some(text) => seconds(text, || {
            format!("SOURCE_DATE_EPOCH is `{text}`, not a number of seconds")
        }),
    }
}

/// A number of seconds since 1970 that stands for a time.
fn seconds(text: &str, wrong: impl Fn() -> String) -> Result<i64, CommandError> {
    let seconds: i64 = text.parse().context(&wrong)?;
    OffsetDateTime::from_unix_timestamp(seconds).context(wrong)?;
    Ok(seconds)
}
