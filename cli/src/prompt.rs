//! Passwords, from whoever sits at the terminal.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::{Signal, raise};
use rustix::termios::{InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use rustix::termios::{tcgetattr, tcsetattr};

use crate::error::{CommandError, Context as _};
use crate::interrupts::interrupted;
use crate::ui::harmless;

/// As Ctrl-C sends it.
const SIGINT: u8 = 2;

/// A terminal that does not show what is typed, and how it was before.
static QUIET: Mutex<Option<(File, Termios)>> = Mutex::new(None);

/// Gives a terminal back, if there is one that does not show what is typed: the program ends while
/// somebody is asked.
pub(crate) fn give_back() {
    let mut quiet = QUIET.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((terminal, before)) = quiet.take() {
        // One that is gone needs nothing.
        tcsetattr(&terminal, OptionalActions::Now, &before).unwrap_or_default();
        (&terminal).write_all(b"\n").unwrap_or_default();
    }
}

/// Asks for a password, which is not shown.
///
/// The terminal is as it was when this returns, and when Ctrl-C ends the command or Ctrl-Z stops it:
/// both end the line here, like Enter, and take effect once the terminal is itself again.
pub(crate) fn password(prompt: &str) -> Result<String, CommandError> {
    match ask(prompt) {
        Ok(Some(password)) => Ok(password),
        Ok(None) => Err(interrupted(SIGINT)),
        Err(error) => Err(error).context(|| "failed to read the password".to_owned()),
    }
}

/// What was typed; nothing, if it was Ctrl-C.
fn ask(prompt: &str) -> io::Result<Option<String>> {
    // Whatever standard input and output are: the one that the user looks at.
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    loop {
        let quiet = Quiet::begin(&terminal)?;
        quiet.show(harmless(prompt).as_bytes())?;
        let answer = quiet.line();
        // The end of the line is not shown either.
        quiet.show(b"\n")?;
        drop(quiet);
        match answer? {
            Answer::Line(line) => return Ok(Some(line)),
            Answer::Interrupt => return Ok(None),
            // Asked again when it goes on.
            Answer::Stop => raise(Signal::SIGTSTP)?,
        }
    }
}

enum Answer {
    Line(String),
    Interrupt,
    Stop,
}

/// A terminal that does not show what is typed. It still edits the line.
struct Quiet<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> Quiet<'t> {
    fn begin(terminal: &'t File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut termios = before.clone();
        termios.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG;
        termios.local_modes |= LocalModes::ICANON | LocalModes::IEXTEN;
        // A character is taken back as a whole.
        termios.input_modes |= InputModes::IUTF8;
        let codes = &mut termios.special_codes;
        codes[SpecialCodeIndex::VEOL] = codes[SpecialCodeIndex::VINTR];
        codes[SpecialCodeIndex::VEOL2] = codes[SpecialCodeIndex::VSUSP];
        let kept = (terminal.try_clone()?, before.clone());
        *QUIET.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        let quiet = Self { terminal, before };
        // What was typed before was shown, and was not meant for this.
        tcsetattr(terminal, OptionalActions::Flush, &termios)?;
        Ok(quiet)
    }

    fn show(&self, text: &[u8]) -> io::Result<()> {
        let mut terminal = self.terminal;
        terminal.write_all(text)
    }

    fn line(&self) -> io::Result<Answer> {
        let interrupt = self.before.special_codes[SpecialCodeIndex::VINTR];
        let stop = self.before.special_codes[SpecialCodeIndex::VSUSP];
        let mut line = Vec::new();
        let mut part = [0; 4096];
        loop {
            // One line at most, or less if Ctrl-D cut it.
            let mut terminal = self.terminal;
            let count = match terminal.read(&mut part) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            line.extend_from_slice(part.get(..count).unwrap_or_default());
            match line.last() {
                Some(b'\n') => break,
                Some(last) if count > 0 && *last == interrupt => return Ok(Answer::Interrupt),
                Some(last) if count > 0 && *last == stop => return Ok(Answer::Stop),
                _ if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
        line.pop();
        // The error would hold the password.
        let line = String::from_utf8(line).ok();
        let line = line.ok_or_else(|| invalid("it is not UTF-8"))?;
        if line.contains(char::is_control) {
            return Err(invalid("the password contains a control character"));
        }
        Ok(Answer::Line(line))
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        *QUIET.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // A terminal that is gone needs nothing.
        tcsetattr(self.terminal, OptionalActions::Now, &self.before).unwrap_or_default();
    }
}

fn invalid(problem: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
