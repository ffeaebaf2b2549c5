//! What happened, in plain words: every event and every cause there is. The only file that says them; a test reads the
//! sources and finds each name that is recorded here.

use serde_json::Value;

/// Name, sentence, and whether it is worth a second look. `{why}` is filled from the details.
const EVENTS: [(&str, &str, bool); 24] = [
    ("registered", "Account created", false),
    ("signed_in", "Signed in", false),
    ("sign_in_refused", "Sign-in refused: {why}", true),
    ("session_ended", "Session ended: {why}", false),
    ("all_sessions_ended", "Signed out everywhere", false),
    ("password_changed", "Password changed", false),
    ("password_reset", "Password reset by email link", false),
    ("password_invalidated", "Password stopped working: {why}", true),
    ("password_reset_requested", "Password reset requested", true),
    ("confirmed", "Password confirmed", false),
    ("confirm_refused", "Wrong password entered in a signed-in session", true),
    ("email_verified", "Email address confirmed", false),
    ("email_change_requested", "Email change requested", false),
    ("email_changed", "Email address changed", false),
    ("email_change_undone", "Email change undone", true),
    ("role_changed", "Role changed", false),
    ("account_disabled", "Account disabled", false),
    ("account_enabled", "Account re-enabled", false),
    ("account_unlocked", "Sign-in limit lifted", false),
    ("imported", "Account imported", false),
    ("deletion_requested", "Account deletion requested", true),
    ("deletion_canceled", "Account deletion canceled", false),
    ("account_deleted", "Account deleted", false),
    ("data_exported", "Data exported", false),
];

/// Causes of the end of a session (`details.cause`).
const CAUSES: [(&str, &str); 12] = [
    ("signed_out", "signed out"),
    ("revoked", "signed out remotely"),
    ("password_changed", "password changed"),
    ("password_reset", "password reset"),
    ("email_changed", "email address changed"),
    ("email_change_undone", "email change undone"),
    ("role_changed", "role changed"),
    ("deletion_requested", "account deletion requested"),
    ("deleted", "account deleted"),
    ("disabled", "account disabled"),
    ("replaced", "signed in again in the same browser"),
    ("expired", "expired"),
];

/// Why a sign-in was refused, or a password invalidated (`details.why`).
const REFUSALS: [(&str, &str); 5] = [
    ("wrong_password", "wrong password"),
    ("disabled", "account disabled"),
    ("throttled", "too many attempts; new ones are delayed"),
    ("unknown_account", "no account with this email"),
    ("undo", "email change undone"),
];

/// The sentence of an event, and whether it is worth a second look.
pub(super) fn say(event: &str, details: &Value) -> (String, bool) {
    let Some((_, words, is_suspicious)) = EVENTS.iter().find(|(name, ..)| *name == event) else {
        return ("Other account activity".to_owned(), false);
    };
    let find = |table: &[(&'static str, &'static str)], key: &str| {
        let said = details.get(key).and_then(Value::as_str).unwrap_or_default();
        table.iter().find(|(name, _)| *name == said).map(|(_, words)| *words)
    };
    let why = find(&CAUSES, "cause").or_else(|| find(&REFUSALS, "why")).unwrap_or_default();
    (words.replace("{why}", why).trim_end_matches([' ', ':']).to_owned(), *is_suspicious)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::revoke::Cause;
    use serde_json::json;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::PathBuf;

    fn sources() -> Vec<String> {
        let (mut texts, mut folders) = (Vec::new(), vec![PathBuf::from("src")]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|ending| ending == "rs")
                    && !path.ends_with("event_words.rs")
                {
                    texts.push(fs::read_to_string(path).unwrap());
                }
            }
        }
        texts
    }

    /// Texts in quotes that look like a name, in statements that begin with one of `marks`.
    fn quoted(text: &str, marks: &[&str]) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for mark in marks {
            for rest in text.split(mark).skip(1) {
                let statement = &rest[..rest.find([';', ',', '\n']).unwrap_or(rest.len())];
                for name in statement.split('"').skip(1).step_by(2) {
                    if name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()) {
                        names.insert(name.to_owned());
                    }
                }
            }
        }
        names
    }

    #[test]
    fn every_event_and_every_cause_that_is_recorded_has_words() {
        let mut names = BTreeSet::new();
        let mut whys = BTreeSet::new();
        for text in sources().iter().filter(|text| text.contains("audit::")) {
            names.extend(quoted(text, &["name: ", "let name = ", "Event::named("]));
            whys.extend(quoted(
                text,
                &["\"why\": ", "let why = ", "=> (Some(user.id), ", "=> (None, "],
            ));
        }
        println!("{} events, {} refusals", names.len(), whys.len());
        for known in ["signed_in", "session_ended", "account_disabled", "account_enabled"] {
            assert!(names.contains(known), "the search does not find {known}: {names:?}");
        }
        assert!(whys.contains("wrong_password") && whys.contains("disabled"), "{whys:?}");
        for name in &names {
            assert!(EVENTS.iter().any(|(known, ..)| known == name), "no words for {name}");
        }
        for why in &whys {
            assert!(REFUSALS.iter().any(|(known, _)| known == why), "no words for {why}");
        }
        for cause in Cause::ALL {
            let (words, _) = say("session_ended", &json!({ "cause": cause.as_str() }));
            assert!(words.starts_with("Session ended: "), "{cause:?}: {words}");
        }
    }

    #[test]
    fn what_is_not_known_is_still_a_sentence() {
        assert_eq!(say("session_ended", &json!({})).0, "Session ended");
        assert_eq!(say("nobody_knows", &json!({ "x": "<b>" })).0, "Other account activity");
    }
}
