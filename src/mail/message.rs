//! All messages and their data. They contain secrets (tokens and codes) and must never be logged.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::role::Role;

/// The time, browser and IP address of a change, for its security notice. A message sealed by an older
/// version may lack any of them.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Source {
    /// The time of the change.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub at: Option<OffsetDateTime>,
    /// "Firefox on Linux"; `None` for a change by an operator.
    #[serde(default)]
    pub device: Option<String>,
    /// `None` for a change by an operator.
    #[serde(default)]
    pub ip_address: Option<String>,
}

/// A message, as it is sealed in the outbox. URLs are built when it is rendered, from the public URL alone.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Message {
    /// To the email of a new registration: requests verification.
    VerifyRegistration {
        /// The name of the user.
        display_name: String,
        /// For `/verify-email/{token}`.
        token: String,
        /// The code that can be entered instead of opening the link.
        code: String,
    },
    /// To the owner of an account whose email someone tried to register with.
    AlreadyRegistered {
        /// The name of the user.
        display_name: String,
        /// They entered it as the new email of another account.
        #[serde(default)]
        for_email_change: bool,
    },
    /// To the email of an account: requests verification.
    VerifyEmail {
        /// The name of the user.
        display_name: String,
        /// For `/verify-email/{token}`.
        token: String,
        /// The code that can be entered instead of opening the link.
        code: String,
    },
    /// To a user who forgot their password.
    ResetPassword {
        /// The name of the user.
        display_name: String,
        /// For `/reset-password/{token}`.
        token: String,
    },
    /// To a user whose password an operator has deleted.
    NewPasswordRequired {
        /// The name of the user.
        display_name: String,
        /// For `/reset-password/{token}`.
        token: String,
    },
    /// To an email for which an operator created an account without a password. Nothing proves the email yet.
    AccountCreated {
        /// For `/reset-password/{token}`.
        token: String,
    },
    /// To an email that an administrator invited to create an account.
    Invitation {
        /// For `/invitation/{token}`.
        token: String,
    },
    /// To the new email, before it becomes the email of the account.
    ChangeEmail {
        /// The name of the user.
        display_name: String,
        /// For `/verify-email/{token}`.
        token: String,
        /// The code that can be entered instead of opening the link.
        code: String,
    },
    /// To the old email, after the email of the account changed.
    EmailChanged {
        /// The name of the user.
        display_name: String,
        /// The new email.
        new_email: String,
        /// For `/undo-email-change/{token}`.
        undo_token: String,
        /// Time, browser and IP address of the change.
        #[serde(flatten)]
        source: Source,
    },
    /// To a verified email that an undone change has removed from an account. It may be an attacker's, so the mail
    /// contains no account details.
    AddressRemoved,
    /// To the new email, after it became the email of the account.
    EmailConfirmed {
        /// The name of the user.
        display_name: String,
        /// A change was undone: this is a former email of the account, and its password no longer works.
        #[serde(default)]
        restored: bool,
        /// With `restored`: a deletion of the account was requested after the change, and is now canceled.
        #[serde(default)]
        deletion_canceled: bool,
        /// Time, browser and IP address of the change.
        #[serde(flatten)]
        source: Source,
    },
    /// The password was changed.
    PasswordChanged {
        /// The name of the user.
        display_name: String,
        /// With a reset link, not by the signed-in user.
        by_reset: bool,
        /// By an operator at the command line.
        #[serde(default)]
        by_operator: bool,
        /// Time, browser and IP address of the change.
        #[serde(flatten)]
        source: Source,
    },
    /// A browser signed in for the first time.
    NewDevice {
        /// The name of the user.
        display_name: String,
        /// Time, browser and IP address of the change.
        #[serde(flatten)]
        source: Source,
    },
    /// The first wait after wrong passwords began.
    FailedSignIns {
        /// The name of the user.
        display_name: String,
        /// They were entered in a session of the account, and not at sign-in.
        #[serde(default)]
        in_session: bool,
        /// Time, browser and IP address of the last attempt.
        #[serde(flatten)]
        source: Source,
    },
    /// A sign-in succeeded after several that failed. Sent instead of [`Message::NewDevice`].
    SignInAfterFailures {
        /// The name of the user.
        display_name: String,
        /// How many attempts failed since the sign-in before.
        failures: i64,
        /// Time, browser and IP address of the sign-in.
        #[serde(flatten)]
        source: Source,
    },
    /// The deletion of the account was requested.
    DeletionScheduled {
        /// The name of the user.
        display_name: String,
        /// When the account will be deleted.
        #[serde(with = "time::serde::rfc3339")]
        due_at: OffsetDateTime,
        /// Time, browser and IP address of the change.
        #[serde(flatten)]
        source: Source,
    },
    /// The deletion of the account was canceled.
    DeletionCanceled {
        /// The name of the user.
        display_name: String,
        /// Time, browser and IP address of the change.
        #[serde(flatten)]
        source: Source,
    },
    /// An operator disabled the account.
    AccountDisabled {
        /// The name of the user.
        display_name: String,
        /// The time of the change.
        #[serde(flatten)]
        source: Source,
    },
    /// An operator enabled the account again.
    AccountEnabled {
        /// The name of the user.
        display_name: String,
        /// The time of the change.
        #[serde(flatten)]
        source: Source,
    },
    /// An operator changed the role.
    RoleChanged {
        /// The name of the user.
        display_name: String,
        /// The new role.
        role: Role,
        /// The time of the change.
        #[serde(flatten)]
        source: Source,
    },
    /// The data of the account was downloaded.
    DataExported {
        /// The name of the user.
        display_name: String,
        /// Time, browser and IP address of the request.
        #[serde(flatten)]
        source: Source,
    },
    /// The account was deleted.
    AccountDeleted {
        /// The name of the user.
        display_name: String,
    },
    /// A mail of the site, with its own templates.
    OfSite {
        /// The name of the folder below `templates/mail`.
        mail: String,
        /// The name of the user.
        display_name: String,
        /// The site's values of the templates.
        data: Map<String, Value>,
    },
}

