//! `GET /healthz`: liveness. `GET /readyz`: readiness. The JSON of `/readyz` has `database` (`ok`, `away`,
//! `standby`, `read-only`, `no-privilege`, `incomplete`), `schema` (of a site also whether a newer
//! version of it has migrated), `sessions` (whether they are served from the cache: `off`, `disconnected`, `doubtful`,
//! `trusted`; the server is ready in every case), `cause` (why it is not ready, in words that name neither host nor
//! user), `jobs` (see [`Jobs::summary`](crate::background::Jobs::summary)) and `servers` (`ok`, or how the settings of
//! running servers differ). Both are outside the session middleware and contain no personal data. After the stop
//! signal, `/readyz` answers 503 with `stopping`.

use std::time::Duration;

use actix_web::{HttpResponse, web};
use serde_json::json;
use sqlx::PgPool;

use crate::app::App;
use crate::db::migrations::{Schema, SchemaProblem};
use crate::db::site_migrations::SiteSchemaProblem;
use crate::db::{self, ConnectError, NotPrimary};
use crate::peers::{self, RunningServer};
use crate::site::Schemas;
use crate::web::connection::OpenConnections;

/// Together with [`REASON_DEADLINE`] less than two seconds, because load balancers have short timeouts.
const DEADLINE: Duration = Duration::from_millis(1200);
/// The deadline for finding out why the database is unavailable.
const REASON_DEADLINE: Duration = Duration::from_millis(600);

/// `GET /healthz`.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// `GET /readyz`.
pub async fn ready(
    app: web::Data<App>,
    schemas: web::Data<Schemas>,
    open: web::Data<OpenConnections>,
) -> HttpResponse {
    if open.is_draining() {
        return HttpResponse::ServiceUnavailable()
            .json(json!({ "ready": false, "stopping": true }));
    }
    let checked = tokio::time::timeout(DEADLINE, check(&app.pool, &schemas)).await;
    let (ready, database, schema, cause) = match checked {
        Ok(Ok(Ok(schema))) => (true, "ok", schema.to_string(), None),
        // Servers of a newer version of the site, which has migrated, replace this one. It serves until then.
        Ok(Ok(Err(problem @ SchemaProblem::Site(SiteSchemaProblem::Unknown(_))))) => {
            (true, "ok", problem.to_string(), None)
        }
        Ok(Ok(Err(problem))) => {
            (false, "ok", problem.to_string(), Some("the schema does not match".to_owned()))
        }
        Ok(Err(_)) | Err(_) => {
            let (database, cause) = find_reason(&app.pool).await;
            (false, database, "unknown".to_owned(), Some(cause))
        }
    };
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let sessions = app.sessions.cache_state().as_str();
    response.json(json!({
        "ready": ready,
        "database": database,
        "schema": schema,
        "cause": cause,
        "sessions": sessions,
        "jobs": app.jobs.summary(),
        "servers": compare_servers(&app.pool, database == "ok").await,
    }))
}

/// `ok`, or how the settings of the running servers differ. Names servers by their id, because the response
/// may be public.
async fn compare_servers(pool: &PgPool, is_available: bool) -> String {
    if !is_available {
        return "unknown".to_owned();
    }
    let servers = tokio::time::timeout(REASON_DEADLINE, peers::list(pool)).await;
    let Ok(Ok(servers)) = servers else { return "unknown".to_owned() };
    let settings: Vec<_> = servers.iter().map(RunningServer::anonymous_settings).collect();
    let messages: Vec<String> =
        peers::differences(&settings).into_iter().map(|difference| difference.message).collect();
    if messages.is_empty() { "ok".to_owned() } else { messages.join(" ") }
}

/// Whether the database accepts writes and its schema matches.
async fn check(pool: &PgPool, schemas: &Schemas) -> anyhow::Result<Result<Schema, SchemaProblem>> {
    db::require_writes(pool).await?;
    schemas.check().await
}

/// Opens a connection to find the reason: the pool only reports that it has none.
async fn find_reason(pool: &PgPool) -> (&'static str, String) {
    let options = pool.connect_options();
    let attempt = async {
        let mut connection = db::connect_to_primary(&options).await?;
        db::require_writes(&mut connection).await
    };
    match tokio::time::timeout(REASON_DEADLINE, attempt).await {
        Ok(Err(error)) => {
            let database = match error {
                ConnectError::NotPrimary(NotPrimary::Standby) => "standby",
                ConnectError::NotPrimary(NotPrimary::ReadOnly) => "read-only",
                ConnectError::MissingPrivilege(_) => "no-privilege",
                ConnectError::MissingTable(_) => "incomplete",
                ConnectError::Failed(_) => "away",
            };
            (database, db::connect_cause(&error))
        }
        Ok(Ok(())) => ("away", "no connection of the pool responded in time".to_owned()),
        Err(_) => ("away", "PostgreSQL did not respond in time".to_owned()),
    }
}
