//! The sockets that a site listens on, and the HTTP server behind them. actix-web's `HttpServer` cannot wrap
//! connections, so the server is built from the same parts: `actix_server` and `actix_http`.

use std::fmt;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix_http::{HttpService, Request, Response};
use actix_server::GracefulShutdownSignal;
use actix_service::{IntoServiceFactory, ServiceFactoryExt as _, map_config};
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, Server, Service, ServiceFactory, fn_service};
use anyhow::Context as _;
use rustix::event::{PollFd, PollFlags, poll};
use socket2::{Domain, SockFilter, SockRef, Socket, Type};
use tokio::net::{TcpStream, UnixStream};

use super::systemd;
use crate::config::{BindAddress, Config};
use crate::web::connection::{Connection, HEAD_DEADLINE, OpenConnections, Transport};

/// How long the server reads on after it has closed its side, so that the client receives the response.
const DISCONNECT_DEADLINE: Duration = Duration::from_secs(1);
/// How long [`Listeners::close`] waits for connections that the kernel has accepted.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);
const CLOSE_POLL: Duration = Duration::from_millis(20);

/// How many connections may wait to be accepted, as in the standard library.
const BACKLOG: i32 = 128;

/// The sockets of a site.
pub struct Listeners(Vec<Listener>);

enum Listener {
    /// `is_own`: this process has opened it.
    Tcp { socket: TcpListener, is_own: bool },
    /// `file` is what this process has created.
    Unix { socket: UnixListener, file: Option<SocketFile> },
}

/// The file of a unix socket.
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Listeners {
    /// The sockets that systemd passed, or else those of `FRONTDESK_BIND`.
    pub(super) fn open(config: &Config) -> anyhow::Result<Self> {
        let inherited = systemd::sockets()?;
        if inherited.is_empty() {
            let all = &config.bind;
            let listeners = all.iter().map(|address| Listener::bind(address, all));
            return listeners.collect::<anyhow::Result<_>>().map(Self);
        }
        tracing::info!("listening on {} socket(s) of systemd", inherited.len());
        let sockets = inherited.into_iter().map(|socket| match socket {
            systemd::Socket::Tcp(socket) => Listener::Tcp { socket, is_own: false },
            systemd::Socket::Unix(socket) => Listener::Unix { socket, file: None },
        });
        Ok(Self(sockets.collect()))
    }

    /// One TCP socket that is already open.
    pub fn of(socket: TcpListener) -> Self {
        Self(vec![Listener::Tcp { socket, is_own: true }])
    }

    /// The first IP address.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.0.iter().find_map(|listener| match listener {
            Listener::Tcp { socket, .. } => socket.local_addr().ok(),
            Listener::Unix { .. } => None,
        })
    }

    /// An HTTP server on these sockets, not yet polled. They stay open when it stops.
    pub fn serve<F, I, S, B>(&self, options: &ServerOptions, site: F) -> io::Result<Server>
    where
        F: Fn() -> I + Send + Clone + 'static,
        I: IntoServiceFactory<S, Request>,
        S: ServiceFactory<Request, Config = AppConfig> + 'static,
        S::Error: Into<actix_web::Error> + 'static,
        S::InitError: fmt::Debug,
        S::Response: Into<Response<B>> + 'static,
        S::Service: 'static,
        <S::Service as Service<Request>>::Future: 'static,
        B: MessageBody + 'static,
    {
        let mut builder = Server::build()
            .workers(options.workers)
            .max_concurrent_connections(options.open.capacity().div_ceil(options.workers))
            .shutdown_timeout(options.stop_deadline.as_secs())
            .disable_signals();
        let stop = builder.graceful_shutdown_signal();
        for listener in &self.0 {
            let (site, options, stop) = (site.clone(), options.clone(), stop.clone());
            builder = match listener {
                Listener::Tcp { socket, .. } => {
                    builder.listen("http", socket.try_clone()?, move || {
                        service::<TcpStream, _, _, _, _>(&site, &options, &stop)
                    })?
                }
                Listener::Unix { socket, .. } => {
                    builder.listen_uds("http", socket.try_clone()?, move || {
                        service::<UnixStream, _, _, _, _>(&site, &options, &stop)
                    })?
                }
            };
        }
        Ok(builder.run())
    }

    /// Lets the kernel accept no further connections, and waits until the server has taken those that it has
    /// accepted. Closing a socket before that would reset them, and a proxy cannot repeat a form that it has
    /// already sent. The server must still be running. Sockets of systemd stay open for the next process.
    pub(super) async fn close(self) {
        let own: Vec<Listener> = self.0.into_iter().filter(Listener::is_own).collect();
        for listener in &own {
            if let Err(error) = listener.refuse_new() {
                tracing::debug!(%error, "a socket cannot refuse connections before it is closed");
            }
        }
        let deadline = tokio::time::Instant::now() + CLOSE_DEADLINE;
        // Twice, because the handshake of a connection may be under way.
        let mut times_empty = 0;
        while times_empty < 2 && !own.is_empty() && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(CLOSE_POLL).await;
            let has_waiting = own.iter().any(Listener::has_waiting);
            times_empty = if has_waiting { 0 } else { times_empty + 1 };
        }
    }
}

