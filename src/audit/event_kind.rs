//! The names of audit events and of the reasons in their details. Each is stored as text: rows written by a
//! newer or older version can contain names that this version does not know.

/// Declares an enum whose variants are stored as text. `ALL` lists every variant.
macro_rules! stored_as_text {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            /// Every variant.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The stored text.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// Parses the stored text. `None` if this version does not know it.
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.as_str() == text)
            }
        }
    };
}
pub(crate) use stored_as_text;

stored_as_text! {
    /// What happened (`audit_events.event`).
    EventKind {
        /// An account was created.
        Registered => "registered",
        /// An operator invited an email that has no account.
        Invited => "invited",
        /// A session was created for a user.
        SignedIn => "signed_in",
        /// A sign-in failed; `details.why` is a [`RefusalReason`].
        SignInRefused => "sign_in_refused",
        /// A mailed code was wrong or had expired.
        CodeRefused => "code_refused",
        /// A mailed link was used that was not valid: used before, expired, replaced or never issued.
        LinkRefused => "link_refused",
        /// A session ended; `details.cause` says why.
        SessionEnded => "session_ended",
        /// An operator revoked the sessions of all users.
        AllSessionsEnded => "all_sessions_ended",
        /// The user or an operator changed the password.
        PasswordChanged => "password_changed",
        /// The password was changed with a mailed link.
        PasswordReset => "password_reset",
        /// The password was removed; `details.why` is a [`RefusalReason`].
        PasswordInvalidated => "password_invalidated",
        /// A password reset was requested for the account.
        PasswordResetRequested => "password_reset_requested",
        /// The user re-authenticated in a session.
        Reauthenticated => "confirmed",
        /// Re-authentication failed.
        ReauthenticationRefused => "confirm_refused",
        /// The account's email was verified.
        EmailVerified => "email_verified",
        /// An email change was requested.
        EmailChangeRequested => "email_change_requested",
        /// The email was changed.
        EmailChanged => "email_changed",
        /// An email change was undone with the link that was sent to the former email.
        EmailChangeUndone => "email_change_undone",
        /// The role was changed.
        RoleChanged => "role_changed",
        /// The account was disabled.
        AccountDisabled => "account_disabled",
        /// The account was enabled again.
        AccountEnabled => "account_enabled",
        /// An operator reset the rate limits of the account.
        AccountUnlocked => "account_unlocked",
        /// The account was created from a user file.
        Imported => "imported",
        /// The user requested the deletion of the account.
        DeletionRequested => "deletion_requested",
        /// The requested deletion was canceled.
        DeletionCanceled => "deletion_canceled",
        /// A foreign key of another table refused the deletion, which `details` names.
        DeletionFailed => "deletion_failed",
        /// The account was deleted.
        AccountDeleted => "account_deleted",
        /// An operator created or removed a group; `details.change` says which.
        GroupChanged => "group_changed",
        /// An operator added the user to a group.
        GroupMemberAdded => "group_member_added",
        /// An operator removed the user from a group, or the group with its members.
        GroupMemberRemoved => "group_member_removed",
        /// The user downloaded the data of the account.
        DataExported => "data_exported",
    }
}

stored_as_text! {
    /// Why a sign-in or a re-authentication was refused, or a password invalidated (`details.why`).
    RefusalReason {
        /// The password was wrong.
        WrongPassword => "wrong_password",
        /// The account is disabled.
        Disabled => "disabled",
        /// The rate limit of the action was reached.
        RateLimited => "throttled",
        /// No account has the email.
        UnknownAccount => "unknown_account",
        /// An email change was undone.
        EmailChangeUndone => "undo",
        /// An operator required a new password.
        NewPasswordRequired => "operator",
    }
}
