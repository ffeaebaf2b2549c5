//! `frontdesk user`: manages accounts, by the same rules as the pages.

use anyhow::bail;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::arguments::{AccountArgument, User as Action};
use super::exit::ExitStatus;
use super::operator::operator;
use super::prompt::Piped;
use super::{account, new_passwords, out, prompt, user_email, user_files};
use crate::app::hash_parameters;
use crate::audit;
use crate::config::{Config, MailTransport};
use crate::crypto::seal::Sealer;
use crate::db::{self, Database};
use crate::events::Hooks;
use crate::mail::address::EmailAddress;
use crate::mail::outbox::Enqueued;
use crate::peers;
use crate::program;
use crate::role::Role;
use crate::session::{await_invalidation, list};
use crate::user::display_name::DisplayName;
use crate::user::password::change::set_by_operator;
use crate::user::password::context::PasswordContext;
use crate::user::password::hasher::{Hasher, PasswordHash};
use crate::user::password::policy::PasswordPolicy;
use crate::user::users::{self, Created, FirstPassword};
use crate::user::{User, erasure, groups, rate_limit};
use crate::web::relative_time;

pub(super) async fn run(
    config: &Config,
    database: &Database,
    hooks: &Hooks,
    action: Action,
) -> anyhow::Result<ExitStatus> {
    match action {
        Action::Create { email, name, admin } => {
            create(config, database, hooks, email, name, role(admin)).await
        }
        Action::List { search, limit, json } => {
            list(database, search.as_deref(), limit, json).await
        }
        Action::Show { account, json } => show(database, &account, json).await,
        Action::RequireNewPassword { account: Some(account), json, .. } => {
            new_passwords::of_one(config, database, &account, json).await
        }
        Action::RequireNewPassword { changed_before, yes, json, .. } => {
            new_passwords::of_all(config, database, changed_before, yes, json).await
        }
        Action::Disable { account } => set_disabled(config, database, &account, true).await,
        Action::Enable { account } => set_disabled(config, database, &account, false).await,
        Action::Delete { account, yes } => delete(config, database, hooks, &account, yes).await,
        Action::SetPassword { account } => set_password(config, database, hooks, &account).await,
        Action::Reset { account } => user_email::reset(config, database, &account).await,
        Action::SetEmail { account, new } => {
            user_email::set_email(config, database, hooks, &account, new).await
        }
        Action::VerifyEmail { account } => user_email::verify_email(database, &account).await,
        Action::Invite { email, name, role } => {
            user_email::invite(config, database, email, name, role.into()).await
        }
        Action::Unlock { account } => unlock(config, database, &account).await,
        Action::Promote { account, demote } => {
            set_role(config, database, &account, role(!demote)).await
        }
        Action::Import(arguments) => {
            user_files::import(config, &database.pool, hooks, arguments).await
        }
        Action::Export(arguments) => user_files::export(&database.pool, arguments).await,
    }
}

async fn create(
    config: &Config,
    database: &Database,
    hooks: &Hooks,
    address: EmailAddress,
    display_name: DisplayName,
    role: Role,
) -> anyhow::Result<ExitStatus> {
    let email = address.as_typed().to_owned();
    let Some(password) = first_password(config, database, &email, display_name.as_str()).await?
    else {
        return Ok(ExitStatus::InvalidUsage);
    };
    let pool = &database.pool;
    let created =
        users::insert(pool, hooks, address, display_name, role, password, operator()).await?;
    let Some(Created { user, link }) = created else {
        bail!("an account with the email {email} already exists");
    };
    let note = match link.map(Enqueued::is_sent) {
        None => String::new(),
        Some(true) => " The user gets a link to choose a password.".to_owned(),
        Some(false) => format!(
            " No link was sent: this email got several such mails already. Run {} user reset {email} later.",
            program::name()
        ),
    };
    out::line(&format!("Created {email} ({}).{note}", user.id));
    Ok(ExitStatus::Done)
}

async fn list(
    database: &Database,
    search: Option<&str>,
    limit: i64,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let mut list = out::List::new(json, ["EMAIL", "NAME", "ROLE", "STATE", "CREATED"]);
    let now = OffsetDateTime::now_utc();
    let mut last = None;
    for size in out::pages(limit) {
        let users = users::list(&database.pool, search, last, size).await?;
        for user in &users {
            list.add(|| row(user, now), || data(user));
        }
        last = users.last().map(|user| user.id).or(last);
        if (users.len() as i64) < size {
            break;
        }
    }
    list.end();
    let is_missing = search.is_some() && last.is_none();
    Ok(if is_missing { ExitStatus::NothingFound } else { ExitStatus::Done })
}

