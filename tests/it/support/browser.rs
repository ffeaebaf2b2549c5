//! A minimal HTTP client that keeps cookies and follows no redirects. It can send requests that HTTP
//! libraries reject.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::PASSWORD;

/// An HTTP response.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    /// The first header with that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The values of all Set-Cookie headers.
    pub fn cookies(&self) -> Vec<&str> {
        let set = self.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie"));
        set.map(|(_, value)| value.as_str()).collect()
    }

    /// The body with a fixed text instead of the sealed hidden fields of its forms, which differ each time.
    pub fn body_without_tokens(&self) -> String {
        let mut body = self.body.clone();
        for (at, name) in self.body.match_indices("name=\"form_token\" value=\"") {
            let sealed = self.body[at + name.len()..].split('"').next().unwrap_or_default();
            body = body.replace(sealed, &"S".repeat(sealed.len()));
        }
        body
    }

    /// The Location header, or an empty string.
    pub fn location(&self) -> &str {
        self.header("location").unwrap_or_default()
    }
}

/// A client with its own cookies and user agent.
#[derive(Debug, Clone)]
pub struct Browser {
    /// Host and port.
    pub addr: String,
    pub cookies: BTreeMap<String, String>,
    pub user_agent: String,
}

impl Browser {
    pub fn new(addr: &str) -> Self {
        Self {
            addr: addr.to_owned(),
            cookies: BTreeMap::new(),
            user_agent: "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
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

    /// A copy with the same cookies that connects to another server.
    pub fn on_server(&self, addr: &str) -> Self {
        Self { addr: addr.to_owned(), ..self.clone() }
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.send("GET", path, &[], "")
    }

    /// Opens a mailed link: the page that it leads to. A link that is not valid leads to no other page.
    pub fn open(&mut self, link: &str) -> Response {
        let response = self.get(link);
        match response.status {
            303 => {
                let page = response.location().to_owned();
                self.get(&page)
            }
            _ => response,
        }
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

    /// Like [`Self::post`], with `ip` in X-Forwarded-For.
    pub fn post_from(&mut self, ip: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        let headers =
            [("Content-Type", "application/x-www-form-urlencoded"), ("X-Forwarded-For", ip)];
        self.send("POST", path, &headers, &encode(fields))
    }

    /// Like [`Self::login`], with `ip` in X-Forwarded-For.
    pub fn login_from(&mut self, ip: &str, email: &str, password: &str) -> Response {
        self.post_from(ip, "/login", &[("email", email), ("password", password)])
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

    /// Like [`Self::send`]; `Err` if the response was incomplete.
    pub fn try_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> std::io::Result<Response> {
        let head = self.head(method, path, headers, body);
        let response = raw(&self.addr, &[head.as_bytes(), body.as_bytes()].concat())?;
        for cookie in response.cookies() {
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if attributes.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(response)
    }

    /// Sends the head of a POST and the first half of its body. The server waits for the rest.
    pub fn send_partial(&self, path: &str, kind: &str, body: &str) -> PartialRequest {
        self.send_partial_with(
            path,
            &[("Content-Type", kind), ("Sec-Fetch-Site", "same-origin")],
            body,
        )
    }

    /// Like [`Self::send_partial`], with these headers.
    pub fn send_partial_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> PartialRequest {
        let head = self.head("POST", path, headers, body);
        let (first, rest) = body.split_at(body.len() / 2);
        let mut stream = TcpStream::connect(&self.addr).expect("the server accepts connections");
        stream.set_nodelay(true).expect("a socket");
        stream.write_all(head.as_bytes()).expect("the server reads");
        stream.write_all(first.as_bytes()).expect("the server reads");
        PartialRequest { stream, rest: rest.to_owned() }
    }

    /// The head of a request.
    pub fn head(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}\r\nConnection: close\r\n",
            self.addr, self.user_agent
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

    /// Registers, which also signs in.
    pub fn register(&mut self, email: &str) {
        let name = email.split('@').next().unwrap_or_default().to_uppercase();
        let response = self.post(
            "/register",
            &[("email", email), ("display_name", &name), ("password", PASSWORD)],
        );
        assert_eq!((response.status, response.location()), (303, "/account"), "{}", response.body);
    }

    /// Submits the sign-in form.
    pub fn login(&mut self, email: &str, password: &str) -> Response {
        self.post("/login", &[("email", email), ("password", password)])
    }

    /// Whether the profile page opens instead of redirecting to sign-in.
    pub fn is_signed_in(&mut self) -> bool {
        match self.get("/account/profile") {
            response if response.status == 200 => true,
            response if response.status == 303 && response.location().starts_with("/login") => {
                false
            }
            other => panic!("neither signed in nor signed out: {other:?}"),
        }
    }
}

/// A POST of which the server has received the head and half of the body.
pub struct PartialRequest {
    stream: TcpStream,
    rest: String,
}

impl PartialRequest {
    /// Sends the rest and disconnects without reading the response.
    pub fn abandon(mut self) {
        self.stream.write_all(self.rest.as_bytes()).expect("the server reads");
    }

    /// Sends nothing more and reads the response. Keeps no cookies.
    pub fn wait(mut self) -> Response {
        read_response(&mut self.stream, false).expect("a response")
    }

    /// Sends the rest and reads the response. Keeps no cookies.
    pub fn finish(mut self) -> Response {
        self.stream.write_all(self.rest.as_bytes()).expect("the server reads");
        read_response(&mut self.stream, false).expect("a response")
    }
}

/// Encodes fields as application/x-www-form-urlencoded.
pub fn encode(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// Sends bytes and reads the whole response.
pub fn raw(addr: &str, bytes: &[u8]) -> std::io::Result<Response> {
    let mut stream = TcpStream::connect(addr)?;
    // A server that rejects the request early may close before everything is written; its response is still
    // read.
    stream.write_all(bytes).ok();
    read_response(&mut stream, bytes.starts_with(b"HEAD "))
}

fn read_response(stream: &mut TcpStream, is_head: bool) -> std::io::Result<Response> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut response = Vec::new();
    let mut chunk = [0; 16 * 1024];
    while !is_complete(&response, is_head) {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => response.extend_from_slice(&chunk[..count]),
            // A read with a timeout is not restarted after a signal, such as SIGCHLD.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // The server closed without reading the whole request; what was received before is parsed.
            Err(_) if !response.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    parse(&response).ok_or_else(|| std::io::Error::other("no response"))
}

fn parse(bytes: &[u8]) -> Option<Response> {
    let at = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect();
    let is_chunked = headers.iter().any(|(name, value)| {
        name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked")
    });
    let body = &bytes[at + 4..];
    let body = if is_chunked { join_chunks(body)? } else { body.to_vec() };
    Some(Response { status, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

/// The content of a chunked body; `None` if its end is missing.
fn join_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let length = std::str::from_utf8(&rest[..end]).ok()?;
        let length = usize::from_str_radix(length, 16).ok()?;
        if length == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(end + 2..end + 2 + length)?);
        rest = rest.get(end + 4 + length..)?;
    }
}

/// Whether the body has the length of Content-Length. Without that header the response ends when the server
/// closes.
fn is_complete(response: &[u8], is_head: bool) -> bool {
    let Some(at) = response.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&response[..at]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse::<usize>().ok());
    is_head || length.is_some_and(|length| response.len() >= at + 4 + length)
}
