//! The actions that are rate limited.

/// An action that is rate limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A password at the sign-in page.
    SignIn,
    /// A new account.
    Register,
    /// A link for a forgotten password.
    Recover,
    /// Another mail to an address that waits to be shown, or one to a new address: by the registration or the account
    /// that asks, so that it uses up nothing of whoever reads the mail.
    Resend,
    /// A link or a code from a mail.
    Verify,
    /// "Say who you are again", by somebody who is signed in.
    Confirm,
    /// A copy of everything that is held about somebody.
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

    /// As the table and the metrics spell it.
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
}
