//! Inserts into `mail_outbox`: the only place that decides whether a message is sent to a recipient. Owns the
//! table `mail_limits`. The decision is made in the caller's transaction and locks the limits of the recipient
//! until its end, so that concurrent transactions on any number of servers stay within them. It never fails
//! because of a limit.

use std::time::Duration;

use sqlx::PgConnection;
use uuid::Uuid;

use crate::crypto::seal::Sealer;
use crate::id::UserId;
use crate::mail::Message;
use crate::mail::address::EmailAddress;
use crate::mail::outbox;
use crate::mail::rules::{
    ALL_TOPICS, Limit, OVERALL, OverLimit, Rule, ToUnverified, UNVERIFIED, UNVERIFIED_TOPIC,
};

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enqueued {
    /// It is in the outbox: due now, or held back by the limit of its topic.
    Queued,
    /// It replaced the message of a mail that is held back, which now stands for one more.
    Combined,
    /// It is not sent: the recipient has got enough mail of this kind.
    OverLimit,
    /// It is not sent: the account has not verified the email, which may belong to a stranger.
    Unverified,
    /// As [`Self::Unverified`], but counted as if it were sent: the user who caused it must see no difference.
    Withheld,
}

impl Enqueued {
    /// Whether the recipient gets the message, as far as the user who caused it may know.
    pub fn is_sent(self) -> bool {
        matches!(self, Self::Queued | Self::Combined | Self::Withheld)
    }
}

/// Inserts `message` in the caller's transaction, if the rule of the message (`mail/rules.rs`) allows it. `user` is
/// the account that it is about; [`outbox::delete_for_user`] deletes the mail with that account. `recipient`
/// is a stored email. If no account has it, the caller has made sure that it was verified.
///
/// Lock order: the account of the recipient (`FOR KEY SHARE`), then its limits, then the mail. Call it after
/// the locks on sessions.
pub async fn enqueue(
    connection: &mut PgConnection,
    sealer: &Sealer,
    user: Option<UserId>,
    recipient: &str,
    message: &Message,
) -> sqlx::Result<Enqueued> {
    let rule = message.rule();
    let email = EmailAddress::stored(recipient);
    let canonical = email.canonical();
    let digest = recipient_digest(sealer, &email, &rule);
    // For a text that is no email the look-up may miss the account, whose email then counts as unverified.
    let is_verified_without_account =
        user.is_none() || EmailAddress::parse_existing(recipient).is_ok();
    let limits =
        lock_limits(connection, &digest, &email, is_verified_without_account, &rule).await?;
    if !limits.is_verified && rule.to_unverified == ToUnverified::Refuse {
        return Ok(Enqueued::Unverified);
    }
    let wait = limits.wait(&rule);
    if !wait.is_zero() && rule.over_limit == OverLimit::Drop {
        tracing::info!(
            kind = message.kind(),
            "a mail is not sent: its recipient got enough of this kind"
        );
        return Ok(Enqueued::OverLimit);
    }
    let is_withheld = !limits.is_verified && rule.to_unverified == ToUnverified::Withhold;
    let message = if limits.is_verified { message.clone() } else { message.without_name() };
    let plain = serde_json::to_vec(&message).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let mail = NewMail { user, recipient, canonical, kind: message.kind(), plain };
    if !wait.is_zero()
        && let Some(held) = limits.held_mail
        && combine(connection, sealer, held, &mail, &rule).await?
    {
        return Ok(Enqueued::Combined);
    }
    insert(connection, sealer, &mail, &digest, &rule, wait, is_withheld).await?;
    Ok(if is_withheld { Enqueued::Withheld } else { Enqueued::Queued })
}

/// Deletes up to `at_most` rows of limits that are available in full, in the caller's transaction, without the
/// first `skipped` ones. Those further ahead than any limit were written before PostgreSQL's clock was set back.
pub async fn purge_limits(
    connection: &mut PgConnection,
    at_most: i64,
    skipped: i64,
) -> sqlx::Result<u64> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM mail_limits
         WHERE (recipient_digest, topic) IN (
               SELECT recipient_digest, topic
                 FROM mail_limits
                WHERE full_at <= now()
                   OR full_at > now() + interval '2 days'
                ORDER BY full_at
                LIMIT $1 OFFSET $2
                  FOR UPDATE SKIP LOCKED)
           AND (full_at <= now() OR full_at > now() + interval '2 days')
        "#,
        at_most,
        skipped,
    )
    .execute(connection)
    .await?;
    Ok(deleted.rows_affected())
}

