//! THE rule table: what ends when something happens to an account. The only place that decides it: pages, engines and
//! the command line say what happened, in the transaction in which it happens, and [`apply`] does what the row says.
//! `docs/SECURITY.md` shows the same table; `tests/it/session_rules.rs` checks every cell.

use sqlx::PgConnection;

use crate::audit::Origin;
use crate::id::{SessionId, UserId};
use crate::secret::Secret;
use crate::session::revoke::{self, Cause, Selection};

/// What happens to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The person signed out in this browser.
    SignedOut,
    /// The person signed out everywhere else.
    OthersEnded,
    /// The person said who they are again.
    Confirmed,
    /// The person changed the password, signed in.
    PasswordChanged,
    /// The password was set by a mailed link, or by an operator.
    PasswordReset,
    /// Another address became that of the account.
    EmailChanged,
    /// The former address is that of the account again.
    EmailChangeUndone,
    /// An operator gave or took rights.
    RoleChanged,
    /// An operator disabled the account.
    Disabled,
    /// The person asked for the account to be deleted.
    DeletionRequested,
    /// The account was deleted.
    Deleted,
}

/// What becomes of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Stays,
    /// It goes on under a new secret; copies of the old cookie are dead.
    Renewed,
    /// It is over.
    Ends,
}

/// What becomes of a sign-in whose password was accepted and whose session is not yet written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pending {
    /// The session begins.
    Begins,
    /// No session begins. Enforced where a session is written (`session/birth.rs`): the row of the account must still
    /// say what it said when the password was compared.
    Refused,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What happens.
    pub occasion: Occasion,
    /// The same in words.
    pub words: &'static str,
    /// The session in which it happens, if it does in one.
    pub current: Fate,
    /// The other sessions that go with the browser.
    pub others: Fate,
    /// The other sessions that are remembered.
    pub remembered: Fate,
    /// Sign-ins under way.
    pub pending: Pending,
    /// `email_tokens.purpose` of the mailed links that die.
    pub links: &'static [&'static str],
    /// What the trail gives as the cause.
    cause: Cause,
}

/// No link.
const NONE: &[&str] = &[];
/// All but the undo of a change of address: that is the owner's only way back from somebody who took the account over, so
/// nothing that such a one can do may end it, undoing a later change included (`email_change.rs` ends the later ones).
const MOST: &[&str] = &["verify_email", "reset_password", "change_email"];
/// All.
const ALL: &[&str] = &["verify_email", "reset_password", "change_email", "undo_email_change"];

/// The table.
pub const RULES: [Rule; 11] = {
    use Fate::{Ends, Renewed, Stays};
    use Occasion as On;
    use Pending::{Begins, Refused};
    const fn rule(
        occasion: On,
        words: &'static str,
        [current, others, remembered]: [Fate; 3],
        pending: Pending,
        links: &'static [&'static str],
        cause: Cause,
    ) -> Rule {
        Rule { occasion, words, current, others, remembered, pending, links, cause }
    }
    #[rustfmt::skip]
    let rules = [
        rule(On::SignedOut,         "sign out",                             [Ends,    Stays, Stays], Begins,  NONE, Cause::SignedOut),
        rule(On::OthersEnded,       "sign out everywhere else",             [Stays,   Ends,  Ends],  Begins,  NONE, Cause::Revoked),
        rule(On::Confirmed,         "fresh proof",                          [Renewed, Stays, Stays], Begins,  NONE, Cause::Replaced),
        rule(On::PasswordChanged,   "password changed",                     [Renewed, Ends,  Ends],  Refused, MOST, Cause::PasswordChanged),
        rule(On::PasswordReset,     "password set by link or by operator",  [Ends,    Ends,  Ends],  Refused, MOST, Cause::PasswordReset),
        rule(On::EmailChanged,      "email changed",                        [Renewed, Ends,  Ends],  Refused, MOST, Cause::EmailChanged),
        rule(On::EmailChangeUndone, "change of email undone",               [Ends,    Ends,  Ends],  Refused, MOST, Cause::EmailChangeUndone),
        rule(On::RoleChanged,       "role raised or lowered",               [Ends,    Ends,  Ends],  Refused, NONE, Cause::RoleChanged),
        rule(On::Disabled,          "account disabled",                     [Ends,    Ends,  Ends],  Refused, MOST, Cause::Disabled),
        rule(On::DeletionRequested, "deletion asked for",                   [Ends,    Ends,  Ends],  Begins,  MOST, Cause::DeletionRequested),
        rule(On::Deleted,           "account deleted",                      [Ends,    Ends,  Ends],  Refused, ALL,  Cause::Deleted),
    ];
    rules
};

/// What [`apply`] did.
#[derive(Debug, Default)]
pub struct Ended {
    /// How many sessions are over.
    pub sessions: usize,
    /// The new secret of the session that goes on, for its cookie; `None` when none does, or it ended meanwhile.
    pub secret: Option<Secret>,
}

impl Occasion {
    /// Its row.
    pub fn rule(self) -> &'static Rule {
        RULES.iter().find(|rule| rule.occasion == self).expect("every occasion has a row")
    }

    /// Whether the person gave the password in it. What was mailed is no proof of who is at the browser.
    fn is_proof(self) -> bool {
        matches!(self, Occasion::Confirmed | Occasion::PasswordChanged)
    }
}

/// Does what the row of `occasion` says, in the transaction in which it happens and after the account was changed: the
/// lock on its row is what makes sign-ins under way wait. `current` is the session in which it happens. After the
/// commit the caller settles.
pub async fn apply(
    connection: &mut PgConnection,
    occasion: Occasion,
    user: UserId,
    current: Option<SessionId>,
    origin: &Origin,
) -> sqlx::Result<Ended> {
    let rule = occasion.rule();
    let which = Selection {
        current: rule.current == Fate::Ends,
        others: rule.others == Fate::Ends,
        remembered: rule.remembered == Fate::Ends,
    };
    let mut ended = Ended::default();
    if which.current || which.others || which.remembered {
        ended.sessions =
            revoke::selected(connection, user, current, which, rule.cause, origin).await?;
    }
    if let (Fate::Renewed, Some(session)) = (rule.current, current) {
        ended.secret = revoke::rotate(connection, session, occasion.is_proof()).await?;
    }
    if !rule.links.is_empty() {
        let purposes: Vec<String> = rule.links.iter().map(ToString::to_string).collect();
        sqlx::query!(
            r#"
            DELETE FROM email_tokens
             WHERE user_id = $1
               AND purpose = ANY($2::text[])
            "#,
            user.uuid(),
            &purposes,
        )
        .execute(connection)
        .await?;
    }
    Ok(ended)
}

/// The table as `docs/SECURITY.md` shows it.
pub fn markdown() -> String {
    let fate = |fate| match fate {
        Fate::Stays => "stays",
        Fate::Renewed => "new secret",
        Fate::Ends => "ends",
    };
    let mut text = String::from(
        "| when | this session | the others | remembered ones | sign-ins under way | mailed links that die |\n\
         |---|---|---|---|---|---|\n",
    );
    for rule in &RULES {
        let pending = match rule.pending {
            Pending::Begins => "begin",
            Pending::Refused => "are refused",
        };
        let links = match rule.links.len() {
            0 => "none",
            3 => "all but the undo of a change of email",
            _ => "all",
        };
        text += &format!(
            "| {} | {} | {} | {} | {pending} | {links} |\n",
            rule.words,
            fate(rule.current),
            fate(rule.others),
            fate(rule.remembered),
        );
    }
    text
}
