//! Carries out the instructions of one Dockerfile, one after the other.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use oci::layer::Layer;
use oci::{Digest, ImageConfig, spans};
use serde_json::{Value, json};
use tracing::field::Empty;
use tracing::{Span, info_span};

use super::cache::{LayerCache, Made};
use super::copy::{self, Context, Request};
use super::layer::{self, FIXED, Item, Times};
use super::root::{Changes, Command, Found, Root};
use super::users::{self, Identity};
use super::variables::{Arguments, replace};
use super::{ExtendError, StepError};
use crate::dockerfile::ignore::Ignore;
use crate::dockerfile::words::{Style, expand, split_words};
use crate::dockerfile::{Copy, Form, Instruction, Run, Step};
use crate::exec::ToLog;
use crate::{Level, Log};

/// Where programs are looked for if an image does not say so, as Docker has it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image that is being extended.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) root: &'a mut dyn Root,
    pub(super) cache: &'a LayerCache,
    /// Where layers are made.
    pub(super) temporary: &'a Path,
    pub(super) times: Times,
    pub(super) log: &'a dyn Log,
    /// As it is so far.
    pub(super) config: ImageConfig,
    /// What was added so far, and what made it.
    pub(super) layers: Vec<(Layer, String)>,
    /// How many of these the root has.
    pub(super) applied: usize,
    /// Whether the root knows how it was before the next command.
    pub(super) is_remembered: bool,
}

/// What one Dockerfile brings, besides its instructions.
pub(super) struct Scope {
    pub(super) arguments: Arguments,
    pub(super) escape: char,
    pub(super) context: Context,
}

