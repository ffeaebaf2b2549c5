//! Prompts: passwords without echo, and confirmations. A password is never taken from the arguments, which
//! other users of the machine can read.

use std::io::{self, BufRead, IsTerminal as _, Write as _, stdin};

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use super::out;

/// The exit code that shells report for a process terminated by SIGINT (128 + 2).
const INTERRUPTED: i32 = 130;
/// The maximum number of bytes that are read from standard input: more than a password or a `Cookie` header
/// has.
const MAX_INPUT: u64 = 65_536;

/// A new password: prompted for twice at a terminal, otherwise the first line of standard input. `None` if that
/// is empty or not UTF-8, or if the two do not match; then the reason is printed.
pub(super) fn new_password() -> anyhow::Result<Option<Zeroizing<String>>> {
    if !stdin().is_terminal() {
        return Ok(match piped_password()? {
            Some(Piped::Password(typed)) => Some(typed),
            Some(Piped::Nothing) => {
                out::problem("There is no password in the first line of standard input.");
                None
            }
            None => None,
        });
    }
    // On Ctrl-C, rpassword raises SIGINT before it restores the terminal. The default action of SIGINT would
    // leave the terminal without echo.
    let interrupt = signal(SignalKind::interrupt())?;
    let first = prompt_hidden("New password: ")?;
    if *first != *prompt_hidden("Repeat password: ")? {
        out::problem("The passwords do not match. Nothing was changed.");
        return Ok(None);
    }
    exit_at(interrupt);
    Ok(Some(first))
}

/// The first line of standard input, unless that is a terminal.
pub(super) enum Piped {
    Password(Zeroizing<String>),
    /// The line is empty, or standard input is a terminal.
    Nothing,
}

/// The password in the first line of standard input, without a prompt at a terminal. `None` if it is not UTF-8;
/// then the reason is printed.
pub(super) fn piped_password() -> anyhow::Result<Option<Piped>> {
    if stdin().is_terminal() {
        return Ok(Some(Piped::Nothing));
    }
    let Some(typed) = first_line(false)? else {
        out::problem("The password is not UTF-8 text.");
        return Ok(None);
    };
    Ok(Some(if typed.is_empty() { Piped::Nothing } else { Piped::Password(typed) }))
}

/// A secret: prompted for without echo at a terminal, otherwise the first line of standard input that is not
/// blank. `None` if it is not UTF-8.
pub(super) fn secret_line(prompt: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
    if !stdin().is_terminal() {
        return first_line(true);
    }
    let interrupt = signal(SignalKind::interrupt())?;
    let text = prompt_hidden(prompt)?;
    exit_at(interrupt);
    Ok(Some(text))
}

/// Whether `yes` was given or the user confirms. Otherwise prints how to skip the question.
pub(super) fn is_confirmed(yes: bool, question: &str) -> bool {
    let is_confirmed = yes || confirm(question);
    if !is_confirmed {
        out::problem("Aborted. Use --yes to skip the confirmation.");
    }
    is_confirmed
}

/// Asks for confirmation at the terminal and returns whether the user typed yes; `false` without a terminal.
fn confirm(question: &str) -> bool {
    if !stdin().is_terminal() {
        return false;
    }
    write!(io::stderr(), "{question} Type yes to continue: ").ok();
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}

/// The first line of standard input, or the first that is not blank; an empty one at its end. `None` if it is
/// not UTF-8.
pub(super) fn first_line(skips_blank: bool) -> anyhow::Result<Option<Zeroizing<String>>> {
    read_line(stdin().lock(), skips_blank)
}

pub(super) fn read_line(
    input: impl BufRead,
    skips_blank: bool,
) -> anyhow::Result<Option<Zeroizing<String>>> {
    let mut input = input.take(MAX_INPUT);
    // With room for all of it from the start, because a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_INPUT as usize));
    loop {
        bytes.clear();
        let read = input.read_until(b'\n', &mut bytes).context("the input cannot be read")?;
        if read == 0 || !skips_blank || !bytes.trim_ascii().is_empty() {
            break;
        }
    }
    let line = std::str::from_utf8(&bytes).map(|text| text.trim_end_matches(['\r', '\n']));
    Ok(line.ok().map(|line| Zeroizing::new(line.to_owned())))
}

fn prompt_hidden(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    match rpassword::prompt_password(prompt) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => {
            out::problem("Interrupted. Nothing was changed.");
            std::process::exit(INTERRUPTED)
        }
        Err(error) => Err(error).context("the password cannot be read from the terminal"),
    }
}

/// Exits at the next SIGINT. tokio's handler replaces the default action for the rest of the process.
fn exit_at(mut interrupt: Signal) {
    tokio::spawn(async move {
        interrupt.recv().await;
        std::process::exit(INTERRUPTED);
    });
}
