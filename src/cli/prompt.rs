//! Prompts: passwords without echo, and confirmations. A password is never taken from the arguments, which
//! other users of the machine can read.

use std::io::{self, BufRead as _, IsTerminal as _, Read as _, Write as _, stdin};

use anyhow::{Context as _, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

use super::out;

/// The exit code that shells report for a process terminated by SIGINT (128 + 2).
const INTERRUPTED: i32 = 130;

/// A new password: prompted for twice at a terminal, otherwise the first line of standard input.
pub(super) fn new_password() -> anyhow::Result<Zeroizing<String>> {
    if !stdin().is_terminal() {
        return first_line();
    }
    // On Ctrl-C, rpassword raises SIGINT before it restores the terminal. The default action of SIGINT would
    // leave the terminal without echo.
    let interrupt = signal(SignalKind::interrupt())?;
    let first = prompt_hidden("New password: ")?;
    if *first != *prompt_hidden("Repeat password: ")? {
        bail!("the passwords do not match. Nothing was changed");
    }
    exit_at(interrupt);
    Ok(first)
}

/// A secret: prompted for without echo at a terminal, otherwise the first line of standard input.
pub(super) fn secret_line(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    if !stdin().is_terminal() {
        return first_line();
    }
    let interrupt = signal(SignalKind::interrupt())?;
    let text = prompt_hidden(prompt)?;
    exit_at(interrupt);
    Ok(text)
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

fn first_line() -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    stdin().lock().take(8192).read_line(&mut text).context("standard input cannot be read")?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
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
