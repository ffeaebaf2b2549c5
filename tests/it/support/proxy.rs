//! A TCP proxy in front of the Unix socket of PostgreSQL that can drop, delay and reset connections.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the proxy does with received data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Forwards it.
    Up,
    /// Reads and discards it, in both directions: a half-open connection.
    BlackHole,
    /// Does not read it.
    Stalled,
}

/// A running proxy; stops when dropped.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    /// The Unix socket for new connections.
    target: Mutex<PathBuf>,
    link: AtomicU8,
    /// Connections so far.
    number: AtomicU32,
    /// Connections with a lower number are black holes, regardless of `link`.
    black_hole_below: AtomicU32,
    is_stopped: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn link(&self, number: u32) -> Link {
        if number < self.black_hole_below.load(Ordering::SeqCst) {
            return Link::BlackHole;
        }
        match self.link.load(Ordering::SeqCst) {
            0 => Link::Up,
            1 => Link::BlackHole,
            _ => Link::Stalled,
        }
    }
}

impl Proxy {
    /// Forwards to the PostgreSQL that listens on `socket`.
    pub fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            target: Mutex::new(socket),
            link: AtomicU8::new(0),
            number: AtomicU32::new(0),
            black_hole_below: AtomicU32::new(0),
            is_stopped: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accept_shared = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accept_shared.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let target = accept_shared.target.lock().expect("not poisoned").clone();
                let Ok(server) = UnixStream::connect(target) else { continue };
                forward(client, server, &accept_shared);
            }
        });
        Self { port, shared }
    }

    /// Applies to open and new connections from now on.
    pub fn set(&self, link: Link) {
        self.shared.link.store(link as u8, Ordering::SeqCst);
    }

    /// Forwards new connections to `socket`; open ones stay.
    pub fn connect_to(&self, socket: PathBuf) {
        *self.shared.target.lock().expect("not poisoned") = socket;
    }

    /// How many connections there were so far.
    pub fn connections(&self) -> u32 {
        self.shared.number.load(Ordering::SeqCst)
    }

    /// Makes every open connection a black hole and forwards new ones, like a firewall that lost its state.
    pub fn black_hole_open(&self) {
        self.shared.black_hole_below.store(self.connections(), Ordering::SeqCst);
        self.set(Link::Up);
    }

    /// Resets every connection, as a firewall does.
    pub fn reset(&self) {
        for stream in self.shared.open.lock().expect("not poisoned").drain(..) {
            // A shutdown would send FIN; this sends RST.
            rustix::net::connect_unspec(&stream).ok();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        self.reset();
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

fn forward(client: TcpStream, server: UnixStream, shared: &Arc<Shared>) {
    let timeout = Some(Duration::from_millis(5));
    client.set_read_timeout(timeout).expect("a socket");
    server.set_read_timeout(timeout).expect("a socket");
    let copies = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    shared.open.lock().expect("not poisoned").push(client.try_clone().expect("a socket"));
    let (one, two) = (Arc::clone(shared), Arc::clone(shared));
    let number = shared.number.fetch_add(1, Ordering::SeqCst);
    std::thread::spawn(move || {
        copy(&client, &server, &one, number);
        server.shutdown(Shutdown::Both).ok();
        client.shutdown(Shutdown::Both).ok();
    });
    std::thread::spawn(move || {
        copy(&copies.1, &copies.0, &two, number);
        copies.0.shutdown(Shutdown::Both).ok();
        copies.1.shutdown(Shutdown::Both).ok();
    });
}

fn copy<A, B>(from: &A, to: &B, shared: &Shared, number: u32)
where
    for<'a> &'a A: Read,
    for<'a> &'a B: Write,
{
    let (mut from, mut to) = (from, to);
    let mut bytes = [0; 16 * 1024];
    while !shared.is_stopped.load(Ordering::SeqCst) {
        if shared.link(number) == Link::Stalled {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        match from.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) if shared.link(number) == Link::BlackHole => {}
            Ok(count) => {
                if to.write_all(&bytes[..count]).is_err() {
                    return;
                }
            }
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => return,
        }
    }
}
