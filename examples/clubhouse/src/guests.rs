//! One event, and who comes to it.

use frontdesk::events::Export;
use frontdesk::{
    CurrentUser, Data, Error, HookResult, Notice, Page, PageResult, Path, Pool, Visitor,
};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Settings, calendar, guest_list};

pub async fn event(
    page: Page,
    visitor: Visitor,
    pool: Pool,
    settings: Data<Settings>,
    id: Path<i64>,
) -> PageResult {
    let event = calendar::find(&pool, &settings, *id).await?;
    let (mut guests, mut is_guest) = (Vec::new(), false);
    if let Some(user) = visitor.user() {
        guests = guest_list::names(&pool, *id).await?;
        is_guest = is_on_list(&mut *pool.acquire().await?, *id, user.id()).await?;
    }
    page.render("event.html", &json!({ "event": event, "guests": guests, "is_guest": is_guest }))
}

async fn is_on_list(connection: &mut PgConnection, event: i64, user: Uuid) -> sqlx::Result<bool> {
    let guest = "SELECT EXISTS (SELECT FROM guests WHERE event_id = $1 AND user_id = $2)";
    sqlx::query_scalar(guest).bind(event).bind(user).fetch_one(connection).await
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    Taken,
    None,
}

pub async fn sign_up(user: CurrentUser, page: Page, pool: Pool, id: Path<i64>) -> PageResult {
    let (event, guest) = (*id, user.id());
    let place = pool.transaction(move |connection| {
        let user = user.clone();
        Box::pin(async move {
            user.require_live(connection).await?;
            take_place(connection, event, guest).await
        })
    });
    let notice = match place.await? {
        Place::Taken => Notice::success("You're on the guest list."),
        Place::None => Notice::warning("All places are taken."),
    };
    Ok(page.redirect_with(&format!("/events/{event}"), notice))
}

/// The lock on the event makes sign-ups wait for each other, so that no two of them get the last place.
async fn take_place(
    connection: &mut PgConnection,
    event: i64,
    guest: Uuid,
) -> Result<Place, Error> {
    let capacity: Option<i32> = sqlx::query_scalar(
        "SELECT capacity FROM club_events WHERE id = $1 AND starts_at > now() FOR UPDATE",
    )
    .bind(event)
    .fetch_optional(&mut *connection)
    .await?;
    let capacity = capacity.ok_or_else(Error::not_found)?;
    if is_on_list(connection, event, guest).await? {
        return Ok(Place::Taken);
    }
    let insert = sqlx::query(
        "INSERT INTO guests (event_id, user_id)
         SELECT $1, $2 WHERE (SELECT count(*) FROM guests WHERE event_id = $1) < $3",
    );
    let inserted = insert.bind(event).bind(guest).bind(capacity).execute(connection).await?;
    Ok(if inserted.rows_affected() == 1 { Place::Taken } else { Place::None })
}

pub async fn leave(user: CurrentUser, page: Page, pool: Pool, id: Path<i64>) -> PageResult {
    let delete = sqlx::query("DELETE FROM guests WHERE event_id = $1 AND user_id = $2");
    delete.bind(*id).bind(user.id()).execute(&*pool).await?;
    let notice = Notice::success("You're no longer on the guest list.");
    Ok(page.redirect_with(&format!("/events/{id}"), notice))
}

pub async fn export(event: Export, connection: &mut PgConnection) -> HookResult<Value> {
    let events: Vec<(String, String)> = sqlx::query_as(
        "SELECT title, to_json(starts_at) #>> '{}' FROM guests JOIN club_events ON id = event_id
         WHERE user_id = $1 ORDER BY starts_at",
    )
    .bind(event.user)
    .fetch_all(connection)
    .await?;
    let shown = |(title, starts_at)| json!({ "title": title, "starts_at": starts_at });
    Ok(events.into_iter().map(shown).collect())
}
