//! Migrations at startup. Meanwhile the sockets are open: `/healthz` answers 200, `/readyz` 503 with what is
//! being waited for, and every other path the 503 page, so that neither a person nor a load balancer has to
//! guess.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::{App as Site, HttpResponse, web};
use serde_json::json;

use super::listen::{Listeners, ServerOptions};
use super::routes::{get, read_only};
use super::site::PageData;
use super::systemd;
use crate::pages::health;
use crate::site::Schemas;
use crate::web::connection::OpenConnections;
use crate::web::error::HttpError;
use crate::web::outer;

/// Health checks are few.
const MAX_CONNECTIONS: usize = 64;
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What the start waits for.
type Waiting = Arc<Mutex<String>>;

/// Applies the pending migrations, if there are any.
pub(super) async fn migrate(
    schemas: &Schemas,
    listeners: &Listeners,
    pages: &PageData,
) -> anyhow::Result<()> {
    if !schemas.are_pending().await? {
        return Ok(());
    }
    let waiting = Waiting::new(Mutex::new("applying migrations".to_owned()));
    let open = OpenConnections::with_capacity(MAX_CONNECTIONS);
    // Clients must not keep a connection that only answers 503.
    open.drain();
    let options = ServerOptions {
        workers: 1,
        keep_alive: Duration::ZERO,
        stop_deadline: Duration::from_secs(1),
        open,
    };
    let state = web::Data::from(Arc::clone(&waiting));
    let (templates, outer) = (pages.templates.clone(), pages.outer.clone());
    let server = listeners.serve(&options, move || {
        Site::new()
            .app_data(state.clone())
            .app_data(templates.clone())
            .app_data(outer.clone())
            .wrap(from_fn(outer::wrap))
            .service(read_only("/healthz").route(get().to(health::live)))
            .service(read_only("/readyz").route(get().to(ready)))
            .default_service(web::to(unavailable))
    })?;
    let handle = server.handle();
    let server = actix_web::rt::spawn(server);
    let report = |message: &str| {
        systemd::notify_status(message);
        message.clone_into(&mut waiting.lock().unwrap_or_else(PoisonError::into_inner));
    };
    let migrated = schemas.migrate(report).await;
    handle.stop(true).await;
    server.await??;
    migrated.map(|_| ())
}

async fn ready(waiting: web::Data<Mutex<String>>) -> HttpResponse {
    let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner).clone();
    HttpResponse::ServiceUnavailable().json(json!({
        "ready": false,
        "database": "ok",
        "schema": waiting,
        "waiting_for": waiting,
    }))
}

async fn unavailable() -> Result<HttpResponse, HttpError> {
    Err(HttpError::Unavailable { retry_after: RETRY_AFTER, cause: None })
}
