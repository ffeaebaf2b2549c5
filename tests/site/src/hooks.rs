//! Hooks that record each call, and then do what the table `hook_behavior` asks for.

use std::time::Duration;

use frontdesk::events::{
    Deleted, Deletion, EmailChanged, Export, PasswordChanged, Registered, SignedIn, SignedOut,
};
use frontdesk::sqlx::{self, PgConnection};
use frontdesk::{HookResult, Website};
use serde_json::{Value, json};

/// Records the call, and fails in the way that a test asks for.
async fn act(connection: &mut PgConnection, event: &str, email: &str) -> HookResult {
    let insert = sqlx::query("INSERT INTO hook_calls (event, email) VALUES ($1, $2)");
    insert.bind(event).bind(email).execute(&mut *connection).await?;
    behave(connection, event, email).await
}

async fn behave(connection: &mut PgConnection, event: &str, email: &str) -> HookResult {
    let select =
        "SELECT behavior FROM hook_behavior WHERE event = $1 AND coalesce(email = $2, true)";
    let select = sqlx::query_scalar(select).bind(event).bind(email);
    let behavior: Option<String> = select.fetch_optional(&mut *connection).await?;
    match behavior.as_deref() {
        Some("fail") => return Err("it was asked to fail".into()),
        Some("hang") => tokio::time::sleep(Duration::from_secs(600)).await,
        Some("slow") => tokio::time::sleep(Duration::from_millis(1800)).await,
        Some("pg_sleep") => {
            sqlx::query("SELECT pg_sleep(600)").execute(connection).await?;
        }
        Some("panic") => panic!("it was asked to panic"),
        Some("ignore") => {
            sqlx::query("SELECT 1/0").execute(connection).await.ok();
        }
        Some("rollback") => {
            sqlx::query("ROLLBACK").execute(connection).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn registered(event: Registered, connection: &mut PgConnection) -> HookResult {
    // Finds the table of the site, although Frontdesk has one of the same name.
    sqlx::query("INSERT INTO sessions (id) VALUES (1) ON CONFLICT DO NOTHING")
        .execute(&mut *connection)
        .await?;
    let name = format!("registered {:?} {} {}", event.by, event.display_name, event.language);
    sqlx::query(
        "INSERT INTO hook_calls (id, event, email) SELECT id, $2, $3 FROM users WHERE id = $1",
    )
    .bind(event.user)
    .bind(name)
    .bind(&event.email)
    .execute(&mut *connection)
    .await?;
    behave(connection, "registered", &event.email).await
}

async fn registered_next(event: Registered, connection: &mut PgConnection) -> HookResult {
    act(connection, "registered_next", &event.email).await
}

async fn registered_last(event: Registered, connection: &mut PgConnection) -> HookResult {
    act(connection, "registered_last", &event.email).await
}

async fn email_changed(event: EmailChanged, connection: &mut PgConnection) -> HookResult {
    let emails = format!("{} {}", event.old_email, event.new_email);
    act(connection, "email_changed", &emails).await
}

async fn deletion(event: Deletion, connection: &mut PgConnection) -> HookResult {
    act(connection, "deletion", &event.email).await
}

async fn export(event: Export, connection: &mut PgConnection) -> HookResult<Value> {
    act(connection, "export", &event.user.to_string()).await?;
    let huge = "SELECT count(*) FROM hook_behavior WHERE event = 'export' AND behavior = 'huge'";
    let huge: i64 = sqlx::query_scalar(huge).fetch_one(connection).await?;
    let text = "x".repeat(huge as usize * 17 * 1024 * 1024);
    Ok(json!({ "text": text, "lines": ["one\ntwo"] }))
}

/// Records an event after the commit, and then fails if a test asks for it.
macro_rules! after {
    ($($name:ident $event:ident)*) => {$(
        async fn $name(event: $event, connection: &mut PgConnection) -> HookResult {
            sqlx::query("INSERT INTO hook_calls (id, event, email) VALUES ($1, $2, $3)")
                .bind(event.id)
                .bind(concat!(stringify!($name), " done"))
                .bind(format!("{} {:?} {:?}", event.email, event.ip_address, event.device))
                .execute(&mut *connection)
                .await?;
            behave(connection, stringify!($name), &event.email).await
        }
    )*};
}

after! {
    signed_in SignedIn
    signed_out SignedOut
    password_changed PasswordChanged
    deleted Deleted
}

pub fn add(website: Website) -> Website {
    let website = website
        .on_registered(registered)
        .on_registered(registered_next)
        .on_registered(registered_last)
        .on_email_changed(email_changed)
        .on_deletion(deletion)
        .on_export("shop", export)
        .after_sign_in(signed_in)
        .after_sign_out(signed_out)
        .after_password_changed(password_changed)
        .after_deletion(deleted);
    if std::env::var_os("SITE_BROKEN").is_none() {
        return website;
    }
    website.on_registered(registered).on_export("shop", export).after_sign_in(signed_in)
}
