//! In place of the password hashes of other systems, in a program without the feature `import`: their owners cannot sign
//! in, and no hash is changed.

use subtle::Choice;

use super::hash_format::HashProblem;

/// A hash of another system, which is never understood.
pub(super) enum ForeignHash {}

impl ForeignHash {
    /// Always an error.
    pub(super) fn parse(_: &str) -> Result<Self, HashProblem> {
        Err(HashProblem::NotBuiltIn)
    }

    /// Never called.
    pub(super) fn family(&self) -> &'static str {
        match *self {}
    }

    /// Never called.
    pub(super) fn matches_password(&self, _: &str) -> Choice {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use crate::user::password::hasher::{HashFormat, HashProblem, PasswordHash};

    #[test]
    fn no_hash_of_another_system_is_adopted() {
        for text in [
            "$2b$05$EJHCRpFwpIodPI.o15pw4.r3h3NKRh.gOga8Xy0l1CcqukufJXn6.",
            "pbkdf2_sha256$1000$salt$c29tZXNhbHRzb21lc2FsdA",
            "no hash at all",
        ] {
            let adopted = PasswordHash::adopt(text, HashFormat::Named);
            assert_eq!(adopted.err(), Some(HashProblem::NotBuiltIn), "{text}");
        }
    }
}
