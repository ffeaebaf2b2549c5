//! Restarts of two servers behind the proxies of deploy/, under load. The files are used as they are; only
//! addresses, ports and certificates are replaced.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::browser::encode;
use crate::support::folder::new_folder;
use crate::support::port::{free_addr, free_port};
use crate::support::server::KEY;
use crate::support::{Database, PASSWORD, Server, raw};
use crate::{exclusive, wait_until};

const HOST: &str = "desk.example.com";
/// Together 150 requests a second.
const CLIENTS: u32 = 6;
const INTERVAL: Duration = Duration::from_millis(40);

#[test]
fn a_rolling_restart_behind_the_shipped_nginx_example_fails_no_request() {
    rolling_restart("nginx", |folder, servers, port| {
        let shipped = include_str!("../../deploy/nginx/frontdesk.conf");
        let certificate = folder.join("certificate.pem").display().to_string();
        let key = folder.join("key.pem").display().to_string();
        let site = replace(
            shipped,
            &[
                ("127.0.0.1:8080", &servers[0]),
                ("127.0.0.1:8081", &servers[1]),
                ("listen 80;", &format!("listen {};", free_addr())),
                ("listen [::]:80;", &format!("listen {};", free_addr())),
                ("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl")),
                ("listen [::]:443 ssl", &format!("listen {} ssl", free_addr())),
                ("/etc/ssl/certs/desk.example.com.pem", &certificate),
                ("/etc/ssl/private/desk.example.com.key", &key),
            ],
        );
        fs::write(folder.join("frontdesk.conf"), site).unwrap();
        let main = format!(
            "daemon off; pid {0}/pid; error_log {0}/error.log; worker_processes 2; events {{}}
             http {{ access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;
               fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;
               include {0}/frontdesk.conf; }}",
            folder.display()
        );
        fs::write(folder.join("nginx.conf"), main).unwrap();
        let mut command = Command::new("nginx");
        command.arg("-c").arg(folder.join("nginx.conf"));
        command
    });
}

#[test]
fn a_rolling_restart_behind_the_shipped_caddy_example_fails_no_request() {
    rolling_restart("caddy", |folder, servers, port| {
        let shipped = include_str!("../../deploy/caddy/Caddyfile");
        let certificate = folder.join("certificate.pem").display().to_string();
        let key = folder.join("key.pem").display().to_string();
        let site = replace(
            shipped,
            &[
                ("127.0.0.1:8080 ", &format!("{} ", servers[0])),
                ("127.0.0.1:8081 ", &format!("{} ", servers[1])),
                ("\ndesk.example.com {", &format!("\nhttps://{HOST}:{port} {{")),
                (
                    "# tls /etc/ssl/certs/desk.example.com.pem /etc/ssl/private/desk.example.com.key",
                    &format!("tls {certificate} {key}"),
                ),
            ],
        );
        let options =
            "{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\tauto_https disable_redirects\n}\n";
        fs::write(folder.join("Caddyfile"), format!("{options}{site}")).unwrap();
        let mut command = Command::new("caddy");
        command
            .args(["run", "--adapter", "caddyfile", "--config"])
            .arg(folder.join("Caddyfile"))
            .env("HOME", folder)
            .env("XDG_DATA_HOME", folder)
            .env("XDG_CONFIG_HOME", folder);
        command
    });
}

/// Every text must occur, so that the test notices when the example changes.
fn replace(shipped: &str, pairs: &[(&str, &str)]) -> String {
    pairs.iter().fold(shipped.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    })
}

/// Terminated when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().ok();
        self.0.wait().ok();
    }
}

/// Starts two servers and the proxy that `proxy` configures, restarts both servers in turn under load, and
/// checks that no request failed.
fn rolling_restart(name: &str, proxy: impl Fn(&Path, &[String; 2], u16) -> Command) {
    let _guard = exclusive();
    let database = Database::new();
    let folder = new_folder(&format!("rolling-{name}"));
    fs::create_dir_all(&folder).unwrap();
    let tls = certificate(&folder);
    let addrs = [free_addr(), free_addr()];
    let start = |addr: &String| {
        let settings = [
            ("DATABASE_URL", database.server_url.as_str()),
            ("FRONTDESK_SECRET_KEYS", KEY),
            ("FRONTDESK_BIND", addr),
            ("FRONTDESK_PUBLIC_URL", "https://desk.example.com"),
            ("FRONTDESK_TRUSTED_PROXIES", "127.0.0.1"),
            ("FRONTDESK_DRAIN", "5s"),
        ];
        let server = Server::start_with(&settings).unwrap_or_else(|log| panic!("{log}"));
        let ready = b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        wait_until(|| raw(addr, ready).is_ok_and(|response| response.status == 200));
        server
    };
    let mut servers = addrs.each_ref().map(start);
    let port = free_port();
    let log = fs::File::create(folder.join("log")).unwrap();
    let child = proxy(&folder, &addrs, port).stdout(Stdio::null()).stderr(log).spawn();
    let _proxy = Running(child.expect("the proxy is installed (script/bootstrap --test)"));
    let client = Client { port, tls, cookie: String::new() };
    wait_until(|| client.connect().is_ok_and(|mut stream| client.get(&mut stream).is_ok()));
    let client = client.register();
    // The header of the client does not reach the server.
    let addresses = database.db_texts("SELECT host(ip_address) FROM sessions");
    assert_eq!(addresses, ["127.0.0.1"]);

    let stop = AtomicBool::new(false);
    let (count, failures) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| client.load(&stop))).collect();
        std::thread::sleep(Duration::from_secs(1));
        for (server, addr) in servers.iter_mut().zip(&addrs) {
            server.signal("TERM");
            assert_eq!(server.ended(), Some(0));
            *server = start(addr);
        }
        std::thread::sleep(Duration::from_secs(1));
        stop.store(true, Ordering::Relaxed);
        let results = clients.into_iter().map(|client| client.join().unwrap());
        results.fold((0, Vec::new()), |(total, mut all), (count, failures)| {
            all.extend(failures);
            (total + count, all)
        })
    });
    let log = fs::read_to_string(folder.join("log")).unwrap();
    assert!(failures.is_empty(), "{} of {count} failed: {failures:?}\n{log}", failures.len());
    assert!(count > 300, "{count}");
}

