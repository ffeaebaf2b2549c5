//! Ports for programs that have to be told one.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port where nobody listens, below those that the kernel gives to whoever asks for any: nobody gets it by chance
/// before the program that is told it.
pub fn free_port() -> u16 {
    // Runs beside each other begin at different places.
    let first = std::process::id() % 200 * 100;
    loop {
        let next = first + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (next % 20_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The same as an address.
pub fn free_addr() -> String {
    format!("127.0.0.1:{}", free_port())
}