impl Message {
    /// The kind of [`Message::AccountDeleted`].
    pub(super) const ACCOUNT_DELETED: &'static str = "account_deleted";

    /// The value of `mail_outbox.kind`, and the name of the folder below `templates/mail`.
    pub fn kind(&self) -> &str {
        match self {
            Message::VerifyRegistration { .. } => "verify_registration",
            Message::AlreadyRegistered { .. } => "already_registered",
            Message::VerifyEmail { .. } => "verify_email",
            Message::ResetPassword { .. } => "reset_password",
            Message::NewPasswordRequired { .. } => "new_password_required",
            Message::AccountCreated { .. } => "account_created",
            Message::Invitation { .. } => "invitation",
            Message::ChangeEmail { .. } => "change_email",
            Message::EmailChanged { .. } => "email_changed",
            Message::AddressRemoved => "address_removed",
            Message::EmailConfirmed { .. } => "email_confirmed",
            Message::PasswordChanged { .. } => "password_changed",
            Message::NewDevice { .. } => "new_device",
            Message::FailedSignIns { .. } => "failed_sign_ins",
            Message::SignInAfterFailures { .. } => "sign_in_after_failures",
            Message::DeletionScheduled { .. } => "deletion_scheduled",
            Message::DeletionCanceled { .. } => "deletion_canceled",
            Message::AccountDisabled { .. } => "account_disabled",
            Message::AccountEnabled { .. } => "account_enabled",
            Message::RoleChanged { .. } => "role_changed",
            Message::DataExported { .. } => "data_exported",
            Message::AccountDeleted { .. } => Self::ACCOUNT_DELETED,
            Message::OfSite { mail, .. } => mail,
        }
    }

    /// The message without the name of the user, which they chose themselves: for an email that may belong to a
    /// stranger. Otherwise anyone could send a text of their choice to anyone.
    pub(super) fn without_name(&self) -> Self {
        let mut message = self.clone();
        match &mut message {
            Message::VerifyRegistration { display_name, .. }
            | Message::AlreadyRegistered { display_name, .. }
            | Message::VerifyEmail { display_name, .. }
            | Message::ResetPassword { display_name, .. }
            | Message::NewPasswordRequired { display_name, .. }
            | Message::ChangeEmail { display_name, .. }
            | Message::EmailChanged { display_name, .. }
            | Message::EmailConfirmed { display_name, .. }
            | Message::PasswordChanged { display_name, .. }
            | Message::NewDevice { display_name, .. }
            | Message::FailedSignIns { display_name, .. }
            | Message::SignInAfterFailures { display_name, .. }
            | Message::DeletionScheduled { display_name, .. }
            | Message::DeletionCanceled { display_name, .. }
            | Message::AccountDisabled { display_name, .. }
            | Message::AccountEnabled { display_name, .. }
            | Message::RoleChanged { display_name, .. }
            | Message::DataExported { display_name, .. }
            | Message::AccountDeleted { display_name }
            | Message::OfSite { display_name, .. } => display_name.clear(),
            Message::AddressRemoved
            | Message::AccountCreated { .. }
            | Message::Invitation { .. } => {}
        }
        message
    }

    /// The secrets in the message, which must not appear in any error that is stored or logged.
    pub fn secrets(&self) -> Vec<&str> {
        match self {
            Message::VerifyRegistration { token, code, .. }
            | Message::VerifyEmail { token, code, .. }
            | Message::ChangeEmail { token, code, .. } => vec![token, code],
            Message::ResetPassword { token, .. }
            | Message::NewPasswordRequired { token, .. }
            | Message::AccountCreated { token }
            | Message::Invitation { token } => vec![token],
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
