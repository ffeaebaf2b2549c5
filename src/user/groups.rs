//! Groups: named sets of users, for the access rules of a site. A change takes effect with the next request of the
//! users, because triggers make the servers forget their cached sessions; it ends no session. The role of a user is
//! not a group.

use std::fmt;
use std::str::FromStr;

use serde_json::json;
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;

use crate::audit::{self, Event, EventKind, Origin};
use crate::db;
use crate::id::{GroupId, UserId};

/// The longest title, in characters.
const MAX_TITLE: usize = 64;

/// The name of a group in commands and in the program of a site: 1 to 64 lower-case letters, digits and hyphens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupName(String);

impl GroupName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl FromStr for GroupName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_name(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err("not 1 to 64 lower-case letters (a to z), digits and hyphens")
        }
    }
}

/// Whether a group may have this name (`groups_name_form`).
pub const fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'-') {
            return false;
        }
        at += 1;
    }
    1 <= at && at <= 64
}

/// The name of a group for people.
#[derive(Clone, Debug)]
pub struct GroupTitle(String);

impl FromStr for GroupTitle {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if (1..=MAX_TITLE).contains(&text.chars().count()) && !text.contains(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err("not 1 to 64 characters without line breaks")
        }
    }
}

/// A row of `groups`.
#[derive(Clone, Debug)]
pub struct Group {
    /// The id of the group.
    pub id: GroupId,
    /// The name in commands and programs.
    pub name: String,
    /// The name for people.
    pub title: Option<String>,
    /// When the group was created.
    pub created_at: OffsetDateTime,
    /// The number of members.
    pub member_count: i64,
}

/// A member of a group.
#[derive(Debug)]
pub struct Member {
    /// The account.
    pub id: UserId,
    /// As typed.
    pub email: String,
    /// The name that pages show.
    pub display_name: String,
    /// When the account was added.
    pub added_at: OffsetDateTime,
}

/// The outcome of a change of a membership.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was changed.
    Done,
    /// The user already was, or was not, a member.
    Nothing,
    /// No group has this name.
    NoSuchGroup,
    /// The account was deleted meanwhile.
    NoSuchUser,
}

/// Creates a group. `None` if there is one with this name.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn create(
    pool: &PgPool,
    name: GroupName,
    title: Option<GroupTitle>,
    origin: Origin,
) -> sqlx::Result<Option<Group>> {
    db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            let created = sqlx::query_as!(
                Group,
                r#"
                INSERT INTO groups (id, name, title)
                VALUES ($1, $2, $3)
                    ON CONFLICT (name) DO NOTHING
                RETURNING id AS "id: GroupId", name, title, created_at, 0::bigint AS "member_count!"
                "#,
                GroupId::generate() as GroupId,
                name.as_str(),
                title.map(|title| title.0),
            )
            .fetch_optional(&mut *connection)
            .await?;
            if created.is_some() {
                record_group(connection, &name, "created", &origin).await?;
            }
            Ok(created)
        })
    })
    .await
}

/// Deletes a group with its memberships. `None` if there is none with this name; otherwise the number of members.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn remove(pool: &PgPool, name: GroupName, origin: Origin) -> sqlx::Result<Option<usize>> {
    db::long_transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            let group = sqlx::query_scalar!(
                r#"SELECT id AS "id: GroupId" FROM groups WHERE name = $1 FOR UPDATE"#,
                name.as_str(),
            )
            .fetch_optional(&mut *connection)
            .await?;
            let Some(group) = group else { return Ok(None) };
            let members = sqlx::query_scalar!(
                r#"DELETE FROM group_members WHERE group_id = $1 RETURNING user_id AS "user: UserId""#,
                group as GroupId,
            )
            .fetch_all(&mut *connection)
            .await?;
            sqlx::query!("DELETE FROM groups WHERE id = $1", group as GroupId)
                .execute(&mut *connection)
                .await?;
            let kind = EventKind::GroupMemberRemoved;
            let details = json!({ "group": name.as_str() });
            let users: Vec<_> = members.iter().map(|user| (*user, details.clone())).collect();
            audit::record_for_users(&mut *connection, kind, &users, &origin).await?;
            record_group(connection, &name, "removed", &origin).await?;
            Ok(Some(members.len()))
        })
    })
    .await
}

/// Adds a user to a group.
#[tracing::instrument(level = "debug", skip_all, fields(user = %user))]
pub async fn add_member(
    pool: &PgPool,
    name: GroupName,
    user: UserId,
    origin: Origin,
) -> sqlx::Result<Change> {
    change_member(pool, name, user, MemberChange::Added, origin).await
}

/// Removes a user from a group.
#[tracing::instrument(level = "debug", skip_all, fields(user = %user))]
pub async fn remove_member(
    pool: &PgPool,
    name: GroupName,
    user: UserId,
    origin: Origin,
) -> sqlx::Result<Change> {
    change_member(pool, name, user, MemberChange::Removed, origin).await
}

#[derive(Clone, Copy)]
enum MemberChange {
    Added,
    Removed,
}

