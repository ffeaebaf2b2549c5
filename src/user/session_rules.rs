//! The rule table: which sessions and mailed links are revoked by which account event. It is the only place
//! with these rules: pages, the domain and the command line call [`apply`] in the transaction of the event.
//! `docs/SECURITY.md` shows the same table; `tests/it/session_rules.rs` checks every cell.

use sqlx::PgConnection;

use crate::audit::Origin;
use crate::crypto::secret::Secret;
use crate::id::{SessionId, UserId};
use crate::session::revoke::{self, Cause, Selection};

/// An event that affects the sessions or links of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountEvent {
    /// The user signed out in this browser.
    SignedOut,
    /// The user signed out everywhere else.
    OthersEnded,
    /// The user re-authenticated.
    Reauthenticated,
    /// The user changed the password while signed in.
    PasswordChanged,
    /// The password was set with a mailed link, or by an operator.
    PasswordReset,
    /// The account has a new email.
    EmailChanged,
    /// The account has its former email again.
    EmailChangeUndone,
    /// An operator changed the role.
    RoleChanged,
    /// An operator disabled the account.
    Disabled,
    /// The user requested the deletion of the account.
    DeletionRequested,
    /// The account was deleted.
    Deleted,
}

/// The effect of an event on a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEffect {
    /// Nothing.
    Stays,
    /// It gets a new secret; copies of the old cookie are not accepted.
    Renewed,
    /// It is revoked.
    Ends,
}

/// The effect of an event on a sign-in whose password was accepted and whose session is not yet inserted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInInProgress {
    /// The session is inserted.
    Begins,
    /// No session is inserted. `session/create.rs` enforces it: the row of the account must be as it was when
    /// the password was compared.
    Refused,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The event.
    pub event: AccountEvent,
    /// The description of the event in `docs/SECURITY.md`.
    pub description: &'static str,
    /// The effect on the current session, if the event happens in one.
    pub current: SessionEffect,
    /// The effect on the user's other sessions.
    pub others: SessionEffect,
    /// The effect on sign-ins in progress.
    pub sign_ins: SignInInProgress,
    /// The effect on mailed links.
    pub links: Links,
    /// The cause in the audit log.
    cause: Cause,
}

/// The mailed links that an event invalidates. The undo link of an email change is the owner's only way to
/// recover the account after an account takeover, so no action of an attacker may invalidate it, including
/// undoing a later change. A link that sets a password is valid only while the account has the email that the
/// link was sent to (`email/token.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// None.
    Stay,
    /// Links that confirm an email. Links that set a password are kept: if the change is undone, those that
    /// were sent to the former email become valid again.
    Confirming,
    /// Links that confirm an email, and links that set a password and were sent to an email other than the
    /// account's current one. `email/undo_change.rs` also deletes the undo links of later changes.
    Elsewhere,
    /// All except those that undo an email change.
    AllButUndo,
    /// All.
    All,
}

impl Links {
    /// Whether a link for `purpose` (`email_tokens.purpose`) is invalidated. `elsewhere`: it was sent to an
    /// email other than the account's current one.
    pub fn ends(self, purpose: &str, elsewhere: bool) -> bool {
        match self {
            Links::Stay => false,
            Links::Confirming => matches!(purpose, "verify_email" | "change_email"),
            Links::Elsewhere if purpose == "reset_password" => elsewhere,
            Links::Elsewhere => Links::Confirming.ends(purpose, elsewhere),
            Links::AllButUndo => purpose != "undo_email_change",
            Links::All => true,
        }
    }

    fn description(self) -> &'static str {
        match self {
            Links::Stay => "none",
            Links::Confirming => {
                "those that confirm an email; those that set a password count while the account has the email they went to"
            }
            Links::Elsewhere => {
                "those that confirm an email, those that set a password and went to another email, the undo of later changes"
            }
            Links::AllButUndo => "all but the undo of a change of email",
            Links::All => "all",
        }
    }
}

/// Every `email_tokens.purpose`.
const PURPOSES: [&str; 4] = ["verify_email", "reset_password", "change_email", "undo_email_change"];

