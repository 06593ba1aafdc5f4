//! The only place that prints.

mod text;

use std::fmt::Display;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

pub(crate) use self::text::{counted, harmless, size};
use self::text::{spoken, spoken_json, without_colours};
use crate::args::{Format, Global, When};
use crate::environment::{self, Environment};
use crate::error::{CommandError, Context as _};

/// How this run speaks.
#[derive(Debug)]
pub(crate) struct Ui {
    quiet: bool,
    verbose: u8,
    colour_out: bool,
    colour_err: bool,
    bar: Option<ProgressBar>,
    /// What is under way, where it is drawn.
    drawn: Mutex<String>,
    /// What is under way, where it is not drawn.
    begun: Mutex<Option<Begun>>,
    /// The command, unless somebody sits at a terminal: a line could disturb a prompt.
    command: Option<Begun>,
    /// Lines must not be torn apart by other threads.
    lock: Mutex<()>,
    /// How the result went out.
    out: Mutex<Out>,
    /// Whether the line is one that somebody is to end.
    is_asking: AtomicBool,
}

/// What is under way, and since when.
#[derive(Debug)]
struct Begun {
    phase: String,
    text: String,
    at: Instant,
    /// How many bytes have moved, and of how many.
    moved: u64,
    expected: u64,
}

impl Begun {
    fn new(phase: &str, text: String) -> Self {
        Self {
            phase: phase.to_owned(),
            text,
            at: environment::instant(),
            moved: 0,
            expected: 0,
        }
    }

    fn so_far(&self, now: Instant) -> String {
        let seconds = now.duration_since(self.at).as_secs();
        // What is told each minute is told a little before or after.
        let time = match seconds {
            0..=44 => format!("{seconds} s"),
            _ => format!("{} min", (seconds + 15) / 60),
        };
        let before = if self.text.is_empty() {
            String::new()
        } else {
            format!("{}: ", self.text)
        };
        let bytes = if self.expected == 0 {
            String::new()
        } else {
            format!(", {} of {}", size(self.moved), size(self.expected))
        };
        format!("{before}still running, {time} so far{bytes}")
    }
}

/// How the result went out.
#[derive(Debug, Default)]
struct Out {
    /// Whether there was something of it.
    begun: bool,
    /// Why some of it could not be written.
    error: Option<io::Error>,
}

/// What a program reads of a command that failed, where it asked for JSON. `docs/output.md` describes
/// it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    error: String,
    causes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<String>,
}

/// A line of a log, for programs, on standard error.
pub(crate) fn log(line: &str) {
    use std::io::Write as _;

    // There is nobody to tell that nobody can be told.
    writeln!(io::stderr().lock(), "{line}").unwrap_or_default();
}

/// What a word means, which decides its colour.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tone {
    /// All is well.
    Good,
    /// Something is wrong.
    Bad,
    /// Something is odd.
    Odd,
    /// A label.
    Label,
    /// Less important.
    Faint,
}

impl Tone {
    const fn code(self) -> &'static str {
        match self {
            Self::Good => "1;32",
            Self::Bad => "1;31",
            Self::Odd => "1;33",
            Self::Label => "1;36",
            Self::Faint => "2",
        }
    }
}