fn row(user: &User, now: OffsetDateTime) -> [String; 5] {
    [
        user.email.clone(),
        user.display_name.clone(),
        user.role.as_str().to_owned(),
        state(user).to_owned(),
        relative_time::relative(user.created_at, now),
    ]
}

async fn show(
    database: &Database,
    account: &AccountArgument,
    json: bool,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, &account.account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let sessions = list::count_for_user(&database.pool, user.id).await?;
    let last_sign_in = audit::last_sign_in(&database.pool, user.id).await?;
    let groups = groups::of_user(&database.pool, user.id).await?;
    if json {
        let mut data = data(&user);
        data["groups"] = json!(groups);
        data["sessions"] = json!(sessions);
        data["last_sign_in_at"] = json!(last_sign_in.map(relative_time::iso));
        out::json(&data)?;
        return Ok(ExitStatus::Done);
    }
    let exact = |time: Option<OffsetDateTime>, none: &str| {
        time.map_or_else(|| none.to_owned(), relative_time::exact)
    };
    let password = match (&user.password_hash, user.password_changed_at) {
        (None, None) => "none".to_owned(),
        (None, Some(at)) => format!("none since {}", relative_time::exact(at)),
        (Some(_), at) => format!("changed {}", exact(at, "never")),
    };
    for (label, value) in [
        ("ID", user.id.to_string()),
        ("Email", user.email.clone()),
        ("Verified", exact(user.email_verified_at, "no")),
        ("Name", user.display_name.clone()),
        ("Role", user.role.as_str().to_owned()),
        ("Groups", if groups.is_empty() { "none".to_owned() } else { groups.join(", ") }),
        ("State", state(&user).to_owned()),
        ("Deletion", exact(user.deletion_due_at, "not scheduled")),
        ("Created", relative_time::exact(user.created_at)),
        ("Password", password),
        ("Signed in", exact(last_sign_in, "never, or not within the retention of the audit log")),
        ("Sessions", sessions.to_string()),
    ] {
        out::line(&format!("{label:<11}{value}"));
    }
    Ok(ExitStatus::Done)
}

async fn set_disabled(
    config: &Config,
    database: &Database,
    account: &AccountArgument,
    disabled: bool,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, &account.account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let (pool, sealer) = (&database.pool, Sealer::new(config.secret_keys()?.as_slice()));
    let changed = users::set_disabled(pool, &sealer, user.id, disabled, operator()).await?;
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
    hooks: &Hooks,
    account: &AccountArgument,
    yes: bool,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, &account.account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let question = format!("This permanently deletes the account {}.", user.email);
    if !prompt::is_confirmed(yes, &question) {
        return Ok(ExitStatus::InvalidUsage);
    }
    let pool = &database.pool;
    let sealer = Sealer::new(config.secret_keys()?.as_slice());
    let deleted = erasure::delete_now(pool, &sealer, hooks, user.id, operator()).await;
    if let Err(error) = &deleted
        && let Some((constraint, table)) = db::refusing_foreign_key(error)
    {
        bail!(
            "{} was not deleted, and nothing was changed: the foreign key {constraint} of the table {table} refers to the account. Delete those rows, or give the key ON DELETE; {} doctor prints the statement",
            user.email,
            program::name()
        );
    }
    let deleted = deleted?;
    await_invalidation(pool, None).await;
    let result = if deleted { "was deleted" } else { "was already deleted" };
    out::line(&format!("{} {result}.", user.email));
    Ok(if deleted { ExitStatus::Done } else { ExitStatus::NothingFound })
}

