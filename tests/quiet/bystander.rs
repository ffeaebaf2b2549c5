//! Tells what the machine is slow at from what a server is slow at.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::support::{Server, site};

/// A server to which nothing happens: what even its /healthz waits for is the machine, and nothing is judged by that.
pub struct Bystander(Server);

impl Bystander {
    pub fn new() -> Self {
        let (server, _) = site();
        Self(server)
    }

    /// What `act` answers, and how long it took beyond the slowest answer here meanwhile.
    pub fn timed<T>(&self, act: impl FnOnce() -> T) -> (T, Duration) {
        std::thread::scope(|scope| {
            let (acting, end) = channel::<()>();
            let beside = scope.spawn(move || {
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
            let done = act();
            let took = began.elapsed();
            drop(acting);
            (done, took.saturating_sub(beside.join().unwrap()))
        })
    }
}
