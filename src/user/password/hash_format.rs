//! Formats of password hashes, and why a hash is not accepted.

use std::fmt;

/// The format of a hash that has no identifying prefix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashFormat {
    /// The hash has a prefix that identifies its format.
    #[default]
    Named,
    /// Better Auth: `salt:key` in hex, scrypt with N=16384, r=16, p=1 over the password in NFKC.
    BetterAuth,
    /// `salt:key` in hex by `crypto.scrypt` of Node with its defaults (N=16384, r=8, p=1), the salt as text.
    NodeScrypt,
}

impl HashFormat {
    /// The prefix with which such a hash is stored.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Named => "",
            Self::BetterAuth => "better_auth$",
            Self::NodeScrypt => "node_scrypt$",
        }
    }
}

/// Why a hash is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashProblem {
    /// It has the prefix of no supported format.
    Unknown,
    /// It has the prefix of a supported format but does not follow it.
    Malformed,
    /// Verifying it would cost too much time or memory.
    TooCostly,
    /// It is of another system, and the program was built without the feature `import`.
    NotBuiltIn,
}

impl HashProblem {
    /// A sentence for operators.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "the password hash has an unknown format",
            Self::Malformed => "the password hash is incomplete or malformed",
            Self::TooCostly => {
                "the parameters of the password hash exceed the cost limit of a sign-in"
            }
            Self::NotBuiltIn => {
                "the password hash is of another system, which needs the feature import, and this program was built without it"
            }
        }
    }
}

impl fmt::Display for HashProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl std::error::Error for HashProblem {}
