//! Descriptions of audit events for the activity page.

use serde_json::Value;

use crate::audit::{EventKind, RefusalReason, StoredEvent};
use crate::language::Text;
use crate::session::revoke::Cause;
use crate::session::user_agent;

/// Returns the description of an event, and whether the page marks it as suspicious. The description of the end
/// of a session names its device.
pub(super) fn describe(event: &StoredEvent) -> (Text, bool) {
    let (words, is_suspicious) = describe_kind(&event.event, &event.details);
    match event.ended_user_agent.as_deref() {
        Some(agent) => {
            let device = user_agent::describe(Some(agent)).title;
            let words = Text::key("event-on-device").with("event", words).with("device", device);
            (words, is_suspicious)
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
fn describe_kind(event: &str, details: &Value) -> (Text, bool) {
    let Some(kind) = EventKind::parse(event) else {
        return (Text::key("event-other"), false);
    };
    let (key, is_suspicious) = event_key(kind);
    let count = details.get("count").and_then(Value::as_i64).unwrap_or(1);
    let words = Text::key(key).with("n", count);
    let words = match reason(details).filter(|_| has_reason(kind)) {
        Some(why) => {
            Text::key("event-with-reason").with("event", words).with("why", Text::key(why))
        }
        None => words,
    };
    (words, is_suspicious)
}

/// Whether the description ends with the cause or reason in the details.
fn has_reason(kind: EventKind) -> bool {
    use EventKind::{PasswordInvalidated, SessionEnded, SignInRefused};
    matches!(kind, SignInRefused | SessionEnded | PasswordInvalidated)
}

/// The key of the description, and whether the page marks it as suspicious.
fn event_key(kind: EventKind) -> (&'static str, bool) {
    match kind {
        EventKind::Registered => ("event-registered", false),
        EventKind::Invited => ("event-invited", false),
        EventKind::SignedIn => ("event-signed-in", false),
        EventKind::SignInRefused => ("event-sign-in-refused", true),
        EventKind::CodeRefused => ("event-code-refused", true),
        EventKind::LinkRefused => ("event-link-refused", true),
        EventKind::SessionEnded => ("event-session-ended", false),
        EventKind::AllSessionsEnded => ("event-all-sessions-ended", false),
        EventKind::PasswordChanged => ("event-password-changed", false),
        EventKind::PasswordReset => ("event-password-reset", false),
        EventKind::PasswordInvalidated => ("event-password-invalidated", true),
        EventKind::PasswordResetRequested => ("event-password-reset-requested", true),
        EventKind::Reauthenticated => ("event-reauthenticated", false),
        EventKind::ReauthenticationRefused => ("event-reauthentication-refused", true),
        EventKind::EmailVerified => ("event-email-verified", false),
        EventKind::EmailChangeRequested => ("event-email-change-requested", false),
        EventKind::EmailChanged => ("event-email-changed", false),
        EventKind::EmailChangeUndone => ("event-email-change-undone", true),
        EventKind::RoleChanged => ("event-role-changed", false),
        EventKind::AccountDisabled => ("event-account-disabled", false),
        EventKind::AccountEnabled => ("event-account-enabled", false),
        EventKind::AccountUnlocked => ("event-account-unlocked", false),
        EventKind::Imported => ("event-imported", false),
        EventKind::DeletionRequested => ("event-deletion-requested", true),
        EventKind::DeletionCanceled => ("event-deletion-canceled", false),
        EventKind::DeletionFailed => ("event-deletion-failed", false),
        EventKind::AccountDeleted => ("event-account-deleted", false),
        EventKind::DataExported => ("event-data-exported", false),
        EventKind::GroupChanged => ("event-group-changed", false),
        EventKind::GroupMemberAdded => ("event-group-member-added", false),
        EventKind::GroupMemberRemoved => ("event-group-member-removed", false),
    }
}

fn reason(details: &Value) -> Option<&'static str> {
    let text = |key: &str| details.get(key).and_then(Value::as_str).unwrap_or_default();
    let cause = Cause::parse(text("cause"));
    cause.map(describe_cause).or_else(|| RefusalReason::parse(text("why")).map(describe_refusal))
}

fn describe_cause(cause: Cause) -> &'static str {
    match cause {
        Cause::SignedOut => "cause-signed-out",
        Cause::Revoked => "cause-revoked",
        Cause::PasswordChanged => "cause-password-changed",
        Cause::PasswordReset => "cause-password-reset",
        Cause::EmailChanged => "cause-email-changed",
        Cause::EmailChangeUndone => "cause-email-change-undone",
        Cause::RoleChanged => "cause-role-changed",
        Cause::DeletionRequested => "cause-deletion-requested",
        Cause::Deleted => "cause-deleted",
        Cause::Disabled => "cause-disabled",
        Cause::Replaced => "cause-replaced",
        Cause::SessionLimit => "cause-session-limit",
        Cause::Expired => "cause-expired",
    }
}

fn describe_refusal(reason: RefusalReason) -> &'static str {
    match reason {
        RefusalReason::WrongPassword => "refusal-wrong-password",
        RefusalReason::Disabled => "refusal-disabled",
        RefusalReason::RateLimited => "refusal-rate-limited",
        RefusalReason::UnknownAccount => "refusal-unknown-account",
        RefusalReason::EmailChangeUndone => "refusal-email-change-undone",
        RefusalReason::NewPasswordRequired => "refusal-new-password-required",
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
            let words = words.to_string();
            assert_ne!(words, "Other account activity", "{kind:?}");
            assert!(!words.is_empty() && !words.contains(['{', '}']), "{kind:?}: {words}");
            assert!(!words.starts_with("event-"), "{words}");
        }
        for cause in Cause::ALL {
            let (words, _) = describe_kind("session_ended", &json!({ "cause": cause.as_str() }));
            assert!(words.to_string().starts_with("Session ended: "), "{cause:?}: {words}");
        }
        for reason in RefusalReason::ALL {
            let (words, _) = describe_kind("sign_in_refused", &json!({ "why": reason.as_str() }));
            assert!(words.to_string().starts_with("Sign-in refused: "), "{reason:?}: {words}");
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
