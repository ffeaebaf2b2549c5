//! Every message there is, with what each says. Carries secrets (links): never to be logged.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// When a change was made, and from which browser and IP address, as its security notice reports it. A message sealed
/// by an older version may lack any of it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Source {
    /// When.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub at: Option<OffsetDateTime>,
    /// "Firefox on Linux"; `None` for a change by an operator.
    #[serde(default)]
    pub device: Option<String>,
    /// `None` for a change by an operator.
    #[serde(default)]
    pub ip_address: Option<String>,
}

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
        /// When and from where.
        #[serde(flatten)]
        source: Source,
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
        /// When and from where.
        #[serde(flatten)]
        source: Source,
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
        /// When and from where.
        #[serde(flatten)]
        source: Source,
    },
    /// Somebody signed in with a browser that never did before.
    NewDevice {
        /// What we call them.
        display_name: String,
        /// When and from where.
        #[serde(flatten)]
        source: Source,
    },
    /// The account is going to be deleted.
    DeletionScheduled {
        /// What we call them.
        display_name: String,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        due_at: OffsetDateTime,
        /// When and from where.
        #[serde(flatten)]
        source: Source,
    },
    /// It is not, after all.
    DeletionCanceled {
        /// What we call them.
        display_name: String,
        /// When and from where.
        #[serde(flatten)]
        source: Source,
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
