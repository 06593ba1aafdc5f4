//! `sealpack build --trace`: the spans of all phases as one trace, to a file or a collector.
//!
//! What phases write in the sandbox, and buildpacks with them, is gathered when the build is over, also
//! when it fails. No build fails because its trace cannot be sent: that is only said.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use net::{Options, ProxySettings, Retries, Services, TrustSettings};
use otlp::{
    AppendFile, Attribute, Endpoint, Recorder, Resource, SendError, Sink, TraceContext, collect,
};
use platform::run::Telemetry;

use crate::args::Access;
use crate::environment::Environment;
use crate::error::{CommandError, Context as _, Message};
use crate::ui::{Ui, counted};

/// More than any build has; what is beyond is counted.
const MAX_SPANS: usize = 100_000;

/// The longest that a build waits for its collector.
const LONGEST: Duration = Duration::from_secs(10);

/// The trace of a build.
#[derive(Debug)]
pub(crate) struct Trace {
    kept: Arc<Kept>,
    services: Services,
}

/// What was told so far.
#[derive(Debug)]
struct Kept {
    to: To,
    state: Mutex<State>,
}

#[derive(Debug)]
enum To {
    File(AppendFile),
    Endpoint(Endpoint),
}

#[derive(Debug, Default)]
struct State {
    /// What is to be sent of our own.
    spans: Vec<String>,
    /// The same, of phases in the sandbox, where buildpacks write, too.
    phases: Vec<String>,
    /// The same, of buildpacks.
    modules: Vec<String>,
    /// How much is not told, or cannot be.
    left_out: usize,
    /// Why the file could not be written.
    problem: Option<String>,
}

impl State {
    fn len(&self) -> usize {
        self.spans.len() + self.phases.len() + self.modules.len()
    }
}

impl Trace {
    /// Begins a trace that goes `to` a file or a URL.
    pub(crate) fn start(
        to: &str,
        app: &Path,
        access: &Access,
        environment: &Environment,
    ) -> Result<Arc<Self>, CommandError> {
        outside(app, to, environment)?;
        let place = if to.contains("://") {
            let endpoint: Result<Endpoint, _> = to.parse();
            To::Endpoint(endpoint.context(|| "`--trace` cannot be followed".to_owned())?)
        } else {
            let file = AppendFile::open(&environment.directory.join(to));
            To::File(file.context(|| format!("the trace cannot be written to `{to}`"))?)
        };
        let context = match environment.text("TRACEPARENT").filter(|it| !it.is_empty()) {
            Some(given) => given
                .parse::<TraceContext>()
                .context(|| "the variable TRACEPARENT cannot be followed".to_owned())?
                .around_us(),
            None => TraceContext::begin(),
        };
        let kept = Arc::new(Kept {
            to: place,
            state: Mutex::default(),
        });
        let resource = Resource {
            attributes: vec![
                Attribute::text("service.name", "sealpack"),
                Attribute::text("service.version", env!("CARGO_PKG_VERSION")),
            ],
        };
        let sink = Arc::clone(&kept) as Arc<dyn Sink>;
        let started = Recorder::new(context, resource, sink).start();
        started.map_err(CommandError::undecided)?;
        Ok(Arc::new(Self {
            kept,
            services: Services::new(options(access, environment)),
        }))
    }

    /// Sends what is to be sent, and says what could not be told.
    pub(crate) async fn finish(&self, ui: &Ui) {
        let state = std::mem::take(&mut *self.kept.lock());
        if let Some(problem) = state.problem {
            ui.warn(format_args!("the trace could not be written: {problem}"));
        }
        if state.left_out > 0 {
            ui.warn(format_args!(
                "left out of the trace, as too much or malformed: {}",
                counted(state.left_out, "part")
            ));
        }
        let To::Endpoint(endpoint) = &self.kept.to else {
            return;
        };
        let all = [state.spans, state.phases, state.modules];
        tokio::select! {
            () = self.send(endpoint, all, ui) => {}
            () = tokio::time::sleep(LONGEST) => ui.warn(format_args!(
                "not all of the trace was sent to `{endpoint}` within {LONGEST:?}"
            )),
            _ = tokio::signal::ctrl_c() => ui.warn(format_args!("not all of the trace was sent")),
        }
    }

    /// What others may have written goes by itself: it may be why a collector says no.
    async fn send(&self, endpoint: &Endpoint, all: [Vec<String>; 3], ui: &Ui) {
        for spans in all {
            match endpoint.send(&spans, &self.services).await {
                Ok(0) => {}
                Ok(rejected) => ui.warn(format_args!(
                    "the collector did not take {rejected} spans of the trace"
                )),
                Err(error) => {
                    let is_gone = matches!(error, SendError::NotAsked { .. });
                    let error = CommandError::undecided(error).line();
                    ui.warn(format_args!(
                        "the trace was not sent to `{endpoint}`: {error}"
                    ));
                    if is_gone {
                        return;
                    }
                }
            }
        }
    }
}

impl Telemetry for Trace {
    fn traceparent(&self) -> Option<String> {
        otlp::traceparent()
    }

    fn collect(&self, folder: &Path) {
        let found = collect(folder);
        self.kept.lock().left_out += found.left_out;
        for element in &found.phases {
            self.kept.take(element, |state| &mut state.phases);
        }
        for element in &found.modules {
            self.kept.take(element, |state| &mut state.modules);
        }
    }
}

impl Sink for Kept {
    fn span(&self, _root: &'static str, element: &str) {
        self.take(element, |state| &mut state.spans);
    }
}

impl Kept {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, element: &str, list: impl Fn(&mut State) -> &mut Vec<String>) {
        let mut state = self.lock();
        match &self.to {
            To::File(file) => {
                if let Err(error) = file.add(element) {
                    state.problem = Some(error.to_string());
                }
            }
            To::Endpoint(_) if state.len() >= MAX_SPANS => {
                state.left_out += 1;
            }
            To::Endpoint(_) => list(&mut state).push(element.to_owned()),
        }
    }
}

/// How a collector is reached: nobody waits long for it.
fn options(access: &Access, environment: &Environment) -> Options {
    let (home, variables) = (environment.home(), environment.texts());
    let limit = Duration::from_secs(5);
    Options {
        trust: TrustSettings::find(home.as_deref(), &variables),
        proxies: ProxySettings::find(&variables),
        retries: Retries {
            count: 1,
            longest: limit,
            ..Retries::default()
        },
        connect_timeout: limit,
        document_timeout: limit,
        loopback_only: access.offline,
        ..Options::default()
    }
}

/// Refuses a trace in the app's folder: it would be in the image.
fn outside(app: &Path, to: &str, environment: &Environment) -> Result<(), CommandError> {
    if to.contains("://") {
        return Ok(());
    }
    let path = environment.directory.join(to);
    let folder = path.parent().and_then(|it| it.canonicalize().ok());
    let app = environment.directory.join(app).canonicalize();
    if !folder.is_some_and(|it| app.is_ok_and(|app| it.starts_with(app))) {
        return Ok(());
    }
    Err(CommandError::undecided(Message(format!(
        "the trace `{to}` lies in the app's folder, and would be in the image"
    )))
    .hint("keep it elsewhere"))
}