impl Listener {
    /// `all`: the addresses that the site listens on.
    fn bind(address: &BindAddress, all: &[BindAddress]) -> anyhow::Result<Self> {
        let opened = match address {
            BindAddress::Tcp(address) => {
                let has_ipv4 = all.iter().any(|other| match other {
                    BindAddress::Tcp(other) => other.is_ipv4() && other.port() == address.port(),
                    BindAddress::Unix(_) => false,
                });
                bind_tcp(*address, has_ipv4).map(|socket| Listener::Tcp { socket, is_own: true })
            }
            BindAddress::Unix(path) => bind_unix(path),
        };
        opened.with_context(|| format!("cannot listen on {address}"))
    }

    fn is_own(&self) -> bool {
        match self {
            Listener::Tcp { is_own, .. } => *is_own,
            Listener::Unix { file, .. } => file.is_some(),
        }
    }

    fn refuse_new(&self) -> io::Result<()> {
        match self {
            Listener::Tcp { socket, .. } => SockRef::from(socket).attach_filter(&DROP_SYN),
            Listener::Unix { file, .. } => file.as_ref().map_or(Ok(()), SocketFile::remove),
        }
    }

    /// Whether connections wait to be taken by the server.
    fn has_waiting(&self) -> bool {
        let mut fds = match self {
            Listener::Tcp { socket, .. } => [PollFd::new(socket, PollFlags::IN)],
            Listener::Unix { socket, .. } => [PollFd::new(socket, PollFlags::IN)],
        };
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut fds, Some(&now)).is_ok_and(|count| count > 0)
    }
}

/// A classic BPF program that drops the first packet of a TCP handshake (flag SYN, offset 13) and passes all
/// other packets. The client sends it again after a second, when the socket is closed, and is refused.
const DROP_SYN: [SockFilter; 4] = [
    // Load the byte at offset 13, the flags.
    SockFilter::new(0x30, 0, 0, 13),
    // If SYN is set, continue with the next instruction, otherwise skip it.
    SockFilter::new(0x45, 0, 1, 0x02),
    // Drop the packet.
    SockFilter::new(0x06, 0, 0, 0),
    // Pass the packet.
    SockFilter::new(0x06, 0, 0, u32::MAX),
];

/// Like [`TcpListener::bind`]. `has_ipv4`: another socket listens on the same port of an IPv4 address. An IPv6
/// socket would otherwise take the port for IPv4, too (`[::]` accepts both).
fn bind_tcp(address: SocketAddr, has_ipv4: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && has_ipv4 {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Every user of this machine may connect, as to a port. The folder of the socket can restrict that.
fn bind_unix(path: &Path) -> io::Result<Listener> {
    // A socket file remains when a process is killed.
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && StdUnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    let socket = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    let inode = fs::symlink_metadata(path)?.ino();
    Ok(Listener::Unix { socket, file: Some(SocketFile { path: path.to_owned(), inode }) })
}

impl SocketFile {
    /// Not if another process has replaced it.
    fn remove(&self) -> io::Result<()> {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            fs::remove_file(&self.path)?;
        }
        Ok(())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove().ok();
    }
}

/// How [`Listeners::serve`] serves.
#[derive(Clone)]
pub struct ServerOptions {
    /// The number of worker threads.
    pub workers: usize,
    /// How long an idle connection stays open.
    pub keep_alive: Duration,
    /// How long requests in flight may run after the stop, in whole seconds.
    pub stop_deadline: Duration,
    /// The connections that are open. Their number is limited by its capacity.
    pub open: Arc<OpenConnections>,
}

/// The service of one worker for the connections of one socket.
fn service<T, F, I, S, B>(
    site: &F,
    options: &ServerOptions,
    stop: &GracefulShutdownSignal,
) -> impl ServiceFactory<T, Config = (), Response = (), InitError = ()> + use<T, F, I, S, B>
where
    T: Transport,
    F: Fn() -> I,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = AppConfig> + 'static,
    S::Error: Into<actix_web::Error> + 'static,
    S::InitError: fmt::Debug,
    S::Response: Into<Response<B>> + 'static,
    S::Service: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let (open, stop) = (Arc::clone(&options.open), stop.clone());
    let site = site().into_factory().map_err(|error| error.into().error_response());
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let stop = stop.clone();
            async move { stop.notified().await }
        })
        .keep_alive(options.keep_alive)
        .client_request_timeout(HEAD_DEADLINE)
        .client_disconnect_timeout(DISCONNECT_DEADLINE)
        .on_connect_ext(|connection: &Connection<T>, extensions| connection.add_to(extensions))
        .h1(map_config(site, |()| AppConfig::default()));
    fn_service(move |io: T| {
        io.prepare();
        let peer = io.peer();
        let connection = Connection::new(io, &open);
        async move { Ok((connection, peer)) }
    })
    .and_then(http)
}
