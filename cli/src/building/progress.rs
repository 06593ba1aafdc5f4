//! What a user hears of a build.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use lifecycle_core::{Level, Log};
use platform::run::{BuildProgress, Lack};

use crate::environment;
use crate::machine::{self, Lacks};
use crate::ui::Ui;

/// Tells the user how a build goes on.
pub(crate) struct Told<'a> {
    ui: &'a Ui,
    /// When what is under way began.
    begun: Mutex<Instant>,
}

impl<'a> Told<'a> {
    pub(crate) fn new(ui: &'a Ui) -> Self {
        Self {
            ui,
            begun: Mutex::new(environment::instant()),
        }
    }
}

impl fmt::Debug for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Told").finish_non_exhaustive()
    }
}

impl BuildProgress for Told<'_> {
    fn begin(&self, phase: &'static str, text: &str) {
        *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = environment::instant();
        self.ui.begin(phase, text);
    }

    fn done(&self, phase: &'static str, text: &str) {
        if phase == "build" {
            let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            let seconds = begun.elapsed().as_secs_f64();
            self.ui
                .done(phase, format_args!("{text} in {seconds:.1} s"));
        } else {
            self.ui.done(phase, text);
        }
    }

    fn lacks(&self, lack: &Lack<'_>) {
        self.ui.warn(lack);
        let hint = match lack {
            Lack::Cache { .. } => Some("`--cache DIR` names another folder"),
            Lack::Isolation(report) => machine::remedy(Lacks::of(report)),
            _ => None,
        };
        if let Some(hint) = hint {
            self.ui.advise(hint);
        }
    }
}

impl Log for Told<'_> {
    fn line(&self, level: Level, text: &str) {
        match level {
            Level::Debug if self.ui.verbosity() < 2 => {}
            Level::Warn => self.ui.warn(text),
            Level::Debug => self.ui.aside(text),
            _ => {
                self.ui.aside(text);
                self.ui.hears(text);
            }
        }
    }

    fn output(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        self.ui.hears(&text);
        self.ui.aside(text);
    }
}
