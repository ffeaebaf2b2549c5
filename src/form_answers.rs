//! The table `form_answers`: for some seconds, what the first arrival of a form was answered, so that the
//! second one (a double click, a reload) gets the same answer, on whichever server. If it has other fields than
//! the first, the user wants something else, and it is processed. A row is found and opened
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

/// A form with certain fields, sent to a certain address.
pub struct SentForm {
    /// Of the form and the address: the row.
    digest: Digest,
    sealer: Sealer,
    /// A digest of the fields. It is sealed with the answer.
    fields: [u8; 32],
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
    /// `secret`: of the form. `target`: path and query. `fields`: their digest.
    pub fn new(secret: &Secret, target: &str, fields: [u8; 32]) -> Self {
        let secret = secret.derive(&format!("sent form:{target}"));
        let key = SecretText::new(secret.derive("answer").reveal());
        Self { digest: secret.digest(), sealer: Sealer::new(&[key]), fields }
    }
}

/// Claims `form` if no other arrival has, in one statement. If the form was answered with other fields, another
/// statement claims it.
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
    if found.is_first {
        return Ok(Arrival::First);
    }
    let Some(sealed) = found.sealed_answer else { return Ok(Arrival::Running) };
    let opened = form.sealer.open(PURPOSE, &sealed).unwrap_or_default();
    match opened.strip_prefix(&form.fields) {
        Some(answer) => Ok(Arrival::Answered(answer.to_vec())),
        None => claim_answered(pool, form, &sealed).await,
    }
}

/// Claims a form that was answered with other fields. `sealed_answer`: the answer, which no longer counts.
async fn claim_answered(
    pool: &PgPool,
    form: &SentForm,
    sealed_answer: &[u8],
) -> sqlx::Result<Arrival> {
    let claimed = sqlx::query!(
        r#"
        UPDATE form_answers
           SET sealed_answer = NULL,
               expires_at = clock_timestamp() + interval '10 seconds'
         WHERE form_digest = $1
           AND sealed_answer = $2
        "#,
        form.digest.as_bytes(),
        sealed_answer,
    )
    .execute(db::on(pool))
    .await?;
    // Otherwise another arrival has claimed it meanwhile.
    Ok(if claimed.rows_affected() == 1 { Arrival::First } else { Arrival::Running })
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
        form.sealer.seal(PURPOSE, &[&form.fields, answer].concat()),
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
