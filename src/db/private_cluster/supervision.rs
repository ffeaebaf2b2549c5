//! Restarts a server that ended unexpectedly, for example because the kernel's OOM killer ended it or the
//! disk is full.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::Instant;

use super::data_folder::DataFolder;
use super::error::ClusterError;
use super::server::OwnedServer;

/// How often the server is checked.
const CHECK_INTERVAL: Duration = Duration::from_millis(200);

/// The delay before the second consecutive restart. The first restart is immediate; later delays double.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const MAX_DELAY: Duration = Duration::from_secs(30);
/// If a server ran at least this long before it ended, the restart counter is reset.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);
/// Restarts stop this long after the first of consecutive failures.
const GIVE_UP_AFTER: Duration = Duration::from_secs(5 * 60);

impl OwnedServer {
    /// Restarts the server whenever it ends. Returns the error after restarts have failed for five minutes.
    pub(super) async fn supervise(&self, folder: &DataFolder) -> ClusterError {
        let mut restarts = Restarts::default();
        let mut started_at = Instant::now();
        loop {
            let mut cause = self.wait_for_end(folder).await;
            let mut ran_for = started_at.elapsed();
            loop {
                let why = with_sources(&cause);
                let Some(delay) = restarts.next_delay(Instant::now(), ran_for) else {
                    tracing::error!(why, "the private PostgreSQL cannot be restarted");
                    return ClusterError::RestartsFailed {
                        tried_for: GIVE_UP_AFTER,
                        cause: Box::new(cause),
                    };
                };
                tracing::error!(
                    why,
                    pause = ?delay,
                    "the private PostgreSQL is down and will be restarted"
                );
                tokio::time::sleep(delay).await;
                match self.restart(folder).await {
                    Ok(()) => break,
                    Err(error) => (cause, ran_for) = (error, Duration::ZERO),
                }
            }
            started_at = Instant::now();
            tracing::info!("the private PostgreSQL is running again");
        }
    }

    /// Waits until the server has ended. Returns the reason.
    async fn wait_for_end(&self, folder: &DataFolder) -> ClusterError {
        loop {
            match self.exit_status(folder) {
                Ok(None) => tokio::time::sleep(CHECK_INTERVAL).await,
                Ok(Some(status)) => {
                    let log_start =
                        self.running_server().take().map_or(0, |server| server.log_start);
                    let log = folder.log_excerpt(log_start);
                    return ClusterError::Ended { status: describe(status), log };
                }
                Err(error) => return error,
            }
        }
    }

    async fn restart(&self, folder: &DataFolder) -> Result<(), ClusterError> {
        self.running_server().take();
        self.stop_leftover_server(folder).await?;
        self.start(folder).await
    }
}

/// Describes how the server ended, from the exit status of its shell.
fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) if code > 128 => format!("signal {}", code - 128),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("its parent shell was ended by signal {signal}"),
        (None, None) => "for an unknown reason".to_owned(),
    }
}

/// The messages of an error and of its sources.
fn with_sources(error: &ClusterError) -> String {
    let sources = std::iter::successors(Some(error as &dyn std::error::Error), |it| it.source());
    sources.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Decides when a server that ended is restarted.
#[derive(Debug, Default)]
struct Restarts {
    /// Time of the first of consecutive failures.
    failing_since: Option<Instant>,
    count: u32,
}

impl Restarts {
    /// The delay of the next restart; `None` to give up. `ran_for` is how long the server accepted
    /// connections, zero after a restart that failed.
    fn next_delay(&mut self, now: Instant, ran_for: Duration) -> Option<Duration> {
        if ran_for >= HEALTHY_AFTER {
            *self = Self::default();
        }
        let since = *self.failing_since.get_or_insert(now);
        if now - since >= GIVE_UP_AFTER {
            return None;
        }
        let doubled = self.count.checked_sub(1).map(|times| FIRST_DELAY * 2_u32.pow(times.min(8)));
        self.count += 1;
        Some(doubled.unwrap_or_default().min(MAX_DELAY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_back_off_until_they_are_given_up() {
        let (mut restarts, mut now) = (Restarts::default(), Instant::now());
        let started_at = now;
        let mut delays = Vec::new();
        while let Some(delay) = restarts.next_delay(now, Duration::ZERO) {
            delays.push(delay.as_secs());
            now += delay;
        }
        assert_eq!(delays[..8], [0, 1, 2, 4, 8, 16, 30, 30]);
        let tried_for = now - started_at;
        assert!((GIVE_UP_AFTER..GIVE_UP_AFTER + MAX_DELAY).contains(&tried_for), "{tried_for:?}");
    }

    #[test]
    fn a_server_that_ran_well_is_restarted_immediately_and_one_that_keeps_ending_is_given_up() {
        let (mut restarts, mut now) = (Restarts::default(), Instant::now());
        for _ in 0..100 {
            now += HEALTHY_AFTER;
            assert_eq!(restarts.next_delay(now, HEALTHY_AFTER), Some(Duration::ZERO));
        }
        let ran_for = Duration::from_secs(10);
        let mut given_up_after = ran_for;
        while restarts.next_delay(now + given_up_after, ran_for).is_some() {
            given_up_after += ran_for;
        }
        assert_eq!(given_up_after, GIVE_UP_AFTER);
    }
}
