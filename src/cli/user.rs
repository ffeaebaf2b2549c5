//! `frontdesk user`: accounts, by the same rules as the pages.

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::arguments::{User as Action, Who};
use super::{Ending, out, people, prompt};
use crate::app::hash_parameters;
use crate::audit::Origin;
use crate::config::Config;
use crate::db::Database;
use crate::id::UserId;
use crate::kit::ago;
use crate::seal::Sealer;
use crate::session::{list, settle};
use crate::user::User;
use crate::user::deletion;
use crate::user::display_name::DisplayName;
use crate::user::email_address::EmailAddress;
use crate::user::hasher::{Hasher, PasswordHash};
use crate::user::password::{PasswordContext, PasswordPolicy};
use crate::user::record::{self, Inserted, Role};
use crate::user::set_password::set_by_operator;
use crate::user::throttle;

pub(super) async fn run(
    config: &Config,
    database: &Database,
    action: Action,
) -> anyhow::Result<Ending> {
    let pool = &database.pool;
    match action {
        Action::Create { email, name, admin } => {
            let address = EmailAddress::parse(&email)?;
            let display_name = DisplayName::parse(&name)?;
            let hash = ask_password(config, &email, &name).await?;
            let role = if admin { Role::Admin } else { Role::User };
            let made =
                record::insert(pool, address, display_name, role, hash, Origin::operator()).await?;
            match made {
                Inserted::Done(user) => out::line(&format!("Created {email} ({}).", user.id())),
                Inserted::EmailTaken => {
                    anyhow::bail!("an account with the email {email} already exists")
                }
            }
            Ok(Ending::Done)
        }
        Action::List { limit, json } => {
            let users = record::list(pool, limit).await?;
            if json {
                out::json(&users.iter().map(data).collect::<Vec<_>>())?;
                return Ok(Ending::Done);
            }
            let now = OffsetDateTime::now_utc();
            let rows: Vec<[String; 5]> = users
                .iter()
                .map(|user| {
                    [
                        user.email.clone(),
                        user.display_name.clone(),
                        user.role.clone(),
                        state(user).to_owned(),
                        ago::relative(user.created_at, now),
                    ]
                })
                .collect();
            out::table(["EMAIL", "NAME", "ROLE", "STATE", "CREATED"], &rows);
            Ok(Ending::Done)
        }
        Action::Show { who, json } => {
            let Some(user) = find(database, &who).await? else { return Ok(Ending::NothingFound) };
            let sessions = list::count_for_user(pool, user.id()).await?;
            if json {
                let mut shown = data(&user);
                shown["sessions"] = json!(sessions);
                out::json(&shown)?;
                return Ok(Ending::Done);
            }
            let changed = user.password_changed_at.map_or_else(|| "never".to_owned(), ago::exact);
            for (label, value) in [
                ("ID", user.id.to_string()),
                ("Email", user.email.clone()),
                ("Name", user.display_name.clone()),
                ("Role", user.role.clone()),
                ("State", state(&user).to_owned()),
                ("Created", ago::exact(user.created_at)),
                ("Password", format!("changed {changed}")),
                ("Sessions", sessions.to_string()),
            ] {
                out::line(&format!("{label:<10}{value}"));
            }
            Ok(Ending::Done)
        }
        Action::Delete { who, yes } => {
            let Some(user) = find(database, &who).await? else { return Ok(Ending::NothingFound) };
            let question = format!("This permanently deletes the account {}.", user.email);
            if !yes && !prompt::is_sure(&question) {
                out::problem("Aborted. Use --yes to skip the confirmation.");
                return Ok(Ending::WrongUse);
            }
            let sealer = Sealer::new(&config.secret_keys()?);
            let deleted =
                deletion::delete_now(pool, &sealer, user.id(), Origin::operator()).await?;
            settle(pool, None).await;
            let word = if deleted { "was deleted" } else { "was already deleted" };
            out::line(&format!("{} {word}.", user.email));
            Ok(if deleted { Ending::Done } else { Ending::NothingFound })
        }
        Action::Disable { who } => set_disabled(database, &who, true).await,
        Action::Enable { who } => set_disabled(database, &who, false).await,
        Action::SetPassword { who } => {
            let Some(user) = find(database, &who).await? else { return Ok(Ending::NothingFound) };
            let hash = ask_password(config, &user.email, &user.display_name).await?;
            let sealer = Sealer::new(&config.secret_keys()?);
            set_by_operator(pool, sealer, user.id(), hash, Origin::operator()).await?;
            settle(pool, None).await;
            out::line(&format!("{} has a new password and was signed out everywhere.", user.email));
            Ok(Ending::Done)
        }
        Action::Unlock { who } => {
            let Some(user) = find(database, &who).await? else { return Ok(Ending::NothingFound) };
            let forgotten = throttle::unlock(pool, &user, Origin::operator()).await?;
            let said = if forgotten > 0 { "is unlocked" } else { "was not locked" };
            out::line(&format!("{} {said}.", user.email));
            Ok(if forgotten > 0 { Ending::Done } else { Ending::NothingFound })
        }
        Action::Promote { who, demote } => {
            let Some(user) = find(database, &who).await? else { return Ok(Ending::NothingFound) };
            let role = if demote { Role::User } else { Role::Admin };
            let changed = record::set_role(pool, user.id(), role, Origin::operator()).await?;
            settle(pool, None).await;
            let said = match changed {
                true => format!("now has the role {} and was signed out everywhere", role.as_str()),
                false => format!("already had the role {}", role.as_str()),
            };
            out::line(&format!("{} {said}.", user.email));
            Ok(if changed { Ending::Done } else { Ending::NothingFound })
        }
        Action::Import(asked) => people::import(pool, asked).await,
        Action::Export(asked) => people::export(pool, asked).await,
    }
}

