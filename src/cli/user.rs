//! `frontdesk user`: manages accounts, by the same rules as the pages.

use anyhow::bail;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::arguments::{AccountArgument, User as Action};
use super::exit::ExitStatus;
use super::{out, prompt, user_files};
use crate::app::hash_parameters;
use crate::audit::Origin;
use crate::config::Config;
use crate::crypto::seal::Sealer;
use crate::db::Database;
use crate::id::UserId;
use crate::role::Role;
use crate::session::{await_invalidation, list};
use crate::user::display_name::DisplayName;
use crate::user::email::address::EmailAddress;
use crate::user::password::change::set_by_operator;
use crate::user::password::hasher::{Hasher, PasswordHash};
use crate::user::password::policy::{PasswordContext, PasswordPolicy};
use crate::user::users::{self, InsertOutcome};
use crate::user::{User, deletion, rate_limit};
use crate::web::relative_time;

pub(super) async fn run(
    config: &Config,
    database: &Database,
    action: Action,
) -> anyhow::Result<ExitStatus> {
    match action {
        Action::Create { email, name, admin } => {
            create(config, database, &email, &name, role(admin)).await
        }
        Action::List { limit, json } => list(database, limit, json).await,
        Action::Show { account, json } => show(database, &account, json).await,
        Action::Disable { account } => set_disabled(database, &account, true).await,
        Action::Enable { account } => set_disabled(database, &account, false).await,
        Action::Delete { account, yes } => delete(config, database, &account, yes).await,
        Action::SetPassword { account } => set_password(config, database, &account).await,
        Action::Unlock { account } => unlock(database, &account).await,
        Action::Promote { account, demote } => set_role(database, &account, role(!demote)).await,
        Action::Import(arguments) => user_files::import(&database.pool, arguments).await,
        Action::Export(arguments) => user_files::export(&database.pool, arguments).await,
    }
}

/// Finds an account by email or id. Prints a message if there is none.
pub(super) async fn find(
    database: &Database,
    account: &AccountArgument,
) -> anyhow::Result<Option<User>> {
    let pool = &database.pool;
    let user = match (account.account.parse::<UserId>(), EmailAddress::parse(&account.account)) {
        (Ok(id), _) => users::find(pool, id).await?,
        (_, Ok(email)) => users::find_by_email(pool, &email).await?,
        _ => None,
    };
    if user.is_none() {
        out::problem(&format!("No such account: {}", account.account));
    }
    Ok(user)
}

async fn create(
    config: &Config,
    database: &Database,
    email: &str,
    name: &str,
    role: Role,
) -> anyhow::Result<ExitStatus> {
    let address = EmailAddress::parse(email)?;
    let display_name = DisplayName::parse(name)?;
    let hash = prompt_new_password(config, email, name).await?;
    let inserted =
        users::insert(&database.pool, address, display_name, role, hash, Origin::operator())
            .await?;
    match inserted {
        InsertOutcome::Done(user) => out::line(&format!("Created {email} ({}).", user.id)),
        InsertOutcome::EmailTaken => bail!("an account with the email {email} already exists"),
    }
    Ok(ExitStatus::Done)
}

async fn list(database: &Database, limit: i64, json: bool) -> anyhow::Result<ExitStatus> {
    let users = users::list(&database.pool, limit).await?;
    if json {
        out::json(&users.iter().map(data).collect::<Vec<_>>())?;
        return Ok(ExitStatus::Done);
    }
    let now = OffsetDateTime::now_utc();
    let rows: Vec<[String; 5]> = users
        .iter()
        .map(|user| {
            [
                user.email.clone(),
                user.display_name.clone(),
                user.role.as_str().to_owned(),
                state(user).to_owned(),
                relative_time::relative(user.created_at, now),
            ]
        })
        .collect();
    out::table(["EMAIL", "NAME", "ROLE", "STATE", "CREATED"], &rows);
    Ok(ExitStatus::Done)
}

async fn show(
    database: &Database,
    account: &AccountArgument,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = find(database, account).await? else { return Ok(ExitStatus::NothingFound) };
    let sessions = list::count_for_user(&database.pool, user.id).await?;
    if json {
        let mut data = data(&user);
        data["sessions"] = json!(sessions);
        out::json(&data)?;
        return Ok(ExitStatus::Done);
    }
    let changed = user.password_changed_at.map_or_else(|| "never".to_owned(), relative_time::exact);
    for (label, value) in [
        ("ID", user.id.to_string()),
        ("Email", user.email.clone()),
        ("Name", user.display_name.clone()),
        ("Role", user.role.as_str().to_owned()),
        ("State", state(&user).to_owned()),
        ("Created", relative_time::exact(user.created_at)),
        ("Password", format!("changed {changed}")),
        ("Sessions", sessions.to_string()),
    ] {
        out::line(&format!("{label:<10}{value}"));
    }
    Ok(ExitStatus::Done)
}