impl Stage<'_> {
    /// Carries out one instruction.
    pub(super) fn carry_out(&mut self, step: &Step, scope: &mut Scope) -> Result<(), StepError> {
        let env = self.env();
        let escape = scope.escape;
        let lookup = |name: &str| scope.arguments.value(&env, name);
        let word = |text: &str| replace(text, escape, &lookup);
        match &step.instruction {
            Instruction::Add(copy) => self.copy(copy, step, scope, true)?,
            Instruction::Arg(names) => scope.arguments.declare(names, &env, escape)?,
            Instruction::Cmd(form) => self.config.config.cmd = self.words(form),
            Instruction::Copy(copy) => self.copy(copy, step, scope, false)?,
            Instruction::Entrypoint(form) => {
                self.config.config.entrypoint = self.words(form);
                self.config.config.cmd.clear();
            }
            Instruction::Env(pairs) => {
                for (name, value) in pairs {
                    self.config.config.set_env(&word(name)?, &word(value)?);
                }
            }
            Instruction::Expose(ports) => {
                let style = Style::new(escape);
                for port in ports {
                    for port in split_words(port, &style, &lookup)? {
                        let port = if port.contains('/') {
                            port
                        } else {
                            format!("{port}/tcp")
                        };
                        self.config.config.exposed_ports.insert(port, json!({}));
                    }
                }
            }
            Instruction::Label(pairs) => {
                for (name, value) in pairs {
                    self.config.config.labels.insert(word(name)?, word(value)?);
                }
            }
            Instruction::Maintainer(who) => self.config.author.clone_from(who),
            Instruction::Run(run) => {
                let span = info_span!("extension-run", reused = Empty);
                spans::inside(&span, || self.run(run, step, scope))?;
            }
            Instruction::Shell(words) => self.config.config.shell.clone_from(words),
            Instruction::StopSignal(signal) => self.config.config.stop_signal = word(signal)?,
            Instruction::User(user) => self.config.config.user = word(user)?,
            Instruction::Volume(paths) => {
                for path in paths {
                    self.config.config.volumes.insert(word(path)?, json!({}));
                }
            }
            Instruction::Workdir(path) => {
                let path = word(path)?;
                self.workdir(&path, step)?;
            }
            Instruction::From { .. } | Instruction::HealthCheck(_) | Instruction::OnBuild(_) => {
                return Err(StepError::NotSupported);
            }
        }
        Ok(())
    }

    /// Brings the root to where the image is.
    pub(super) fn catch_up(&mut self) -> Result<(), StepError> {
        for (layer, _by) in self.layers.iter().skip(self.applied) {
            self.root.apply(&layer.file).map_err(StepError::Apply)?;
            self.is_remembered = false;
        }
        self.applied = self.layers.len();
        Ok(())
    }

    fn env(&self) -> BTreeMap<String, String> {
        let entries = self.config.config.env.iter();
        let pairs = entries.filter_map(|it| it.split_once('='));
        // Of several the first counts.
        let pairs = pairs
            .rev()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        pairs.collect()
    }

    fn shell(&self) -> Vec<String> {
        let shell = &self.config.config.shell;
        if shell.is_empty() {
            vec!["/bin/sh".to_owned(), "-c".to_owned()]
        } else {
            shell.clone()
        }
    }

    fn words(&self, form: &Form) -> Vec<String> {
        match form {
            Form::Exec(words) => words.clone(),
            Form::Shell(line) => {
                let mut words = self.shell();
                words.push(line.clone());
                words
            }
        }
    }

    fn working_dir(&self) -> PathBuf {
        absolute(Path::new("/"), &self.config.config.working_dir)
    }

    fn identity(&self, text: &str) -> Result<Identity, StepError> {
        Ok(users::identity(&*self.root, text)?)
    }

    fn run(&mut self, run: &Run, step: &Step, scope: &Scope) -> Result<(), StepError> {
        for (flag, is_given) in [
            ("--mount", !run.mounts.is_empty()),
            ("--security", run.security.is_some()),
            ("--device", !run.devices.is_empty()),
        ] {
            if is_given {
                return Err(StepError::FlagNotSupported { flag });
            }
        }
        if run.network.as_deref().is_some_and(|it| it != "default") {
            return Err(StepError::FlagNotSupported { flag: "--network" });
        }
        let mut words = self.words(&run.form);
        let mut script = None;
        if let Form::Shell(line) = &run.form
            && !run.documents.is_empty()
        {
            let whole = match run.only_document() {
                // A program that says itself what runs it.
                Some(text) if text.starts_with("#!") => {
                    script = Some(text.clone());
                    text
                }
                Some(text) => text,
                None => {
                    let mut whole = line.clone();
                    for it in &run.documents {
                        whole.push('\n');
                        whole.push_str(&it.content);
                        whole.push_str(&it.name);
                    }
                    whole
                }
            };
            words = self.shell();
            words.push(whole);
        }
        let env = scope.arguments.environment(&self.env());
        let key = self.key(&words, &env);
        let shown = &step.text;
        let found = self.cache.find(&key, self.log);
        Span::current().record("reused", found.is_some());
        if let Some(made) = found {
            let text = format!("Using cached layer for cmd {shown}");
            self.log.line(Level::Info, &text);
            if let Made::Layer(layer) = made {
                self.layers.push((*layer, shown.clone()));
            }
            return Ok(());
        }
        let text = format!("No cached layer found for cmd {shown}");
        self.log.line(Level::Info, &text);
        self.catch_up()?;
        let identity = self.identity(&self.config.config.user)?;
        let mut env = env;
        env.entry("HOME".to_owned())
            .or_insert_with(|| identity.home.clone());
        env.entry("PATH".to_owned())
            .or_insert_with(|| PATH.to_owned());
        let command = Command {
            words,
            env,
            dir: self.working_dir(),
            identity,
            script,
        };
        if !self.is_remembered {
            self.root.remember().map_err(StepError::Look)?;
        }
        let exit = self.root.run(&command, &ToLog(self.log))?;
        if !exit.is_success() {
            return Err(StepError::Exit { exit });
        }
        let changes = self.root.changes().map_err(StepError::Look)?;
        self.is_remembered = true;
        let layer = self.layer_of(&changes)?;
        self.cache.keep(&key, layer.as_ref())?;
        self.layers.extend(layer.map(|it| (it, shown.clone())));
        self.applied = self.layers.len();
        Ok(())
    }

    /// What decides what a command does.
    fn key(&self, words: &[String], env: &BTreeMap<String, String>) -> Digest {
        let all: Value = json!([
            "sealpack run 1",
            self.config.rootfs.diff_ids,
            self.layers
                .iter()
                .map(|(it, _by)| &it.diff_id)
                .collect::<Vec<_>>(),
            self.config.config.user,
            self.config.config.working_dir,
            self.times.limit(),
            words,
            env,
        ]);
        Digest::of(all.to_string().as_bytes())
    }

    fn layer_of(&self, changes: &Changes) -> Result<Option<Layer>, StepError> {
        let items = layer::items(changes, self.times).map_err(StepError::Look)?;
        self.write(&items)
    }

    fn write(&self, items: &[Item]) -> Result<Option<Layer>, StepError> {
        if items.is_empty() {
            return Ok(None);
        }
        let name = format!("layer-{}", self.layers.len());
        let layer = layer::write(items, &self.temporary.join(name));
        Ok(Some(layer.map_err(StepError::Layer)?))
    }

    /// Adds what is not in the root yet.
    fn add(&mut self, items: &[Item], step: &Step) -> Result<(), StepError> {
        if let Some(layer) = self.write(items)? {
            self.layers.push((layer, step.text.clone()));
            self.catch_up()?;
        }
        Ok(())
    }

    fn copy(
        &mut self,
        copy: &Copy,
        step: &Step,
        scope: &Scope,
        is_add: bool,
    ) -> Result<(), StepError> {
        if copy.from.is_some() {
            return Err(StepError::FlagNotSupported { flag: "--from" });
        }
        if copy.checksum.is_some() {
            return Err(StepError::FlagNotSupported { flag: "--checksum" });
        }
        let env = self.env();
        let lookup = |name: &str| scope.arguments.value(&env, name);
        let word = |text: &String| replace(text, scope.escape, &lookup);
        let sources: Vec<String> = copy.sources.iter().map(word).collect::<Result<_, _>>()?;
        let is_remote = |it: &&String| it.contains("://") || it.starts_with("git@");
        if let Some(source) = sources.iter().find(is_remote).filter(|_it| is_add) {
            return Err(StepError::Remote {
                source_text: source.clone(),
            });
        }
        let document = |text: &str| expand(text, &Style::document(scope.escape), &lookup);
        let mut inline = Vec::new();
        for it in &copy.inline {
            let content = if it.expands {
                document(&it.content)?
            } else {
                it.content.clone()
            };
            inline.push((it.name.clone(), content));
        }
        let target = word(&copy.target)?;
        // Names and folders are looked up in the root.
        self.catch_up()?;
        let owner = match &copy.owner {
            Some(owner) => {
                let it = self.identity(&word(owner)?)?;
                Some((it.uid, it.gid))
            }
            None => None,
        };
        let mode = match &copy.mode {
            Some(mode) => {
                let mode = word(mode)?;
                let number = u32::from_str_radix(&mode, 8).ok();
                let number = number.filter(|it| *it <= 0o7777);
                Some(number.ok_or(StepError::Mode { mode })?)
            }
            None => None,
        };
        let excludes = copy.excludes.iter().map(word);
        let excludes: Vec<String> = excludes.collect::<Result<_, _>>()?;
        let mut absolute_target = absolute(&self.working_dir(), &target).display().to_string();
        let is_folder = target.ends_with('/') || target.ends_with("/.") || target == ".";
        if is_folder && !absolute_target.ends_with('/') {
            absolute_target.push('/');
        }
        let request = Request {
            sources,
            inline,
            target: absolute_target,
            owner,
            mode,
            excludes: Ignore::new(excludes.iter().map(String::as_str))?,
            keeps_parents: copy.keeps_parents,
            unpacks: is_add && copy.unpacks != Some(false),
        };
        let copied = copy::copy(
            &request,
            &scope.context,
            &*self.root,
            self.times,
            self.temporary,
        )?;
        self.add(&copied.items, step)
    }

    fn workdir(&mut self, path: &str, step: &Step) -> Result<(), StepError> {
        let dir = absolute(&self.working_dir(), path);
        self.config.config.working_dir = dir.display().to_string();
        self.catch_up()?;
        let look = self.root.look(&dir).map_err(StepError::Look)?;
        if look.found.is_some() {
            return Ok(());
        }
        let identity = self.identity(&self.config.config.user)?;
        let new = Found {
            is_dir: true,
            mode: 0o755,
            uid: identity.uid,
            gid: identity.gid,
            mtime: FIXED,
        };
        let mut items = Vec::new();
        let mut folder = PathBuf::new();
        for part in look.path.strip_prefix("/").unwrap_or(&look.path) {
            folder.push(part);
            let there = self.root.look(&Path::new("/").join(&folder));
            let found = there.map_err(StepError::Look)?.found.unwrap_or(new);
            items.push(Item::folder(folder.clone(), &found, self.times));
        }
        self.add(&items, step)
    }
}

/// `path` as seen from `dir`, without `.` and `..`.
fn absolute(dir: &Path, path: &str) -> PathBuf {
    let mut all = PathBuf::from("/");
    for part in dir.join(path).components() {
        match part {
            Component::Normal(part) => all.push(part),
            Component::ParentDir => {
                all.pop();
            }
            _ => {}
        }
    }
    all
}

impl StepError {
    /// Where it happened.
    pub(super) fn at(self, file: &Path, step: &Step) -> ExtendError {
        ExtendError::Step {
            file: file.to_owned(),
            line: step.line,
            text: step.text.clone(),
            source: Box::new(self),
        }
    }
}
