//! What a program says, line by line, with an end to the waiting.

use std::io::{BufRead as _, BufReader, Read};
use std::sync::mpsc::{Receiver, channel};

/// Its lines as they come; the channel closes with them.
pub fn lines(said: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        BufReader::new(said)
            .lines()
            .map_while(Result::ok)
            .try_for_each(|line| sender.send(line))
            .ok();
    });
    lines
}