async fn set_disabled(
    database: &Database,
    account: &AccountArgument,
    disabled: bool,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = find(database, account).await? else { return Ok(ExitStatus::NothingFound) };
    let changed =
        users::set_disabled(&database.pool, user.id, disabled, Origin::operator()).await?;
    await_invalidation(&database.pool, None).await;
    let result = match (disabled, changed) {
        (true, true) => "is disabled and was signed out everywhere",
        (true, false) => "was already disabled",
        (false, true) => "is enabled and can sign in again",
        (false, false) => "was already enabled",
    };
    out::line(&format!("{} {result}.", user.email));
    Ok(if changed { ExitStatus::Done } else { ExitStatus::NothingFound })
}

async fn delete(
    config: &Config,
    database: &Database,
    account: &AccountArgument,
    yes: bool,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = find(database, account).await? else { return Ok(ExitStatus::NothingFound) };
    let question = format!("This permanently deletes the account {}.", user.email);
    if !yes && !prompt::confirm(&question) {
        out::problem("Aborted. Use --yes to skip the confirmation.");
        return Ok(ExitStatus::InvalidUsage);
    }
    let pool = &database.pool;
    let sealer = Sealer::new(config.secret_keys()?.as_slice());
    let deleted = deletion::delete_now(pool, &sealer, user.id, Origin::operator()).await?;
    await_invalidation(pool, None).await;
    let result = if deleted { "was deleted" } else { "was already deleted" };
    out::line(&format!("{} {result}.", user.email));
    Ok(if deleted { ExitStatus::Done } else { ExitStatus::NothingFound })
}

async fn set_password(
    config: &Config,
    database: &Database,
    account: &AccountArgument,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = find(database, account).await? else { return Ok(ExitStatus::NothingFound) };
    let hash = prompt_new_password(config, &user.email, &user.display_name).await?;
    let sealer = Sealer::new(config.secret_keys()?.as_slice());
    set_by_operator(&database.pool, sealer, user.id, hash, Origin::operator()).await?;
    await_invalidation(&database.pool, None).await;
    out::line(&format!("{} has a new password and was signed out everywhere.", user.email));
    Ok(ExitStatus::Done)
}

async fn unlock(database: &Database, account: &AccountArgument) -> anyhow::Result<ExitStatus> {
    let Some(user) = find(database, account).await? else { return Ok(ExitStatus::NothingFound) };
    let cleared = rate_limit::unlock(&database.pool, &user, Origin::operator()).await?;
    let result = if cleared > 0 { "is unlocked" } else { "was not locked" };
    out::line(&format!("{} {result}.", user.email));
    Ok(if cleared > 0 { ExitStatus::Done } else { ExitStatus::NothingFound })
}

async fn set_role(
    database: &Database,
    account: &AccountArgument,
    role: Role,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = find(database, account).await? else { return Ok(ExitStatus::NothingFound) };
    let changed = users::set_role(&database.pool, user.id, role, Origin::operator()).await?;
    await_invalidation(&database.pool, None).await;
    let role = role.as_str();
    out::line(&match changed {
        true => format!("{} now has the role {role} and was signed out everywhere.", user.email),
        false => format!("{} already had the role {role}.", user.email),
    });
    Ok(if changed { ExitStatus::Done } else { ExitStatus::NothingFound })
}

/// Prompts for a new password, checks it, and hashes it.
async fn prompt_new_password(
    config: &Config,
    email: &str,
    name: &str,
) -> anyhow::Result<PasswordHash> {
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

fn role(is_admin: bool) -> Role {
    if is_admin { Role::Admin } else { Role::User }
}

/// The account as JSON, without the password hash.
fn data(user: &User) -> Value {
    json!({
        "id": user.id,
        "email": user.email,
        "display_name": user.display_name,
        "role": user.role,
        "created_at": relative_time::iso(user.created_at),
        "password_changed_at": user.password_changed_at.map(relative_time::iso),
        "disabled_at": user.disabled_at.map(relative_time::iso),
        "deletion_due_at": user.deletion_due_at.map(relative_time::iso),
    })
}
