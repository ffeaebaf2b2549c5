//! Separates a slow server from a slow machine.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::support::{Server, site};

/// A server without any load. The latency of its /healthz is the latency of the machine, and measurements
/// subtract it.
pub struct IdleServer(Server);

impl IdleServer {
    pub fn new() -> Self {
        let (server, _) = site();
        Self(server)
    }

    /// Returns the result of `action`, and its duration less the slowest answer of the idle server meanwhile.
    pub fn timed<T>(&self, action: impl FnOnce() -> T) -> (T, Duration) {
        std::thread::scope(|scope| {
            let (running, end) = channel::<()>();
            let probe = scope.spawn(move || {
                let mut slowest = Duration::ZERO;
                while end.recv_timeout(Duration::from_millis(10)) == Err(RecvTimeoutError::Timeout)
                {
                    let began = Instant::now();
                    assert_eq!(self.0.browser().get("/healthz").status, 200);
                    slowest = slowest.max(began.elapsed());
                }
                slowest
            });
            let began = Instant::now();
            let result = action();
            let took = began.elapsed();
            drop(running);
            (result, took.saturating_sub(probe.join().unwrap()))
        })
    }
}
