//! Signals that end a command.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::low_level::exit;
use tokio::sync::watch;

use crate::args::Format;
use crate::error::{CommandError, Message};
use crate::ui::Ui;
use crate::{environment, prompt};

/// How long a command may take to clean up, once it was interrupted.
const PATIENCE: Duration = Duration::from_mins(1);
/// The same for one that does not even notice: it computes, or waits for what it reads.
const NOTICED: Duration = Duration::from_secs(5);
/// How long after the first a signal is not yet a second one: many who send one send it twice.
const TOGETHER: Duration = Duration::from_millis(500);
/// How often it is looked at whether it has.
const STEP: Duration = Duration::from_millis(20);

/// Which signal has come, if one has.
#[derive(Debug)]
pub(crate) struct Interrupts {
    came: watch::Receiver<Option<u8>>,
    /// Whether the command has heard of it.
    is_noticed: Arc<AtomicBool>,
}

impl Interrupts {
    /// None ever comes.
    pub(crate) fn never() -> Self {
        Self {
            came: watch::channel(None).1,
            is_noticed: Arc::default(),
        }
    }

    /// How the command ends, once a signal has come.
    pub(crate) async fn come(&mut self) -> CommandError {
        if let Ok(signal) = self.came.wait_for(Option::is_some).await
            && let Some(signal) = *signal
        {
            self.is_noticed.store(true, Ordering::Relaxed);
            return interrupted(signal);
        }
        // Nobody listens any more.
        std::future::pending().await
    }
}

/// How a command ends that `signal` ended.
pub(crate) fn interrupted(signal: u8) -> CommandError {
    let name = match i32::from(signal) {
        SIGINT => "interrupted",
        SIGTERM => "interrupted by SIGTERM",
        _ => "interrupted by SIGHUP",
    };
    CommandError::interrupted(signal, Message(name.to_owned()))
}

/// Does `work`, which hears of signals: whatever it waits for is to be given up, so that what it began
/// is cleaned up. Work that does not end is ended, with the same words and the same code; at once, if a
/// second signal comes.
pub(crate) fn while_listening<T>(ui: &Ui, format: Format, work: impl FnOnce(Interrupts) -> T) -> T {
    /// Ends the thread that listens, whatever end the work has.
    struct Listening(Option<Handle>);

    impl Drop for Listening {
        fn drop(&mut self) {
            if let Some(handle) = &self.0 {
                handle.close();
            }
        }
    }

    let (sender, came) = watch::channel(None);
    let interrupts = Interrupts {
        came,
        is_noticed: Arc::default(),
    };
    let is_noticed = Arc::clone(&interrupts.is_noticed);
    // Without handlers a signal ends the program all the same.
    let signals = Signals::new(wanted()).ok();
    let handle = signals.as_ref().map(Signals::handle);
    thread::scope(|scope| {
        let _listening = Listening(handle);
        if let Some(mut signals) = signals {
            let listen = move || {
                if let Some(signal) = signals.forever().next() {
                    let signal = u8::try_from(signal).unwrap_or_default();
                    sender.send_replace(Some(signal));
                    if !ends(&mut signals, &is_noticed, ui) {
                        give_up(signal, ui, format);
                    }
                }
            };
            // Where no thread is left, nobody listens.
            drop(thread::Builder::new().spawn_scoped(scope, listen));
        }
        work(interrupts)
    })
}

/// The signals that end a command. A hangup that whoever started us has us ignore, as `nohup` does, is
/// ignored.
fn wanted() -> Vec<i32> {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|it| it.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|it| u64::from_str_radix(it.trim(), 16).ok());
    let ignores_hangup = mask.is_some_and(|it| it >> (SIGHUP - 1) & 1 == 1);
    let hangup = (!ignores_hangup).then_some(SIGHUP);
    [SIGINT, SIGTERM].into_iter().chain(hangup).collect()
}

/// Waits until the work has ended; whether it did before there was no more patience.
fn ends(signals: &mut Signals, is_noticed: &AtomicBool, ui: &Ui) -> bool {
    let began = environment::instant();
    loop {
        thread::sleep(STEP);
        if signals.handle().is_closed() {
            return true;
        }
        let patience = if is_noticed.load(Ordering::Relaxed) {
            PATIENCE
        } else {
            NOTICED
        };
        // Who is asked waits for somebody who has just said that he will not answer.
        let is_over = ui.is_asking() || began.elapsed() > patience;
        let is_again = signals.pending().count() > 0 && began.elapsed() > TOGETHER;
        if is_over || is_again {
            return false;
        }
    }
}

/// Ends the program.
fn give_up(signal: u8, ui: &Ui, format: Format) {
    prompt::give_back();
    thread::scope(|scope| {
        let (saying, said) = mpsc::channel::<()>();
        let say = move || {
            ui.failed(&interrupted(signal), format);
            drop(saying);
        };
        // Where nobody takes what is said, it ends unsaid.
        drop(thread::Builder::new().spawn_scoped(scope, say));
        said.recv_timeout(NOTICED).unwrap_or_default();
        exit(128 + i32::from(signal));
    });
}
