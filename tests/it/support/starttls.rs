//! A mail server whose clear-text replies an attacker in the network extends: behind the reply to STARTTLS, it sends
//! every reply that the client expects afterwards. Under TLS it then says nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::smtp::certificates;

/// EHLO, MAIL, RCPT, DATA, the mail, QUIT.
const INJECTED: &str =
    "250-localhost\r\n250 8BITMIME\r\n250 OK\r\n250 OK\r\n354 go on\r\n250 accepted\r\n221 bye\r\n";

/// The running server; it ends with the test.
pub struct InjectedReplies {
    pub port: u16,
    /// Connections on which STARTTLS was answered.
    pub upgrades: Arc<AtomicUsize>,
}

impl InjectedReplies {
    /// Starts one. `injected`: whether it sends more than its reply to STARTTLS.
    pub fn start(injected: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let upgrades = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&upgrades);
        let certificate = certificates().join("localhost");
        let read = |ending: &str| certificate.with_extension(ending);
        let chain = vec![CertificateDer::from_pem_file(read("pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(read("key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let (config, counter) = (Arc::clone(&config), Arc::clone(&counter));
                std::thread::spawn(move || serve(connection, config, &counter, injected));
            }
        });
        Self { port, upgrades }
    }
}

/// Errors end the connection, as the client does.
fn serve(
    connection: TcpStream,
    config: Arc<ServerConfig>,
    upgrades: &AtomicUsize,
    injected: bool,
) -> Option<()> {
    let mut lines = BufReader::new(connection.try_clone().ok()?);
    let mut connection = connection;
    connection.write_all(b"220 localhost ESMTP\r\n").ok()?;
    loop {
        let mut line = String::new();
        lines.read_line(&mut line).ok().filter(|length| *length > 0)?;
        if line.starts_with("STARTTLS") {
            break;
        }
        connection.write_all(b"250-localhost\r\n250 STARTTLS\r\n").ok()?;
    }
    let reply = if injected {
        format!("220 go ahead\r\n{INJECTED}")
    } else {
        "220 go ahead\r\n".to_owned()
    };
    connection.write_all(reply.as_bytes()).ok()?;
    upgrades.fetch_add(1, Ordering::SeqCst);
    let mut tls = StreamOwned::new(ServerConnection::new(config).ok()?, connection);
    if injected {
        // Reads until the client leaves, without a reply.
        std::io::copy(&mut tls, &mut std::io::sink()).ok()?;
        return None;
    }
    let mut buffer = [0; 64 * 1024];
    let mut replies = [
        "250-localhost\r\n250 8BITMIME\r\n",
        "250 OK\r\n",
        "250 OK\r\n",
        "354 go on\r\n",
        "250 OK\r\n",
    ]
    .iter();
    let mut received = String::new();
    while let Some(reply) = replies.next() {
        let is_mail = replies.len() == 0;
        loop {
            let length = tls.read(&mut buffer).ok().filter(|length| *length > 0)?;
            received.push_str(&String::from_utf8_lossy(&buffer[..length]));
            if received.ends_with(if is_mail { "\r\n.\r\n" } else { "\r\n" }) {
                break;
            }
        }
        received.clear();
        tls.write_all(reply.as_bytes()).ok()?;
        tls.flush().ok()?;
    }
    None
}
