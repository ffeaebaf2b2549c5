//! THE rule table: what ends when something happens to an account. The only place that decides it: pages, engines and
//! the command line say what happened, in the transaction in which it happens, and [`apply`] does what the row says.
//! `docs/SECURITY.md` shows the same table; `tests/it/session_rules.rs` checks every cell.

use sqlx::PgConnection;

use crate::audit::Origin;
use crate::crypto::secret::Secret;
use crate::id::{SessionId, UserId};
use crate::session::revoke::{self, Cause, Selection};

/// What happens to an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountEvent {
    /// The person signed out in this browser.
    SignedOut,
    /// The person signed out everywhere else.
    OthersEnded,
    /// The person said who they are again.
    Reauthenticated,
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
pub enum SessionEffect {
    /// Nothing.
    Stays,
    /// It goes on under a new secret; copies of the old cookie are dead.
    Renewed,
    /// It is over.
    Ends,
}

/// What becomes of a sign-in whose password was accepted and whose session is not yet written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInInProgress {
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
    pub occasion: AccountEvent,
    /// The same in words.
    pub words: &'static str,
    /// The session in which it happens, if it does in one.
    pub current: SessionEffect,
    /// The other sessions that go with the browser.
    pub others: SessionEffect,
    /// The other sessions that are remembered.
    pub remembered: SessionEffect,
    /// Sign-ins under way.
    pub pending: SignInInProgress,
    /// Mailed links.
    pub links: Links,
    /// What the trail gives as the cause.
    cause: Cause,
}

/// What becomes of the links that were mailed. The undo of a change of email is the owner's only way back after an account
/// takeover, so nothing that the attacker can do ends it, undoing a later change included. A link that sets a password counts
/// only while the account has the email that it went to (`email_token.rs`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// None ends.
    Stay,
    /// Those that confirm an email end. Those that set a password do not: if the change is undone, the ones that went to
    /// the former email count again.
    Confirming,
    /// Those that confirm an email end, and those that set a password and went to another email than the account has now.
    /// The undo links of later changes too, which `undo_email_change.rs` ends.
    Elsewhere,
    /// All but those that undo a change of email end.
    AllButUndo,
    /// All end.
    All,
}

impl Links {
    /// Whether a link for `purpose` (`email_tokens.purpose`) ends. `elsewhere`: it was mailed to another email than the
    /// account has now.
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

    fn words(self) -> &'static str {
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
        occasion: On,
        words: &'static str,
        [current, others, remembered]: [SessionEffect; 3],
        pending: SignInInProgress,
        links: Links,
        cause: Cause,
    ) -> Rule {
        Rule { occasion, words, current, others, remembered, pending, links, cause }
    }
    #[rustfmt::skip]
    let rules = [
        rule(On::SignedOut,         "sign out",                             [Ends,    Stays, Stays], Begins,  Stay,       Cause::SignedOut),
        rule(On::OthersEnded,       "sign out everywhere else",             [Stays,   Ends,  Ends],  Begins,  Stay,       Cause::Revoked),
        rule(On::Reauthenticated,   "fresh proof",                          [Renewed, Stays, Stays], Begins,  Stay,       Cause::Replaced),
        rule(On::PasswordChanged,   "password changed",                     [Renewed, Ends,  Ends],  Refused, AllButUndo, Cause::PasswordChanged),
        rule(On::PasswordReset,     "password set by link or by operator",  [Ends,    Ends,  Ends],  Refused, AllButUndo, Cause::PasswordReset),
        rule(On::EmailChanged,      "email changed",                        [Renewed, Ends,  Ends],  Refused, Confirming, Cause::EmailChanged),
        rule(On::EmailChangeUndone, "change of email undone",               [Ends,    Ends,  Ends],  Refused, Elsewhere,  Cause::EmailChangeUndone),
        rule(On::RoleChanged,       "role raised or lowered",               [Ends,    Ends,  Ends],  Refused, Stay,       Cause::RoleChanged),
        rule(On::Disabled,          "account disabled",                     [Ends,    Ends,  Ends],  Refused, AllButUndo, Cause::Disabled),
        rule(On::DeletionRequested, "deletion asked for",                   [Ends,    Ends,  Ends],  Begins,  AllButUndo, Cause::DeletionRequested),
        rule(On::Deleted,           "account deleted",                      [Ends,    Ends,  Ends],  Refused, All,        Cause::Deleted),
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

impl AccountEvent {
    /// Its row.
    pub fn rule(self) -> &'static Rule {
        RULES.iter().find(|rule| rule.occasion == self).expect("every occasion has a row")
    }

    /// Whether the person gave the password in it. What was mailed is no proof of who is at the browser.
    fn is_proof(self) -> bool {
        matches!(self, AccountEvent::Reauthenticated | AccountEvent::PasswordChanged)
    }
}

/// Does what the row of `occasion` says, in the transaction in which it happens and after the account was changed: the
/// lock on its row is what makes sign-ins under way wait. `current` is the session in which it happens. After the
/// commit the caller settles.
pub async fn apply(
    connection: &mut PgConnection,
    occasion: AccountEvent,
    user: UserId,
    current: Option<SessionId>,
    origin: &Origin,
) -> sqlx::Result<Ended> {
    let rule = occasion.rule();
    let which = Selection {
        current: rule.current == SessionEffect::Ends,
        others: rule.others == SessionEffect::Ends,
        remembered: rule.remembered == SessionEffect::Ends,
    };
    let mut ended = Ended::default();
    if which.current || which.others || which.remembered {
        ended.sessions =
            revoke::of_user(connection, user, current, which, rule.cause, origin).await?;
    }
    if let (SessionEffect::Renewed, Some(session)) = (rule.current, current) {
        ended.secret = revoke::rotate(connection, session, occasion.is_proof()).await?;
    }
    let of = |elsewhere| {
        let ends = PURPOSES.into_iter().filter(|purpose| rule.links.ends(purpose, elsewhere));
        ends.map(str::to_owned).collect::<Vec<_>>()
    };
    let (own, elsewhere) = (of(false), of(true));
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
    Ok(ended)
}

/// The table as `docs/SECURITY.md` shows it.
pub fn markdown() -> String {
    let fate = |fate| match fate {
        SessionEffect::Stays => "stays",
        SessionEffect::Renewed => "new secret",
        SessionEffect::Ends => "ends",
    };
    let mut text = String::from(
        "| when | this session | the others | remembered ones | sign-ins under way | mailed links that die |\n\
         |---|---|---|---|---|---|\n",
    );
    for rule in &RULES {
        let pending = match rule.pending {
            SignInInProgress::Begins => "begin",
            SignInInProgress::Refused => "are refused",
        };
        text += &format!(
            "| {} | {} | {} | {} | {pending} | {} |\n",
            rule.words,
            fate(rule.current),
            fate(rule.others),
            fate(rule.remembered),
            rule.links.words(),
        );
    }
    text
}
