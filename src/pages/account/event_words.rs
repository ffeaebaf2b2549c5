//! What happened, in plain words: every event and every cause there is. The only file that says them; a test reads the
//! sources and finds each name that is recorded here.

use serde_json::Value;

/// Name, sentence, and whether it is worth a second look. `{why}` is filled from the details.
const EVENTS: [(&str, &str, bool); 24] = [
    ("registered", "The account was made", false),
    ("signed_in", "Signed in", false),
    ("sign_in_refused", "Somebody tried to sign in {why}", true),
    ("session_ended", "A session ended: {why}", false),
    ("all_sessions_ended", "Everybody was signed out", false),
    ("password_changed", "The password was changed", false),
    ("password_reset", "The password was set anew by a mailed link", false),
    ("password_invalidated", "The password stopped working: {why}", true),
    ("password_reset_requested", "Somebody asked for a link to set a new password", true),
    ("confirmed", "You said who you are again", false),
    (
        "confirm_refused",
        "Somebody who was signed in was asked for the password and gave a wrong one",
        true,
    ),
    ("email_verified", "The email address was verified", false),
    ("email_change_requested", "Another email address was asked for", false),
    ("email_changed", "The email address was changed", false),
    ("email_change_undone", "The change of the email address was undone", true),
    ("role_changed", "The rights of the account were changed", false),
    ("account_disabled", "The account was disabled", false),
    ("account_enabled", "The account was enabled again", false),
    ("account_unlocked", "Failed tries were forgotten, so that nobody has to wait", false),
    ("imported", "The account was brought over from another system", false),
    ("deletion_requested", "Deletion of the account was asked for", true),
    ("deletion_canceled", "The account was kept after all", false),
    ("account_deleted", "The account was deleted", false),
    ("data_exported", "A copy of your data was downloaded", false),
];

/// Causes of the end of a session (`details.cause`).
const CAUSES: [(&str, &str); 12] = [
    ("signed_out", "signed out"),
    ("revoked", "signed out from another place"),
    ("password_changed", "the password was changed"),
    ("password_reset", "the password was set anew"),
    ("email_changed", "the email address was changed"),
    ("email_change_undone", "the change of the email address was undone"),
    ("role_changed", "the rights of the account were changed"),
    ("deletion_requested", "deletion of the account was asked for"),
    ("deleted", "the account was deleted"),
    ("disabled", "the account was disabled"),
    ("replaced", "the same browser signed in anew"),
    ("expired", "its time was over"),
];

/// Why a sign-in was refused, or a password invalidated (`details.why`).
const REFUSALS: [(&str, &str); 5] = [
    ("wrong_password", "with a wrong password"),
    ("disabled", "while the account was disabled"),
    ("throttled", "too often, and has to wait"),
    ("unknown_account", "with an address that has no account"),
    ("undo", "the change of the email address was undone"),
];

/// The sentence of an event, and whether it is worth a second look.
pub(super) fn say(event: &str, details: &Value) -> (String, bool) {
    let Some((_, words, is_suspicious)) = EVENTS.iter().find(|(name, ..)| *name == event) else {
        return ("Something about the account changed".to_owned(), false);
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
                &["\"why\": ", "let why = ", "=> (Some(user.id()), ", "=> (None, "],
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
            assert!(words.starts_with("A session ended: "), "{cause:?}: {words}");
        }
    }

    #[test]
    fn what_is_not_known_is_still_a_sentence() {
        assert_eq!(say("session_ended", &json!({})).0, "A session ended");
        assert_eq!(
            say("nobody_knows", &json!({ "x": "<b>" })).0,
            "Something about the account changed"
        );
    }
}
