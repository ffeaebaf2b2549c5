//! Mails to the guests of the events of tomorrow.

use frontdesk::{BoxError, Error, JobContext, Mailer};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

/// A run that is interrupted goes on at the next: a guest is marked in the transaction that queues the mail.
pub async fn send(job: JobContext) -> Result<(), BoxError> {
    loop {
        let mailer = job.mailer().clone();
        let reminded =
            job.pool().transaction(move |connection| Box::pin(remind_one(connection, mailer)));
        if !reminded.await? {
            return Ok(());
        }
    }
}

/// Returns whether there was a guest to remind. A guest whose email is not verified gets no mail.
async fn remind_one(connection: &mut PgConnection, mailer: Mailer) -> Result<bool, Error> {
    let guest: Option<(i64, Uuid, String, String)> = sqlx::query_as(
        "SELECT event_id, user_id, title, place
         FROM guests JOIN club_events ON club_events.id = event_id JOIN user_profiles ON user_profiles.id = user_id
         WHERE starts_at BETWEEN now() AND now() + interval '2 days' AND reminded_at IS NULL
             AND email_verified_at IS NOT NULL
         LIMIT 1 FOR UPDATE OF guests SKIP LOCKED",
    )
    .fetch_optional(&mut *connection)
    .await?;
    let Some((event, user, title, place)) = guest else { return Ok(false) };
    sqlx::query("UPDATE guests SET reminded_at = now() WHERE event_id = $1 AND user_id = $2")
        .bind(event)
        .bind(user)
        .execute(&mut *connection)
        .await?;
    let data = json!({ "event": { "id": event, "title": title, "place": place } });
    // Whatever becomes of it: a guest who has had too much mail is not reminded later either.
    mailer.enqueue(connection, user, "reminder", &data).await?;
    Ok(true)
}
