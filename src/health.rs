//! `GET /healthz` (the process answers) and `GET /readyz` (it can serve: database and schema; and whether
//! sessions are served from memory: `off`, `disconnected`, `doubtful`, `trusted`, each of which serves). Outside the
//! session scope; they say nothing about anybody.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::app::App;
use crate::db::migrations::{self, SchemaProblem};

/// A load balancer gives up earlier than a person.
const DEADLINE: Duration = Duration::from_secs(2);

/// `GET /healthz`.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// `GET /readyz`.
pub async fn ready(app: web::Data<App>) -> HttpResponse {
    let (ready, database, schema) =
        match tokio::time::timeout(DEADLINE, migrations::check(&app.pool)).await {
            Ok(Ok(Ok(()))) => (true, "ok", "ok".to_owned()),
            // A newer version has migrated and is about to take over. Migrations leave the version before
            // working, so it serves on until it is stopped.
            Ok(Ok(Err(problem @ SchemaProblem::Newer { .. }))) => (true, "ok", problem.to_string()),
            Ok(Ok(Err(problem))) => (false, "ok", problem.to_string()),
            Ok(Err(_)) | Err(_) => (false, "away", "unknown".to_owned()),
        };
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let sessions = app.sessions.state().as_str();
    response.json(json!({
        "ready": ready,
        "database": database,
        "schema": schema,
        "sessions": sessions,
    }))
}
