//! Descriptions of audit events for the activity page.

use serde_json::Value;

use crate::audit::{EventKind, RefusalReason, StoredEvent};
use crate::session::revoke::Cause;
use crate::session::user_agent;

/// Returns the description of an event, and whether the page marks it as suspicious. The description of the end
/// of a session names its device.
pub(super) fn describe(event: &StoredEvent) -> (String, bool) {
    let (words, is_suspicious) = describe_kind(&event.event, &event.details);
    match event.ended_user_agent.as_deref() {
        Some(agent) => {
            let device = user_agent::describe(Some(agent)).title;
            (format!("{words} ({device})"), is_suspicious)
        }
        None => (words, is_suspicious),
    }
}

/// Whether events of this kind are attempts of anyone, of which there may be many: refusals, and requests for a
/// link to reset the password.
pub(super) fn is_attempt(event: &str) -> bool {
    event.ends_with("_refused") || event == EventKind::PasswordResetRequested.as_str()
}

/// An event kind that this version does not know gets a generic description.
fn describe_kind(event: &str, details: &Value) -> (String, bool) {
    let Some(kind) = EventKind::parse(event) else {
        return ("Other account activity".to_owned(), false);
    };
    let (words, is_suspicious) = event_words(kind);
    let why = reason(details).unwrap_or_default();
    let words = match details.get("count").and_then(Value::as_i64) {
        Some(count @ 2..) => words.replace("Session ended", &format!("{count} sessions ended")),
        _ => words.to_owned(),
    };
    (words.replace("{why}", why).trim_end_matches([' ', ':']).to_owned(), is_suspicious)
}

/// `{why}` is replaced by the cause or reason in the details.
fn event_words(kind: EventKind) -> (&'static str, bool) {
    match kind {
        EventKind::Registered => ("Account created", false),
        EventKind::Invited => ("Invited", false),
        EventKind::SignedIn => ("Signed in", false),
        EventKind::SignInRefused => ("Sign-in refused: {why}", true),
        EventKind::CodeRefused => ("Wrong or expired code entered", true),
        EventKind::LinkRefused => ("A link that no longer works was used", true),
        EventKind::SessionEnded => ("Session ended: {why}", false),
        EventKind::AllSessionsEnded => ("Signed out everywhere", false),
        EventKind::PasswordChanged => ("Password changed", false),
        EventKind::PasswordReset => ("Password reset by email link", false),
        EventKind::PasswordInvalidated => ("Password stopped working: {why}", true),
        EventKind::PasswordResetRequested => ("Password reset requested", true),
        EventKind::Reauthenticated => ("Password confirmed", false),
        EventKind::ReauthenticationRefused => {
            ("Wrong password entered in a signed-in session", true)
        }
        EventKind::EmailVerified => ("Email address confirmed", false),
        EventKind::EmailChangeRequested => ("Email change requested", false),
        EventKind::EmailChanged => ("Email address changed", false),
        EventKind::EmailChangeUndone => ("Email change undone", true),
        EventKind::RoleChanged => ("Role changed", false),
        EventKind::AccountDisabled => ("Account disabled", false),
        EventKind::AccountEnabled => ("Account re-enabled", false),
        EventKind::AccountUnlocked => ("Sign-in limit lifted", false),
        EventKind::Imported => ("Account imported", false),
        EventKind::DeletionRequested => ("Account deletion requested", true),
        EventKind::DeletionCanceled => ("Account deletion canceled", false),
        EventKind::DeletionFailed => ("Account deletion failed", false),
        EventKind::AccountDeleted => ("Account deleted", false),
        EventKind::GroupChanged => ("Group changed", false),
        EventKind::GroupMemberAdded => ("Added to a group", false),
        EventKind::GroupMemberRemoved => ("Removed from a group", false),
        EventKind::DataExported => ("Data exported", false),
    }
}

fn reason(details: &Value) -> Option<&'static str> {
    let text = |key: &str| details.get(key).and_then(Value::as_str).unwrap_or_default();
    let cause = Cause::parse(text("cause"));
    cause.map(describe_cause).or_else(|| RefusalReason::parse(text("why")).map(describe_refusal))
}

fn describe_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::SignedOut => "signed out",
        Cause::Revoked => "signed out remotely",
        Cause::PasswordChanged => "password changed",
        Cause::PasswordReset => "password reset",
        Cause::EmailChanged => "email address changed",
        Cause::EmailChangeUndone => "email change undone",
        Cause::RoleChanged => "role changed",
        Cause::DeletionRequested => "account deletion requested",
        Cause::Deleted => "account deleted",
        Cause::Disabled => "account disabled",
        Cause::Replaced => "signed in again in the same browser",
        Cause::SessionLimit => "signed in on too many devices",
        Cause::Expired => "expired",
    }
}

fn describe_refusal(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::WrongPassword => "wrong password",
        RefusalReason::Disabled => "account disabled",
        RefusalReason::RateLimited => "too many attempts; new ones are delayed",
        RefusalReason::UnknownAccount => "no account with this email",
        RefusalReason::EmailChangeUndone => "email change undone",
        RefusalReason::NewPasswordRequired => "a new password is required",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_event_cause_and_reason_is_described() {
        for kind in EventKind::ALL {
            let (words, _) = describe_kind(kind.as_str(), &json!({ "why": "wrong_password" }));
            assert_ne!(words, "Other account activity", "{kind:?}");
            assert!(!words.is_empty() && !words.contains(['{', '}']), "{kind:?}: {words}");
        }
        for cause in Cause::ALL {
            let (words, _) = describe_kind("session_ended", &json!({ "cause": cause.as_str() }));
            assert!(words.starts_with("Session ended: "), "{cause:?}: {words}");
        }
        for reason in RefusalReason::ALL {
            let (words, _) = describe_kind("sign_in_refused", &json!({ "why": reason.as_str() }));
            assert!(words.starts_with("Sign-in refused: "), "{reason:?}: {words}");
        }
    }

    #[test]
    fn one_event_about_several_sessions_says_how_many() {
        let details = json!({ "cause": "disabled", "count": 3 });
        assert_eq!(
            describe_kind("session_ended", &details).0,
            "3 sessions ended: account disabled"
        );
    }

    #[test]
    fn an_unknown_event_or_cause_still_has_a_sentence() {
        assert_eq!(describe_kind("session_ended", &json!({})).0, "Session ended");
        assert_eq!(
            describe_kind("unknown_event", &json!({ "x": "<b>" })).0,
            "Other account activity"
        );
    }
}
