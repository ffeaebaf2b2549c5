//! Every kind of message with fixed data, once for each variant of its text. For the unit tests of this
//! folder and for `tests/snapshots.rs`, which includes this file.

use time::macros::datetime;

use crate::mail::Message;
use crate::mail::message::Source;
use crate::role::Role;

/// The messages, addressed to `name`.
pub(super) fn samples(name: &str) -> Vec<Message> {
    let display_name = name.to_owned();
    let token = "Zx8Kq2nVb5Lw1Rt7Ym4Pc9Hd3Jf6Gs0AeUiOoTnXkRl".to_owned();
    let code = "407318".to_owned();
    let due_at = datetime!(2026-12-02 09:30 UTC);
    vec![
        Message::VerifyRegistration {
            display_name: display_name.clone(),
            token: token.clone(),
            code: code.clone(),
        },
        Message::AlreadyRegistered { display_name: display_name.clone(), for_email_change: false },
        Message::VerifyEmail {
            display_name: display_name.clone(),
            token: token.clone(),
            code: code.clone(),
        },
        Message::ResetPassword { display_name: display_name.clone(), token: token.clone() },
        Message::NewPasswordRequired { display_name: display_name.clone(), token: token.clone() },
        Message::AccountCreated { token: token.clone() },
        Message::Invitation { token: token.clone() },
        Message::ChangeEmail { display_name: display_name.clone(), token: token.clone(), code },
        Message::EmailChanged {
            display_name: display_name.clone(),
            new_email: "ada@new.example.com".to_owned(),
            undo_token: token,
            source: browser(),
        },
        Message::AddressRemoved,
        email_confirmed(name, false, false),
        email_confirmed(name, true, false),
        email_confirmed(name, true, true),
        password_changed(name, false, false, browser()),
        password_changed(name, true, false, browser()),
        password_changed(name, false, true, operator()),
        Message::NewDevice { display_name: display_name.clone(), source: browser() },
        Message::NewDevice {
            display_name: display_name.clone(),
            source: Source { ip_address: None, ..browser() },
        },
        Message::FailedSignIns {
            display_name: display_name.clone(),
            in_session: false,
            source: browser(),
        },
        Message::FailedSignIns {
            display_name: display_name.clone(),
            in_session: true,
            source: browser(),
        },
        Message::SignInAfterFailures {
            display_name: display_name.clone(),
            failures: 8,
            source: browser(),
        },
        Message::DeletionScheduled {
            display_name: display_name.clone(),
            due_at,
            source: browser(),
        },
        // As sealed by an older version, which did not record the source.
        Message::DeletionScheduled {
            display_name: display_name.clone(),
            due_at,
            source: Source::default(),
        },
        Message::DeletionCanceled { display_name: display_name.clone(), source: browser() },
        Message::AccountDisabled { display_name: display_name.clone(), source: operator() },
        Message::AccountEnabled { display_name: display_name.clone(), source: operator() },
        role_changed(name, Role::Admin),
        role_changed(name, Role::User),
        Message::DataExported { display_name: display_name.clone(), source: browser() },
        Message::AccountDeleted { display_name },
    ]
}

fn browser() -> Source {
    Source {
        at: Some(datetime!(2026-11-25 09:30 UTC)),
        device: Some("Firefox on Linux".to_owned()),
        ip_address: Some("203.0.113.7".to_owned()),
    }
}

fn operator() -> Source {
    Source { at: browser().at, ..Source::default() }
}

fn role_changed(name: &str, role: Role) -> Message {
    Message::RoleChanged { display_name: name.to_owned(), role, source: operator() }
}

fn email_confirmed(name: &str, restored: bool, deletion_canceled: bool) -> Message {
    let display_name = name.to_owned();
    Message::EmailConfirmed { display_name, restored, deletion_canceled, source: browser() }
}

fn password_changed(name: &str, by_reset: bool, by_operator: bool, source: Source) -> Message {
    Message::PasswordChanged { display_name: name.to_owned(), by_reset, by_operator, source }
}