impl Ui {
    pub(crate) fn new(global: &Global, environment: &Environment) -> Self {
        let is_set = |name| environment.text(name).is_some_and(|it| !it.is_empty());
        let is_forced = |name| is_set(name) && environment.text(name) != Some("0");
        let auto = |terminal: bool| {
            !is_set("NO_COLOR")
                && (is_forced("FORCE_COLOR")
                    || is_forced("CLICOLOR_FORCE")
                    || terminal && environment.text("TERM") != Some("dumb"))
        };
        let colour = |terminal: bool| match global.color {
            When::Auto => auto(terminal),
            When::Always => true,
            When::Never => false,
        };
        let is_shown = environment.stderr_is_terminal && !global.quiet && global.verbose == 0;
        // Hidden until something is under way: one that is drawn before would draw over a prompt.
        let bar =
            is_shown.then(|| ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()));
        Self {
            quiet: global.quiet,
            verbose: global.verbose,
            colour_out: colour(environment.stdout_is_terminal),
            colour_err: colour(environment.stderr_is_terminal),
            bar,
            drawn: Mutex::default(),
            begun: Mutex::default(),
            command: None,
            lock: Mutex::new(()),
            out: Mutex::default(),
            is_asking: AtomicBool::default(),
        }
    }

    /// The same for the command `name`: what is said of it while it says nothing itself, in a log.
    pub(crate) fn of_command(mut self, name: &str, environment: &Environment) -> Self {
        self.command = (!environment.stderr_is_terminal).then(|| Begun::new(name, String::new()));
        self
    }

    /// One that speaks before it is known how it is to speak.
    pub(crate) fn plain(environment: &Environment) -> Self {
        let global = Global {
            quiet: false,
            verbose: 0,
            color: When::Auto,
            timeout: None,
        };
        Self::new(&global, environment)
    }

    /// Whether all of the result could be written. A closed pipe is no fault: somebody has read enough.
    pub(crate) fn written(&self) -> Result<(), CommandError> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        match out.error.take() {
            Some(error) => Err(error).context(|| "failed to write the result".to_owned()),
            None => Ok(()),
        }
    }

    /// How the command failed, as a document on standard output, unless a result stands there.
    pub(crate) fn failure(&self, error: &CommandError) {
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        if out.begun {
            return;
        }
        drop(out);
        let lines = error.lines();
        let of = |wanted: &str| {
            let lines = lines.iter().filter(|it| it.label == wanted);
            lines.map(|it| spoken(&it.text)).collect::<Vec<_>>()
        };
        let failure = Failure {
            error: of("error").concat(),
            causes: of("cause"),
            findings: of("finding"),
            notes: of("note"),
            hints: of("hint"),
        };
        // That it could not be written is not what the command failed of.
        self.json(&failure).unwrap_or_default();
    }

    /// How much the user wants to hear: 0, 1 (what phases print), 2 (their debug lines).
    pub(crate) fn verbosity(&self) -> u8 {
        self.verbose
    }

    /// `text` for standard output, in its tone.
    pub(crate) fn paint(&self, tone: Tone, text: impl Display) -> String {
        paint(self.colour_out, tone, text)
    }

    /// A line of the result, on standard output: nothing is under way any more.
    pub(crate) fn line(&self, text: impl Display) {
        self.document(spoken(&text.to_string()));
    }

    /// The same, to the letter: for programs.
    pub(crate) fn document(&self, text: impl Display) {
        if let Some(bar) = &self.bar {
            // It may be on the same terminal.
            bar.finish_and_clear();
        }
        let written = self.write(io::stdout().lock(), &format!("{text}\n"));
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        out.begun = true;
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            out.error.get_or_insert(error);
        }
    }

    /// The result as a document, on standard output.
    pub(crate) fn json(&self, value: &impl Serialize) -> Result<(), CommandError> {
        let text = serde_json::to_string_pretty(value).map_err(CommandError::undecided)?;
        self.document(spoken_json(&text));
        Ok(())
    }

    /// The result, in the form that was asked for.
    pub(crate) fn result<T: Serialize>(
        &self,
        format: Format,
        value: &T,
        text: impl FnOnce(&Self, &T),
    ) -> Result<(), CommandError> {
        match format {
            Format::Json => self.json(value),
            Format::Text => {
                text(self, value);
                Ok(())
            }
        }
    }

    /// Says that something has begun; gone when the next line comes. Elsewhere than on a terminal it is
    /// said when it [takes long](Self::while_telling).
    pub(crate) fn begin(&self, phase: &'static str, text: impl Into<String>) {
        let Some(bar) = &self.bar else {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            *begun = Some(Begun::new(phase, text.into()));
            return;
        };
        show(bar);
        bar.set_style(style(SPINNER));
        bar.set_prefix(phase);
        let text = harmless(&spoken(&text.into()));
        bar.set_message(text.clone());
        *self.drawn.lock().unwrap_or_else(PoisonError::into_inner) = text;
        bar.unset_length();
        bar.enable_steady_tick(TICK);
    }

    /// Shows the last line of what is said by what is under way, beside it, where it is drawn.
    pub(crate) fn hears(&self, output: &str) {
        let Some(bar) = self.bar.as_ref().filter(|it| !it.is_hidden()) else {
            return;
        };
        let last = output.lines().rfind(|it| !it.trim().is_empty());
        // A program that draws itself writes over its line: what came last counts.
        let last = last.and_then(|it| it.trim().rsplit('\r').next());
        if let Some(last) = last {
            let text = self.drawn.lock().unwrap_or_else(PoisonError::into_inner);
            bar.set_message(format!("{text}: {}", without_colours(last)));
        }
    }

    /// Says that so many bytes come next, beside those that were expected before in this phase; gone
    /// when something else begins.
    pub(crate) fn expect(&self, phase: &'static str, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let Some(bar) = &self.bar else {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            if begun.as_ref().is_none_or(|it| it.phase != phase) {
                *begun = Some(Begun::new(phase, String::new()));
            }
            if let Some(begun) = begun.as_mut() {
                begun.expected = begun.expected.saturating_add(bytes);
            }
            return;
        };
        if bar.length().is_some() && bar.prefix() == phase {
            bar.inc_length(bytes);
            return;
        }
        show(bar);
        bar.reset();
        bar.set_length(bytes);
        bar.set_prefix(phase);
        let window = rustix::termios::tcgetwinsize(io::stderr());
        let meter = if window.is_ok_and(|it| it.ws_col < 74) {
            NARROW_METER
        } else {
            METER
        };
        bar.set_style(style(meter).progress_chars("━╸ "));
        bar.enable_steady_tick(TICK);
    }

    /// Says that so many of the bytes that are expected have come.
    pub(crate) fn moved(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
            return;
        }
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(begun) = begun.as_mut() {
            begun.moved = begun.moved.saturating_add(bytes);
        }
    }

    /// Does `work`; says each time that `every` has passed what is still under way, where it is not
    /// drawn: a log that stays silent for minutes looks like a program that hangs.
    pub(crate) fn while_telling<T>(&self, every: Duration, work: impl FnOnce() -> T) -> T {
        let (working, done) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            // A thread of its own: work that computes leaves none for timers.
            let tell = move || {
                while done.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    if let Some((phase, text)) = self.under_way(environment::instant()) {
                        self.status(Tone::Faint, &phase, text);
                    }
                }
            };
            // Where no thread is left, nobody is told.
            drop(std::thread::Builder::new().spawn_scoped(scope, tell));
            let result = work();
            drop(working);
            result
        })
    }

    fn under_way(&self, now: Instant) -> Option<(String, String)> {
        let begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = begun.as_ref().or(self.command.as_ref());
        let begun = begun.filter(|_| !self.quiet)?;
        Some((begun.phase.clone(), begun.so_far(now)))
    }

    /// Says that something is done: one line, on standard error.
    pub(crate) fn done(&self, phase: &'static str, text: impl Display) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.status(Tone::Good, phase, text);
    }

    /// Says something odd.
    pub(crate) fn warn(&self, text: impl Display) {
        self.status(Tone::Odd, "warning", text);
    }

    /// Says what to do about what a line before says.
    pub(crate) fn advise(&self, text: impl Display) {
        self.status(Tone::Label, "hint", text);
    }

    fn status(&self, tone: Tone, phase: &str, text: impl Display) {
        if !self.quiet {
            let label = paint(self.colour_err, tone, format!("{phase:>9}"));
            self.err(&format!("{label}  {text}\n"));
        }
    }

    /// What a phase or buildpack says; shown to who wants to hear it.
    pub(crate) fn aside(&self, text: impl Display) {
        if self.verbose > 0 {
            for line in text.to_string().lines() {
                let line = paint(self.colour_err, Tone::Faint, format!("           {line}"));
                self.err(&format!("{line}\n"));
            }
        }
    }

    /// Asks; the answer is read elsewhere. Nothing is drawn until something begins again.
    pub(crate) fn prompt(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.disable_steady_tick();
            bar.finish_and_clear();
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        self.err(text);
        self.is_asking.store(true, Ordering::Relaxed);
    }

    /// Whether somebody is asked who has not answered yet.
    pub(crate) fn is_asking(&self) -> bool {
        self.is_asking.load(Ordering::Relaxed)
    }

    /// The answer came, with the end of its line.
    pub(crate) fn answered(&self) {
        self.is_asking.store(false, Ordering::Relaxed);
    }

    /// Says what to do.
    pub(crate) fn hint(&self, text: &str) {
        let label = paint(self.colour_err, Tone::Label, "hint:");
        self.err(&format!("{label} {text}\n"));
    }

    /// Says how the command failed, to programs that asked for JSON, too.
    pub(crate) fn failed(&self, error: &CommandError, format: Format) {
        self.error(error);
        if format == Format::Json {
            self.failure(error);
        }
    }

    /// Says how the command failed.
    pub(crate) fn error(&self, error: &CommandError) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if self.is_asking.swap(false, Ordering::Relaxed) {
            self.err("\n");
        }
        for line in error.lines() {
            let tone = match line.label {
                "error" | "finding" => Tone::Bad,
                "hint" => Tone::Label,
                _ => Tone::Odd,
            };
            let indent = "  ".repeat(line.depth);
            let label = paint(self.colour_err, tone, format!("{}:", line.label));
            let text = line.text.trim_end().replace('\n', "\n    ");
            self.err(&format!("{indent}{label} {text}\n"));
        }
    }

    fn err(&self, text: &str) {
        let text = &spoken(text);
        // There is nobody to tell that nobody can be told.
        match &self.bar {
            Some(bar) => bar.suspend(|| self.write(io::stderr().lock(), text)),
            None => self.write(io::stderr().lock(), text),
        }
        .unwrap_or_default();
    }

    fn write(&self, mut to: impl io::Write, text: &str) -> io::Result<()> {
        let _guard = self.lock.lock();
        let text = harmless(text);
        to.write_all(text.as_bytes()).and_then(|()| to.flush())
    }
}

