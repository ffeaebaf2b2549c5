//! Loops beside the server: each does one round, waits, and goes on whatever happened. Stopped by a
//! signal, not by being dropped.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// Tells every loop to stop.
pub struct Loops {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Default for Loops {
    fn default() -> Self {
        Self { stop: watch::channel(false).0, tasks: Vec::new() }
    }
}

impl Loops {
    /// Runs `round` at once, and again `every` (up to a tenth more, so that servers that were started
    /// together drift apart).
    pub fn spawn<F, R>(&mut self, every: Duration, round: F)
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = ()> + Send,
    {
        self.spawn_woken(every, Arc::default(), round);
    }

    /// The same for a round of many steps, each of them whole by itself (a task, a transaction): at a stop the round is
    /// left where it is, for it may have hours to go.
    pub fn spawn_in_steps<F, R>(&mut self, every: Duration, mut round: F)
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = ()> + Send,
    {
        let mut stopped = self.stop.subscribe();
        self.tasks.push(tokio::spawn(async move {
            loop {
                let wait = every + every.mul_f64(jitter() / 10.0);
                let turn = async {
                    round().await;
                    tokio::time::sleep(wait).await;
                };
                tokio::select! {
                    () = turn => {}
                    _ = stopped.wait_for(|stop| *stop) => return,
                }
            }
        }));
    }

    /// Like [`Loops::spawn`], and a round at once whenever somebody calls `notify_one` on `bell`.
    pub fn spawn_woken<F, R>(&mut self, every: Duration, bell: Arc<Notify>, mut round: F)
    where
        F: FnMut() -> R + Send + 'static,
        R: Future<Output = ()> + Send,
    {
        let mut stopped = self.stop.subscribe();
        self.tasks.push(tokio::spawn(async move {
            loop {
                round().await;
                let wait = every + every.mul_f64(jitter() / 10.0);
                tokio::select! {
                    () = bell.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                    _ = stopped.wait_for(|stop| *stop) => return,
                }
            }
        }));
    }

    /// Lets each loop end its round, but for those in steps, then returns.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a background loop had died");
            }
        }
    }
}

/// Between 0 and 1, by chance.
pub fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}
