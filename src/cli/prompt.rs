//! What is asked at a terminal: passwords without echo, and whether one is sure. Never from arguments, which other
//! users of the machine can read.

use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _, stdin};

use anyhow::{Context as _, bail};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// A new password: asked twice at a terminal, else the first line of standard input.
pub(super) fn new_password() -> anyhow::Result<Zeroizing<String>> {
    if !stdin().is_terminal() {
        let mut text = Zeroizing::new(String::new());
        stdin().lock().take(8192).read_line(&mut text).context("no password on standard input")?;
        let end = text.trim_end_matches(['\r', '\n']).len();
        text.truncate(end);
        return Ok(text);
    }
    let first = hidden("New password: ")?;
    if *first != *hidden("Repeat password: ")? {
        bail!("the passwords do not match. Nothing was changed");
    }
    Ok(first)
}

/// Whether somebody at a terminal says yes; without one, no.
pub(super) fn is_sure(question: &str) -> bool {
    if !stdin().is_terminal() {
        return false;
    }
    write!(std::io::stderr(), "{question} Type yes to continue: ").ok();
    let mut answer = String::new();
    stdin().lock().read_line(&mut answer).is_ok() && answer.trim() == "yes"
}

fn hidden(prompt: &str) -> anyhow::Result<Zeroizing<String>> {
    let terminal = stdin();
    let before = tcgetattr(&terminal).context("the terminal cannot hide the password")?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    write!(std::io::stderr(), "{prompt}").ok();
    std::io::stderr().flush().ok();
    tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
    let mut text = Zeroizing::new(String::new());
    let read = terminal.lock().read_line(&mut text);
    tcsetattr(&terminal, OptionalActions::Flush, &before)?;
    writeln!(std::io::stderr()).ok();
    read?;
    let end = text.trim_end_matches(['\r', '\n']).len();
    text.truncate(end);
    Ok(text)
}
