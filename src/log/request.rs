//! The request that a log line belongs to.

use std::net::IpAddr;

use tokio::task::JoinHandle;
use uuid::Uuid;

tokio::task_local! {
    static CURRENT: LoggedRequest;
}

/// What identifies a request in its log lines.
#[derive(Clone, Copy, Debug)]
pub struct LoggedRequest {
    /// The id of the request.
    pub id: Uuid,
    /// The IP address of the client; `None` if `FRONTDESK_LOG_CLIENT_IP` is off.
    pub client_ip: Option<IpAddr>,
}

/// Runs `work`, whose log lines belong to `request`.
pub async fn in_request<T>(request: LoggedRequest, work: impl Future<Output = T>) -> T {
    CURRENT.scope(request, work).await
}

/// `tokio::spawn` for work of the current request: its log lines belong to that request too.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    match current() {
        Some(request) => tokio::spawn(CURRENT.scope(request, work)),
        None => tokio::spawn(work),
    }
}

/// Like [`spawn`], for work that is bound to the thread of the request.
pub fn spawn_local<T: 'static>(work: impl Future<Output = T> + 'static) -> JoinHandle<T> {
    match current() {
        Some(request) => tokio::task::spawn_local(CURRENT.scope(request, work)),
        None => tokio::task::spawn_local(work),
    }
}

/// The request of the current task.
pub(super) fn current() -> Option<LoggedRequest> {
    CURRENT.try_with(|request| *request).ok()
}
