//! The queries of an export: one page of each list, after a position.

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::id::{SessionId, UserId};
use crate::session::Requester;

/// Rows of a page: few enough that encoding them does not delay other requests of the worker.
pub(super) const PAGE_SIZE: i64 = 250;

/// The last row of the previous page of a list.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// `None`: before the first row.
    pub(super) at: Option<OffsetDateTime>,
    /// Orders rows with the same time.
    pub(super) key: String,
}

/// A row of a list.
pub(super) struct Row {
    pub(super) at: OffsetDateTime,
    pub(super) key: String,
    pub(super) data: Value,
}

/// A list of the export.
#[derive(Clone, Copy)]
pub(super) enum List {
    Events,
    Groups,
    Links,
    Mails,
    Sessions,
    Waiting,
}

impl List {
    /// In the order of the file, with the name of each and the smallest key of its rows.
    pub(super) const ALL: [(Self, &str, &str); 6] = [
        (Self::Events, "events", "-9223372036854775808"),
        (Self::Groups, "groups", ""),
        (Self::Links, "mailed_links", ""),
        (Self::Mails, "mails", "00000000-0000-0000-0000-000000000000"),
        (Self::Sessions, "sessions", "00000000-0000-0000-0000-000000000000"),
        (Self::Waiting, "waiting", ""),
    ];
}

impl Position {
    pub(super) fn before(list: usize) -> Self {
        let key = List::ALL.get(list).map_or("", |(_, _, key)| key);
        Self { at: None, key: key.to_owned() }
    }
}

pub(super) async fn page(
    connection: &mut PgConnection,
    list: List,
    requester: &Requester,
    emails: &Emails,
    after: Position,
) -> sqlx::Result<Vec<Row>> {
    let user = requester.user;
    match list {
        List::Events => events(connection, user, after).await,
        List::Groups => groups(connection, user, after).await,
        List::Links => links(connection, user, after).await,
        List::Mails => mails(connection, user, emails, after).await,
        List::Sessions => sessions(connection, user, requester.session, after).await,
        List::Waiting => waiting(connection, &emails.canonical, after).await,
    }
}

pub(super) struct Account {
    pub(super) emails: Emails,
    pub(super) now: OffsetDateTime,
    pub(super) account: Value,
}

#[derive(Clone)]
pub(super) struct Emails {
    as_typed: String,
    canonical: String,
}

pub(super) async fn account(
    connection: &mut PgConnection,
    user: UserId,
) -> sqlx::Result<Option<Account>> {
    let found = sqlx::query!(
        r#"
        SELECT email,
               email_canonical,
               now() AS "now!",
               jsonb_build_object(
                   'id', id,
                   'email', email,
                   'email_verified_at', email_verified_at,
                   'display_name', display_name,
                   'role', role,
                   'created_at', created_at,
                   'has_password', password_hash IS NOT NULL,
                   'password_changed_at', password_changed_at,
                   'disabled_at', disabled_at,
                   'deletion_due_at', deletion_due_at) AS "account!"
          FROM users
         WHERE id = $1
        "#,
        user as UserId,
    )
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|found| Account {
        emails: Emails { as_typed: found.email, canonical: found.email_canonical },
        now: found.now,
        account: found.account,
    }))
}

async fn sessions(
    connection: &mut PgConnection,
    user: UserId,
    current: SessionId,
    after: Position,
) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"
        SELECT created_at AS at,
               id::text AS "key!",
               jsonb_build_object(
                   'id', id,
                   'is_this_one', id = $2,
                   'signed_in_at', created_at,
                   'proved_at', authenticated_at,
                   'methods', auth_methods,
                   'last_seen_at', last_seen_at,
                   'last_seen_ip_address', host(last_seen_ip_address),
                   'expires_at', expires_at,
                   'ends_at_last', absolute_expires_at,
                   'remembered', remembered,
                   'ip_address', host(ip_address),
                   'browser', user_agent,
                   'state', state) AS "data!"
          FROM sessions
         WHERE user_id = $1
           AND (created_at, id) > (COALESCE($3::timestamptz, '-infinity'), $4::text::uuid)
         ORDER BY created_at, id
         LIMIT $5
        "#,
        user as UserId,
        current as SessionId,
        after.at,
        after.key,
        PAGE_SIZE,
    )
    .fetch_all(connection)
    .await
}

