//! Ports for programs that cannot choose a free port themselves.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port on which nothing listens. It is below the kernel's ephemeral range, so that no other process is
/// assigned it before the program binds it.
pub fn free_port() -> u16 {
    // Concurrent runs start at different ports.
    let first = std::process::id() % 200 * 100;
    loop {
        let next = first + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (next % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Host and free port.
pub fn free_addr() -> String {
    format!("127.0.0.1:{}", free_port())
}
