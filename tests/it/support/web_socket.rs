//! A WebSocket (RFC 6455), as far as tests need it.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::Browser;

/// How long a test waits for a frame.
const DEADLINE: Duration = Duration::from_secs(60);

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Close,
}

/// An open WebSocket.
pub struct WebSocket(BufReader<TcpStream>);

impl WebSocket {
    /// Opens `path` with the cookies of `browser`, and sends `text` without waiting for the response to the
    /// handshake.
    pub fn open(browser: &Browser, path: &str, text: &str) -> Self {
        let (mut socket, head) = Self::handshake(browser, path, &[], &masked(text));
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        // Otherwise a frame may be delayed (Nagle's algorithm).
        socket.0.get_mut().set_nodelay(true).expect("an option of TCP");
        socket
    }

    /// Sends a handshake with `more` headers, which replace those of the same name, and then `bytes`. Returns the
    /// head of the response.
    pub fn handshake(
        browser: &Browser,
        path: &str,
        more: &[(&str, &str)],
        bytes: &[u8],
    ) -> (Self, String) {
        let usual = [
            ("Sec-Fetch-Site", "same-origin"),
            ("Upgrade", "websocket"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        let usual = usual.into_iter().filter(|(name, _)| more.iter().all(|(own, _)| own != name));
        let headers: Vec<_> = usual.chain(more.iter().copied()).collect();
        let head = browser.head("GET", path, &headers, "");
        let head = head.replace("Connection: close", "Connection: Upgrade");
        let mut stream = TcpStream::connect(&browser.addr).expect("the server accepts connections");
        stream.set_read_timeout(Some(DEADLINE)).expect("an option of the socket");
        stream.write_all(&[head.as_bytes(), bytes].concat()).expect("the server reads");
        let mut socket = Self(BufReader::new(stream));
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.byte().expect("a response"));
        }
        (socket, String::from_utf8(head).expect("UTF-8"))
    }

    pub fn send(&mut self, text: &str) {
        self.0.get_mut().write_all(&masked(text)).expect("the server reads");
    }

    /// Waits for the next frame. `None`: the server has closed the connection.
    pub fn next(&mut self) -> Option<Frame> {
        let kind = self.byte()?;
        let length = match self.byte().expect("a length") {
            126 => {
                usize::from(u16::from_be_bytes([(); 2].map(|()| self.byte().expect("a length"))))
            }
            length => usize::from(length),
        };
        let mut content = vec![0; length];
        self.0.read_exact(&mut content).expect("a whole frame");
        Some(match kind {
            0x81 => Frame::Text(String::from_utf8(content).expect("UTF-8")),
            0x88 => Frame::Close,
            kind => panic!("a frame of the kind {kind:#x}"),
        })
    }

    /// Waits for the end of the connection, and returns the bytes that were received before it.
    pub fn rest(mut self) -> String {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).expect("the end of the connection");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        (self.0.read(&mut byte).expect("a byte or the end") == 1).then_some(byte[0])
    }
}

/// A frame with `text`. Those of a client are masked.
fn masked(text: &str) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let length = u16::try_from(text.len()).expect("a short text");
    let head = [0x81, 0x80 | 126];
    let content = text.bytes().zip(MASK.into_iter().cycle()).map(|(byte, mask)| byte ^ mask);
    head.into_iter().chain(length.to_be_bytes()).chain(MASK).chain(content).collect()
}
