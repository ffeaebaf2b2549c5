//! `frontdesk user reset`, `set-email`, `verify-email` and `invite`: what operators do about the email of an account,
//! and the links that they let users have. A link is never printed: only the mailbox proves the user.

use anyhow::bail;

use super::arguments::AccountArgument;
use super::exit::ExitStatus;
use super::operator::operator;
use super::{account, out};
use crate::config::Config;
use crate::crypto::seal::Sealer;
use crate::db::Database;
use crate::events::Hooks;
use crate::lifetimes;
use crate::mail::address::EmailAddress;
use crate::program;
use crate::role::Role;
use crate::session::await_invalidation;
use crate::user::display_name::DisplayName;
use crate::user::email::change::{self, SetOutcome};
use crate::user::email::verification;
use crate::user::sign_up::invitation::{self, InviteOutcome};
use crate::user::sign_up::recovery::{self, SendOutcome};

/// Mails a link to choose a new password.
pub(super) async fn reset(
    config: &Config,
    database: &Database,
    account: &AccountArgument,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, &account.account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let email = &user.email;
    if !config.mail_is_on() {
        bail!(
            "this site sends no mail; set FRONTDESK_SMTP_URL, or run {} user set-password {email}",
            program::name()
        );
    }
    let pool = &database.pool;
    match recovery::send_by_operator(pool, sealer(config)?, user.id, operator()).await? {
        SendOutcome::Sent => {}
        SendOutcome::OverLimit => bail!("{email} got several such mails already; try again later"),
        SendOutcome::Disabled => {
            bail!("{email} is disabled; run {} user enable {email} first", program::name())
        }
    }
    out::line(&format!("{email} gets a link to choose a new password."));
    Ok(ExitStatus::Done)
}

/// Changes the email of an account.
pub(super) async fn set_email(
    config: &Config,
    database: &Database,
    hooks: &Hooks,
    account: &AccountArgument,
    new: EmailAddress,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, &account.account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let (pool, former, email) = (&database.pool, &user.email, new.as_typed().to_owned());
    let sealer = sealer(config)?;
    let set = change::set_by_operator(pool, sealer, hooks, user.id, new, operator()).await?;
    let mails = match set {
        SetOutcome::Done { .. } if !config.mail_is_on() => format!(
            "This site sends no mail, so neither email is notified. Run {} user verify-email {email} to mark the new one as verified.",
            program::name()
        ),
        SetOutcome::Done { former_is_notified, link_is_sent } => {
            let former = match former_is_notified {
                true => "The former email is notified",
                false => "The former email is not notified, because it was not verified",
            };
            let new = match link_is_sent {
                true => "the new one gets a link to verify it.".to_owned(),
                false => format!(
                    "the new one gets no link to verify it, because it got several such mails already. Its user can request one later, or run {} user verify-email {email}.",
                    program::name()
                ),
            };
            format!("{former}; {new}")
        }
        SetOutcome::Respelled => {
            out::line(&format!(
                "{former} is now {email}. Only upper and lower case differ, so it stays as verified as it was, and no session ended."
            ));
            return Ok(ExitStatus::Done);
        }
        SetOutcome::Unchanged => {
            out::line(&format!("{email} is already the email of the account."));
            return Ok(ExitStatus::NothingFound);
        }
        SetOutcome::EmailTaken => bail!("an account with the email {email} already exists"),
        SetOutcome::Disabled => {
            bail!("{former} is disabled; run {} user enable {former} first", program::name())
        }
    };
    await_invalidation(pool, None).await;
    out::line(&format!("{former} is now {email} and was signed out everywhere. {mails}"));
    Ok(ExitStatus::Done)
}

/// Marks the email of an account as verified.
pub(super) async fn verify_email(
    database: &Database,
    account: &AccountArgument,
) -> anyhow::Result<ExitStatus> {
    let Some(user) = account::find(database, &account.account).await? else {
        return Ok(ExitStatus::NothingFound);
    };
    let pool = &database.pool;
    let verified = verification::verify_by_operator(pool, user.id, operator()).await?;
    await_invalidation(pool, None).await;
    let result = if verified { "is verified" } else { "was already verified" };
    out::line(&format!("{} {result}.", user.email));
    Ok(if verified { ExitStatus::Done } else { ExitStatus::NothingFound })
}

/// Mails an invitation.
pub(super) async fn invite(
    config: &Config,
    database: &Database,
    email: EmailAddress,
    display_name: Option<DisplayName>,
    role: Role,
) -> anyhow::Result<ExitStatus> {
    let text = email.as_typed().to_owned();
    if !config.mail_is_on() {
        bail!(
            "this site sends no mail; set FRONTDESK_SMTP_URL, or run {} user create {text}",
            program::name()
        );
    }
    let (pool, sealer) = (&database.pool, sealer(config)?);
    match invitation::create(pool, sealer, email, display_name, role, operator()).await? {
        InviteOutcome::Sent => {}
        InviteOutcome::EmailTaken => bail!("an account with the email {text} already exists"),
        InviteOutcome::OverLimit => {
            bail!("{text} got several invitations already; the last one stays valid")
        }
    }
    let lifetime = lifetimes::words(lifetimes::INVITATION);
    out::line(&format!("{text} gets an invitation, which can be accepted for {lifetime}."));
    Ok(ExitStatus::Done)
}

fn sealer(config: &Config) -> anyhow::Result<Sealer> {
    Ok(Sealer::new(config.secret_keys()?.as_slice()))
}