/// The table.
pub const RULES: [Rule; 11] = {
    use AccountEvent as On;
    use Links::{All, AllButUndo, Confirming, Elsewhere, Stay};
    use SessionEffect::{Ends, Renewed, Stays};
    use SignInInProgress::{Begins, Refused};
    const fn rule(
        event: On,
        description: &'static str,
        [current, others]: [SessionEffect; 2],
        sign_ins: SignInInProgress,
        links: Links,
        cause: Cause,
    ) -> Rule {
        Rule { event, description, current, others, sign_ins, links, cause }
    }
    #[rustfmt::skip]
    let rules = [
        rule(On::SignedOut,         "sign out",                             [Ends,    Stays], Begins,  Stay,       Cause::SignedOut),
        rule(On::OthersEnded,       "sign out everywhere else",             [Stays,   Ends],  Begins,  Stay,       Cause::Revoked),
        rule(On::Reauthenticated,   "re-authentication",                    [Renewed, Stays], Begins,  Stay,       Cause::Replaced),
        rule(On::PasswordChanged,   "password changed",                     [Renewed, Ends],  Refused, AllButUndo, Cause::PasswordChanged),
        rule(On::PasswordReset,     "password set by link or by operator",  [Ends,    Ends],  Refused, AllButUndo, Cause::PasswordReset),
        rule(On::EmailChanged,      "email changed",                        [Renewed, Ends],  Refused, Confirming, Cause::EmailChanged),
        rule(On::EmailChangeUndone, "change of email undone",               [Ends,    Ends],  Refused, Elsewhere,  Cause::EmailChangeUndone),
        rule(On::RoleChanged,       "role raised or lowered",               [Ends,    Ends],  Refused, Stay,       Cause::RoleChanged),
        rule(On::Disabled,          "account disabled",                     [Ends,    Ends],  Refused, AllButUndo, Cause::Disabled),
        rule(On::DeletionRequested, "deletion requested",                   [Ends,    Ends],  Begins,  AllButUndo, Cause::DeletionRequested),
        rule(On::Deleted,           "account deleted",                      [Ends,    Ends],  Refused, All,        Cause::Deleted),
    ];
    rules
};

/// The result of [`apply`].
#[derive(Debug, Default)]
pub struct AppliedRule {
    /// The number of revoked sessions.
    pub ended_sessions: usize,
    /// The new secret of the current session, for its cookie, if it is renewed and has not ended in the
    /// meantime.
    pub secret: Option<Secret>,
}

impl AccountEvent {
    /// The row of the event.
    pub fn rule(self) -> &'static Rule {
        RULES.iter().find(|rule| rule.event == self).expect("every event has a row")
    }

    /// Whether the event proves the user's identity, because the user entered the password. Opening a mailed
    /// link does not.
    fn is_authentication(self) -> bool {
        matches!(self, AccountEvent::Reauthenticated | AccountEvent::PasswordChanged)
    }
}

/// Applies the row of `event`, in the transaction of the event and after the row of the account was changed
/// or locked: sign-ins in progress wait for that lock. `current` is the session in which it happens. After
/// the commit the caller invalidates the user's sessions in the caches.
pub async fn apply(
    connection: &mut PgConnection,
    event: AccountEvent,
    user: UserId,
    current: Option<SessionId>,
    origin: &Origin,
) -> sqlx::Result<AppliedRule> {
    let rule = event.rule();
    let which = Selection {
        current: rule.current == SessionEffect::Ends,
        others: rule.others == SessionEffect::Ends,
    };
    let mut applied = AppliedRule::default();
    if which.current || which.others {
        applied.ended_sessions =
            revoke::of_user(connection, user, current, which, rule.cause, origin).await?;
    }
    if let (SessionEffect::Renewed, Some(session)) = (rule.current, current) {
        applied.secret = revoke::rotate(connection, session, event.is_authentication()).await?;
    }
    let ending = |elsewhere| {
        let ends = PURPOSES.into_iter().filter(|purpose| rule.links.ends(purpose, elsewhere));
        ends.map(str::to_owned).collect::<Vec<_>>()
    };
    let (own, elsewhere) = (ending(false), ending(true));
    if !elsewhere.is_empty() {
        sqlx::query!(
            r#"
            DELETE FROM email_tokens t
             USING users u
             WHERE t.user_id = $1
               AND u.id = $1
               AND t.purpose = ANY(CASE WHEN t.email_canonical = u.email_canonical
                                        THEN $2::text[]
                                        ELSE $3::text[]
                                   END)
            "#,
            user as UserId,
            &own,
            &elsewhere,
        )
        .execute(connection)
        .await?;
    }
    Ok(applied)
}

/// The table as `docs/SECURITY.md` shows it.
pub fn markdown() -> String {
    let effect = |effect| match effect {
        SessionEffect::Stays => "stays",
        SessionEffect::Renewed => "new secret",
        SessionEffect::Ends => "ends",
    };
    let mut text = String::from(
        "| when | this session | the others | sign-ins under way | mailed links that end |\n\
         |---|---|---|---|---|\n",
    );
    for rule in &RULES {
        let sign_ins = match rule.sign_ins {
            SignInInProgress::Begins => "begin",
            SignInInProgress::Refused => "are refused",
        };
        text += &format!(
            "| {} | {} | {} | {sign_ins} | {} |\n",
            rule.description,
            effect(rule.current),
            effect(rule.others),
            rule.links.description(),
        );
    }
    text
}
