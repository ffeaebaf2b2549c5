//! `GET /healthz` (the process answers) and `GET /readyz` (it can serve: `database` is `ok`, `away`, `standby` or
//! `read-only`; `schema`; whether sessions are served from memory: `off`, `disconnected`, `doubtful`, `trusted`, each of
//! which serves; and whether every background job runs, see [`Jobs::summary`](crate::background::Jobs::summary)). Outside
//! the session scope; they say nothing about anybody.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::json;
use sqlx::PgPool;

use crate::app::App;
use crate::db::migrations::{self, SchemaProblem};
use crate::db::{self, ConnectError, NotPrimary};

/// Load balancers give up earlier than people: both together are less than two seconds.
const DEADLINE: Duration = Duration::from_millis(1200);
/// For the reason why it cannot serve.
const REASON_DEADLINE: Duration = Duration::from_millis(600);

/// `GET /healthz`.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// `GET /readyz`.
pub async fn ready(app: web::Data<App>) -> HttpResponse {
    let checked = tokio::time::timeout(DEADLINE, migrations::check(&app.pool)).await;
    let (ready, database, schema) = match checked {
        Ok(Ok(Ok(()))) => (true, "ok", "ok".to_owned()),
        // A newer version has migrated and is about to take over. Migrations leave the version before
        // working, so it serves on until it is stopped.
        Ok(Ok(Err(problem @ SchemaProblem::Newer { .. }))) => (true, "ok", problem.to_string()),
        Ok(Ok(Err(problem))) => (false, "ok", problem.to_string()),
        Ok(Err(_)) | Err(_) => (false, why_away(&app.pool).await, "unknown".to_owned()),
    };
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let sessions = app.sessions.cache_state().as_str();
    response.json(json!({
        "ready": ready,
        "database": database,
        "schema": schema,
        "sessions": sessions,
        "jobs": app.jobs.summary(),
    }))
}

/// The pool only says that it has no connection; a connection of its own says why.
async fn why_away(pool: &PgPool) -> &'static str {
    let options = pool.connect_options();
    match tokio::time::timeout(REASON_DEADLINE, db::connect_to_primary(&options)).await {
        Ok(Err(ConnectError::NotPrimary(NotPrimary::Standby))) => "standby",
        Ok(Err(ConnectError::NotPrimary(NotPrimary::ReadOnly))) => "read-only",
        Ok(Ok(_) | Err(ConnectError::Failed(_))) | Err(_) => "away",
    }
}
