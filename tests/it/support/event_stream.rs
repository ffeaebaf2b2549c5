//! An open event stream (server-sent events).

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use super::Browser;

/// How long a test waits for an event.
const DEADLINE: Duration = Duration::from_secs(60);

/// The data of the events that were received, in their order. The end of the channel is that of the stream.
pub struct EventStream(Receiver<String>);

impl EventStream {
    /// Opens `path` with the cookies of `browser`. Returns once the head of the response has arrived.
    pub fn open(browser: &Browser, path: &str) -> Self {
        let mut stream = TcpStream::connect(&browser.addr).expect("the server accepts connections");
        let head = browser.head("GET", path, &[("Sec-Fetch-Site", "same-origin")], "");
        stream.write_all(head.as_bytes()).expect("the server reads");
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        assert_eq!(lines.next().as_deref(), Some("HTTP/1.1 200 OK"));
        let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        assert!(head.iter().any(|line| line == "content-type: text/event-stream"), "{head:?}");
        assert!(head.iter().any(|line| line == "cache-control: no-store"), "{head:?}");
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            for line in lines {
                if let Some(data) = line.strip_prefix("data: ") {
                    sender.send(data.to_owned()).ok();
                }
            }
        });
        Self(receiver)
    }

    /// Waits for the next event. `None`: the stream has ended.
    pub fn next(&self) -> Option<String> {
        match self.0.recv_timeout(DEADLINE) {
            Ok(data) => Some(data),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("neither an event nor the end"),
        }
    }

    /// Waits for the end, and returns what was received before it.
    pub fn rest(self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }
}
