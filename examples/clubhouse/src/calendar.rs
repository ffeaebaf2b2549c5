//! The events to come, for everyone.

use frontdesk::{Data, Error, Page, PageResult, Pool, Visitor};
use serde::Serialize;
use serde_json::json;
use sqlx::FromRow;

use crate::Settings;

/// An event with the number of its guests.
#[derive(Serialize, FromRow)]
pub struct Event {
    pub id: i64,
    pub title: String,
    pub place: String,
    /// In the time zone of the club, for people.
    pub starts: String,
    /// In UTC, as iCalendar and `<time>` write it.
    pub starts_utc: String,
    pub starts_iso: String,
    pub capacity: i32,
    pub guests: i64,
    pub is_full: bool,
}

/// The events that have not begun, or the one with an id.
const EVENTS: &str = "
    SELECT id, title, place, capacity, guests, guests >= capacity AS is_full,
        to_char(starts_at AT TIME ZONE $1, 'FMDay, FMDD FMMonth YYYY, HH24:MI') AS starts,
        to_char(starts_at AT TIME ZONE 'UTC', 'YYYYMMDD\"T\"HH24MISS\"Z\"') AS starts_utc,
        to_char(starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS starts_iso
    FROM club_events, LATERAL (SELECT count(*) AS guests FROM guests WHERE event_id = id) AS counted
    WHERE starts_at > now() AND ($2::bigint IS NULL OR id = $2)
    ORDER BY starts_at, id LIMIT $3";

/// The next events, at most `limit`.
pub async fn upcoming(
    pool: &Pool,
    settings: &Settings,
    limit: i64,
) -> Result<Vec<Event>, sqlx::Error> {
    let events = sqlx::query_as(EVENTS).bind(&settings.time_zone).bind(None::<i64>).bind(limit);
    events.fetch_all(&**pool).await
}

/// An event that has not begun.
pub async fn find(pool: &Pool, settings: &Settings, id: i64) -> Result<Event, Error> {
    let event = sqlx::query_as(EVENTS).bind(&settings.time_zone).bind(id).bind(1_i64);
    event.fetch_optional(&**pool).await?.ok_or_else(Error::not_found)
}

pub async fn start(page: Page, pool: Pool, settings: Data<Settings>) -> PageResult {
    page.render("start.html", &json!({ "events": upcoming(&pool, &settings, 3).await? }))
}

pub async fn list(
    page: Page,
    visitor: Visitor,
    pool: Pool,
    settings: Data<Settings>,
) -> PageResult {
    let events = upcoming(&pool, &settings, 100).await?;
    let is_admin = visitor.user().is_some_and(|user| user.role() == frontdesk::UserRole::Admin);
    page.render("calendar.html", &json!({ "events": events, "is_admin": is_admin }))
}
