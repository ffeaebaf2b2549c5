//! A wire between a server and PostgreSQL that can be cut, held and bent: listens on TCP, leads to the unix socket.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the wire does with what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Passes it on.
    Up,
    /// Takes it and passes nothing on, in both directions: half-open.
    BlackHole,
    /// Does not even take it.
    Stalled,
}

/// A running proxy; ends with its owner.
pub struct Proxy {
    pub port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    /// The unix socket that new connections lead to.
    target: Mutex<PathBuf>,
    wire: AtomicU8,
    /// Connections so far.
    number: AtomicU32,
    /// Those below this number swallow, whatever the wire does.
    stranded: AtomicU32,
    is_over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn wire(&self, number: u32) -> Link {
        if number < self.stranded.load(Ordering::SeqCst) {
            return Link::BlackHole;
        }
        match self.wire.load(Ordering::SeqCst) {
            0 => Link::Up,
            1 => Link::BlackHole,
            _ => Link::Stalled,
        }
    }
}

impl Proxy {
    /// Leads to the PostgreSQL that listens on `socket`.
    pub fn start(socket: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let shared = Arc::new(Shared {
            target: Mutex::new(socket),
            wire: AtomicU8::new(0),
            number: AtomicU32::new(0),
            stranded: AtomicU32::new(0),
            is_over: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let ours = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ours.is_over.load(Ordering::SeqCst) {
                    return;
                }
                let target = ours.target.lock().expect("whole").clone();
                let Ok(server) = UnixStream::connect(target) else { continue };
                join(client, server, &ours);
            }
        });
        Self { port, shared }
    }

    /// From now on.
    pub fn set(&self, wire: Link) {
        self.shared.wire.store(wire as u8, Ordering::SeqCst);
    }

    /// New connections lead there from now on; those that are open stay.
    pub fn connect_to(&self, socket: PathBuf) {
        *self.shared.target.lock().expect("whole") = socket;
    }

    /// How many there were so far.
    pub fn connections(&self) -> u32 {
        self.shared.number.load(Ordering::SeqCst)
    }

    /// Every connection that is open swallows for ever, and new ones are good: a firewall that lost what it knew.
    pub fn black_hole_open(&self) {
        self.shared.stranded.store(self.connections(), Ordering::SeqCst);
        self.set(Link::Up);
    }

    /// Resets every connection, as a firewall does.
    pub fn reset(&self) {
        for stream in self.shared.open.lock().expect("whole").drain(..) {
            // A shutdown would say goodbye; this sends a reset.
            rustix::net::connect_unspec(&stream).ok();
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        self.reset();
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

fn join(client: TcpStream, server: UnixStream, shared: &Arc<Shared>) {
    let pause = Some(Duration::from_millis(5));
    client.set_read_timeout(pause).expect("a socket");
    server.set_read_timeout(pause).expect("a socket");
    let copies = (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    shared.open.lock().expect("whole").push(client.try_clone().expect("a socket"));
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
    while !shared.is_over.load(Ordering::SeqCst) {
        if shared.wire(number) == Link::Stalled {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        match from.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) if shared.wire(number) == Link::BlackHole => {}
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
