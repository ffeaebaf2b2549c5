//! The actions that are rate limited.

/// An action that is rate limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A sign-in with email and password.
    SignIn,
    /// Registration of an account.
    Register,
    /// Request for a password-reset link.
    Recover,
    /// Request for another verification mail, or for a mail to a new email. Counted by the registration or
    /// the account that requests it, so that the recipient's own limits are not used up.
    Resend,
    /// A link or a code from a mail.
    Verify,
    /// The password of a signed-in user, to re-authenticate.
    Confirm,
    /// An export of the user's data.
    Export,
}

impl Action {
    /// In the order of the declaration.
    pub const ALL: [Self; 7] = [
        Self::SignIn,
        Self::Register,
        Self::Recover,
        Self::Resend,
        Self::Verify,
        Self::Confirm,
        Self::Export,
    ];

    /// The name in `throttles.action` and in the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::SignIn => "sign_in",
            Action::Register => "register",
            Action::Recover => "recover",
            Action::Resend => "resend",
            Action::Verify => "verify",
            Action::Confirm => "confirm",
            Action::Export => "export",
        }
    }

    /// What is attempted, for documents.
    pub(super) fn description(self) -> &'static str {
        match self {
            Action::SignIn => "sign-in",
            Action::Register => "registration",
            Action::Recover => "password reset",
            Action::Resend => "another mail, or a mail to a new email",
            Action::Verify => "links and codes, and the password of a registration",
            Action::Confirm => "re-authentication, and the current password when it is changed",
            Action::Export => "data export",
        }
    }
}