/// Makes a user a member of a group, or no longer one, and records it.
async fn change_member(
    pool: &PgPool,
    name: GroupName,
    user: UserId,
    change: MemberChange,
    origin: Origin,
) -> sqlx::Result<Change> {
    db::transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            // Neither can be deleted until the end of the transaction.
            let user_exists = sqlx::query_scalar!(
                "SELECT id FROM users WHERE id = $1 FOR KEY SHARE",
                user as UserId,
            );
            if user_exists.fetch_optional(&mut *connection).await?.is_none() {
                return Ok(Change::NoSuchUser);
            }
            let Some(group) = lock(connection, &name).await? else {
                return Ok(Change::NoSuchGroup);
            };
            let changed = match change {
                MemberChange::Added => {
                    let insert = sqlx::query!(
                        "INSERT INTO group_members (group_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                        group as GroupId,
                        user as UserId,
                    );
                    insert.execute(&mut *connection).await?
                }
                MemberChange::Removed => {
                    let delete = sqlx::query!(
                        "DELETE FROM group_members WHERE group_id = $1 AND user_id = $2",
                        group as GroupId,
                        user as UserId,
                    );
                    delete.execute(&mut *connection).await?
                }
            };
            if changed.rows_affected() == 0 {
                return Ok(Change::Nothing);
            }
            record_member(connection, change, user, &name, &origin).await?;
            Ok(Change::Done)
        })
    })
    .await
}

/// Finds the group of a name.
pub async fn find(pool: &PgPool, name: &GroupName) -> sqlx::Result<Option<Group>> {
    let name = name.clone();
    // Counting the members of a large group takes longer than the usual limit of time.
    db::long_transaction::<_, sqlx::Error, _>(pool, move |connection| {
        Box::pin(async move {
            sqlx::query_as!(
                Group,
                r#"
                SELECT id AS "id: GroupId", name, title, created_at,
                       (SELECT count(*) FROM group_members WHERE group_id = g.id) AS "member_count!"
                  FROM groups g
                 WHERE name = $1
                "#,
                name.as_str(),
            )
            .fetch_optional(connection)
            .await
        })
    })
    .await
}

/// Lists all groups by their names.
pub async fn list(pool: &PgPool) -> sqlx::Result<Vec<Group>> {
    db::long_transaction::<_, sqlx::Error, _>(pool, |connection| {
        Box::pin(async move {
            sqlx::query_as!(
                Group,
                r#"
                SELECT id AS "id: GroupId", name, title, created_at,
                       (SELECT count(*) FROM group_members WHERE group_id = g.id) AS "member_count!"
                  FROM groups g
                 ORDER BY name COLLATE "C"
                "#,
            )
            .fetch_all(connection)
            .await
        })
    })
    .await
}

/// The names of all groups.
pub async fn names(pool: &PgPool) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!("SELECT name FROM groups").fetch_all(db::on(pool)).await
}

/// Lists members of a group in the order of their ids, starting after `after`.
pub async fn members(
    pool: &PgPool,
    group: GroupId,
    after: Option<UserId>,
    limit: i64,
) -> sqlx::Result<Vec<Member>> {
    sqlx::query_as!(
        Member,
        r#"
        SELECT u.id AS "id: UserId", u.email, u.display_name, m.added_at
          FROM group_members m
          JOIN users u ON u.id = m.user_id
         WHERE m.group_id = $1
           AND ($2::uuid IS NULL OR m.user_id > $2)
         ORDER BY m.user_id
         LIMIT $3
        "#,
        group as GroupId,
        after as Option<UserId>,
        limit,
    )
    .fetch_all(db::on(pool))
    .await
}

/// The names of the groups of a user.
pub async fn of_user(pool: &PgPool, user: UserId) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"
        SELECT g.name
          FROM group_members m
          JOIN groups g ON g.id = m.group_id
         WHERE m.user_id = $1
         ORDER BY g.name COLLATE "C"
        "#,
        user as UserId,
    )
    .fetch_all(db::on(pool))
    .await
}

/// The group of a name, which is not deleted until the end of the transaction.
async fn lock(connection: &mut PgConnection, name: &GroupName) -> sqlx::Result<Option<GroupId>> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: GroupId" FROM groups WHERE name = $1 FOR KEY SHARE"#,
        name.as_str(),
    )
    .fetch_optional(connection)
    .await
}

async fn record_group(
    connection: &mut PgConnection,
    name: &GroupName,
    change: &str,
    origin: &Origin,
) -> sqlx::Result<()> {
    let details = json!({ "group": name.as_str(), "change": change });
    let kind = EventKind::GroupChanged;
    audit::record(connection, Event { kind, user: None, session: None, origin, details }).await
}

async fn record_member(
    connection: &mut PgConnection,
    change: MemberChange,
    user: UserId,
    name: &GroupName,
    origin: &Origin,
) -> sqlx::Result<()> {
    let kind = match change {
        MemberChange::Added => EventKind::GroupMemberAdded,
        MemberChange::Removed => EventKind::GroupMemberRemoved,
    };
    let details = json!({ "group": name.as_str() });
    audit::record(connection, Event { kind, user: Some(user), session: None, origin, details })
        .await
}