async fn events(
    connection: &mut PgConnection,
    user: UserId,
    after: Position,
) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"
        SELECT occurred_at AS at,
               id::text AS "key!",
               jsonb_build_object(
                   'at', occurred_at,
                   'event', event,
                   'by', actor,
                   'session', session_id,
                   'ip_address', host(ip_address),
                   'browser', user_agent,
                   'request', request_id,
                   'details', details - 'operator') AS "data!"
          FROM audit_events
         WHERE user_id = $1
           AND (occurred_at, id) > (COALESCE($2::timestamptz, '-infinity'), $3::text::bigint)
         ORDER BY occurred_at, id
         LIMIT $4
        "#,
        user as UserId,
        after.at,
        after.key,
        PAGE_SIZE,
    )
    .fetch_all(connection)
    .await
}

async fn groups(
    connection: &mut PgConnection,
    user: UserId,
    after: Position,
) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"
        SELECT m.added_at AS at,
               g.name AS "key!",
               jsonb_build_object('name', g.name, 'title', g.title, 'added_at', m.added_at) AS "data!"
          FROM group_members m
          JOIN groups g ON g.id = m.group_id
         WHERE m.user_id = $1
           AND (m.added_at, g.name) > (COALESCE($2::timestamptz, '-infinity'), $3)
         ORDER BY m.added_at, g.name
         LIMIT $4
        "#,
        user as UserId,
        after.at,
        after.key,
        PAGE_SIZE,
    )
    .fetch_all(connection)
    .await
}

async fn mails(
    connection: &mut PgConnection,
    user: UserId,
    emails: &Emails,
    after: Position,
) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"
        SELECT created_at AS at,
               id::text AS "key!",
               jsonb_build_object(
                   'kind', kind,
                   'to', recipient,
                   'state', state,
                   'written_at', created_at,
                   'finished_at', finished_at) AS "data!"
          FROM mail_outbox
         WHERE (user_id = $1
                OR recipient_canonical = $2
                OR (recipient_canonical IS NULL AND lower(recipient) = lower($3)))
           AND (created_at, id) > (COALESCE($4::timestamptz, '-infinity'), $5::text::uuid)
         ORDER BY created_at, id
         LIMIT $6
        "#,
        user as UserId,
        emails.canonical,
        emails.as_typed,
        after.at,
        after.key,
        PAGE_SIZE,
    )
    .fetch_all(connection)
    .await
}

/// The digest of a link only orders the rows; it is not written to the file.
async fn links(
    connection: &mut PgConnection,
    user: UserId,
    after: Position,
) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"
        SELECT created_at AS at,
               encode(token_digest, 'hex') AS "key!",
               jsonb_build_object(
                   'purpose', purpose,
                   'email', email,
                   'mailed_at', created_at,
                   'expires_at', expires_at) AS "data!"
          FROM email_tokens
         WHERE user_id = $1
           AND (created_at, token_digest) > (COALESCE($2::timestamptz, '-infinity'), decode($3, 'hex'))
         ORDER BY created_at, token_digest
         LIMIT $4
        "#,
        user as UserId,
        after.at,
        after.key,
        PAGE_SIZE,
    )
    .fetch_all(connection)
    .await
}

/// Pending registrations and password-reset requests for the email. Another person may have created them, so
/// only their kind and time are included.
async fn waiting(
    connection: &mut PgConnection,
    email_canonical: &str,
    after: Position,
) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as!(
        Row,
        r#"
        SELECT at AS "at!",
               key AS "key!",
               jsonb_build_object('kind', kind, 'at', at) AS "data!"
          FROM (SELECT 'registration with this address' AS kind, created_at AS at, id::text AS key
                  FROM registrations
                 WHERE email_canonical = $1
                 UNION ALL
                SELECT 'request for a new password', created_at, id::text
                  FROM recovery_requests
                 WHERE email_canonical = $1) AS both_kinds
         WHERE (at, key) > (COALESCE($2::timestamptz, '-infinity'), $3)
         ORDER BY at, key
         LIMIT $4
        "#,
        email_canonical,
        after.at,
        after.key,
        PAGE_SIZE,
    )
    .fetch_all(connection)
    .await
}