/// The account of an address or an id; says so when there is none.
pub(super) async fn find(database: &Database, who: &Who) -> anyhow::Result<Option<User>> {
    let pool = &database.pool;
    let user = match (who.who.parse::<UserId>(), EmailAddress::parse(&who.who)) {
        (Ok(id), _) => record::find(pool, id).await?,
        (_, Ok(email)) => record::find_by_email(pool, &email).await?,
        _ => None,
    };
    if user.is_none() {
        out::problem(&format!("No such account: {}", who.who));
    }
    Ok(user)
}

async fn set_disabled(database: &Database, who: &Who, disabled: bool) -> anyhow::Result<Ending> {
    let Some(user) = find(database, who).await? else { return Ok(Ending::NothingFound) };
    let changed =
        record::set_disabled(&database.pool, user.id(), disabled, Origin::operator()).await?;
    settle(&database.pool, None).await;
    let said = match (disabled, changed) {
        (true, true) => "is disabled and was signed out everywhere",
        (true, false) => "was already disabled",
        (false, true) => "is enabled and can sign in again",
        (false, false) => "was already enabled",
    };
    out::line(&format!("{} {said}.", user.email));
    Ok(if changed { Ending::Done } else { Ending::NothingFound })
}

async fn ask_password(config: &Config, email: &str, name: &str) -> anyhow::Result<PasswordHash> {
    let typed = prompt::new_password()?;
    let policy = PasswordPolicy { min_length: config.password_min_length };
    let context = PasswordContext { email, display_name: name, host: config.public_url.host() };
    let password = policy.check(&typed, &context)?;
    let hasher = Hasher::with_limits(hash_parameters(config)?, 1, 1);
    Ok(hasher.hash(&password).await?)
}

fn state(user: &User) -> &'static str {
    match (user.disabled_at, user.deletion_due_at) {
        (Some(_), _) => "disabled",
        (None, Some(_)) => "deletion scheduled",
        (None, None) => "enabled",
    }
}

/// Without the hash.
fn data(user: &User) -> Value {
    json!({
        "id": user.id,
        "email": user.email,
        "display_name": user.display_name,
        "role": user.role,
        "created_at": ago::iso(user.created_at),
        "password_changed_at": user.password_changed_at.map(ago::iso),
        "disabled_at": user.disabled_at.map(ago::iso),
        "deletion_due_at": user.deletion_due_at.map(ago::iso),
    })
}
