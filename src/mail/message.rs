//! Every message there is, with what each says. Carries secrets (links): never to be logged.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A message, as it is sealed into the outbox. Addresses of pages are made when it is written, from the public URL alone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// To somebody who registered: show that the address is yours.
    VerifyRegistration {
        /// What we call them.
        display_name: String,
        /// For `/verify-email/{token}`.
        token: String,
        /// The short code to type instead.
        code: String,
    },
    /// To the owner of an account with whose address somebody registered.
    AlreadyRegistered {
        /// What we call them.
        display_name: String,
    },
    /// To somebody with an account: show that the address is yours.
    VerifyEmail {
        /// What we call them.
        display_name: String,
        /// For `/verify-email/{token}`.
        token: String,
        /// The short code to type instead.
        code: String,
    },
    /// To somebody who forgot their password.
    ResetPassword {
        /// What we call them.
        display_name: String,
        /// For `/reset-password/{token}`.
        token: String,
    },
    /// To the new address, before it becomes that of the account.
    ChangeEmail {
        /// What we call them.
        display_name: String,
        /// For `/verify-email/{token}`.
        token: String,
        /// The short code to type instead.
        code: String,
    },
    /// To the old address, after another became that of the account.
    EmailChanged {
        /// What we call them.
        display_name: String,
        /// The new one.
        new_email: String,
        /// For `/undo-email-change/{token}`.
        undo_token: String,
    },
    /// To an address that was that of the account, when nobody ever proved it, or when it was taken back: it may be
    /// another person's, who is told nothing but that.
    AddressRemoved,
    /// To the new address, after it became that of the account.
    EmailConfirmed {
        /// What we call them.
        display_name: String,
        /// A change was undone: this is a former email of the account, and its password no longer works.
        #[serde(default)]
        restored: bool,
        /// With `restored`: a deletion of the account had been requested since the change, and was canceled.
        #[serde(default)]
        deletion_canceled: bool,
    },
    /// The password is another one.
    PasswordChanged {
        /// What we call them.
        display_name: String,
        /// By a link for somebody who forgot it, not by somebody who was signed in.
        by_reset: bool,
        /// By an operator at the command line.
        #[serde(default)]
        by_operator: bool,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// Somebody signed in with a browser that never did before.
    NewDevice {
        /// What we call them.
        display_name: String,
        /// "Firefox on Linux".
        device: String,
        /// From where.
        ip_address: Option<String>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    /// The account is going to be deleted.
    DeletionScheduled {
        /// What we call them.
        display_name: String,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        due_at: OffsetDateTime,
    },
    /// It is not, after all.
    DeletionCanceled {
        /// What we call them.
        display_name: String,
    },
    /// It is gone.
    AccountDeleted {
        /// What we called them.
        display_name: String,
    },
}

impl Message {
    /// Its name in `mail_outbox.kind`, and its folder below `templates/mail`.
    pub fn kind(&self) -> &'static str {
        match self {
            Message::VerifyRegistration { .. } => "verify_registration",
            Message::AlreadyRegistered { .. } => "already_registered",
            Message::VerifyEmail { .. } => "verify_email",
            Message::ResetPassword { .. } => "reset_password",
            Message::ChangeEmail { .. } => "change_email",
            Message::EmailChanged { .. } => "email_changed",
            Message::AddressRemoved => "address_removed",
            Message::EmailConfirmed { .. } => "email_confirmed",
            Message::PasswordChanged { .. } => "password_changed",
            Message::NewDevice { .. } => "new_device",
            Message::DeletionScheduled { .. } => "deletion_scheduled",
            Message::DeletionCanceled { .. } => "deletion_canceled",
            Message::AccountDeleted { .. } => "account_deleted",
        }
    }

    /// What in it opens something: to be taken out of whatever is kept or said about it.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Message::VerifyRegistration { token, code, .. }
            | Message::VerifyEmail { token, code, .. }
            | Message::ChangeEmail { token, code, .. } => vec![token, code],
            Message::ResetPassword { token, .. } => vec![token],
            Message::EmailChanged { undo_token, .. } => vec![undo_token],
            _ => Vec::new(),
        }
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.kind())
    }
}

/// One of each, for tests.
#[cfg(test)]
pub(super) fn samples(name: &str) -> Vec<Message> {
    let display_name = name.to_owned();
    let token = "Zx8Kq2nVb5Lw1Rt7Ym4Pc9Hd3Jf6Gs0AeUiOoTnXkRl".to_owned();
    let (code, at) = ("407318".to_owned(), time::macros::datetime!(2026-11-25 09:30 UTC));
    let confirmed = |restored, deletion_canceled| {
        let display_name = display_name.clone();
        Message::EmailConfirmed { display_name, restored, deletion_canceled }
    };
    vec![
        Message::VerifyRegistration {
            display_name: display_name.clone(),
            token: token.clone(),
            code: code.clone(),
        },
        Message::AlreadyRegistered { display_name: display_name.clone() },
        Message::VerifyEmail {
            display_name: display_name.clone(),
            token: token.clone(),
            code: code.clone(),
        },
        Message::ResetPassword { display_name: display_name.clone(), token: token.clone() },
        Message::ChangeEmail { display_name: display_name.clone(), token: token.clone(), code },
        Message::EmailChanged {
            display_name: display_name.clone(),
            new_email: "ada@new.example.com".to_owned(),
            undo_token: token,
        },
        Message::AddressRemoved,
        confirmed(false, false),
        confirmed(true, false),
        confirmed(true, true),
        password_changed(name, false, false),
        password_changed(name, true, false),
        password_changed(name, false, true),
        Message::NewDevice {
            display_name: display_name.clone(),
            device: "Firefox on Linux".to_owned(),
            ip_address: Some("203.0.113.7".to_owned()),
            at,
        },
        Message::NewDevice {
            display_name: display_name.clone(),
            device: "Firefox on Linux".to_owned(),
            ip_address: None,
            at,
        },
        Message::DeletionScheduled { display_name: display_name.clone(), due_at: at },
        Message::DeletionCanceled { display_name: display_name.clone() },
        Message::AccountDeleted { display_name },
    ]
}

#[cfg(test)]
fn password_changed(name: &str, by_reset: bool, by_operator: bool) -> Message {
    let at = time::macros::datetime!(2026-11-25 09:30 UTC);
    Message::PasswordChanged { display_name: name.to_owned(), by_reset, by_operator, at }
}