async fn set_password(
    config: &Config,
    database: &Database,
    hooks: &Hooks,
    account: &AccountArgument,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, &account.account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    // Only the user should know the password (ASVS 5.0 V6.4.6).
    if mail_is_sent(config, database).await? {
        out::problem(&format!(
            "Nothing was changed: this site sends mail, so let the user choose the password: {} user reset {}",
            program::name(),
            user.email
        ));
        return Ok(ExitStatus::InvalidUsage);
    }
    let Some(typed) = prompt::new_password()? else { return Ok(ExitStatus::InvalidUsage) };
    let hash = hash_new_password(config, &user.email, &user.display_name, &typed).await?;
    let Some(hash) = hash else { return Ok(ExitStatus::InvalidUsage) };
    let sealer = Sealer::new(config.secret_keys()?.as_slice());
    set_by_operator(&database.pool, sealer, hooks, user.id, hash, operator()).await?;
    await_invalidation(&database.pool, None).await;
    out::line(&format!("{} has a new password and was signed out everywhere.", user.email));
    Ok(ExitStatus::Done)
}

async fn unlock(
    config: &Config,
    database: &Database,
    account: &AccountArgument,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, &account.account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let sealer = Sealer::new(config.secret_keys()?.as_slice());
    let cleared = rate_limit::unlock(&database.pool, &sealer, &user, operator()).await?;
    let result = if cleared > 0 { "is unlocked" } else { "was not locked" };
    out::line(&format!("{} {result}.", user.email));
    Ok(if cleared > 0 { ExitStatus::Done } else { ExitStatus::NothingFound })
}

async fn set_role(
    config: &Config,
    database: &Database,
    account: &AccountArgument,
    role: Role,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, &account.account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let (pool, sealer) = (&database.pool, Sealer::new(config.secret_keys()?.as_slice()));
    let changed = users::set_role(pool, &sealer, user.id, role, operator()).await?;
    await_invalidation(&database.pool, None).await;
    let role = role.as_str();
    out::line(&match changed {
        true => format!("{} now has the role {role} and was signed out everywhere.", user.email),
        false => format!("{} already had the role {role}.", user.email),
    });
    Ok(if changed { ExitStatus::Done } else { ExitStatus::NothingFound })
}

/// Whether mail is sent: with the settings of this command, or by a running server.
async fn mail_is_sent(config: &Config, database: &Database) -> anyhow::Result<bool> {
    let transports = MailTransport::OutboxOnly.preferred_transports();
    let transports: Vec<String> = transports.iter().map(ToString::to_string).collect();
    let pool = &database.pool;
    Ok(config.mail.is_sent() || peers::any_has_mail_transport(pool, &transports).await?)
}

/// The password of a new account. Where mail is sent, a terminal is not asked for it, and without one in standard
/// input a link is mailed. `None` if it is missing or refused; then the reason is printed.
async fn first_password(
    config: &Config,
    database: &Database,
    email: &str,
    name: &str,
) -> anyhow::Result<Option<FirstPassword>> {
    let typed = if mail_is_sent(config, database).await? {
        match prompt::piped_password()? {
            Some(Piped::Nothing) => {
                let sealer = Sealer::new(config.secret_keys()?.as_slice());
                return Ok(Some(FirstPassword::ByLink(sealer)));
            }
            Some(Piped::Password(typed)) => Some(typed),
            None => None,
        }
    } else {
        prompt::new_password()?
    };
    let Some(typed) = typed else { return Ok(None) };
    Ok(hash_new_password(config, email, name, &typed).await?.map(FirstPassword::Chosen))
}

/// Checks a new password and hashes it. `None` if it is refused; then the reason is printed.
async fn hash_new_password(
    config: &Config,
    email: &str,
    name: &str,
    typed: &str,
) -> anyhow::Result<Option<PasswordHash>> {
    let policy = PasswordPolicy { min_length: config.password_min_length };
    let context = PasswordContext {
        email,
        display_name: name,
        site_name: &config.site_name,
        host: config.public_url.host(),
    };
    let password = match policy.check(typed, &context) {
        Ok(password) => password,
        Err(problem) => {
            out::problem(&problem.to_string());
            return Ok(None);
        }
    };
    let hasher = Hasher::with_limits(hash_parameters(config)?, 1, 1);
    Ok(Some(hasher.hash(&password).await?))
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
        "email_verified_at": user.email_verified_at.map(relative_time::iso),
        "has_password": user.password_hash.is_some(),
        "password_changed_at": user.password_changed_at.map(relative_time::iso),
        "disabled_at": user.disabled_at.map(relative_time::iso),
        "deletion_due_at": user.deletion_due_at.map(relative_time::iso),
    })
}