/// A self-signed certificate, and a client configuration that trusts it.
fn certificate(folder: &Path) -> Arc<ClientConfig> {
    let path: PathBuf = folder.join("certificate.pem");
    let done = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", &format!("/CN={HOST}")])
        .args(["-addext", &format!("subjectAltName=DNS:{HOST}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .arg("-keyout")
        .arg(folder.join("key.pem"))
        .arg("-out")
        .arg(&path)
        .output()
        .expect("openssl is installed (script/bootstrap --test)");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&path).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

type Stream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// A browser of a visitor who is signed in.
struct Client {
    port: u16,
    tls: Arc<ClientConfig>,
    cookie: String,
}

impl Client {
    fn connect(&self) -> std::io::Result<Stream> {
        let tcp = TcpStream::connect(("127.0.0.1", self.port))?;
        tcp.set_read_timeout(Some(Duration::from_secs(30)))?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(HOST).unwrap();
        let tls = ClientConnection::new(Arc::clone(&self.tls), name).unwrap();
        Ok(BufReader::new(StreamOwned::new(tls, tcp)))
    }

    /// Sends a request and reads the response. Returns its head.
    fn send(&self, stream: &mut Stream, request: &str) -> std::io::Result<String> {
        stream.get_mut().write_all(request.as_bytes())?;
        stream.get_mut().flush()?;
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head)? == 0 {
                return Err(std::io::Error::other(format!("closed after {head:?}")));
            }
        }
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        std::io::copy(&mut stream.take(length), &mut std::io::sink())?;
        Ok(head)
    }

    fn get(&self, stream: &mut Stream) -> std::io::Result<String> {
        let cookie = &self.cookie;
        self.send(
            stream,
            // Otherwise Caddy asks for gzip, and sends the page in chunks, which this client does not read.
            &format!(
                "GET /account/profile HTTP/1.1\r\nHost: {HOST}\r\nAccept-Encoding: identity\r\nCookie: {cookie}\r\n\r\n"
            ),
        )
    }

    fn post(
        &self,
        stream: &mut Stream,
        path: &str,
        fields: &[(&str, &str)],
    ) -> std::io::Result<String> {
        let (cookie, body) = (&self.cookie, encode(fields));
        self.send(
            stream,
            &format!(
                "POST {path} HTTP/1.1\r\nHost: {HOST}\r\nCookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\nX-Forwarded-For: 203.0.113.7\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        )
    }

    fn register(self) -> Self {
        let mut stream = self.connect().unwrap();
        let fields =
            [("email", "ada@example.com"), ("display_name", "Ada"), ("password", PASSWORD)];
        let head = self.post(&mut stream, "/register", &fields).unwrap();
        let at = head.find("__Host-session=").unwrap_or_else(|| panic!("{head}"));
        let cookie = head[at..].split(';').next().unwrap().to_owned();
        Self { cookie, ..self }
    }

    /// Alternates between a page and a form. Returns the number of requests and the failures.
    fn load(&self, stop: &AtomicBool) -> (u32, Vec<String>) {
        let mut stream = self.connect().unwrap();
        let (began, mut count, mut failures) = (Instant::now(), 0, Vec::new());
        while !stop.load(Ordering::Relaxed) {
            let (expected, what, response) = match count % 2 {
                0 => ("200", "page", self.get(&mut stream)),
                _ => {
                    let fields = [("display_name", "Ada")];
                    ("303", "form", self.post(&mut stream, "/account/profile", &fields))
                }
            };
            count += 1;
            let is_right = response.as_ref().is_ok_and(|head| {
                head.split(' ').nth(1) == Some(expected) && !head.contains("ocation: /login")
            });
            if !is_right {
                failures.push(format!("{what} after {:?}: {response:?}", began.elapsed()));
                stream = self.connect().unwrap();
            }
            std::thread::sleep((INTERVAL * count).saturating_sub(began.elapsed()));
        }
        (count, failures)
    }
}
