//! Converts the origin of a change to the source that security notices show, and that hooks of the site get.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::user_agent;
use crate::audit::{Actor, Origin};
use crate::events::{After, Hooks, Source as EventSource};
use crate::id::UserId;
use crate::mail::Source;

/// The browser and IP address of `origin`, at the time `at`. Operators and background jobs have no browser.
pub fn source(origin: &Origin, at: OffsetDateTime) -> Source {
    let is_user = origin.actor == Actor::User;
    Source {
        at: Some(at),
        device: is_user.then(|| user_agent::title(origin.user_agent.as_deref())),
        ip_address: origin.ip_address.map(|ip_address| ip_address.to_string()),
    }
}

/// Like [`source`], with the start time of the caller's transaction by the database's clock.
pub async fn source_now(connection: &mut PgConnection, origin: &Origin) -> sqlx::Result<Source> {
    let now = sqlx::query_scalar!(r#"SELECT now() AS "now!""#).fetch_one(connection).await?;
    Ok(source(origin, now))
}

/// Stores the event `after` of `user` for the hooks of the site, in the transaction of the event. The row of the user still
/// exists. Without such a hook, nothing is stored.
pub async fn for_hooks(
    connection: &mut PgConnection,
    hooks: &Hooks,
    after: After,
    user: UserId,
    origin: &Origin,
) -> sqlx::Result<()> {
    let is_user = origin.actor == Actor::User;
    let source = EventSource {
        ip_address: origin.ip_address,
        device: is_user.then(|| user_agent::title(origin.user_agent.as_deref())),
    };
    hooks.enqueue(connection, after, user, source).await
}
