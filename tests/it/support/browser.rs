//! A browser without pictures: keeps cookies, follows nothing by itself. Small enough to send what no HTTP
//! library would.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::PASSWORD;

/// What came back.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Every Set-Cookie.
    pub fn cookies(&self) -> Vec<&str> {
        let set = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        set.map(|(_, value)| value.as_str()).collect()
    }

    /// Where it leads.
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_default()
    }
}

/// Somebody's browser.
#[derive(Debug, Clone)]
pub struct Browser {
    pub addr: String,
    pub cookies: BTreeMap<String, String>,
    pub agent: String,
}

impl Browser {
    pub fn new(addr: &str) -> Self {
        Self {
            addr: addr.to_owned(),
            cookies: BTreeMap::new(),
            agent: "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
                .to_owned(),
        }
    }

    /// The sealed session cookie.
    pub fn session(&self) -> Option<&str> {
        self.cookies
            .get("session")
            .or_else(|| self.cookies.get("__Host-session"))
            .map(String::as_str)
    }

    /// The same cookies at another server.
    pub fn on_server(&self, addr: &str) -> Self {
        Self { addr: addr.to_owned(), ..self.clone() }
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.send("GET", path, &[], "")
    }

    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        let body = encode(fields);
        self.send(
            "POST",
            path,
            &[
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Sec-Fetch-Site", "same-origin"),
            ],
            &body,
        )
    }

    /// Like [`Self::post`], as a proxy passes it on for a client at `addr`.
    pub fn post_from(&mut self, addr: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        let headers =
            [("Content-Type", "application/x-www-form-urlencoded"), ("X-Forwarded-For", addr)];
        self.send("POST", path, &headers, &encode(fields))
    }

    /// Like [`Self::login`], as a proxy passes it on for a client at `addr`.
    pub fn login_from(&mut self, addr: &str, email: &str, password: &str) -> Response {
        self.post_from(addr, "/login", &[("email", email), ("password", password)])
    }

    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Response {
        self.try_send(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Like [`Self::send`]; `Err` when there was no whole answer.
    pub fn try_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<Response> {
        let head = self.head(method, path, headers, body);
        let answer = raw(&self.addr, &[head.as_bytes(), body.as_bytes()].concat())?;
        for cookie in answer.cookies() {
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }

    /// Sends the head of a form and the first half of its body. The server waits for the rest.
    pub fn send_partial(&self, path: &str, kind: &str, body: &str) -> PartialRequest {
        let headers = [("Content-Type", kind), ("Sec-Fetch-Site", "same-origin")];
        let head = self.head("POST", path, &headers, body);
        let (first, rest) = body.split_at(body.len() / 2);
        let mut stream = TcpStream::connect(&self.addr).expect("a server");
        stream.set_nodelay(true).expect("a socket");
        stream.write_all(head.as_bytes()).expect("a server that reads");
        stream.write_all(first.as_bytes()).expect("a server that reads");
        PartialRequest { stream, rest: rest.to_owned() }
    }

    fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nConnection: close\r\n",
            self.addr, self.agent
        );
        let pairs: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !pairs.is_empty() {
            head.push_str(&format!("Cookie: {}\r\n", pairs.join("; ")));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() || method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        head
    }

    /// Registers and is signed in.
    pub fn register(&mut self, email: &str) {
        let name = email.split('@').next().unwrap_or_default().to_uppercase();
        let answer = self.post(
            "/register",
            &[("email", email), ("display_name", &name), ("password", PASSWORD)],
        );
        assert_eq!((answer.status, answer.location()), (303, "/account"), "{}", answer.body);
    }

    /// Signs in; answers what came back.
    pub fn login(&mut self, email: &str, password: &str) -> Response {
        self.post("/login", &[("email", email), ("password", password)])
    }

    /// Whether the account page opens.
    pub fn is_signed_in(&mut self) -> bool {
        match self.get("/account/profile") {
            answer if answer.status == 200 => true,
            answer if answer.status == 303 && answer.location().starts_with("/login") => false,
            other => panic!("neither in nor out: {other:?}"),
        }
    }
}

/// A form of which the server has the head and half of the body.
pub struct PartialRequest {
    stream: TcpStream,
    rest: String,
}

impl PartialRequest {
    /// Sends the rest; answers what came back. Keeps no cookie.
    pub fn finish(mut self) -> Response {
        self.stream.write_all(self.rest.as_bytes()).expect("a server that reads");
        read_answer(&mut self.stream, false).expect("an answer")
    }
}

/// Fields as a browser sends them.
pub fn encode(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Sends bytes and reads the whole answer.
pub fn raw(addr: &str, bytes: &[u8]) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect(addr)?;
    // A server that refuses early closes while we still write; what it said still counts.
    stream.write_all(bytes).ok();
    read_answer(&mut stream, bytes.starts_with(b"HEAD "))
}

fn read_answer(stream: &mut TcpStream, is_head: bool) -> std::io::Result<Response> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut answer = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while !is_whole(&answer, is_head) {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            // A read with a timeout is not resumed after a signal (of a child of this process).
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // Closed with our request unread: what was said before still counts.
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    parse(&answer).ok_or_else(|| std::io::Error::other("no answer"))
}

fn parse(bytes: &[u8]) -> Option<Response> {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let body = String::from_utf8_lossy(&bytes[at + 4..]).into_owned();
    Some(Response { status, headers, body })
}

/// Whether the body is there as far as its length says; without one the server closes at the end.
fn is_whole(answer: &[u8], is_head: bool) -> bool {
    let Some(at) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..at]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse::<usize>().ok());
    is_head || length.is_some_and(|length| answer.len() >= at + 4 + length)
}