/// Lets it be drawn.
fn show(bar: &ProgressBar) {
    if bar.is_hidden() {
        bar.set_draw_target(ProgressDrawTarget::stderr());
    }
}

/// How often what is under way is drawn anew.
const TICK: Duration = Duration::from_millis(100);

const SPINNER: &str = "{spinner} {prefix:>9}  {wide_msg}";
const METER: &str = "{spinner} {prefix:>9}  {bar:24} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}";
/// The same in one row of a terminal that has no room for a bar of that length.
const NARROW_METER: &str = "{spinner} {prefix:>9}  {wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}";

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn paint(colour: bool, tone: Tone, text: impl Display) -> String {
    if colour {
        format!("\x1b[{}m{text}\x1b[0m", tone.code())
    } else {
        text.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Ui {
        /// One that nobody hears.
        pub(crate) fn silent() -> Self {
            Self {
                quiet: true,
                verbose: 0,
                colour_out: false,
                colour_err: false,
                bar: None,
                drawn: Mutex::default(),
                begun: Mutex::default(),
                command: None,
                lock: Mutex::new(()),
                out: Mutex::default(),
                is_asking: AtomicBool::default(),
            }
        }
    }

    #[test]
    fn silence_is_broken_where_nothing_is_drawn() {
        let mut ui = Ui {
            quiet: false,
            ..Ui::silent()
        };
        let later = |seconds| environment::instant() + Duration::from_secs(seconds);
        let said = |ui: &Ui| ui.under_way(later(200)).unwrap_or_default();
        let of = |phase: &str, text: &str| (phase.to_owned(), text.to_owned());
        assert_eq!(ui.under_way(later(200)), None);
        ui.begin("build", "test/typical");
        let long = "test/typical: still running, 3 min so far";
        assert_eq!(said(&ui), of("build", long));
        ui.expect("copy", 3_000_000);
        ui.expect("copy", 1_000_000);
        ui.moved(1_500_000);
        let far = "still running, 3 min so far, 1.5 MB of 4.0 MB";
        assert_eq!(said(&ui), of("copy", far));
        // What is done is not under way; the command is.
        ui.done("copy", "done");
        assert_eq!(ui.under_way(later(200)), None);
        ui.command = Some(Begun::new("copy", String::new()));
        assert_eq!(said(&ui), of("copy", "still running, 3 min so far"));
        let quiet = Ui::silent();
        quiet.begin("build", "test/typical");
        assert_eq!(quiet.under_way(later(200)), None);
    }

    #[test]
    fn the_first_minute_is_not_none() {
        let begun = Begun::new("build", String::new());
        let said = |seconds| begun.so_far(begun.at + Duration::from_secs(seconds));
        assert_eq!(said(7), "still running, 7 s so far");
        assert_eq!(said(59), "still running, 1 min so far");
        assert_eq!(said(61), "still running, 1 min so far");
        assert_eq!(said(119), "still running, 2 min so far");
    }

    #[test]
    fn who_tells_what_is_under_way_ends_with_it() {
        let ui = Ui::silent();
        let result = ui.while_telling(Duration::from_millis(1), || {
            std::thread::sleep(Duration::from_millis(20));
            7
        });
        assert_eq!(result, 7);
    }
}