/// The recipient in `mail_limits`. Servers whose first key differs, during a key rotation, share the limits. Mail that
/// anyone can cause is counted without the plus tag: otherwise each tag would give the mailbox a limit of its own.
/// Notices go to verified emails only and are combined with each other, so they are counted by the exact email.
fn recipient_digest(sealer: &Sealer, email: &EmailAddress, rule: &Rule) -> [u8; 32] {
    let recipient = match rule.to_unverified {
        ToUnverified::Send | ToUnverified::Withhold => email.without_tag(),
        ToUnverified::Refuse => email.canonical().to_owned(),
    };
    sealer.keyed_hash("mail_limits").digest(&[recipient.as_bytes()])
}

/// The limits of a recipient, locked until the end of the transaction.
struct Limits {
    /// `false`: an account has the email and has not verified it.
    is_verified: bool,
    /// The time until the limit of the topic is available in full, in seconds.
    topic_seconds: f64,
    /// The same for the limit over all topics.
    overall_seconds: f64,
    /// The same for the limit of an unverified recipient.
    unverified_seconds: f64,
    /// The mail of the topic that may still be held back.
    held_mail: Option<Uuid>,
}

impl Limits {
    /// The time until the limits allow one more mail. Zero if they allow it now.
    fn wait(&self, rule: &Rule) -> Duration {
        let of = |seconds: f64, limit: Limit| {
            seconds - limit.interval.as_secs_f64() * f64::from(limit.burst - 1)
        };
        let topic = of(self.topic_seconds, rule.limit);
        let overall = of(self.overall_seconds, OVERALL);
        let unverified = of(self.unverified_seconds, UNVERIFIED);
        let overall = if rule.ignores_overall { unverified } else { overall.max(unverified) };
        let seconds = topic.max(overall);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}

/// The limits that apply to `rule`, with their topics. The last one is for unverified recipients.
fn limits_of(rule: &Rule) -> [(&'static str, Limit); 3] {
    [(ALL_TOPICS, OVERALL), (rule.topic, rule.limit), (UNVERIFIED_TOPIC, UNVERIFIED)]
}

/// Locks the limits in the order of their topics, and inserts those that do not exist. An unverified recipient
/// of a message for verified ones has none. A time that is further ahead than the limit allows was written
/// before PostgreSQL's clock was set back, and is corrected. Times are those of `clock_timestamp()`
/// after the locks: `now()` is the begin of the transaction, and a transaction that waited for a lock would see too
/// little of the limit.
async fn lock_limits(
    connection: &mut PgConnection,
    digest: &[u8; 32],
    email: &EmailAddress,
    is_verified_without_account: bool,
    rule: &Rule,
) -> sqlx::Result<Limits> {
    let capacity = |limit: Limit| f64::from(limit.burst) * limit.interval.as_secs_f64();
    let is_for_unverified = rule.to_unverified != ToUnverified::Refuse;
    let rows = sqlx::query!(
        r#"
        WITH account AS MATERIALIZED (
             SELECT email_verified_at IS NOT NULL AS is_verified
               FROM users
              WHERE email_canonical = $1
                FOR KEY SHARE),
             recipient AS MATERIALIZED (
             SELECT coalesce(bool_and(is_verified), $6) AS is_verified FROM account),
             locked AS (
             INSERT INTO mail_limits AS l (recipient_digest, topic, full_at)
             SELECT $2, t.topic, clock_timestamp()
               FROM recipient r
              CROSS JOIN unnest($3::text[]) AS t (topic)
              WHERE CASE WHEN r.is_verified THEN t.topic <> $7 ELSE $5 END
              ORDER BY t.topic
                 ON CONFLICT (recipient_digest, topic) DO UPDATE
                SET full_at = least(l.full_at, clock_timestamp() + make_interval(
                        secs => ($4::float8[])[array_position($3, l.topic)]))
          RETURNING l.topic, l.full_at, l.held_mail)
        SELECT r.is_verified AS "is_verified!", l.topic AS "topic?",
               extract(epoch FROM l.full_at - clock_timestamp())::float8 AS "seconds?", l.held_mail AS "held_mail?"
          FROM recipient r
          LEFT JOIN locked l ON true
        "#,
        email.canonical(),
        &digest[..],
        &limits_of(rule).map(|(topic, _)| topic.to_owned()),
        &limits_of(rule).map(|(_, limit)| capacity(limit)),
        is_for_unverified,
        is_verified_without_account,
        UNVERIFIED_TOPIC,
    )
    .fetch_all(connection)
    .await?;
    let row = |topic: &str| rows.iter().find(|row| row.topic.as_deref() == Some(topic));
    let seconds = |topic: &str| row(topic).and_then(|row| row.seconds).unwrap_or_default();
    Ok(Limits {
        is_verified: rows.first().is_none_or(|row| row.is_verified),
        topic_seconds: seconds(rule.topic),
        overall_seconds: seconds(ALL_TOPICS),
        unverified_seconds: seconds(UNVERIFIED_TOPIC),
        held_mail: row(rule.topic).and_then(|row| row.held_mail),
    })
}

/// A message that is about to be sealed for a row.
struct NewMail<'a> {
    user: Option<UserId>,
    recipient: &'a str,
    canonical: &'a str,
    kind: &'a str,
    plain: Vec<u8>,
}

/// Replaces the message of the mail `held` if it still waits for its first attempt. `false` if it does not.
async fn combine(
    connection: &mut PgConnection,
    sealer: &Sealer,
    held: Uuid,
    mail: &NewMail<'_>,
    rule: &Rule,
) -> sqlx::Result<bool> {
    let updated = sqlx::query!(
        r#"
        UPDATE mail_outbox
           SET kind = $2,
               user_id = $3,
               recipient = $4,
               sealed = $5,
               sealed_with = $6,
               combined = combined + 1,
               not_after = greatest(not_after, next_attempt_at + make_interval(secs => $7))
         WHERE id = $1
           AND state = 'waiting'
           AND attempts = 0
           AND combined IS NOT NULL
        "#,
        held,
        mail.kind,
        mail.user as Option<UserId>,
        mail.recipient,
        sealer.seal(&outbox::purpose(held), &mail.plain),
        sealer.sealing_key_id(),
        rule.useful_for.as_secs_f64(),
    )
    .execute(connection)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// Counts the mail in the limits that [`lock_limits`] has locked, and inserts it, due after `wait`. A withheld mail is
/// only counted, by the same statement, so that it takes as long.
async fn insert(
    connection: &mut PgConnection,
    sealer: &Sealer,
    mail: &NewMail<'_>,
    digest: &[u8; 32],
    rule: &Rule,
    wait: Duration,
    is_withheld: bool,
) -> sqlx::Result<()> {
    let id = Uuid::now_v7();
    let is_held = !wait.is_zero();
    sqlx::query!(
        r#"
          WITH counted AS (
        UPDATE mail_limits AS l
           SET full_at = greatest(l.full_at, clock_timestamp()) + make_interval(
                   secs => ($3::float8[])[array_position($2::text[], l.topic)]),
               held_mail = CASE WHEN l.topic <> $4 THEN NULL WHEN $5 THEN $6 ELSE l.held_mail END
         WHERE l.recipient_digest = $1
           AND l.topic = ANY($2))
        INSERT INTO mail_outbox
               (id, kind, user_id, recipient, sealed, sealed_with, recipient_canonical, next_attempt_at,
                not_after, combined)
        SELECT $6, $7, $8, $9, $10, $11, $12, now() + make_interval(secs => $13),
               now() + make_interval(secs => $13 + $14), CASE WHEN $5 THEN 1 END
         WHERE NOT $15
        "#,
        &digest[..],
        &limits_of(rule).map(|(topic, _)| topic.to_owned()),
        &limits_of(rule).map(|(_, limit)| limit.interval.as_secs_f64()),
        rule.topic,
        is_held,
        id,
        mail.kind,
        mail.user as Option<UserId>,
        mail.recipient,
        sealer.seal(&outbox::purpose(id), &mail.plain),
        sealer.sealing_key_id(),
        mail.canonical,
        wait.as_secs_f64(),
        rule.useful_for.as_secs_f64(),
        is_withheld,
    )
    .execute(connection)
    .await?;
    Ok(())
}
