//! The table `form_answers`: for some seconds, what the first arrival of a form was answered, so that the
//! second one (a double click, a reload) gets the same answer, on whichever server. A row is found and opened
//! only with the secret in the form's hidden field: the table contains a digest, and the answer is sealed with
//! a key derived from that secret. No key of the site can open it.

use sqlx::{PgConnection, PgPool};

use crate::crypto::seal::Sealer;
use crate::crypto::secret::{Digest, Secret, SecretText};
use crate::db;

/// In bytes. A redirect with its cookies has about 1,000.
const MAX_LENGTH: usize = 8 * 1024;
/// The purpose that the sealed answer is bound to.
const PURPOSE: &str = "form answer";

/// A form with certain fields, sent to a certain address. The same form with other fields is another form.
pub struct SentForm {
    digest: Digest,
    sealer: Sealer,
}

/// What is known of a form that arrives.
#[derive(Debug)]
pub enum Arrival {
    /// It is the first one: it has to be processed, and then [`keep`] or [`release`] is called. If neither
    /// happens, another arrival is the first one after ten seconds.
    First,
    /// The first one is being processed.
    Running,
    /// The first one was answered with this.
    Answered(Vec<u8>),
}

impl SentForm {
    /// `secret`: of the form. `target`: path and query. `body`: a digest of the fields.
    pub fn new(secret: &Secret, target: &str, body: &[u8; 32]) -> Self {
        let secret = secret.derive(&format!("sent form:{}:{target}", hex::encode(body)));
        let key = SecretText::new(secret.derive("answer").reveal());
        Self { digest: secret.digest(), sealer: Sealer::new(&[key]) }
    }
}

/// Claims `form` if no other arrival has, in one statement.
pub async fn arrive(pool: &PgPool, form: &SentForm) -> sqlx::Result<Arrival> {
    let found = sqlx::query!(
        r#"
        WITH claimed AS (
             INSERT INTO form_answers AS f (form_digest, expires_at)
             VALUES ($1, clock_timestamp() + interval '10 seconds')
             ON CONFLICT (form_digest) DO UPDATE
                SET sealed_answer = NULL,
                    expires_at = excluded.expires_at
              WHERE f.expires_at <= clock_timestamp()
             RETURNING form_digest)
        SELECT EXISTS (SELECT FROM claimed) AS "is_first!",
               (SELECT sealed_answer FROM form_answers WHERE form_digest = $1) AS sealed_answer
        "#,
        form.digest.as_bytes(),
    )
    .fetch_one(db::on(pool))
    .await?;
    let answer = found.sealed_answer.and_then(|sealed| form.sealer.open(PURPOSE, &sealed));
    Ok(match (found.is_first, answer) {
        (true, _) => Arrival::First,
        (false, Some(answer)) => Arrival::Answered(answer),
        (false, None) => Arrival::Running,
    })
}

/// Keeps `answer` for the next arrivals, for 30 seconds. An answer that is too long is not kept.
pub async fn keep(pool: &PgPool, form: &SentForm, answer: &[u8]) -> sqlx::Result<()> {
    if answer.len() > MAX_LENGTH {
        return release(pool, form).await;
    }
    sqlx::query!(
        r#"
        UPDATE form_answers
           SET sealed_answer = $2,
               expires_at = clock_timestamp() + interval '30 seconds'
         WHERE form_digest = $1
        "#,
        form.digest.as_bytes(),
        form.sealer.seal(PURPOSE, answer),
    )
    .execute(db::on(pool))
    .await?;
    Ok(())
}

/// Forgets that `form` has arrived: the next arrival is processed too.
pub async fn release(pool: &PgPool, form: &SentForm) -> sqlx::Result<()> {
    sqlx::query!("DELETE FROM form_answers WHERE form_digest = $1", form.digest.as_bytes())
        .execute(db::on(pool))
        .await?;
    Ok(())
}

/// Deletes up to `limit` expired rows, in the caller's transaction, and returns how many.
pub async fn purge(connection: &mut PgConnection, limit: i64) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM form_answers
         WHERE form_digest IN (
               SELECT form_digest
                 FROM form_answers
                WHERE expires_at <= now()
                ORDER BY expires_at
                LIMIT $1
                  FOR UPDATE SKIP LOCKED)
           AND expires_at <= now()
        "#,
        limit,
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}
