//! What systemd passes to a service, and what a service tells systemd. Without systemd, nothing is passed and
//! nothing is sent.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use anyhow::Context as _;
use listenfd::ListenFd;
use sd_notify::NotifyState;

/// A socket that is already listening.
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The sockets of a socket unit (`LISTEN_FDS`).
pub(super) fn sockets() -> anyhow::Result<Vec<Socket>> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Vec::new();
    for index in 0..passed.len() {
        let socket = match passed.take_unix_listener(index) {
            Ok(socket) => socket.map(Socket::Unix),
            Err(_) => passed
                .take_tcp_listener(index)
                .context("systemd passed a socket that is neither TCP nor a unix stream socket. Use ListenStream= in the socket unit")?
                .map(Socket::Tcp),
        };
        sockets.extend(socket);
    }
    Ok(sockets)
}

/// Tells systemd that the site is served.
pub(super) fn notify_ready() {
    notify(NotifyState::Ready);
}

/// Tells systemd that the server has begun to stop.
pub(super) fn notify_stopping() {
    notify(NotifyState::Stopping);
}

/// `text` is shown by `systemctl status`.
pub(super) fn notify_status(text: &str) {
    notify(NotifyState::Status(text));
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(false, &[state]) {
        tracing::warn!(%error, "systemd could not be notified");
    }
}
